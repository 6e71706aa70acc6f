%% Helpers for the discovery suites: nodes that run discovery, scripted strategies, and test doubles
%% of Docker hosts.
-module(eid_discovery_ct).

-export([figures/1, host/0, docker/1, engines/1, run/3, node_name/2, start/3, start/4, tuning/1,
         term/1, stop/1, static/1, scripted/2, answer/3, await_answers/3, await_nodes/2, listed/1,
         peers/1, workers/1, priv_dir/1, silent/0]).

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

%% Starts a node with discovery. It asks its strategies ten times a second, unless the arguments
%% contain a tuning/1.
start(Node, Clusters, Arguments) -> start(Node, Clusters, Arguments, fun(Peer) -> peer:call(Peer, eid, start, []) end).

start(Node, Clusters, Arguments, Then) ->
    [Name, Ip] = string:lexemes(atom_to_list(Node), "@"),
    Tests = filename:absname(filename:dirname(code:which(?MODULE))),
    Tuning = case lists:member("tuning", Arguments) of
                 true -> [];
                 false -> tuning(#{})
             end,
    Settings = ["-pa", Tests, "-eid", "clusters", term(Clusters)] ++ Tuning ++ Arguments,
    {ok, Peer, Node} = eid_ct:start_node(list_to_atom(Name), Ip, Settings),
    _ = Then(Peer),
    Peer.

%% Arguments that change delays and limits of discovery on a node.
tuning(Tuning) -> ["-eid", "tuning", term(maps:merge(#{shortest_interval => 100}, Tuning))].

term(Term) -> lists:flatten(io_lib:format("~0p", [Term])).

%% Stops nodes and waits until their VMs have ended, because `peer:stop/1' does not wait. Then other
%% nodes can listen at their addresses.
stop(Peers) ->
    Pids = [peer:call(Peer, os, getpid, []) || Peer <- Peers],
    [peer:stop(Peer) || Peer <- Peers],
    HasEnded = fun(Pid) -> os:cmd("kill -0 " ++ Pid) =/= "" end,
    eid_ct:eventually(fun() -> lists:all(HasEnded, Pids) end).

static(Nodes) -> #{name => shop, strategy => {static, #{nodes => Nodes}}}.

scripted(Key, Prune) ->
    #{name => Key, strategy => {eid_scripted_discovery, #{key => Key}}, interval => 100,
      prune => Prune}.

answer(Peer, Key, Answer) -> ok = peer:call(Peer, application, set_env, [kernel, Key, Answer]).

%% Waits until a scripted strategy has given `Count' more answers and the worker has taken them.
await_answers(Peer, Key, Count) ->
    Asked = fun() -> peer:call(Peer, eid_scripted_discovery, asked, [Key]) end,
    %% Two more than `Count': the first call counted here may have returned the old answer, and the
    %% worker may not have taken the last answer yet.
    Enough = Asked() + Count + 2,
    eid_ct:eventually(fun() -> Asked() >= Enough end).

await_nodes(Peer, Nodes) ->
    eid_ct:eventually(fun() -> lists:sort(peer:call(Peer, erlang, nodes, [])) =:= lists:sort(Nodes) end).

workers(Peer) ->
    lists:reverse([Pid || {{cluster, _}, Pid, _, _} <- peer:call(Peer, supervisor, which_children, [eid_sup])]).

%% The connector handles all earlier messages before it answers this call.
peers(Peer) -> peer:call(Peer, eid_discovery_connector, info, []).

listed(Peer) -> [lists:sort(Nodes) || #{nodes := Nodes} <- peer:call(Peer, eid_discovery, info, [])].

priv_dir(Config) -> proplists:get_value(priv_dir, Config).

%% Starts a listener on 127.0.0.1 that accepts connections and then sends nothing. Returns its port
%% and a counter of the connections. The listener is linked to the caller.
silent() ->
    Self = self(),
    Accepted = counters:new(1, []),
    Silent = spawn_link(fun() ->
                                Options = [{ip, {127,0,0,1}}, {backlog, 2048}],
                                {ok, Listen} = gen_tcp:listen(0, Options),
                                {ok, Port} = inet:port(Listen),
                                Self ! {self(), Port},
                                accept(Listen, Accepted)
                        end),
    receive {Silent, Port} -> {Port, Accepted} end.

%% The sockets are active, so a socket closes when its peer closes it, although this process reads
%% no messages.
accept(Listen, Accepted) ->
    {ok, _Socket} = gen_tcp:accept(Listen),
    counters:add(Accepted, 1, 1),
    accept(Listen, Accepted).
