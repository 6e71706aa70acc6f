%% @doc Discovery strategy: a fixed list, `{static, #{nodes => ['db@192.168.4.231', …]}}'.
-module(eid_discovery_static).

-behaviour(eid_discovery).

-export([init/1, list/1]).

%% @private
-spec init(term()) -> [eid_discovery:peer()].
init(Options) ->
    Known = #{nodes => {required, fun are_nodes/1, "a list of node names"}},
    #{nodes := Nodes} = eid_discovery:options(static, Options, Known),
    Nodes.

are_nodes(Nodes) ->
    length(Nodes) >= 0 andalso lists:all(fun eid_discovery_answer:is_peer/1, Nodes).

%% @private
-spec list([eid_discovery:peer()]) -> {eid_discovery:answer(), [eid_discovery:peer()]}.
list(Nodes) -> {#{nodes => Nodes}, Nodes}.
