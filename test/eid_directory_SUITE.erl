%% Tests the container list that eid keeps of real engines: it is correct, it follows changes
%% quickly, and a lookup gives the shortest route.
-module(eid_directory_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([warm_lookups_make_no_request/1, by_id_prefix_and_name/1, new_port_after_a_start/1,
         changes_are_followed/1, restarted_engine/1, bridge/1, bridge_that_drops/1,
         bridge_that_refuses/1, bridge_alone/1, published_by_setting/1, bridge_under_tls/1,
         host_network/1, info_of_connections/1]).

suite() -> [{timetrap, {minutes, eid_ct:times(5)}}].

all() ->
    [warm_lookups_make_no_request, by_id_prefix_and_name, new_port_after_a_start,
     changes_are_followed, restarted_engine, bridge, bridge_that_drops, bridge_that_refuses,
     bridge_alone, published_by_setting, bridge_under_tls, host_network, info_of_connections].

%% This VM is outside the hosts' networks, so it reaches their engines at their unix sockets.
init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            Engines = maps:from_list([{eid_rig:host_ip(Host), "unix://" ++ eid_rig:socket(Host)}
                                      || Host <- [1, 2]]),
            application:set_env(eid, engines, Engines),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) ->
    application:unset_env(eid, engines),
    eid_rig:down().

init_per_testcase(_, Config) -> Config.

end_per_testcase(_, _Config) -> eid_rig:stop_all().

