%% Starts clusters of many nodes in containers on the rig's two hosts, with mixed OTP releases. The
%% nodes find each other by one of eid's discovery strategies. A member's number determines its
%% host, release, name and address.
%%
%% One hidden node on each host queries the members over the host's bridge. It is not part of the
%% mesh. Each member records its own connections with `eid_mesh_recorder'.
-module(eid_cluster).

-export([start/3, stop/1, strategies/0, members/1, nodes/1, add/2, add/3, kill/2, replace/2]).
-export([mesh/1, mesh/2, await_mesh/2, call/5, history/2, since_up/2, log/1]).

-export_type([cluster/0, member/0, strategy/0]).

-type strategy() :: static | hosts_file | dns | srv | docker | rancher.
-type member() :: #{number := pos_integer(), host := 1 | 2, id := string(), node := node(), ip := inet:ip_address()}.
-type cluster() :: #{strategy := strategy(), settings := map(), members := [member()], next := pos_integer(),
                     controllers := #{1 | 2 => pid()}, dir := file:filename(), erl := [string()],
                     docker := [string()],
                     rancher => eid_rancher_double:double()}.

%% The number of members that start at the same time, on a machine with two cores.
-define(STARTS, 4).
-define(COOKIE, "eid_rig").
-define(SERVICE, "shop.eid.test").
-define(SRV, "_erlang._tcp." ?SERVICE).
-define(FIRST_PORT, 20000).

strategies() -> [static, hosts_file, dns, srv, docker, rancher].

%% Starts a cluster with `Count' members. Options: `dir' is a directory for files of this test, and
%% is required. `most' is the maximum number of members at any time, for strategies that list the
%% members in advance. `interval' is in milliseconds. `ttl' is the time to live of DNS records, in
%% seconds. `erl' and `docker' are more arguments for the two programs. `discovery' is the same as
%% in add/3.
-spec start(strategy(), Count :: pos_integer(), map()) -> cluster().
start(Strategy, Count, #{dir := Dir} = Options) ->
    Folder = filename:join(Dir, "cluster_" ++ atom_to_list(Strategy)),
    ok = filelib:ensure_path(Folder),
    Prepared = prepare(#{strategy => Strategy, members => [], next => 1, dir => Folder, erl => maps:get(erl, Options, []),
                         docker => maps:get(docker, Options, []),
                         controllers => maps:from_list([{Host, start_controller(Host)} || Host <- [1, 2]])}, Options),
    Settings = #{name => shop, strategy => {Strategy, strategy_options(Prepared, maps:get(most, Options, Count))},
                 interval => maps:get(interval, Options, 5000)},
    write(Folder, "sys.config", [[{eid, [{clusters, [Settings]}]}]]),
    write(Folder, "off.config", [[{eid, []}]]),
    write(Folder, ".hosts.erlang", [list_to_atom(eid_rig:host_ip(Host)) || Host <- [1, 2]]),
    {_, Cluster} = add(Prepared#{settings => Settings}, Count, maps:get(discovery, Options, on)),
    Cluster.

write(Folder, Name, Terms) ->
    ok = file:write_file(filename:join(Folder, Name), [io_lib:format("~p.~n", [Term]) || Term <- Terms]).

prepare(#{strategy := dns} = Cluster, Options) ->
    {0, _} = eid_rig:command("pods up"),
    ok = eid_dns_zone:start(maps:get(ttl, Options, 1)),
    Cluster;
prepare(#{strategy := srv} = Cluster, Options) ->
    ok = eid_dns_zone:start(maps:get(ttl, Options, 1)),
    Cluster;
prepare(#{strategy := rancher} = Cluster, _Options) ->
    {0, _} = eid_rig:command("pods up"),
    Cluster#{rancher => eid_rancher_double:start()};
prepare(Cluster, _Options) ->
    Cluster.

strategy_options(#{strategy := static}, Most) -> #{nodes => [list_to_atom(node_name(static, N)) || N <- lists:seq(1, Most)]};
strategy_options(#{strategy := hosts_file}, _) -> #{};
strategy_options(#{strategy := dns}, _) -> #{name => ?SERVICE};
strategy_options(#{strategy := srv}, _) -> #{name => ?SRV};
strategy_options(#{strategy := docker}, _) -> #{hosts => [eid_rig:host_ip(1), eid_rig:host_ip(2)], label => "eid.cluster=shop"};
strategy_options(#{strategy := rancher, rancher := Double}, _) -> #{url => eid_rancher_double:url(Double)}.

-spec stop(cluster()) -> ok.
stop(#{members := Members, controllers := Controllers} = Cluster) ->
    _ = kill(Cluster, Members),
    lists:foreach(fun peer:stop/1, maps:values(Controllers)),
    case Cluster of
        #{rancher := Double} -> eid_rancher_double:stop(Double);
        #{strategy := Strategy} when Strategy =:= dns; Strategy =:= srv -> eid_dns_zone:clear(), eid_dns_zone:stop();
        #{} -> ok
    end.

-spec members(cluster()) -> [member()].
members(#{members := Members}) -> Members.

-spec nodes(cluster()) -> [node()].
nodes(#{members := Members}) -> [Node || #{node := Node} <- Members].

-spec add(cluster(), Count :: pos_integer()) -> {[member()], cluster()}.
add(Cluster, Count) -> add(Cluster, Count, on).

%% Adds `Count' members. With discovery `off' the new members do not look for other nodes. If the
%% strategy needs a list, the new members are listed just before they start.
-spec add(cluster(), Count :: pos_integer(), Discovery :: on | off) -> {[member()], cluster()}.
add(#{members := Members, next := Next, controllers := Controllers} = Cluster, Count, Discovery) ->
    Numbers = free_numbers(Cluster, Count),
    list(Cluster, [Number || #{number := Number} <- Members] ++ Numbers),
    Releases = eid_rig:releases(),
    New = parallel(fun(Number) -> start_member(Cluster, Number, Releases, Discovery) end, Numbers),
    [ok = peer:call(maps:get(Host, Controllers), eid, set_route, [Node, {Ip, 12345}]) || #{host := Host, node := Node, ip := Ip} <- New],
    {New, Cluster#{members := Members ++ New, next := max(Next, lists:max(Numbers) + 1)}}.

%% A new member gets a new number, and so a new name. Members of a static list reuse the numbers of
%% killed members, because that list cannot change.
free_numbers(#{strategy := static, members := Members}, Count) ->
    Taken = [Number || #{number := Number} <- Members],
    lists:sublist(lists:seq(1, length(Taken) + Count) -- Taken, Count);
free_numbers(#{next := Next}, Count) ->
    lists:seq(Next, Next + Count - 1).

start_member(#{strategy := Strategy, dir := Dir, erl := Erl, docker := More}, Number, Releases, Discovery) ->
    Host = host(Number),
    Release = lists:nth(1 + Number rem length(Releases), Releases),
    {Name, Docker} = container(Strategy, Number),
    Config = case Discovery of on -> "/opt/conf/sys"; off -> "/opt/conf/off" end,
    Options = Name#{docker => Docker ++ ["-w", "/opt/conf" | More],
                    mount => [{Dir, "/opt/conf"}, {ebin(), "/opt/test/ebin"}],
                    erl => ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-pa", "/opt/test/ebin", "-config", Config]
                        ++ Erl ++ ["-s", "eid_mesh_recorder", "-s", "eid"]},
    #{id := Id} = Member = eid_rig:start_detached(Host, Release, Options),
    {ok, Ip} = inet:parse_address(eid_rig:docker(Host, ["inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' ", Id])),
    Member#{number => Number, ip => Ip}.

ebin() -> filename:absname(filename:dirname(code:which(?MODULE))).

host(Number) -> 1 + Number rem 2.

container(static, Number) -> {#{name => name(Number)}, published(Number)};
container(hosts_file, Number) -> {#{}, published(Number)};
container(docker, Number) -> {#{}, ["--label", "eid.cluster=shop" | published(Number)]};
container(dns, Number) -> {#{node => node_name(dns, Number)}, dns(Number) ++ pod(Number)};
container(rancher, Number) -> {#{node => node_name(rancher, Number)}, pod(Number)};
container(srv, Number) ->
    {#{node => node_name(srv, Number)},
     dns(Number) ++ ["-p", lists:flatten(io_lib:format("~s:~b:12345", [eid_rig:host_ip(host(Number)), port(Number)]))]}.

published(Number) -> ["-p", eid_rig:host_ip(host(Number)) ++ "::12345"].
pod(Number) -> ["--network", "eid-pods", "--ip", pod_ip(Number)].
dns(Number) -> ["--dns", eid_rig:host_ip(host(Number))].

name(Number) -> lists:flatten(io_lib:format("c~2..0b", [Number])).
pod_ip(Number) -> lists:flatten(io_lib:format("10.77.~b.~b", [host(Number), 50 + Number])).
port(Number) -> ?FIRST_PORT + Number.
target(Number) -> name(Number) ++ ".eid.test".

node_name(static, Number) -> name(Number) ++ "@" ++ eid_rig:host_ip(host(Number));
node_name(srv, Number) -> "shop@" ++ target(Number);
node_name(_, Number) -> "shop@" ++ pod_ip(Number).

%% Lists these members where the strategy looks for them.
list(#{strategy := dns}, Numbers) ->
    eid_dns_zone:addresses(?SERVICE, [pod_ip(Number) || Number <- Numbers]);
list(#{strategy := srv}, Numbers) ->
    [eid_dns_zone:addresses(target(Number), [eid_rig:host_ip(host(Number))]) || Number <- Numbers],
    eid_dns_zone:services(?SRV, [{target(Number), port(Number)} || Number <- Numbers]);
list(#{strategy := rancher, rancher := Double}, Numbers) ->
    eid_rancher_double:set(Double, {services, [#{name => "shop",
                                                 containers => [#{name => name(Number), primary_ip => pod_ip(Number),
                                                                  agent_ip => eid_rig:host_ip(host(Number))}
                                                                || Number <- Numbers]}]});
list(_Cluster, _Numbers) ->
    ok.

-spec kill(cluster(), [member()]) -> cluster().
kill(#{members := Members} = Cluster, Killed) ->
    parallel(fun(Host) ->
                     case [Id || #{host := H, id := Id} <- Killed, H =:= Host] of
                         [] -> ok;
                         Ids -> ok = eid_rig:remove(Host, Ids)
                     end
             end, [1, 2]),
    Left = Members -- Killed,
    list(Cluster, [Number || #{number := Number} <- Left]),
    Cluster#{members := Left}.

%% Kills the first `Count' members and starts as many new members.
-spec replace(cluster(), Count :: pos_integer()) -> cluster().
replace(#{members := Members} = Cluster, Count) ->
    {_, Replaced} = add(kill(Cluster, lists:sublist(Members, Count)), Count),
    Replaced.

start_controller(Host) ->
    Erl = ["exec", integer_to_list(Host), "erl", "-name", "controller@" ++ eid_rig:host_ip(Host), "-setcookie", ?COOKIE,
           "-hidden", "-connect_all", "false", "-dist_listen", "false", "-pa", eid_ct:ebin(),
           "-proto_dist", "eid_tcp", "-start_epmd", "false", "-kernel", "logger_level", "critical"],
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => 30_000, exec => {eid_rig:script(), Erl}}),
    Peer.

%% Calls a function on each of these members. The result of a failed call is `{error, Why}'.
-spec call(cluster(), [member()], module(), atom(), [term()]) -> [{node(), {ok, term()} | {error, term()}}].
call(#{controllers := Controllers}, Members, Module, Function, Arguments) ->
    lists:append([call_on(Controller, [Node || #{host := H, node := Node} <- Members, H =:= Host], Module, Function, Arguments)
                  || {Host, Controller} <- maps:to_list(Controllers)]).

call_on(_Controller, [], _, _, _) -> [];
call_on(Controller, Nodes, Module, Function, Arguments) ->
    Answers = peer:call(Controller, erpc, multicall, [Nodes, Module, Function, Arguments, 3000], 30_000),
    lists:zipwith(fun(Node, {ok, _} = Ok) -> {Node, Ok};
                     (Node, {_Class, Why}) -> {Node, {error, Why}}
                  end, Nodes, Answers).

%% Returns the members whose connections differ from a full mesh of exactly these members, with the
%% difference. An empty list means that the mesh is complete.
-spec mesh(cluster()) -> [{node(), {missing, [node()], surplus, [node()]} | {error, term()}}].
mesh(#{members := Members} = Cluster) -> mesh(Cluster, Members).

-spec mesh(cluster(), [member()]) -> [{node(), {missing, [node()], surplus, [node()]} | {error, term()}}].
mesh(Cluster, Members) ->
    All = [Node || #{node := Node} <- Members],
    [Problem || {Node, Answer} <- call(Cluster, Members, erlang, nodes, []),
                Problem <- case Answer of
                               {error, _} -> [{Node, Answer}];
                               {ok, Nodes} ->
                                   case {All -- [Node | Nodes], Nodes -- All} of
                                       {[], []} -> [];
                                       {Missing, Surplus} -> [{Node, {missing, Missing, surplus, Surplus}}]
                                   end
                           end].

%% Waits until each member is connected to all other members and to no other node. Returns the
%% milliseconds that this took.
-spec await_mesh(cluster(), Milliseconds :: pos_integer()) -> non_neg_integer().
await_mesh(Cluster, Milliseconds) ->
    Start = erlang:monotonic_time(millisecond),
    try eid_ct:eventually(fun() -> mesh(Cluster) =:= [] end, Milliseconds) of
        ok -> erlang:monotonic_time(millisecond) - Start
    catch
        error:{never, _} -> error({no_mesh, length(members(Cluster)), mesh(Cluster)})
    end.

-spec history(cluster(), member()) -> eid_mesh_recorder:history().
history(Cluster, Member) ->
    [{_, {ok, History}}] = call(Cluster, [Member], eid_mesh_recorder, history, []),
    History.

%% For each other node: the time of the last connect event, in microseconds after this member's VM
%% was up. The time is 0 if the connection was there before.
-spec since_up(cluster(), member()) -> [{node(), non_neg_integer()}].
since_up(Cluster, Member) ->
    #{up := Up, events := Events} = history(Cluster, Member),
    maps:to_list(maps:from_list([{Node, Time - Up} || {Time, nodeup, Node} <- Events])).

%% Returns everything that a member has printed.
-spec log(member()) -> string().
log(#{host := Host, id := Id}) -> eid_rig:docker(Host, ["logs ", Id]).

%% Runs Fun on all items in parallel, and returns the results in the order of the items.
parallel(Fun, Items) ->
    Numbered = lists:zip(lists:seq(1, length(Items)), Items),
    Workers = [begin
                   Share = [Item || {Index, _} = Item <- Numbered, Index rem ?STARTS =:= Worker],
                   spawn_monitor(fun() -> exit({done, [{Index, Fun(Item)} || {Index, Item} <- Share]}) end)
               end || Worker <- lists:seq(0, ?STARTS - 1)],
    Results = lists:append([receive
                                {'DOWN', Monitor, process, Pid, {done, Some}} -> Some;
                                {'DOWN', Monitor, process, Pid, Why} -> error(Why)
                            end || {Pid, Monitor} <- Workers]),
    [Result || {_, Result} <- lists:sort(Results)].
