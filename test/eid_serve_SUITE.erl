%% Tests `eid serve' with real engines: nodes work without any other access to an engine, and no
%% secret of a container gets through.
-module(eid_serve_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([nodes_that_reach_nothing_else/1, no_secret_passes/1, docker_client/1, podman/1]).

-define(PORT, 2376).
-define(SECRET, "S3CRET").
-define(HIDDEN, ?SECRET "-hidden").
-define(BARE_IMAGE, "eid-bare").

suite() -> [{timetrap, {minutes, 3}}].

all() -> [nodes_that_reach_nothing_else, no_secret_passes, docker_client, podman].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            ok = file:write_file(token_file(), "a-token-of-the-tests\n"),
            %% The rig's images have labels that begin with `eid'; this image has no label.
            rig(["exec 1 sh -c 'tar -c -C /etc hostname | docker -H unix://", eid_rig:socket(1), " import - ", ?BARE_IMAGE, "'"]),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) ->
    file:delete(token_file()),
    eid_rig:command(["docker 1 image rm -f ", ?BARE_IMAGE]),
    eid_rig:down().

init_per_testcase(podman, Config) ->
    case eid_rig:available(podman) of
        true -> rig("podman-service 1 start"), Config;
        {skip, _} = Skip -> Skip
    end;
init_per_testcase(_, Config) -> Config.

