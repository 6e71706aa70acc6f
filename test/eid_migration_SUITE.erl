%% Moves a cluster of stock nodes to eid, with the commands and the configuration of
%% doc/guide/migration.md. The old nodes use `inet_tcp' and a real epmd on each host. They run on
%% the hosts' networks and have no eid code. The old nodes run different OTP releases, and so do the
%% new nodes.
-module(eid_migration_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([node_by_node/1, while_it_starts/1, restarts/1, cut/1, old_node_dials/1, same_name/1, epmd_stops/1]).

-import(eid_page, [set/3, on_the_rig/1, sh/3, nodes_in/1, connected/1, await/1, await/2]).

-define(PAGE, "doc/guide/migration.md").
-define(COOKIE, "eid_rig").
-define(SHOP, "eid.cluster=shop").

suite() -> [{timetrap, {minutes, 5}}].

all() -> [node_by_node, while_it_starts, restarts, cut, old_node_dials, same_name, epmd_stops].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            try
                eid_rig:stop_all(),
                Releases = eid_rig:releases(),
                [eid_page:build_example(Host, Release) || {Host, Release} <- [{1, lists:last(Releases)}, {2, hd(Releases)}]],
                eid_rig:parallel(fun start_epmd/1, [1, 2]),
                Config
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) ->
    eid_page:remove_example(),
    eid_rig:down().

%% epmd must start before the first node. Otherwise epmd starts in the first node's container and
%% ends with that container.
start_epmd(Host) ->
    eid_rig:docker(Host, ["run --detach --name epmd --label eid.test=1 --network host eid-otp:", hd(eid_rig:releases()), " epmd"]),
    Asks = ["exec ", integer_to_list(Host), " bash -c '< /dev/tcp/127.0.0.1/4369'"],
    await(fun() -> {0, _} = eid_rig:command(Asks), ok end).

init_per_testcase(Case, Config) ->
    Folder = filename:join(?config(priv_dir, Config), atom_to_list(Case)),
    ok = filelib:ensure_path(Folder),
    [{folder, Folder} | Config].

end_per_testcase(Case, _Config) ->
    Case =:= cut andalso eid_rig:command("link up"),
    eid_rig:parallel(fun(Host) ->
                             [sh(Host, "", ["docker ps --all --quiet --filter label=", Label,
                                            " | xargs --no-run-if-empty docker rm --force"])
                              || Label <- [?SHOP, "eid.migration=old"]]
                     end, [1, 2]),
    ok.

%% The page's old nodes: stock VMs, plus a module that records which nodes connect and disconnect.
old(web) -> #{name => "web", host => 1, release => 1};
old(cache) -> #{name => "cache", host => 1, release => 2};
old(db) -> #{name => "db", host => 2, release => 3}.

start_old(Name) -> start_old(Name, []).

start_old(Names, Arguments) when is_list(Names) ->
    eid_rig:parallel(fun(Name) -> start_old(Name, Arguments) end, Names);
start_old(Name, Arguments) ->
    #{name := Text, host := Host, release := Number} = old(Name),
    Releases = eid_rig:releases(),
    Release = lists:nth(1 + (Number - 1) rem length(Releases), Releases),
    Old = eid_rig:start_node(Host, Release, #{node => Text ++ "@" ++ eid_rig:host_ip(Host), name => "old-" ++ Text, erl => Arguments,
                                              docker => ["--network", "host", "--label", "eid.migration=old"]}),
    ok = eid_rig:load(Old, eid_mesh_recorder),
    ok = peer:call(maps:get(peer, Old), eid_mesh_recorder, start, []),
    Old.

stop_old(#{peer := Peer}) -> peer:stop(Peer).

%% Connects the old nodes with each other. eid has no part in these connections.
connect([#{peer := Peer} | Others] = Old) ->
    [pong = peer:call(Peer, net_adm, ping, [Node]) || #{node := Node} <- Others],
    await(fun() -> mesh(Old) end).

%% Registers a global name. All nodes know the name while they are one cluster.
register_ledger(#{peer := Peer}) ->
    yes = peer:call(Peer, global, register_name, [ledger, peer:call(Peer, erlang, whereis, [init])]).

%% Writes the page's configuration, reduced to these old nodes.
configure(Names, Config) ->
    [Written] = eid_page:blocks(?PAGE, "erlang"),
    {ok, Tokens, _} = erl_scan:string(on_the_rig(Written)),
    {ok, [{eid, [{routes, Routes}, {clusters, [Shop, #{name := old, strategy := {static, #{nodes := All}}} = Old]}]}]} =
        erl_parse:parse_term(Tokens),
    ?assertEqual(Routes, maps:from_keys(All, epmd)),
    Nodes = [Node || Node <- All, lists:member(hd(string:split(atom_to_list(Node), "@")), Names)],
    true = length(Nodes) =:= length(Names),
    Settings = [{routes, maps:with(Nodes, Routes)}, {clusters, [Shop, Old#{strategy := {static, #{nodes => Nodes}}}]}],
    ok = file:write_file(filename:join(?config(folder, Config), "sys.config"), io_lib:format("~p.~n", [[{eid, Settings}]])).

%% Runs the page's command with more arguments for erl. `First' goes before the arguments of the
%% entry point, and `Arguments' after them.
start_new(Host, Config) -> start_new(Host, "", Config).

start_new(Host, Arguments, Config) -> start_new(Host, "", Arguments, Config).

start_new(Hosts, First, Arguments, Config) when is_list(Hosts) ->
    eid_rig:parallel(fun(Host) -> start_new(Host, First, Arguments, Config) end, Hosts);
start_new(Host, First, Arguments, Config) ->
    Start = string:replace(string:trim(command("run --detach", 1)), "eid-example", ["--env 'ERL_AFLAGS=", First, "' eid-example"]),
    Id = lists:sublist(run_as_written(Host, lists:flatten([Start, Arguments]), Config), 12),
    {Host, Id, list_to_atom(Id ++ "@" ++ eid_rig:host_ip(Host))}.

%% The page's command blocks that contain this text: returns the block with this number.
command(Text, Number) ->
    %% The test cases run all four blocks.
    4 = length(eid_page:blocks(?PAGE)),
    lists:nth(Number, [Block || Block <- eid_page:blocks(?PAGE), string:find(Block, Text) =/= nomatch]).

run_as_written(Host, Commands, Config) ->
    lists:last(string:lexemes(sh(Host, ?config(folder, Config), set("COOKIE", ?COOKIE, set("EID_HOST", eid_rig:host_ip(Host), Commands))),
                              "\n")).

stop_new({Host, Id, _Node}) -> sh(Host, "", ["docker rm --force ", Id]).

name({_, _, Node}) -> Node;
name(#{node := Node}) -> Node.

nodes_of(#{peer := Peer}) -> lists:sort(peer:call(Peer, erlang, nodes, []));
nodes_of(New) -> connected(New).

%% Each node, old or new, is connected to all others and to no further node.
mesh(Members) ->
    All = lists:sort([name(Member) || Member <- Members]),
    ?assertEqual([{name(Member), All -- [name(Member)]} || Member <- Members], [{name(Member), nodes_of(Member)} || Member <- Members]),
    ok.

%% The nodes that have disconnected from old nodes since the old nodes started.
lost(Old) ->
    lists:usort([Node || #{peer := Peer} <- Old, {_, nodedown, Node} <- maps:get(events, peer:call(Peer, eid_mesh_recorder, history, []))]).

%% Moves the nodes one after the other. A running old node loses only the nodes that the test stops.
node_by_node(Config) ->
    configure(["web", "cache", "db"], Config),
    Old = [Web, Cache, Db] = start_old([web, cache, db]),
    connect(Old),
    %% The command prints the epmd names that the page shows.
    [Shown] = eid_page:blocks(?PAGE, "text"),
    [?assertEqual(lists:sort(string:lexemes(on_the_rig(Shown), "\n")),
                  lists:sort(string:lexemes(sh(Host, "", on_the_rig(command("net_adm:names", 1))), "\n"))) || Host <- [1, 2]],
    register_ledger(Web),
    First = move(Db, [Web, Cache], [], Config),
    ?assertEqual([name(Db)], lost([Web, Cache])),
    Second = move(Cache, [Web], [First], Config),
    ?assertEqual(lists:sort([name(Cache), name(Db)]), lost([Web])),
    Third = move(Web, [], [First, Second], Config),

    %% Removes the list of old nodes and restarts each node.
    configure([], Config),
    [begin restart_new(New), await(fun() -> mesh([First, Second, Third]) end) end || New <- [First, Second, Third]].

move(#{host := Host} = Going, Staying, Moved, Config) ->
    Before = lost([Going | Staying]),
    New = start_new(Host, Config),
    await(fun() -> mesh([Going | Staying] ++ [New | Moved]) end),
    %% The page's command prints the connected nodes.
    ?assertEqual(connected(New), nodes_in(sh(Host, "", command("erlang nodes", 1)))),
    knows_ledger(New),
    ?assertEqual(Before, lost([Going | Staying])),
    [has_nothing_of_eid(Old) || Old <- [Going | Staying]],
    stop_old(Going),
    await(fun() -> mesh(Staying ++ [New | Moved]) end),
    New.

knows_ledger({Host, Id, _}) ->
    Ask = ["docker exec ", Id, " erl_call -address 127.0.0.1:12345 -a 'global whereis_name [ledger]'"],
    await(fun() -> ?assertNotEqual("undefined", sh(Host, "", Ask)), ok end).

has_nothing_of_eid(#{peer := Peer}) ->
    Loaded = [Module || {Module, _} <- peer:call(Peer, code, all_loaded, [])] -- [eid_mesh_recorder],
    ?assertEqual([], [Module || Module <- Loaded, lists:prefix("eid", atom_to_list(Module))]).

%% Another node connects to a new node whose own eid does not run yet. This must not make any two
%% other nodes lose each other.
while_it_starts(Config) ->
    configure(["web", "db"], Config),
    Old = start_old([web, db]),
    connect(Old),
    First = start_new(1, Config),
    await(fun() -> mesh([First | Old]) end),
    Wait = "-eval \"register(starting, self()), receive go -> ok end.\"",
    {_, Id, Node} = Starting = start_new(2, Wait, "", Config),
    await(fun() -> true = lists:member(Node, connected(First)), ok end),
    sh(2, "", ["docker exec ", Id, " erl_call -address 127.0.0.1:12345 "
               "-a 'erlang send [starting, go]'"]),
    await(fun() -> mesh([First, Starting | Old]) end),
    %% An old node can't dial the new node. Until the new node's eid runs, `global' may end the
    %% connection. It must not end a connection between other nodes.
    ?assertEqual([], lost(Old) -- [Node]).

