%% @doc Measures how soon a process that does not use eid gets its answers while 10,000 lookups are
%% in flight. The engine accepts connections and never answers. Compares this with an idle node.
-module(bench_latency).

-export([rows/0]).
%% Run on the node.
-export([measure/0]).

-define(ROUNDS, 3).
-define(LOOKUPS, 10_000).
-define(HOST, "127.0.0.6").
-define(PORT, "4243").
%% Processes, and round trips of each process, in each state. The processes pause one to two
%% milliseconds between round trips, so that a slow round trip does not reduce the number of
%% samples. The lookups' time limit is longer than all round trips of a process together.
-define(ASKERS, 10).
-define(ROUND_TRIPS, 500).
-define(RESPONSE_TIMEOUT, "3000").
%% Nanoseconds. The bench's own bound: eid must not block an Erlang scheduler for longer.
-define(BOUND, 1.0e6).

-spec rows() -> [bench_table:row()].
rows() ->
    Engine = start_silent_engine(),
    #{peer := Peer} = Node = bench_hosts:local(["-kernel", "docker_daemon_port", ?PORT,
                                                "-eid", "connect_timeout", "500",
                                                "response_timeout", ?RESPONSE_TIMEOUT]),
    Samples = bench_hosts:call(Node, ?MODULE, measure, []),
    peer:stop(Peer),
    unlink(Engine),
    exit(Engine, kill),
    table(Samples).

table(#{idle := Idle, busy := Busy, in_flight := InFlight}) ->
    [bench_table:row("lookups in flight at the end of each measurement", count,
                     lists:min(InFlight), none, {value, at_least, ?LOOKUPS})
     | [bench_table:row(["an unrelated round trip while 10,000 lookups are in flight, ", Name], ns,
                        At(Busy), {"idle", At(Idle)}, Bound)
        || {Name, At, Bound} <-
               [{"median", fun bench_stats:median/1, none},
                {"99th percentile", fun(S) -> bench_stats:percentile(99, S) end,
                 {value, at_most, ?BOUND}},
                {"longest", fun lists:max/1, none}]]].

%% @doc The samples of both states, and the numbers of lookups in flight.
-spec measure() -> #{idle | busy => [bench_stats:ns()], in_flight => [non_neg_integer()]}.
measure() ->
    %% The first lookup loads the library.
    {error, timeout} = eid:lookup(node_name(0)),
    Rounds = [turn() || _ <- lists:seq(1, ?ROUNDS)],
    #{idle => lists:append([Idle || {Idle, _, _} <- Rounds]),
      busy => lists:append([Busy || {_, Busy, _} <- Rounds]),
      in_flight => [InFlight || {_, _, InFlight} <- Rounds]}.

turn() ->
    Idle = round_trips(),
    Lookups = [spawn_monitor(fun() -> {error, _} = eid:lookup(node_name(N)) end)
               || N <- lists:seq(1, ?LOOKUPS)],
    wait_until_all_wait([Pid || {Pid, _} <- Lookups]),
    Busy = round_trips(),
    InFlight = length([in_flight || {Pid, _} <- Lookups, is_process_alive(Pid)]),
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Lookups],
    {Idle, Busy, InFlight}.

node_name(N) ->
    binary_to_atom(iolist_to_binary(io_lib:format("~12.16.0b@~s", [N, ?HOST]))).

%% Waits until each process has sent its request and waits for the answer.
wait_until_all_wait(Pids) ->
    case [Pid || Pid <- Pids, process_info(Pid, status) =:= {status, runnable}] of
        [] -> ok;
        Runnable -> timer:sleep(1), wait_until_all_wait(Runnable)
    end.

round_trips() ->
    Askers = [spawn_monitor(fun() -> exit({samples, ask_often(spawn_link(fun echo/0))}) end)
              || _ <- lists:seq(1, ?ASKERS)],
    lists:append([receive {'DOWN', Monitor, process, Asker, {samples, Samples}} -> Samples end
                  || {Asker, Monitor} <- Askers]).

ask_often(Echo) ->
    [begin
         timer:sleep(1),
         {Time, ok} = bench_stats:timed(fun() -> ask(Echo) end),
         Time
     end || _ <- lists:seq(1, ?ROUND_TRIPS)].

ask(Echo) ->
    Ref = make_ref(),
    Echo ! {self(), Ref},
    receive Ref -> ok end.

echo() ->
    receive {From, Ref} -> From ! Ref end,
    echo().

start_silent_engine() ->
    {ok, Ip} = inet:parse_address(?HOST),
    Self = self(),
    Engine = spawn_link(fun() ->
                                {ok, Listen} = gen_tcp:listen(list_to_integer(?PORT),
                                                              [{ip, Ip}, {backlog, 1024},
                                                               {reuseaddr, true}]),
                                Self ! {self(), listening},
                                accept(Listen)
                        end),
    receive {Engine, listening} -> Engine end.

accept(Listen) ->
    {ok, _Socket} = gen_tcp:accept(Listen),
    accept(Listen).
