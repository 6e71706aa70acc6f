%% @doc Takes samples in alternating rounds, and computes their statistics.
-module(bench_stats).

-export([rounds/2, timed/1, apart/2, calls/2, median/1, midmean/1, percentile/2, parabola/1, now_ns/0]).

-export_type([ns/0, parabola/0]).

-type ns() :: number().
%% Nanoseconds.

-type parabola() :: #{coefficients := {A :: float(), B :: float(), C :: float()}, r2 := float(), residual := float()}.
%% `A + B*X + C*X*X'. `r2' is the share of the variance that the parabola explains. `residual' is
%% its largest error at any of the points.

%% @doc Calls each named function once in each round, in a new random order, so that changes in the
%% machine's load affect all functions alike. A function returns a list of samples. The result has
%% all samples of each name.
-spec rounds(pos_integer(), [{Name, fun(() -> [Sample])}]) -> #{Name => [Sample]}.
rounds(Count, Functions) ->
    rounds(Count, Functions, maps:from_list([{Name, []} || {Name, _} <- Functions])).

rounds(0, _Functions, Samples) ->
    Samples;
rounds(Count, Functions, Samples) ->
    Taken = lists:foldl(fun({Name, Fun}, Map) ->
                                New = Fun(),
                                maps:update_with(Name, fun(Old) -> New ++ Old end, Map)
                        end, Samples, shuffled(Functions)),
    rounds(Count - 1, Functions, Taken).

shuffled(List) -> [Item || {_, Item} <- lists:sort([{rand:uniform(), Item} || Item <- List])].

%% @doc Calls a function. Returns the time of the call, and the result.
-spec timed(fun(() -> Result)) -> {ns(), Result}.
timed(Fun) ->
    Start = now_ns(),
    Result = Fun(),
    {now_ns() - Start, Result}.

%% @doc The time of one call that comes `Gap' nanoseconds after the call before. The CPU does not
%% rest meanwhile.
-spec apart(fun(() -> term()), ns()) -> ns().
apart(Fun, Gap) ->
    spin(now_ns() + Gap),
    {Time, _} = timed(Fun),
    Time.

spin(End) ->
    case now_ns() < End of
        true -> spin(End);
        false -> ok
    end.

%% @doc The mean time of `Count' calls, one after the other.
-spec calls(fun(() -> term()), pos_integer()) -> ns().
calls(Fun, Count) ->
    {Time, ok} = timed(fun() -> repeat(Fun, Count) end),
    Time / Count.

repeat(_Fun, 0) -> ok;
repeat(Fun, Count) -> _ = Fun(), repeat(Fun, Count - 1).

%% @doc The middle sample.
-spec median([number(), ...]) -> number().
median(Samples) -> percentile(50, Samples).

%% @doc The mean of the middle half of the samples.
-spec midmean([number(), ...]) -> number().
midmean(Samples) ->
    Quarter = length(Samples) div 4,
    Middle = lists:sublist(lists:sort(Samples), Quarter + 1, length(Samples) - 2 * Quarter),
    lists:sum(Middle) / length(Middle).

%% @doc The smallest sample that at least `Percent' per cent of all samples do not exceed.
-spec percentile(number(), [number(), ...]) -> number().
percentile(Percent, Samples) ->
    Rank = ceil(Percent / 100 * length(Samples)),
    lists:nth(max(1, Rank), lists:sort(Samples)).

%% @doc Fits a parabola to these points by least squares. Solves the three normal equations by
%% Cramer's rule. X is scaled to at most 1, so that the determinant stays large enough for the
%% division.
-spec parabola([{X :: number(), Y :: number()}, ...]) -> parabola().
parabola(Points) ->
    Largest = lists:max([X || {X, _} <- Points]),
    Scaled = [{[1.0, X / Largest, X / Largest * X / Largest], Y} || {X, Y} <- Points],
    Product = fun(I, J) -> lists:sum([lists:nth(I, Powers) * lists:nth(J, Powers) || {Powers, _} <- Scaled]) end,
    Left = [[Product(I, J) || J <- [1, 2, 3]] || I <- [1, 2, 3]],
    Right = [lists:sum([lists:nth(I, Powers) * Y || {Powers, Y} <- Scaled]) || I <- [1, 2, 3]],
    [A, B, C] = [determinant(replace_column(I, Right, Left)) / determinant(Left) || I <- [1, 2, 3]],
    Residuals = [Y - lists:sum(lists:zipwith(fun(Of, Power) -> Of * Power end, [A, B, C], Powers)) || {Powers, Y} <- Scaled],
    Mean = lists:sum([Y || {_, Y} <- Points]) / length(Points),
    #{coefficients => {A, B / Largest, C / Largest / Largest},
      r2 => case squares([Y - Mean || {_, Y} <- Points]) of
                Variance when Variance > 0 -> 1 - squares(Residuals) / Variance;
                _ -> 1.0
            end,
      residual => lists:max([abs(Residual) || Residual <- Residuals])}.

squares(Numbers) -> lists:sum([Number * Number || Number <- Numbers]).

replace_column(I, Column, Matrix) ->
    [lists:sublist(Row, I - 1) ++ [New | lists:nthtail(I, Row)] || {New, Row} <- lists:zip(Column, Matrix)].

determinant([[A, B, C], [D, E, F], [G, H, I]]) ->
    A * (E * I - F * H) - B * (D * I - F * G) + C * (D * H - E * G).

%% @doc The time of a monotonic clock.
-spec now_ns() -> integer().
now_ns() -> erlang:monotonic_time(nanosecond).
