%% @doc Taking samples, in rounds that take turns, and what they come to.
-module(bench_stats).

-export([rounds/2, timed/1, apart/2, calls/2, median/1, midmean/1, percentile/2, now_ns/0]).

-export_type([ns/0]).

-type ns() :: number().
%% Nanoseconds.

%% @doc Calls each of the named functions once a round, so that whatever the machine does meanwhile
%% meets all of them; the order is another one in each round. A function answers a list of
%% samples, and all those of one name are put together.
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

%% @doc How long one call takes, and what it answers.
-spec timed(fun(() -> Result)) -> {ns(), Result}.
timed(Fun) ->
    Start = now_ns(),
    Result = Fun(),
    {now_ns() - Start, Result}.

%% @doc How long one call takes that comes so long after the one before. The CPU does not rest
%% meanwhile.
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

%% @doc The mean time of so many calls, one after the other.
-spec calls(fun(() -> term()), pos_integer()) -> ns().
calls(Fun, Count) ->
    {Time, ok} = timed(fun() -> repeat(Fun, Count) end),
    Time / Count.

repeat(_Fun, 0) -> ok;
repeat(Fun, Count) -> _ = Fun(), repeat(Fun, Count - 1).

%% @doc The middle one.
-spec median([number(), ...]) -> number().
median(Samples) -> percentile(50, Samples).

%% @doc The mean of the middle half.
-spec midmean([number(), ...]) -> number().
midmean(Samples) ->
    Quarter = length(Samples) div 4,
    Middle = lists:sublist(lists:sort(Samples), Quarter + 1, length(Samples) - 2 * Quarter),
    lists:sum(Middle) / length(Middle).

%% @doc The smallest sample that so many per cent of all do not exceed.
-spec percentile(number(), [number(), ...]) -> number().
percentile(Percent, Samples) ->
    Rank = ceil(Percent / 100 * length(Samples)),
    lists:nth(max(1, Rank), lists:sort(Samples)).

%% @doc The time on a clock that only goes forward.
-spec now_ns() -> integer().
now_ns() -> erlang:monotonic_time(nanosecond).
