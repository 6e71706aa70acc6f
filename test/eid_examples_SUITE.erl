%% Runs the examples on the rig's Docker hosts, with the commands of their READMEs. The suite only
%% replaces what each reader replaces: the values that a block exports, and the hosts' addresses.
-module(eid_examples_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([no_cookie/1, compose/1, two_hosts/1, kubernetes/1]).

-import(eid_page, [containers/2, inspect/3, is_quiet/3, lines/1, set/3, on_the_rig/1, nodes_in/1, mesh/1, await/1]).

-define(COOKIE, "not-the-readers-cookie").
-define(IMAGE, "eid-example").
-define(PROJECT, "com.docker.compose.project=compose").
-define(SHOP, "eid.cluster=shop").
-define(OURS, "eid.test=1").

suite() -> [{timetrap, {minutes, 5}}].

all() -> [no_cookie, compose, two_hosts, kubernetes].

%% Makes the image on both hosts as in examples/README.md, with the oldest and with the newest OTP
%% release.
init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            try build()
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end,
            Config;
        {skip, _} = Skip -> Skip
    end.

build() ->
    Releases = eid_rig:releases(),
    [eid_page:build_example(Host, Release) || {Host, Release} <- [{1, hd(Releases)}, {2, lists:last(Releases)}]].

end_per_suite(_Config) ->
    eid_page:remove_example(),
    eid_rig:down().

init_per_testcase(compose, Config) ->
    case compose_command() of
        none -> {skip, "there is neither docker compose nor docker-compose"};
        Command -> [{compose, Command} | Config]
    end;
init_per_testcase(kubernetes, Config) ->
    case {eid_rig:command("available dns"), eid_manifest:read(manifest())} of
        {{0, _}, {ok, Objects}} ->
            {0, _} = eid_rig:command("pods up"),
            ok = eid_dns_zone:start(1),
            [{objects, Objects} | Config];
        {{0, _}, {error, Why}} -> {skip, Why};
        {{_, Why}, _} -> {skip, string:trim(Why)}
    end;
init_per_testcase(_, Config) -> Config.

%% Removes everything that a case has left, even if the case failed.
end_per_testcase(Case, _Config) ->
    [[sh(Host, "", ["docker ps --all --quiet --filter label=", Label, " | xargs --no-run-if-empty docker rm --force"])
      || Label <- [?PROJECT, ?SHOP, ?OURS]] || Host <- [1, 2]],
    case Case of
        kubernetes -> eid_dns_zone:clear(), eid_dns_zone:stop(), eid_rig:command("pods down");
        _ -> none
    end,
    [sh(Host, "", "docker network prune --force") || Host <- [1, 2]],
    ok.

%% Without a cookie or a host, the entry point prints what is missing and starts no node.
no_cookie(_) ->
    Run = "docker run --rm --label " ?OURS " --env EID_HOST=192.0.2.1 " ?IMAGE,
    {Status, Output} = try_sh(1, "", Run),
    ?assertNotEqual(0, Status),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "COOKIE is not set"), Output}),
    {1, NoHost} = try_sh(1, "", "docker run --rm --label " ?OURS " --env COOKIE=x " ?IMAGE),
    ?assertNotEqual({nomatch, NoHost}, {string:find(NoHost, "EID_HOST"), NoHost}).

compose(Config) ->
    [Block] = blocks("compose"),
    [Export, Up, Look, Down] = lines(Block),
    Run = fun(Line) -> sh(1, "compose", [set("COOKIE", ?COOKIE, Export), "\n", with(?config(compose, Config), Line)]) end,
    Run(Up),
    await(fun() -> {2, 3} = services(), mesh(compose_nodes()) end),
    %% The output of the command that lists the nodes.
    Seen = nodes_in(Run(Look)),
    ?assertEqual(4, length(Seen)),
    [?assertMatch({match, _}, re:run(atom_to_list(Node), "^shop@[0-9.]+$")) || Node <- Seen],
    are_closed(),

    %% Docker restarts a node that crashes.
    [{_, Crashed, _} | _] = compose_nodes(),
    _ = try_sh(1, "", ["docker exec ", Crashed, " ", "erl_call -address 127.0.0.1:12345 -a 'erlang halt [1]'"]),
    await(fun() -> ok = ?assertEqual("1", inspect(1, Crashed, "{{.RestartCount}}")), mesh(compose_nodes()) end),

    %% Compose replaces a removed container, and one more container joins the cluster.
    sh(1, "", ["docker rm --force ", Crashed]),
    await(fun() -> 4 = length(compose_nodes()), mesh(compose_nodes()) end),
    Run(string:replace(Up, "worker=3", "worker=4")),
    await(fun() -> {2, 4} = services(), mesh(compose_nodes()) end),
    false = lists:keymember(Crashed, 2, compose_nodes()),
    Run(string:replace(Up, "worker=3", "worker=1")),
    await(fun() -> {2, 1} = services(), mesh(compose_nodes()) end),

    Run(Down),
    [?assertEqual({What, ""}, {What, sh(1, "", ["docker ", What, " --quiet --filter label=", ?PROJECT])})
     || What <- ["ps --all", "network ls", "volume ls"]].

