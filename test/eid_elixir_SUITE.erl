%% Runs examples/elixir on the rig's Docker hosts, with the commands of its README and this
%% machine's Elixir. Each host has a node, and one host has a plain Erlang node, too.
-module(eid_elixir_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([no_cookie/1, cluster/1, connect/1, remote/1, stop/1]).
-import(eid_page, [lines/1, set/3, on_the_rig/1, await/1, inspect/3, in_terminal/5]).

-define(COOKIE, "eid_rig").    % the cookie of eid_rig's own nodes
-define(SHOP, "eid.cluster=shop").
-define(OURS, "eid.test=1").

suite() -> [{timetrap, {minutes, 5}}].

all() -> [no_cookie, cluster, connect, remote, stop].

init_per_suite(Config) ->
    case can_run() of
        true ->
            ok = eid_rig:up(),
            try [{nodes, start_nodes(Config)} | Config]
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end;
        {skip, _} = Skip -> Skip
    end.

can_run() ->
    case {eid_rig:available(), os:find_executable("mix")} of
        {{skip, _} = Skip, _} -> Skip;
        {true, false} -> {skip, "Elixir is not installed"};
        {true, _} -> lists:member(release(), eid_rig:releases()) orelse {skip, "there is no image of this machine's own OTP"}
    end.

release() -> erlang:system_info(otp_release).

%% The hosts keep their images between runs, so remove the images of this suite.
end_per_suite(_Config) ->
    [begin
         [try_sh(Host, "", ["docker ps --all --quiet --filter label=", Label, " | xargs --no-run-if-empty docker rm --force"])
          || Label <- [?SHOP, ?OURS]],
         try_sh(Host, "", "docker image rm --force shop; docker image prune --force")
     end || Host <- [1, 2]],
    eid_rig:down().

%% Makes the project once, in a copy, and then the image on each host.
start_nodes(Config) ->
    [Make, Start, _Use] = blocks(),
    Folder = copy(Config),
    Commands = re:replace(Make, "BASE=.*", "BASE=eid-otp:" ++ release(), [unicode, {return, list}]),
    [sh(Host, Folder, Commands) || Host <- [1, 2]],
    [run(Host, Start) || Host <- [1, 2]].

%% Copies only the files of the example, and makes the path to eid absolute.
copy(Config) ->
    Folder = filename:join(?config(priv_dir, Config), "elixir"),
    Example = filename:join([eid_ct:root(), "examples", "elixir"]),
    sh(1, "", ["mkdir -p '", Folder, "'; cd '", Example, "'; cp -r .dockerignore $(ls | grep -v '^_') '", Folder, "'; cd '", Folder,
               "'; sed -i 's|path: \"../..\"|path: \"", eid_ct:root(), "\"|' mix.exs; grep -q '", eid_ct:root(), "' mix.exs"]),
    Folder.

run(Host, Start) ->
    Commands = set("HOST_IP", eid_rig:host_ip(Host), set("COOKIE", ?COOKIE, on_the_rig(Start))),
    Id = lists:last(string:lexemes(sh(Host, "", Commands), "\n")),
    #{host => Host, id => Id, node => lists:sublist(Id, 12) ++ "@" ++ eid_rig:host_ip(Host)}.

%% Without a cookie or a host, the container prints what is missing and starts no node.
no_cookie(_) ->
    Run = "docker run --rm --label " ?OURS " --env EID_HOST=192.0.2.1 shop",
    {Status, Output} = try_sh(1, "", Run),
    ?assertNotEqual(0, Status),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "COOKIE is not set"), Output}),
    {1, NoHost} = try_sh(1, "", "docker run --rm --label " ?OURS " --env COOKIE=x shop"),
    ?assertNotEqual({nomatch, NoHost}, {string:find(NoHost, "EID_HOST"), NoHost}).

