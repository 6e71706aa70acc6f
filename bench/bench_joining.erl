%% @doc How soon a new node has joined a cluster: by each strategy a new node that looks for its peers, and by two of them one that looks for
%% nobody, and has to be found.
%%
%% The clusters and their nodes are those of the tests (test/eid_cluster.erl): containers on both hosts, OTP releases mixed. Each
%% new node notes down by itself when its VM was up and when it was connected to each peer.
-module(bench_joining).

-export([rows/0]).

-define(STANDING, 6).
-define(NEW, 20).
-define(FOUND, 8).
-define(MESH_TIME, 20_000).
%% Milliseconds between two polls, and the time to live of the records, in seconds, which does not shorten that.
-define(INTERVAL, 5000).
-define(TTL, 30).
-define(SHORTEST, 1_000_000).

-spec rows() -> [bench_table:row()].
rows() ->
    Formed = [{Strategy, [lists:max(Times) || Times <- new_nodes(Strategy, on, ?NEW, [])]} || Strategy <- eid_cluster:strategies()],
    %% Where nobody else connects nodes, each peer has to find the new one itself.
    [Docker, Dns] = [lists:append(new_nodes(Strategy, off, ?FOUND, ["-connect_all", "false"])) || Strategy <- [docker, dns]],
    [bench_table:row(["a new node connected to all peers after its VM was up, `", atom_to_list(Strategy), "`, 95th percentile of ",
                      integer_to_list(length(Times))],
                     ns, bench_stats:percentile(95, Times), {"median", bench_stats:median(Times)}, {value, at_most, 300.0e6})
     || {Strategy, Times} <- Formed]
        ++ [bench_table:row("a new node without discovery found by a peer, `docker`, median", ns, bench_stats:median(Docker),
                            {"`dns`, every 5 s", bench_stats:median(Dns)}, {ratio, at_most, 0.1})].

%% New nodes, one at a time, each in the place of the one before: nanoseconds until each peer was connected. Where a peer had been
%% before the VM was up, that counts as the shortest time that is told apart.
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
    %% What waits for the peers' next poll must not begin at their last one.
    Discovery =:= off andalso timer:sleep(rand:uniform(?INTERVAL)),
    {[New], Grown} = eid_cluster:add(Standing, 1, Discovery),
    _ = eid_cluster:await_mesh(Grown, ?MESH_TIME),
    Times = [max(?SHORTEST, Microseconds * 1000) || {_Node, Microseconds} <- eid_cluster:since_up(Grown, New)],
    ?STANDING = length(Times),
    Shrunk = eid_cluster:kill(Grown, [New]),
    _ = eid_cluster:await_mesh(Shrunk, ?MESH_TIME),
    {Times, Shrunk}.
