%% Tests the transports to an engine: a TCP port, TLS with certificates on both sides, and a unix
%% socket. Also tests Podman's API instead of Docker's. On host 2 Docker demands certificates, and
%% Podman serves without.
-module(eid_transport_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([one_node_and_every_transport/1, stranger_is_refused/1, no_certificate_is_refused/1,
         tcp_to_an_engine_with_tls/1, https_to_an_engine_without/1,
         podman_restarts_a_container/1, podman_stops_a_container/1, from_podman/1, labels_over_every_transport/1]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [one_node_and_every_transport, stranger_is_refused, no_certificate_is_refused, tcp_to_an_engine_with_tls,
     https_to_an_engine_without, podman_restarts_a_container, podman_stops_a_container, from_podman,
     labels_over_every_transport].

init_per_suite(Config) ->
    case eid_rig:available(podman) of
        true ->
            ok = eid_rig:up(),
            rig("dockerd 2 tls"),
            rig("podman-service 2 start"),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) -> eid_rig:down().

%% In these cases host 1's port demands TLS too. The nodes have no setting for this, so they can use
%% only the unix socket.
init_per_testcase(Case, Config) when Case =:= one_node_and_every_transport; Case =:= labels_over_every_transport ->
    rig("dockerd 1 tls"),
    Config;
init_per_testcase(_, Config) -> Config.

end_per_testcase(Case, _Config) ->
    eid_rig:stop_all(),
    eid_rig:stop_all(#{host => 2, engine => podman}),
    [rig("dockerd 1 plain") || Case =:= one_node_and_every_transport orelse Case =:= labels_over_every_transport],
    ok.

rig(Command) -> {0, _} = eid_rig:command(Command), ok.

oldest() -> hd(eid_rig:releases()).
newest() -> lists:last(eid_rig:releases()).

%% Starts the connecting node with each release in turn, because only this node looks up other
%% nodes.
one_node_and_every_transport(_) ->
    Peers = eid_rig:start_nodes([{1, newest(), no_mesh(#{})}, {2, oldest(), no_mesh(#{})},
                                 {2, newest(), no_mesh(eid_rig:podman(2))}]),
    [begin
         [connect(A, B) || B <- Peers],
         %% The route uses the port that the engine returned. The first peer is on the same
         %% host and may have a shorter route.
         [?assertMatch({ok, #{route := published, port := Port}}, {ok, _} = lookup(A, B))
          || B <- tl(Peers), Port <- [eid_rig:port(B)]]
     end || A <- eid_rig:start_nodes([{1, Release, every_transport()}
                                      || Release <- eid_rig:releases()])].

every_transport() ->
    with_engines(#{default => "tcp://{host}:4243",
                   eid_rig:host_ip(1) => "unix:///var/run/docker.sock",
                   eid_rig:host_ip(2) => "https://{host}:4243"},
                 [certificates("client"), {eid_rig:socket(1), "/var/run/docker.sock"}]).

stranger_is_refused(_) ->
    is_refused_for_its_certificate(with_engines(https(), [certificates("stranger")])).

%% Mounts the certificate authority without the client's certificate.
no_certificate_is_refused(_) ->
    {Folder, _} = certificates("client"),
    Authority = {filename:join(Folder, "ca.pem"), "/certs/ca.pem"},
    is_refused_for_its_certificate(with_engines(https(), [Authority])).

is_refused_for_its_certificate(Options) ->
    [A, B] = eid_rig:start_nodes([{1, newest(), Options}, {2, oldest(), no_mesh(#{})}]),
    {error, {unreachable, _} = Reason} = lookup(A, B),
    Sentence = string:lowercase(lists:flatten(eid:format_error(Reason))),
    ct:log("~ts", [Sentence]),
    ?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, "certificate"), Sentence}),
    pang = ping(A, B).

%% Docker answers such a request with status 400, in HTTP/1.0.
tcp_to_an_engine_with_tls(_) ->
    [A, B] = eid_rig:start_nodes([{1, newest(), no_mesh(#{})}, {2, oldest(), no_mesh(#{})}]),
    case lookup(A, B) of
        {error, {refused, 400, Message}} ->
            ?assertNotEqual({nomatch, Message}, {string:find(Message, "HTTPS"), Message});
        {error, Reason} -> ?assertEqual(bad_response, Reason)
    end,
    pang = ping(A, B).

https_to_an_engine_without(_) ->
    [A, B] = eid_rig:start_nodes([{1, newest(), with_engines(https(), [certificates("client")])},
                                  {2, oldest(), no_mesh(eid_rig:podman(2))}]),
    {error, Reason} = lookup(A, B),
    ?assert(is_tuple(Reason) andalso element(1, Reason) =:= unreachable orelse Reason =:= bad_response, Reason),
    pang = ping(A, B).

%% Podman assigns the same port again.
podman_restarts_a_container(_) ->
    A = eid_rig:start_node(1, oldest(), no_mesh(#{})),
    B = eid_rig:start_detached(2, newest(), no_mesh(eid_rig:podman(2))),
    [begin
         eid_ct:eventually(fun() -> ping(A, B) =:= pong end, 20_000),
         Port = eid_rig:port(B),
         {ok, #{route := published, port := Port}} = lookup(A, B),
         eid_rig:restart(B),
         ?assertEqual(Port, eid_rig:port(B))
     end || _ <- lists:seq(1, 3)],
    eid_ct:eventually(fun() -> ping(A, B) =:= pong end, 20_000).

%% Podman still lists the port of a stopped container.
podman_stops_a_container(_) ->
    A = eid_rig:start_node(1, newest(), no_mesh(#{})),
    #{id := Id} = B = eid_rig:start_detached(2, oldest(), no_mesh(eid_rig:podman(2))),
    eid_ct:eventually(fun() -> ping(A, B) =:= pong end, 20_000),
    eid_rig:client(B, ["stop -t 0 ", Id]),
    %% Podman may show the new state after a moment.
    eid_ct:eventually(fun() -> lookup(A, B) =:= {error, not_running} end),
    pang = ping(A, B),
    eid_rig:client(B, ["rm ", Id]),
    eid_ct:eventually(fun() -> lookup(A, B) =:= {error, no_such_container} end).

%% A node in Podman finds its own address, a neighbour in Podman, and a neighbour in Docker.
from_podman(_) ->
    Neighbours = eid_rig:start_nodes([{2, newest(), no_mesh(eid_rig:podman(2))},
                                      {1, oldest(), no_mesh(#{})}]),
    [begin
         {ok, #{route := loopback}} = lookup(A, A),
         [connect(A, B) || B <- Neighbours]
     end || A <- eid_rig:start_nodes([{2, Release, no_mesh(eid_rig:podman(2))}
                                      || Release <- eid_rig:releases()])].

%% Discovery asks Docker at a socket, Docker with TLS, and Podman. Each container of the tests has a
%% label.
labels_over_every_transport(_) ->
    A = eid_rig:start_node(1, oldest(), every_transport()),
    Options = [{1, #{}}, {2, #{}}, {2, eid_rig:podman(2)}],
    Peers = eid_rig:start_nodes([{Host, newest(), no_mesh(Where)} || {Host, Where} <- Options]),
    Hosts = [host_of(B) || B <- Peers],
    ok = call(A, application, set_env, [eid, clusters, [#{name => all, strategy => {docker, #{hosts => Hosts, label => "eid.test=1"}}}]]),
    ok = call(A, eid, start, []),
    Nodes = fun() -> lists:sort(call(A, erlang, nodes, [])) end,
    eid_ct:eventually(fun() -> Nodes() =:= lists:sort([Node || #{node := Node} <- Peers]) end),
    %% One node joins, and another node leaves.
    More = eid_rig:start_node(2, oldest(), no_mesh(eid_rig:podman(2))),
    eid_ct:eventually(fun() -> lists:member(maps:get(node, More), Nodes()) end, 20_000),
    #{node := Gone, peer := Peer} = lists:last(Peers),
    peer:stop(Peer),
    Listed = fun() -> [#{nodes := All, error := none}] = call(A, eid_discovery, info, []), All end,
    eid_ct:eventually(fun() -> not lists:member(atom_to_binary(Gone), Listed()) end, 20_000),
    ?assertEqual(3, length(Listed())).

host_of(#{node := Node}) ->
    [_Id, Host] = string:split(atom_to_list(Node), "@"),
    Host.

https() -> #{default => "https://{host}:4243"}.

%% The certificates' path from `rig info', mounted as a directory of the container.
certificates(Whose) -> {eid_rig:info("tls." ++ Whose), "/certs"}.

with_engines(Engines, Mounts) ->
    Certificates = ["engine_certs", "\"/certs\""],
    no_mesh(#{mount => Mounts}, ["-eid", "engines", lists:flatten(io_lib:format("~0p", [Engines])) | Certificates]).

%% Without a mesh, eid looks up only nodes that a test asks for.
no_mesh(Options) -> no_mesh(Options, []).

no_mesh(Options, More) ->
    Options#{erl => ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-connect_all", "false",
                     "-kernel", "prevent_overlapping_partitions", "false" | More]}.

call(#{peer := Peer}, Module, Function, Arguments) -> peer:call(Peer, Module, Function, Arguments, 30_000).

ping(A, #{node := NodeB}) -> call(A, net_adm, ping, [NodeB]).

lookup(A, #{node := NodeB}) -> call(A, eid, lookup, [NodeB]).

connect(A, #{node := NodeB} = B) ->
    ?assertEqual({NodeB, pong}, {NodeB, ping(A, B)}),
    NodeB = call(A, erpc, call, [NodeB, erlang, node, []]),
    true = call(A, erlang, disconnect_node, [NodeB]).
