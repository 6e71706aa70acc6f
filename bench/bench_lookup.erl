%% @doc A warm lookup: against epmd's answer, and against an inspect on a connection that is kept
%% alive.
%%
%% Everything is asked by one node, bare on host 1, of host 2: the engine there, and a real epmd
%% that has a node registered.
-module(bench_lookup).

-export([rows/0]).
%% On the node.
-export([measure/3]).

%% Each round makes so many single calls of what is fast, and of what is slow.
-define(ROUNDS, 60).
-define(FAST_CALLS, 500).
-define(SLOW_CALLS, 20).
%% Between two single calls, in nanoseconds. A node that connects does not look up all the time.
-define(GAP, 20.0e3).
%% How many calls, back to back, are one sample of a burst.
-define(BURST, 500).
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

table(#{lookup := Lookup, rested_lookup := Rested, burst := Burst} = All) ->
    Row = fun(What, Time, With, Bound) ->
                  bench_table:row(What, ns, bench_stats:median(Time), With, Bound)
          end,
    Others = [{maps:get(Name, All), maps:get(RestedName, All), Label}
              || {Name, RestedName, Label} <-
                     [{epmd, rested_epmd, "`erl_epmd:port_please/2`"},
                      {httpc, rested_httpc, "`httpc` inspect, kept alive"}]],
    Median = fun(Label, Times) -> {Label, bench_stats:median(Times)} end,
    FastestTenth = fun(Label, Times) ->
                           {[Label, ", the fastest tenth"], bench_stats:percentile(10, Times)}
                   end,
    [Row("warm `eid:lookup/1`", Lookup, Median(Label, Other), {ratio, at_most, 1 / 100})
     || {Other, _, Label} <- Others]
    ++ [Row("warm `eid:lookup/1`", Lookup, none, {value, at_most, 3.0e3})]
    ++ [Row("warm `eid:lookup/1`", Lookup, FastestTenth(Label, Other), none)
        || {Other, _, Label} <- Others]
    ++ case All of
           #{read := Read} ->
               [Row("of that, the library's read alone", Read, Median(Label, Other), none)
                || {Other, _, Label} <- Others];
           #{} ->
               [bench_table:missing("of that, the library's read alone",
                                    "the library does not answer in the call itself")]
       end
    ++ [Row("warm `eid:lookup/1`, many without a pause", Burst, Median("a single one", Lookup),
            none)]
    ++ [Row("warm `eid:lookup/1` after a rest of 10 ms", Rested, Median(Label, Other), none)
        || {_, Other, Label} <- Others].

%% @doc All samples, in nanoseconds.
-spec measure(node(), {Name :: string(), inet:ip_address()},
              {Engine :: string(), Id :: string()}) -> #{atom() => [bench_stats:ns()]}.
measure(Node, {Name, Ip}, {Engine, Id}) ->
    bench_engine:start(),
    Port = bench_engine:host_port(bench_engine:inspect(Engine, Id)),
    Lookup = fun() -> {ok, #{port := Port}} = eid:lookup(Node) end,
    Epmd = fun() -> {port, _, _} = erl_epmd:port_please(Name, Ip) end,
    Httpc = fun() -> bench_engine:inspect(Engine, Id) end,
    warm_up(Lookup),
    Single = bench_stats:rounds(?ROUNDS, [{lookup, single(Lookup, ?FAST_CALLS)},
                                          {epmd, single(Epmd, ?SLOW_CALLS)},
                                          {httpc, single(Httpc, ?SLOW_CALLS)},
                                          {burst, burst(Lookup)}]
                                         ++ [{read, burst(Read)}
                                             || Read <- library_read(Lookup, Port)]),
    Rested = bench_stats:rounds(?RESTED_CALLS, [{rested_lookup, rested(Lookup)},
                                                {rested_epmd, rested(Epmd)},
                                                {rested_httpc, rested(Httpc)}]),
    maps:merge(Single, Rested).

%% A second is enough for eid to learn what it wants to know before it is asked.
warm_up(Lookup) ->
    [begin Lookup(), timer:sleep(10) end || _ <- lists:seq(1, 100)].

single(Fun, Count) ->
    fun() -> [bench_stats:apart(Fun, ?GAP) || _ <- lists:seq(1, Count)] end.

burst(Fun) ->
    fun() -> [bench_stats:calls(Fun, ?BURST)] end.

rested(Fun) ->
    fun() -> timer:sleep(?REST), [bench_stats:apart(Fun, 0)] end.

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
