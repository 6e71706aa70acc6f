%% @doc Measures every other second how long a message takes to each connected node and back.
%%
%% It sends the same question as `net_adm:ping/1', which every node answers, but it never connects
%% and never waits. At most one question to each node is under way.
-module(eid_round_trips).

-behaviour(gen_server).

-export([start_link/0, all/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(PERIOD, 2000).

-record(trip, {last = unknown :: unknown | microseconds(),
               asked = no :: no | {reference(), At :: integer()}}).    % monotonic, native units

-record(state, {trips :: #{node() => #trip{}},
                asked = #{} :: #{reference() => node()}}).

-type microseconds() :: non_neg_integer().

%% @doc Starts the only process, while the status page is on.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The last round trip to each visible node that has answered, in microseconds. If the next
%% answer already takes longer, it is the time until now. Empty while no process measures.
-spec all() -> #{node() => microseconds()}.
all() ->
    try gen_server:call(?MODULE, all)
    catch exit:_ -> #{}
    end.

init([]) ->
    %% A hidden node may be a C node such as erl_call, which would take the question for an answer.
    ok = net_kernel:monitor_nodes(true, [{node_type, visible}]),
    self() ! ask,
    {ok, #state{trips = maps:from_keys(nodes(), #trip{})}}.

handle_call(all, _From, #state{trips = Trips} = State) ->
    Now = erlang:monotonic_time(),
    {reply, maps:from_list([{Node, shown(Trip, Now)}
                            || {Node, #trip{last = Last} = Trip} <- maps:to_list(Trips),
                               Last =/= unknown]), State}.

shown(#trip{last = Last, asked = no}, _Now) -> Last;
shown(#trip{last = Last, asked = {_Ref, Asked}}, Now) -> max(Last, microseconds(Asked, Now)).

handle_cast(_Unexpected, State) -> {noreply, State}.

handle_info(ask, #state{trips = Trips} = State) ->
    _ = erlang:send_after(?PERIOD, self(), ask),
    {noreply, lists:foldl(fun ask/2, State, maps:keys(Trips))};
handle_info({Ref, _Answer}, #state{asked = Asked} = State) when is_map_key(Ref, Asked) ->
    {Node, Rest} = maps:take(Ref, Asked),
    {noreply, answered(Node, Ref, State#state{asked = Rest})};
handle_info({nodeup, Node, _Info}, #state{trips = Trips} = State) ->
    {noreply, ask(Node, State#state{trips = Trips#{Node => #trip{}}})};
handle_info({nodedown, Node, _Info}, #state{trips = Trips, asked = Asked} = State) ->
    {noreply, State#state{trips = maps:remove(Node, Trips),
                          asked = maps:filter(fun(_Ref, Of) -> Of =/= Node end, Asked)}};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% A call of a `gen_server' by hand: `gen_server:send_request/2' would connect a node that has just
%% left.
ask(Node, #state{trips = Trips, asked = Asked} = State) ->
    case Trips of
        #{Node := #trip{asked = no} = Trip} ->
            Ref = make_ref(),
            Now = erlang:monotonic_time(),
            Question = {'$gen_call', {self(), Ref}, {is_auth, node()}},
            case erlang:send({net_kernel, Node}, Question, [noconnect, nosuspend]) of
                ok -> State#state{trips = Trips#{Node := Trip#trip{asked = {Ref, Now}}},
                                  asked = Asked#{Ref => Node}};
                _NotNow -> State
            end;
        #{} -> State
    end.

answered(Node, Ref, #state{trips = Trips} = State) ->
    case Trips of
        #{Node := #trip{asked = {Ref, Asked}}} ->
            Last = microseconds(Asked, erlang:monotonic_time()),
            State#state{trips = Trips#{Node := #trip{last = Last}}};
        #{} -> State    % of an earlier connection
    end.

microseconds(From, To) -> erlang:convert_time_unit(To - From, native, microsecond).