end_per_testcase(Case, _Config) ->
    [eid_rig:command(["exec ", Host, " ", firewall("-D")]) || Host <- ["1", "2"], Case =:= nodes_that_reach_nothing_else],
    eid_rig:command(["docker 1 rm -f ", ?HIDDEN]),
    eid_rig:stop_all(),
    [eid_rig:stop_all(#{host => 1, engine => podman}) || Case =:= podman],
    ok.

rig(Command) -> {0, _} = eid_rig:command(Command), ok.

firewall(Do) -> ["iptables ", Do, " INPUT -p tcp --dport 4243 -j REJECT"].

%% Starts a server on a host, with the engine's unix socket. The server ends with its standard
%% input, and so with the test case.
serve(Host, Arguments) -> serve(Host, eid_rig:socket(Host), Arguments).

%% Mounts a /sys that shows the host's network, as on a separate machine.
serve(Host, Socket, Arguments) ->
    Script = "mount -t sysfs sysfs /sys && { \"$@\" & read end; kill $!; wait $!; }",
    Eid = filename:join(code:priv_dir(eid), "eid"),
    Port = open_port({spawn_executable, eid_rig:script()},
                     [{args, ["exec", integer_to_list(Host), "unshare", "--mount", "sh", "-c", Script, "sh", Eid, "serve",
                              "--docker", "unix://" ++ Socket | Arguments]},
                      exit_status, stderr_to_stdout, {line, 1000}]),
    await_line(Port, "following"),
    Port.

await_line(Port, Word) ->
    receive
        {Port, {data, {_, Line}}} ->
            ct:log("~ts", [Line]),
            string:find(Line, Word) =/= nomatch orelse await_line(Port, Word);
        {Port, {exit_status, Status}} -> error({serve, Status})
    after 20_000 -> error({serve, hangs})
    end.

has_line(Port, Word) ->
    receive
        {Port, {data, {_, Line}}} ->
            string:find(Line, Word) =/= nomatch orelse has_line(Port, Word)
    after 1000 -> false
    end.

terminate(Port) ->
    true = port_command(Port, "end\n"),
    ?assertEqual(0, exit_status(Port)).

exit_status(Port) ->
    receive
        {Port, {exit_status, Status}} -> Status;
        {Port, _} -> exit_status(Port)
    after 20_000 -> hangs
    end.

with_tls(Host) ->
    ["--listen", "https://" ++ eid_rig:host_ip(Host) ++ ":" ++ integer_to_list(?PORT),
     "--token-file", token_file(), "--certs", filename:join(filename:dirname(eid_rig:info("tls.client")), "host" ++ integer_to_list(Host))].

%% The nodes use mutual TLS and a token. The firewall rejects all connections to the engine's port.
nodes_that_reach_nothing_else(_) ->
    Servers = [serve(Host, with_tls(Host)) || Host <- [1, 2]],
    [rig(["exec ", Host, " ", firewall("-I")]) || Host <- ["1", "2"]],
    [Oldest | _] = Releases = eid_rig:releases(),
    Newest = lists:last(Releases),
    A = eid_rig:start_node(1, Newest, options(["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"])),
    ?assertEqual({error, econnrefused}, call(A, gen_tcp, connect, [eid_rig:host_ip(2), 4243, []])),
    ?assertEqual({error, econnrefused}, call(A, gen_tcp, connect, [eid_rig:host_ip(1), 4243, []])),
    %% The node connects, and follows the peer's restarts.
    #{node := NodeB} = B = eid_rig:start_detached(2, Oldest, options([])),
    [begin
         eid_ct:eventually(fun() -> call(A, net_adm, ping, [NodeB]) =:= pong end, 20_000),
         {ok, #{route := published, port := Port}} = call(A, eid, lookup, [NodeB]),
         ?assertEqual(eid_rig:port(B), Port),
         Number > 1 andalso eid_rig:restart(B)
     end || Number <- [3, 2, 1]],
    %% A cluster forms. When a member leaves, a new member replaces it.
    Members = eid_rig:start_nodes([{Host, Release, cluster()}
                                   || Release <- [Oldest, Newest], Host <- [1, 2]]),
    await_mesh(Members),
    #{peer := Peer} = hd(Members),
    peer:stop(Peer),
    await_mesh([eid_rig:start_node(1, Newest, cluster()) | tl(Members)]),
    #{lookups := #{ok := _}, state := live} = maps:get(<<"https://192.0.2.2:2376">>, maps:get(engines, call(A, eid, info, []))),
    %% The server refuses a client with another certificate or without the token.
    Stranger = eid_rig:start_node(1, Newest, (options([]))#{mount => [{eid_rig:info("tls.stranger"), "/certs"}, {token_file(), "/token"}]}),
    {error, {unreachable, {_, Why}}} = call(Stranger, eid, lookup, [NodeB]),
    ?assertNotEqual({nomatch, Why}, {string:find(Why, "certificate"), Why}),
    ok = call(A, application, unset_env, [eid, engine_token_file]),
    {error, {refused, 401, _}} = call(A, eid, lookup, [NodeB]),
    lists:foreach(fun terminate/1, Servers).

options(More) ->
    Engines = "#{default => \"https://{host}:" ++ integer_to_list(?PORT) ++ "\"}",
    #{mount => [{eid_rig:info("tls.client"), "/certs"}, {token_file(), "/token"}],
      erl => ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-eid", "engines", Engines, "engine_certs", "\"/certs\"",
              "engine_token_file", "\"/token\"" | More]}.

token_file() -> "/tmp/eid-serve-" ++ os:getpid() ++ ".token".

cluster() ->
    Hosts = [eid_rig:host_ip(Host) || Host <- [1, 2]],
    Clusters = [#{name => shop, strategy => {docker, #{hosts => Hosts, label => "eid.cluster=shop"}}}],
    Options = options(["-eid", "clusters", lists:flatten(io_lib:format("~0p", [Clusters])), "-s", "eid"]),
    Options#{docker => ["--label", "eid.cluster=shop", "-p", "0.0.0.0::12345"]}.

await_mesh(Members) ->
    All = lists:sort([Node || #{node := Node} <- Members]),
    eid_ct:eventually(fun() -> lists:all(fun(#{node := Node} = Member) -> lists:sort([Node | call(Member, erlang, nodes, [])]) =:= All end,
                                         Members)
                      end, 20_000).

call(#{peer := Peer}, Module, Function, Arguments) -> peer:call(Peer, Module, Function, Arguments, 30_000).

%% Each field of each answer is on the allowed list and has the engine's value. The secret appears
%% in no answer.
no_secret_passes(_) ->
    Local = socket(),
    Server = serve(1, ["--listen", "unix://" ++ Local]),
    eid_rig:docker(1, ["network create ", ?SECRET, "-network"]),
    Id = eid_rig:docker(1, ["run -d --name secretive --label eid.test=1 --label eid.cluster=shop --label ", ?SECRET, "=", ?SECRET,
                            " -e PASSWORD=", ?SECRET, " -v /tmp:/", ?SECRET, "-mount --tmpfs /", ?SECRET, "-tmp --hostname ", ?SECRET,
                            " --network ", ?SECRET, "-network --network-alias ", ?SECRET, " --dns-search ", ?SECRET, ".example",
                            " --health-cmd 'echo ", ?SECRET, "; exit 1' --health-interval 1s --health-retries 1 --add-host ", ?SECRET,
                            ":192.0.2.9 -w /", ?SECRET, "-folder --log-opt tag=", ?SECRET,
                            " -p 192.0.2.1::12345 --expose 9/udp eid-otp:", hd(eid_rig:releases()), " sh -c 'sleep infinity # ", ?SECRET, "'"]),
    HiddenId = eid_rig:docker(1, ["run -d --name ", ?HIDDEN, " --label ", ?SECRET, "=1 -p 192.0.2.1::80",
                                  [[" -v ", Folder, ":", Folder, ":ro"] || Folder <- ["/bin", "/usr", "/lib", "/lib64"]],
                                  " ", ?BARE_IMAGE, " sleep infinity"]),
    Events = follow(Local, "/events"),
    EngineEvents = follow(eid_rig:socket(1), "/v1.41/events"),
    [begin
         eid_rig:docker(1, ["exec ", Name, " sh -c 'echo ", ?SECRET, "'"]),
         eid_rig:docker(1, ["restart -t 0 ", Name])
     end || Name <- ["secretive", ?HIDDEN]],
    eid_rig:docker(1, "network connect bridge secretive"),
    TwoChecks = "(?s)(exec_create: /bin/sh -c echo " ?SECRET "; exit 1.*){2}",
    {_, Checked} = read_until(EngineEvents, <<>>, TwoChecks),
    %% The test compares both streams up to this event.
    [eid_rig:docker(1, [Change, " secretive"]) || Change <- ["pause", "unpause"]],
    [{Told, _}, {Truth, _}] = [read_until(Stream, Read, "\"Action\":\"unpause\"[^\n]*\n")
                               || {Stream, Read} <- [{Events, <<>>}, {EngineEvents, Checked}]],
    ?assertNotEqual(nomatch, string:find(Truth, ?SECRET)),
    Answers = [{Path, get(Local, Path)}
               || Path <- ["/_ping", "/version", "/containers/json", "/containers/json?all=1", "/v1.41/containers/json?all=true",
                           "/containers/" ++ Id ++ "/json", "/containers/secretive/json", "/v1.24/containers/secretive/json",
                           "/containers/" ++ lists:sublist(Id, 12) ++ "/json", "/containers/" ++ lists:sublist(Id, 5) ++ "/json",
                           "/eid/host", "/metrics"]],
    [?assertEqual({Path, nomatch}, {Path, string:find(Answer, ?SECRET)}) || {Path, Answer} <- [{events, Told} | Answers]],
    %% Compares each field.
    Inspected = body(get(Local, "/containers/secretive/json")),
    Engine = body(get(eid_rig:socket(1), "/v1.41/containers/secretive/json")),
    ?assertEqual(inspect_paths(), lists:usort(paths(Inspected))),
    [?assertEqual({Path, at(Path, Engine)}, {Path, at(Path, Inspected)})
     || Path <- [[<<"Id">>], [<<"Name">>], [<<"NetworkSettings">>, <<"Ports">>] |
                 [[<<"State">>, Key] || Key <- [<<"Status">>, <<"Running">>, <<"Paused">>, <<"Restarting">>, <<"Dead">>, <<"StartedAt">>]]]],
    ?assertEqual(maps:filter(fun(Key, _) -> string:prefix(Key, "eid.") =/= nomatch end, at([<<"Config">>, <<"Labels">>], Engine)),
                 at([<<"Config">>, <<"Labels">>], Inspected)),
    ?assertEqual(<<"shop">>, at([<<"Config">>, <<"Labels">>, <<"eid.cluster">>], Inspected)),
    ?assertEqual(maps:with([<<"12345/tcp">>], at([<<"Config">>, <<"ExposedPorts">>], Engine)),
                 at([<<"Config">>, <<"ExposedPorts">>], Inspected)),
    ?assertEqual(networks(Engine), networks(Inspected)),
    [Network] = [NetworkId || {Name, NetworkId} <- network_ids(Engine), Name =/= <<"bridge">>],
    ?assertEqual(Network, at([<<"HostConfig">>, <<"NetworkMode">>], Inspected)),
    ?assertEqual(lists:sort([{<<"bridge">>, proplists:get_value(<<"bridge">>, network_ids(Engine))}, {Network, Network}]),
                 lists:sort(network_ids(Inspected))),
    [Listed] = body(get(Local, "/containers/json")),
    [EngineListed] = [It || #{<<"Id">> := ItsId} = It <- body(get(eid_rig:socket(1), "/v1.41/containers/json")),
                            ItsId =:= list_to_binary(Id)],
    ?assertEqual(list_paths(), lists:usort(paths(Listed))),
    [?assertEqual({Key, maps:get(Key, EngineListed)}, {Key, maps:get(Key, Listed)}) || Key <- [<<"Id">>, <<"Names">>, <<"State">>]],
    ?assertEqual(lists:sort(maps:get(<<"Ports">>, EngineListed)), lists:sort(maps:get(<<"Ports">>, Listed))),
    ?assertEqual(networks(EngineListed), networks(Listed)),
    ?assertMatch({0, _}, binary:match(maps:get(<<"Status">>, Listed), <<"Up ">>)),
    %% The events come in the engine's order. Exec events, which health checks cause, are left out.
    Lines = lists(Told),
    ?assertEqual(event_paths(), lists:usort(lists:append([paths(Line) || Line <- Lines]))),
    Action = fun(#{<<"Type">> := Type, <<"Action">> := What}) -> {Type, What} end,
    About = fun(#{<<"Actor">> := #{<<"ID">> := Actor, <<"Attributes">> := Attributes}}) ->
                    lists:member(list_to_binary(Id), [Actor, maps:get(<<"container">>, Attributes, none)])
            end,
    IsExec = fun({_, What}) -> binary:match(What, [<<"exec">>, <<"health_status">>]) =/= nomatch end,
    True = [Action(Line) || Line <- lists(Truth), About(Line), not IsExec(Action(Line))],
    ?assertEqual(True, [Action(Line) || Line <- Lines]),
    ?assert(length(True) >= 8),
    ?assert(lists:member({<<"container">>, <<"start">>}, True)),
    %% A hidden container gets the same answer as a container that does not exist.
    [Nothing | Others] = [re:replace(element(2, string_split(get(Local, "/containers/" ++ It ++ "/json"))), It, "X", [{return, binary}])
                          || It <- ["nobody", ?HIDDEN, HiddenId, lists:sublist(HiddenId, 12), lists:sublist(HiddenId, 8)]],
    ?assertEqual([Nothing], lists:usort(Others)),
    %% HEAD returns no body, and unknown requests fail.
    [?assertEqual({Path, <<>>}, {Path, element(2, string_split(request(Local, "HEAD", Path)))})
     || Path <- ["/containers/json", "/containers/secretive/json", "/_ping", "/events", "/nonsense"]],
    [?assertMatch({match, _}, re:run(request(Local, Method, Path), "^HTTP/1.1 40[45] "))
     || {Method, Path} <- [{"POST", "/containers/secretive/stop"}, {"DELETE", "/containers/secretive"}, {"GET", "/containers/secretive/logs"},
                           {"GET", "/containers/secretive/top"}, {"POST", "/containers/secretive/json"}, {"GET", "/info"},
                           {"GET", "/images/json"}, {"GET", "/networks"}, {"POST", "/containers/create"}]],
    terminate(Server),
    %% With this option the answers contain the image's name.
    WithImage = serve(1, ["--listen", "unix://" ++ Local, "--show-image"]),
    ?assertNotEqual(nomatch, string:find(get(Local, "/containers/json"), "eid-otp")),
    terminate(WithImage).

socket() -> "/tmp/eid-serve-" ++ os:getpid() ++ ".sock".

inspect_paths() ->
    lists:sort(["Config.Labels.*", "HostConfig.NetworkMode", "Id", "Name",
                "NetworkSettings.Networks.*.GlobalIPv6Address", "NetworkSettings.Networks.*.IPAddress",
                "NetworkSettings.Networks.*.NetworkID", "NetworkSettings.Ports.*", "NetworkSettings.Ports.*[].HostIp",
                "NetworkSettings.Ports.*[].HostPort", "State.Dead", "State.Paused", "State.Restarting", "State.Running",
                "State.StartedAt", "State.Status"]).

list_paths() ->
    lists:sort(["HostConfig.NetworkMode", "Id", "Labels.*", "Names[]", "NetworkSettings.Networks.*.GlobalIPv6Address",
                "NetworkSettings.Networks.*.IPAddress", "NetworkSettings.Networks.*.NetworkID", "Ports[].IP", "Ports[].PrivatePort",
                "Ports[].PublicPort", "Ports[].Type", "State", "Status"]).

event_paths() ->
    lists:sort(["Action", "Actor.Attributes.*", "Actor.ID", "Type", "id", "scope", "status", "time", "timeNano"]).

%% The paths of all fields. Keys that are data count as one path.
paths(Value) -> paths(Value, "").

paths(#{} = Object, At) ->
    IsData = lists:any(fun(Key) -> lists:suffix(Key, At) end, ["Labels", "Networks", "Settings.Ports", "Attributes"]),
    lists:append([paths(Value, dotted(At, case IsData of true -> "*"; false -> binary_to_list(Key) end))
                  || {Key, Value} <- maps:to_list(Object)]);
paths(List, At) when is_list(List) -> lists:append([paths(Value, At ++ "[]") || Value <- List]);
paths(_, At) -> [At].

dotted("", Key) -> Key;
dotted(At, Key) -> At ++ "." ++ Key.

at(Path, Value) -> lists:foldl(fun maps:get/2, Value, Path).

networks(#{<<"NetworkSettings">> := #{<<"Networks">> := Networks}}) ->
    lists:sort([maps:with([<<"NetworkID">>, <<"IPAddress">>, <<"GlobalIPv6Address">>], Network) || Network <- maps:values(Networks)]).

network_ids(#{<<"NetworkSettings">> := #{<<"Networks">> := Networks}}) ->
    [{Name, Id} || {Name, #{<<"NetworkID">> := Id}} <- maps:to_list(Networks)].

%% Sends an HTTP request to a unix socket. Returns the whole answer, from the head to the end.
get(Socket, Path) -> request(Socket, "GET", Path).

request(Socket, Method, Path) ->
    Stream = open(Socket, Method, Path),
    read(Stream, <<>>).

open(Socket, Method, Path) ->
    {ok, Stream} = gen_tcp:connect({local, Socket}, 0, [binary, {active, false}]),
    ok = gen_tcp:send(Stream, [Method, " ", Path, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]),
    Stream.

read(Stream, Before) ->
    case gen_tcp:recv(Stream, 0, 10_000) of
        {ok, More} -> read(Stream, <<Before/binary, More/binary>>);
        {error, closed} -> Before
    end.

%% Opens a stream. Returns once the server has answered.
follow(Socket, Path) ->
    Stream = open(Socket, "GET", Path),
    {ok, <<"HTTP/1.1 200 OK", _/binary>>} = gen_tcp:recv(Stream, 0, 10_000),
    Stream.

%% Reads a stream until a pattern matches. Returns the bytes up to the match's end, and all bytes.
read_until(Stream, Read, Pattern) ->
    case re:run(Read, Pattern) of
        {match, [{Start, Length} | _]} -> {binary:part(Read, 0, Start + Length), Read};
        nomatch ->
            {ok, More} = gen_tcp:recv(Stream, 0, 20_000),
            read_until(Stream, <<Read/binary, More/binary>>, Pattern)
    end.

lists(Events) ->
    [eid_json:decode(Line) || <<"{", _/binary>> = Line <- re:split(Events, "[\r\n]+")].

string_split(Answer) ->
    [Head, Body] = binary:split(Answer, <<"\r\n\r\n">>),
    {Head, Body}.

body(Answer) ->
    {Head, Body} = string_split(Answer),
    case re:run(Head, "transfer-encoding: chunked", [caseless]) of
        nomatch -> eid_json:decode(Body);
        _ -> eid_json:decode(chunks(Body))
    end.

chunks(Chunked) ->
    [Size, Rest] = binary:split(Chunked, <<"\r\n">>),
    case binary_to_integer(Size, 16) of
        0 -> [];
        Length ->
            <<Chunk:Length/binary, "\r\n", More/binary>> = Rest,
            [Chunk | chunks(More)]
    end.

%% Docker's own client accepts `eid serve' as an engine, at the address that containers reach.
docker_client(_) ->
    Server = serve(1, ["--listen", "172.17.0.1:4244", "--advertise", "192.168.4.231"]),
    #{id := Id} = eid_rig:start_detached(1, hd(eid_rig:releases()), #{name => "db"}),
    Docker = fun(Arguments) -> eid_rig:command(["exec 1 docker -H tcp://172.17.0.1:4244 ", Arguments]) end,
    eid_ct:eventually(fun() -> {0, Ids} = Docker("ps -q"), string:trim(Ids) =:= Id end),
    {0, Ps} = Docker("ps -a"),
    ?assertNotEqual(nomatch, string:find(Ps, "db")),
    {0, Inspected} = Docker(["inspect -f '{{.Id}}' db"]),
    ?assertEqual(Id, lists:sublist(Inspected, 12)),
    {0, _} = Docker("version"),
    {1, NoSuch} = Docker("inspect nobody"),
    ?assertNotEqual(nomatch, string:find(NoSuch, "No such object")),
    {Status, _} = Docker("stop db"),
    ?assertNotEqual(0, Status),
    Events = open_port({spawn_executable, eid_rig:script()},
                       [{args, ["exec", "1", "docker", "-H", "tcp://172.17.0.1:4244", "events", "--filter", "type=container"]},
                        {line, 10_000}, stderr_to_stdout, exit_status]),
    %% Restarts the container until the client prints an event, because the test does not know when
    %% the client subscribes.
    eid_ct:eventually(fun() ->
                              eid_rig:docker(1, "restart -t 0 db"),
                              has_line(Events, "container start")
                      end),
    {os_pid, Pid} = erlang:port_info(Events, os_pid),
    os:cmd("kill " ++ integer_to_list(Pid)),
    %% A container reaches the server at its gateway's address.
    #{peer := Peer, node := Node} = eid_rig:start_node(1, lists:last(eid_rig:releases()), #{host => "192.168.4.231"}),
    Named = peer:call(Peer, os, cmd, ["/opt/eid/priv/eid name --short --engine 'tcp://{host}:4244'"], 30_000),
    ?assertEqual(atom_to_list(Node), string:trim(Named)),
    terminate(Server).

%% Uses Podman as the engine instead of Docker.
podman(_) ->
    Local = socket(),
    Server = serve(1, podman_socket(), ["--listen", "unix://" ++ Local]),
    #{id := Id} = B = eid_rig:start_detached(1, hd(eid_rig:releases()), (eid_rig:podman(1))#{name => "pod"}),
    Ports = fun() ->
                    case get(Local, "/containers/pod/json") of
                        <<"HTTP/1.1 200", _/binary>> = Answer ->
                            [#{<<"HostPort">> := Port}] = at([<<"NetworkSettings">>, <<"Ports">>, <<"12345/tcp">>], body(Answer)),
                            binary_to_integer(Port);
                        _ -> none
                    end
            end,
    eid_ct:eventually(fun() -> Ports() =:= eid_rig:port(B) end),
    [#{<<"Id">> := Full, <<"Labels">> := Labels}] = body(get(Local, "/containers/json")),
    ?assertEqual(Id, lists:sublist(binary_to_list(Full), 12)),
    ?assertMatch(#{<<"eid.test">> := <<"1">>}, Labels),
    eid_rig:client(B, ["stop -t 0 ", Id]),
    eid_ct:eventually(fun() -> body(get(Local, "/containers/json")) =:= [] end),
    [#{<<"Id">> := Full}] = body(get(Local, "/containers/json?all=1")),
    eid_rig:client(B, ["rm ", Id]),
    eid_ct:eventually(fun() -> binary:match(get(Local, "/containers/pod/json"), <<"404">>) =/= nomatch end),
    terminate(Server).

podman_socket() -> filename:join(filename:dirname(eid_rig:socket(1)), "podman.sock").
