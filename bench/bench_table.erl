%% @doc Makes the table of results: the rows, the check of their bounds, and the Markdown.
-module(bench_table).

-export([row/5, missing/2, holds/1, format/1, format_cells/2, format_number/2]).

-export_type([row/0, unit/0, bound/0]).

-type unit() :: ns | bits | bytes | count | number.
%% The unit of a row's numbers: nanoseconds, bits a second, bytes, a count, or any number.

-type bound() :: none | {ratio | value, at_most | at_least, number()}.
%% A bound on the ratio of eid's number to the other one, or on eid's number.

-type compared() :: none | {Label :: iodata(), number()}.

-opaque row() :: #{what := iodata(), eid := iodata(), with := iodata(), ratio := iodata(),
                   bound := iodata(), holds := boolean() | none}.

%% @doc A row of the table. The ratio is always eid's number divided by the other one.
-spec row(What :: iodata(), unit(), Eid :: number(), compared(), bound()) -> row().
row(What, Unit, Eid, With, Bound) ->
    Ratio = ratio(Eid, With),
    #{what => What,
      eid => format_number(Unit, Eid),
      with => case With of
                  none -> "";
                  {Label, Other} -> [Label, ": ", format_number(Unit, Other)]
              end,
      ratio => format_ratio(Ratio),
      bound => format_bound(Unit, Bound),
      holds => check(Bound, Eid, Ratio)}.

%% @doc A row without a measurement. Its bound counts as missed.
-spec missing(What :: iodata(), Why :: iodata()) -> row().
missing(What, Why) ->
    #{what => What, eid => "not measured", with => Why, ratio => "", bound => "", holds => false}.

%% @doc Returns true if no row misses its bound.
-spec holds([row()]) -> boolean().
holds(Rows) ->
    lists:all(fun(#{holds := Holds}) -> Holds =/= false end, Rows).

ratio(_Eid, none) -> none;
ratio(_Eid, {_, Other}) when Other == 0 -> none;
ratio(Eid, {_, Other}) -> Eid / Other.

check(none, _, _) -> none;
check({ratio, _, _}, _, none) -> false;
check({ratio, How, Limit}, _, Ratio) -> compare(How, Ratio, Limit);
check({value, How, Limit}, Eid, _) -> compare(How, Eid, Limit).

compare(at_most, Number, Limit) -> Number =< Limit;
compare(at_least, Number, Limit) -> Number >= Limit.

%% @doc The table in Markdown.
-spec format([row()]) -> iodata().
format(Rows) ->
    format_cells([{"what", left}, {"eid", right}, {"compared with", left}, {"ratio", right}, {"bound", right}, {"holds?", left}],
                 [[What, Eid, With, Ratio, Bound, format_holds(Holds)]
                  || #{what := What, eid := Eid, with := With, ratio := Ratio, bound := Bound,
                       holds := Holds} <- Rows]).

%% @doc Makes any table in Markdown from its columns and the cells of each row.
-spec format_cells([{Head :: iodata(), left | right}], [[iodata()]]) -> iodata().
format_cells(Columns, Rows) ->
    {Heads, Sides} = lists:unzip(Columns),
    [line(Heads), line([case Side of left -> "---"; right -> "---:" end || Side <- Sides]) | [line(Row) || Row <- Rows]].

line(Cells) -> ["| ", lists:join(" | ", Cells), " |\n"].

format_holds(true) -> "yes";
format_holds(false) -> "**no**";
format_holds(none) -> "".

format_bound(_Unit, none) -> "";
format_bound(_Unit, {ratio, How, Limit}) -> [sign(How), format_ratio(Limit)];
format_bound(Unit, {value, How, Limit}) -> [sign(How), format_number(Unit, Limit)].

sign(at_most) -> "≤ ";
sign(at_least) -> "≥ ".

%% Shows a ratio below 0.1 as a fraction, which is easier to read.
format_ratio(none) -> "";
format_ratio(Ratio) when Ratio > 0, Ratio < 0.1 -> ["1/", significant(1 / Ratio)];
format_ratio(Ratio) -> significant(Ratio).

%% @doc A number with its unit.
-spec format_number(unit(), number()) -> iodata().
format_number(ns, Ns) when Ns < 1.0e3 -> [significant(Ns), " ns"];
format_number(ns, Ns) when Ns < 1.0e6 -> [significant(Ns / 1.0e3), " µs"];
format_number(ns, Ns) when Ns < 1.0e9 -> [significant(Ns / 1.0e6), " ms"];
format_number(ns, Ns) -> [significant(Ns / 1.0e9), " s"];
format_number(bytes, Bytes) when Bytes < 1.0e6 -> [significant(Bytes / 1.0e3), " kB"];
format_number(bytes, Bytes) -> [significant(Bytes / 1.0e6), " MB"];
format_number(number, Number) -> significant(Number);
format_number(bits, Bits) -> [significant(Bits / 1.0e9), " Gbit/s"];
format_number(count, Count) -> integer_to_list(round(Count)).

%% Three significant digits, and all digits before the decimal point.
significant(Number) when Number >= 100 -> integer_to_list(round(Number));
significant(Number) when Number >= 10 -> trimmed(Number, 1);
significant(Number) when Number >= 1 -> trimmed(Number, 2);
significant(Number) -> trimmed(Number, 3).

trimmed(Number, Decimals) ->
    float_to_list(float(Number), [{decimals, Decimals}, compact]).
