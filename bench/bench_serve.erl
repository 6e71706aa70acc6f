%% @doc Compares `eid serve' with the engine behind it: both get the same inspects over several
%% connections that are kept alive. Also connects 1,000 clients that follow the events.
-module(bench_serve).

-export([rows/0]).

%% Number of rounds, and milliseconds of each round.
-define(ROUNDS, 5).
-define(ROUND_TIME, 1000).
%% Number of connections, each with one request in flight. This is enough to keep either server
%% busy.
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
     bench_table:row("`eid serve`: subscribers that received a restart", count, Heard, none, {value, at_least, ?SUBSCRIBERS}),
     bench_table:row("`eid serve`: requests to the engine for all subscribers, with the restart", count, Subscribed,
                     {"subscribers", Subscribers}, {value, at_most, 20})].

%% Starts `eid serve' in the host's network, like the engine. It ends with its standard input.
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
    after ?WAIT -> exit({missing, "eid serve does not start"})
    end.

%% Answers a second over all connections. The client is a separate program, because a client in
%% Erlang takes four times as long as the server.
lookups(Socket, Path) ->
    case os:getenv("EID_BENCH_INSPECTS") of
        false -> exit({missing, "the client of the bench is not built"});
        Program ->
            Port = open_port({spawn_executable, Program},
                             [{args, [Socket, Path, integer_to_list(?CONNECTIONS), integer_to_list(?ROUND_TIME)]},
                              {line, 1000}, exit_status]),
            receive
                {Port, {data, {eol, Number}}} -> list_to_integer(Number);
                {Port, {exit_status, Status}} -> exit({missing, io_lib:format("the client ended with status ~b", [Status])})
            after ?WAIT -> exit({missing, "the client does not end"})
            end
    end.

open(Socket) ->
    {ok, Stream} = gen_tcp:connect({local, Socket}, 0, [binary, {active, false}]),
    Stream.

request(Path) -> ["GET ", Path, " HTTP/1.1\r\nHost: h\r\n\r\n"].

%% Returns the number of subscribers that received a restart.
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
