%% Tests `eid:lookup/1' and the NIF below it: with malicious node names, and with an engine that
%% accepts connections but never answers.
-module(eid_lookup_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([hostile_names/1, no_atoms/1, sentences/1, hanging_engine/1, free_schedulers/1,
         first_calls_at_once/1, ends_cleanly/1]).
%% Run on another node.
-export([atoms_made/1, all_answers/1, trips_meanwhile/2, lookup_at_once/2]).

suite() -> [{timetrap, {minutes, 3}}].

all() -> [hostile_names, no_atoms, sentences, hanging_engine, free_schedulers, first_calls_at_once,
          ends_cleanly].

%% Starts a listener that takes connections like an engine but never answers.
init_per_testcase(_, Config) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {backlog, 1024}, {active, false}]),
    {ok, Port} = inet:port(Listen),
    application:set_env(kernel, docker_daemon_port, Port),
    [{engine, Listen}, {engine_port, Port} | Config].

end_per_testcase(_, Config) ->
    application:unset_env(kernel, docker_daemon_port),
    gen_tcp:close(proplists:get_value(engine, Config)).

hostile_names(Config) ->
    Long = binary:copy(<<"a">>, 10_000),
    Names = [<<>>, <<"@">>, <<"a">>, <<"a@">>, <<"@127.0.0.1">>, <<"a@127.0.0.1@127.0.0.1">>,
             <<"a/json@127.0.0.1">>, <<"a?x@127.0.0.1">>, <<"a#x@127.0.0.1">>, <<"a%2fb@127.0.0.1">>,
             <<"..@127.0.0.1">>, <<"../x@127.0.0.1">>, <<"a.b@127.0.0.1">>, <<"a b@127.0.0.1">>,
             <<"a\r\nHost: x@127.0.0.1">>, <<"a\0@127.0.0.1">>, <<"é@127.0.0.1"/utf8>>, <<255, "@127.0.0.1">>,
             <<Long/binary, "@127.0.0.1">>, <<"a@", Long/binary>>, <<"a@127.0.0.1/x">>,
             <<"a@127.0.0.1:80">>, <<"a@127.1">>, <<"a@2130706433">>, <<"a@0x7f.1">>, <<"a@0x7f000001">>,
             <<"a@127.0.0.01">>, <<"a@user:pw@127.0.0.1">>, <<"a@127.0.0.1?x">>, <<"a@127.0.0.1#">>,
             <<"a@127.0.0.1 ">>, <<"a@[::1]">>, <<"a@fe80::1%lo">>, <<"a@..">>, <<"a@.">>, <<"a@a..b">>,
             <<"a@-x.org">>, <<"a@ü.org"/utf8>>, <<"a@127.0.0.1\n">>, <<"a@localhost%2e">>],
    [?assertEqual({Name, {error, bad_node_name}}, {Name, eid:lookup(Name)}) || Name <- Names],
    {error, bad_node_name} = eid:lookup('a@127.0.0.1/x'),
    {error, bad_node_name} = eid:lookup('日本@127.0.0.1'),
    %% No lookup connected to the engine: the first connection comes from this test.
    Engine = proplists:get_value(engine, Config),
    {ok, Own} = gen_tcp:connect({127,0,0,1}, proplists:get_value(engine_port, Config), []),
    {ok, First} = gen_tcp:accept(Engine),
    ?assertEqual(inet:sockname(Own), inet:peername(First)),
    {error, timeout} = gen_tcp:accept(Engine, 0).

%% Lookups of new names must not create atoms. The node resolves names only with its hosts file, so
%% the test sends no DNS queries.
no_atoms(Config) ->
    Port = integer_to_list(proplists:get_value(engine_port, Config)),
    InetRc = filename:join(proplists:get_value(priv_dir, Config), "inetrc"),
    ok = file:write_file(InetRc, "{lookup, [file]}.\n"),
    {ok, Peer, _} = peer:start_link(#{connection => standard_io,
                                      args => ["-pa", eid_ct:ebin(), filename:dirname(code:which(?MODULE)),
                                               "-kernel", "inetrc", "\"" ++ InetRc ++ "\"",
                                               "docker_daemon_port", Port]}),
    ?assertEqual({lists:duplicate(50, {error, unknown_host}), 0},
                 peer:call(Peer, ?MODULE, atoms_made, [50])).

atoms_made(Lookups) ->
    Name = fun(N) -> iolist_to_binary(["never_seen_", integer_to_list(N), "@unseen", integer_to_list(N),
                                       ".invalid"]) end,
    _ = eid:lookup(Name(0)),
    Before = erlang:system_info(atom_count),
    Answers = [eid:lookup(Name(N)) || N <- lists:seq(1, Lookups)],
    {Answers, erlang:system_info(atom_count) - Before}.

%% Each message contains the details of its reason, and names the command or the setting that helps.
sentences(_) ->
    Route = #{ip => {192,0,2,1}, port => 32768, route => published},
    Expected = [{bad_node_name, ["Container@Host", "docker ps"]},
                {host_not_allowed, ["allowed_hosts", "nothing was sent"]},
                {unknown_host, ["DNS", "/etc/hosts", "IP address"]},
                {no_such_container, ["no such container", "docker ps -a"]},
                {not_running, ["not running", "docker logs", "docker start"]},
                {not_published, ["does not publish", "docker run -p HOST_IP::12345",
                                 "docker port", "erlang_port"]},
                {published_on_loopback, ["loopback", "docker run -p HOST_IP::12345"]},
                {published_elsewhere, ["not on the address", "docker port"]},
                {{unreachable, {connection, <<"connection refused">>}},
                 ["connection refused", "docker_daemon_port", "firewall"]},
                {{unreachable, {epmd, <<"epmd does not answer there">>}},
                 ["epmd does not answer", "node runs, with epmd"]},
                {{unreachable, {changed_library, <<"it was changed">>}}, ["Restart this node"]},
                {{unreachable, {library, <<"it can't be loaded">>}}, ["priv folder"]},
                {{unreachable, {certificates, <<"there is no folder /certs">>}},
                 ["/certs", "ca.pem", "engine_certs", "DOCKER_CERT_PATH"]},
                {{unreachable, {token_file, <<"the token file /t is empty">>}},
                 ["/t", "engine_token_file"]},
                {{unreachable, {socket, <<"nobody listens on /run/d.sock">>}},
                 ["/run/d.sock", "docker run -v"]},
                {{refused, 401, <<"who?">>}, ["HTTP 401: who?", "engine_token_file"]},
                {{refused, 403, <<"no">>}, ["HTTP 403: no", "/containers/*/json"]},
                {bad_response, ["max_response_size", "engines", "docker_daemon_port"]},
                {timeout, ["no answer in time", "firewall", "docker ps"]},
                {{dial, Route, econnrefused},
                 ["published", "192.0.2.1 port 32768", "connection refused", "erlang_port"]},
                {{dial, Route, timeout},
                 ["192.0.2.1 port 32768", "no answer in time", "firewalls"]},
                {{handshake, bad_cookie}, ["-setcookie", ".erlang.cookie"]},
                {{handshake, not_allowed}, ["net_kernel:allow/1"]},
                {{handshake, timeout}, ["handshake in time", "net_setuptime"]},
                {{handshake, {another_node, <<"b@c">>}}, ["b@c", "-name ContainerID@HostIP"]},
                {{handshake, something}, ["something", "OTP 25"]}],
    [begin
         Sentence = eid:format_error(Reason),
         ?assert(io_lib:printable_unicode_list(Sentence)),
         Missing = [Word || Word <- Words, string:find(Sentence, Word) =:= nomatch],
         ?assertEqual({Reason, Sentence, []}, {Reason, Sentence, Missing}),
         ?assert(eid_error:is_reason(Reason))
     end || {Reason, Words} <- Expected].

%% 200 lookups of different nodes at an engine that does not answer all return `timeout'.
hanging_engine(Config) ->
    Peer = start_asker(Config, ["-eid", "connect_timeout", "500", "response_timeout", "500"]),
    Answers = peer:call(Peer, ?MODULE, all_answers, [200], infinity),
    ?assertEqual(lists:duplicate(200, {error, timeout}), Answers).

