%% @doc Checks the answer of a strategy, which may be a user's module with data from anywhere.
-module(eid_discovery_answer).

-export([check/1, is_peer/1]).

-export_type([checked/0]).

-type checked() :: #{nodes := unchanged | [{Node :: binary(), eid_routing:target() | default}],
                     bad_names := [term()], partial := boolean(),
                     problems := [{Where :: binary(), Sentence :: string()}],
                     again := interval | now | {within, non_neg_integer()}}.
%% `nodes' has each node once. `bad_names' are the elements that are not nodes, and the nodes with a
%% target that is not a route.

%% @doc The answer in one form, or `error' for another term.
-spec check(eid_discovery:answer() | term()) -> {ok, checked()} | error.
check(Answer) ->
    try
        #{nodes := Nodes} = Answer,
        {Peers, BadNames} = peers(Nodes),
        {ok, #{nodes => Peers, bad_names => BadNames,
               partial => boolean(maps:get(partial, Answer, false)),
               problems => [problem(Problem) || Problem <- proper(maps:get(problems, Answer, []))],
               again => again(maps:get(again, Answer, interval))}}
    catch error:_ -> error
    end.

boolean(Boolean) when is_boolean(Boolean) -> Boolean.

problem({Where, Sentence}) -> {text(Where), unicode:characters_to_list(text(Sentence))}.

again(Again) when Again =:= interval; Again =:= now -> Again;
again({within, Ms} = Again) when is_integer(Ms), Ms >= 0 -> Again.

proper(List) when length(List) >= 0 -> List.

%% Texts of name servers and engines need not be Unicode.
text(Text) when is_list(Text); is_binary(Text) -> eid_text:show(Text).

peers(unchanged) ->
    {unchanged, []};
peers(Nodes) ->
    {Peers, _Seen, BadNames} = lists:foldl(fun peer/2, {[], #{}, []}, proper(Nodes)),
    {lists:reverse(Peers), lists:reverse(BadNames)}.

peer(Element, {Peers, Seen, BadNames}) ->
    case parse(Element) of
        {ok, {Node, _Target}} when is_map_key(Node, Seen) -> {Peers, Seen, BadNames};
        {ok, {Node, _Target} = Peer} -> {[Peer | Peers], Seen#{Node => seen}, BadNames};
        error -> {Peers, Seen, [Element | BadNames]}
    end.

%% @doc True if this can be an element of `nodes'.
-spec is_peer(term()) -> boolean().
is_peer(Element) -> parse(Element) =/= error.

parse({Node, Target}) ->
    try
        {ok, Name} = eid_discovery:node_name(Node),
        _ = eid_routing:parse_route(Name, Target),
        {ok, {Name, Target}}
    catch error:_ -> error
    end;
parse(Node) ->
    case eid_discovery:node_name(Node) of
        {ok, Name} -> {ok, {Name, default}};
        error -> error
    end.
