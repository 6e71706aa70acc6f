%% What the suites of discovery share: nodes that run it, strategies that answer as told, and Docker hosts that are doubles.
-module(eid_discovery_ct).

-export([figures/1, host/0, docker/1, engines/1, run/3, node_name/2, start/3, start/4,
         term/1, stop/1, static/1, scripted/2, answer/3, await_nodes/2, listed/1, workers/1, priv_dir/1]).

figures(Peer) ->
    _ = [peer:call(Peer, erlang, garbage_collect, [Pid]) || Pid <- peer:call(Peer, erlang, processes, [])],
    #{atoms => peer:call(Peer, erlang, system_info, [atom_count]),
      memory => peer:call(Peer, erlang, memory, [total]),
      terms => maps:get(memory, peer:call(Peer, persistent_term, info, [])),
      processes => peer:call(Peer, erlang, system_info, [process_count])}.

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
