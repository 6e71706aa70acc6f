%% @doc Connects the nodes that the clusters list, and goes on trying. It waits for nothing itself: each
%% attempt has a process of its own ({@link eid_attempt}).
%%
%% A node that can't be reached is tried again soon at first, then ever more rarely, down to once in 3 s, at
%% random moments. At most 256 attempts are under way; those that have failed least go first, so that many bad nodes hold up no
%% good one.
-module(eid_connector).

-behaviour(gen_server).

-export([start_link/0, want/3, atom/1, info/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([peer_info/0]).

-include_lib("kernel/include/logger.hrl").

-type peer_info() :: #{clusters := [atom()], state := connected | connecting | waiting,
                       since := undefined | (Milliseconds :: integer()), error := none | string()}.
%% `clusters': those that list the node. `waiting': for the next attempt. `since' when it is connected, by
%% `erlang:system_time(millisecond)'; `undefined' if it is not. `error': why the last attempt failed.

-define(MAX_ATTEMPTS, 256).
%% Milliseconds between two attempts at a node: at first, by what factor they grow, and at most.
-define(FIRST_GAP, 20).
-define(GROWTH, 1.25).
-define(LONGEST_GAP, 3000).
%% A connection that has lasted so many milliseconds makes a new beginning: gaps grow across shorter ones, so that
%% a node which `global' has disconnected is not connected again and again at once.
-define(LASTING, 10_000).
%% An attempt that takes longer is given up: it has 5 s to look up, 2 s to dial, and OTP 7 s to connect.
-define(ATTEMPT_TIME, 20_000).
%% A node that is away for less is not worth a line in the log: it is starting.
-define(PATIENCE, 5000).

-record(peer, {state :: waiting | due | {connecting, pid()} | connected,
               gap = ?FIRST_GAP :: number(),
               timer = none :: none | reference(),    % of the next attempt
               failing = no :: no | (Since :: integer()),    % monotonic, milliseconds
               error = none :: none | eid_attempt:failure(),
               told = false :: boolean()}).    % that it fails

-record(state, {clusters = #{} :: #{atom() => #{binary() => listed}},
                peers = #{} :: #{binary() => #peer{}},    % that some cluster lists
                connected :: #{binary() => Since :: integer()},    % all, system time in milliseconds
                attempts = #{} :: #{pid() => {binary(), Timer :: reference()}},
                allowance = eid_node_atoms:new() :: eid_node_atoms:allowance()}).

%% @doc Starts it. There is one.
-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc From now on these are the nodes of the cluster. One that is not among them any more is disconnected
%% if `Prune' is true and no other cluster lists it.
-spec want(Cluster :: atom(), Nodes :: [binary()], Prune :: boolean()) -> ok.
want(Cluster, Nodes, Prune) ->
    gen_server:cast(?MODULE, {want, Cluster, Nodes, Prune}).

%% @doc The atom of a node that something answers for, unless too many names have become atoms: see
%% {@link eid_node_atoms}.
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
    ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
    ok = eid_report:open_redirects(),
    Now = erlang:system_time(millisecond),
    {ok, #state{connected = maps:from_list([{atom_to_binary(Node), Now} || Node <- nodes(connected)])}}.

%% @private
handle_call({atom, Node}, _From, State) ->
    {Answer, Allowance} = eid_node_atoms:take(Node, State#state.allowance),
    {reply, Answer, State#state{allowance = Allowance}};
handle_call(info, _From, #state{peers = Peers, connected = Connected} = State) ->
    Wanted = maps:map(fun(Node, Peer) -> peer_info(Node, Peer, State) end, Peers),
    Others = maps:map(fun(_Node, Since) -> #{clusters => [], state => connected, since => Since, error => none} end,
                      Connected),
    {reply, maps:merge(Others, Wanted), State}.

peer_info(Node, #peer{error = Error} = Peer, #state{clusters = Clusters, connected = Connected}) ->
    #{clusters => [Cluster || {Cluster, Nodes} <- maps:to_list(Clusters), is_map_key(Node, Nodes)],
      state => case Peer#peer.state of
                   {connecting, _} -> connecting;
                   connected -> connected;
                   _ -> waiting
               end,
      since => maps:get(Node, Connected, undefined),
      error => case Error of
                   none -> none;
                   _ -> eid_attempt:format(Error)
               end}.

%% @private
handle_cast({want, Cluster, Nodes, Prune}, #state{clusters = Clusters} = State) ->
    Listed = maps:from_keys(Nodes, listed),
    Before = maps:get(Cluster, Clusters, #{}),
    Wanting = State#state{clusters = Clusters#{Cluster => Listed}},
    Gone = [Node || Node <- maps:keys(maps:without(Nodes, Before)), not is_wanted(Node, Wanting)],
    New = [Node || Node <- Nodes, not is_map_key(Node, State#state.peers)],
    {noreply, start_due(lists:foldl(fun begin_peer/2, drop(Gone, Prune, Wanting), New))}.

is_wanted(Node, #state{clusters = Clusters}) ->
    lists:any(fun(Nodes) -> is_map_key(Node, Nodes) end, maps:values(Clusters)).

%% An attempt that is under way goes on; what comes of it is nobody's business any more.
drop(Gone, Prune, #state{peers = Peers, connected = Connected} = State) ->
    [begin
         #peer{timer = Timer} = maps:get(Node, Peers),
         cancel(Timer),
         ok = eid_report:restore(Node),
         Prune andalso is_map_key(Node, Connected) andalso erlang:disconnect_node(binary_to_existing_atom(Node))
     end || Node <- Gone],
    State#state{peers = maps:without(Gone, Peers)}.

%% While it is listed, this process tells that it can't be reached. Whoever else sends it a message, `global' at the end of a
%% connection for one, makes an attempt that would be told a second time.
begin_peer(Node, #state{peers = Peers, connected = Connected} = State) ->
    ok = eid_report:redirect(Node),
    PeerState = case Connected of
                    #{Node := _} -> connected;
                    #{} -> due
                end,
    State#state{peers = Peers#{Node => #peer{state = PeerState}}}.

%% @private
handle_info({nodeup, Node, _Info}, State) ->
    Name = atom_to_binary(Node),
    Connected = (State#state.connected)#{Name => erlang:system_time(millisecond)},
    {noreply, connected(Name, State#state{connected = Connected})};
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
    {noreply, start_due(ended(Node, Attempt, eid_attempt:outcome(Exit), State#state{attempts = Rest}))};
handle_info(_Unexpected, State) ->
    {noreply, State}.

connected(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{timer = Timer, told = Told} = Peer} ->
            cancel(Timer),
            Told andalso ?LOG_NOTICE("Connected to ~ts, which could not be reached before", [Node]),
            State#state{peers = Peers#{Node := Peer#peer{state = connected, timer = none, failing = no, error = none,
                                                         told = false}}};
        #{} -> State
    end.

disconnected(Node, #state{peers = Peers, connected = Connected} = State) ->
    {Since, Others} = case maps:take(Node, Connected) of
                          error -> {0, Connected};
                          Taken -> Taken
                      end,
    Left = State#state{connected = Others},
    case Peers of
        #{Node := #peer{state = connected, gap = Gap} = Peer} ->
            NewGap = case erlang:system_time(millisecond) - Since < ?LASTING of
                         true -> Gap;
                         false -> ?FIRST_GAP
                     end,
            wait(Node, Peer#peer{gap = NewGap}, Left);
        #{} -> Left
    end.

due(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = waiting} = Peer} ->
            State#state{peers = Peers#{Node := Peer#peer{state = due, timer = none}}};
        #{} -> State
    end.

%% The next attempt after a while, and the one after it later still.
wait(Node, #peer{gap = Gap} = Peer, #state{peers = Peers} = State) ->
    Wait = round(Gap * (0.5 + rand:uniform() / 2)),
    Timer = erlang:send_after(Wait, self(), {due, Node}),
    Waiting = Peer#peer{state = waiting, timer = Timer, gap = min(?LONGEST_GAP, Gap * ?GROWTH)},
    State#state{peers = Peers#{Node := Waiting}}.

start_due(#state{peers = Peers, attempts = Attempts} = State) ->
    Due = lists:sort([{Gap, Node} || {Node, #peer{state = due, gap = Gap}} <- maps:to_list(Peers)]),
    Turns = max(0, ?MAX_ATTEMPTS - map_size(Attempts)),
    lists:foldl(fun({_Gap, Node}, Now) -> attempt(Node, Now) end, State, lists:sublist(Due, Turns)).

attempt(Node, #state{peers = Peers, attempts = Attempts} = State) ->
    {Attempt, _Monitor} = eid_attempt:start_monitor(Node),
    Timer = erlang:send_after(?ATTEMPT_TIME, self(), {give_up, Attempt}),
    #{Node := Peer} = Peers,
    State#state{peers = Peers#{Node := Peer#peer{state = {connecting, Attempt}}},
                attempts = Attempts#{Attempt => {Node, Timer}}}.

ended(Node, Attempt, Outcome, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{state = {connecting, Attempt}} = Peer} ->
            case Outcome of
                %% The message about it is on its way, or it has gone again already.
                connected -> wait(Node, Peer, State);
                {failed, Failure} -> wait(Node, failed(Node, Failure, Peer), State)
            end;
        #{} -> State
    end.

failed(Node, Failure, #peer{failing = Since, told = Told} = Peer) ->
    Now = erlang:monotonic_time(millisecond),
    case Since of
        no -> Peer#peer{failing = Now, error = Failure};
        _ when not Told, Now - Since >= ?PATIENCE ->
            ?LOG_WARNING("No connection to ~ts, which is tried again and again: ~ts", [Node, eid_attempt:format(Failure)]),
            Peer#peer{error = Failure, told = true};
        _ -> Peer#peer{error = Failure}
    end.

cancel(none) -> ok;
cancel(Timer) ->
    _ = erlang:cancel_timer(Timer),
    ok.
