%% Reads JSON, because OTP 25 has no JSON module.
-module(eid_json).

-export([decode/1]).

-export_type([value/0]).

-type value() :: #{binary() => value()} | [value()] | binary() | integer() | {float, binary()} | true | false | null.

%% Reads one value, which may have white space around it.
-spec decode(iodata()) -> value().
decode(Text) ->
    {Value, Rest} = json_value(iolist_to_binary(Text)),
    <<>> = trim(Rest),
    Value.

json_value(Text) ->
    case trim(Text) of
        <<"true", Rest/binary>> -> {true, Rest};
        <<"false", Rest/binary>> -> {false, Rest};
        <<"null", Rest/binary>> -> {null, Rest};
        <<"{", Rest/binary>> ->
            json_members(trim(Rest), $}, fun(At) ->
                                                 {Key, More} = json_value(At),
                                                 true = is_binary(Key),
                                                 <<":", Next/binary>> = trim(More),
                                                 {Value, Left} = json_value(Next),
                                                 {{Key, Value}, Left}
                                         end, fun maps:from_list/1);
        <<"[", Rest/binary>> -> json_members(trim(Rest), $], fun json_value/1, fun(List) -> List end);
        <<"\"", Rest/binary>> -> json_string(Rest, <<>>);
        Other ->
            {match, [Number]} = re:run(Other, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?", [{capture, first, binary}]),
            {json_number(Number), binary:part(Other, byte_size(Number), byte_size(Other) - byte_size(Number))}
    end.

json_number(Text) ->
    try binary_to_integer(Text)
    catch error:badarg -> {float, Text}
    end.

json_members(Text, End, Member, Make) ->
    case Text of
        <<End, Rest/binary>> -> {Make([]), Rest};
        _ -> json_members(Text, End, Member, Make, [])
    end.

json_members(Text, End, Member, Make, Before) ->
    {Value, Rest} = Member(trim(Text)),
    case trim(Rest) of
        <<",", More/binary>> -> json_members(More, End, Member, Make, [Value | Before]);
        <<End, More/binary>> -> {Make(lists:reverse([Value | Before])), More}
    end.

json_string(Text, Before) ->
    case Text of
        <<"\"", Rest/binary>> -> {Before, Rest};
        <<"\\u", Hex:4/binary, Rest/binary>> -> json_string(Rest, <<Before/binary, (binary_to_integer(Hex, 16))/utf8>>);
        <<"\\", Escaped, Rest/binary>> ->
            {_, Char} = lists:keyfind(Escaped, 1, [{$", $"}, {$\\, $\\}, {$/, $/}, {$b, $\b}, {$f, $\f}, {$n, $\n}, {$r, $\r}, {$t, $\t}]),
            json_string(Rest, <<Before/binary, Char>>);
        <<Char/utf8, Rest/binary>> when Char >= 32 -> json_string(Rest, <<Before/binary, Char/utf8>>)
    end.

trim(Text) -> re:replace(Text, "^[ \t\r\n]+", "", [{return, binary}]).
