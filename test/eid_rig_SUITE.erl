%% Nodes in containers on two real Docker hosts.
-module(eid_rig_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([loads_everywhere/1, compiles_everywhere/1, all_pairs/1, no_epmd/1, thousands_of_connects/1,
         thousands_of_connects_in_a_mesh/1, same_host/1, tls/1, ipv6/1,
         remote_shell_in_container/1, container_by_name/1, restarted_onto_another_port/1, names/1,
         reasons/1, engine_that_hangs/1, killed_in_mid_connect/1]).
%% These run on the nodes.
-export([connect_often/3, connect_twice_at_once/3, connect_until_stopped/1, stop_connecting/0,
         resources/0]).

%% Idle connections to an engine are closed after ten to twenty seconds (README).
-define(POOL_IDLE_TIME, 22_000).

suite() -> [{timetrap, {minutes, times(10)}}].

all() ->
    [loads_everywhere, compiles_everywhere, all_pairs, no_epmd, thousands_of_connects, thousands_of_connects_in_a_mesh,
     same_host, tls, ipv6, remote_shell_in_container, container_by_name, restarted_onto_another_port, names, reasons, engine_that_hangs,
     killed_in_mid_connect].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) -> eid_rig:down().

init_per_testcase(_, Config) -> Config.

end_per_testcase(_, _Config) -> eid_rig:stop_all().

%% How many times what `make test' does once, `make soak' does.
times(N) -> N * list_to_integer(os:getenv("EID_SOAK", "1")).

call(Container, Module, Function, Arguments) ->
    call(Container, Module, Function, Arguments, 60_000).

