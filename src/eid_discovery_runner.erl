%% @doc The process in which a cluster's strategy runs: it asks, tells the worker, waits, and asks again.
%% So a strategy may take its time and crash, and holds up nobody.
-module(eid_discovery_runner).

-export([start_link/1]).
%% By full name, so that code can be loaded while it runs.
-export([run/2, again/3]).

%% However soon a strategy wants to be asked again.
-define(SHORTEST_WAIT, 1000).

%% @doc Starts it, linked to the calling worker, which gets each answer by
%% {@link eid_discovery_worker:answer/2}.
-spec start_link(eid_clusters:cluster()) -> pid().
start_link(#{state := State} = Cluster) ->
    Worker = self(),
    spawn_link(fun() -> ?MODULE:run(Worker, {Cluster, State}) end).

%% @private
run(Worker, {#{module := Module, state := Initial, interval := Interval} = Cluster, State}) ->
    {Answer, Next} =
        try Module:list(State) of
            {#{nodes := _}, _} = Listed -> Listed;
            Other -> {crashed(Module, {bad_answer, Other}), Initial}
        catch
            Class:Reason:Stack -> {crashed(Module, {Class, Reason, Stack}), Initial}
        end,
    ok = eid_discovery_worker:answer(Worker, Answer),
    timer:sleep(again(maps:get(again, Answer, interval), Interval, rand:uniform())),
    ?MODULE:run(Worker, {Cluster, Next}).

crashed(Module, Why) ->
    #{nodes => unchanged,
      problems => [{atom_to_list(Module), io_lib:format("the strategy failed: ~0tP. Correct its module or its options.",
                                                        [Why, 30])}]}.

%% @private
%% Milliseconds; `Luck' is from 0.0 to 1.0. Up to a tenth sooner, so that nodes that have started together do not go on
%% asking together.
again(now, _Interval, _Luck) -> 0;
again(interval, Interval, Luck) -> round(Interval * (1 - Luck / 10));
again({within, Ms}, Interval, Luck) -> max(?SHORTEST_WAIT, min(Ms, again(interval, Interval, Luck))).
