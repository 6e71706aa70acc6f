%% @doc The process of a cluster's strategy: it asks the strategy, gives the answer to the cluster,
%% waits, and asks again.
%%
%% A strategy may wait or crash without blocking others. After a crash the process ends, with all
%% processes that the strategy has linked to it, and the cluster starts another one.
-module(eid_discovery_poller).

-export([start_link/2]).
%% Called by full name, so that code can be loaded while it runs.
-export([run/4, pause/3]).

-type give() :: fun((Owner :: pid(), eid_discovery_answer:checked()) -> ok).

%% @doc Starts the process, linked to its caller. `Give', an external fun, gives each answer to the
%% caller.
-spec start_link(eid_discovery_config:cluster(), give()) -> pid().
start_link(#{state := State} = Cluster, Give) ->
    spawn_link(?MODULE, run, [self(), Give, Cluster, State]).

%% @private
-spec run(Owner :: pid(), give(), eid_discovery_config:cluster(), State :: term()) -> no_return().
run(Owner, Give, #{module := Module, interval := Interval} = Cluster, State) ->
    case list(Module, State) of
        {ok, #{again := Again} = Answer, Next} ->
            ok = Give(Owner, Answer),
            timer:sleep(pause(Again, Interval, rand:uniform())),
            ?MODULE:run(Owner, Give, Cluster, Next);
        {crashed, Why} ->
            Sentence = io_lib:format("the strategy failed: ~0tP. Correct the module, or its "
                                     "options.", [Why, 30]),
            {ok, Answer} = eid_discovery_answer:check(#{nodes => unchanged,
                                                        problems => [{atom_to_list(Module),
                                                                      Sentence}]}),
            ok = Give(Owner, Answer),
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
%% The pause in milliseconds. `Random' is from 0.0 to 1.0: the pause is up to a tenth shorter than
%% the interval, so that nodes that were started together do not keep asking together. Except for
%% `now' there is a shortest pause, even if a strategy wants to be asked sooner.
-spec pause(interval | now | {within, non_neg_integer()}, Interval :: pos_integer(),
            Random :: float()) -> non_neg_integer().
pause(now, _Interval, _Random) -> 0;
pause(interval, Interval, Random) ->
    max(eid_discovery_config:shortest_interval(), round(Interval * (1 - Random / 10)));
pause({within, Ms}, Interval, Random) ->
    max(eid_discovery_config:shortest_interval(), min(Ms, pause(interval, Interval, Random))).
