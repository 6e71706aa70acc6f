%% Tests the distribution carrier without Docker: two nodes at two loopback addresses, with routes
%% that the test sets. The cases check that eid_tcp behaves like inet_tcp. Cases that need
%% containers are in eid_rig_SUITE.
-module(eid_carrier_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0]).
-export([connects/1, hidden/1, silent_epmd/1, erlang_port/1, bad_settings/1, second_listener/1,
         dist_listen_false/1, remote_shell/1, dynamic_name/1, erl_call/1, listen_options/1,
         setup_time/1, ipv6/1, tls/1, refused_dial/1, wrong_cookie/1,
         another_node/1, not_allowed/1, disallowed_host/1, route_at_run_time/1, epmd_route/1,
         simultaneous/1, reload/1, reload_in_use/1, changed_library/1, select_does_no_io/1]).

-define(A, eid_ct:ip(2)).
-define(B, eid_ct:ip(3)).

all() ->
    [connects, hidden, silent_epmd, erlang_port, bad_settings, second_listener, dist_listen_false,
     remote_shell, dynamic_name, erl_call, listen_options, setup_time, ipv6,
     tls, refused_dial, wrong_cookie, another_node, not_allowed, disallowed_host, route_at_run_time,
     epmd_route, simultaneous, reload, reload_in_use, changed_library, select_does_no_io].

%% The nodes are linked to the test process and end with it.

pair() -> pair([], []).

pair(ArgumentsA, ArgumentsB) ->
    {ok, A, NodeA} = eid_ct:start_node(a, ?A, ArgumentsA),
    {ok, B, NodeB} = eid_ct:start_node(b, ?B, ArgumentsB),
    {A, NodeA, B, NodeB}.

ping(Peer, Node) -> peer:call(Peer, net_adm, ping, [Node], 30_000).

node_name(Name, N) -> list_to_atom(Name ++ "@" ++ eid_ct:ip(N)).

%% Disconnects B from A, and waits until both nodes have noticed.
disconnect(A, B) ->
    [NodeB] = peer:call(A, erlang, nodes, []),
    true = peer:call(A, erlang, disconnect_node, [NodeB]),
    [eid_ct:eventually(fun() -> peer:call(Peer, erlang, nodes, []) =:= [] end) || Peer <- [A, B]].