call(#{peer := Peer}, Module, Function, Arguments, Timeout) ->
    peer:call(Peer, Module, Function, Arguments, Timeout).

ping(From, #{node := Node}) -> call(From, net_adm, ping, [Node]).

lookup(From, Node) -> call(From, eid, lookup, [Node]).

disconnect(#{node := NodeA} = A, #{node := NodeB} = B) ->
    call(A, erlang, disconnect_node, [NodeB]),
    eid_ct:eventually(fun() -> not lists:member(NodeA, call(B, erlang, nodes, [])) end).

oldest() -> hd(eid_rig:releases()).
newest() -> lists:last(eid_rig:releases()).

%% Every release on host 1 with every release on host 2, in both directions, and both at once.
all_pairs(_) ->
    Releases = eid_rig:releases(),
    On = fun(Host) -> [{Release, eid_rig:start_node(Host, Release, #{})} || Release <- Releases] end,
    Left = On(1),
    Right = On(2),
    same_address(Left, Right),
    [begin
         ct:log("OTP ~s to OTP ~s", [ReleaseA, ReleaseB]),
         connect(A, B),
         connect(B, A),
         twice_at_once(A, B)
     end || {ReleaseA, A} <- Left, {ReleaseB, B} <- Right],
    ok.

%% What one release has compiled, the others load.
loads_everywhere(_) ->
    _ = application:load(eid),
    {ok, Modules} = application:get_key(eid, modules),
    [begin
         A = eid_rig:start_node(1, Release, #{}),
         ?assertEqual({Release, [{module, Module} || Module <- Modules]},
                      {Release, [call(A, code, ensure_loaded, [Module]) || Module <- Modules]}),
         %% And the library.
         {ok, #{route := loopback}} = lookup(A, maps:get(node, A))
     end || Release <- eid_rig:releases()].

%% And each compiles it itself.
compiles_everywhere(_) ->
    Folder = filename:join(eid_ct:root(), "src"),
    Files = filelib:wildcard("*.erl", Folder),
    [begin
         A = eid_rig:start_node(1, Release, #{mount => [{Folder, "/src"}]}),
         Results = [{File, call(A, compile, file, ["/src/" ++ File, [binary, return_errors]])} || File <- Files],
         ?assertEqual({Release, []}, {Release, [Failed || {_, Result} = Failed <- Results, element(1, Result) =/= ok]})
     end || Release <- eid_rig:releases()].

%% The situation that eid exists for: both bridges hand out the same addresses.
same_address(Left, Right) ->
    [Same, Same] = [eid_rig:docker(Host, ["inspect -f '{{.NetworkSettings.IPAddress}}' ", Id])
                    || [{_, #{host := Host, id := Id}} | _] <- [Left, Right]],
    "172.17.0." ++ _ = Same.

connect(#{node := NodeA} = A, #{node := NodeB} = B) ->
    pong = ping(A, B),
    NodeB = call(A, erpc, call, [NodeB, erlang, node, []]),
    NodeA = call(B, erpc, call, [NodeA, erlang, node, []]),
    ?assert(lists:member(NodeB, call(A, erlang, nodes, []))),
    disconnect(A, B).

twice_at_once(#{node := NodeA} = A, #{node := NodeB} = B) ->
    [eid_rig:load(Container, ?MODULE) || Container <- [A, B]],
    Start = call(A, erlang, system_time, [millisecond]) + 300,
    Self = self(),
    [spawn_link(fun() -> Self ! {From, call(From, ?MODULE, connect_twice_at_once, [To, Start, 60])} end)
     || {From, To} <- [{A, NodeB}, {B, NodeA}]],
    [receive {From, Answers} -> ?assertEqual({From, 60}, {From, Answers}) end || From <- [A, B]].

%% Both hosts' clocks are one, so both sides connect at the same milliseconds, and disconnect 25
%% milliseconds later. Counts the connects that worked.
connect_twice_at_once(Node, Start, Times) ->
    length([connected || Round <- lists:seq(0, Times - 1),
                         true <- [begin
                                      sleep_until(Start + Round * 50),
                                      Connected = net_kernel:connect_node(Node),
                                      sleep_until(Start + Round * 50 + 25),
                                      erlang:disconnect_node(Node),
                                      Connected
                                  end]]).

sleep_until(Time) ->
    timer:sleep(max(0, Time - erlang:system_time(millisecond))).

no_epmd(_) ->
    #{id := Id} = A = eid_rig:start_node(1, oldest(), #{}),
    B = eid_rig:start_node(2, newest(), #{}),
    pong = ping(A, B),
    no_epmd_in(1, Id),
    %% Nothing but the carrier on the command line: erl starts an epmd, which nobody asks.
    C = eid_rig:start_node(2, oldest(), #{erl => ["-proto_dist", "eid_tcp"]}),
    connect(A, C),
    connect(C, A).

no_epmd_in(Host, Id) ->
    Programs = string:lexemes(eid_rig:docker(Host, ["top ", Id, " -eo pid,comm"]), " \r\n"),
    ?assert(lists:member("beam.smp", Programs)),
    ?assertNot(lists:member("epmd", Programs)).

%% Without a pause. These settings keep `global' from connecting back meanwhile.
thousands_of_connects(_) ->
    A = eid_rig:start_node(1, oldest(), no_mesh()),
    #{node := NodeB} = eid_rig:start_node(2, newest(), no_mesh()),
    0 = failed_connects(A, NodeB, 1).

%% With `global', each connect meets an attempt from the other side, more often than not. When the two
%% collide within net_kernel, OTP may give up both, so a second call may be needed; but none hangs.
thousands_of_connects_in_a_mesh(_) ->
    A = eid_rig:start_node(1, oldest(), #{}),
    #{node := NodeB} = eid_rig:start_node(2, newest(), #{}),
    0 = failed_connects(A, NodeB, 2).

no_mesh() -> no_mesh([]).

no_mesh(More) ->
    #{erl => ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-connect_all", "false",
              "-kernel", "prevent_overlapping_partitions", "false" | More]}.

%% How many of the connects failed, or took seconds, with so many tries each.
failed_connects(A, NodeB, Tries) ->
    eid_rig:load(A, ?MODULE),
    {Time, Failures} =
        timer:tc(fun() -> call(A, ?MODULE, connect_often, [NodeB, times(2000), Tries], times(300_000)) end),
    ct:log("~b connects and disconnects in ~b ms", [times(2000), Time div 1000]),
    Failures.

connect_often(Node, Times, Tries) ->
    length([failed || _ <- lists:seq(1, Times), not connects_soon(Node, Tries)]).

connects_soon(Node, Tries) ->
    Start = erlang:monotonic_time(millisecond),
    Connected = lists:any(fun(_) -> net_kernel:connect_node(Node) end, lists:seq(1, Tries)),
    erlang:disconnect_node(Node),
    Connected andalso erlang:monotonic_time(millisecond) - Start < 5000.

same_host(_) ->
    A = eid_rig:start_node(1, oldest(), #{}),
    B = eid_rig:start_node(1, newest(), #{}),
    connect(A, B).

tls(_) ->
    Dir = filename:join("/tmp", "eid-tls-" ++ os:getpid()),
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    OptFile = eid_tls:options(Dir, [eid_rig:host_ip(1), eid_rig:host_ip(2)]),
    Options = #{mount => [Dir],
                erl => ["-proto_dist", "inet_tls", "-epmd_module", "eid_epmd", "-start_epmd", "false",
                        "-ssl_dist_optfile", OptFile]},
    [begin
         A = eid_rig:start_node(1, Release, Options),
         #{id := Id} = B = eid_rig:start_node(2, Release, Options),
         connect(A, B),
         {ok, #{route := published}} = lookup(B, maps:get(node, A)),
         no_epmd_in(2, Id)
     end || Release <- eid_rig:releases()],
    ok = file:del_dir_r(Dir).

ipv6(_) ->
    Options = fun(Host) ->
                      #{host => eid_rig:host_ip6(Host),
                        docker => ["-p", "[" ++ eid_rig:host_ip6(Host) ++ "]::12345"],
                        erl => ["-proto_dist", "eid6_tcp", "-start_epmd", "false"]}
              end,
    A = eid_rig:start_node(1, oldest(), Options(1)),
    #{node := NodeB} = B = eid_rig:start_node(2, newest(), Options(2)),
    connect(A, B),
    connect(B, A),
    {ok, #{ip := {16#2001,16#db8,0,0,0,0,0,2}, route := published}} = lookup(A, NodeB).

%% A second VM in the same container is a shell, and asks no engine: host 1's is not even there.
remote_shell_in_container(_) ->
    [begin
         #{id := Id, node := Node} = eid_rig:start_node(1, Release, #{}),
         {0, _} = eid_rig:command("dockerd 1 pause"),
         try
             Shell = ["erl -remsh ", atom_to_list(Node), " -pa /opt/eid/ebin -proto_dist eid_tcp",
                      " -start_epmd false -setcookie eid_rig"],
             %% A shell wants a terminal.
             Output = in_container(Id, ["(sleep 2; echo 'node().'; sleep 1) | TERM=xterm timeout 10 "
                                        "script -qec '", Shell, "' /dev/null"]),
             ?assertNotEqual({nomatch, Output}, {string:find(Output, "'" ++ atom_to_list(Node) ++ "'"), Output})
         after
             {0, _} = eid_rig:command("dockerd 1 continue")
         end
     end || Release <- eid_rig:releases()].

%% Without Docker, which is paused: into the namespaces of the container's first process.
in_container(Id, Command) ->
    Find = ["for p in /proc/[0-9]*; do grep -qs ", Id, " $p/mountinfo && grep -qsa beam.smp $p/comm ",
            "&& basename $p; done | head -1"],
    Pid = string:trim(os:cmd(lists:flatten(Find))),
    File = filename:join("/tmp", "eid-shell-" ++ Id),
    ok = file:write_file(File, [Command, "\n"]),
    Output = os:cmd(lists:flatten(["nsenter -t ", Pid, " -m -n -p -i -u sh < ", File, " 2>&1"])),
    ok = file:delete(File),
    Output.

container_by_name(_) ->
    A = eid_rig:start_node(1, oldest(), #{name => "shop_a"}),
    #{node := 'shop_b@192.0.2.2'} = B = eid_rig:start_node(2, newest(), #{name => "shop_b"}),
    connect(A, B),
    connect(B, A).

restarted_onto_another_port(_) ->
    A = eid_rig:start_node(1, oldest(), #{}),
    #{node := NodeB} = B = eid_rig:start_detached(2, newest(), #{}),
    eid_ct:eventually(fun() -> ping(A, B) =:= pong end, 20_000),
    [begin
         Before = eid_rig:port(B),
         eid_rig:restart(B),
         After = eid_rig:port(B),
         ?assertNotEqual(Before, After),
         eid_ct:eventually(fun() -> ping(A, B) =:= pong end, 20_000),
         {ok, #{port := After}} = lookup(A, NodeB)
     end || _ <- lists:seq(1, 3)],
    ok.

names(_) ->
    #{id := IdA} = A = eid_rig:start_node(1, oldest(), #{}),
    #{id := IdB} = B = eid_rig:start_node(2, newest(), #{}),
    _Unpublished = eid_rig:start_node(2, newest(), #{docker => []}),
    PortA = eid_rig:port(A),
    PortB = eid_rig:port(B),
    {ok, [{IdA, PortA}]} = call(A, eid_epmd, names, []),
    {ok, [{IdB, PortB}]} = call(A, eid_epmd, names, ["192.0.2.2"]),
    {port, PortB, 6} = call(A, eid_epmd, port_please, [IdB, "192.0.2.2"]),
    noport = call(A, eid_epmd, port_please, ["nobody", {192,0,2,2}]).

%% Each reason, from a real engine, and the log line that a connection leaves.
reasons(_) ->
    %% Its DNS server is not there, which is soon found out.
    A = eid_rig:start_node(1, newest(), #{docker => ["-p", "192.0.2.1::12345", "--dns", "127.0.0.1"]}),
    ok = eid_ct:start_log(maps:get(peer, A)),
    Elsewhere = fun(Publish) -> eid_rig:start_detached(2, oldest(), #{docker => Publish}) end,
    #{id := Stopped} = Container = Elsewhere(["-p", "192.0.2.2::12345"]),
    eid_rig:docker(2, ["stop -t 0 ", Stopped]),
    Cases = [{no_such_container, 'nobody@192.0.2.2'},
             {not_running, maps:get(node, Container)},
             {not_published, maps:get(node, Elsewhere([]))},
             {published_on_loopback, maps:get(node, Elsewhere(["-p", "127.0.0.1::12345"]))},
             {published_elsewhere, maps:get(node, Elsewhere(["-p", "[2001:db8::2]::12345"]))},
             {unknown_host, 'a@no.such.host.invalid'},
             {bad_node_name, 'a@192.0.2.2/x'}],
    [begin
         {Node, {error, Reason}} = {Node, lookup(A, Node)},
         pang = call(A, net_adm, ping, [Node])
     end || {Reason, Node} <- Cases],
    %% An address that nobody has: Linux itself gives up after three seconds.
    {error, timeout} = lookup(A, 'a@192.0.2.3'),
    {0, _} = eid_rig:command("dockerd 2 kill"),
    {error, {unreachable, Detail}} = lookup(A, 'a@192.0.2.2'),
    ?assertNotEqual({nomatch, Detail}, {string:find(Detail, "refused"), Detail}),
    {0, _} = eid_rig:command("dockerd 2 start"),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(maps:get(peer, A))) >= length(Cases) end),
    Lines = eid_ct:log_lines(maps:get(peer, A)),
    ?assertEqual(length(Cases), length(Lines)),
    ?assertEqual([], ["No connection to " ++ atom_to_list(Node) ++ ": " ++ eid:format_error(Reason)
                      || {Reason, Node} <- Cases] -- Lines).

engine_that_hangs(_) ->
    A = eid_rig:start_node(1, newest(), #{}),
    #{node := NodeB} = eid_rig:start_node(2, newest(), #{}),
    {0, _} = eid_rig:command("dockerd 2 pause"),
    try
        {error, timeout} = lookup(A, NodeB),
        pang = call(A, net_adm, ping, [NodeB])
    after
        {0, _} = eid_rig:command("dockerd 2 continue")
    end,
    pong = call(A, net_adm, ping, [NodeB]).

%% The engine, the container or the network goes while one node connects to another and disconnects
%% without a pause. Afterwards the node is as it was before.
killed_in_mid_connect(_) ->
    #{peer := Peer} = A = eid_rig:start_node(1, newest(), no_mesh(["net_setuptime", "1"])),
    ok = eid_ct:start_log(Peer),
    ok = eid_rig:load(A, ?MODULE),
    #{node := NodeB} = B = eid_rig:start_detached(2, oldest(), no_mesh()),
    Reachable = fun() -> connects_thrice(A, NodeB) end,
    eid_ct:eventually(Reachable, 20_000),
    Before = resources_at_rest(A, NodeB),
    %% What was said while the other node was still starting.
    _ = eid_ct:take_log(Peer),
    [begin
         Connecting = async(fun() -> call(A, ?MODULE, connect_until_stopped, [NodeB]) end),
         timer:sleep(50 + rand:uniform(50)),
         break(What, B),
         timer:sleep(rand:uniform(100)),
         mend(What, B),
         call(A, ?MODULE, stop_connecting, []),
         {Connects, Failures} = result(Connecting),
         Lines = eid_ct:take_log(Peer),
         ct:log("~p: ~b connects, ~b failures~n~p", [What, Connects, Failures, lists:usort(Lines)]),
         ?assert(Connects > 0),
         ?assertEqual([], [Line || Line <- Lines, not is_expected(What, Line)]),
         eid_ct:eventually(Reachable, 20_000),
         eid_ct:take_log(Peer)
     end || _ <- lists:seq(1, times(8)), What <- rounds()],
    After = resources_at_rest(A, NodeB),
    ?assertEqual({[], []}, {maps:get(processes, After) -- maps:get(processes, Before),
                            maps:get(messages, After)}),
    ?assertEqual(Before, After).

%% With no connection, and after the pool has closed its own.
resources_at_rest(A, NodeB) ->
    timer:sleep(?POOL_IDLE_TIME),
    %% A message that was under way to either node makes a connection once more.
    eid_ct:eventually(fun() ->
                              call(A, erlang, disconnect_node, [NodeB]),
                              timer:sleep(500),
                              call(A, erlang, nodes, [connected]) =:= []
                      end),
    call(A, ?MODULE, resources, []).

%% Of 25 rounds: how many cut the network, kill the container, kill the engine.
rounds() -> lists:duplicate(17, network) ++ lists:duplicate(6, container) ++ [engine, engine].

break(network, _) -> {0, _} = eid_rig:command("link down");
break(engine, _) -> {0, _} = eid_rig:command("dockerd 2 kill");
break(container, #{id := Id}) -> eid_rig:docker(2, ["kill ", Id]).

mend(network, _) -> {0, _} = eid_rig:command("link up");
mend(engine, _) -> {0, _} = eid_rig:command("dockerd 2 start");
mend(container, #{id := Id}) -> eid_rig:docker(2, ["start ", Id]).

connects_thrice(A, NodeB) -> call(A, ?MODULE, connect_often, [NodeB, 3, 1]) =:= 0.

async(Fun) ->
    Self = self(),
    Ref = make_ref(),
    spawn_link(fun() -> Self ! {Ref, Fun()} end),
    Ref.

result(Ref) -> receive {Ref, Result} -> Result end.

connect_until_stopped(Node) ->
    true = register(?MODULE, self()),
    Counts = connect_until_stopped(Node, 0, 0),
    true = unregister(?MODULE),
    Counts.

connect_until_stopped(Node, Connects, Failures) ->
    receive stop -> {Connects, Failures}
    after 0 ->
            case net_kernel:connect_node(Node) of
                true ->
                    erlang:disconnect_node(Node),
                    connect_until_stopped(Node, Connects + 1, Failures);
                false -> connect_until_stopped(Node, Connects, Failures + 1)
            end
    end.

stop_connecting() -> ?MODULE ! stop.

%% What must not grow: processes, messages in their queues, ports, file descriptors.
resources() ->
    {ok, Descriptors} = file:list_dir("/proc/self/fd"),
    Others = processes() -- [self()],
    #{processes => lists:sort([who(Pid) || Pid <- Others]),
      messages => [{who(Pid), Messages} || Pid <- Others,
                                           {messages, [_ | _] = Messages} <- [process_info(Pid, messages)]],
      ports => length(erlang:ports()), descriptors => length(Descriptors)}.

who(Pid) ->
    case process_info(Pid, [registered_name, initial_call, dictionary]) of
        [{registered_name, Name}, _, _] when is_atom(Name) -> Name;
        [_, {initial_call, Call}, {dictionary, Dictionary}] ->
            proplists:get_value('$initial_call', Dictionary, Call);
        undefined -> gone
    end.

%% What a person may read in the log after a break of each kind.
is_expected(What, Line) ->
    lists:any(fun(Words) -> string:find(Line, Words) =/= nomatch end, expected(What)).

expected(network) -> ["no answer in time", "finish the handshake in time", "no route to host", "unreachable"];
expected(container) -> ["is not running", "does not publish", "dialling", "the handshake failed", "hung up",
                        "finish the handshake in time"];
%% An engine that starts makes its rules for published ports anew: for a moment there are none.
expected(engine) -> ["Docker API", "no answer in time", "connection refused. Nothing listens",
                     "finish the handshake in time"].