%% Half of the cluster has moved. A node that restarts is connected again without any manual step.
restarts(Config) ->
    configure(["web", "db"], Config),
    Old = [Web, Db] = start_old([web, db]),
    connect(Old),
    New = [First, Second] = start_new([1, 2], Config),
    await(fun() -> mesh(Old ++ New) end),

    stop_old(Db),
    await(fun() -> mesh([Web | New]) end),
    Restarted = start_old(db),
    pong = peer:call(maps:get(peer, Restarted), net_adm, ping, [name(Web)]),
    await(fun() -> mesh([Web, Restarted | New]) end),

    restart_new(First),
    await(fun() -> mesh([Web, Restarted | New]) end),

    stop_new(Second),
    Replaced = start_new(2, Config),
    Now = [Web, Restarted, First, Replaced],
    await(fun() -> mesh(Now) end),

    %% An old node ends a connection; `global' then ends more connections.
    true = peer:call(maps:get(peer, Web), erlang, disconnect_node, [name(First)]),
    await(fun() -> true = lists:member(name(First), lost([Web])), mesh(Now) end, 60_000).

restart_new({Host, Id, _}) -> sh(Host, "", ["docker restart --time 0 ", Id]).

%% An old and a new node are on each side of a network link. The link is down until both sides have
%% noticed.
cut(Config) ->
    Ticks = ["-kernel", "net_ticktime", "8"],
    configure(["web", "db"], Config),
    Old = [Web, Db] = start_old([web, db], Ticks),
    connect(Old),
    New = [First, Second] = start_new([1, 2], " -kernel net_ticktime 8", Config),
    await(fun() -> mesh(Old ++ New) end),
    {0, _} = eid_rig:command("link down"),
    await(fun() -> mesh([Web, First]), mesh([Db, Second]) end, 60_000),
    {0, _} = eid_rig:command("link up"),
    await(fun() -> mesh(Old ++ New) end, 60_000).

%% An old node can't dial a new node. After the new node has connected, the old node's ping
%% succeeds.
old_node_dials(_Config) ->
    Old = start_old(web),
    New = #{peer := Peer} = eid_rig:start_node(2, hd(eid_rig:releases()), #{docker => ["-p", eid_rig:host_ip(2) ++ "::12345", "--label", ?SHOP]}),
    Ping = fun() -> peer:call(maps:get(peer, Old), net_adm, ping, [name(New)], 30_000) end,
    ?assertEqual(pang, Ping()),
    ok = peer:call(Peer, eid, set_route, [name(Old), epmd]),
    ?assertEqual({pong, pong}, {peer:call(Peer, net_adm, ping, [name(Old)]), Ping()}).

%% A container takes over an old node's name. Running nodes look for the name in epmd, and the
%% container connects to them, also after restarts.
same_name(Config) ->
    configure(["web", "db"], Config),
    Old = [Web, Db] = start_old([web, db]),
    connect(Old),
    Running = start_new(1, Config),
    await(fun() -> mesh([Running | Old]) end),
    stop_old(Db),
    configure(["web"], Config),
    [_On, Cookie, Host | _] = eid_page:lines(command("run --detach", 1)),
    Id = lists:sublist(run_as_written(2, lists:append(lists:join("\n", [Cookie, Host, command("run --detach", 2)])), Config), 12),
    Moved = {2, Id, name(Db)},
    All = [Web, Running, Moved],
    await(fun() -> mesh(All) end),
    [begin restart_new(New), await(fun() -> mesh(All) end) end || New <- [Moved, Running]].

%% Without epmd, connected nodes stay connected. A new node that restarts finds only other new nodes
%% until epmd is back, and `global' makes the other nodes lose more connections.
epmd_stops(Config) ->
    configure(["web", "db"], Config),
    Old = start_old([web, db]),
    connect(Old),
    New = [First, Second] = start_new([1, 2], Config),
    await(fun() -> mesh(Old ++ New) end),
    [ok = eid_rig:remove(Host, ["epmd"]) || Host <- [1, 2]],
    mesh(Old ++ New),
    restart_new(First),
    await(fun() -> ?assertEqual([name(Second)], connected(First)), ok end),
    [start_epmd(Host) || Host <- [1, 2]],
    await(fun() -> mesh(Old ++ New) end, 60_000).