warm_lookups_make_no_request(_) ->
    Container = sleeper(1, "warm"),
    Node = node_name(Container),
    live(Container),
    Port = eid_rig:port(Container),
    #{lookups := #{ok := Lookups}} = engine(1),
    Rounds = counters:new(1, []),
    asks(0, fun() ->
                    [{ok, #{route := published, port := Port, ip := {192,0,2,1}}} = eid:lookup(Node)
                     || _ <- lists:seq(1, 1000)],
                    counters:add(Rounds, 1, 1)
            end),
    #{lookups := #{ok := Later}, containers := 1} = engine(1),
    ?assertEqual(Lookups + 1000 * counters:get(Rounds, 1), Later).

by_id_prefix_and_name(_) ->
    #{id := Id} = Container = sleeper(1, "shop-1"),
    live(Container),
    Full = eid_rig:docker(1, ["inspect -f '{{.Id}}' ", Id]),
    Known = [Full, Id, lists:sublist(Full, 33), "shop-1"],
    asks(0, fun() -> [{ok, #{route := published}} = eid:lookup(at(1, Text)) || Text <- Known] end),
    %% eid asks the engine once for each name that is not in its list.
    Unknown = ["shop", "shop-12", "SHOP-1", lists:duplicate(12, $0), lists:sublist(Full, 11)],
    asks(length(Unknown),
         fun() ->
                 [?assertEqual({Text, {error, no_such_container}}, {Text, eid:lookup(at(1, Text))})
                  || Text <- Unknown]
         end),
    eid_rig:docker(1, ["rename shop-1 shop-2"]),
    eid_ct:eventually(fun() -> eid:lookup(at(1, "shop-1")) =:= {error, no_such_container} end),
    {ok, _} = eid:lookup(at(1, "shop-2")).

%% Checks how many requests a function makes. eid also lists all containers one second after its
%% start and then once a minute. If such a request comes in between, the function runs again.
asks(Number, Fun) ->
    eid_ct:eventually(fun() ->
                              Before = maps:get(requests, engine(1)),
                              Fun(),
                              maps:get(requests, engine(1)) =:= Before + Number
                      end).

%% The `start' event is enough: eid does not list the containers again.
new_port_after_a_start(_) ->
    Container = sleeper(1, "restarted"),
    live(Container),
    #{resyncs := Resyncs} = engine(1),
    [begin
         {ok, #{port := Old}} = eid:lookup(node_name(Container)),
         eid_rig:restart(Container),
         New = eid_rig:port(Container),
         ?assertNotEqual(Old, New),
         eid_ct:eventually(fun() -> port_of(eid:lookup(node_name(Container))) =:= New end)
     end || _ <- lists:seq(1, eid_ct:times(10))],
    ?assertMatch(#{resyncs := Resyncs}, engine(1)).

port_of({ok, #{port := Port}}) -> Port;
port_of({error, _}) -> none.

%% Starts, stops, restarts, kills and pauses containers. After each change, eid's list matches the
%% engine's list.
changes_are_followed(_) ->
    Containers = [sleeper(1, "c" ++ integer_to_list(N)) || N <- lists:seq(1, 3)],
    live(hd(Containers)),
    #{resyncs := Resyncs} = engine(1),
    _ = rand:seed(exsss, {1, 2, 3}),
    Kinds = ["stop -t 0", "start", "restart -t 0", "kill", "pause", "unpause"],
    Changes = [{Kind, Id} || Kind <- Kinds, #{id := Id} <- Containers],
    [begin
         _ = eid_rig:command(["docker 1 ", Change, " ", Id]),    % the engine may refuse this
         is_as_the_engine_says(1)
     end || _ <- lists:seq(1, eid_ct:times(1)), {Change, Id} <- shuffled(Changes)],
    ?assertMatch(#{resyncs := Resyncs}, engine(1)).

shuffled(List) ->
    [Element || {_, Element} <- lists:sort([{rand:uniform(), Element} || Element <- List])].

%% The engine stops or is killed, and starts again. Containers that change around the restart are
%% found afterwards.
restarted_engine(_) ->
    live(sleeper(1, "first")),
    Ends = [How || _ <- lists:seq(1, eid_ct:times(2)), How <- ["stop", "kill"]],
    #{resyncs := Resyncs} = engine(1),
    [begin
         {0, _} = eid_rig:command("dockerd 1 " ++ How),
         %% While the engine is down, the lookup fails with that reason.
         eid_ct:eventually(fun() ->
                                   case eid:lookup(at(1, "first")) of
                                       {error, {unreachable, _}} -> true;
                                       _ -> false
                                   end
                           end),
         {0, _} = eid_rig:command("dockerd 1 start"),
         Name = "n" ++ integer_to_list(N),
         sleeper(1, Name),
         N > 1 andalso eid_rig:docker(1, ["rm -f n", integer_to_list(N - 1)]),
         is_as_the_engine_says(1),
         {ok, _} = eid:lookup(at(1, "first")),
         {ok, _} = eid:lookup(at(1, Name))
     end || {N, How} <- lists:zip(lists:seq(1, length(Ends)), Ends)],
    ?assert(maps:get(resyncs, engine(1)) >= Resyncs + length(Ends)).

%% Waits until eid's list of all containers matches `docker ps'.
is_as_the_engine_says(Host) ->
    eid_ct:eventually(
      fun() ->
              Listed = lists:sort(string:lexemes(eid_rig:docker(Host, ["ps -q"]), "\n")),
              #{state := State, requests := Requests} = engine(Host),
              {ok, Names} = eid_epmd:names(eid_rig:host_ip(Host)),
              lists:sort([Id || {Id, _Port} <- Names]) =:= Listed
                  andalso State =:= live andalso maps:get(requests, engine(Host)) =:= Requests
                  andalso length(Listed) =:= maps:get(containers, engine(Host))
                  andalso lists:all(fun({Id, Port}) -> eid_rig:port(#{host => Host, id => Id}) =:= Port end,
                                    Names)
      end).

%% Two containers on one host, in one network.
bridge(_) ->
    [A, B] = start([{1, #{}}, {1, #{}}]),
    {ok, #{route := bridge, ip := {172,17,0,_}, port := 12345}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := bridge, ip := {172,17,0,_}, port := 12345}, connection(A, B)),
    ?assertMatch(#{route := accepted}, connection(B, A)),
    %% A port mapper can only return a port, so it returns the published port of the host.
    Port = eid_rig:port(B),
    #{node := NodeB} = B,
    [Name, Host] = string:lexemes(atom_to_list(NodeB), "@"),
    ?assertEqual({port, Port, 6}, call(A, eid_epmd, port_please, [Name, Host])),
    %% One container is in another network, and one is on another host.
    eid_rig:docker(1, ["network create --label eid.test=1 shop"]),
    [C, D] = start([{1, #{docker => ["-p", "192.0.2.1::12345", "--network", "shop"]}}, {2, #{}}]),
    [{ok, #{route := published}} = lookup(A, Other) || Other <- [C, D]],
    %% As soon as both containers share a network, the route is the bridge.
    eid_rig:docker(1, ["network connect shop ", maps:get(id, A)]),
    eid_ct:eventually(fun() -> {ok, #{route := Route}} = lookup(A, C), Route =:= bridge end),
    connect(A, C),
    eid_rig:docker(1, ["network disconnect shop ", maps:get(id, A)]),
    eid_ct:eventually(fun() -> {ok, #{route := Route}} = lookup(A, C), Route =:= published end).

%% In this network the host drops packets from container to container.
bridge_that_drops(_) ->
    eid_rig:docker(1, ["network create --label eid.test=1 -o com.docker.network.bridge.enable_icc=false noicc"]),
    On = #{docker => ["-p", "192.0.2.1::12345", "--network", "noicc"]},
    [A, B] = start([{1, On}, {1, On}]),
    {ok, #{route := bridge}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := published, ip := {192,0,2,1}}, connection(A, B)).

%% The node listens only at the address that its published port leads to.
bridge_that_refuses(_) ->
    %% If a container is in several networks, Docker forwards a published port to the first network
    %% in alphabetical order.
    eid_rig:docker(1, ["network create --label eid.test=1 --subnet 172.30.0.0/16 first"]),
    eid_rig:docker(1, ["network create --label eid.test=1 second"]),
    [A, B] = start([{1, #{docker => ["-p", "192.0.2.1::12345", "--network", "second"]}},
                    {1, #{docker => ["-p", "192.0.2.1::12345", "--network", "first", "--ip", "172.30.0.9"],
                          erl => carrier() ++ ["inet_dist_use_interface", "{172,30,0,9}"]}}]),
    eid_rig:docker(1, ["network connect second ", maps:get(id, B)]),
    eid_ct:eventually(fun() -> {ok, #{route := Route}} = lookup(A, B), Route =:= bridge end),
    connect(A, B),
    ?assertMatch(#{route := published, ip := {192,0,2,1}}, connection(A, B)).

%% Containers that publish no port, as services in one network often do.
bridge_alone(_) ->
    eid_rig:docker(1, ["network create --label eid.test=1 alone"]),
    On = #{docker => ["--network", "alone"]},
    [A, B] = start([{1, On}, {1, On}]),
    {ok, #{route := bridge}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := bridge, port := 12345}, connection(A, B)),
    %% If no node listens yet, the log reports a refused connection and not an unpublished port.
    Id = eid_rig:docker(1, ["run -d --label eid.test=1 --network alone --name silent eid-otp:",
                            hd(eid_rig:releases()), " sleep infinity"]),
    C = #{host => 1, id => lists:sublist(Id, 12), node => 'silent@192.0.2.1'},
    ok = eid_ct:start_log(maps:get(peer, A)),
    false = call(A, net_kernel, connect_node, [maps:get(node, C)]),
    eid_ct:eventually(fun() -> eid_ct:log_lines(maps:get(peer, A)) =/= [] end),
    [Line] = eid_ct:log_lines(maps:get(peer, A)),
    ?assertMatch({match, _}, re:run(Line, "found \\(bridge\\).*connection refused")).

published_by_setting(_) ->
    Published = #{erl => carrier() ++ ["-eid", "routes", "#{\"192.0.2.0/24\" => published}"]},
    [A, B] = start([{1, Published}, {1, #{}}]),
    {ok, #{route := published}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := published}, connection(A, B)).

bridge_under_tls(Config) ->
    Dir = proplists:get_value(priv_dir, Config),
    OptFile = eid_tls:options(Dir, ["192.0.2.1"]),
    Tls = #{mount => [Dir],
            erl => ["-proto_dist", "inet_tls", "-epmd_module", "eid_epmd",
                    "-ssl_dist_optfile", OptFile
                    | carrier() -- ["-proto_dist", "eid_tcp"]]},
    [A, B] = start([{1, Tls}, {1, Tls}]),
    {ok, #{route := bridge}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := bridge, port := 12345}, connection(A, B)).

host_network(_) ->
    [A, B] = start([{1, #{}}, {2, #{docker => ["--network", "host"], name => "on-the-host"}}]),
    {ok, #{route := host, ip := {192,0,2,2}, port := 12345}} = lookup(A, B),
    connect(A, B),
    ?assertMatch(#{route := host, ip := {192,0,2,2}, port := 12345}, connection(A, B)),
    connect(B, A),
    ?assertMatch(#{route := published}, connection(B, A)).

%% Info on the node that dialled, on the node that accepted, and after the connection has ended.
info_of_connections(_) ->
    [#{node := NodeA} = A, #{node := NodeB} = B] = start([{1, #{}}, {2, #{}}]),
    connect(A, B),
    Port = eid_rig:port(B),
    ?assertEqual(#{route => published, ip => {192,0,2,2}, port => Port}, connection(A, B)),
    ?assertMatch(#{route := accepted, ip := {_, _, _, _}, port := _}, connection(B, A)),
    #{engines := Engines} = call(A, eid, info, []),
    #{<<"tcp://192.0.2.2:4243">> := #{state := live, containers := 1, lookups := #{ok := _}, requests := _,
                                      events := _, resyncs := 0,
                                      latency := #{p50 := P50, p90 := P90, p99 := P99, max := Max}}} = Engines,
    ?assert(P50 =< P90 andalso P90 =< P99 andalso P99 =< Max andalso is_float(P50)),
    true = call(A, erlang, disconnect_node, [NodeB]),
    ?assertEqual(#{}, maps:get(nodes, call(A, eid, info, []))),
    eid_ct:eventually(fun() -> not is_map_key(NodeA, maps:get(nodes, call(B, eid, info, []))) end).

carrier() -> eid_rig:manual_connect().

%% The nodes connect only on request, so the test knows which node dials.
start(Starts) ->
    [Release | _] = eid_rig:releases(),
    eid_rig:start_nodes([{Host, Release, maps:merge(#{erl => carrier()}, Options)}
                         || {Host, Options} <- Starts]).

%% Starts a container that publishes the distribution port but runs no Erlang node.
sleeper(Host, Name) ->
    Id = eid_rig:docker(Host, ["run -d --label eid.test=1 --stop-timeout 1 --name ", Name, " -p ",
                               eid_rig:host_ip(Host), "::12345 eid-otp:", hd(eid_rig:releases()), " sleep infinity"]),
    #{host => Host, id => lists:sublist(Id, 12), node => list_to_atom(Name ++ "@" ++ eid_rig:host_ip(Host))}.

node_name(#{host := Host, id := Id}) -> at(Host, Id).

at(Host, Text) -> iolist_to_binary([Text, $@, eid_rig:host_ip(Host)]).

engine(Host) ->
    {ok, Sockets} = application:get_env(eid, engines),
    #{engines := Engines} = eid:info(),
    maps:get(list_to_binary(maps:get(eid_rig:host_ip(Host), Sockets)), Engines).

%% Waits until eid's list has this container.
live(#{host := Host} = Container) ->
    eid_ct:eventually(fun() ->
                              {ok, _} = eid:lookup(node_name(Container)),
                              #{state := State, requests := Requests} = engine(Host),
                              {ok, _} = eid:lookup(node_name(Container)),
                              State =:= live andalso maps:get(requests, engine(Host)) =:= Requests
                      end).

call(#{peer := Peer}, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, 60_000).

lookup(From, #{node := Node}) -> call(From, eid, lookup, [Node]).

%% Ends the connection, makes a new one, and waits until both nodes have noticed.
connect(#{node := FromNode} = From, #{node := Node} = To) ->
    Sees = fun() -> lists:member(FromNode, call(To, erlang, nodes, [])) end,
    call(From, erlang, disconnect_node, [Node]),
    eid_ct:eventually(fun() -> not Sees() end),
    ?assertEqual(true, call(From, net_kernel, connect_node, [Node])),
    eid_ct:eventually(Sees).

connection(From, #{node := Node}) ->
    #{nodes := #{Node := Connection}} = call(From, eid, info, []),
    Connection.