all_answers(Lookups) -> [receive {Pid, Answer} -> Answer end || Pid <- start_lookups(Lookups)].

%% On a node with one scheduler of each kind, 200 lookups wait at the same time, and other processes
%% still run. The lookups' time limits are longer than the test.
free_schedulers(Config) ->
    Peer = start_asker(Config, ["+S", "1:1", "+SDcpu", "1:1", "+SDio", "1",
                                "-eid", "connect_timeout", "600000", "response_timeout", "600000"]),
    ?assertEqual({200, 1000}, peer:call(Peer, ?MODULE, trips_meanwhile, [200, 1000], infinity)).

%% Returns the number of lookups that still wait, and the number of round trips that two other
%% processes finished meanwhile. Also uses each kind of dirty scheduler.
trips_meanwhile(Lookups, Trips) ->
    Pids = start_lookups(Lookups),
    eid_ct:eventually(fun() -> waiting(Pids) =:= Lookups end),
    Echo = spawn_link(fun echo/0),
    Made = length([pong || _ <- lists:seq(1, Trips), pong <- [round_trip(Echo)]]),
    _ = eid_library:call(fun eid_nif:info/0),    % on a dirty CPU scheduler
    {ok, _} = file:read_file_info(code:which(?MODULE)),    % on a dirty I/O scheduler
    {waiting(Pids), Made}.

