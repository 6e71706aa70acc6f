#!/usr/bin/env escript
%% Checks the documentation in the source of each module: a first sentence for the module, and for
%% each exported function a spec and a sentence or `@private'. Prints a sentence for each that is
%% missing, and exits with 1.
%%
%% usage: documented.escript [EBIN]      the default is _build/default/lib/eid/ebin
%%
%% Callbacks of a behaviour that the module declares need no spec and no sentence: the behaviour has
%% both.
-mode(compile).

main([]) -> main([filename:join(root(), "_build/default/lib/eid/ebin")]);
main([Ebin]) ->
    %% For eid's own behaviours.
    true = code:add_patha(filename:absname(Ebin)),
    ok = file:set_cwd(root()),
    case lists:flatmap(fun missing/1, filelib:wildcard("src/**/*.erl")) of
        [] -> ok;
        Missing ->
            [io:format(standard_error, "documented: ~ts~n", [Sentence]) || Sentence <- Missing],
            halt(1)
    end.

root() -> filename:absname(filename:join(filename:dirname(escript:script_name()), "../..")).

missing(File) ->
    {ok, Forms} = epp:parse_file(File, []),
    {ok, Text} = file:read_file(File),
    Lines = list_to_tuple(string:split(Text, "\n", all)),
    Specs = [Function || {attribute, _, spec, {Function, _}} <- Forms],
    Exports = lists:append([Functions || {attribute, _, export, Functions} <- Forms]),
    Callbacks = lists:append([callbacks(File, Behaviour)
                              || {attribute, _, behaviour, Behaviour} <- Forms]),
    [ModuleLine] = [line(Anno) || {attribute, Anno, module, _} <- Forms],
    [[File, " has no sentence `%% @doc' about the module"]
     || not is_described(comment(ModuleLine, Lines))]
        ++ [io_lib:format("~ts:~b: ~ts/~b is exported and has no ~ts",
                          [File, Line, Name, Arity, What])
            || {function, Anno, Name, Arity, _} <- Forms,
               lists:member({Name, Arity}, Exports -- Callbacks),
               Line <- [line(Anno)],
               What <- ["spec" || not lists:member({Name, Arity}, Specs)]
                   ++ ["sentence `%% @doc' or `%% @private'"
                       || Comment <- [comment(first_line({Name, Arity}, Line, Forms), Lines)],
                          not is_described(Comment), string:find(Comment, "@private") =:= nomatch]].

line(Anno) -> erl_anno:line(Anno).

%% The comment of a function precedes its spec.
first_line(Function, Line, Forms) ->
    hd([line(Anno) || {attribute, Anno, spec, {Of, _}} <- Forms, Of =:= Function] ++ [Line]).

%% The lines of comment right above a line.
comment(Line, Lines) -> comment(Line - 1, Lines, []).

comment(0, _Lines, Comment) -> lists:flatten(Comment);
comment(Line, Lines, Comment) ->
    case unicode:characters_to_list(element(Line, Lines)) of
        "%%" ++ Text -> comment(Line - 1, Lines, [Text, $\n | Comment]);
        _ -> comment(0, Lines, Comment)
    end.

is_described(Comment) -> re:run(Comment, "@doc\\s+\\S", [unicode, {capture, none}]) =:= match.

callbacks(File, Behaviour) ->
    try Behaviour:behaviour_info(callbacks)
    catch error:undef -> error({unknown_behaviour, File, Behaviour})
    end.
