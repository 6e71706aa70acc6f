%% Tests `eid doctor' on the rig. The command runs in host 1's network and checks nodes on host 2.
%% For healthy nodes of every release and by every route, it finds no fault. For each planted fault,
%% it fails at the right step.
-module(eid_doctor_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([every_release/1, every_route/1, effects_on_the_node/1,
         bad_name/1, unknown_host/1, engine_down/1, engine_paused/1, engine_behind_a_firewall/1, wrong_tls/1, engine_of_another_kind/1,
         no_container/1, stopped/1, paused/1, not_published/1, published_on_loopback/1, published_elsewhere/1,
         port_behind_a_firewall/1, nobody_listens/1, something_else_listens/1, tls_distribution/1, another_node/1, wrong_cookie/1,
         not_allowed/1]).
-export([watch/0, watched/0]).    % called on nodes of the rig

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [every_release, every_route, effects_on_the_node,
     bad_name, unknown_host, engine_down, engine_paused, engine_behind_a_firewall, wrong_tls, engine_of_another_kind,
     no_container, stopped, paused, not_published, published_on_loopback, published_elsewhere,
     port_behind_a_firewall, nobody_listens, something_else_listens, tls_distribution, another_node, wrong_cookie, not_allowed].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            [{cookie, cookie_file(Config, "right", "eid_rig\n")} | Config];
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) -> eid_rig:down().

%% Restores the hosts after every case: no firewall rule remains, and the engine answers without
%% TLS.
end_per_testcase(Case, _Config) ->
    [iptables("-D " ++ Rule) || Rule <- rules(Case)],
    [rig("dockerd 2 continue") || Case =:= engine_paused],
    [rig("dockerd 2 start") || Case =:= engine_down],
    [rig("dockerd 2 plain") || Case =:= wrong_tls],
    eid_rig:stop_all().

rig(Command) -> {0, _} = eid_rig:command(Command), ok.

cookie_file(Config, Name, Content) ->
    File = filename:join(proplists:get_value(priv_dir, Config), Name ++ ".cookie"),
    ok = file:write_file(File, Content),
    ok = file:change_mode(File, 8#400),
    File.

%% Firewall rules on host 2 that drop packets in this case.
rules(engine_behind_a_firewall) -> ["INPUT -p tcp --dport 4243 -j DROP"];
rules(port_behind_a_firewall) -> ["DOCKER-USER -p tcp --dport 12345 -j DROP"];
rules(_) -> [].

plant(Case) -> [{0, _} = iptables("-I " ++ Rule) || Rule <- rules(Case)].

iptables(Arguments) -> eid_rig:command("exec 2 iptables -w " ++ Arguments).

oldest() -> hd(eid_rig:releases()).
newest() -> lists:last(eid_rig:releases()).

%% Running the command

%% Runs the command in host 1's network. Returns its status and its lines.
doctor(Arguments) -> doctor(["exec 1 ", eid()], Arguments).

doctor(Command, Arguments) ->
    {Status, Output} = eid_rig:command([Command, " doctor ", lists:join(" ", Arguments)]),
    ct:log("eid doctor ~ts~n~ts", [lists:join(" ", Arguments), Output]),
    {Status, string:lexemes(Output, "\n")}.

eid() -> filename:join(code:priv_dir(eid), "eid").

steps() -> ["name", "dns", "engine", "api", "container", "running", "port", "dial", "handshake", "cookie"].

%% Checks that every step succeeds. The last step runs only with a cookie file.
succeeds(Result, HasCookie) ->
    {0, Lines} = Result,
    Last = case HasCookie of true -> "ok"; false -> "not tried" end,
    ?assertEqual([{Step, "ok"} || Step <- lists:droplast(steps())] ++ [{"cookie", Last}], [outcome(Line) || Line <- Lines], Lines),
    Lines.

%% Checks that this is the first step that fails, and that its line has these parts.
fails(Arguments, Step, Status, Parts) ->
    {Code, Lines} = doctor(Arguments),
    {Before, [Step | After]} = lists:splitwith(fun(Each) -> Each =/= Step end, steps()),
    Expected = [{Each, "ok"} || Each <- Before] ++ [{Step, "failed"}] ++ [{Each, "not tried"} || Each <- After],
    ?assertEqual({Status, Expected}, {Code, [outcome(Line) || Line <- Lines]}, Lines),
    Line = lists:nth(length(Before) + 1, Lines),
    [contains(Line, Part) || Part <- Parts],
    Line.

outcome(Line) ->
    {Outcome, Rest} = lists:split(10, Line),
    {hd(string:lexemes(Rest, " ")), string:trim(Outcome)}.

%% Containers

start(Release, Options) -> eid_rig:start_detached(2, Release, maps:merge(#{erl => carrier()}, Options)).

%% Starts a node of each release, all at the same time.
one_of_each() -> eid_rig:parallel(fun(Release) -> start(Release, #{}) end, eid_rig:releases()).

carrier() -> ["-proto_dist", "eid_tcp", "-start_epmd", "false"].

name(#{node := Node}) -> atom_to_list(Node).

%% Starts a container without a node. Returns the name that a node in it would have.
container(Publish, Command) ->
    Id = eid_rig:docker(2, ["run -d --label eid.test=1 ", Publish, " eid-otp:", newest(), " ", Command]),
    lists:sublist(Id, 12) ++ "@192.0.2.2".

%% Starts a listener that waits for data and then sends `Says', the inside of an Erlang string. If
%% `Says' is empty, the listener sends nothing.
listener(Publish, Port, Says) ->
    Answers = case Says of
                  "" -> "timer:sleep(infinity)";
                  _ -> "gen_tcp:send(S, \"" ++ Says ++ "\"), gen_tcp:close(S)"
              end,
    Node = container(Publish, ["erl -noinput -eval '{ok, L} = gen_tcp:listen(", Port, ", [{active, false}, {reuseaddr, true}]), "
                               "(fun F() -> {ok, S} = gen_tcp:accept(L), gen_tcp:recv(S, 0), ", Answers, ", F() end)().'"]),
    eid_ct:eventually(fun() ->
                              {Status, _} = eid_rig:command(["docker 2 exec ", id(Node), " bash -c \"exec 3<>/dev/tcp/127.0.0.1/", Port, "\""]),
                              Status =:= 0
                      end),
    Node.

id(Node) -> hd(string:lexemes(Node, "@")).

%% Waits until the node answers, which takes a moment after its container has started.
await(Node) ->
    eid_ct:eventually(fun() -> {Status, _} = doctor([name(Node)]), Status =:= 0 end, 20_000).

contains(Line, Part) -> ?assertNotEqual({nomatch, Part, Line}, {string:find(Line, Part), Part, Line}).

%% Returns what the node has printed.
log(#{id := Id}) -> eid_rig:docker(2, ["logs ", Id]).

%% Nothing is wrong

every_release(Config) ->
    Cookie = ["--cookie-file", proplists:get_value(cookie, Config)],
    [begin
         await(B),
         Handshake = lists:nth(9, succeeds(doctor([name(B)]), false)),
         [contains(Handshake, Part) || Part <- [name(B) ++ " answers", "SPAWN"]],
         [?assertEqual(nomatch, string:find(Handshake, Part), Handshake) || Part <- ["bit ", "missing"]],
         succeeds(doctor([name(B) | Cookie]), true),
         succeeds(doctor([name(B), "--name", "doctor@192.0.2.1" | Cookie]), true),
         {0, [Json]} = doctor([name(B), "--json" | Cookie]),
         contains(Json, "\"ok\":true"),
         ?assertEqual("", log(B))
     end || B <- one_of_each()].

%% Runs the command on the other host, in a container beside the node's, and in the node's own
%% container.
every_route(Config) ->
    Cookie = proplists:get_value(cookie, Config),
    In = fun(#{id := Id}) -> ["docker 2 exec ", Id, " /opt/eid/priv/eid"] end,
    Mounted = #{mount => [{Cookie, "/cookie"}]},
    OnHost = start(newest(), #{docker => ["--network", "host"], name => "on-the-host"}),
    {A, B} = {start(newest(), Mounted), start(oldest(), Mounted#{docker => []})},
    await(OnHost),
    await(A),
    contains(lists:nth(8, succeeds(doctor([name(OnHost), "--cookie-file", Cookie]), true)), "192.0.2.2:12345 answers, by route host"),
    fails([name(B)], "port", 4, ["not published"]),
    eid_ct:eventually(fun() -> {Status, _} = doctor(In(A), [name(B)]), Status =:= 0 end, 20_000),
    contains(lists:nth(8, succeeds(doctor(In(A), [name(B), "--cookie-file", "/cookie"]), true)), "by route bridge"),
    contains(lists:nth(8, succeeds(doctor(In(A), [name(A), "--cookie-file", "/cookie"]), true)), "127.0.0.1:12345 answers, by route loopback").

%% Without a cookie, the node sees no other node. With a cookie, it sees a hidden node come and go.
%% No run leaves a new atom behind.
effects_on_the_node(Config) ->
    Cookie = ["--cookie-file", proplists:get_value(cookie, Config)],
    [begin
         ok = eid_rig:load(B, ?MODULE),
         ok = call(B, ?MODULE, watch, []),
         succeeds(doctor([name(B)]), false),
         Atoms = call(B, erlang, system_info, [atom_count]),
         [succeeds(doctor([name(B)]), false) || _ <- lists:seq(1, 3)],
         ?assertEqual(Atoms, call(B, erlang, system_info, [atom_count])),
         ?assertEqual([], call(B, ?MODULE, watched, [])),
         succeeds(doctor([name(B) | Cookie]), true),
         Seen = fun() -> call(B, ?MODULE, watched, []) end,
         eid_ct:eventually(fun() -> length(Seen()) =:= 2 end),
         [{nodeup, Node, hidden}, {nodedown, Node, hidden}] = Seen(),
         contains(atom_to_list(Node), "@eid-doctor"),
         ?assertEqual([], call(B, erlang, nodes, [connected]))
     end || B <- eid_rig:start_nodes([{2, Release, #{erl => carrier()}}
                                      || Release <- eid_rig:releases()])].

call(#{peer := Peer}, Module, Function, Arguments) -> peer:call(Peer, Module, Function, Arguments, 30_000).

%% Runs on a node: records which other nodes come and go from now on.
watch() ->
    Caller = self(),
    Watcher = spawn(fun() ->
                            register(?MODULE, self()),
                            ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
                            Caller ! {self(), ready},
                            watcher([])
                    end),
    receive {Watcher, ready} -> ok end.

watcher(Seen) ->
    receive
        {watched, From} -> From ! {self(), lists:reverse(Seen)}, watcher(Seen);
        {Event, Node, Info} -> watcher([{Event, Node, proplists:get_value(node_type, Info)} | Seen])
    end.

watched() ->
    Watcher = whereis(?MODULE),
    Watcher ! {watched, self()},
    receive {Watcher, Seen} -> Seen end.

%% Planted faults, in the order of the steps

bad_name(_) ->
    fails(["shop"], "name", 3, ["has no @"]),
    fails(["web.shop@192.0.2.2"], "name", 3, ["'.' can't stand"]).

unknown_host(_) ->
    fails(["shop@no.such.host.invalid", "--timeout", "2"], "dns", 3, ["no.such.host.invalid"]).

engine_down(_) ->
    rig("dockerd 2 kill"),
    fails(["shop@192.0.2.2"], "engine", 5, ["nobody listens at tcp://192.0.2.2:4243", "connection refused", "dockerd -H"]).

%% The engine is paused, but the kernel still accepts the connection.
engine_paused(_) ->
    rig("dockerd 2 pause"),
    fails(["shop@192.0.2.2", "--timeout", "1"], "api", 5, ["does not answer in time", "its daemon hangs"]).

engine_behind_a_firewall(_) ->
    plant(?FUNCTION_NAME),
    fails(["shop@192.0.2.2"], "engine", 5, ["tcp://192.0.2.2:4243 does not answer", "firewall"]).

wrong_tls(Config) ->
    Https = ["--engine", "https://{host}:4243"],
    Certificates = fun(Whose) -> Https ++ ["--certs", eid_rig:info("tls." ++ Whose)] end,
    %% The engine has no TLS.
    fails(["shop@192.0.2.2" | Certificates("client")], "engine", 5, ["does not speak TLS"]),
    rig("dockerd 2 tls"),
    fails(["shop@192.0.2.2" | Certificates("stranger")], "engine", 5, ["certificate", "ca.pem"]),
    fails(["shop@192.0.2.2" | Https], "engine", 5, ["ca.pem"]),
    Anonymous = filename:join(proplists:get_value(priv_dir, Config), "anonymous"),
    ok = filelib:ensure_path(Anonymous),
    {ok, _} = file:copy(filename:join(eid_rig:info("tls.client"), "ca.pem"), filename:join(Anonymous, "ca.pem")),
    fails(["shop@192.0.2.2", "--certs", Anonymous | Https], "engine", 5, ["asks for a client certificate"]),
    fails(["shop@192.0.2.2"], "api", 5, ["wants TLS", "--engine https://"]),
    B = start(newest(), #{}),
    eid_ct:eventually(fun() -> {Status, _} = doctor([name(B) | Certificates("client")]), Status =:= 0 end, 20_000).

engine_of_another_kind(_) ->
    Page = "<html>403 Forbidden</html>",
    listener("--network host", "4299", "HTTP/1.1 403 Forbidden\\r\\nContent-Length: " ++ integer_to_list(length(Page))
             ++ "\\r\\nConnection: close\\r\\n\\r\\n" ++ Page),
    fails(["shop@192.0.2.2", "--engine", "tcp://{host}:4299"], "api", 5, ["status 403", "HTML", "proxy", "/containers/json"]).

no_container(_) ->
    Node = container("--name eid-doctor-shop", "sleep infinity"),
    fails(["eid-doctor-shpo@192.0.2.2"], "container", 3, ["did you mean eid-doctor-shop (" ++ id(Node)]),
    fails([lists:sublist(Node, 8) ++ "@192.0.2.2"], "container", 3, ["at least 12 digits"]),
    fails(["0123456789ab@192.0.2.2"], "container", 3, ["replaced under a new ID"]).

stopped(_) ->
    Node = container("-p 192.0.2.2::12345", "sleep infinity"),
    eid_rig:docker(2, ["kill ", id(Node)]),
    Line = fails([Node], "running", 4, ["exit status 137 (killed)", "docker start " ++ id(Node)]),
    contains(Line, "it ended at 20").

paused(_) ->
    Node = container("-p 192.0.2.2::12345", "sleep infinity"),
    eid_rig:docker(2, ["pause ", id(Node)]),
    fails([Node], "running", 4, ["paused", "docker unpause"]),
    eid_rig:docker(2, ["unpause ", id(Node)]).

not_published(_) ->
    fails([container("", "sleep infinity")], "port", 4, ["12345 of the container is not published;", "-p 192.0.2.2::12345"]),
    fails([container("--expose 12345 -p 192.0.2.2::80", "sleep infinity")], "port", 4, ["only exposed", "published are 80", "--erlang-port"]).

published_on_loopback(_) ->
    fails([container("-p 127.0.0.1::12345", "sleep infinity")], "port", 4, ["127.0.0.1:", "no other host", "-p 192.0.2.2::12345"]).

published_elsewhere(_) ->
    fails([container("-p [2001:db8::2]::12345", "sleep infinity")], "port", 4, ["[2001:db8::2]:", "but not on 192.0.2.2"]).

port_behind_a_firewall(_) ->
    B = start(newest(), #{}),
    await(B),
    plant(?FUNCTION_NAME),
    fails([name(B)], "dial", 4, ["192.0.2.2:" ++ integer_to_list(eid_rig:port(B)) ++ " does not answer", "firewall", "DOCKER-USER"]).

nobody_listens(_) ->
    fails([container("-p 192.0.2.2::12345", "sleep infinity")], "dial", 4, ["refuses", "no process listens on port 12345", "docker logs"]).

something_else_listens(_) ->
    Web = listener("-p 192.0.2.2::12345", "12345", "HTTP/1.0 400 Bad Request\\r\\n\\r\\n"),
    fails([Web], "handshake", 4, ["a web server listens there", "400 Bad Request"]),
    Silent = listener("-p 192.0.2.2::12345", "12345", ""),
    fails([Silent, "--timeout", "1"], "handshake", 4, ["says nothing"]).

tls_distribution(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    OptFile = eid_tls:options(Dir, ["192.0.2.2"]),
    B = start(newest(), #{mount => [Dir], erl => ["-proto_dist", "inet_tls", "-epmd_module", "eid_epmd", "-start_epmd", "false",
                                                  "-ssl_dist_optfile", OptFile]}),
    await_handshake(name(B)),
    fails([name(B)], "handshake", 4, ["speaks TLS", "-proto_dist inet_tls"]),
    contains(log(B), "Unexpected Message").

another_node(_) ->
    B = start(newest(), #{node => "other@192.0.2.2"}),
    Asked = maps:get(id, B) ++ "@192.0.2.2",
    await_handshake(Asked),
    fails([Asked], "handshake", 4, ["another node answers", "other@192.0.2.2", "-name " ++ Asked]),
    ?assertEqual("", log(B)).

%% Waits until something in the container answers and the handshake fails.
await_handshake(Node) ->
    eid_ct:eventually(fun() ->
                              {_, Lines} = doctor([Node]),
                              Outcomes = [outcome(Line) || Line <- Lines],
                              lists:member({"handshake", "failed"}, Outcomes)
                      end, 20_000).

%% The node logs the failed attempt and nothing else.
wrong_cookie(Config) ->
    Wrong = cookie_file(Config, "wrong", "other"),
    [begin
         await(B),
         fails([name(B), "--cookie-file", Wrong], "cookie", 4, ["has another cookie", "-setcookie"]),
         eid_ct:eventually(fun() -> string:find(log(B), "rejected") =/= nomatch end),
         Log = log(B),
         [contains(Log, Part) || Part <- ["Connection attempt from", "@eid-doctor", "rejected"]],
         %% A node that is still starting prints each log event twice, with the same time.
         Headings = lists:usort([Line || Line <- string:lexemes(Log, "\r\n"), string:find(Line, " REPORT====") =/= nomatch]),
         ?assertMatch({[_], _}, {Headings, Log})
     end || B <- one_of_each()].

not_allowed(_) ->
    B = eid_rig:start_node(2, newest(), #{erl => carrier()}),
    ok = call(B, net_kernel, allow, [['friend@192.0.2.1']]),
    fails([name(B)], "handshake", 4, ["nodes of certain names only", "--name"]),
    succeeds(doctor([name(B), "--name", "friend@192.0.2.1"]), false).
