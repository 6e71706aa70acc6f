%% Finds fenced blocks, tables, headings and links in the pages of the documentation.
-module(eid_markdown).

-export([pages/0, read/1, blocks/1, section/2, rows/1, code/1, anchors/1, links/1]).

-export_type([block/0]).

-type block() :: #{line := pos_integer(), language := string(), text := string(), follows := boolean()}.
%% `follows': only empty lines separate the block from the block before.

%% The pages with commands that a reader types, as paths in the checkout.
pages() ->
    ["README.md", "SECURITY.md", "CONTRIBUTING.md"]
        ++ lists:sort(["doc/guide/" ++ File || File <- filelib:wildcard("*.md", filename:join(eid_ct:root(), "doc/guide"))]).

read(Page) ->
    {ok, Binary} = file:read_file(filename:join(eid_ct:root(), Page)),
    unicode:characters_to_list(Binary).

-spec blocks(Text :: string()) -> [block()].
blocks(Text) -> blocks(lines(Text), 1, false, []).

lines(Text) -> string:split(Text, "\n", all).

blocks([], _, _, Blocks) -> lists:reverse(Blocks);
blocks(["```" ++ Language | Rest], Line, Follows, Blocks) ->
    {Inside, ["```" | After]} = lists:splitwith(fun(L) -> L =/= "```" end, Rest),
    Block = #{line => Line, language => Language, text => lists:append([L ++ "\n" || L <- Inside]), follows => Follows},
    blocks(After, Line + length(Inside) + 2, true, [Block | Blocks]);
blocks(["" | Rest], Line, Follows, Blocks) -> blocks(Rest, Line + 1, Follows, Blocks);
blocks([_ | Rest], Line, _, Blocks) -> blocks(Rest, Line + 1, false, Blocks).

%% The text below a heading, up to the next heading of any level.
section(Heading, Text) ->
    [_ | Below] = lists:dropwhile(fun(Line) -> not (heading(Line) =:= {ok, Heading}) end, lines(Text)),
    lists:append([Line ++ "\n" || Line <- up_to_heading(Below)]).

%% Skips fenced blocks, because a comment in a shell command looks like a heading.
up_to_heading(["```" ++ _ = Fence | Rest]) ->
    {Inside, [End | After]} = lists:splitwith(fun(L) -> L =/= "```" end, Rest),
    [Fence | Inside] ++ [End | up_to_heading(After)];
up_to_heading([Line | Rest]) ->
    case heading(Line) of
        none -> [Line | up_to_heading(Rest)];
        {ok, _} -> []
    end;
up_to_heading([]) -> [].

heading(Line) ->
    case re:run(Line, "^#+ (.*)$", [unicode, {capture, all_but_first, list}]) of
        {match, [Heading]} -> {ok, Heading};
        nomatch -> none
    end.

%% The cells of all tables in a text, without the header rows.
rows(Text) -> rows(lines(Text), []).

rows([_Head, "| ---" ++ _ | Rest], Rows) -> rows(Rest, Rows);
rows(["| " ++ _ = Line | Rest], Rows) ->
    Cells = re:split(Line, "(?<!\\\\)\\|", [unicode, {return, list}]),
    rows(Rest, [[string:trim(Cell) || Cell <- lists:droplast(tl(Cells))] | Rows]);
rows([_ | Rest], Rows) -> rows(Rest, Rows);
rows([], Rows) -> lists:reverse(Rows).

%% The first code span in a cell. If there is no code span, the whole cell.
code(Cell) ->
    case re:run(Cell, "`([^`]*)`", [unicode, {capture, all_but_first, list}]) of
        {match, [Code]} -> Code;
        nomatch -> Cell
    end.

%% The anchors of the headings, made by the same rules as in the rendered pages.
anchors(Text) ->
    [anchor(Heading) || Line <- lines(without_blocks(Text)), {ok, Heading} <- [heading(Line)]].

anchor(Heading) ->
    Plain = re:replace(string:lowercase(Heading), "[^\\w\\- ]", "", [unicode, ucp, global, {return, list}]),
    [case Char of $\s -> $-; _ -> Char end || Char <- Plain].

links(Text) ->
    case re:run(without_blocks(Text), "\\]\\(([^)\\s]+)\\)", [unicode, global, {capture, all_but_first, list}]) of
        {match, Links} -> lists:append(Links);
        nomatch -> []
    end.

without_blocks(Text) -> re:replace(Text, "^```.*?^```$", "", [unicode, global, multiline, dotall, {return, list}]).
