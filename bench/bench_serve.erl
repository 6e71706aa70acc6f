%% @doc `eid serve' and the engine behind it, asked for the same container in the same way: inspects on connections that are
%% kept alive, several at a time; and a thousand clients that follow the events.
-module(bench_serve).

-export([rows/0]).

%% Each round asks both for so long.
-define(ROUNDS, 5).
-define(ROUND_TIME, 1000).
%% So many connections, each with a request under way: enough to keep either busy.
-define(CONNECTIONS, 16).
-define(SUBSCRIBERS, 1000).
-define(WAIT, 20_000).

-spec rows() -> [bench_table:row()].
rows() ->
    Id = bench_hosts:sleeping_container(1),
    Socket = "/tmp/eid-bench-" ++ os:getpid() ++ ".sock",
    Serve = start(Socket),
    Path = "/v1.41/containers/" ++ Id ++ "/json",
    Engine = eid_rig:socket(1),
    Ask = fun(At) -> fun() -> [lookups(At, Path)] end end,
    #{eid := Eid, engine := Other} = bench_stats:rounds(?ROUNDS, [{eid, Ask(Socket)}, {engine, Ask(Engine)}]),
    Before = requests(Socket),
    {Heard, Streams} = subscribe(Socket, Id),
    Subscribed = requests(Socket) - Before,
    Subscribers = metric(Socket, "eid_serve_event_subscribers"),
    lists:foreach(fun gen_tcp:close/1, Streams),
    port_close(Serve),
    [bench_table:row("`eid serve`: lookups a second, inspects on kept-alive connections", count, bench_stats:median(Eid),
                     {"the engine itself", bench_stats:median(Other)}, {ratio, at_least, 5}),
     bench_table:row("`eid serve`: event subscribers at a time", count, Subscribers, none, {value, at_least, ?SUBSCRIBERS}),
     bench_table:row("`eid serve`: subscribers that heard of a restart", count, Heard, none, {value, at_least, ?SUBSCRIBERS}),
     bench_table:row("`eid serve`: requests that the engine got for them, the restart included", count, Subscribed,
                     {"subscribers", Subscribers}, {value, at_most, 20})].

%% In the host's network, as the engine; it ends with its standard input.
start(Socket) ->
    Eid = filename:join(filename:dirname(filename:dirname(code:which(eid))), "priv/eid"),
    Script = "\"$@\" 2>&1 & read end; kill $!; wait $!",
    Port = open_port({spawn_executable, eid_rig:script()},
                     [{args, ["exec", "1", "sh", "-c", Script, "sh", Eid, "serve", "--docker", "unix://" ++ eid_rig:socket(1),
                              "--listen", "unix://" ++ Socket, "--rate", "0"]},
                      exit_status, {line, 1000}]),
    await(Port),
    Port.

await(Port) ->
    receive
        {Port, {data, {_, Line}}} ->
            case string:find(Line, "following") of
                nomatch -> await(Port);
                _ -> ok
            end;
        {Port, {exit_status, Status}} -> exit({missing, io_lib:format("eid serve ended with status ~b", [Status])})
    after ?WAIT -> exit({missing, "eid serve does not begin"})
    end.

%% Answers a second of all connections together.
lookups(Socket, Path) ->
    Self = self(),
    End = bench_stats:now_ns() + ?ROUND_TIME * 1_000_000,
    Request = iolist_to_binary(request(Path)),
    Askers = [spawn_link(fun() ->
                                 Stream = open(Socket),
                                 ok = gen_tcp:send(Stream, Request),
                                 Size = answer_size(Stream, <<>>),
                                 Self ! {self(), ask(Stream, Request, Size, End, 1)}
                         end) || _ <- lists:seq(1, ?CONNECTIONS)],
    Answers = lists:sum([receive {Asker, Count} -> Count end || Asker <- Askers]),
    Answers * 1000 / ?ROUND_TIME.

%% The answers about a container that stays as it is have one length, so little is spent on reading them.
ask(Stream, Request, Size, End, Count) ->
    case bench_stats:now_ns() < End of
        true ->
            ok = gen_tcp:send(Stream, Request),
            {ok, <<"HTTP/1.1 200 OK\r\n", _/binary>>} = gen_tcp:recv(Stream, Size, ?WAIT),
            ask(Stream, Request, Size, End, Count + 1);
        false ->
            gen_tcp:close(Stream),
            Count
    end.

%% A whole body has the length that the head says, or the last of its chunks.
answer_size(Stream, Before) ->
    {ok, More} = gen_tcp:recv(Stream, 0, ?WAIT),
    Answer = <<Before/binary, More/binary>>,
    case is_whole(Answer) of
        true -> byte_size(Answer);
        false -> answer_size(Stream, Answer)
    end.

is_whole(<<"HTTP/1.1 200 OK\r\n", _/binary>> = Answer) ->
    case binary:split(Answer, <<"\r\n\r\n">>) of
        [Head, Body] ->
            case binary:split(Head, [<<"ontent-length: ">>, <<"ontent-Length: ">>]) of
                [_, After] ->
                    [Length | _] = binary:split(After, <<"\r\n">>),
                    byte_size(Body) >= binary_to_integer(Length);
                [_] ->
                    binary:longest_common_suffix([Body, <<"\r\n0\r\n\r\n">>]) =:= 7
            end;
        [_] -> false
    end.

open(Socket) ->
    {ok, Stream} = gen_tcp:connect({local, Socket}, 0, [binary, {active, false}]),
    Stream.

request(Path) -> ["GET ", Path, " HTTP/1.1\r\nHost: h\r\n\r\n"].

%% How many of them hear of a restart.
subscribe(Socket, Id) ->
    Streams = [follow(Socket) || _ <- lists:seq(1, ?SUBSCRIBERS)],
    eid_rig:docker(1, ["restart -t 0 ", Id]),
    {length([Stream || Stream <- Streams, hears(Stream, <<>>)]), Streams}.

follow(Socket) ->
    Stream = open(Socket),
    ok = gen_tcp:send(Stream, request("/events")),
    {ok, <<"HTTP/1.1 200 OK\r\n", _/binary>>} = gen_tcp:recv(Stream, 0, ?WAIT),
    Stream.

hears(Stream, Before) ->
    case gen_tcp:recv(Stream, 0, ?WAIT) of
        {ok, More} ->
            Heard = <<Before/binary, More/binary>>,
            binary:match(Heard, <<"\"Action\":\"start\"">>) =/= nomatch orelse hears(Stream, Heard);
        {error, _} -> false
    end.

requests(Socket) -> metric(Socket, "eid_serve_upstream_requests_total").

metric(Socket, Name) ->
    Stream = open(Socket),
    ok = gen_tcp:send(Stream, ["GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]),
    {match, [Number]} = re:run(all(Stream), ["\n", Name, " ([0-9]+)"], [{capture, all_but_first, list}]),
    gen_tcp:close(Stream),
    list_to_integer(Number).

all(Stream) ->
    case gen_tcp:recv(Stream, 0, ?WAIT) of
        {ok, More} -> [More | all(Stream)];
        {error, closed} -> []
    end.
