%% Tests discovery by DNS, with a name server that returns what the tests set.
-module(eid_discovery_dns_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([addresses_of_a_name/1, time_to_live/1, pauses/1, names_that_fail/1, services_with_ports/1,
         hostile_dns/1, family_that_fails/1, hosts_by_dns/1]).
-import(eid_discovery_ct, [figures/1, host/0, docker/1, engines/1, run/3, node_name/2, start/3, start/4, term/1,
         stop/1, await_nodes/2, listed/1, peers/1, priv_dir/1]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [addresses_of_a_name, time_to_live, pauses, names_that_fail, services_with_ports, hostile_dns,
     family_that_fails, hosts_by_dns].

addresses_of_a_name(Config) ->
    Dns = eid_dns_double:start(
            fun({"shop.test" = Name, a}) ->
                    [eid_dns_double:a(Name, 1, {127,0,0,N}) || N <- [2, 3, 4, 4]]
                        ++ [eid_dns_double:a(Name, 1, Ip) || Ip <- [{0,0,0,0}, {224,0,0,1}, {255,255,255,255}]];
               ({"shop.test" = Name, aaaa}) -> [eid_dns_double:aaaa(Name, 1, {16#2001, 16#db8, 0, 0, 0, 0, 0, 7})];
               (_) -> 3
            end),
    %% By default the name's base is the node's own, and the address family is the carrier's.
    Clusters = [#{name => shop, strategy => {dns, #{name => "shop.test"}}}],
    Peers = [start(Node, Clusters, eid_dns_double:inetrc(Dns, priv_dir(Config))) || Node <- ['shop@127.0.0.2', 'shop@127.0.0.3']],
    await_nodes(hd(Peers), ['shop@127.0.0.3']),
    Others = [<<"shop@127.0.0.3">>, <<"shop@127.0.0.4">>],
    eid_ct:eventually(fun() -> listed(hd(Peers)) =:= [Others] end),
    #{<<"shop@127.0.0.4">> := _} = peers(hd(Peers)),
    %% An address needs no route from the user.
    ?assertEqual({ok, #{ip => {127,0,0,4}, port => 12345, route => direct}},
                 peer:call(hd(Peers), eid, lookup, ['shop@127.0.0.4'])),
    Any = start('a@127.0.0.5', [#{name => any, strategy => {dns, #{name => "shop.test", family => any, base => "x"}}}],
                eid_dns_double:inetrc(Dns, priv_dir(Config))),
    eid_ct:eventually(fun() -> lists:member(<<"x@2001:db8::7">>, hd(listed(Any))) end),
    stop([Any | Peers]),
    eid_dns_double:stop(Dns).

%% Discovery asks for a name again when its records expire or after the interval, whichever is
%% first.
time_to_live(Config) ->
    Hour = 3_600_000,
    Names = [{"zero.test", 0, Hour}, {"one.test", 1, Hour}, {"day.test", 86400, Hour},
             {"interval.test", 86400, 200}],
    Dns = eid_dns_double:start(fun({Name, a}) ->
                                       {_, Ttl, _} = lists:keyfind(Name, 1, Names),
                                       [eid_dns_double:a(Name, Ttl, {127,0,0,3})]
                               end),
    Clusters = [#{name => list_to_atom(Name), interval => Interval, strategy => {dns, #{name => Name}}}
                || {Name, _Ttl, Interval} <- Names],
    A = start('a@127.0.0.2', Clusters, eid_dns_double:inetrc(Dns, priv_dir(Config))),
    Asked = fun(Name) -> maps:get({Name, a}, eid_dns_double:asked(Dns), 0) end,
    Again = ["zero.test", "one.test", "interval.test"],
    eid_ct:eventually(fun() -> lists:all(fun(Name) -> Asked(Name) >= 4 end, Again) end, 20_000),
    %% A pause of one second is ten times the shortest pause here.
    ?assert(Asked("zero.test") > Asked("one.test")),
    ?assertEqual(1, Asked("day.test")),
    stop([A]),
    eid_dns_double:stop(Dns).

%% The pauses without the tests' tuning: at least one second, and up to a tenth shorter than the
%% interval.
pauses(_) ->
    [?assertEqual({Pause, Asked}, {apply(eid_discovery_poller, pause, Asked), Asked})
     || {Pause, Asked} <-
            [{0, [now, 5000, 0.0]}, {5000, [interval, 5000, 0.0]}, {4500, [interval, 5000, 1.0]},
             {1000, [interval, 1000, 1.0]}, {1000, [{within, 0}, 5000, 0.0]},
             {1000, [{within, 999}, 5000, 0.0]}, {2000, [{within, 2000}, 5000, 1.0]},
             {4500, [{within, 86_400_000}, 5000, 1.0]}]].

%% When DNS fails in any way, the connected nodes stay connected, and the log gets one line.
names_that_fail(Config) ->
    Answers = ets:new(answers, [public]),
    true = ets:insert(Answers, {now, good}),
    Dns = eid_dns_double:start(
            fun({Name, a}) ->
                    case ets:lookup_element(Answers, now, 2) of
                        good -> [eid_dns_double:a(Name, 0, {127,0,0,3})];
                        Answer -> Answer
                    end
            end),
    {ok, B, NodeB} = eid_ct:start_node(shop, "127.0.0.3", []),
    A = start('shop@127.0.0.2', [#{name => shop, strategy => {dns, #{name => "shop.test"}}, interval => 100, prune => true}],
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
    %% The name exists but has no address.
    true = ets:insert(Answers, {now, []}),
    await_nodes(A, []),
    stop([A, B]),
    eid_dns_double:stop(Dns).

%% A node dials the port of the SRV record.
services_with_ports(Config) ->
    PortA = free_port({127,0,0,2}),
    PortB = free_port({127,0,0,3}),
    Dns = eid_dns_double:start(
            fun({"_erlang._tcp.shop.test" = Name, srv}) ->
                    [eid_dns_double:srv(Name, 1, Port, Target)
                     || {Port, Target} <- [{PortA, "A.test"}, {PortB, "b.test"}, {23459, "nowhere.test"}, {0, "c.test"}, {1, "."}]];
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
    A = Start("a.test", "127.0.0.2", PortA),
    B = Start("b.test", "127.0.0.3", PortB),
    await_nodes(A, ['shop@b.test']),
    await_nodes(B, ['shop@a.test']),
    ?assertEqual({ok, #{ip => {127,0,0,3}, port => PortB, route => fixed}},
                 peer:call(A, eid, lookup, ['shop@b.test'])),
    eid_ct:eventually(fun() ->
                              [#{error := Error}] = peer:call(A, eid_discovery, info, []),
                              Error =/= none
                                  andalso string:find(maps:get(text, Error), "nowhere.test") =/= nomatch
                      end),
    %% When discovery stops, the routes that it set are removed.
    ok = peer:call(A, application, stop, [eid]),
    ?assertNotMatch({ok, _}, peer:call(A, eid, lookup, ['shop@b.test'])),
    stop([A, B]),
    eid_dns_double:stop(Dns).

%% Returns a free port at an address, chosen by the system.
free_port(Ip) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, Ip}]),
    {ok, Port} = inet:port(Listen),
    ok = gen_tcp:close(Listen),
    Port.

%% Two runs with many hostile answers, each with other names. The second run must not leave more
%% behind than the first. At some of the addresses a listener accepts connections.
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
                                                                          times => eid_ct:times(500)}}}],
              eid_dns_double:inetrc(Dns, priv_dir(Config)), fun(_Peer) -> not_yet end),
    Run = fun() ->
                  ok = peer:call(A, eid, start, []),
                  Doing = [eid_scripted_discovery, doing],
                  eid_ct:eventually(fun() -> peer:call(A, persistent_term, get, Doing) =:= done end, 100_000),
                  ok = peer:call(A, application, stop, [eid])
          end,
    Run(),
    _ = figures(A),    % loads the modules that it needs
    Before = figures(A),
    Run(),
    After = figures(A),
    ct:pal("before ~p~nafter ~p", [Before, After]),
    ?assert(maps:get(atoms, After) - maps:get(atoms, Before) < 1000),
    eid_ct:eventually(fun() -> maps:get(memory, figures(A)) - maps:get(memory, Before) < 1_000_000 end),
    %% Replaced persistent terms are freed one after the other, so wait for that.
    eid_ct:eventually(fun() -> maps:get(terms, figures(A)) - maps:get(terms, Before) < 100_000 end),
    stop([A]),
    [gen_tcp:close(Listener) || Listener <- Listeners],
    eid_dns_double:stop(Dns).

%% If the servers fail for one address family, its last answer stays valid. The answer of the other
%% family does not replace it.
family_that_fails(Config) ->
    Answers = ets:new(answers, [public]),
    true = ets:insert(Answers, {now, good}),
    Dns = eid_dns_double:start(
            fun({_Name, a}) -> [];
               ({Name, aaaa}) ->
                    case ets:lookup_element(Answers, now, 2) of
                        good -> [eid_dns_double:aaaa(Name, 0, {16#2001, 16#db8, 0, 0, 0, 0, 0, 7})];
                        Answer -> Answer
                    end
            end),
    A = start('shop@127.0.0.2', [#{name => shop, strategy => {dns, #{name => "shop.test", family => any}}, interval => 100, prune => true}],
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

%% The Docker hosts are the addresses of a DNS name. Discovery follows an added host and drops a
%% removed host. When DNS fails, the list stays as it is.
hosts_by_dns(Config) ->
    {One, HostOne} = host(),
    {Two, HostTwo} = host(),
    Known = ets:new(known, [public]),
    Tell = fun(Hosts) -> ets:insert(Known, {hosts, [begin {ok, Ip} = inet:parse_address(Host), Ip end || Host <- Hosts]}) end,
    Tell([HostOne]),
    Dns = eid_dns_double:start(fun({"engines.test" = Name, a}) ->
                                       [eid_dns_double:a(Name, 0, Ip) || Ip <- ets:lookup_element(Known, hosts, 2)];
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
