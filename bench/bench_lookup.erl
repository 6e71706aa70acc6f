%% @doc A warm lookup: against epmd's answer, and against an inspect on a connection that is kept
%% alive.
%%
%% Everything is asked by one node, bare on host 1, of host 2: the engine there, and a real epmd
%% that has a node registered.
-module(bench_lookup).

-export([rows/0]).
%% On the node.
-export([measure/3]).

-define(ROUNDS, 60).
%% What a function gets of each round, and the least that one sample of it takes, in nanoseconds.
-define(TURN, 10.0e6).
-define(SAMPLE, 100.0e3).
%% How many calls are made after a rest, and for how many milliseconds the node rests before each.
-define(RESTED_CALLS, 100).
-define(REST, 10).

-spec rows() -> [bench_table:row()].
rows() ->
    _Registered = bench_hosts:bare(2, "registered", ["-start_epmd", "false"]),
    Id = bench_hosts:sleeping_container(2),
    Asker = bench_hosts:bare(1, "asker", ["-proto_dist", "eid_tcp", "-start_epmd", "false"]),
    Node = list_to_atom(Id ++ "@" ++ eid_rig:host_ip(2)),
    table(bench_hosts:call(Asker, ?MODULE, measure,
                           [Node, {"registered", {192, 0, 2, 2}}, {bench_hosts:engine(2), Id}])).

table({#{lookup := Lookup, epmd := Epmd, httpc := Httpc} = Medians, Rested}) ->
    Row = fun(What, Time, With, Bound) -> bench_table:row(What, ns, Time, With, Bound) end,
    AskEpmd = "`erl_epmd:port_please/2`",
    Inspect = "`httpc` inspect, kept alive",
    [Row("warm `eid:lookup/1`", Lookup, {AskEpmd, Epmd}, {ratio, at_most, 1 / 100}),
     Row("warm `eid:lookup/1`", Lookup, {Inspect, Httpc}, {ratio, at_most, 1 / 100}),
     Row("warm `eid:lookup/1`", Lookup, none, {value, at_most, 3.0e3})]
    ++ case Medians of
           #{read := Read} ->
               [Row("of that, the library's read alone", Read, {AskEpmd, Epmd}, none),
                Row("of that, the library's read alone", Read, {Inspect, Httpc}, none)];
           #{} ->
               [bench_table:missing("of that, the library's read alone",
                                    "the library does not answer in the call itself")]
       end
    ++ [Row("warm `eid:lookup/1` after a rest of 10 ms", maps:get(lookup, Rested),
            {Label, maps:get(Name, Rested)}, none)
        || {Name, Label} <- [{epmd, AskEpmd}, {httpc, Inspect}]].

%% @doc The medians, in nanoseconds: of calls back to back, and of calls after a rest.
-spec measure(node(), {Name :: string(), inet:ip_address()},
              {Engine :: string(), Id :: string()}) -> {Medians, Medians}
              when Medians :: #{lookup | epmd | httpc | read => bench_stats:ns()}.
measure(Node, {Name, Ip}, {Engine, Id}) ->
    bench_engine:start(),
    Port = bench_engine:host_port(bench_engine:inspect(Engine, Id)),
    Lookup = fun() -> {ok, #{port := Port}} = eid:lookup(Node) end,
    warm_up(Lookup),
    Functions = [{lookup, Lookup},
                 {epmd, fun() -> {port, _, _} = erl_epmd:port_please(Name, Ip) end},
                 {httpc, fun() -> bench_engine:inspect(Engine, Id) end}],
    Reads = [{read, Read} || Read <- library_read(Lookup, Port)],
    {medians(?ROUNDS, [{What, turn(Fun)} || {What, Fun} <- Functions ++ Reads]),
     medians(?RESTED_CALLS, [{What, rested(Fun)} || {What, Fun} <- Functions])}.

medians(Rounds, Functions) ->
    maps:map(fun(_, Samples) -> bench_stats:median(Samples) end,
             bench_stats:rounds(Rounds, Functions)).

%% A second is enough for eid to learn what it wants to know before it is asked.
warm_up(Lookup) ->
    [begin Lookup(), timer:sleep(10) end || _ <- lists:seq(1, 100)].

%% The samples of one turn. What takes less than a sample's time is called several times for it.
turn(Fun) ->
    Calls = bench_stats:calls_for(Fun, ?SAMPLE),
    Samples = max(1, round(?TURN / (Calls * bench_stats:calls(Fun, Calls)))),
    fun() -> [bench_stats:calls(Fun, Calls) || _ <- lists:seq(1, Samples)] end.

rested(Fun) ->
    fun() -> timer:sleep(?REST), [bench_stats:calls(Fun, 1)] end.

%% The call of the library in which a lookup reads. It is not part of the API, so all calls of the
%% library are watched, and that which answers the port is made again. None if a message brings it.
library_read(Lookup, Port) ->
    {Asker, Monitor} = spawn_monitor(fun() -> receive go -> Lookup() end end),
    erlang:trace_pattern({eid_nif, '_', '_'}, true, [local]),
    erlang:trace(Asker, true, [call]),
    Asker ! go,
    receive {'DOWN', Monitor, process, Asker, _} -> ok end,
    Delivered = erlang:trace_delivered(Asker),
    receive {trace_delivered, Asker, Delivered} -> ok end,
    erlang:trace_pattern({eid_nif, '_', '_'}, false, [local]),
    Reads = [fun() -> apply(eid_nif, Function, Arguments) end
             || {Function, Arguments} <- traced(Asker), Function =/= call],
    [Read || Read <- Reads, Answer <- [Read()], is_tuple(Answer),
             lists:member(Port, tuple_to_list(Answer))].

traced(Asker) ->
    receive
        {trace, Asker, call, {eid_nif, Function, Arguments}} ->
            [{Function, Arguments} | traced(Asker)]
    after 0 -> []
    end.
