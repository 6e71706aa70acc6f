%% Runs the commands of examples/release/README.md on the rig's Docker hosts. The suite builds a
%% release for each OTP version of the rig's images. All releases form one cluster.
%%
%% This machine builds the release for its own OTP, as a reader does. For each other OTP version,
%% the same command runs in a container with that OTP, a matching rebar3 and this machine's Rust.
%% Cargo has nothing left to build there.
-module(eid_release_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([no_cookie/1, daemon/1, cluster/1, remote_console/1, reload/1, changed_library/1, stop/1]).
-import(eid_rig, [parallel/2]).
-import(eid_page, [lines/1, set/3, on_the_rig/1, await/1, inspect/3, is_quiet/3, nodes_in/1, in_terminal/5]).

-define(COOKIE, "not-the-readers-cookie").
-define(SHOP, "eid.cluster=shop").
-define(OURS, "eid.test=1").

suite() -> [{timetrap, {minutes, 5}}].

all() -> [no_cookie, daemon, cluster, remote_console, reload, changed_library, stop].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            try [{nodes, start_nodes(Config)} | Config]
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end;
        {skip, _} = Skip -> Skip
    end.

%% The hosts keep their images between runs, so the suite removes the images that it built.
end_per_suite(_Config) ->
    [begin
         [try_sh(Host, "", ["docker ps --all --quiet --filter label=", Label, " | xargs --no-run-if-empty docker rm --force"])
          || Label <- [?SHOP, ?OURS]],
         try_sh(Host, "", "docker image rm --force shop; docker image prune --force")
     end || Host <- [1, 2]],
    eid_rig:down().

%% Starts a node of each release, on both hosts in turn. All images have the README's name, so each
%% new image takes the name from the image before. Both hosts work at once.
start_nodes(Config) ->
    Releases = eid_rig:releases(),
    Hosts = [1 + Number rem 2 || Number <- lists:seq(1, length(Releases))],
    Places = lists:zip(Hosts, Releases),
    Start = fun(Host) -> [start_node(Host, Release, Config) || {H, Release} <- Places, H =:= Host] end,
    lists:append(parallel(Start, [1, 2])).

start_node(Host, Release, Config) ->
    [Make, Start, _Use] = blocks(),
    Folder = copy(Release, Config),
    make(Host, Release, Folder, set("BASE", "eid-otp:" ++ Release, Make)),
    run(Host, Release, Start).

run(Host, Release, Start) ->
    Commands = set("HOST_IP", eid_rig:host_ip(Host), set("COOKIE", ?COOKIE, on_the_rig(Start))),
    Id = lists:last(string:lexemes(sh(Host, "", Commands), "\n")),
    #{host => Host, release => Release, id => Id,
      node => list_to_atom(lists:sublist(Id, 12) ++ "@" ++ eid_rig:host_ip(Host))}.

%% Copies only files that belong to the example, and links to this checkout.
copy(Release, Config) ->
    Folder = filename:join(?config(priv_dir, Config), "release-" ++ Release),
    Example = filename:join([eid_ct:root(), "examples", "release"]),
    sh(1, "", ["mkdir -p '", Folder, "/_checkouts'; cd '", Example, "'; cp -r --parents .dockerignore $(ls | grep -v '^_') '", Folder,
               "'; ln -s '", eid_ct:root(), "' '", Folder, "/_checkouts/eid'"]),
    Folder.

%% If the release is for another OTP than this machine's, only `rebar3 ...' runs in a container.
make(Host, Release, Folder, Commands) ->
    {Before, [Rebar3], After} = split_at("rebar3 ", lines(Commands)),
    case erlang:system_info(otp_release) of
        Release -> sh(Host, Folder, lists:join("\n", Before ++ [Rebar3 | After]));
        _ ->
            elsewhere(Host, Release, Folder, Rebar3),
            sh(Host, Folder, lists:join("\n", Before ++ After))
    end.

split_at(Prefix, Lines) ->
    {Before, [Line | After]} = lists:splitwith(fun(Line) -> not lists:prefix(Prefix, Line) end, Lines),
    {Before, [Line], After}.