waiting(Pids) ->
    Awaits = {current_function, {eid_library, ask, 1}},
    length([Pid || Pid <- Pids, process_info(Pid, current_function) =:= Awaits]).

start_asker(Config, Arguments) ->
    Port = integer_to_list(proplists:get_value(engine_port, Config)),
    Path = ["-pa", eid_ct:ebin(), filename:dirname(code:which(?MODULE))],
    Settings = ["-kernel", "docker_daemon_port", Port | Arguments],
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, args => Path ++ Settings}),
    Peer.

start_lookups(Lookups) ->
    Self = self(),
    [begin
         Node = iolist_to_binary(["container", integer_to_list(N), "@127.0.0.1"]),
         spawn_link(fun() -> Self ! {self(), eid:lookup(Node)} end)
     end || N <- lists:seq(1, Lookups)].

round_trip(Echo) ->
    Echo ! {self(), ping},
    receive pong -> pong end.

echo() -> receive {From, ping} -> From ! pong, echo() end.

%% The first call loads the library. Here 200 processes make the first call at once.
first_calls_at_once(_) ->
    {ok, Peer, _} = peer:start_link(#{connection => standard_io,
                                      args => ["-pa", eid_ct:ebin(), filename:dirname(code:which(?MODULE))]}),
    [{error, bad_node_name}] = lists:usort(peer:call(Peer, ?MODULE, lookup_at_once, [200, <<"a b@c">>])).

lookup_at_once(Times, Node) ->
    Pids = [spawn_monitor(fun() -> receive go -> exit(eid:lookup(Node)) end end) || _ <- lists:seq(1, Times)],
    [Pid ! go || {Pid, _} <- Pids],
    [receive {'DOWN', Ref, process, Pid, Answer} -> Answer end || {Pid, Ref} <- Pids].

%% A VM that ends while lookups are in flight ends with the requested exit status. The pause only
%% makes the VMs end at different stages of a lookup.
ends_cleanly(Config) ->
    Port = integer_to_list(proplists:get_value(engine_port, Config)),
    [?assertEqual({Round, End, {Status, <<>>}},
                  {Round, End,
                   eid_ct:run_erl(["-noinput", "-pa", eid_ct:ebin(), "-kernel", "docker_daemon_port", Port,
                                   "-eval", "[spawn(fun() -> eid:lookup(<<\"c\", (integer_to_binary(N))/binary, "
                                   "\"@127.0.0.1\">>) end) || N <- lists:seq(1, 100)], "
                                   "timer:sleep(" ++ integer_to_list(2 * Round rem 20) ++ "), " ++ End ++ "."], [])})
     || Round <- lists:seq(1, eid_ct:times(10)),
        {End, Status} <- [{"halt(7)", 7}, {"init:stop(0)", 0}]].
