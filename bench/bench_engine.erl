%% @doc What the bench itself asks of an engine, through OTP's `httpc', and what it reads in
%% answers. Reading is searching the text: OTP 25 has no JSON.
-module(bench_engine).

-export([start/0, fetch/1, post/1, inspect/2, host_port/1, ids/1, number/2]).

-type url() :: string().

%% @doc Starts `httpc'. It keeps a connection alive for the next request by itself.
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

%% @doc Asks for something to be done, and waits until it is.
-spec post(url()) -> ok.
post(Url) ->
    {ok, {204, _}} = httpc:request(post, {Url, [], "application/json", ""}, [{timeout, 30_000}],
                                   [{full_result, false}]),
    ok.

%% @doc Inspects a container.
-spec inspect(Engine :: url(), Id :: string()) -> binary().
inspect(Engine, Id) -> fetch(Engine ++ "/containers/" ++ Id ++ "/json").

%% @doc The host port of the erlang port, in an inspect.
-spec host_port(binary()) -> inet:port_number() | none.
host_port(Inspect) ->
    %% The first match is in the container's configuration, where nothing is bound yet.
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
