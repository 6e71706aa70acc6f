%% @doc Answers the requests to the status page. It is the only module of the `httpd' server (see
%% "Inets Web Server API" in OTP's documentation), so the server has no other pages.
-module(eid_status_http).

-behaviour(httpd_custom_api).

-export([do/1, response_default_headers/0, response_header/1, request_header/1]).

-include_lib("inets/include/httpd.hrl").
-include_lib("kernel/include/logger.hrl").

%% A client must take a part of this many bytes within this many milliseconds.
-define(PART, 65536).
-define(SEND_TIMEOUT, 5000).

-type answer() :: {Status :: 200..599, ContentType :: string(), Body :: iodata()}.

%% @doc Answers a request.
-spec do(#mod{}) -> {proceed, [{response, {response, [{atom() | string(), term()}],
                                           nobody | {fun(), list()}}}]}.
do(#mod{method = Method, request_uri = Uri, config_db = Settings, socket = Socket}) ->
    [Path | _] = string:split(Uri, "?"),
    {Status, Type, Text} =
        try answer(Method, Path, httpd_util:lookup(Settings, eid_ready))
        catch
            Class:Reason:Stack ->
                ?LOG_ERROR("The status page has no answer to ~ts: ~0tp",
                           [Path, {Class, Reason, Stack}]),
                plain(500, "eid could not make this page; its log says why\n")
        end,
    Body = iolist_to_binary(Text),
    Headers = [{code, Status}, {content_type, Type},
               {content_length, integer_to_list(byte_size(Body))} | more_headers(Status, Type)],
    {proceed, [{response, {response, Headers, case Method of
                                                  "HEAD" -> nobody;
                                                  _ -> {fun send/2, [Socket, Body]}
                                              end}}]}.

%% Closes the connection of a client that does not read its answer. `httpd' would give the whole
%% answer to the socket, which would keep it for as long as the client likes, even after a close.
%% This function sends parts and waits for each. The last, empty part waits for the part before it.
send(Socket, Body) ->
    _ = inet:setopts(Socket, [{high_watermark, 2}, {low_watermark, 1},
                              {send_timeout, ?SEND_TIMEOUT}, {send_timeout_close, true}]),
    send_parts(Socket, Body).

send_parts(Socket, Body) ->
    Size = min(?PART, byte_size(Body)),
    case gen_tcp:send(Socket, binary:part(Body, 0, Size)) of
        ok when Size > 0 -> send_parts(Socket, binary:part(Body, Size, byte_size(Body) - Size));
        ok -> sent;
        {error, _} -> close
    end.

-spec answer(Method :: string(), Path :: string(), Required :: non_neg_integer()) -> answer().
answer(Method, Path, Required) ->
    case {is_resource(Path), Method} of
        {false, _} -> plain(404, "There is /, /cluster.json, /metrics, /live and /ready.\n");
        {true, "GET"} -> get(Path, Required);
        {true, "HEAD"} -> get(Path, Required);
        {true, _} -> plain(405, "Only GET and HEAD.\n")
    end.

is_resource(Path) ->
    lists:member(Path, ["/", "/status.css", "/status.js", "/cluster.json", "/metrics", "/live",
                        "/ready"]).

get("/", Required) ->
    {200, "text/html; charset=utf-8", eid_status_html:render(eid_status_data:read(Required))};
get("/status.css" = Path, _Required) ->
    {200, "text/css; charset=utf-8", file(Path)};
get("/status.js" = Path, _Required) ->
    {200, "text/javascript; charset=utf-8", file(Path)};
get("/cluster.json", Required) ->
    {200, "application/json", eid_status_json:render(eid_status_data:read(Required))};
get("/metrics", Required) ->
    {200, "text/plain; version=0.0.4; charset=utf-8",
     eid_status_metrics:render(eid_status_data:read(Required))};
get("/live", _Required) ->
    plain(200, "live\n");
get("/ready", Required) ->
    #{ready := Ready, connected := Connected} = eid_status_data:readiness(Required),
    {Status, Text} = case Ready of
                         true -> {200, "ready"};
                         false -> {503, "not ready"}
                     end,
    plain(Status, io_lib:format("~ts: ~b connected, ~b needed\n", [Text, Connected, Required])).

file("/" ++ Name) ->
    {ok, Content} = file:read_file(filename:join(eid_library:priv_dir(), Name)),
    Content.

plain(Status, Text) -> {Status, "text/plain; charset=utf-8", Text}.

more_headers(405, _Type) -> [{"allow", "GET, HEAD"}];
more_headers(_Status, "text/html" ++ _) ->
    [{"content-security-policy", eid_status_html:security_policy()}];
more_headers(_Status, _Type) -> [].

%% @doc The headers of every answer, including the error pages of `httpd'.
-spec response_default_headers() -> [{string(), string()}].
response_default_headers() ->
    [{"cache-control", "no-store"},
     {"content-security-policy", "default-src 'none'; frame-ancestors 'none'"},
     {"x-content-type-options", "nosniff"},
     {"referrer-policy", "no-referrer"}].

response_header(Header) -> {true, Header}.

request_header(Header) -> {true, Header}.
