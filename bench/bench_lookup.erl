%% @doc Compares a warm lookup with epmd's answer, and with an inspect on a connection that is kept
%% alive.
%%
%% One bare node on host 1 sends all requests to host 2: to the engine there, and to a real epmd
%% with one registered node.
-module(bench_lookup).

-export([rows/0]).
%% Run on the node.
-export([measure/3]).

-define(ROUNDS, 60).
%% Calls in each round: many of the fast functions, few of the slow ones.
-define(FAST_CALLS, 500).
-define(SLOW_CALLS, 20).
%% Nanoseconds between two single calls. A node that connects does not look up all the time.
-define(GAP, 20.0e3).
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

table(#{lookup := Lookup, settings := Settings} = All) ->
    Row = fun(What, Time, With, Bound) ->
                  bench_table:row(What, ns, bench_stats:median(Time), With, Bound)
          end,
    Against = fun(What, Time, Prefix, EpmdBound) ->
                      [Row(What, Time, {Label, bench_stats:median(maps:get({Prefix, Name}, All))}, Bound)
                       || {Name, Label, Bound} <- [{epmd, "`erl_epmd:port_please/2`", EpmdBound},
                                                   {httpc, "`httpc` inspect, kept alive", none}]]
              end,
    Against("warm `eid:lookup/1`", Lookup, single, {ratio, at_most, 1 / 15})
    ++ [Row("lower limit of the lookup: the time to read its five settings", Settings,
            {"the lookup", bench_stats:median(Lookup)}, none)]
    ++ case All of
           #{read := Read} ->
               [Row("the library's read alone", Read,
                    {"the lookup", bench_stats:median(Lookup)}, none)];
           #{} ->
               [bench_table:missing("the library's read alone",
                                    "the library does not answer in the call itself")]
       end
    ++ Against("warm `eid:lookup/1` after a rest of 10 ms", maps:get(rested_lookup, All), rested, none).

%% @doc All samples, in nanoseconds.
-spec measure(node(), {Name :: string(), inet:ip_address()},
              {Engine :: string(), Id :: string()}) -> #{term() => [bench_stats:ns()]}.
measure(Node, {Name, Ip}, {Engine, Id}) ->
    bench_engine:start(),
    Port = bench_engine:host_port(bench_engine:inspect(Engine, Id)),
    Lookup = fun() -> {ok, #{port := Port}} = eid:lookup(Node) end,
    Epmd = fun() -> {port, _, _} = erl_epmd:port_please(Name, Ip) end,
    Httpc = fun() -> bench_engine:inspect(Engine, Id) end,
    warm_up(Lookup),
    Awake = bench_stats:rounds(?ROUNDS, [{lookup, single(Lookup, ?FAST_CALLS)},
                                         {{single, epmd}, single(Epmd, ?SLOW_CALLS)},
                                         {{single, httpc}, single(Httpc, ?SLOW_CALLS)},
                                         {settings, single(fun read_settings/0, ?FAST_CALLS)}]
                                        ++ [{read, single(Read, ?FAST_CALLS)}
                                            || Read <- library_read(Lookup, Port)]),
    Rested = bench_stats:rounds(?RESTED_CALLS, [{rested_lookup, rested(Lookup)},
                                                {{rested, epmd}, rested(Epmd)},
                                                {{rested, httpc}, rested(Httpc)}]),
    maps:merge(Awake, Rested).

%% A lookup reads these settings each time, because a user may change them at any time.
read_settings() ->
    [application:get_env(Application, Key)
     || {Application, Key} <- [{kernel, erlang_port}, {kernel, docker_daemon_port}, {eid, engines},
                               {eid, routes}, {eid, allowed_hosts}]].

%% In one second eid learns all containers, and then answers without a request.
warm_up(Lookup) ->
    [begin Lookup(), timer:sleep(10) end || _ <- lists:seq(1, 100)].

single(Fun, Count) ->
    fun() -> [bench_stats:apart(Fun, ?GAP) || _ <- lists:seq(1, Count)] end.

rested(Fun) ->
    fun() -> timer:sleep(?REST), [bench_stats:apart(Fun, 0)] end.

%% Finds the call of the library in which a lookup reads the port. The call is not part of the API.
%% Therefore the bench traces all calls of the library and repeats the call that returns the port.
%% Returns an empty list if a message brings the answer.
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