%% The nodes have found each other with the settings in runtime.exs.
cluster(Config) ->
    [One, Two] = Nodes = ?config(nodes, Config),
    await(fun() -> mesh(Nodes) end),
    [_Make, _Start, Use] = blocks(),
    [Container, List | _] = lines(Use),
    [begin
         ?assertEqual("[:\"" ++ Other ++ "\"]", use(Member, [List])),
         ?assertEqual(":embedded", rpc(Member, "IO.inspect(:code.get_mode())")),
         ?assertEqual("[:\"" ++ Other ++ "\"]", rpc(Member, "IO.inspect(Shop.peers())")),
         Programs = sh(Host, "", ["docker top ", Id, " -eo pid,comm"]),
         ?assertMatch({_, nomatch}, {Programs, string:find(Programs, "epmd")})
     end || {#{host := Host, id := Id} = Member, #{node := Other}} <- [{One, Two}, {Two, One}]],
    %% The README's own command finds the host's newest container.
    #{host := Host, id := Id} = One,
    ?assertEqual(Id, lists:flatten(sh(Host, "", [Container, "\ndocker inspect --format '{{.Id}}' $NODE"]))).

%% Runs commands of the README for this container.
use(#{host := Host, id := Id}, Commands) ->
    sh(Host, "", ["NODE=", Id, "\n", lists:join("\n", Commands)]).

rpc(Member, Expression) -> use(Member, [["docker exec $NODE shop rpc '", Expression, "'"]]).

mesh([#{node := One} = MemberOne, #{node := Two} = MemberTwo]) ->
    ?assertEqual({"[:\"" ++ Two ++ "\"]", "[:\"" ++ One ++ "\"]"},
                 {rpc(MemberOne, "IO.inspect(Node.list())"), rpc(MemberTwo, "IO.inspect(Node.list())")}),
    ok.

%% No cluster lists this plain Erlang node on the other host. `Node.connect/1' connects it, and then
%% it answers calls.
connect(Config) ->
    [#{host := Host} = Member, _] = ?config(nodes, Config),
    #{id := Id, node := Erlang} = eid_rig:start_detached(3 - Host, lists:last(eid_rig:releases()), #{}),
    await(fun() ->
                  ?assertEqual("true", rpc(Member, ["IO.inspect(Node.connect(:\"", atom_to_list(Erlang), "\"))"])),
                  ok
          end),
    ?assertEqual(lists:last(eid_rig:releases()),
                 rpc(Member, ["IO.puts(:erpc.call(:\"", atom_to_list(Erlang), "\", :erlang, :system_info, [:otp_release]))"])),
    {match, _} = re:run(rpc(Member, "IO.inspect(Node.list())"), atom_to_list(Erlang)),
    ok = eid_rig:remove(3 - Host, [Id]),
    await(fun() -> mesh(?config(nodes, Config)) end).

remote(Config) ->
    [_Make, _Start, Use] = blocks(),
    [Command] = [Line || Line <- lines(Use), string:find(Line, "shop remote") =/= nomatch],
    [in_terminal(Host, ["NODE=", Id, "\n", Command], "[0-9]>", "IO.puts(\"here \" <> to_string(Node.self()))", "here " ++ Node)
     || #{host := Host, id := Id, node := Node} <- ?config(nodes, Config)],
    await(fun() -> mesh(?config(nodes, Config)) end).

%% The node exits normally, and Docker starts it again.
stop(Config) ->
    [_Make, _Start, Use] = blocks(),
    [#{host := Host, id := Id} | _] = Nodes = ?config(nodes, Config),
    Since = string:trim(os:cmd("date +%s")),
    _ = try_sh(Host, "", ["NODE=", Id, "\n", lists:last(lines(Use))]),
    await(fun() -> ?assertEqual("1", inspect(Host, Id, "{{.RestartCount}}")), ok end),
    ?assertEqual("0", sh(Host, "", ["docker events --since ", Since, " --until $(($(date +%s) + 1)) --filter container=", Id,
                                    " --filter event=die --format '{{.Actor.Attributes.exitCode}}'"])),
    await(fun() -> mesh(Nodes) end).

blocks() -> eid_page:blocks("examples/elixir/README.md").

sh(Host, Folder, Commands) -> eid_page:sh(Host, filename:join("examples/elixir", Folder), Commands).
try_sh(Host, Folder, Commands) -> eid_page:try_sh(Host, filename:join("examples/elixir", Folder), Commands).
