%% @doc Text of any kind as a binary in UTF-8.
-module(eid_text).

-export([parse/1, show/1, format/2]).

%% @doc The text of an atom, a string or a binary; `error' for any other term.
-spec parse(term()) -> {ok, binary()} | error.
parse(Atom) when is_atom(Atom) -> {ok, atom_to_binary(Atom)};
parse(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> {ok, Binary};
        _NotUnicode -> error
    catch error:badarg -> error
    end.

%% @doc The text of any term. A term without a text is printed as Erlang prints it.
-spec show(term()) -> binary().
show(Term) ->
    case parse(Term) of
        {ok, Text} -> Text;
        error -> unicode:characters_to_binary(io_lib:format("~0tp", [Term]))
    end.

%% @doc `io_lib:format/2' as a flat string.
-spec format(io:format(), [term()]) -> string().
format(Format, Arguments) -> lists:flatten(io_lib:format(Format, Arguments)).
