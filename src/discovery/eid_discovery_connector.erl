%% @doc Connects the nodes that the clusters list, and keeps trying. It never waits: each attempt
%% has a process ({@link eid_discovery_attempt}).
%%
%% Retries back off from 20 ms to 3 s, at random moments. For a node that has turned this node away
%% they back off to one minute, because an administrator must act and the node would log each
%% attempt. There are 256 slots for all attempts, plus 256 for nodes that have not failed yet.
-module(eid_discovery_connector).

-behaviour(gen_server).

-export([start_link/0, want/3, atom/1, info/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([peer_info/0]).

-include_lib("kernel/include/logger.hrl").

-type peer_info() :: #{clusters := [atom()], state := connected | connecting | waiting,
                       since := undefined | (Milliseconds :: integer()), error := none | string()}.
%% `clusters' list the node. `waiting': for the next attempt. `since': the time of the connection,
%% by `erlang:system_time(millisecond)'. `error': why the last attempt failed.

-define(MAX_ATTEMPTS, 256).
-define(MAX_FIRST_ATTEMPTS, 256).
%% Backoff of the attempts at a node: first gap in milliseconds, growth, longest gap.
-define(FIRST_GAP, 20).
-define(GROWTH, 1.25).
-define(LONGEST_GAP, 3000).
%% The same for a node that has turned this node away.
-define(TURNED_AWAY_GROWTH, 2).
-define(TURNED_AWAY_GAP, 60_000).
%% Milliseconds after which a connection resets the backoff. Shorter connections keep it, so that a
%% node which `global' disconnects is not connected again at once.
-define(LASTING, 10_000).
%% Milliseconds of an attempt: 5 s to look up, 2 s to dial, 7 s for OTP to connect, and a reserve.
-define(ATTEMPT_TIME, 20_000).
%% Milliseconds in which a connection is new.
-define(NEW_CONNECTION, 500).
%% Milliseconds until a failing node is logged. A node that starts may fail for less.
-define(PATIENCE, 5000).

-record(peer, {state :: waiting
                      | {due, Since :: integer()}    % monotonic, native
                      | {connecting, pid()}
                      | connected,
               gap = ?FIRST_GAP :: number(),
               timer = none :: none | reference(),    % of the next attempt
               failing = no :: no | (Since :: integer()),    % monotonic, milliseconds
               error = none :: none | eid_discovery_attempt:failure(),
               logged = false :: boolean()}).    % that it fails

-record(connection, {since :: integer(),    % system time, milliseconds
                     began :: integer()}).    % monotonic, milliseconds

-type targets() :: #{Node :: binary() => eid_routing:target() | default}.
-type nodes_set() :: #{Node :: binary() => []}.

-record(state, {clusters = #{} :: #{atom() => targets()},
                peers = #{} :: #{Node :: binary() => #peer{}},    % that some cluster lists
                connections :: #{Node :: binary() => #connection{}},    % all
                attempts = #{} :: #{pid() => {Node :: binary(), Timer :: reference()}},
                spared = #{} :: #{atom() => nodes_set()},    % to disconnect at the next prune
                unwanted = #{} :: nodes_set(),    % to disconnect if the attempt succeeds
                routes = #{} :: #{Node :: binary() => eid_routing:target()},
                logged_no_name = false :: boolean(),
                allowance = eid_discovery_atoms:new() :: eid_discovery_atoms:allowance()}).

%% @doc Starts the only connector.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Replaces the nodes of the cluster, with their routes. If a node left the list and no other
%% cluster lists it, `Prune' disconnects it. With `later' this happens at the next call with `true'.
-spec want(Cluster :: atom(), [{Node :: binary(), eid_routing:target() | default}],
           Prune :: boolean() | later) -> ok.
want(Cluster, Peers, Prune) ->
    gen_server:cast(?MODULE, {want, Cluster, Peers, Prune}).

%% @doc The atom of a node that has answered a dial, within the limits of
%% {@link eid_discovery_atoms}.
-spec atom(Node :: binary()) -> {ok, node()} | {error, too_many_names}.
atom(Node) -> gen_server:call(?MODULE, {atom, Node}, infinity).

%% @doc Every node that some cluster lists, and every other connected node. Empty while the
%% application does not run.
-spec info() -> #{Node :: binary() => peer_info()}.
info() ->
    try gen_server:call(?MODULE, info)
    catch exit:_ -> #{}
    end.

init([]) ->
    %% For terminate/2, which removes the routes and ends the attempts.
    process_flag(trap_exit, true),
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    ok = eid_failures:open(),
    ok = eid_routing:set_discovered(#{}),
    {ok, #state{connections = maps:from_list([{atom_to_binary(Node), connection()}
                                              || Node <- nodes(connected)])}}.

connection() ->
    #connection{since = erlang:system_time(millisecond),
                began = erlang:monotonic_time(millisecond)}.

terminate(_Reason, #state{attempts = Attempts}) ->
    _ = [exit(Attempt, kill) || Attempt <- maps:keys(Attempts)],
    eid_routing:set_discovered(#{}).

handle_call({atom, Node}, _From, State) ->
    {Answer, Allowance} = eid_discovery_atoms:take(Node, State#state.allowance),
    {reply, Answer, State#state{allowance = Allowance}};
handle_call(info, _From, #state{peers = Peers, connections = Connections} = State) ->
    Wanted = maps:map(fun(Node, Peer) -> peer_info(Node, Peer, State) end, Peers),
    Others = maps:map(fun(_Node, #connection{since = Since}) ->
                              #{clusters => [], state => connected, since => Since,
                                error => none}
                      end, Connections),
    {reply, maps:merge(Others, Wanted), State}.

peer_info(Node, #peer{error = Error} = Peer,
          #state{clusters = Clusters, connections = Connections}) ->
    #{clusters => [Cluster || {Cluster, Nodes} <- maps:to_list(Clusters), is_map_key(Node, Nodes)],
      state => case Peer#peer.state of
                   {connecting, _} -> connecting;
                   connected -> connected;
                   _ -> waiting
               end,
      since => case Connections of
                   #{Node := #connection{since = Since}} -> Since;
                   #{} -> undefined
               end,
      error => case Error of
                   none -> none;
                   _ -> eid_discovery_attempt:format(Error)
               end}.

handle_cast({want, Cluster, Peers, Prune}, #state{clusters = Clusters} = State) ->
    Listed = maps:remove(atom_to_binary(node()), maps:from_list(Peers)),
    Before = maps:get(Cluster, Clusters, #{}),
    Wanting = set_routes(State#state{clusters = Clusters#{Cluster => Listed}}),
    Gone = [Node || Node <- maps:keys(Before), not is_wanted(Node, Wanting)],
    New = [Node || Node <- maps:keys(Listed), not is_map_key(Node, State#state.peers)],
    Dropped = lists:foldl(fun(Node, Now) -> drop(Node, Prune =:= true, Now) end, Wanting, Gone),
    Spared = spare(Cluster, Gone, Prune, Dropped),
    {noreply, start_due(lists:foldl(fun begin_peer/2, Spared, New))};
handle_cast(_Unexpected, State) ->
    {noreply, State}.

spare(Cluster, Gone, later, #state{spared = Spared, connections = Connections} = State) ->
    All = maps:merge(maps:get(Cluster, Spared, #{}), maps:from_keys(Gone, [])),
    State#state{spared = Spared#{Cluster => maps:with(maps:keys(Connections), All)}};
spare(Cluster, _Gone, Prune, #state{spared = Spared} = State) ->
    Due = [Node || Node <- maps:keys(maps:get(Cluster, Spared, #{})), Prune,
                   not is_wanted(Node, State)],
    _ = [disconnect(Node, State) || Node <- Due],
    State#state{spared = maps:remove(Cluster, Spared)}.

is_wanted(Node, #state{clusters = Clusters}) ->
    lists:any(fun(Nodes) -> is_map_key(Node, Nodes) end, maps:values(Clusters)).

%% If two clusters have different routes to a node, the first cluster by name wins.
set_routes(#state{clusters = Clusters, routes = Before} = State) ->
    IsRoute = fun(_Node, Target) -> Target =/= default end,
    Merged = lists:foldr(fun({_Name, Nodes}, Routes) ->
                                 maps:merge(Routes, maps:filter(IsRoute, Nodes))
                         end, #{}, lists:sort(maps:to_list(Clusters))),
    Merged =:= Before orelse eid_routing:set_discovered(Merged),
    State#state{routes = Merged}.

drop(Node, Prune, #state{peers = Peers, unwanted = Unwanted} = State) ->
    case maps:take(Node, Peers) of
        {#peer{timer = Timer, state = PeerState}, Others} ->
            cancel(Timer),
            ok = eid_failures:unsubscribe(Node, self()),
            case PeerState of
                {connecting, _} when Prune ->
                    State#state{peers = Others, unwanted = Unwanted#{Node => []}};
                _ ->
                    Prune andalso disconnect(Node, State),
                    State#state{peers = Others}
            end;
        error -> State    % it is this node
    end.

disconnect(Node, #state{connections = Connections}) ->
    is_map_key(Node, Connections)
        andalso erlang:disconnect_node(binary_to_existing_atom(Node)).

%% While a cluster lists the node, the connector logs its failures. It subscribes to them, because
%% messages of other processes to the node, such as those of `global' after a connection, make
%% attempts that would be logged as well.
begin_peer(Node, #state{peers = Peers, connections = Connections, unwanted = Unwanted} = State) ->
    ok = eid_failures:subscribe(Node),
    PeerState = case Connections of
                    #{Node := _} -> connected;
                    #{} -> {due, erlang:monotonic_time()}
                end,
    State#state{peers = Peers#{Node => #peer{state = PeerState}},
                unwanted = maps:remove(Node, Unwanted)}.

handle_info({nodeup, Node, _Info}, State) when Node =:= node() ->
    %% This node got its name. Until now it was listed as a peer.
    {noreply, drop(atom_to_binary(Node), false, State)};
handle_info({nodeup, Node, _Info}, #state{connections = Connections} = State) ->
    Name = atom_to_binary(Node),
    {noreply, connected(Name, State#state{connections = Connections#{Name => connection()}})};
handle_info({disconnect, Node}, #state{unwanted = Unwanted} = State) ->
    is_map_key(Node, Unwanted) andalso disconnect(Node, State),
    {noreply, State#state{unwanted = maps:remove(Node, Unwanted)}};
handle_info({nodedown, Node, _Info}, State) ->
    {noreply, start_due(disconnected(atom_to_binary(Node), State))};
handle_info({due, Node}, State) ->
    {noreply, start_due(due(Node, State))};
handle_info({give_up, Attempt}, State) ->
    exit(Attempt, kill),
    {noreply, State};
handle_info({'DOWN', _Monitor, process, Attempt, Exit}, #state{attempts = Attempts} = State)
  when is_map_key(Attempt, Attempts) ->
    {{Node, Timer}, Rest} = maps:take(Attempt, Attempts),
    cancel(Timer),
    ok = eid_failures:unsubscribe(Node, Attempt),
    Outcome = eid_discovery_attempt:outcome(Exit),
    Left = end_unwanted(Node, Outcome, State#state{attempts = Rest}),
    {noreply, start_due(ended(Node, Attempt, Outcome, Left))};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% After a delay: OTP's `rex' sends a message to each new node, and would connect it again.
end_unwanted(Node, connected, #state{unwanted = Unwanted} = State) ->
    _ = [erlang:send_after(?NEW_CONNECTION, self(), {disconnect, Node})
         || is_map_key(Node, Unwanted)],
    State;
end_unwanted(Node, {failed, _}, #state{unwanted = Unwanted} = State) ->
    State#state{unwanted = maps:remove(Node, Unwanted)}.

connected(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{timer = Timer, logged = Logged} = Peer} ->
            cancel(Timer),
            Logged
                andalso ?LOG_NOTICE("Connected to ~ts, which could not be reached before", [Node]),
            State#state{peers = Peers#{Node := Peer#peer{state = connected, timer = none,
                                                         failing = no, error = none,
                                                         logged = false}}};
        #{} -> State
    end.

disconnected(Node, #state{peers = Peers, connections = Connections} = State) ->
    {Connection, Others} = case maps:take(Node, Connections) of
                               error -> {connection(), Connections};
                               Taken -> Taken
                           end,
    Left = State#state{connections = Others},
    case Peers of
        #{Node := #peer{state = connected, gap = Gap} = Peer} ->
            Lasted = erlang:monotonic_time(millisecond) - Connection#connection.began,
            NewGap = case Lasted < ?LASTING of
                         true -> Gap;
                         false -> ?FIRST_GAP
                     end,
            wait(Node, Peer#peer{gap = NewGap}, Left);
        #{} -> Left
    end.

due(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = waiting} = Peer} ->
            Due = Peer#peer{state = {due, erlang:monotonic_time()}, timer = none},
            State#state{peers = Peers#{Node := Due}};
        #{} -> State
    end.

%% Schedules the next attempt, with backoff.
wait(Node, #peer{gap = Gap, error = Error} = Peer, #state{peers = Peers} = State) ->
    Longest = eid_config:tuning(longest_gap, ?LONGEST_GAP),
    NextGap = case eid_discovery_attempt:is_turned_away(Error) of
                  true -> min(?TURNED_AWAY_GAP, max(Longest, Gap * ?TURNED_AWAY_GROWTH));
                  false -> min(Longest, Gap * ?GROWTH)
              end,
    Wait = round(Gap * (0.5 + rand:uniform() / 2)),
    Timer = erlang:send_after(Wait, self(), {due, Node}),
    State#state{peers = Peers#{Node := Peer#peer{state = waiting, timer = Timer, gap = NextGap}}}.

%% Nodes that have not failed yet go first, then the nodes that have waited longest.
start_due(#state{peers = Peers, attempts = Attempts} = State) ->
    Due = lists:sort([{Since, Node, Gap}
                      || {Node, #peer{state = {due, Since}, gap = Gap}} <- maps:to_list(Peers)]),
    {First, Again} = lists:partition(fun({_Since, _Node, Gap}) -> Gap =:= ?FIRST_GAP end, Due),
    Slots = eid_config:tuning(max_attempts, ?MAX_ATTEMPTS) - map_size(Attempts),
    FirstSlots = Slots + eid_config:tuning(max_first_attempts, ?MAX_FIRST_ATTEMPTS),
    lists:foldl(fun({_Since, Node, _Gap}, Now) -> attempt(Node, Now) end, State,
                lists:sublist(First, max(0, FirstSlots))
                ++ lists:sublist(Again, max(0, Slots - length(First)))).

attempt(Node, #state{peers = Peers, attempts = Attempts} = State) ->
    {Attempt, _Monitor} = eid_discovery_attempt:start_monitor(Node, fun ?MODULE:atom/1),
    Timer = erlang:send_after(?ATTEMPT_TIME, self(), {give_up, Attempt}),
    #{Node := Peer} = Peers,
    State#state{peers = Peers#{Node := Peer#peer{state = {connecting, Attempt}}},
                attempts = Attempts#{Attempt => {Node, Timer}}}.

ended(Node, Attempt, Outcome, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = {connecting, Attempt}} = Peer} ->
            case Outcome of
                %% The message nodeup follows, or the node has gone again already.
                connected -> wait(Node, Peer, State#state{logged_no_name = false});
                {failed, no_own_name} ->
                    wait(Node, Peer#peer{error = no_own_name}, log_no_name(State));
                {failed, Failure} -> wait(Node, failed(Node, Failure, Peer), State)
            end;
        #{} -> State
    end.

%% One line for all nodes.
log_no_name(#state{logged_no_name = true} = State) -> State;
log_no_name(State) ->
    ?LOG_WARNING("No node is connected: ~ts", [eid_discovery_attempt:format(no_own_name)]),
    State#state{logged_no_name = true}.

failed(Node, Failure, #peer{failing = Since, logged = Logged} = Peer) ->
    Now = erlang:monotonic_time(millisecond),
    Patience = eid_config:tuning(patience, ?PATIENCE),
    case Since of
        no -> Peer#peer{failing = Now, error = Failure};
        _ when not Logged, Now - Since >= Patience ->
            ?LOG_WARNING("No connection to ~ts, which is tried again and again: ~ts",
                         [Node, eid_discovery_attempt:format(Failure)]),
            Peer#peer{error = Failure, logged = true};
        _ -> Peer#peer{error = Failure}
    end.

cancel(none) -> ok;
cancel(Timer) ->
    _ = erlang:cancel_timer(Timer),
    ok.
