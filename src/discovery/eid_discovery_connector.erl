%% @doc Connects the nodes that the clusters list, and goes on trying. It waits for nothing itself: each
%% attempt has a process of its own ({@link eid_discovery_attempt}).
%%
%% A node that can't be reached is tried again soon at first, then ever more rarely, down to once in 3 s, at
%% random moments. One that has turned this node away is tried once a minute in the end: somebody has to mend that, and the
%% node would log each attempt. At most 256 attempts are under way, and as many more at nodes that have not failed yet, so that
%% bad nodes hold up no good one.
-module(eid_discovery_connector).

-behaviour(gen_server).

-export([start_link/0, want/3, atom/1, info/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([peer_info/0]).

-include_lib("kernel/include/logger.hrl").

-type peer_info() :: #{clusters := [atom()], state := connected | connecting | waiting,
                       since := undefined | (Milliseconds :: integer()), error := none | string()}.
%% `clusters': those that list the node. `waiting': for the next attempt. `since' when it is connected, by
%% `erlang:system_time(millisecond)'; `undefined' if it is not. `error': why the last attempt failed.

-define(MAX_ATTEMPTS, 256).
-define(MAX_FIRST_ATTEMPTS, 256).
%% Milliseconds between two attempts at a node: at first, by what factor they grow, and at most.
-define(FIRST_GAP, 20).
-define(GROWTH, 1.25).
-define(LONGEST_GAP, 3000).
%% The same for a node that has turned this one away.
-define(TURNED_AWAY_GROWTH, 2).
-define(TURNED_AWAY_GAP, 60_000).
%% A connection that has lasted so many milliseconds makes a new beginning: gaps grow across shorter ones, so that
%% a node which `global' has disconnected is not connected again and again at once.
-define(LASTING, 10_000).
%% An attempt that takes longer is given up: it has 5 s to look up, 2 s to dial, and OTP 7 s to connect.
-define(ATTEMPT_TIME, 20_000).
%% Milliseconds in which a connection is new.
-define(NEW_CONNECTION, 500).
%% A node that is away for less is not worth a line in the log: it is starting.
-define(PATIENCE, 5000).

-record(peer, {state :: waiting | {due, Since :: integer()} | {connecting, pid()} | connected,    % monotonic, native
               gap = ?FIRST_GAP :: number(),
               timer = none :: none | reference(),    % of the next attempt
               failing = no :: no | (Since :: integer()),    % monotonic, milliseconds
               error = none :: none | eid_discovery_attempt:failure(),
               told = false :: boolean()}).    % that it fails

-record(connection, {since :: integer(),    % system time, milliseconds
                     began :: integer()}).    % monotonic, milliseconds

-record(state, {clusters = #{} :: #{atom() => #{Node :: binary() => eid_routes:target() | default}},
                peers = #{} :: #{Node :: binary() => #peer{}},    % that some cluster lists
                connections :: #{Node :: binary() => #connection{}},    % all
                attempts = #{} :: #{pid() => {Node :: binary(), Timer :: reference()}},
                spared = #{} :: #{atom() => #{Node :: binary() => spared}},    % that a cluster will have disconnected
                unwanted = #{} :: #{Node :: binary() => unwanted},    % to be disconnected if the attempt succeeds
                routes = #{} :: #{Node :: binary() => eid_routes:target()},
                told_no_name = false :: boolean(),
                allowance = eid_discovery_atoms:new() :: eid_discovery_atoms:allowance()}).

%% @doc Starts it. There is one.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc From now on these are the nodes of the cluster, and how to reach them. One that is not among them any more is
%% disconnected if `Prune' is true and no other cluster lists it; with `later', the next time that it is true.
-spec want(Cluster :: atom(), [{Node :: binary(), eid_routes:target() | default}], Prune :: boolean() | later) -> ok.
want(Cluster, Peers, Prune) ->
    gen_server:cast(?MODULE, {want, Cluster, Peers, Prune}).

%% @doc The atom of a node that something answers for, unless too many names have become atoms: see
%% {@link eid_discovery_atoms}.
-spec atom(Node :: binary()) -> {ok, node()} | {error, too_many_names}.
atom(Node) ->
    gen_server:call(?MODULE, {atom, Node}, infinity).

%% @doc Every node that some cluster lists, and every other one that is connected. Empty while the
%% application does not run.
-spec info() -> #{Node :: binary() => peer_info()}.
info() ->
    try gen_server:call(?MODULE, info)
    catch exit:_ -> #{}
    end.

%% @private
init([]) ->
    %% The routes that it has set are taken back, and its attempts ended.
    process_flag(trap_exit, true),
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    ok = eid_setup_log:open_redirects(),
    ok = eid_settings:set_discovered(#{}),
    {ok, #state{connections = maps:from_list([{atom_to_binary(Node), connection()} || Node <- nodes(connected)])}}.

connection() ->
    #connection{since = erlang:system_time(millisecond), began = erlang:monotonic_time(millisecond)}.

%% @private
terminate(_Reason, #state{attempts = Attempts}) ->
    _ = [exit(Attempt, kill) || Attempt <- maps:keys(Attempts)],
    eid_settings:set_discovered(#{}).

%% @private
handle_call({atom, Node}, _From, State) ->
    {Answer, Allowance} = eid_discovery_atoms:take(Node, State#state.allowance),
    {reply, Answer, State#state{allowance = Allowance}};
handle_call(info, _From, #state{peers = Peers, connections = Connections} = State) ->
    Wanted = maps:map(fun(Node, Peer) -> peer_info(Node, Peer, State) end, Peers),
    Others = maps:map(fun(_Node, #connection{since = Since}) ->
                              #{clusters => [], state => connected, since => Since, error => none}
                      end, Connections),
    {reply, maps:merge(Others, Wanted), State}.

peer_info(Node, #peer{error = Error} = Peer, #state{clusters = Clusters, connections = Connections}) ->
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

%% @private
handle_cast({want, Cluster, Peers, Prune}, #state{clusters = Clusters} = State) ->
    Listed = maps:remove(atom_to_binary(node()), maps:from_list(Peers)),
    Before = maps:get(Cluster, Clusters, #{}),
    Wanting = set_routes(State#state{clusters = Clusters#{Cluster => Listed}}),
    Gone = [Node || Node <- maps:keys(Before), not is_wanted(Node, Wanting)],
    New = [Node || Node <- maps:keys(Listed), not is_map_key(Node, State#state.peers)],
    Dropped = lists:foldl(fun(Node, Now) -> drop(Node, Prune =:= true, Now) end, Wanting, Gone),
    {noreply, start_due(lists:foldl(fun begin_peer/2, spare(Cluster, Gone, Prune, Dropped), New))};
handle_cast(_Unexpected, State) ->
    {noreply, State}.

spare(Cluster, Gone, later, #state{spared = Spared, connections = Connections} = State) ->
    Connected = maps:with(maps:keys(Connections), maps:merge(maps:get(Cluster, Spared, #{}), maps:from_keys(Gone, spared))),
    State#state{spared = Spared#{Cluster => Connected}};
spare(Cluster, _Gone, Prune, #state{spared = Spared} = State) ->
    Due = [Node || Node <- maps:keys(maps:get(Cluster, Spared, #{})), Prune, not is_wanted(Node, State)],
    _ = [disconnect(Node, State) || Node <- Due],
    State#state{spared = maps:remove(Cluster, Spared)}.

is_wanted(Node, #state{clusters = Clusters}) ->
    lists:any(fun(Nodes) -> is_map_key(Node, Nodes) end, maps:values(Clusters)).

%% Where two clusters know different ways to a node, that of the first one by name is taken.
set_routes(#state{clusters = Clusters, routes = Before} = State) ->
    Merged = lists:foldr(fun({_Name, Nodes}, Routes) ->
                                 maps:merge(Routes, maps:filter(fun(_Node, Target) -> Target =/= default end, Nodes))
                         end, #{}, lists:sort(maps:to_list(Clusters))),
    Merged =:= Before orelse eid_settings:set_discovered(Merged),
    State#state{routes = Merged}.

drop(Node, Prune, #state{peers = Peers, unwanted = Unwanted} = State) ->
    case maps:take(Node, Peers) of
        {#peer{timer = Timer, state = PeerState}, Others} ->
            cancel(Timer),
            ok = eid_setup_log:restore(Node, self()),
            case PeerState of
                {connecting, _} when Prune -> State#state{peers = Others, unwanted = Unwanted#{Node => unwanted}};
                _ ->
                    Prune andalso disconnect(Node, State),
                    State#state{peers = Others}
            end;
        error -> State    % it is this node
    end.

disconnect(Node, #state{connections = Connections}) ->
    is_map_key(Node, Connections) andalso erlang:disconnect_node(binary_to_existing_atom(Node)).

%% While it is listed, this process tells that it can't be reached. Whoever else sends it a message, `global' at the end of a
%% connection for one, makes an attempt that would be told a second time.
begin_peer(Node, #state{peers = Peers, connections = Connections, unwanted = Unwanted} = State) ->
    ok = eid_setup_log:redirect(Node),
    PeerState = case Connections of
                    #{Node := _} -> connected;
                    #{} -> {due, erlang:monotonic_time()}
                end,
    State#state{peers = Peers#{Node => #peer{state = PeerState}}, unwanted = maps:remove(Node, Unwanted)}.

%% @private
handle_info({nodeup, Node, _Info}, State) when Node =:= node() ->
    %% It has got its name, and may have been listed as somebody else.
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
    ok = eid_setup_log:restore(Node, Attempt),
    Outcome = eid_discovery_attempt:outcome(Exit),
    Left = end_unwanted(Node, Outcome, State#state{attempts = Rest}),
    {noreply, start_due(ended(Node, Attempt, Outcome, Left))};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% Not at once: OTP's `rex' sends a message to each new node, and would connect it again.
end_unwanted(Node, connected, #state{unwanted = Unwanted} = State) ->
    _ = [erlang:send_after(?NEW_CONNECTION, self(), {disconnect, Node}) || is_map_key(Node, Unwanted)],
    State;
end_unwanted(Node, {failed, _}, #state{unwanted = Unwanted} = State) ->
    State#state{unwanted = maps:remove(Node, Unwanted)}.

connected(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{timer = Timer, told = Told} = Peer} ->
            cancel(Timer),
            Told andalso ?LOG_NOTICE("Connected to ~ts, which could not be reached before", [Node]),
            State#state{peers = Peers#{Node := Peer#peer{state = connected, timer = none, failing = no, error = none,
                                                         told = false}}};
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
            NewGap = case erlang:monotonic_time(millisecond) - Connection#connection.began < ?LASTING of
                         true -> Gap;
                         false -> ?FIRST_GAP
                     end,
            wait(Node, Peer#peer{gap = NewGap}, Left);
        #{} -> Left
    end.

due(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = waiting} = Peer} ->
            State#state{peers = Peers#{Node := Peer#peer{state = {due, erlang:monotonic_time()}, timer = none}}};
        #{} -> State
    end.

%% The next attempt after a while, and the one after it later still.
wait(Node, #peer{gap = Gap, error = Error} = Peer, #state{peers = Peers} = State) ->
    Longest = eid_config:tuning(longest_gap, ?LONGEST_GAP),
    NextGap = case eid_discovery_attempt:is_turned_away(Error) of
                  true -> min(?TURNED_AWAY_GAP, max(Longest, Gap * ?TURNED_AWAY_GROWTH));
                  false -> min(Longest, Gap * ?GROWTH)
              end,
    Wait = round(Gap * (0.5 + rand:uniform() / 2)),
    Timer = erlang:send_after(Wait, self(), {due, Node}),
    State#state{peers = Peers#{Node := Peer#peer{state = waiting, timer = Timer, gap = NextGap}}}.

%% Those that have not failed yet go first, then those that have waited longest.
start_due(#state{peers = Peers, attempts = Attempts} = State) ->
    Due = lists:sort([{Since, Node, Gap} || {Node, #peer{state = {due, Since}, gap = Gap}} <- maps:to_list(Peers)]),
    {First, Again} = lists:partition(fun({_Since, _Node, Gap}) -> Gap =:= ?FIRST_GAP end, Due),
    Turns = eid_config:tuning(max_attempts, ?MAX_ATTEMPTS) - map_size(Attempts),
    FirstTurns = Turns + eid_config:tuning(max_first_attempts, ?MAX_FIRST_ATTEMPTS),
    lists:foldl(fun({_Since, Node, _Gap}, Now) -> attempt(Node, Now) end, State,
                lists:sublist(First, max(0, FirstTurns))
                ++ lists:sublist(Again, max(0, Turns - length(First)))).

attempt(Node, #state{peers = Peers, attempts = Attempts} = State) ->
    {Attempt, _Monitor} = eid_discovery_attempt:start_monitor(Node),
    Timer = erlang:send_after(?ATTEMPT_TIME, self(), {give_up, Attempt}),
    #{Node := Peer} = Peers,
    State#state{peers = Peers#{Node := Peer#peer{state = {connecting, Attempt}}},
                attempts = Attempts#{Attempt => {Node, Timer}}}.

ended(Node, Attempt, Outcome, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = {connecting, Attempt}} = Peer} ->
            case Outcome of
                %% The message about it is on its way, or it has gone again already.
                connected -> wait(Node, Peer, State#state{told_no_name = false});
                {failed, no_own_name} -> wait(Node, Peer#peer{error = no_own_name}, tell_no_name(State));
                {failed, Failure} -> wait(Node, failed(Node, Failure, Peer), State)
            end;
        #{} -> State
    end.

%% It is the same for all nodes.
tell_no_name(#state{told_no_name = true} = State) -> State;
tell_no_name(State) ->
    ?LOG_WARNING("No node is connected: ~ts", [eid_discovery_attempt:format(no_own_name)]),
    State#state{told_no_name = true}.

failed(Node, Failure, #peer{failing = Since, told = Told} = Peer) ->
    Now = erlang:monotonic_time(millisecond),
    Patience = eid_config:tuning(patience, ?PATIENCE),
    case Since of
        no -> Peer#peer{failing = Now, error = Failure};
        _ when not Told, Now - Since >= Patience ->
            ?LOG_WARNING("No connection to ~ts, which is tried again and again: ~ts", [Node, eid_discovery_attempt:format(Failure)]),
            Peer#peer{error = Failure, told = true};
        _ -> Peer#peer{error = Failure}
    end.

cancel(none) -> ok;
cancel(Timer) ->
    _ = erlang:cancel_timer(Timer),
    ok.
