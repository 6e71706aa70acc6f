%% Tests discovery on one machine, with nodes at loopback addresses and strategies that return what
%% the tests set.
-module(eid_discovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([static_nodes_form_a_mesh/1, mesh_without_connect_all/1, nodes_come_and_go/1, clusters_side_by_side/1,
         bad_nodes_delay_no_other/1, limit/1, crashing_strategy/1, one_line_for_each_change/1,
         no_line_for_a_moment/1, wrong_settings/1, wrong_setting_on_the_command_line/1,
         node_without_a_name/1, hosts_file/1, names_that_become_atoms/1,
         routes_of_several_clusters/1, pruned_in_mid_connection/1, invalid_answers/1,
         partial_answers/1, other_name_of_this_node/1, rejected_attempts/1, stopped_in_mid_connection/1,
         waiting_in_turn/1, silent_nodes/1]).
-import(eid_discovery_ct, [start/3, tuning/1, term/1, stop/1, static/1, scripted/2, answer/3,
         await_answers/3, await_nodes/2, listed/1, peers/1, workers/1, silent/0]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [static_nodes_form_a_mesh, mesh_without_connect_all, nodes_come_and_go, clusters_side_by_side,
     bad_nodes_delay_no_other, limit, crashing_strategy, one_line_for_each_change,
     no_line_for_a_moment, wrong_settings,
     wrong_setting_on_the_command_line, node_without_a_name, hosts_file, names_that_become_atoms,
     routes_of_several_clusters, pruned_in_mid_connection, invalid_answers, partial_answers,
     other_name_of_this_node, rejected_attempts, stopped_in_mid_connection, waiting_in_turn,
     silent_nodes].

static_nodes_form_a_mesh(_) ->
    Nodes = ['a@127.0.0.2', 'b@127.0.0.3', 'c@127.0.0.4'],
    Clusters = [#{name => shop, strategy => {static, #{nodes => Nodes}}}],
    Peers = [start(Node, Clusters, []) || Node <- Nodes],
    [await_nodes(Peer, Nodes -- [Node]) || {Peer, Node} <- lists:zip(Peers, Nodes)],
    eid_ct:eventually(fun() -> listed(hd(Peers)) =:= [[<<"b@127.0.0.3">>, <<"c@127.0.0.4">>]] end),
    [#{name := shop, strategy := static, answered := At, error := none}] =
        peer:call(hd(Peers), eid_discovery, info, []),
    ?assert(is_integer(At)),
    %% The connector learns of a connection after `nodes()' has it.
    eid_ct:eventually(fun() ->
                              #{<<"b@127.0.0.3">> := B} = peers(hd(Peers)),
                              maps:get(state, B) =:= connected
                      end),
    ?assertMatch(#{<<"b@127.0.0.3">> := #{clusters := [shop], since := Since, error := none}}
                   when is_integer(Since),
                 peers(hd(Peers))),
    stop(Peers).

%% OTP does not connect the nodes to each other here, so discovery makes every connection.
mesh_without_connect_all(_) ->
    Nodes = ['a@127.0.0.2', 'b@127.0.0.3', 'c@127.0.0.4', 'd@127.0.0.5'],
    Clusters = [#{name => shop, strategy => {static, #{nodes => Nodes}}}],
    Peers = [start(Node, Clusters, ["-connect_all", "false"]) || Node <- Nodes],
    [await_nodes(Peer, Nodes -- [Node]) || {Peer, Node} <- lists:zip(Peers, Nodes)],
    stop(Peers).

nodes_come_and_go(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(keep, false)], []),
    answer(A, keep, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    %% A node that leaves the list stays connected.
    answer(A, keep, #{nodes => []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    ?assertMatch(#{<<"b@127.0.0.3">> := #{clusters := []}}, peers(A)),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    %% A listed node that has ended is connected again when it is back.
    answer(A, keep, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() -> listed(A) =:= [[<<"b@127.0.0.3">>]] end),
    stop([B]),
    await_nodes(A, []),
    {ok, B2, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    await_nodes(A, [NodeB]),
    stop([A]),
    %% With `prune', a node that leaves the list is disconnected.
    A2 = start('a@127.0.0.2', [scripted(keep, true)], []),
    answer(A2, keep, #{nodes => [NodeB]}),
    await_nodes(A2, [NodeB]),
    answer(A2, keep, #{nodes => unchanged}),
    await_answers(A2, keep, 2),
    ?assertEqual([[<<"b@127.0.0.3">>]], listed(A2)),
    ?assertEqual([NodeB], peer:call(A2, erlang, nodes, [])),
    answer(A2, keep, #{nodes => []}),
    await_nodes(A2, []),
    stop([A2, B2]).

clusters_side_by_side(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    {ok, C, NodeC} = eid_ct:start_node(c, "127.0.0.4", []),
    A = start('a@127.0.0.2', [scripted(one, true), scripted(two, true)], ["-connect_all", "false"]),
    answer(A, one, #{nodes => [NodeB, NodeC]}),
    answer(A, two, #{nodes => [NodeC]}),
    await_nodes(A, [NodeB, NodeC]),
    eid_ct:eventually(fun() ->
                              #{<<"c@127.0.0.4">> := #{clusters := Clusters}} = peers(A),
                              lists:sort(Clusters) =:= [one, two]
                      end),
    %% The node leaves the list of one cluster but stays in the list of the other.
    answer(A, one, #{nodes => []}),
    await_nodes(A, [NodeC]),
    ?assertMatch(#{clusters := [two]}, maps:get(<<"c@127.0.0.4">>, peers(A))),
    answer(A, two, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B, C]).

%% 200 nodes accept the connection and send nothing, 200 names have no node, and one node works.
bad_nodes_delay_no_other(_) ->
    good_node_comes_first(200, names("n", 200, "127.0.0.10")).

names(Base, Count, Ip) ->
    [iolist_to_binary([Base, integer_to_list(N), "@", Ip]) || N <- lists:seq(1, Count)].

%% The good node is connected while the first attempt at each silent node is still in progress.
good_node_comes_first(Count, Others) ->
    {Port, _Accepted} = silent(),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    %% Only eid ends an attempt at a silent node, after 20 s.
    A = start('a@127.0.0.2', [scripted(shop, false)], ["-kernel", "net_setuptime", "120"]),
    Silent = names("s", Count, "127.0.0.9"),
    Targets = [{Node, {{127,0,0,1}, Port}} || Node <- Silent],
    answer(A, shop, #{nodes => Targets ++ Others ++ [NodeB]}),
    await_nodes(A, [NodeB]),
    Peers = peers(A),
    Infos = [maps:get(Node, Peers) || Node <- Silent],
    ?assertEqual([], [Info || #{state := State, error := Error} = Info <- Infos,
                              {State, Error} =/= {connecting, none}]),
    %% Meanwhile the worker still answers.
    await_answers(A, shop, 1),
    stop([A, B]).

limit(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [(scripted(shop, true))#{limit => 10}], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    %% A node in the list keeps its place, wherever the new names appear.
    Names = names("n", 1000, "127.0.0.10"),
    answer(A, shop, #{nodes => Names ++ [NodeB, "no name", <<"bad@">>, 42, {}]}),
    eid_ct:eventually(fun() -> [Nodes] = listed(A), length(Nodes) =:= 10 end),
    ?assert(lists:member(<<"b@127.0.0.3">>, hd(listed(A)))),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    %% Each problem is logged once, not with each answer.
    await_answers(A, shop, 3),
    ?assertMatch([_, _], [Line || Line <- eid_ct:log_lines(A), string:find(Line, "cluster shop") =/= nomatch]),
    ?assertMatch([_], [Line || Line <- eid_ct:log_lines(A), string:find(Line, "lists 1001 nodes") =/= nomatch]),
    ?assertMatch([_], [Line || Line <- eid_ct:log_lines(A), string:find(Line, "4 elements of its list") =/= nomatch]),
    stop([A, B]).

crashing_strategy(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, true)], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    answer(A, shop, crash),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =/= none end),
    [#{error := #{text := Text, since := Since}}] = peer:call(A, eid_discovery, info, []),
    ?assertNotEqual(nomatch, string:find(Text, "as_told")),
    await_answers(A, shop, 2),
    ?assertMatch([#{error := #{since := Since}}], peer:call(A, eid_discovery, info, [])),
    answer(A, shop, what),
    await_answers(A, shop, 1),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    answer(A, shop, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =:= none end),
    ?assertMatch([_Warning, _Notice], eid_ct:log_lines(A)),
    %% If the strategy's process is killed, discovery starts a new one.
    [Worker] = workers(A),
    Runners = fun() ->
                      {links, Links} = peer:call(A, erlang, process_info, [Worker, links]),
                      Links -- [peer:call(A, erlang, whereis, [eid_sup])]
              end,
    [Runner] = Runners(),
    kill(A, Runner),
    eid_ct:eventually(fun() -> Now = Runners(), Now =/= [] andalso Now =/= [Runner] end),
    answer(A, shop, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B]).

%% Kills the process from its own node. This node is not connected to that node, so its own signal
%% would be lost.
kill(Peer, Pid) -> true = peer:call(Peer, erlang, exit, [Pid, kill]).

%% A node cannot be reached for a while. eid logs one line when this is clear and one line when the
%% node is back, even if the reason changes meanwhile.
one_line_for_each_change(_) ->
    A = start('a@127.0.0.2', [scripted(shop, false)],
              tuning(#{patience => 300, longest_gap => 300})),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => ['b@127.0.0.3']}),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 1 end),
    [Refused] = eid_ct:log_lines(A),
    ?assertNotEqual(nomatch, string:find(Refused, "connection refused")),
    %% A new reason causes no new line, but it is visible in the info.
    {ok, B0, _} = eid_ct:start_node(b, "127.0.0.3", ["-setcookie", "another"]),
    eid_ct:eventually(fun() ->
                              #{<<"b@127.0.0.3">> := #{error := Error}} = peers(A),
                              Error =/= none andalso string:find(Error, "cookie") =/= nomatch
                      end),
    stop([B0]),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    await_nodes(A, [NodeB]),
    %% The connector learns of a connection after `nodes()' has it.
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) > 1 end),
    ?assertMatch([Refused, _Connected], eid_ct:log_lines(A)),
    stop([A, B]).

%% eid logs nothing about a node that is away only for a moment, however often it tries.
no_line_for_a_moment(_) ->
    A = start('a@127.0.0.2', [scripted(shop, false)], tuning(#{patience => 3_600_000})),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => ['b@127.0.0.3']}),
    [begin
         eid_ct:eventually(fun() ->
                                   case peers(A) of
                                       #{<<"b@127.0.0.3">> := #{state := waiting, error := Error}} ->
                                           Error =/= none;
                                       #{} -> false
                                   end
                           end),
         {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
         await_nodes(A, [NodeB]),
         eid_ct:eventually(fun() ->
                                   #{<<"b@127.0.0.3">> := #{state := State}} = peers(A),
                                   State =:= connected
                           end),
         stop([B])
     end || _ <- [1, 2]],
    ?assertEqual([], eid_ct:log_lines(A)),
    stop([A]).

wrong_settings(_) ->
    Named = fun(Strategy) -> [#{name => shop, strategy => Strategy}] end,
    [begin
         ok = application:set_env(eid, clusters, Clusters),
         {error, {{bad_setting, Sentence}, _}} = application:start(eid),
         ?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, Key), Sentence}),
         ?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, "clusters"), Sentence})
     end || {Clusters, Key} <-
                [{#{}, "clusters"}, {[shop], "name"}, {[#{strategy => {static, #{nodes => []}}}], "name"},
                 {[#{name => shop}], "strategy"}, {Named(stick), "stick"}, {Named({lists, #{}}), "lists"}, {Named(42), "42"},
                 {Named({static, #{nodes => [nobody]}}), "nodes"}, {Named(static), "nodes"}, {Named({static, []}), "static"},
                 {Named({dns, #{}}), "name"}, {Named({dns, #{name => "a b"}}), "name"}, {Named({dns, #{name => "a", base => "x y"}}), "base"},
                 {Named({dns, #{name => "a", family => ip}}), "family"}, {Named({dns, #{nam => "a"}}), "nam"},
                 {Named({srv, #{}}), "name"}, {Named({srv, #{name => ""}}), "name"},
                 {Named({docker, #{}}), "hosts"}, {Named({docker, #{hosts => ["192.0.2.1"]}}), "label"},
                 {Named({docker, #{hosts => [], label => "a"}}), "hosts"}, {Named({docker, #{hosts => ["a b"], label => "a"}}), "hosts"},
                 {Named({docker, #{hosts => ["192.0.2.1"], label => 1}}), "label"},
                 {Named({docker, #{hosts => ["192.0.2.1"], label => "a", name => "b"}}), "both"},
                 {Named({docker, #{hosts => ["192.0.2.1"], label => "a", node => ip}}), "node"},
                 {Named({rancher, #{url => "ftp://x"}}), "url"}, {Named({rancher, #{url => "http://x/a?b"}}), "url"},
                 {Named({rancher, #{url => "http://x:99999/"}}), "url"},
                 {Named({docker, #{hosts => ["192.168.4.231:4243", "192.168.4.232:4243"], label => "a"}}), "hosts"},
                 {Named({docker, #{hosts => ["tcp://a:1"], label => "a"}}), "hosts"}, {Named({hosts_file, #{file => 1}}), "file"},
                 {Named({eid_scripted_discovery, []}), "a key"}, {Named({my_strategy_that_trips, #{}}), "my_strategy_that_trips"},
                 {[#{name => shop, strategy => hosts_file} | end_of_list], "clusters"},
                 {Named({static, #{nodes => ['a@b' | 'c@d']}}), "nodes"}, {Named({docker, #{hosts => ["a" | b], label => "a"}}), "hosts"},
                 {Named({docker, #{hosts => ["192.0.2.1"], label => "=a"}}), "label"},
                 {[#{name => shop, strategy => hosts_file, interval => 10}], "interval"},
                 {[#{name => shop, strategy => hosts_file, limit => 0}], "limit"},
                 {[#{name => shop, strategy => hosts_file, prune => yes}], "prune"},
                 {[#{name => shop, strategy => hosts_file, colour => red}], "colour"},
                 {[#{name => shop, strategy => hosts_file}, #{name => shop, strategy => hosts_file}], "shop"}]],
    application:unset_env(eid, clusters),
    ok = application:start(eid),
    ?assertEqual([], eid_discovery:info()),
    ok = application:stop(eid),
    ?assertEqual({[], #{}}, {eid_discovery:info(), eid_discovery_connector:info()}).

wrong_setting_on_the_command_line(_) ->
    {Status, Output} = eid_ct:run_erl(["-noinput", "-pa", eid_ct:ebin(), "-eid", "clusters", "[#{name=>shop}]", "-s", "eid"], []),
    ?assertNotEqual(0, Status),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "each cluster in {eid, [{clusters"), Output}).

%% Discovery runs before the node has a name.
node_without_a_name(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    {ok, A, _} = peer:start_link(#{connection => standard_io,
                                args => (eid_ct:arguments("127.0.0.2")
                                         -- ["-setcookie", "eid_ct"]) ++ ["-eid", "clusters", term([static([NodeB, 'a@127.0.0.2'])])]}),
    ok = peer:call(A, eid, start, []),
    eid_ct:eventually(fun() ->
                              case peers(A) of
                                  #{<<"b@127.0.0.3">> := #{error := Error}} when Error =/= none ->
                                      string:find(Error, "-name") =/= nomatch;
                                  #{} -> false
                              end
                      end),
    {ok, _} = peer:call(A, net_kernel, start, ['a@127.0.0.2', #{name_domain => longnames}]),
    true = peer:call(A, erlang, set_cookie, [eid_ct]),
    await_nodes(A, [NodeB]),
    %% The node is not its own peer.
    eid_ct:eventually(fun() -> maps:keys(peers(A)) =:= [<<"b@127.0.0.3">>] end),
    stop([A, B]).

%% The strategy asks each host for its nodes. Here the host's epmd answers. The suites on the rig
%% use real engines.
hosts_file(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "hosts"),
    ok = file:write_file(File, "'127.0.0.1'.\n'no host'.\n{[8364], [1114112]}.\n[1114112].\n"),
    A = start('a@127.0.0.2',
              [#{name => shop, strategy => {hosts_file, #{file => File}}, interval => 100}],
              ["-eid", "response_timeout", "500"]),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =/= none end),
    [#{error := #{text := Text}}] = peer:call(A, eid_discovery, info, []),
    ?assertNotEqual(nomatch, string:find(Text, "no host: ")),
    ?assertEqual(nomatch, string:find(Text, "127.0.0.1")),
    ok = file:delete(File),
    eid_ct:eventually(fun() ->
                              [#{error := #{text := Gone}}] = peer:call(A, eid_discovery, info, []),
                              string:find(Gone, File) =/= nomatch
                      end),
    stop([A]).

names_that_become_atoms(_) ->
    %% The names are new, so no earlier run of this VM has made atoms of them.
    Names = names(io_lib:format("atoms_~b_", [erlang:system_time()]), 3000, "127.0.0.1"),
    {Answers, _} = lists:mapfoldl(fun eid_discovery_atoms:take/2, eid_discovery_atoms:new(), Names),
    {Good, Bad} = lists:partition(fun({Answer, _}) -> Answer =:= ok end, Answers),
    ?assertEqual({error, too_many_names}, hd(Bad)),
    ?assert(length(Good) >= 1000 andalso length(Good) < 1100),
    %% Names that are already atoms do not count towards the limit.
    {Known, _} = lists:mapfoldl(fun eid_discovery_atoms:take/2, eid_discovery_atoms:new(),
                                lists:append(lists:duplicate(20, lists:sublist(Names, 500)))),
    ?assertEqual([], [Answer || {error, _} = Answer <- Known]).

%% A route stays as long as any cluster lists it, even if processes are killed. A route that the
%% user sets takes precedence.
routes_of_several_clusters(_) ->
    Node = <<"b@127.0.0.9">>,
    A = start('a@127.0.0.2', [scripted(one, false), scripted(two, false)], []),
    Port = fun() -> {ok, #{port := P}} = peer:call(A, eid, lookup, [Node]), P end,
    [answer(A, Key, #{nodes => [{Node, {{127,0,0,9}, P}}]}) || {Key, P} <- [{one, 23451}, {two, 23452}]],
    eid_ct:eventually(fun() -> Port() =:= 23451 end),
    answer(A, one, #{nodes => []}),
    eid_ct:eventually(fun() -> Port() =:= 23452 end),
    Workers = workers(A),
    [kill(A, Worker) || Worker <- Workers],
    eid_ct:eventually(fun() ->
                              New = workers(A),
                              length(New) =:= 2 andalso New -- Workers =:= New
                      end),
    [await_answers(A, Key, 1) || Key <- [one, two]],
    ?assertEqual([[], [Node]], listed(A)),
    ?assertEqual(23452, Port()),
    ok = peer:call(A, eid, set_route, [Node, {{127,0,0,9}, 7}]),
    ?assertEqual(7, Port()),
    answer(A, two, #{nodes => []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[], []] end),
    ?assertEqual(7, Port()),
    ok = peer:call(A, eid, set_route, [Node, default]),
    ?assertEqual(12345, Port()),
    answer(A, two, #{nodes => [{Node, {{127,0,0,9}, 23452}}]}),
    eid_ct:eventually(fun() -> Port() =:= 23452 end),
    %% A new connector has the routes that the clusters list now.
    Connector = peer:call(A, erlang, whereis, [eid_discovery_connector]),
    kill(A, Connector),
    eid_ct:eventually(fun() ->
                              New = peer:call(A, erlang, whereis, [eid_discovery_connector]),
                              is_pid(New) andalso New =/= Connector
                                  andalso is_map_key(Node, peers(A))
                      end),
    ?assertEqual(23452, Port()),
    answer(A, two, #{nodes => [{Node, {{127,0,0,9}, 23453}}]}),
    eid_ct:eventually(fun() -> Port() =:= 23453 end),
    ok = peer:call(A, application, stop, [eid]),
    ?assertEqual(12345, Port()),
    stop([A]).

%% A node that leaves the list during its connection attempt does not stay connected.
pruned_in_mid_connection(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", ["-kernel", "net_setuptime", "120"]),
    Pid = peer:call(B, os, getpid, []),
    A = start('a@127.0.0.2', [scripted(shop, true)], ["-kernel", "net_setuptime", "120"]),
    ok = peer:call(A, eid_mesh_recorder, start, []),
    "" = os:cmd("kill -STOP " ++ Pid),
    answer(A, shop, #{nodes => [NodeB]}),
    await_connecting(A, <<"b@127.0.0.3">>),
    answer(A, shop, #{nodes => []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    "" = os:cmd("kill -CONT " ++ Pid),
    %% The connection comes up once and is closed at once.
    Changes = fun() ->
                      #{events := Events} = peer:call(A, eid_mesh_recorder, history, []),
                      [Change || {_, Change, _} <- Events]
              end,
    eid_ct:eventually(fun() -> Changes() =:= [nodeup, nodedown] end),
    await_answers(A, shop, 5),
    ?assertEqual({[nodeup, nodedown], []}, {Changes(), peer:call(A, erlang, nodes, [])}),
    stop([A, B]).

await_connecting(Peer, Node) ->
    eid_ct:eventually(fun() ->
                              case peers(Peer) of
                                  #{Node := #{state := State}} -> State =:= connecting;
                                  #{} -> false
                              end
                      end).

%% The application survives every invalid answer of a strategy.
invalid_answers(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, true), (static([]))#{name => other}], []),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    Sup = peer:call(A, erlang, whereis, [eid_sup]),
    Workers = workers(A),
    [begin
         answer(A, shop, #{nodes => unchanged}),
         eid_ct:eventually(fun() -> [#{error := Error}, _] = peer:call(A, eid_discovery, info, []), Error =:= none end),
         answer(A, shop, Answer),
         eid_ct:eventually(fun() -> [#{error := Error}, _] = peer:call(A, eid_discovery, info, []), Error =/= none end)
     end || Answer <- [foo, #{}, #{nodes => foo}, #{nodes => [NodeB | NodeB]}, #{nodes => [NodeB], problems => foo},
                       #{nodes => [NodeB], problems => [{<<255>>, {}}]}, #{nodes => [NodeB], problems => [{<<"x">>, <<255, "<b>">>}, {<<254, 1>>, [1 bsl 30]}]}, #{nodes => [NodeB], again => soon},
                       #{nodes => [NodeB], again => {within, soon}}, #{nodes => [NodeB], partial => 1}]],
    answer(A, shop, #{nodes => [NodeB, {'c@127.0.0.4', {{1,2,3,4}, 0}}, {'d@127.0.0.5', soon}]}),
    eid_ct:eventually(fun() -> [#{error := Error}, _] = peer:call(A, eid_discovery, info, []), Error =:= none end),
    ?assertEqual({Sup, Workers}, {peer:call(A, erlang, whereis, [eid_sup]), workers(A)}),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    stop([A, B]).

%% After a partial answer, `prune' disconnects no node. After the next complete answer it does.
partial_answers(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, true)], []),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    answer(A, shop, #{nodes => [], partial => true}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    ?assertMatch(#{<<"b@127.0.0.3">> := #{clusters := []}}, peers(A)),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    answer(A, shop, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B]).

%% The listed name leads back to this node. The node does not answer to it, and OTP would log each
%% attempt.
other_name_of_this_node(_) ->
    A = start('a@127.0.0.2', [scripted(shop, false)], tuning(#{patience => 300})),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [<<"shop@127.0.0.2">>]}),
    eid_ct:eventually(fun() ->
                              case peers(A) of
                                  #{<<"shop@127.0.0.2">> := #{error := Error}} when Error =/= none ->
                                      string:find(Error, "leads back to this node") =/= nomatch;
                                  #{} -> false
                              end
                      end),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 1 end),
    stop([A]).

%% A node with another cookie logs each attempt, so eid tries it less and less often. Meanwhile eid
%% tries a node that closes each connection at the usual pace.
rejected_attempts(_) ->
    {Port, Accepted} = broken_off(),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", ["-setcookie", "another"]),
    {module, _} = peer:call(B, code, load_binary, counting_handler()),
    ok = peer:call(B, logger, add_handler, [eid_ct_counter, eid_ct_counter, #{}]),
    A = start('a@127.0.0.2', [scripted(shop, false)],
              tuning(#{patience => 300, longest_gap => 50})),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [NodeB, {<<"r@127.0.0.9">>, {{127,0,0,1}, Port}}]}),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 2 end),
    %% An attempt makes two connections: first a dial of eid's, then the carrier's connection.
    Tried = fun() -> counters:get(Accepted, 1) div 2 end,
    Enough = Tried() + 30,
    eid_ct:eventually(fun() -> Tried() >= Enough end, 60_000),
    Logged = peer:call(B, persistent_term, get, [eid_ct_counter, 0]),
    ct:pal("~b attempts at the one, and ~b at the other", [Tried(), Logged]),
    ?assert(Logged >= 2),
    ?assert(2 * Logged < Tried()),
    %% The log has one line for each node, however often eid tried.
    ?assertMatch([_, _], eid_ct:log_lines(A)),
    stop([A, B]).

%% Starts a listener that accepts connections and closes them. Returns its port and a counter of the
%% connections.
broken_off() ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127,0,0,1}}]),
    Accepted = counters:new(1, []),
    Acceptor = spawn_link(fun() -> break_off(Listen, Accepted) end),
    ok = gen_tcp:controlling_process(Listen, Acceptor),
    {ok, Port} = inet:port(Listen),
    {Port, Accepted}.

break_off(Listen, Accepted) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    ok = gen_tcp:close(Socket),
    counters:add(Accepted, 1, 1),
    break_off(Listen, Accepted).

%% Returns the code of a logger handler that counts events.
counting_handler() ->
    {ok, Tokens, _} = erl_scan:string("-module(eid_ct_counter). -export([log/2]). log(_, _) -> persistent_term:put(eid_ct_counter, "
                                      "persistent_term:get(eid_ct_counter, 0) + 1)."),
    Split = fun Split([], [], Forms) -> lists:reverse(Forms);
                Split([{dot, _} = Dot | Rest], Form, Forms) ->
                    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
                    Split(Rest, [], [Parsed | Forms]);
                Split([Token | Rest], Form, Forms) -> Split(Rest, [Token | Form], Forms)
            end,
    {ok, Module, Binary} = compile:forms(Split(Tokens, [], [])),
    [Module, "made", Binary].

%% When the application has stopped, no process of discovery is left.
stopped_in_mid_connection(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    Pid = peer:call(B, os, getpid, []),
    A = start('a@127.0.0.2', [scripted(shop, true)], ["-kernel", "net_setuptime", "120"]),
    Before = length(peer:call(A, erlang, processes, [])),
    "" = os:cmd("kill -STOP " ++ Pid),
    answer(A, shop, #{nodes => [NodeB | names("x", 50, "127.0.0.10")]}),
    await_connecting(A, <<"b@127.0.0.3">>),
    ok = peer:call(A, application, stop, [eid]),
    "" = os:cmd("kill -CONT " ++ Pid),
    eid_ct:eventually(fun() -> length(peer:call(A, erlang, processes, [])) < Before + 5 end),
    ok = peer:call(A, eid, start, []),
    await_nodes(A, [NodeB]),
    stop([A, B]).

%% The list has more nodes than eid tries at a time. Each node gets its turn, also a good node that
%% has failed before.
waiting_in_turn(_) ->
    Silent = [{Node, silent()} || Node <- names("a", 12, "127.0.0.9")],
    %% An attempt at a silent node takes one second, and the next attempt is due at once.
    A = start('a@127.0.0.2', [scripted(shop, false)],
              tuning(#{max_attempts => 4, max_first_attempts => 4, longest_gap => 30})
              ++ ["-kernel", "net_setuptime", "1"]),
    Targets = [{Node, {{127,0,0,1}, Port}} || {Node, {Port, _}} <- Silent],
    answer(A, shop, #{nodes => ['z@127.0.0.3' | Targets]}),
    eid_ct:eventually(fun() ->
                              Infos = maps:values(peers(A)),
                              ?assert(length([Info || #{state := connecting} = Info <- Infos]) =< 8),
                              length([Error || #{error := Error} <- Infos, Error =/= none]) =:= 13
                      end, 30_000),
    %% An attempt makes two connections: first a dial of eid's, then the carrier's connection.
    Accepted = fun() -> [counters:get(Counter, 1) || {_, {_, Counter}} <- Silent] end,
    Before = Accepted(),
    eid_ct:eventually(fun() ->
                              Infos = maps:values(peers(A)),
                              ?assert(length([Info || #{state := connecting} = Info <- Infos]) =< 4),
                              lists:min(lists:zipwith(fun erlang:'-'/2, Accepted(), Before)) >= 3
                      end, 60_000),
    {ok, Z, NodeZ} = eid_ct:start_node(z, "127.0.0.3", []),
    eid_ct:eventually(fun() -> lists:member(NodeZ, peer:call(A, erlang, nodes, [])) end, 60_000),
    stop([A, Z]).

%% The list is as long as the default limit allows: 499 silent nodes and a good one.
silent_nodes(_) ->
    good_node_comes_first(499, []).
