%% @doc Measures how soon a new node has joined a cluster. With each strategy, a new node looks for
%% its peers. With two strategies, peers also have to find a new node that does not look for them.
%%
%% The clusters and their nodes are the tests' own (test/eid_cluster.erl): containers on both hosts,
%% OTP releases mixed. Each new node records when its VM was up and when it was connected to each
%% peer.
-module(bench_joining).

-export([rows/0]).

-define(STANDING, 6).
-define(NEW, 20).
-define(FOUND, 8).
-define(MESH_TIME, 20_000).
%% Milliseconds between two polls. The records' time to live, in seconds, does not shorten the
%% interval.
-define(INTERVAL, 5000).
-define(TTL, 30).
-define(SHORTEST, 1_000_000).

-spec rows() -> [bench_table:row()].
rows() ->
    Formed = [{Strategy, [lists:max(Times) || Times <- new_nodes(Strategy, on, ?NEW, [])]} || Strategy <- eid_cluster:strategies()],
    %% With `connect_all false' no other node makes the connections, so each peer finds the new node
    %% without help.
    [Docker, Dns] = [lists:append(new_nodes(Strategy, off, ?FOUND, ["-connect_all", "false"])) || Strategy <- [docker, dns]],
    [bench_table:row(["a new node connected to all peers after its VM was up, `", atom_to_list(Strategy), "`, 95th percentile of ",
                      integer_to_list(length(Times))],
                     ns, bench_stats:percentile(95, Times), {"median", bench_stats:median(Times)}, {value, at_most, 300.0e6})
     || {Strategy, Times} <- Formed]
        ++ [bench_table:row("a new node without discovery found by a peer, `docker`, median", ns, bench_stats:median(Docker),
                            {"`dns`, every 5 s", bench_stats:median(Dns)}, {ratio, at_most, 0.1})].

%% Starts new nodes one at a time, and each replaces the node before. Returns the nanoseconds until
%% each peer was connected. If a peer was connected before the VM was up, its time is SHORTEST.
new_nodes(Strategy, Discovery, Count, Erl) ->
    Dir = filename:dirname(code:which(?MODULE)),
    Cluster = eid_cluster:start(Strategy, ?STANDING,
                                #{dir => filename:absname(Dir), most => ?STANDING + 1, interval => ?INTERVAL, ttl => ?TTL,
                                  erl => Erl, docker => ["--label", bench_hosts:label()]}),
    _ = eid_cluster:await_mesh(Cluster, ?MESH_TIME),
    {Times, Last} = lists:mapfoldl(fun(_, Standing) -> new_node(Standing, Discovery) end, Cluster, lists:seq(1, Count)),
    eid_cluster:stop(Last),
    Times.

new_node(Standing, Discovery) ->
    %% Starts at a random moment between two polls of the peers.
    Discovery =:= off andalso timer:sleep(rand:uniform(?INTERVAL)),
    {[New], Grown} = eid_cluster:add(Standing, 1, Discovery),
    _ = eid_cluster:await_mesh(Grown, ?MESH_TIME),
    Times = [max(?SHORTEST, Microseconds * 1000) || {_Node, Microseconds} <- eid_cluster:since_up(Grown, New)],
    ?STANDING = length(Times),
    Shrunk = eid_cluster:kill(Grown, [New]),
    _ = eid_cluster:await_mesh(Shrunk, ?MESH_TIME),
    {Times, Shrunk}.
