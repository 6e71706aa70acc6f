%% @doc The process in which a cluster's strategy runs: it asks, tells the worker, waits, and asks again.
%% So a strategy may take its time and crash, and holds up nobody. After a crash it ends, with whatever the strategy has
%% linked to it, and the worker starts another one.
-module(eid_discovery_poller).

-export([start_link/1]).
%% By full name, so that code can be loaded while it runs.
-export([run/3, pause/3]).

%% @doc Starts it, linked to the calling worker, which gets each answer by
%% {@link eid_discovery_cluster:answer/2}.
-spec start_link(eid_discovery_config:cluster()) -> pid().
start_link(#{state := State} = Cluster) ->
    Worker = self(),
    spawn_link(fun() -> ?MODULE:run(Worker, Cluster, State) end).

%% @private
run(Worker, #{module := Module, interval := Interval} = Cluster, State) ->
    case list(Module, State) of
        {ok, #{again := Again} = Answer, Next} ->
            ok = eid_discovery_cluster:answer(Worker, Answer),
            timer:sleep(pause(Again, Interval, rand:uniform())),
            ?MODULE:run(Worker, Cluster, Next);
        {crashed, Why} ->
            Sentence = io_lib:format("the strategy failed: ~0tP. Correct the module, or its options.", [Why, 30]),
            {ok, Answer} = eid_discovery_answer:check(#{nodes => unchanged,
                                                        problems => [{atom_to_list(Module), Sentence}]}),
            ok = eid_discovery_cluster:answer(Worker, Answer),
            exit(shutdown)
    end.

list(Module, State) ->
    try
        {Answer, Next} = Module:list(State),
        case eid_discovery_answer:check(Answer) of
            {ok, Checked} -> {ok, Checked, Next};
            error -> {crashed, {bad_answer, Answer}}
        end
    catch
        Class:Reason:Stack -> {crashed, {Class, Reason, Stack}}
    end.

%% @private
%% Milliseconds; `Luck' is from 0.0 to 1.0. Up to a tenth sooner than the interval, so that nodes that have started together do
%% not go on asking together. Except for `now' there is a shortest pause, however soon a strategy wants to be asked again.
pause(now, _Interval, _Luck) -> 0;
pause(interval, Interval, Luck) ->
    max(eid_discovery_config:shortest_interval(), round(Interval * (1 - Luck / 10)));
pause({within, Ms}, Interval, Luck) ->
    max(eid_discovery_config:shortest_interval(), min(Ms, pause(interval, Interval, Luck))).
