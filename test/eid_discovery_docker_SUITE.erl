%% Tests discovery by Docker's labels and names, with test doubles of engines.
-module(eid_discovery_docker_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([long_ids/1, containers_by_event/1, containers_by_name/1, reload/1, hostile_labels/1]).
-import(eid_discovery_ct, [figures/1, host/0, docker/1, engines/1, run/3, node_name/2, start/3, stop/1,
         await_nodes/2, listed/1]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [long_ids, containers_by_event, containers_by_name, reload, hostile_labels].

%% Nodes that are named with all digits of their container IDs find each other under these names.
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

%% A container that starts on one of two hosts is listed, and a container that ends is removed. If
%% one host is down, changes on the other host still count.
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
    %% One of the listed containers gets a node.
    {ok, B, NodeB} = eid_ct:start_node(binary_to_atom(Short), HostOne, []),
    await_nodes(A, [NodeB]),
    %% The containers of a host that is down stay in the list.
    eid_engine_double:stop(One),
    run(Two, "new", #{"eid.cluster" => "shop", "eid.node" => "new"}),
    eid_ct:eventually(fun() -> listed(A) =:= [lists:sort([node_name("new", HostTwo) | All])] end),
    eid_ct:eventually(fun() ->
                              [#{error := Error}] = peer:call(A, eid_discovery, info, []),
                              Error =/= none andalso string:find(maps:get(text, Error), HostOne ++ ": ") =/= nomatch
                      end),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    %% The log has one line about this host.
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

%% A process that waits for a host's next change does not prevent a reload of the library. The
%% strategy continues after all modules have been reloaded.
reload(_) ->
    {One, Host} = host(),
    A = start('a@127.0.0.2', [(docker(#{hosts => [Host], label => "eid.cluster"}))#{interval => 100}], engines([One])),
    ok = peer:call(A, eid, set_route, [Host, engine]),
    Known = run(One, "db", #{"eid.cluster" => "shop"}),
    Node = node_name(binary:part(Known, 0, 12), Host),
    eid_ct:eventually(fun() -> listed(A) =:= [[Node]] end),
    Found = peer:call(A, eid, lookup, [Node]),
    [begin
         ok = load(A, eid_nif),
         ?assertEqual(Found, peer:call(A, eid, lookup, [Node]))
     end || _ <- [1, 2, 3]],
    {ok, Modules} = peer:call(A, application, get_key, [eid, modules]),
    [ok = load(A, Module) || _ <- [1, 2, 3], Module <- Modules],
    New = run(One, "web", #{"eid.cluster" => "shop"}),
    eid_ct:eventually(fun() -> listed(A) =:= [lists:sort([Node, node_name(binary:part(New, 0, 12), Host)])] end),
    stop([A]),
    eid_engine_double:stop(One).

%% Kills processes that still run code from before the last reload, as the shell does.
load(Peer, Module) ->
    _ = peer:call(Peer, code, purge, [Module]),
    {module, Module} = peer:call(Peer, code, load_file, [Module]),
    ok.

%% Two thousand containers have hostile labels. Most labels are not valid names, and the other names
%% have no node. The first hundred containers make A load its modules.
hostile_labels(_) ->
    {One, Host} = host(),
    A = start('a@127.0.0.2', [(docker(#{hosts => [Host], label => "eid.cluster=shop"}))#{limit => 50}], engines([One])),
    {ok, B, NodeB} = eid_ct:start_node(b, "127.0.0.3", []),
    Run = fun(Name, Label) -> run(One, Name, #{"eid.cluster" => "shop", "eid.node" => Label}) end,
    Run("b", atom_to_list(NodeB)),
    Marks = [{Run(Name, Name), node_name(Name, Host)} || Name <- ["mark1", "mark2"]],
    await_nodes(A, [NodeB]),
    %% A mark is a container that stops after these containers have started. When the mark leaves
    %% A's list, A has seen the others.
    RunAll = fun(Numbers, {Id, Mark}) ->
                     eid_ct:eventually(fun() -> lists:member(Mark, hd(listed(A))) end),
                     [Run(["hostile", integer_to_list(N)], hostile_label(N rem 8, N)) || N <- Numbers],
                     eid_engine_double:tell(One, ["{\"do\":\"stop\",\"container\":\"", Id, "\"}"]),
                     eid_ct:eventually(fun() -> not lists:member(Mark, hd(listed(A))) end, 30_000)
             end,
    RunAll(lists:seq(1, 100), hd(Marks)),
    _ = figures(A),    % loads the modules that it needs
    Before = figures(A),
    RunAll(lists:seq(101, 100 + eid_ct:times(2000)), lists:last(Marks)),
    ?assertEqual(50, length(hd(listed(A)))),
    ?assertEqual([NodeB], peer:call(A, erlang, nodes, [])),
    After = figures(A),
    ct:pal("before ~p~nafter ~p", [Before, After]),
    ?assert(maps:get(atoms, After) - maps:get(atoms, Before) < 500),
    eid_ct:eventually(fun() -> maps:get(memory, figures(A)) - maps:get(memory, Before) < eid_ct:times(5_000_000) end),
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
