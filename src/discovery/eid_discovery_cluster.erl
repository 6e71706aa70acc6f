%% @doc The process of one cluster: it takes the strategy's answers and passes the nodes that should
%% be connected to {@link eid_discovery_connector}. It never waits.
-module(eid_discovery_cluster).

-behaviour(gen_server).

-export([start_link/1, answer/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-record(state, {cluster :: eid_discovery_config:cluster(),
                poller :: pid() | none,
                peers = [] :: [{Node :: binary(), eid_routing:target() | default}],
                answered = never :: never | integer(),    % system time, milliseconds
                problems = #{} :: #{Where :: binary() => {Sentence :: string(),
                                                          Since :: integer()}},
                logged = [] :: [limit | bad_names]}).    % warnings of the last answer

%% @doc Starts the process, and the strategy.
-spec start_link(eid_discovery_config:cluster()) -> gen_server:start_ret().
start_link(Cluster) ->
    gen_server:start_link(?MODULE, Cluster, []).

%% @doc Gives the strategy's answer to the cluster. It waits until the cluster has taken the answer,
%% so that answers can't pile up.
-spec answer(Cluster :: pid(), eid_discovery_answer:checked()) -> ok.
answer(Cluster, Answer) -> gen_server:call(Cluster, {answer, Answer}, infinity).

init(Cluster) ->
    process_flag(trap_exit, true),
    {ok, put_info(start_poller(#state{cluster = Cluster, poller = none}))}.

start_poller(#state{cluster = Cluster, poller = none} = State) ->
    State#state{poller = eid_discovery_poller:start_link(Cluster, fun ?MODULE:answer/2)}.

put_info(#state{cluster = #{position := Position, name := Name, strategy := Strategy}} = State) ->
    Info = #{name => Name, strategy => Strategy, nodes => nodes_of(State#state.peers),
             answered => State#state.answered, error => error_info(State#state.problems)},
    ok = eid_discovery:put_info(Position, Info),
    State.

handle_call({answer, #{problems := Problems} = Answer}, From, State) ->
    gen_server:reply(From, ok),
    {noreply, put_info(take_nodes(Answer, take_problems(Problems, State)))}.

handle_cast(_Unexpected, State) -> {noreply, State}.

%% The strategy has crashed, and its poller has reported it if it could.
handle_info({'EXIT', Poller, _Reason},
            #state{poller = Poller, cluster = #{interval := Interval}} = State) ->
    _ = erlang:send_after(Interval, self(), start_poller),
    {noreply, State#state{poller = none}};
handle_info({'EXIT', _Parent, Reason}, State) ->
    {stop, Reason, State};
handle_info(start_poller, #state{poller = none} = State) ->
    {noreply, start_poller(State)};
handle_info(_Unexpected, State) ->
    {noreply, State}.

take_nodes(#{nodes := unchanged}, State) ->
    State;
take_nodes(#{nodes := Listed, bad_names := BadNames, partial := Partial},
           #state{cluster = #{name := Name, prune := Prune, limit := Limit},
                  peers = Before} = State) ->
    Peers = [Peer || {Node, _Target} = Peer <- Listed, Node =/= atom_to_binary(node())],
    {Kept, Cut} = cut(Limit, Peers, Before),
    Warnings = [{limit, "it lists ~b nodes, and only ~b of them are connected. Raise its limit, or "
                 "correct the list.", [length(Peers), Limit]} || Cut]
        ++ [{bad_names, "~b elements of its list are not nodes, for example ~0tP. A node name is "
             "Base@Host, with letters, digits, _ and - before the @.",
             [length(BadNames), hd(BadNames), 30]} || BadNames =/= []],
    _ = [warn(Name, Format, Arguments)
         || {Kind, Format, Arguments} <- Warnings, not lists:member(Kind, State#state.logged)],
    eid_discovery_connector:want(Name, Kept, case Prune of
                                                 true when Partial -> later;
                                                 _ -> Prune
                                             end),
    State#state{peers = Kept, answered = erlang:system_time(millisecond),
                logged = [Kind || {Kind, _, _} <- Warnings]}.

%% Nodes of the last list come first, so that new names can't displace connected nodes.
cut(Limit, Peers, _Before) when length(Peers) =< Limit -> {Peers, false};
cut(Limit, Peers, Before) ->
    Nodes = maps:from_keys(nodes_of(Before), before),
    {Old, New} = lists:partition(fun({Node, _}) -> is_map_key(Node, Nodes) end, Peers),
    {lists:sublist(Old ++ New, Limit), true}.

nodes_of(Peers) -> [Node || {Node, _Target} <- Peers].

take_problems(Problems, #state{cluster = #{name := Name}, problems = Before} = State) ->
    Now = erlang:system_time(millisecond),
    Current = maps:from_list([{Where, {Sentence, Now}} || {Where, Sentence} <- Problems]),
    _ = [warn(Name, "~ts: ~ts", [Where, Sentence])
         || {Where, {Sentence, _}} <- maps:to_list(maps:without(maps:keys(Before), Current))],
    _ = [?LOG_NOTICE("Discovery of the cluster ~0tp: no more trouble with ~ts", [Name, Where])
         || Where <- maps:keys(maps:without(maps:keys(Current), Before))],
    State#state{problems = maps:map(fun(Where, {Sentence, _}) ->
                                            {_, Since} = maps:get(Where, Before, {Sentence, Now}),
                                            {Sentence, Since}
                                    end, Current)}.

warn(Name, Format, Arguments) ->
    ?LOG_WARNING("Discovery of the cluster ~0tp: " ++ Format, [Name | Arguments]).

error_info(Problems) when map_size(Problems) =:= 0 -> none;
error_info(Problems) ->
    Texts = [[Where, ": ", Sentence] || {Where, {Sentence, _}} <- maps:to_list(Problems)],
    #{text => unicode:characters_to_list(lists:join(" ", Texts)),
      since => lists:min([Since || {_, Since} <- maps:values(Problems)])}.
