%% @doc Writes the status data as JSON, for `/cluster.json'. doc/guide/status.md describes it.
-module(eid_status_json).

-export([render/1]).

%% @doc The data as JSON. Fails if the library can't be loaded.
-spec render(eid_status_data:data()) -> binary().
render(Data) ->
    Term = term(Data),
    Json = eid_library:call(fun() -> eid_nif:to_json(Term) end),
    true = is_binary(Json),    % and no error
    Json.

term(Map) when is_map(Map) ->
    maps:from_list([member(Key, Value) || {Key, Value} <- maps:to_list(Map)]);
term(List) when is_list(List) -> [term(Element) || Element <- List];
term(none) -> null;
term(Value) -> Value.

member(now, Time) -> {time, time(Time)};
member(Key, none) when Key =/= ip, Key =/= round_trip -> {Key, null};
member(Key, Time) when Key =:= started; Key =:= since; Key =:= answered -> {Key, time(Time)};
member(ip, none) -> {address, null};
member(ip, Ip) -> {address, list_to_binary(inet:ntoa(Ip))};
member(round_trip, Microseconds) -> {round_trip_us, term(Microseconds)};
member(latency, Microseconds) -> {latency_us, Microseconds};
member(Key, Value) -> {Key, term(Value)}.

time(Milliseconds) ->
    Options = [{unit, millisecond}, {offset, "Z"}],
    list_to_binary(calendar:system_time_to_rfc3339(Milliseconds, Options)).
