%% @doc Taking samples, in rounds that take turns, and what they come to.
-module(bench_stats).

-export([rounds/2, timed/1, calls/2, calls_for/2, median/1, percentile/2, now_ns/0]).

-export_type([ns/0]).

-type ns() :: number().
%% Nanoseconds.

%% @doc Calls each of the named functions once a round, so that whatever the machine does meanwhile
%% meets all of them; who comes first changes from round to round. A function answers a list of
%% samples, and all those of one name are put together.
-spec rounds(pos_integer(), [{Name, fun(() -> [Sample])}]) -> #{Name => [Sample]}.
rounds(Count, Functions) ->
    rounds(Count, Functions, maps:from_list([{Name, []} || {Name, _} <- Functions])).

rounds(0, _Functions, Samples) ->
    Samples;
rounds(Count, [First | Rest] = Functions, Samples) ->
    Taken = lists:foldl(fun({Name, Fun}, Map) ->
                                New = Fun(),
                                maps:update_with(Name, fun(Old) -> New ++ Old end, Map)
                        end, Samples, Functions),
    rounds(Count - 1, Rest ++ [First], Taken).

%% @doc How long one call takes, and what it answers.
-spec timed(fun(() -> Result)) -> {ns(), Result}.
timed(Fun) ->
    Start = now_ns(),
    Result = Fun(),
    {now_ns() - Start, Result}.

%% @doc The mean time of so many calls, one after the other.
-spec calls(fun(() -> term()), pos_integer()) -> ns().
calls(Fun, Count) ->
    {Time, ok} = timed(fun() -> repeat(Fun, Count) end),
    Time / Count.

repeat(_Fun, 0) -> ok;
repeat(Fun, Count) -> _ = Fun(), repeat(Fun, Count - 1).

%% @doc How many calls fill about so much time; at least one.
-spec calls_for(fun(() -> term()), ns()) -> pos_integer().
calls_for(Fun, Time) ->
    max(1, round(Time / calls(Fun, 20))).

%% @doc The middle one.
-spec median([number(), ...]) -> number().
median(Samples) -> percentile(50, Samples).

%% @doc The smallest sample that so many per cent of all do not exceed.
-spec percentile(number(), [number(), ...]) -> number().
percentile(Percent, Samples) ->
    Rank = ceil(Percent / 100 * length(Samples)),
    lists:nth(max(1, Rank), lists:sort(Samples)).

%% @doc The time on a clock that only goes forward.
-spec now_ns() -> integer().
now_ns() -> erlang:monotonic_time(nanosecond).
