%% @doc The bench's own requests to an engine, with OTP's `httpc', and functions that read the
%% answers. They search the text, because OTP 25 has no JSON parser.
-module(bench_engine).

-export([start/0, fetch/1, post/1, inspect/2, host_port/1, ids/1, number/2]).

-type url() :: string().

%% @doc Starts `httpc', which keeps a connection alive for the next request.
-spec start() -> ok.
start() ->
    {ok, _} = application:ensure_all_started(inets),
    ok.

%% @doc The body of an answer.
-spec fetch(url()) -> binary().
fetch(Url) ->
    {ok, {200, Body}} = httpc:request(get, {Url, []}, [{timeout, 10_000}],
                                      [{body_format, binary}, {full_result, false}]),
    Body.

%% @doc Sends a command and waits until the engine has carried it out.
-spec post(url()) -> ok.
post(Url) ->
    {ok, {204, _}} = httpc:request(post, {Url, [], "application/json", ""}, [{timeout, 30_000}],
                                   [{full_result, false}]),
    ok.

%% @doc Inspects a container.
-spec inspect(Engine :: url(), Id :: string()) -> binary().
inspect(Engine, Id) -> fetch(Engine ++ "/containers/" ++ Id ++ "/json").

%% @doc The host port of the distribution port, in an inspect.
-spec host_port(binary()) -> inet:port_number() | none.
host_port(Inspect) ->
    %% The empty binding in the container's configuration does not match.
    case re:run(Inspect, <<"\"12345/tcp\":\\[{[^]]*\"HostPort\":\"([0-9]+)\"">>,
                [{capture, all_but_first, list}]) of
        {match, [Port]} -> list_to_integer(Port);
        nomatch -> none
    end.

%% @doc All full IDs in a text.
-spec ids(binary()) -> [string()].
ids(Text) ->
    case re:run(Text, <<"\"([0-9a-f]{64})\"">>, [global, {capture, all_but_first, list}]) of
        {match, Matches} -> lists:append(Matches);
        nomatch -> []
    end.

%% @doc A number in a flat JSON object.
-spec number(Key :: string(), binary()) -> integer().
number(Key, Json) ->
    {match, [Number]} = re:run(Json, ["\"", Key, "\":\\s*([0-9]+)"],
                               [{capture, all_but_first, list}]),
    list_to_integer(Number).
