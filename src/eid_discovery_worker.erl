%% @doc The worker of one cluster: it takes what the strategy lists, and tells {@link eid_connector} which
%% nodes should be connected. It waits for nothing.
-module(eid_discovery_worker).

-behaviour(gen_server).

-export([start_link/1, answer/2, info/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

%% Milliseconds before a strategy whose process was killed is started again.
-define(RESTART_PAUSE, 1000).

-record(state, {cluster :: eid_clusters:cluster(),
                runner :: pid() | none,
                nodes = [] :: [binary()],
                routes = #{} :: #{binary() => eid_routes:target()},    % set for nodes in the list
                answered = never :: never | integer(),    % system time, milliseconds
                problems = #{} :: #{Where :: binary() => {Sentence :: string(), Since :: integer()}},
                told = [] :: [limit | bad_names]}).    % of the last answer

%% @doc Starts it, and the strategy.
-spec start_link(eid_clusters:cluster()) -> gen_server:start_ret().
start_link(Cluster) ->
    gen_server:start_link(?MODULE, Cluster, []).

%% @doc Takes a strategy's answer. Whoever answers waits until it is taken, so answers can't pile up.
-spec answer(Worker :: pid(), eid_discovery:answer()) -> ok.
answer(Worker, Answer) ->
    gen_server:call(Worker, {answer, Answer}, infinity).

%% @doc See {@link eid_discovery:info/0}; nothing if the worker is just ending.
-spec info(Worker :: pid()) -> [eid_discovery:info()].
info(Worker) ->
    try [gen_server:call(Worker, info)]
    catch exit:_ -> []
    end.

%% @private
init(Cluster) ->
    %% The routes that were set for the cluster's nodes have to be taken back.
    process_flag(trap_exit, true),
    {ok, #state{cluster = Cluster, runner = eid_discovery_runner:start_link(Cluster)}}.

%% @private
handle_call({answer, Answer}, From, State) ->
    gen_server:reply(From, ok),
    {noreply, take_nodes(Answer, take_problems(maps:get(problems, Answer, []), State))};
handle_call(info, _From, #state{cluster = #{name := Name, strategy := Strategy}} = State) ->
    {reply, #{name => Name, strategy => Strategy, nodes => State#state.nodes, answered => State#state.answered,
              error => error_info(State#state.problems)}, State}.

%% @private
handle_cast(_Unexpected, State) -> {noreply, State}.

%% @private
handle_info({'EXIT', Runner, _Killed}, #state{runner = Runner} = State) ->
    _ = erlang:send_after(?RESTART_PAUSE, self(), start_runner),
    {noreply, State#state{runner = none}};
handle_info({'EXIT', _Parent, Reason}, State) ->
    {stop, Reason, State};
handle_info(start_runner, #state{cluster = Cluster, runner = none} = State) ->
    {noreply, State#state{runner = eid_discovery_runner:start_link(Cluster)}};
handle_info(_Unexpected, State) ->
    {noreply, State}.

%% @private
terminate(_Reason, #state{routes = Routes}) ->
    set_routes(#{}, Routes).

take_nodes(#{nodes := unchanged}, State) ->
    State;
take_nodes(#{nodes := Listed} = Answer, #state{cluster = #{name := Name, prune := Prune, limit := Limit}} = State) ->
    Partial = maps:get(partial, Answer, false),
    Before = [{Node, maps:get(Node, State#state.routes, default)} || Node <- State#state.nodes, Partial],
    {Peers, BadNames} = peers(Listed ++ Before),
    {Kept, Cut} = cut(Limit, Peers, State#state.nodes),
    Warnings = [{limit, "it lists ~b nodes, and only ~b of them are connected. Raise its limit, or correct the list.",
                 [length(Peers), Limit]} || Cut]
        ++ [{bad_names, "~b of the ~b names in its list are no node names, for example ~0tP. A node name is Base@Host, with "
             "letters, digits, _ and - before the @.", [length(BadNames), length(Listed), hd(BadNames), 30]}
            || BadNames =/= []],
    _ = [warn(Name, Format, Arguments)
         || {Kind, Format, Arguments} <- Warnings, not lists:member(Kind, State#state.told)],
    Nodes = [Node || {Node, _Target} <- Kept],
    Routes = maps:from_list([Peer || {_Node, Target} = Peer <- Kept, Target =/= default]),
    set_routes(Routes, State#state.routes),
    eid_connector:want(Name, Nodes, Prune andalso not Partial),
    State#state{nodes = Nodes, routes = Routes, answered = erlang:system_time(millisecond),
                told = [Kind || {Kind, _, _} <- Warnings]}.

%% Each node once, without this one, and what is no node name.
peers(Listed) ->
    {Peers, _Seen, BadNames} = lists:foldl(fun peer/2, {[], #{atom_to_binary(node()) => own}, []}, Listed),
    {lists:reverse(Peers), lists:reverse(BadNames)}.

peer(Peer, {Peers, Seen, BadNames}) ->
    {Node, Target} = case Peer of
                         {_, _} -> Peer;
                         _ -> {Peer, default}
                     end,
    case eid_discovery:node_name(Node) of
        {ok, Name} when is_map_key(Name, Seen) -> {Peers, Seen, BadNames};
        {ok, Name} -> {[{Name, Target} | Peers], Seen#{Name => peer}, BadNames};
        error -> {Peers, Seen, [Node | BadNames]}
    end.

%% Those that were in the list before stay, so that new names can't displace nodes that are connected.
cut(Limit, Peers, _Nodes) when length(Peers) =< Limit -> {Peers, false};
cut(Limit, Peers, Nodes) ->
    Before = maps:from_keys(Nodes, before),
    {Old, New} = lists:partition(fun({Node, _}) -> is_map_key(Node, Before) end, Peers),
    {lists:sublist(Old ++ New, Limit), true}.

set_routes(Routes, Before) ->
    Gone = maps:map(fun(_Node, _Target) -> default end, maps:without(maps:keys(Routes), Before)),
    Changed = maps:filter(fun(Node, Target) -> maps:get(Node, Before, default) =/= Target end, Routes),
    case maps:merge(Gone, Changed) of
        Same when map_size(Same) =:= 0 -> ok;
        Change -> eid:set_routes(Change)
    end.

take_problems(Problems, #state{cluster = #{name := Name}, problems = Before} = State) ->
    Now = erlang:system_time(millisecond),
    Current = maps:from_list([{text(Where), {unicode:characters_to_list(text(Sentence)), Now}} || {Where, Sentence} <- Problems]),
    _ = [warn(Name, "~ts: ~ts", [Where, Sentence])
         || {Where, {Sentence, _}} <- maps:to_list(maps:without(maps:keys(Before), Current))],
    _ = [?LOG_NOTICE("Discovery of the cluster ~tp: ~ts answers again", [Name, Where])
         || Where <- maps:keys(maps:without(maps:keys(Current), Before))],
    State#state{problems = maps:map(fun(Where, {Sentence, _}) ->
                                            {_, Since} = maps:get(Where, Before, {Sentence, Now}),
                                            {Sentence, Since}
                                    end, Current)}.

text(Text) ->
    case unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> <<"?">>
    end.

warn(Name, Format, Arguments) ->
    ?LOG_WARNING("Discovery of the cluster ~tp: " ++ Format, [Name | Arguments]).

error_info(Problems) when map_size(Problems) =:= 0 -> none;
error_info(Problems) ->
    Texts = [[Where, ": ", Sentence] || {Where, {Sentence, _}} <- maps:to_list(Problems)],
    #{text => unicode:characters_to_list(lists:join(" ", Texts)),
      since => lists:min([Since || {_, Since} <- maps:values(Problems)])}.
