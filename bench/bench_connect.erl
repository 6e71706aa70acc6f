%% @doc Measures a warm connect across hosts with eid. Compares it with `inet_tcp' and epmd between
%% bare hosts, with a known port, and with a first-generation design that asks the engine each time.
-module(bench_connect).

-export([rows/0]).
%% Run on the nodes.
-export([connects/2]).

-define(ROUNDS, 60).
-define(CONNECTS, 25).
%% Nanoseconds. A connect that takes longer hangs: nodes of the bench give up after two seconds.
-define(HANGS, 1.0e9).

-spec rows() -> [bench_table:row()].
rows() -> table(measure()).

measure() ->
    Eid = bench_hosts:container(1, []),
    First = bench_hosts:container(1, [], ["-epmd_module", "bench_httpc_epmd",
                                          "-start_epmd", "false"]),
    ok = bench_hosts:call(First, bench_engine, start, []),
    Bare = bench_hosts:bare(1, "connect1", ["-start_epmd", "false"]),
    #{node := BarePeer} = bench_hosts:bare(2, "connect2", ["-start_epmd", "false"]),
    #{node := Peer} = Container = bench_hosts:container(2, []),
    Known = {{192, 0, 2, 2}, eid_rig:port(Container)},
    Turn = fun(Route, From, To) ->
                   fun() ->
                           ok = bench_hosts:call(Eid, eid, set_route, [Peer, Route]),
                           %% Setting a route makes all processes collect garbage. The sleep waits
                           %% for the end.
                           timer:sleep(20),
                           bench_hosts:call(From, ?MODULE, connects, [To, ?CONNECTS])
                   end
           end,
    Functions = [{eid, Turn(default, Eid, Peer)},
                 {floor, Turn(Known, Eid, Peer)},
                 {inet_tcp, Turn(default, Bare, BarePeer)},
                 {first, Turn(default, First, Peer)}],
    _WarmedUp = bench_stats:rounds(2, Functions),
    bench_stats:rounds(?ROUNDS, Functions).

table(#{eid := Eid, floor := Floor, inet_tcp := InetTcp, first := First} = All) ->
    Row = fun(What, A, Label, B, Bound) ->
                  bench_table:row(What, ns, median(A), {Label, median(B)}, Bound)
          end,
    [Row("warm connect across hosts", Eid, "`inet_tcp` and epmd, bare hosts", InetTcp,
         {ratio, at_most, 0.75}),
     Row("warm connect across hosts", Eid, "the same with a known port (a route)", Floor,
         {ratio, at_most, 1.1}),
     Row("warm connect across hosts", Eid, "one `httpc` inspect per connect (first generation)", First,
         none),
     Row("connect to a known port across hosts", Floor, "`inet_tcp` and epmd, bare hosts", InetTcp,
         none)]
    ++ [failures(Name, maps:get(Key, All))
        || {Key, Name} <- [{eid, "eid"}, {floor, "known port"}, {inet_tcp, "`inet_tcp` and epmd"},
                           {first, "first generation"}]].

%% Only eid's own connects have a bound: none of them may fail.
failures(Name, Connects) ->
    Bad = length([bad || {Time, Connected} <- Connects, not Connected orelse Time >= ?HANGS]),
    bench_table:row(["connects that failed or hung, ", Name], count, Bad,
                    {"connects made", length(Connects)},
                    case Name of
                        "eid" -> {value, at_most, 0};
                        _ -> none
                    end).

%% The median over all connects. A failed connect counts as one that hangs.
median(Connects) ->
    bench_stats:median([case Connected of true -> Time; false -> ?HANGS end
                        || {Time, Connected} <- Connects]).

%% @doc Connects and disconnects `Count' times. Returns the time of each connect, and whether it
%% succeeded.
-spec connects(node(), pos_integer()) -> [{bench_stats:ns(), boolean()}].
connects(Node, Count) -> [connect(Node) || _ <- lists:seq(1, Count)].

connect(Node) ->
    {Time, Connected} = bench_stats:timed(fun() -> net_kernel:connect_node(Node) end),
    Connected andalso disconnect(Node),
    {Time, Connected}.

%% Returns when this side has noticed. The other side has noticed when the next connect reaches it.
disconnect(Node) ->
    erlang:monitor_node(Node, true),
    erlang:disconnect_node(Node),
    receive {nodedown, Node} -> ok end.
