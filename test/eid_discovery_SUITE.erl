%% Discovery on one machine: nodes at loopback addresses, and strategies that answer what the tests want.
-module(eid_discovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([static_nodes_form_a_mesh/1, mesh_without_connect_all/1, nodes_come_and_go/1, clusters_side_by_side/1,
         bad_nodes_hold_up_none/1, limit/1, crashing_strategy/1, one_line_for_each_change/1, wrong_settings/1,
         wrong_setting_on_the_command_line/1, node_without_a_name/1, hosts_file/1, names_that_become_atoms/1,
         routes_of_several_clusters/1, pruned_in_mid_connection/1, answers_that_are_none/1, partial_answers/1,
         other_name_of_this_node/1, turned_away/1, stopped_in_mid_connection/1, waiting_in_turn/1, silent_nodes/1]).
-import(eid_discovery_ct, [start/3, start/4, term/1, stop/1, static/1, scripted/2, answer/3, await_nodes/2, listed/1,
         workers/1]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [static_nodes_form_a_mesh, mesh_without_connect_all, nodes_come_and_go, clusters_side_by_side,
     bad_nodes_hold_up_none, limit, crashing_strategy, one_line_for_each_change, wrong_settings,
     wrong_setting_on_the_command_line, node_without_a_name, hosts_file, names_that_become_atoms,
     routes_of_several_clusters, pruned_in_mid_connection, answers_that_are_none, partial_answers,
     other_name_of_this_node, turned_away, stopped_in_mid_connection, waiting_in_turn, silent_nodes].

static_nodes_form_a_mesh(_) ->
    Nodes = ['a@127.0.0.2', 'b@127.0.0.3', 'c@127.0.0.4'],
    Clusters = [#{name => shop, strategy => {static, #{nodes => Nodes}}}],
    Peers = [start(Node, Clusters, []) || Node <- Nodes],
    [await_nodes(Peer, Nodes -- [Node]) || {Peer, Node} <- lists:zip(Peers, Nodes)],
    [#{name := shop, strategy := static, nodes := Listed, answered := At, error := none}] =
        peer:call(hd(Peers), eid_discovery, info, []),
    ?assertEqual([<<"b@127.0.0.3">>, <<"c@127.0.0.4">>], lists:sort(Listed)),
    ?assert(is_integer(At)),
    ?assertMatch(#{<<"b@127.0.0.3">> := #{clusters := [shop], state := connected, since := Since, error := none}}
                   when is_integer(Since),
                 peer:call(hd(Peers), eid_connector, info, [])),
    stop(Peers).

%% Where OTP does not spread connections, every one of them is discovery's.
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
    %% What leaves the list stays connected,
    answer(A, keep, #{nodes => []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    %% and what does not answer comes back by itself.
    answer(A, keep, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() -> listed(A) =:= [[<<"b@127.0.0.3">>]] end),
    peer:stop(B),
    await_nodes(A, []),
    {ok, B2, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    await_nodes(A, [NodeB]),
    stop([A]),
    %% Pruned, it is disconnected.
    A2 = start('a@127.0.0.2', [scripted(keep, true)], []),
    answer(A2, keep, #{nodes => [NodeB]}),
    await_nodes(A2, [NodeB]),
    answer(A2, keep, #{nodes => unchanged}),
    eid_ct:eventually(fun() -> listed(A2) =:= [[<<"b@127.0.0.3">>]] end),
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
                              #{<<"c@127.0.0.4">> := #{clusters := Clusters}} = peer:call(A, eid_connector, info, []),
                              lists:sort(Clusters) =:= [one, two]
                      end),
    %% One cluster has lost it, the other one has not.
    answer(A, one, #{nodes => []}),
    await_nodes(A, [NodeC]),
    ?assertMatch(#{clusters := [two]}, maps:get(<<"c@127.0.0.4">>, peer:call(A, eid_connector, info, []))),
    answer(A, two, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B, C]).

%% Two hundred nodes that take the connection and say nothing, more where nobody is, and one that is well.
bad_nodes_hold_up_none(_) ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {backlog, 1024}]),
    {ok, Port} = inet:port(Silent),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, false)], []),
    Bad = [{<<"s", (integer_to_binary(N))/binary, "@127.0.0.9">>, {{127,0,0,1}, Port}} || N <- lists:seq(1, 200)]
        ++ [<<"n", (integer_to_binary(N))/binary, "@127.0.0.10">> || N <- lists:seq(1, 200)],
    answer(A, shop, #{nodes => Bad ++ [NodeB]}),
    Began = erlang:monotonic_time(millisecond),
    await_nodes(A, [NodeB]),
    ?assert(erlang:monotonic_time(millisecond) - Began < 3000),
    %% The worker answers all the while.
    ?assertMatch([#{nodes := [_ | _]}], peer:call(A, eid_discovery, info, [])),
    stop([A, B]),
    gen_tcp:close(Silent).

limit(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [(scripted(shop, true))#{limit => 10}], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    %% Whoever is in the list stays, wherever new names come.
    Names = [<<"n", (integer_to_binary(N))/binary, "@127.0.0.10">> || N <- lists:seq(1, 1000)],
    answer(A, shop, #{nodes => Names ++ [NodeB, "no name", <<"bad@">>, 42, {}]}),
    eid_ct:eventually(fun() -> [Nodes] = listed(A), length(Nodes) =:= 10 end),
    ?assert(lists:member(<<"b@127.0.0.3">>, hd(listed(A)))),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    timer:sleep(2500),
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
    timer:sleep(2200),
    ?assertMatch([#{error := #{since := Since}}], peer:call(A, eid_discovery, info, [])),
    answer(A, shop, what),
    timer:sleep(1100),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    answer(A, shop, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =:= none end),
    ?assertMatch([_Warning, _Notice], eid_ct:log_lines(A)),
    %% Killed, its process comes back.
    [Worker] = workers(A),
    {links, Links} = peer:call(A, erlang, process_info, [Worker, links]),
    [Runner] = Links -- [peer:call(A, erlang, whereis, [eid_sup])],
    exit(Runner, kill),
    answer(A, shop, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B]).

%% A node that can't be reached for a while: one line when that is clear, and one when it is back, whatever keeps it away.
one_line_for_each_change(_) ->
    A = start('a@127.0.0.2', [scripted(shop, false)], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => ['b@127.0.0.3']}),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 1 end),
    [Refused] = eid_ct:log_lines(A),
    ?assertNotEqual(nomatch, string:find(Refused, "connection refused")),
    %% Another reason is no change of what matters; it is there to be asked for.
    {ok, B0, _} = eid_ct:start_node(b, "127.0.0.3", ["-setcookie", "another"]),
    eid_ct:eventually(fun() ->
                              #{<<"b@127.0.0.3">> := #{error := Error}} = peer:call(A, eid_connector, info, []),
                              Error =/= none andalso string:find(Error, "cookie") =/= nomatch
                      end),
    peer:stop(B0),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    await_nodes(A, [NodeB]),
    ?assertMatch([Refused, _Connected], eid_ct:log_lines(A)),
    %% One that is away for a moment is not worth a line.
    peer:stop(B),
    {ok, B2, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    await_nodes(A, [NodeB]),
    ?assertMatch([_, _], eid_ct:log_lines(A)),
    stop([A, B2]).

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
    ?assertEqual({[], #{}}, {eid_discovery:info(), eid_connector:info()}).

wrong_setting_on_the_command_line(_) ->
    {Status, Output} = eid_ct:run_erl(["-noinput", "-pa", eid_ct:ebin(), "-eid", "clusters", "[#{name=>shop}]", "-s", "eid"], []),
    ?assertNotEqual(0, Status),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "each cluster in {eid, [{clusters"), Output}).

%% It becomes a node later.
node_without_a_name(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    {ok, A, _} = peer:start_link(#{connection => standard_io,
                                args => (eid_ct:arguments("127.0.0.2")
                                         -- ["-setcookie", "eid_ct"]) ++ ["-eid", "clusters", term([static([NodeB, 'a@127.0.0.2'])])]}),
    ok = peer:call(A, eid, start, []),
    eid_ct:eventually(fun() ->
                              #{<<"b@127.0.0.3">> := #{error := Error}} = peer:call(A, eid_connector, info, []),
                              Error =/= none andalso string:find(Error, "-name") =/= nomatch
                      end),
    {ok, _} = peer:call(A, net_kernel, start, ['a@127.0.0.2', #{name_domain => longnames}]),
    true = peer:call(A, erlang, set_cookie, [eid_ct]),
    await_nodes(A, [NodeB]),
    %% It is no peer of its own.
    eid_ct:eventually(fun() -> maps:keys(peer:call(A, eid_connector, info, [])) =:= [<<"b@127.0.0.3">>] end),
    stop([A, B]).

%% The hosts say which nodes they have; here each host's epmd stands for its engine, which the rig's suites have.
hosts_file(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "hosts"),
    ok = file:write_file(File, "'127.0.0.1'.\n'no host'.\n{[8364], [1114112]}.\n[1114112].\n"),
    A = start('a@127.0.0.2', [#{name => shop, strategy => {hosts_file, #{file => File}}, interval => 1000}],
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
    Names = [<<"atoms", (integer_to_binary(N))/binary, "@127.0.0.1">> || N <- lists:seq(1, 3000)],
    {Answers, _} = lists:mapfoldl(fun eid_node_atoms:take/2, eid_node_atoms:new(), Names),
    {Good, Bad} = lists:partition(fun({Answer, _}) -> Answer =:= ok end, Answers),
    ?assertEqual({error, too_many_names}, hd(Bad)),
    ?assert(length(Good) >= 1000 andalso length(Good) < 1100),
    %% What is an atom already costs nothing.
    {Known, _} = lists:mapfoldl(fun eid_node_atoms:take/2, eid_node_atoms:new(),
                                lists:append(lists:duplicate(20, lists:sublist(Names, 500)))),
    ?assertEqual([], [Answer || {error, _} = Answer <- Known]).

%% A route stands as long as some cluster has it, whoever is killed, and the user's own comes first.
routes_of_several_clusters(_) ->
    Node = <<"b@127.0.0.9">>,
    A = start('a@127.0.0.2', [scripted(one, false), scripted(two, false)], []),
    Port = fun() -> {ok, #{port := P}} = peer:call(A, eid, lookup, [Node]), P end,
    [answer(A, Key, #{nodes => [{Node, {{127,0,0,9}, P}}]}) || {Key, P} <- [{one, 23451}, {two, 23452}]],
    eid_ct:eventually(fun() -> Port() =:= 23451 end),
    answer(A, one, #{nodes => []}),
    eid_ct:eventually(fun() -> Port() =:= 23452 end),
    [exit(Worker, kill) || Worker <- workers(A)],
    eid_ct:eventually(fun() -> length(listed(A)) =:= 2 andalso lists:append(listed(A)) =:= [Node] end),
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
    exit(peer:call(A, erlang, whereis, [eid_connector]), kill),
    eid_ct:eventually(fun() -> Port() =:= 12345 orelse Port() =:= 23452 end),
    ok = peer:call(A, application, stop, [eid]),
    ?assertEqual(12345, Port()),
    stop([A]).

%% A node that leaves the list while it is being connected is not connected in the end.
pruned_in_mid_connection(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    Pid = peer:call(B, os, getpid, []),
    A = start('a@127.0.0.2', [scripted(shop, true)], []),
    "" = os:cmd("kill -STOP " ++ Pid),
    answer(A, shop, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() ->
                              case peer:call(A, eid_connector, info, []) of
                                  #{<<"b@127.0.0.3">> := #{state := State}} -> State =:= connecting;
                                  #{} -> false
                              end
                      end),
    answer(A, shop, #{nodes => []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    "" = os:cmd("kill -CONT " ++ Pid),
    %% It comes up for a moment.
    eid_ct:eventually(fun() -> peer:call(A, erlang, nodes, []) =:= [NodeB] end),
    await_nodes(A, []),
    timer:sleep(1000),
    ?assertEqual([], peer:call(A, erlang, nodes, [])),
    stop([A, B]).

%% Whatever a strategy answers, the application goes on.
answers_that_are_none(_) ->
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

%% Nobody is disconnected because somebody has not answered yet; but later.
partial_answers(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, true)], []),
    answer(A, shop, #{nodes => [NodeB]}),
    await_nodes(A, [NodeB]),
    answer(A, shop, #{nodes => [], partial => true}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    answer(A, shop, #{nodes => []}),
    await_nodes(A, []),
    stop([A, B]).

%% It would not answer to that name, and OTP would say so each time.
other_name_of_this_node(_) ->
    A = start('a@127.0.0.2', [scripted(shop, false)], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [<<"shop@127.0.0.2">>]}),
    eid_ct:eventually(fun() ->
                              case peer:call(A, eid_connector, info, []) of
                                  #{<<"shop@127.0.0.2">> := #{error := Error}} when Error =/= none ->
                                      string:find(Error, "leads back to this node") =/= nomatch;
                                  #{} -> false
                              end
                      end),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 1 end),
    stop([A]).

%% A node with another cookie logs each attempt, so there are few.
turned_away(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", ["-setcookie", "another"]),
    {module, _} = peer:call(B, code, load_binary, counting_handler()),
    ok = peer:call(B, logger, add_handler, [eid_ct_counter, eid_ct_counter, #{}]),
    A = start('a@127.0.0.2', [scripted(shop, false)], []),
    ok = eid_ct:start_log(A),
    answer(A, shop, #{nodes => [NodeB]}),
    eid_ct:eventually(fun() -> length(eid_ct:log_lines(A)) =:= 1 end, 15_000),
    timer:sleep(5000),
    ?assert(peer:call(B, persistent_term, get, [eid_ct_counter, 0]) < 6),
    ?assertMatch([_], eid_ct:log_lines(A)),
    stop([A, B]).

%% A logger handler that counts events.
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

%% Nothing of discovery goes on when the application has been stopped.
stopped_in_mid_connection(_) ->
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    Pid = peer:call(B, os, getpid, []),
    A = start('a@127.0.0.2', [scripted(shop, true)], []),
    Before = length(peer:call(A, erlang, processes, [])),
    "" = os:cmd("kill -STOP " ++ Pid),
    answer(A, shop, #{nodes => [NodeB | [<<"x", (integer_to_binary(N))/binary, "@127.0.0.10">> || N <- lists:seq(1, 50)]]}),
    eid_ct:eventually(fun() -> [Nodes] = listed(A), length(Nodes) =:= 51 end),
    ok = peer:call(A, application, stop, [eid]),
    "" = os:cmd("kill -CONT " ++ Pid),
    eid_ct:eventually(fun() -> length(peer:call(A, erlang, processes, [])) < Before + 5 end),
    ok = peer:call(A, eid, start, []),
    await_nodes(A, [NodeB]),
    stop([A, B]).

%% More than can be tried at a time: each has its turn.
waiting_in_turn(_) ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {backlog, 2048}]),
    {ok, Port} = inet:port(Silent),
    A = start('a@127.0.0.2', [(scripted(shop, false))#{limit => 2000}], []),
    Bad = [{<<"a", (integer_to_binary(N))/binary, "@127.0.0.9">>, {{127,0,0,1}, Port}} || N <- lists:seq(1, 1000)],
    answer(A, shop, #{nodes => ['z@127.0.0.3' | Bad]}),
    eid_ct:eventually(fun() -> length(hd(listed(A))) =:= 1001 end),
    %% As they are after some minutes.
    peer:call(A, sys, replace_state, [eid_connector, fun(State) ->
        Peers = maps:map(fun(_, Peer) -> setelement(3, Peer, 3000) end, element(3, State)),
        setelement(3, State, Peers)
    end]),
    {ok, Z, NodeZ} = eid_ct:start_node(z, "127.0.0.3", []),
    eid_ct:eventually(fun() -> lists:member(NodeZ, peer:call(A, erlang, nodes, [])) end, 45_000),
    stop([A, Z]),
    gen_tcp:close(Silent).

%% As many as a cluster has by default, all of which take the connection and say nothing.
silent_nodes(_) ->
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {backlog, 2048}]),
    {ok, Port} = inet:port(Silent),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    A = start('a@127.0.0.2', [scripted(shop, false)], []),
    Bad = [{<<"a", (integer_to_binary(N))/binary, "@127.0.0.9">>, {{127,0,0,1}, Port}} || N <- lists:seq(1, 499)],
    answer(A, shop, #{nodes => Bad ++ [NodeB]}),
    Began = erlang:monotonic_time(millisecond),
    await_nodes(A, [NodeB]),
    ?assert(erlang:monotonic_time(millisecond) - Began < 3500),
    stop([A, B]),
    gen_tcp:close(Silent).