%% No port is published, Docker's socket is not in the container, and no epmd runs.
are_closed() ->
    [begin
         ?assertEqual("", sh(1, "", ["docker port ", Id])),
         ?assertEqual(nomatch, string:find(inspect(1, Id, "{{json .Mounts}}"), "docker.sock")),
         is_quiet(1, Id, ?COOKIE)
     end || {_, Id, _} <- compose_nodes()].

services() ->
    list_to_tuple([length(containers(1, "com.docker.compose.service=" ++ Service)) || Service <- ["web", "worker"]]).

compose_nodes() ->
    [{1, Id, list_to_atom("shop@" ++ inspect(1, Id, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"))}
     || Id <- containers(1, ?PROJECT)].

two_hosts(_) ->
    [First, Second, Third] = blocks("two-hosts"),
    [Look, Remove] = lines(Third),
    Start = #{1 => First, 2 => Second},
    Ids = [lists:last(string:lexemes(sh(Host, "two-hosts", set("COOKIE", ?COOKIE, on_the_rig(maps:get(Host, Start)))), "\n"))
           || Host <- [1, 2, 2]],
    ?assertEqual([64, 64, 64], [length(Id) || Id <- Ids]),
    await(fun() -> 3 = length(shop_nodes()), mesh(shop_nodes()) end),
    ?assertEqual(2, length(nodes_in(sh(1, "", Look)))),

    %% Docker has chosen the host port, at the private address only.
    [begin
         {match, _} = re:run(sh(Host, "", ["docker port ", Id]), "^12345/tcp -> 192\\.0\\.2\\.[12]:[0-9]+$"),
         is_quiet(Host, Id, ?COOKIE)
     end || {Host, Id, _} <- shop_nodes()],

    %% One container ends, and another one starts.
    sh(2, "", ["docker rm --force ", lists:last(Ids)]),
    await(fun() -> 2 = length(shop_nodes()), mesh(shop_nodes()) end),
    sh(1, "two-hosts", set("COOKIE", ?COOKIE, on_the_rig(First))),
    await(fun() -> 3 = length(shop_nodes()), mesh(shop_nodes()) end),

    [sh(Host, "", Remove) || Host <- [1, 2]],
    ?assertEqual([], shop_nodes()).

shop_nodes() ->
    [{Host, Id, list_to_atom(lists:sublist(Id, 12) ++ "@" ++ eid_rig:host_ip(Host))}
     || Host <- [1, 2], Id <- containers(Host, ?SHOP)].

%% Runs the manifest's pods without Kubernetes, as containers in the rig's pod network. The rig's
%% DNS replaces the DNS of the headless Service.
kubernetes(Config) ->
    Objects = ?config(objects, Config),
    [Block] = blocks("kubernetes"),
    [Secret, _Apply, Look] = lines(Block),
    #{<<"spec">> := #{<<"clusterIP">> := <<"None">>, <<"publishNotReadyAddresses">> := true, <<"selector">> := Selector,
                      <<"ports">> := [#{<<"port">> := 12345} = Port]}} = Service =
        eid_manifest:object(<<"Service">>, <<"shop-nodes">>, Objects),
    ?assertNot(is_map_key(<<"targetPort">>, Port)),
    {Replicas, Labels, Pod} = eid_manifest:pods(eid_manifest:object(<<"Deployment">>, <<"shop">>, Objects)),
    #{<<"containers">> := [#{<<"ports">> := [#{<<"containerPort">> := 12345}]} = Container]} = Pod,
    Selector = maps:with(maps:keys(Selector), Labels),
    is_closed(eid_manifest:object(<<"NetworkPolicy">>, <<"shop-nodes">>, Objects), Labels),

    %% The README creates the secret that the pods require.
    {match, [Name, Key]} = re:run(Secret, "create secret generic (\\S+) --from-literal=([^=]+)=", [{capture, all_but_first, binary}]),
    Given = #{dir => ?config(priv_dir, Config), secrets => #{{Name, Key} => ?COOKIE}},
    List = fun(Numbers) -> eid_dns_zone:addresses(eid_manifest:service_name(Service), [pod_ip(N) || N <- Numbers]) end,
    Start = fun(Number) -> start_pod(Number, eid_manifest:run(Pod, Objects, Given#{pod_ip => pod_ip(Number)})) end,

    %% A single pod runs but is not ready. The DNS lists it nevertheless, because pods must find
    %% each other before they are ready.
    List([1]),
    First = Start(1),
    await(fun() -> mesh([First]) end),
    await_probes(Container, [First], 503),

    Numbers = lists:seq(1, Replicas),
    List(Numbers),
    Pods = [First | [Start(N) || N <- tl(Numbers)]],
    await(fun() -> mesh(Pods) end),
    await_probes(Container, Pods, 200),
    {Host, Id, _} = First,
    [_, AsWritten] = string:split(Look, " -- "),
    ?assertEqual(Replicas - 1, length(nodes_in(sh(Host, "", ["docker exec ", Id, " ", AsWritten])))),
    [is_quiet(H, I, ?COOKIE) || {H, I, _} <- Pods],

    %% Another pod at another address replaces this pod.
    sh(Host, "", ["docker rm --force ", Id]),
    List(tl(Numbers) ++ [Replicas + 1]),
    Replaced = tl(Pods) ++ [Start(Replicas + 1)],
    await(fun() -> mesh(Replaced) end).

%% The policy lets only the pods themselves connect to the distribution port, and closes all other
%% ports.
is_closed(#{<<"spec">> := #{<<"podSelector">> := #{<<"matchLabels">> := Selected}, <<"policyTypes">> := [<<"Ingress">>],
                            <<"ingress">> := [#{<<"from">> := [#{<<"podSelector">> := #{<<"matchLabels">> := Allowed}}],
                                                <<"ports">> := [#{<<"port">> := 12345}]}]}}, Labels) ->
    Selected = Allowed = maps:with(maps:keys(Selected), Labels).

pod_ip(Number) -> lists:flatten(io_lib:format("10.77.~b.~b", [pod_host(Number), 100 + Number])).
pod_host(Number) -> 1 + Number rem 2.

start_pod(Number, Arguments) ->
    Host = pod_host(Number),
    Run = ["run", "--detach", "--label", ?OURS, "--network", "eid-pods", "--ip", pod_ip(Number), "--dns", eid_rig:host_ip(Host)
           | Arguments],
    Id = lists:last(string:lexemes(sh(Host, "", ["docker", [[" ", quote(A)] || A <- Run]]), "\n")),
    {Host, Id, list_to_atom("shop@" ++ pod_ip(Number))}.

quote(Text) -> ["'", string:replace(Text, "'", "'\\''", all), "'"].

%% Sends both probes of the container from the pod's host, as a kubelet does.
await_probes(#{<<"readinessProbe">> := #{<<"httpGet">> := Ready}, <<"livenessProbe">> := #{<<"httpGet">> := Live}}, Pods, Readiness) ->
    [await(fun() ->
                   ?assertEqual({Readiness, 200}, {probe(Pod, Ready), probe(Pod, Live)}),
                   ok
           end) || Pod <- Pods].

probe({Host, _Id, Node}, #{<<"path">> := Path, <<"port">> := Port}) ->
    [_, Ip] = string:split(atom_to_list(Node), "@"),
    Get = io_lib:format("exec 3<>/dev/tcp/~s/~b; printf \"GET ~s HTTP/1.0\\r\\n\\r\\n\" >&3; head -n 1 <&3", [Ip, Port, Path]),
    {0, "HTTP/1." ++ [_, $\s, A, B, C | _]} = eid_rig:command(["exec ", integer_to_list(Host), " timeout 5 bash -c '", Get, "'"]),
    list_to_integer([A, B, C]).

manifest() -> filename:join([eid_ct:root(), "examples", "kubernetes", "shop.yaml"]).

compose_command() ->
    case {try_sh(1, "", "docker compose version"), os:find_executable("docker-compose")} of
        {{0, _}, _} -> "docker compose";
        {_, false} -> none;
        {_, _} -> "docker-compose"
    end.

with(Compose, Line) -> string:replace(Line, "docker compose", Compose).

blocks(Example) -> eid_page:blocks(filename:join(["examples", Example, "README.md"])).

%% Runs commands in the example's directory.
sh(Host, Example, Commands) -> eid_page:sh(Host, filename:join("examples", Example), Commands).

try_sh(Host, Example, Commands) -> eid_page:try_sh(Host, filename:join("examples", Example), Commands).
