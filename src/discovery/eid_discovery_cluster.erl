%% @doc The worker of one cluster: it takes what the strategy lists, and tells {@link eid_discovery_connector} which
%% nodes should be connected. It waits for nothing.
-module(eid_discovery_cluster).

-behaviour(gen_server).

-export([start_link/1, answer/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-record(state, {cluster :: eid_discovery_config:cluster(),
                runner :: pid() | none,
                peers = [] :: [{Node :: binary(), eid_routes:target() | default}],
                answered = never :: never | integer(),    % system time, milliseconds
                problems = #{} :: #{Where :: binary() => {Sentence :: string(), Since :: integer()}},
                told = [] :: [limit | bad_names]}).    % of the last answer

%% @doc Starts it, and the strategy.
-spec start_link(eid_discovery_config:cluster()) -> gen_server:start_ret().
start_link(Cluster) ->
    gen_server:start_link(?MODULE, Cluster, []).

%% @doc Takes a strategy's answer. Whoever answers waits until it is taken, so answers can't pile up.
-spec answer(Worker :: pid(), eid_discovery_answer:checked()) -> ok.
answer(Worker, Answer) ->
    gen_server:call(Worker, {answer, Answer}, infinity).

%% @private
init(Cluster) ->
    process_flag(trap_exit, true),
    {ok, put_info(#state{cluster = Cluster, runner = eid_discovery_poller:start_link(Cluster)})}.

put_info(#state{cluster = #{position := Position, name := Name, strategy := Strategy}} = State) ->
    ok = eid_discovery:put_info(Position, #{name => Name, strategy => Strategy, nodes => nodes_of(State#state.peers),
                                            answered => State#state.answered,
                                            error => error_info(State#state.problems)}),
    State.

%% @private
handle_call({answer, #{problems := Problems} = Answer}, From, State) ->
    gen_server:reply(From, ok),
    {noreply, put_info(take_nodes(Answer, take_problems(Problems, State)))}.

%% @private
handle_cast(_Unexpected, State) -> {noreply, State}.

%% @private
%% The strategy has crashed, and has said so if it could.
handle_info({'EXIT', Runner, _Reason}, #state{runner = Runner, cluster = #{interval := Interval}} = State) ->
    _ = erlang:send_after(Interval, self(), start_runner),
    {noreply, State#state{runner = none}};
handle_info({'EXIT', _Parent, Reason}, State) ->
    {stop, Reason, State};
handle_info(start_runner, #state{cluster = Cluster, runner = none} = State) ->
    {noreply, State#state{runner = eid_discovery_poller:start_link(Cluster)}};
handle_info(_Unexpected, State) ->
    {noreply, State}.

take_nodes(#{nodes := unchanged}, State) ->
    State;
take_nodes(#{nodes := Listed, bad_names := BadNames, partial := Partial},
           #state{cluster = #{name := Name, prune := Prune, limit := Limit}, peers = Before} = State) ->
    Peers = [Peer || {Node, _Target} = Peer <- Listed, Node =/= atom_to_binary(node())],
    {Kept, Cut} = cut(Limit, Peers, Before),
    Warnings = [{limit, "it lists ~b nodes, and only ~b of them are connected. Raise its limit, or correct the list.",
                 [length(Peers), Limit]} || Cut]
        ++ [{bad_names, "~b elements of its list are no nodes, for example ~0tP. A node name is Base@Host, with letters, digits, _ "
             "and - before the @.", [length(BadNames), hd(BadNames), 30]} || BadNames =/= []],
    _ = [warn(Name, Format, Arguments)
         || {Kind, Format, Arguments} <- Warnings, not lists:member(Kind, State#state.told)],
    eid_discovery_connector:want(Name, Kept, case Prune of
                                       true when Partial -> later;
                                       _ -> Prune
                                   end),
    State#state{peers = Kept, answered = erlang:system_time(millisecond), told = [Kind || {Kind, _, _} <- Warnings]}.

%% Those that were in the list before stay, so that new names can't displace nodes that are connected.
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