connects(_) ->
    {A, NodeA, B, NodeB} = pair(),
    pong = ping(A, NodeB),
    [NodeB] = peer:call(A, erlang, nodes, []),
    [NodeA] = peer:call(B, erlang, nodes, []),
    NodeB = peer:call(A, erpc, call, [NodeB, erlang, node, []]),
    NodeA = peer:call(B, erpc, call, [NodeA, erlang, node, []]),
    Ip = eid_ct:address(3),
    {ok, #{ip := Ip, port := 12345, route := direct}} = peer:call(A, eid, lookup, [NodeB]),
    ok = peer:call(A, net_kernel, setopts, [NodeB, [{nodelay, false}]]),
    {ok, [{nodelay, false}]} = peer:call(A, net_kernel, getopts, [NodeB, [nodelay]]),
    disconnect(B, A),
    pong = ping(B, NodeA).

hidden(_) ->
    {A, NodeA, B, NodeB} = pair(["-hidden"], []),
    pong = ping(A, NodeB),
    [] = peer:call(B, erlang, nodes, []),
    [NodeA] = peer:call(B, erlang, nodes, [hidden]).

erlang_port(_) ->
    Port = ["-kernel", "erlang_port", "12399"],
    {A, _, _, NodeB} = pair(Port, Port),
    pong = ping(A, NodeB),
    {ok, #{port := 12399}} = peer:call(A, eid, lookup, [NodeB]).

bad_settings(_) ->
    [begin
         {Status, Output} = eid_ct:run_erl(["-noinput", "-name", "a@" ++ ?A, "-eval", "halt(0)."
                                            | eid_ct:arguments(?A) ++ Setting], []),
         ?assertNotEqual(0, Status),
         [?assertNotEqual({nomatch, Output}, {string:find(Output, Word), Output}) || Word <- Words]
     end || {Setting, Words} <-
                [{["-kernel", "erlang_port", "0"], ["erlang_port", "it is 0"]},
                 {["-kernel", "erlang_port", "high"], ["erlang_port", "it is high"]},
                 {["-kernel", "docker_daemon_port", "65536"], ["docker_daemon_port", "it is 65536"]},
                 {["-kernel", "erlang_port", "x", "-dist_listen", "false"], ["erlang_port", "it is x"]},
                 {["-eid", "connect_timeout", "0"], ["connect_timeout", "it is 0"]},
                 {["-eid", "allowed_hosts", "everywhere"], ["allowed_hosts", "it is everywhere"]}]].

second_listener(_) ->
    {ok, _A, _} = eid_ct:start_node(a, ?A, []),
    {Status, Output} = eid_ct:run_erl(["-noinput", "-name", "second@" ++ ?A
                                       | eid_ct:arguments(?A)], []),
    ?assertNotEqual(0, Status),
    [?assertNotEqual({nomatch, Output}, {string:find(Output, Word), Output})
     || Word <- ["port 12345 is taken", "another Erlang node in this container"]].

dist_listen_false(_) ->
    {ok, _A, NodeA} = eid_ct:start_node(a, ?A, []),
    {ok, Quiet, _} = eid_ct:start_node(quiet, ?A, ["-dist_listen", "false"]),
    pong = ping(Quiet, NodeA),
    [] = peer:call(Quiet, erlang, nodes, []),
    [NodeA] = peer:call(Quiet, erlang, nodes, [hidden]).

remote_shell(_) ->
    {ok, _A, NodeA} = eid_ct:start_node(a, ?A, []),
    %% A remote shell needs a terminal. The program `script' provides one.
    Command = lists:join(" ", ["echo $$ > remsh.pid; exec erl -remsh", atom_to_list(NodeA)
                               | [["'", Argument, "'"] || Argument <- eid_ct:arguments(?A)]]),
    ok = file:write_file("remsh.sh", Command),
    Shell = open_port({spawn, "script -qfec 'sh remsh.sh' /dev/null"},
                      [binary, exit_status, stderr_to_stdout, {env, [{"TERM", "xterm"}]}]),
    ok = expect(Shell, iolist_to_binary(["(", atom_to_list(NodeA), ")1>"]), <<>>),
    port_command(Shell, "{here, node()}.\n"),
    ok = expect(Shell, iolist_to_binary(io_lib:format("{here,~p}", [NodeA])), <<>>),
    {ok, OsPid} = file:read_file("remsh.pid"),
    end_program(Shell, string:trim(binary_to_list(OsPid))).

expect(Port, Pattern, Seen) ->
    receive
        {Port, {data, Data}} ->
            All = <<Seen/binary, Data/binary>>,
            case binary:match(All, Pattern) of
                nomatch -> expect(Port, Pattern, All);
                _ -> ok
            end;
        {Port, {exit_status, Status}} -> {ended, Status, Seen}
    after 60_000 -> {timeout, Seen}
    end.

end_program(Port) ->
    {os_pid, OsPid} = erlang:port_info(Port, os_pid),
    end_program(Port, integer_to_list(OsPid)).

end_program(Port, OsPid) ->
    os:cmd("kill -9 " ++ OsPid),
    receive {Port, {exit_status, _}} -> ok after 60_000 -> error(does_not_end) end.

%% The node gets its name from the first node that it connects to.
dynamic_name(_) ->
    {ok, A, NodeA} = eid_ct:start_node(a, ?A, []),
    Eval = "net_kernel:connect_node('" ++ atom_to_list(NodeA) ++ "'), "
        "io:format(\"named ~p~n\", [node()]), receive after infinity -> ok end.",
    Port = open_port({spawn_executable, os:find_executable("erl")},
                     [{args, ["-noinput", "-name", "undefined@" ++ ?B, "-eval", Eval
                              | eid_ct:arguments(?B)]}, binary, exit_status, stderr_to_stdout]),
    ok = expect(Port, iolist_to_binary(["@", ?B, "'"]), <<>>),
    eid_ct:eventually(fun() -> length(peer:call(A, erlang, nodes, [hidden])) =:= 1 end),
    end_program(Port).

erl_call(_) ->
    {ok, _A, NodeA} = eid_ct:start_node(a, ?A, []),
    ?assertEqual("'" ++ atom_to_list(NodeA) ++ "'",
                 os:cmd("erl_call -address " ++ ?A ++ ":12345 -c eid_ct -a 'erlang node []'")).

listen_options(_) ->
    Options = ["-kernel", "inet_dist_listen_options", "[{sndbuf,16384}]", "inet_dist_connect_options",
               "[{sndbuf,16384}]"],
    {A, NodeA, B, NodeB} = pair(Options, Options),
    pong = ping(A, NodeB),
    {ok, [{sndbuf, Connected}]} = peer:call(A, net_kernel, getopts, [NodeB, [sndbuf]]),
    {ok, [{sndbuf, Accepted}]} = peer:call(B, net_kernel, getopts, [NodeA, [sndbuf]]),
    %% Linux doubles the size that a program requests.
    [?assert(Size =< 2 * 16384) || Size <- [Connected, Accepted]].

%% A peer that accepts the connection and never sends anything.
setup_time(_) ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, eid_ct:address(3)}]),
    {ok, Port} = inet:port(Silent),
    Node = node_name("silent", 3),
    Start = fun(Name, SetupTime) ->
                    {ok, Peer, _} = eid_ct:start_node(Name, ?A, ["-dist_listen", "false", "-kernel",
                                                                 "net_setuptime", SetupTime]),
                    ok = eid_ct:start_log(Peer),
                    ok = peer:call(Peer, eid, set_route, [Node, {eid_ct:address(3), Port}]),
                    Peer
            end,
    {Short, Long} = {Start(short, "1"), Start(long, "120")},
    Waiting = spawn(fun() -> peer:call(Long, net_adm, ping, [Node], infinity) end),
    {ok, _Connected} = gen_tcp:accept(Silent),
    fails(Short, Node, ["did not finish the handshake"]),
    %% The other node still waits, because its own setting is longer.
    ?assert(is_process_alive(Waiting)),
    [] = eid_ct:log_lines(Long).

ipv6(_) ->
    %% Loopback has only one IPv6 address. Another test run may use it too, so take a free port.
    Port = eid_ct:free_port({0,0,0,0,0,0,0,1}),
    Arguments = ["-pa", eid_ct:ebin(), "-proto_dist", "eid6_tcp", "-start_epmd", "false", "-setcookie",
                 "eid_ct", "-kernel", "inet_dist_use_interface", "{0,0,0,0,0,0,0,1}",
                 "erlang_port", integer_to_list(Port),
                 "-eid", "routes", "#{\"::1\"=>direct}"],
    {ok, A, NodeA} = peer:start_link(#{name => a, host => "::1", longnames => true, args => Arguments,
                                       connection => standard_io}),
    {ok, B, _} = peer:start_link(#{name => b, host => "::1", longnames => true,
                                   args => ["-dist_listen", "false" | Arguments],
                                   connection => standard_io}),
    pong = ping(B, NodeA),
    {ok, #{ip := {0,0,0,0,0,0,0,1}, port := Port, route := direct}} =
        peer:call(A, eid, lookup, [NodeA]),
    true = peer:call(A, eid6_tcp_dist, select, ['x@192.0.2.1']),
    false = peer:call(A, eid_tcp_dist, select, ['x@::1']).

%% TLS distribution uses OTP's own carrier with eid's port mapper.
tls(Config) ->
    Options = eid_tls:options(?config(priv_dir, Config), [?A, ?B]),
    Tls = ["-proto_dist", "inet_tls", "-epmd_module", "eid_epmd", "-ssl_dist_optfile", Options],
    Start = fun(Name, Ip) ->
                    Arguments = replace_carrier(eid_ct:arguments(Ip), Tls),
                    peer:start_link(#{name => Name, host => Ip, longnames => true,
                                      args => Arguments, connection => standard_io})
            end,
    {ok, A, _} = Start(a, ?A),
    {ok, _B, NodeB} = Start(b, ?B),
    pong = ping(A, NodeB).

replace_carrier(["-proto_dist", _ | Rest], New) -> New ++ Rest;
replace_carrier([Argument | Rest], New) -> [Argument | replace_carrier(Rest, New)].

%% The host refuses both dials. eid looks the node up again and dials again, but logs one line.
refused_dial(_) ->
    {ok, A, _} = eid_ct:start_node(a, ?A, []),
    ok = eid_ct:start_log(A),
    Node = node_name("nobody", 9),
    fails(A, Node, [atom_to_list(Node), eid_ct:ip(9) ++ " port 12345", "connection refused"]).

%% Checks that the connection to this node fails. When all processes of the attempt have ended, the
%% log has exactly one line, and it contains these words.
fails(Peer, Node, Words) ->
    Before = peer:call(Peer, erlang, processes, []),
    pang = ping(Peer, Node),
    Started = peer:call(Peer, erlang, processes, []) -- Before,
    [eid_ct:eventually(fun() -> not peer:call(Peer, erlang, is_process_alive, [Pid]) end)
     || Pid <- Started],
    [Line] = eid_ct:log_lines(Peer),
    [?assertNotEqual({nomatch, Line}, {string:find(Line, Word), Line}) || Word <- Words].

wrong_cookie(_) ->
    {A, _, _, NodeB} = pair([], ["-setcookie", "another"]),
    ok = eid_ct:start_log(A),
    fails(A, NodeB, ["cookie"]).

%% The route leads to a node with another name. eid tries a second time before it gives up.
another_node(_) ->
    {A, _, _, _} = pair(),
    ok = eid_ct:start_log(A),
    {Port, Accepted} = eid_ct:start_proxy(eid_ct:address(3), 12345),
    Other = node_name("other", 8),
    ok = peer:call(A, eid, set_route, [Other, {{127,0,0,1}, Port}]),
    fails(A, Other, ["another node answered", "b@" ++ ?B]),
    2 = counters:get(Accepted, 1).

not_allowed(_) ->
    {A, _, B, NodeB} = pair(),
    ok = eid_ct:start_log(A),
    ok = peer:call(B, net_kernel, allow, [['somebody@else.org']]),
    fails(A, NodeB, ["does not allow"]).

disallowed_host(_) ->
    {ok, A, _} = eid_ct:start_node(a, ?A, ["-eid", "allowed_hosts", "[\"" ++ ?B ++ "/30\"]"]),
    {ok, _B, NodeB} = eid_ct:start_node(b, ?B, []),
    ok = eid_ct:start_log(A),
    fails(A, node_name("x", 7), ["allowed_hosts"]),
    pong = ping(A, NodeB).

route_at_run_time(_) ->
    {A, _, _, _} = pair(),
    Lookup = fun() -> peer:call(A, eid, lookup, [<<"db@10.0.0.5">>]) end,
    ok = peer:call(A, eid, set_route, ["10.0.0.0/8", direct]),
    {ok, #{ip := {10,0,0,5}, port := 12345, route := direct}} = Lookup(),
    ok = peer:call(A, eid, set_route, ['db@10.0.0.5', {{127,0,0,3}, 99}]),
    {ok, #{ip := {127,0,0,3}, port := 99, route := fixed}} = Lookup(),
    ok = peer:call(A, eid, set_route, ['db@10.0.0.5', default]),
    {ok, #{route := direct}} = Lookup(),
    ok = peer:call(A, eid, set_route, [<<"10.0.0.0/8">>, default]),
    ok = peer:call(A, eid, set_route, [<<"10.0.0.5">>, {{127,0,0,9}, 97}]),
    {ok, #{ip := {127,0,0,9}, port := 97}} = Lookup(),
    ok = peer:call(A, eid, set_route, ['10.0.0.5/32', default]),
    ?assertError({bad_setting, _}, peer:call(A, eid, set_route, [42, default])),
    %% A changed setting takes effect, too.
    ok = peer:call(A, application, set_env, [eid, routes, #{'db@10.0.0.5' => {{127,0,0,4}, 98}}]),
    {ok, #{ip := {127,0,0,4}, port := 98}} = Lookup().

%% eid reaches a stock node (inet_tcp and a real epmd) by name.
epmd_route(_) ->
    Port = eid_ct:free_port({127,0,0,1}),
    EpmdPort = integer_to_list(Port),
    Epmd = open_port({spawn_executable, epmd()}, [{args, ["-port", EpmdPort, "-address", "127.0.0.1"]},
                                                  exit_status]),
    eid_ct:eventually(fun() -> element(1, gen_tcp:connect({127,0,0,1}, Port, [])) =:= ok end),
    {ok, _Stock, Node} =
        peer:start_link(#{name => stock, host => "127.0.0.1", longnames => true,
                          connection => standard_io, env => [{"ERL_EPMD_PORT", EpmdPort}],
                          args => ["-setcookie", "eid_ct", "-kernel", "inet_dist_use_interface",
                                   "{127,0,0,1}"]}),
    {ok, A, _} = eid_ct:start_node(a, ?A, ["-epmd_port", EpmdPort]),
    ok = peer:call(A, eid, set_route, ["127.0.0.1", epmd]),
    pong = ping(A, Node),
    {ok, #{route := epmd}} = peer:call(A, eid, lookup, [Node]),
    {ok, [{"stock", _}]} = peer:call(A, eid_epmd, names, ["127.0.0.1"]),
    {error, {unreachable, _}} = peer:call(A, eid, lookup, [<<"nobody@127.0.0.1">>]),
    end_program(Epmd).

%% epmd accepts connections but does not answer. OTP's client would wait ten seconds for a port, and
%% forever for a list of names.
silent_epmd(_) ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127,0,0,1}}]),
    {ok, Port} = inet:port(Silent),
    {ok, A, _} = eid_ct:start_node(a, ?A, ["-epmd_port", integer_to_list(Port), "-kernel", "net_setuptime", "60",
                                           "-eid", "connect_timeout", "500", "response_timeout", "500"]),
    ok = eid_ct:start_log(A),
    ok = peer:call(A, eid, set_route, ["127.0.0.1", epmd]),
    {error, timeout} = peer:call(A, eid, lookup, [<<"x@127.0.0.1">>]),
    {error, timeout} = peer:call(A, eid_epmd, names, ["127.0.0.1"]),
    fails(A, 'x@127.0.0.1', ["no answer in time"]).

epmd() ->
    filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"]).

simultaneous(_) ->
    {A, NodeA, B, NodeB} = pair(),
    ok = eid_ct:start_log(A),
    ok = eid_ct:start_log(B),
    [begin
         Refs = [start_ping(A, NodeB), start_ping(B, NodeA)],
         [receive {Ref, Answer} -> pong = Answer end || Ref <- Refs],
         disconnect(A, B)
     end || _ <- lists:seq(1, eid_ct:times(10))],
    [] = eid_ct:log_lines(A),
    [] = eid_ct:log_lines(B).

start_ping(Peer, Node) ->
    Self = self(),
    Ref = make_ref(),
    spawn_link(fun() -> Self ! {Ref, ping(Peer, Node)} end),
    Ref.

%% eid's modules can be reloaded, even several times in a row. The second reload kills all processes
%% that run old code, so a connection must not be among them.
reload(_) ->
    {A, NodeA, B, NodeB} = pair(),
    pong = ping(A, NodeB),
    Connections = connections(A, B),
    {ok, Modules} = peer:call(A, application, get_key, [eid, modules]),
    true = lists:member(eid_nif, Modules),
    [[begin
          true = peer:call(Peer, code, soft_purge, [Module]),
          {module, Module} = peer:call(Peer, code, load_file, [Module])
      end || Module <- Modules, Peer <- [A, B]]
     || _ <- lists:seq(1, 3)],
    [NodeB] = peer:call(A, erlang, nodes, []),
    Connections = connections(A, B),
    disconnect(A, B),
    pong = ping(B, NodeA).

%% Returns the processes that own the connections, on both nodes.
connections(A, B) ->
    [[begin {ok, Owner} = peer:call(Peer, net_kernel, node_info, [Node, owner]), {Node, Owner} end
      || Node <- peer:call(Peer, erlang, nodes, [])] || Peer <- [A, B]].

%% Several processes call the library while its module is reloaded again and again. Each call
%% returns, and no process is killed.
reload_in_use(_) ->
    Callers = [spawn_monitor(fun() -> call_until_told() end) || _ <- lists:seq(1, 3)],
    [case code:soft_purge(eid_nif) of
         true -> {module, eid_nif} = code:load_file(eid_nif);
         false -> used
     end || _ <- lists:seq(1, 25)],
    [Caller ! stop || {Caller, _} <- Callers],
    [receive {'DOWN', Monitor, process, _, Reason} -> normal = Reason end || {_, Monitor} <- Callers].

call_until_told() ->
    true = eid_library:call(fun() -> eid_nif:is_engine(<<"tcp://{host}:4243">>) end),
    receive stop -> ok
    after 0 -> call_until_told()
    end.

%% A node keeps the library that it has loaded. If the file is another one after a reload, the node
%% logs this. If the loaded library does not fit the new code, connections stay up and lookups fail.
changed_library(Config) ->
    Copy = filename:join([?config(priv_dir, Config), "changed", "eid"]),
    ok = filelib:ensure_dir(filename:join(Copy, "any")),
    "" = os:cmd("cp -rL '" ++ eid_ct:ebin() ++ "' '" ++ code:priv_dir(eid) ++ "' '" ++ Copy ++ "'"),
    ["-pa", _ | Arguments] = eid_ct:arguments(?A),
    {ok, A, NodeA} = peer:start_link(#{name => a, host => ?A, longnames => true, connection => standard_io,
                                       args => ["-pa", filename:join(Copy, "ebin") | Arguments]}),
    {ok, B, NodeB} = eid_ct:start_node(b, ?B, []),
    ok = eid_ct:start_log(A),
    pong = ping(A, NodeB),
    Connections = connections(A, B),

    %% A real update would be a library. This file is not a library, so the node would notice if it
    %% loaded the file.
    Library = filename:join([Copy, "priv", "eid_nif.so"]),
    ok = file:write_file(Library ++ ".new", <<"another one">>),
    ok = file:rename(Library ++ ".new", Library),
    {ok, Code} = file:read_file(filename:join([Copy, "ebin", "eid_nif.beam"])),
    ok = load(A, Code),
    {ok, #{route := direct}} = peer:call(A, eid, lookup, [NodeB]),
    {ok, #{route := direct}} = peer:call(A, eid, lookup, [NodeB]),
    [Line] = eid_ct:take_log(A),
    [?assertNotEqual({nomatch, Line}, {string:find(Line, Word), Line}) || Word <- [Library, "Restart the node"]],

    %% The new code has one function more than the library, and then one function less.
    {ok, {eid_nif, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(Code, [abstract_code]),
    ok = load(A, compiled(lists:flatmap(fun add_function/1, Forms))),
    {ok, #{route := direct}} = peer:call(A, eid, lookup, [NodeB]),
    does_not_fit(peer:call(A, eid_library, call, [fun eid_nif:another/0])),
    ok = load(A, compiled(lists:flatmap(fun remove_function/1, Forms))),
    does_not_fit(peer:call(A, eid, lookup, [NodeB])),
    Connections = connections(A, B),
    pong = peer:call(B, net_adm, ping, [NodeA]),

    %% With the original code everything works as before.
    ok = load(A, Code),
    disconnect(A, B),
    pong = ping(A, NodeB).

load(Peer, Code) ->
    _ = peer:call(Peer, code, purge, [eid_nif]),
    {module, eid_nif} = peer:call(Peer, code, load_binary, [eid_nif, "eid_nif.beam", Code]),
    ok.

compiled(Forms) ->
    {ok, eid_nif, Code} = compile:forms(Forms, [debug_info]),
    Code.

add_function({attribute, _, export, [{load, 1}]} = Export) -> [Export, {attribute, 1, export, [{another, 0}]}];
add_function({function, _, load, 1, _} = Load) ->
    [{function, 1, another, 0, [{clause, 1, [], [], [{call, 1, {remote, 1, {atom, 1, erlang}, {atom, 1, nif_error}},
                                                      [{atom, 1, not_loaded}]}]}]}, Load];
add_function(Form) -> [Form].

remove_function({attribute, Line, export, Functions}) -> [{attribute, Line, export, Functions -- [{is_engine, 1}]}];
remove_function({attribute, _, spec, {{is_engine, 1}, _}}) -> [];
remove_function({function, _, is_engine, 1, _}) -> [];
remove_function(Form) -> [Form].

does_not_fit({error, {unreachable, {changed_library, _}} = Reason}) ->
    ?assertMatch({match, _}, re:run(eid:format_error(Reason), "Restart this node")).

%% select/1 sends and receives no message, uses no port and calls no process.
select_does_no_io(_) ->
    Names = [{'a@192.0.2.1', true}, {'a@2001:db8::1', false}, {'a@no.such.host.invalid', true},
             {a, false}],
    true = eid_tcp_dist:select('warm@192.0.2.1'),
    Selector = spawn(fun() -> receive go -> exit([eid_tcp_dist:select(Node) || {Node, _} <- Names]) end end),
    1 = erlang:trace(Selector, true, [send, 'receive', ports, procs]),
    Selector ! go,
    ?assertEqual([{trace, Selector, 'receive', go},
                  {trace, Selector, exit, [Answer || {_, Answer} <- Names]}], traced(Selector)).

%% Returns all trace events of this process up to its exit.
traced(Pid) ->
    receive
        {trace, Pid, exit, _} = Last -> [Last];
        Event when element(1, Event) =:= trace, element(2, Event) =:= Pid -> [Event | traced(Pid)]
    end.
