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

-spec rows() -> [bench_table:row()].
rows() ->
    _Registered = bench_hosts:bare(2, "registered", ["-start_epmd", "false"]),
    Id = bench_hosts:sleeping_container(2),
    Asker = bench_hosts:bare(1, "asker", ["-proto_dist", "eid_tcp", "-start_epmd", "false"]),
    Node = list_to_atom(Id ++ "@" ++ eid_rig:host_ip(2)),
    table(bench_hosts:call(Asker, ?MODULE, measure,
                           [Node, {"registered", {192, 0, 2, 2}}, {bench_hosts:engine(2), Id}])).

table(#{lookup := Lookup, epmd := Epmd, httpc := Httpc} = Medians) ->
    [bench_table:row("warm `eid:lookup/1`", ns, Lookup, {"`erl_epmd:port_please/2`", Epmd},
                     {ratio, at_most, 1 / 100}),
     bench_table:row("warm `eid:lookup/1`", ns, Lookup, {"`httpc` inspect, kept alive", Httpc},
                     {ratio, at_most, 1 / 100}),
     bench_table:row("warm `eid:lookup/1`", ns, Lookup, none, {value, at_most, 3.0e3}),
     case Medians of
         #{read := Read} ->
             bench_table:row("of that, the library's read alone", ns, Read,
                             {"`eid:lookup/1`", Lookup}, none);
         #{} ->
             bench_table:missing("of that, the library's read alone",
                                 "the library does not answer in the call itself")
     end].

%% @doc The medians, in nanoseconds.
-spec measure(node(), {Name :: string(), inet:ip_address()},
              {Engine :: string(), Id :: string()}) ->
          #{lookup | epmd | httpc | read => bench_stats:ns()}.
measure(Node, {Name, Ip}, {Engine, Id}) ->
    bench_engine:start(),
    Port = bench_engine:host_port(bench_engine:inspect(Engine, Id)),
    Lookup = fun() -> {ok, #{port := Port}} = eid:lookup(Node) end,
    warm_up(Lookup),
    Functions =
        [{lookup, Lookup},
         {epmd, fun() -> {port, _, _} = erl_epmd:port_please(Name, Ip) end},
         {httpc, fun() -> bench_engine:inspect(Engine, Id) end}]
        ++ [{read, Read} || Read <- library_read(Lookup)],
    Samples = bench_stats:rounds(?ROUNDS, [{What, turn(Fun)} || {What, Fun} <- Functions]),
    maps:map(fun(_, S) -> bench_stats:median(S) end, Samples).

%% A second is enough for eid to learn what it wants to know before it is asked.
warm_up(Lookup) ->
    [begin Lookup(), timer:sleep(10) end || _ <- lists:seq(1, 100)].

%% The samples of one turn. What takes less than a sample's time is called several times for it.
turn(Fun) ->
    Calls = bench_stats:calls_for(Fun, ?SAMPLE),
    Samples = max(1, round(?TURN / (Calls * bench_stats:calls(Fun, Calls)))),
    fun() -> [bench_stats:calls(Fun, Calls) || _ <- lists:seq(1, Samples)] end.

%% The call of the library in which a lookup reads. It is not part of the API, so it is watched for,
%% and then made again. None if the library answers with a message.
library_read(Lookup) ->
    {Asker, Monitor} = spawn_monitor(fun() -> receive go -> Lookup() end end),
    erlang:trace_pattern({eid_nif, lookup, '_'}, true, [local]),
    erlang:trace(Asker, true, [call]),
    Asker ! go,
    receive {'DOWN', Monitor, process, Asker, _} -> ok end,
    Delivered = erlang:trace_delivered(Asker),
    receive {trace_delivered, Asker, Delivered} -> ok end,
    erlang:trace_pattern({eid_nif, lookup, '_'}, false, [local]),
    receive
        {trace, Asker, call, {eid_nif, lookup, Arguments}} ->
            Read = fun() -> apply(eid_nif, lookup, Arguments) end,
            [Read || element(1, {Read()}) =/= pending]
    after 0 -> []
    end.
