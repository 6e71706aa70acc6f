%% @doc Discovery strategy: a fixed list, `{static, #{nodes => ['db@192.168.4.231', …]}}'.
-module(eid_discovery_static).

-behaviour(eid_discovery).

-export([init/1, list/1]).

init(Options) ->
    Known = #{nodes => {required, fun are_nodes/1, "a list of node names"}},
    #{nodes := Nodes} = eid_discovery:options(static, Options, Known),
    Nodes.

are_nodes(Nodes) ->
    length(Nodes) >= 0 andalso lists:all(fun eid_discovery_answer:is_peer/1, Nodes).

list(Nodes) -> {#{nodes => Nodes}, Nodes}.
