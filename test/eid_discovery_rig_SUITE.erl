%% Tests discovery on the rig: containers on two hosts, with mixed OTP releases, form a cluster
%% automatically.
-module(eid_discovery_rig_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([static/1, hosts_file/1, dns/1, srv/1, docker/1, rancher/1, network_alias/1, found_by_peers/1, without_connect_all/1,
         split/1]).

%% Milliseconds to wait for a mesh. A machine with two cores starts twenty VMs in this time.
-define(MESH_TIME, 60_000).

suite() -> [{timetrap, {minutes, 5}}].

all() -> [static, hosts_file, dns, srv, docker, rancher, network_alias, found_by_peers, without_connect_all, split].

init_per_suite(Config) ->
    case [Skip || {skip, _} = Skip <- [eid_rig:available(), eid_rig:available(dns)]] of
        [Skip | _] -> Skip;
        [] -> ok = eid_rig:up(), Config
    end.

end_per_suite(_Config) -> eid_rig:down().

init_per_testcase(_, Config) -> Config.

end_per_testcase(_, _Config) ->
    {0, _} = eid_rig:command("link up"),
    eid_rig:stop_all().

static(Config) -> forms_again(static, Config).
hosts_file(Config) -> forms_again(hosts_file, Config).
dns(Config) -> forms_again(dns, Config).
srv(Config) -> forms_again(srv, Config).
docker(Config) -> forms_again(docker, Config).
rancher(Config) -> forms_again(rancher, Config).

%% The number of nodes. One strategy has twenty nodes. The others have five, which covers each OTP
%% release, or twenty in `make soak'.
cluster_size(docker) -> 20;
cluster_size(_) ->
    case os:getenv("EID_SOAK") of
        false -> 5;
        _ -> 20
    end.

%% The members form a full mesh, and form it again after some members were killed and replaced.
forms_again(Strategy, Config) ->
    Size = cluster_size(Strategy),
    Cluster = start(Strategy, Size, #{}, Config),
    Formed = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    Replaced = eid_cluster:replace(Cluster, Size div 4),
    Again = eid_cluster:await_mesh(Replaced, ?MESH_TIME),
    ?assertEqual(Size, length(eid_cluster:members(Replaced))),
    ct:pal("~s: full mesh ~b ms after the last of ~b was started, and ~b ms after the last replacement",
           [Strategy, Formed, Size, Again]),
    eid_cluster:stop(Replaced).

%% Docker's own DNS: several containers in one host's network have the same alias.
network_alias(_Config) ->
    {0, _} = eid_rig:command("pods up"),
    Clusters = "[#{name => shop, strategy => {dns, #{name => \"shop\"}}, interval => 1000}]",
    Nodes = [eid_rig:start_node(1, Release, #{node => "shop@" ++ Ip,
                                              docker => ["--network", "eid-pods", "--network-alias", "shop", "--ip", Ip],
                                              erl => ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-eid", "clusters", Clusters,
                                                      "-s", "eid"]})
             || Release <- eid_rig:releases(), Ip <- ["10.77.1.2" ++ Release]],
    All = lists:sort([Node || #{node := Node} <- Nodes]),
    [eid_ct:eventually(fun() -> lists:sort([Node | peer:call(Peer, erlang, nodes, [])]) =:= All end)
     || #{node := Node, peer := Peer} <- Nodes],
    %% Removes the containers one after the other: see `rig remove'.
    [begin
         peer:stop(Peer),
         eid_rig:remove(1, [Id])
     end || #{peer := Peer, id := Id} <- Nodes].

%% The new node does not look for other nodes. Its peers find it.
found_by_peers(Config) ->
    Cluster = start(docker, 3, #{}, Config),
    _ = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    {[#{node := Node}] = New, Grown} = eid_cluster:add(Cluster, 1, off),
    _ = eid_cluster:await_mesh(Grown, ?MESH_TIME),
    [{Node, {ok, Info}}] = eid_cluster:call(Grown, New, eid_discovery, info, []),
    ?assertEqual([], Info),
    eid_cluster:stop(Grown).

%% Without connect_all, only discovery connects nodes.
without_connect_all(Config) ->
    Cluster = start(docker, 3, #{erl => ["-connect_all", "false"]}, Config),
    _ = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    {_, Grown} = eid_cluster:add(Cluster, 1, off),
    _ = eid_cluster:await_mesh(Grown, ?MESH_TIME),
    eid_cluster:stop(Grown).

%% The link between the hosts is down until each half has given up the other half. Then it is up
%% again.
split(Config) ->
    Cluster = start(docker, 4, #{erl => ["-kernel", "net_ticktime", "8"]}, Config),
    _ = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    Start = await_logs(start, Cluster),
    {0, _} = eid_rig:command("link down"),
    ok = eid_ct:eventually(fun() -> lists:all(fun(Host) -> eid_cluster:mesh(Cluster, on(Host, Cluster)) =:= [] end, [1, 2]) end,
                           60_000),
    ok = eid_ct:eventually(fun() -> have_lost_all(Cluster) end, 60_000),
    Split = await_logs(split, Cluster),
    {0, _} = eid_rig:command("link up"),
    Whole = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    ct:pal("whole again ~b ms after the cable", [Whole]),
    Healed = await_logs(healed, Cluster),
    ?assertEqual([], twice(Start, Split)),
    ?assertEqual([], twice(Split, Healed)),
    eid_cluster:stop(Cluster).

start(Strategy, Size, Options, Config) ->
    eid_cluster:start(Strategy, Size, Options#{dir => proplists:get_value(priv_dir, Config)}).

%% Returns true if each member has logged that it lost each member on the other host.
have_lost_all(Cluster) ->
    Logs = logs(Cluster),
    lists:all(fun({#{node := Node}, #{node := Lost}}) ->
                      lists:member("No connection to " ++ atom_to_list(Lost), maps:get(Node, Logs))
              end, [Pair || A <- on(1, Cluster), B <- on(2, Cluster), Pair <- [{A, B}, {B, A}]]).

on(Host, Cluster) -> [Member || #{host := H} = Member <- eid_cluster:members(Cluster), H =:= Host].

%% Returns the logs, which include everything up to now. Each connector answers a call, so it has
%% logged everything before. Then each node logs a mark, and this function waits until the mark is
%% in the log.
await_logs(Mark, Cluster) ->
    Members = eid_cluster:members(Cluster),
    Text = "Mark of the test: " ++ atom_to_list(Mark),
    [{_, {ok, #{}}} = Answer || Answer <- eid_cluster:call(Cluster, Members, eid_discovery_connector, info, [])],
    [{_, {ok, ok}} = Answer || Answer <- eid_cluster:call(Cluster, Members, eid_mesh_recorder, log, [Text])],
    Has = fun(Events) -> lists:member(Text, Events) end,
    ok = eid_ct:eventually(fun() -> lists:all(Has, maps:values(logs(Cluster))) end, 60_000),
    logs(Cluster).

%% Returns what each member has logged so far, without the times. For a node that could not be
%% connected, the result has only that fact and not the reason.
logs(Cluster) -> maps:from_list([{Node, events(eid_cluster:log(Member))} || #{node := Node} = Member <- eid_cluster:members(Cluster)]).

events(Log) ->
    [case re:run(Event, "No connection to [^ ,:]+", [{capture, first, list}]) of
         {match, [NoConnection]} -> NoConnection;
         nomatch -> string:trim(Event)
     end || Event <- re:split(Log, "^=[A-Z ]+ REPORT==== .*$", [multiline, {return, list}]), string:trim(Event) =/= ""].

%% Returns what a member has logged more than once after `Before'.
twice(Before, After) ->
    [{Node, lists:usort(Repeated)}
     || {Node, Events} <- maps:to_list(After),
        New <- [lists:nthtail(length(maps:get(Node, Before)), Events)],
        Repeated <- [New -- lists:usort(New)],
        Repeated =/= []].
