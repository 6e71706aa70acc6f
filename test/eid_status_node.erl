%% Runs the status page on nodes of every release, without eid's other processes, and sends requests
%% to the page.
-module(eid_status_node).

-behaviour(supervisor).

-export([serve/1, request/3, answer/1, exchange/2, connect/1]).
-export([init/1]).

%% Starts the page as eid's supervisor does.
serve(Config) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, eid_status:child_specs(Config)),
    true = unlink(Supervisor),
    ok.

init(Children) -> {ok, {#{}, Children}}.

request(Page, Method, Path) ->
    answer(exchange(Page, [Method, " ", Path, " HTTP/1.1\r\nhost: a\r\n\r\n"])).

answer(Answer) ->
    [Head, Body] = binary:split(Answer, <<"\r\n\r\n">>),
    [Status | Lines] = string:split(binary_to_list(Head), "\r\n", all),
    ["HTTP/1.1", Code | _] = string:lexemes(Status, " "),
    {list_to_integer(Code),
     maps:from_list([{string:lowercase(Name), string:trim(Value)} || Line <- Lines, [Name, Value] <- [string:split(Line, ":")]]),
     Body}.

%% Each connection serves one request.
exchange(Page, Request) ->
    Socket = connect(Page),
    ok = gen_tcp:send(Socket, Request),
    receive_all(Socket, <<>>).

connect({Ip, Port}) ->
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}]),
    Socket.

receive_all(Socket, Before) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} -> receive_all(Socket, <<Before/binary, Data/binary>>);
        {error, Closed} when Closed =:= closed; Closed =:= econnreset -> Before
    end.