elsewhere(Host, Release, Folder, Command) ->
    Rust = string:trim(os:cmd("rustc --print sysroot")),
    Cargo = os:getenv("CARGO_HOME", filename:join(os:getenv("HOME"), ".cargo")),
    Target = os:getenv("CARGO_TARGET_DIR", filename:join(eid_ct:root(), "target")),
    Mounts = [[Path, ":", Path] || Path <- lists:usort([eid_ct:root(), Folder, Rust, Cargo, Target])],
    sh(Host, "", ["docker run --rm --label " ?OURS, [[" --volume '", Mount, "'"] || Mount <- Mounts],
                  " --env CARGO_HOME='", Cargo, "' --env CARGO_NET_OFFLINE=true --env CARGO_TARGET_DIR='", Target, "'",
                  [[" --env ", Name] || Name <- ["CARGO_INCREMENTAL", "RUSTFLAGS"], os:getenv(Name) =/= false],
                  " --env PATH='", Rust, "/bin:/usr/bin:/bin' --env HOME=/tmp --workdir '", Folder,
                  "' eid-otp:", Release, " ", Command]).

%% The entry point prints the name of the missing variable and starts no node.
no_cookie(Config) ->
    [#{host := Host} | _] = ?config(nodes, Config),
    Run = "docker run --rm --label " ?OURS " --env EID_HOST=192.0.2.1 shop",
    {Status, Output} = try_sh(Host, "", Run),
    ?assertNotEqual(0, Status),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "COOKIE is not set"), Output}),
    {1, NoHost} = try_sh(Host, "", "docker run --rm --label " ?OURS " --env COOKIE=x shop"),
    ?assertNotEqual({nomatch, NoHost}, {string:find(NoHost, "EID_HOST"), NoHost}).

