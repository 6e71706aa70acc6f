%% @doc A new node makes 1,000 cold lookups at once: of different containers in one measurement, and
%% of the same container in another. The engine is the double of `native/docker/tests', because a
%% machine can't run 1,000 containers. The double counts the requests.
-module(bench_cold).

-export([rows/0]).
%% Run on the node.
-export([lookups/1, inspects/2]).

-define(ROUNDS, 5).
-define(CONTAINERS, 1000).
-define(ADDRESS, "127.0.0.5").
-define(PORT, "4243").
-define(URL, "http://" ?ADDRESS ":" ?PORT).

-spec rows() -> [bench_table:row()].
rows() ->
    Double = start_double(),
    Added = ask(Double, ["{\"do\":\"add_many\",\"name\":\"c\",\"count\":",
                         integer_to_list(?CONTAINERS), "}"]),
    Ids = [lists:sublist(Id, 12) || Id <- bench_engine:ids(Added)],
    ?CONTAINERS = length(Ids),
    Nodes = [list_to_atom(Id ++ "@" ?ADDRESS) || Id <- Ids],
    Same = lists:duplicate(?CONTAINERS, hd(Nodes)),
    Samples = bench_stats:rounds(?ROUNDS, [{distinct, run(Double, lookups, [Nodes])},
                                           {equal, run(Double, lookups, [Same])},
                                           {httpc, run(Double, inspects, [?URL, Ids])}]),
    stop(Double),
    table(maps:map(fun(_, S) -> summary(S) end, Samples)).

%% The maximum of the requests, and the median of the times.
summary(Samples) ->
    {Notes, Times} = lists:unzip(Samples),
    Most = fun(Key, _) -> lists:max([maps:get(Key, N) || N <- Notes]) end,
    {maps:map(Most, hd(Notes)), bench_stats:median(Times)}.

table(#{distinct := {Distinct, DistinctTime}, equal := {Equal, EqualTime},
        httpc := {_, InspectTime}}) ->
    One = {"one request a lookup", ?CONTAINERS},
    [bench_table:row("1,000 distinct cold lookups at once: requests", count,
                     maps:get("requests", Distinct), One, {value, at_most, 10}),
     bench_table:row("1,000 distinct cold lookups at once: time", ns, DistinctTime,
                     {"1,000 `httpc` inspects at once", InspectTime}, none),
     bench_table:row("1,000 equal cold lookups at once: requests about the container", count,
                     maps:get("inspects", Equal), One, {value, at_most, 1}),
     bench_table:row("1,000 equal cold lookups at once: requests of all kinds", count,
                     maps:get("requests", Equal), One, {value, at_most, 10}),
     bench_table:row("1,000 equal cold lookups at once: time", ns, EqualTime,
                     {"1,000 `httpc` inspects at once", InspectTime}, none)].

%% Runs a function on a new node. Returns the number of requests to the double, and the time.
run(Double, Function, Arguments) ->
    fun() ->
            #{peer := Peer} = Node = bench_hosts:local([]),
            Before = notes(Double),
            Time = bench_hosts:call(Node, ?MODULE, Function, Arguments),
            After = notes(Double),
            peer:stop(Peer),
            [{maps:map(fun(Key, Number) -> Number - maps:get(Key, Before) end, After), Time}]
    end.

notes(Double) ->
    Notes = ask(Double, "{\"do\":\"notes\"}"),
    maps:from_list([{Key, bench_engine:number(Key, Notes)} || Key <- ["requests", "inspects"]]).

%% @doc The time until the last of these simultaneous lookups has its answer.
-spec lookups([node()]) -> bench_stats:ns().
lookups(Nodes) ->
    at_once([fun() -> {ok, #{port := _}} = eid:lookup(Node) end || Node <- Nodes]).

%% @doc The same for inspects with `httpc'.
-spec inspects(Engine :: string(), [Id :: string()]) -> bench_stats:ns().
inspects(Engine, Ids) ->
    bench_engine:start(),
    at_once([fun() -> bench_engine:inspect(Engine, Id) end || Id <- Ids]).

at_once(Functions) ->
    {Time, []} =
        bench_stats:timed(
          fun() ->
                  Started = [spawn_monitor(Function) || Function <- Functions],
                  [Why || {Pid, Monitor} <- Started,
                          receive {'DOWN', Monitor, process, Pid, Why} -> Why =/= normal end]
          end),
    Time.

%% Starts the double as a program that reads one command a line and prints one answer a line. run.sh
%% sets its path.
start_double() ->
    case os:getenv("EID_BENCH_DOUBLE") of
        false -> exit({missing, "the engine double is not built"});
        Program ->
            Port = open_port({spawn_executable, Program},
                             [{args, ["--listen", ?ADDRESS ":" ?PORT]}, {line, 1_000_000}, binary,
                              exit_status]),
            _Listening = answer(Port),
            Port
    end.

ask(Double, Command) ->
    true = port_command(Double, [Command, "\n"]),
    answer(Double).

answer(Double) ->
    receive
        {Double, {data, {eol, Line}}} -> Line;
        {Double, {exit_status, Status}} ->
            exit({missing, io_lib:format("the engine double ended with status ~b", [Status])})
    after 10_000 -> exit({missing, "the engine double does not answer"})
    end.

%% The double ends with its standard input.
stop(Double) -> true = port_close(Double).
