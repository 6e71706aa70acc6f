%% Discovery on one machine: nodes at loopback addresses, strategies of the tests' own, and a name server that says what
%% the tests want.
-module(eid_discovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([static_nodes_form_a_mesh/1, mesh_without_connect_all/1, nodes_come_and_go/1, clusters_side_by_side/1,
         bad_nodes_hold_up_none/1, limit/1, crashing_strategy/1, one_line_for_each_change/1, wrong_settings/1,
         wrong_setting_on_the_command_line/1, node_without_a_name/1, hosts_file/1, addresses_of_a_name/1, time_to_live/1, names_that_fail/1,
         services_with_ports/1, hostile_dns/1, names_that_become_atoms/1, containers_by_event/1, containers_by_name/1,
         routes_of_several_clusters/1, pruned_in_mid_connection/1, answers_that_are_none/1, family_that_fails/1, partial_answers/1,
         other_name_of_this_node/1, long_ids/1, turned_away/1, stopped_in_mid_connection/1, silent_nodes/1, waiting_in_turn/1,
         hosts_by_dns/1, hostile_labels/1]).

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [static_nodes_form_a_mesh, mesh_without_connect_all, nodes_come_and_go, clusters_side_by_side, bad_nodes_hold_up_none,
     limit, crashing_strategy, one_line_for_each_change, wrong_settings, wrong_setting_on_the_command_line,
     node_without_a_name, hosts_file, addresses_of_a_name, time_to_live, names_that_fail, services_with_ports, hostile_dns,
     names_that_become_atoms, routes_of_several_clusters, pruned_in_mid_connection, answers_that_are_none,
     family_that_fails, partial_answers, other_name_of_this_node, long_ids, turned_away, stopped_in_mid_connection, silent_nodes,
     waiting_in_turn, containers_by_event, containers_by_name, hosts_by_dns, hostile_labels].

init_per_testcase(_, Config) -> Config.

end_per_testcase(_, _Config) -> ok.

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
    ok = file:write_file(File, "'127.0.0.1'.\n'no host'.\n"),
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

addresses_of_a_name(Config) ->
    Dns = eid_dns_double:start(
            fun({"shop.test" = Name, a}) ->
                    [eid_dns_double:a(Name, 1, {127,0,0,N}) || N <- [2, 3, 4, 4]]
                        ++ [eid_dns_double:a(Name, 1, Ip) || Ip <- [{0,0,0,0}, {224,0,0,1}, {255,255,255,255}]];
               ({"shop.test" = Name, aaaa}) -> [eid_dns_double:aaaa(Name, 1, {16#2001, 16#db8, 0, 0, 0, 0, 0, 7})];
               (_) -> 3
            end),
    %% The base is that of the node itself, and the carrier's family counts.
    Clusters = [#{name => shop, strategy => {dns, #{name => "shop.test"}}}],
    Peers = [start(Node, Clusters, eid_dns_double:inetrc(Dns, priv_dir(Config))) || Node <- ['shop@127.0.0.2', 'shop@127.0.0.3']],
    await_nodes(hd(Peers), ['shop@127.0.0.3']),
    ?assertEqual([[<<"shop@127.0.0.3">>, <<"shop@127.0.0.4">>]], listed(hd(Peers))),
    %% An address needs no route of the user's.
    ?assertEqual({ok, #{ip => {127,0,0,4}, port => 12345, route => direct}},
                 peer:call(hd(Peers), eid, lookup, ['shop@127.0.0.4'])),
    Any = start('a@127.0.0.5', [#{name => any, strategy => {dns, #{name => "shop.test", family => any, base => "x"}}}],
                eid_dns_double:inetrc(Dns, priv_dir(Config))),
    eid_ct:eventually(fun() -> lists:member(<<"x@2001:db8::7">>, hd(listed(Any))) end),
    stop([Any | Peers]),
    eid_dns_double:stop(Dns).

%% A name is asked for again when its records are out of date, but not within a second, or at the interval.
time_to_live(Config) ->
    Ttls = #{"zero.test" => 0, "two.test" => 2, "day.test" => 86400},
    Dns = eid_dns_double:start(fun({Name, a}) -> [eid_dns_double:a(Name, maps:get(Name, Ttls), {127,0,0,3})] end),
    Clusters = [#{name => list_to_atom(Name), strategy => {dns, #{name => Name}}, interval => 3500} || Name <- maps:keys(Ttls)],
    A = start('a@127.0.0.2', Clusters, eid_dns_double:inetrc(Dns, priv_dir(Config))),
    timer:sleep(8000),
    Asked = eid_dns_double:asked(Dns),
    stop([A]),
    Gaps = fun(Name) -> gaps([At || {At, Asked_, a} <- Asked, Asked_ =:= Name]) end,
    [?assert(lists:min(Gaps(Name)) >= 990) || Name <- maps:keys(Ttls)],
    ?assert(length(Gaps("zero.test")) >= 4),
    ?assert(lists:min(Gaps("two.test")) >= 1900),
    ?assert(length(Gaps("two.test")) >= 2),
    ?assert(lists:min(Gaps("day.test")) >= 3000),
    ?assert(length(Gaps("day.test")) >= 1),
    eid_dns_double:stop(Dns).

gaps([A, B | Rest]) -> [B - A | gaps([B | Rest])];
gaps(_) -> [].

%% Whatever goes wrong with DNS, the nodes that are there stay, and one line says so.
names_that_fail(Config) ->
    Answers = ets:new(answers, [public]),
    true = ets:insert(Answers, {now, good}),
    Dns = eid_dns_double:start(
            fun({Name, a}) ->
                    case ets:lookup_element(Answers, now, 2) of
                        good -> [eid_dns_double:a(Name, 1, {127,0,0,3})];
                        Answer -> Answer
                    end
            end),
    {ok, B, NodeB} = eid_ct:start_node(shop, "127.0.0.3", []),
    A = start('shop@127.0.0.2', [#{name => shop, strategy => {dns, #{name => "shop.test"}}, interval => 1000, prune => true}],
              eid_dns_double:inetrc(Dns, priv_dir(Config))),
    ok = eid_ct:start_log(A),
    await_nodes(A, [NodeB]),
    [begin
         true = ets:insert(Answers, {now, Answer}),
         eid_ct:eventually(fun() ->
                                   [#{error := Error}] = peer:call(A, eid_discovery, info, []),
                                   Error =/= none andalso string:find(maps:get(text, Error), Word) =/= nomatch
                           end)
     end || {Answer, Word} <- [{3, "no such name"}, {2, "servfail"}, {5, "refused"}, {silence, "time"}, {<<"?">>, "shop.test"},
                               {<<0:200/unit:8>>, "shop.test"}]],
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    ?assertMatch([_], eid_ct:log_lines(A)),
    true = ets:insert(Answers, {now, good}),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =:= none end),
    ?assertMatch([_, _], eid_ct:log_lines(A)),
    %% The name is there, and nobody behind it.
    true = ets:insert(Answers, {now, []}),
    await_nodes(A, []),
    stop([A, B]),
    eid_dns_double:stop(Dns).

%% The port that DNS tells is the one that is dialled.
services_with_ports(Config) ->
    Dns = eid_dns_double:start(
            fun({"_erlang._tcp.shop.test" = Name, srv}) ->
                    [eid_dns_double:srv(Name, 1, Port, Target)
                     || {Port, Target} <- [{23450, "A.test"}, {23451, "b.test"}, {23459, "nowhere.test"}, {0, "c.test"}, {1, "."}]];
               ({"a.test" = Name, a}) -> [eid_dns_double:a(Name, 1, {127,0,0,2})];
               ({"b.test" = Name, a}) -> [eid_dns_double:a(Name, 1, {127,0,0,3})];
               (_) -> 3
            end),
    Clusters = [#{name => shop, strategy => {srv, #{name => "_erlang._tcp.shop.test"}}}],
    Start = fun(Host, Ip, Port) ->
                    {ok, Peer, _} = peer:start_link(#{name => shop, host => Host, longnames => true, connection => standard_io,
                                                      args => eid_ct:arguments(Ip)
                                                      ++ ["-kernel", "erlang_port", integer_to_list(Port),
                                                          "-eid", "clusters", term(Clusters)]
                                                      ++ eid_dns_double:inetrc(Dns, priv_dir(Config))}),
                    ok = peer:call(Peer, eid, start, []),
                    Peer
            end,
    A = Start("a.test", "127.0.0.2", 23450),
    B = Start("b.test", "127.0.0.3", 23451),
    await_nodes(A, ['shop@b.test']),
    await_nodes(B, ['shop@a.test']),
    ?assertEqual({ok, #{ip => {127,0,0,3}, port => 23451, route => fixed}}, peer:call(A, eid, lookup, ['shop@b.test'])),
    [#{error := #{text := Text}}] = peer:call(A, eid_discovery, info, []),
    ?assertNotEqual(nomatch, string:find(Text, "nowhere.test")),
    %% Whoever stops discovery gets back the routes that were there before.
    ok = peer:call(A, application, stop, [eid]),
    ?assertNotMatch({ok, _}, peer:call(A, eid, lookup, ['shop@b.test'])),
    stop([A, B]),
    eid_dns_double:stop(Dns).

%% Ten thousand answers, each with other names: at some of the addresses something even answers.
hostile_dns(Config) ->
    Ips = fun() -> [{127, rand:uniform(255), rand:uniform(255), rand:uniform(255)} || _ <- lists:seq(1, 25)] end,
    Listeners = [begin {ok, L} = gen_tcp:listen(12345, [{ip, {127,0,1,N}}, {reuseaddr, true}]), L end || N <- lists:seq(1, 20)],
    Dns = eid_dns_double:start(
            fun({Name, a}) ->
                    case rand:uniform(10) of
                        1 -> rand:uniform(15);
                        2 -> rand:bytes(rand:uniform(500));
                        3 -> [eid_dns_double:a(lists:duplicate(60, $a + rand:uniform(20)) ++ ".test", rand:uniform(1 bsl 31) - 1, Ip) || Ip <- Ips()];
                        4 -> [eid_dns_double:a(Name, 0, {127,0,1,rand:uniform(20)}) | [eid_dns_double:a(Name, 1, Ip) || Ip <- Ips()]];
                        _ -> [eid_dns_double:a(Name, 1, Ip) || Ip <- Ips()]
                    end
            end),
    A = start('shop@127.0.0.2', [#{name => shop, limit => 50, prune => true,
                                   strategy => {eid_scripted_discovery, #{calls => {eid_discovery_dns, #{name => "shop.test"}},
                                                                          times => 10_000}}}],
              eid_dns_double:inetrc(Dns, priv_dir(Config)), fun(_Peer) -> not_yet end),
    Before = figures(A),
    ok = peer:call(A, eid, start, []),
    eid_ct:eventually(fun() -> peer:call(A, persistent_term, get, [eid_scripted_discovery, doing]) =:= done end, 100_000),
    After = figures(A),
    ct:pal("before ~p~nafter ~p", [Before, After]),
    ?assert(maps:get(atoms, After) - maps:get(atoms, Before) < 3000),
    eid_ct:eventually(fun() -> maps:get(memory, figures(A)) - maps:get(memory, Before) < 10_000_000 end),
    %% Terms that were replaced go one after the other.
    eid_ct:eventually(fun() -> maps:get(terms, figures(A)) - maps:get(terms, Before) < 100_000 end),
    stop([A]),
    [gen_tcp:close(Listener) || Listener <- Listeners],
    eid_dns_double:stop(Dns).

figures(Peer) ->
    _ = [peer:call(Peer, erlang, garbage_collect, [Pid]) || Pid <- peer:call(Peer, erlang, processes, [])],
    #{atoms => peer:call(Peer, erlang, system_info, [atom_count]),
      memory => peer:call(Peer, erlang, memory, [total]),
      terms => maps:get(memory, peer:call(Peer, persistent_term, info, [])),
      processes => peer:call(Peer, erlang, system_info, [process_count])}.

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

%% What one family has said stays when its servers fail, and the other one is no stand-in for it.
family_that_fails(Config) ->
    Answers = ets:new(answers, [public]),
    true = ets:insert(Answers, {now, good}),
    Dns = eid_dns_double:start(
            fun({_Name, a}) -> [];
               ({Name, aaaa}) ->
                    case ets:lookup_element(Answers, now, 2) of
                        good -> [eid_dns_double:aaaa(Name, 1, {16#2001, 16#db8, 0, 0, 0, 0, 0, 7})];
                        Answer -> Answer
                    end
            end),
    A = start('shop@127.0.0.2', [#{name => shop, strategy => {dns, #{name => "shop.test", family => any}}, interval => 1000, prune => true}],
              eid_dns_double:inetrc(Dns, priv_dir(Config))),
    eid_ct:eventually(fun() -> listed(A) =:= [[<<"shop@2001:db8::7">>]] end),
    [begin
         true = ets:insert(Answers, {now, Answer}),
         eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =/= none end),
         ?assertEqual([[<<"shop@2001:db8::7">>]], listed(A)),
         true = ets:insert(Answers, {now, good}),
         eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =:= none end)
     end || Answer <- [2, 5, silence]],
    true = ets:insert(Answers, {now, []}),
    eid_ct:eventually(fun() -> listed(A) =:= [[]] end),
    stop([A]),
    eid_dns_double:stop(Dns).

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

%% Nodes that are named with all digits of their IDs find each other under these.
long_ids(_) ->
    {One, Host} = host(),
    Id = run(One, "db", #{"eid.cluster" => "shop"}),
    Own = binary_to_atom(<<(binary:copy(<<"0a">>, 32))/binary, "@127.0.0.2">>),
    A = start(Own, [docker(#{hosts => [Host], label => "eid.cluster"})], engines([One])),
    eid_ct:eventually(fun() -> listed(A) =:= [[node_name(Id, Host)]] end),
    ok = peer:call(A, eid, set_route, [Host, engine]),
    {ok, [{Name, _}]} = peer:call(A, eid_epmd, names, [Host]),
    ?assertEqual(binary_to_list(Id), Name),
    stop([A]),
    eid_engine_double:stop(One).

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

%% Two hosts: what starts on one is connected, what ends leaves, and where one is down the other one counts all the same.
containers_by_event(_) ->
    {One, HostOne} = host(),
    {Two, HostTwo} = host(),
    A = start('a@127.0.0.2', [docker(#{hosts => [HostOne, HostTwo], label => "eid.cluster=shop"})], engines([One, Two])),
    ok = eid_ct:start_log(A),
    Id1 = run(One, "db", #{"eid.cluster" => "shop"}),
    run(One, "other", #{"eid.cluster" => "shops"}),
    run(One, "none", #{}),
    Id2 = run(Two, "web", #{"eid.cluster" => "shop", "eid.node" => "web"}),
    run(Two, "odd", #{"eid.cluster" => "shop", "eid.node" => "odd@127.0.0.9"}),
    Short = binary:part(Id1, 0, 12),
    All = lists:sort([node_name(Short, HostOne), node_name("web", HostTwo), <<"odd@127.0.0.9">>]),
    eid_ct:eventually(fun() -> listed(A) =:= [All] end),
    %% One of them is a node.
    {ok, B, NodeB} = eid_ct:start_node(binary_to_atom(Short), HostOne, []),
    await_nodes(A, [NodeB]),
    %% A host that is gone keeps what it had,
    eid_engine_double:stop(One),
    run(Two, "new", #{"eid.cluster" => "shop", "eid.node" => "new"}),
    eid_ct:eventually(fun() -> listed(A) =:= [lists:sort([node_name("new", HostTwo) | All])] end),
    eid_ct:eventually(fun() ->
                              [#{error := Error}] = peer:call(A, eid_discovery, info, []),
                              Error =/= none andalso string:find(maps:get(text, Error), HostOne ++ ": ") =/= nomatch
                      end),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    %% and one line tells of it.
    ?assertMatch([_], [Line || Line <- eid_ct:log_lines(A), string:find(Line, "cluster shop: " ++ HostOne) =/= nomatch]),
    eid_engine_double:tell(Two, ["{\"do\":\"stop\",\"container\":\"", Id2, "\"}"]),
    eid_ct:eventually(fun() -> not lists:member(node_name("web", HostTwo), hd(listed(A))) end),
    stop([A, B]),
    eid_engine_double:stop(Two).

containers_by_name(_) ->
    {One, Host} = host(),
    A = start('a@127.0.0.2', [docker(#{hosts => [Host], name => "shop-*", node => name})], engines([One])),
    [run(One, Name, #{}) || Name <- ["shop-1", "shop-web-2", "shop", "a-shop-1"]],
    eid_ct:eventually(fun() -> listed(A) =:= [[node_name("shop-1", Host), node_name("shop-web-2", Host)]] end),
    stop([A]),
    eid_engine_double:stop(One).

%% The hosts are the addresses of a name: new ones are followed, others no more, and a host of another name holds up nobody.
hosts_by_dns(Config) ->
    {One, HostOne} = host(),
    {Two, HostTwo} = host(),
    Known = ets:new(known, [public]),
    Tell = fun(Hosts) -> ets:insert(Known, {hosts, [begin {ok, Ip} = inet:parse_address(Host), Ip end || Host <- Hosts]}) end,
    Tell([HostOne]),
    Dns = eid_dns_double:start(fun({"engines.test" = Name, a}) ->
                                       [eid_dns_double:a(Name, 1, Ip) || Ip <- ets:lookup_element(Known, hosts, 2)];
                                  (_) -> 3
                               end),
    A = start('a@127.0.0.2', [docker(#{hosts => "engines.test", label => "eid.cluster"})],
              engines([One, Two]) ++ eid_dns_double:inetrc(Dns, priv_dir(Config))),
    [run(Double, "db", #{"eid.cluster" => "any", "eid.node" => "db"}) || Double <- [One, Two]],
    eid_ct:eventually(fun() -> listed(A) =:= [[node_name("db", HostOne)]] end),
    Tell([HostOne, HostTwo]),
    eid_ct:eventually(fun() -> listed(A) =:= [lists:sort([node_name("db", HostOne), node_name("db", HostTwo)])] end),
    Tell([HostTwo]),
    eid_ct:eventually(fun() -> listed(A) =:= [[node_name("db", HostTwo)]] end),
    eid_dns_double:stop(Dns),
    eid_ct:eventually(fun() -> [#{error := Error}] = peer:call(A, eid_discovery, info, []), Error =/= none end),
    ?assertEqual([[node_name("db", HostTwo)]], listed(A)),
    stop([A]),
    [eid_engine_double:stop(Double) || Double <- [One, Two]].

%% Ten thousand containers whose labels want to be nodes: most are no names, the others are nobody's.
hostile_labels(_) ->
    {One, Host} = host(),
    A = start('a@127.0.0.2', [(docker(#{hosts => [Host], label => "eid.cluster=shop"}))#{limit => 50}], engines([One]),
              fun(_Peer) -> not_yet end),
    Before = figures(A),
    ok = peer:call(A, eid, start, []),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    run(One, "b", #{"eid.cluster" => "shop", "eid.node" => atom_to_list(NodeB)}),
    await_nodes(A, [NodeB]),
    [run(One, ["hostile", integer_to_list(N)], #{"eid.cluster" => "shop", "eid.node" => hostile_label(N rem 8, N)})
     || N <- lists:seq(1, 10_000)],
    eid_ct:eventually(fun() -> [Nodes] = listed(A), length(Nodes) =:= 50 end, 30_000),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    After = figures(A),
    ct:pal("before ~p~nafter ~p", [Before, After]),
    ?assert(maps:get(atoms, After) - maps:get(atoms, Before) < 2000),
    eid_ct:eventually(fun() -> maps:get(memory, figures(A)) - maps:get(memory, Before) < 20_000_000 end),
    stop([A, B]),
    eid_engine_double:stop(One).

hostile_label(0, N) -> lists:duplicate(1 + N rem 1500, $x);
hostile_label(1, _) -> "@";
hostile_label(2, _) -> "a@b@c";
hostile_label(3, _) -> "x@127.0.0.1/../..";
hostile_label(4, N) -> ["n", integer_to_list(N), "@127.0.0.200"];
hostile_label(5, N) -> ["n", integer_to_list(N)];
hostile_label(6, _) -> "\\u0000\\n\\u2028";
hostile_label(7, N) -> ["n", integer_to_list(N), "@", integer_to_list(N), ".invalid"].

%% Docker hosts that are doubles of an engine.

host() ->
    Double = eid_engine_double:start(),
    [Host, _Port] = string:lexemes(eid_engine_double:address(Double), ":"),
    {Double, Host}.

docker(Options) -> #{name => shop, strategy => {docker, Options}}.

engines(Doubles) ->
    Engines = [{hd(string:lexemes(Address, ":")), "tcp://" ++ Address}
               || Address <- [eid_engine_double:address(Double) || Double <- Doubles]],
    ["-eid", "engines", term(maps:from_list(Engines))].

run(Double, Name, Labels) ->
    Text = lists:join($,, [["\"", Key, "\":\"", Value, "\""] || {Key, Value} <- maps:to_list(Labels)]),
    [Id] = eid_engine_double:ids(Double, ["{\"do\":\"add\",\"name\":\"", Name, "\",\"labels\":{", Text, "}}"]),
    Id.

node_name(Name, Host) -> iolist_to_binary([Name, "@", Host]).

%% Nodes.

start(Node, Clusters, Arguments) -> start(Node, Clusters, Arguments, fun(Peer) -> peer:call(Peer, eid, start, []) end).

start(Node, Clusters, Arguments, Then) ->
    [Name, Ip] = string:lexemes(atom_to_list(Node), "@"),
    Tests = filename:absname(filename:dirname(code:which(?MODULE))),
    {ok, Peer, Node} = eid_ct:start_node(list_to_atom(Name), Ip, ["-pa", Tests, "-eid", "clusters", term(Clusters) | Arguments]),
    _ = Then(Peer),
    Peer.

term(Term) -> lists:flatten(io_lib:format("~0p", [Term])).

stop(Peers) -> [peer:stop(Peer) || Peer <- Peers].

static(Nodes) -> #{name => shop, strategy => {static, #{nodes => Nodes}}}.

scripted(Key, Prune) ->
    #{name => Key, strategy => {eid_scripted_discovery, #{key => Key}}, interval => 1000, prune => Prune}.

answer(Peer, Key, Answer) -> ok = peer:call(Peer, application, set_env, [kernel, Key, Answer]).

await_nodes(Peer, Nodes) ->
    eid_ct:eventually(fun() -> lists:sort(peer:call(Peer, erlang, nodes, [])) =:= lists:sort(Nodes) end).

workers(Peer) ->
    lists:reverse([Pid || {{cluster, _}, Pid, _, _} <- peer:call(Peer, supervisor, which_children, [eid_sup])]).

listed(Peer) -> [lists:sort(Nodes) || #{nodes := Nodes} <- peer:call(Peer, eid_discovery, info, [])].

priv_dir(Config) -> proplists:get_value(priv_dir, Config).
