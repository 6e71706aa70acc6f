%% @doc The name that this node should have, found and not typed. The library does the finding, so that
%% the command `eid name' finds the same.
-module(eid_own_name).

-export([find/0]).

%% @doc See {@link eid:node_name/0}.
-spec find() -> {ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}.
find() ->
    Ref = make_ref(),
    Asked = eid_nif:call(fun() ->
                                 eid_nif:node_name(Ref, none, eid_config:limits(), eid_config:lookup_time())
                         end),
    case Asked of
        pending ->
            %% The library promises one message within the time that it was given.
            receive {Ref, Answer} -> named(Answer) end;
        {error, _} = Error -> named(Error)
    end.

named({error, {unreachable, Detail}}) -> {error, {no_name, Detail}};
named(Answer) -> Answer.