%% Starts a node in the background, beside the container's first process, so that the container
%% outlives `stop'. The release's script waits until the node's process is gone. The first process
%% is a waiting shell, which reaps processes without a parent.
daemon(Config) ->
    parallel(fun daemon_beside/1, ?config(nodes, Config)).

daemon_beside(#{host := Host, id := Id, release := Release}) ->
    Image = inspect(Host, Id, "{{.Image}}"),
    Beside = sh(Host, "", ["docker run --detach --label " ?OURS
                           " --env COOKIE=x --env DOCKER_HOSTS='\"192.0.2.1\"' --env EID_HOST=", eid_rig:host_ip(Host),
                           " --entrypoint sh ", Image, " -c 'sleep infinity & wait'"]),
    Shop = fun(Command) -> try_sh(Host, "", ["docker exec ", Beside, " shop ", Command]) end,
    ?assertMatch({1, "Node is not running!"}, Shop("ping")),
    ?assertEqual({0, ""}, Shop("daemon")),
    ?assertEqual({0, "pong"}, Shop("ping")),
    ?assertEqual({0, "\"" ++ Release ++ "\""}, Shop("rpc erlang system_info [otp_release]")),
    ?assertEqual({0, ""}, Shop("stop")),
    ?assertMatch({1, "Node is not running!"}, Shop("ping")),
    sh(Host, "", ["docker rm --force ", Beside]).

%% The nodes of both hosts find each other, the script's commands work, and no epmd runs.
cluster(Config) ->
    Nodes = ?config(nodes, Config),
    ?assert(length(Nodes) >= 3),
    await(fun() -> mesh(Nodes) end),
    [_Make, _Start, Use] = blocks(),
    [Container, Ping, Peers | _] = lines(Use),
    Works = fun(#{host := Host, release := Release, id := Id, node := Node} = Member) ->
                    ?assertEqual("pong", use(Member, [Ping])),
                    Others = lists:sort([Other || #{node := Other} <- Nodes, Other =/= Node]),
                    ?assertEqual(Others, nodes_in(use(Member, [Peers]))),
                    ?assertEqual("embedded", rpc(Member, "code get_mode")),
                    ?assertEqual("\"" ++ Release ++ "\"", rpc(Member, "erlang system_info [otp_release]")),
                    is_quiet(Host, Id, ?COOKIE)
            end,
    _ = parallel(Works, Nodes),
    %% The command as written uses the latest container of a host.
    #{host := Host, id := Id} = lists:last([Member || #{host := 1} = Member <- Nodes]),
    ?assertEqual(Id, lists:flatten(sh(Host, "", [Container, "\ndocker inspect --format '{{.Id}}' $NODE"]))).

%% Runs commands of the README in this container.
use(#{host := Host, id := Id}, Commands) ->
    sh(Host, "", ["NODE=", Id, "\n", lists:join("\n", Commands)]).

rpc(Member, Call) -> use(Member, [["docker exec $NODE shop rpc ", Call]]).

%% Each node is connected to all others and to no further node.
mesh(Nodes) ->
    All = lists:sort([Node || #{node := Node} <- Nodes]),
    Seen = [{Node, nodes_in(rpc(Member, "erlang nodes"))} || #{node := Node} = Member <- Nodes],
    ?assertEqual([{Node, All -- [Node]} || #{node := Node} <- Nodes], Seen),
    ok.

remote_console(Config) ->
    [_Make, _Start, Use] = blocks(),
    [Command] = [Line || Line <- lines(Use), string:find(Line, "remote_console") =/= nomatch],
    Type = fun(#{host := Host, id := Id, node := Node, release := Release}) ->
                   in_terminal(Host, ["NODE=", Id, "\n", Command], "[0-9]> ",
                               "{here, node(), erlang:system_info(otp_release)}.",
                               lists:flatten(io_lib:format("{here,'~s',\"~s\"}", [Node, Release])))
           end,
    _ = parallel(Type, ?config(nodes, Config)),
    %% The remote console leaves no other node connected.
    await(fun() -> mesh(?config(nodes, Config)) end).

%% Loads all of eid's modules three times, which kills processes that still run old code. The
%% connections stay the same, and the node finds a new node.
reload(Config) ->
    Nodes = ?config(nodes, Config),
    [begin
         Before = connections(Member),
         "ok" = eval(Member, "{ok, Ms} = application:get_key(eid, modules), "
                     "[{module, M} = begin code:purge(M), code:load_file(M) end || _ <- [1,2,3], M <- Ms], ok."),
         ?assertEqual(Before, connections(Member))
     end || Member <- Nodes],
    mesh(Nodes),
    New = more(Nodes),
    await(fun() -> mesh([New | Nodes]) end),
    remove(New),
    await(fun() -> mesh(Nodes) end).

%% The processes that own the connections.
connections(Member) ->
    eval(Member, "[begin {ok, Owner} = net_kernel:node_info(N, owner), {N, pid_to_list(Owner)} end || N <- lists:sort(nodes())].").

eval(Member, Expression) -> use(Member, [["docker exec $NODE shop eval '", Expression, "'"]]).

%% Starts one more container on a host.
more(Nodes) ->
    [_Make, Start, _Use] = blocks(),
    #{host := Host, release := Release} = lists:last(Nodes),
    run(Host, Release, Start).

remove(#{host := Host, id := Id}) -> sh(Host, "", ["docker rm --force ", Id]).

%% Replaces the library's file on a running node. eid logs the change and keeps using the loaded
%% library.
changed_library(Config) ->
    Nodes = ?config(nodes, Config),
    #{host := Host, id := Id} = Other = more(Nodes),
    try
        await(fun() -> mesh([Other | Nodes]) end),
        Before = connections(Other),
        sh(Host, "", ["docker exec --user 0 ", Id,
                      " sh -c 'cd /opt/shop/lib/eid-*/priv; cp eid_nif.so new; echo >> new; mv -f new eid_nif.so'"]),
        "ok" = eval(Other, "code:purge(eid_nif), {module, _} = code:load_file(eid_nif), ok."),
        #{node := Peer} = hd(Nodes),
        %% The call may print the log message too.
        Found = eval(Other, ["{ok, #{route := R}} = eid:lookup(<<\"", atom_to_list(Peer), "\">>), R."]),
        ?assertMatch({match, _}, re:run(Found, "^(published|bridge)$", [multiline])),
        ?assertEqual(Before, connections(Other)),
        await(fun() ->
                      {match, _} = re:run(sh(Host, "", ["docker logs ", Id, " 2>&1"]), "eid_nif.so is not the one that this node has loaded"),
                      ok
              end)
    after
        remove(Other)
    end.

%% The node stops with exit status 0, and Docker starts it again.
stop(Config) ->
    [_Make, _Start, Use] = blocks(),
    Stop = lists:last(lines(Use)),
    Nodes = ?config(nodes, Config),
    await(fun() -> mesh(Nodes) end),
    Restarts = fun(#{host := Host, id := Id}) ->
                       Since = string:trim(os:cmd("date +%s")),
                       _ = try_sh(Host, "", ["NODE=", Id, "\n", Stop]),
                       await(fun() -> ?assertEqual("1", inspect(Host, Id, "{{.RestartCount}}")), ok end),
                       ?assertEqual("0", sh(Host, "", ["docker events --since ", Since, " --until $(($(date +%s) + 1)) --filter container=", Id,
                                                       " --filter event=die --format '{{.Actor.Attributes.exitCode}}'"]))
               end,
    _ = parallel(Restarts, Nodes),
    await(fun() -> mesh(Nodes) end).

blocks() -> eid_page:blocks("examples/release/README.md").

sh(Host, Folder, Commands) -> eid_page:sh(Host, filename:join("examples/release", Folder), Commands).
try_sh(Host, Folder, Commands) -> eid_page:try_sh(Host, filename:join("examples/release", Folder), Commands).
