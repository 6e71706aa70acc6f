%% @doc Measures how long after an engine's `start' event eid knows the new port of a restarted
%% container.
%%
%% A bare node on host 1 reads the raw event stream of host 2's engine. After the event it calls
%% `eid:lookup/1' once a millisecond until the port changes. In some rounds the node inspects the
%% container at the event instead, which shows how soon the engine has the new port.
-module(bench_restart).

-export([rows/0]).
%% Run on the node.
-export([measure/1]).

-define(ROUNDS, 100).
%% Number of rounds with an inspect, which comes before the round's lookup.
-define(INSPECTS, 20).
-define(GIVE_UP, 10_000).

-spec rows() -> [bench_table:row()].
rows() ->
    Id = bench_hosts:sleeping_container(2),
    Asker = bench_hosts:bare(1, "watcher", ["-proto_dist", "eid_tcp", "-start_epmd", "false"]),
    table(bench_hosts:call(Asker, ?MODULE, measure, [Id])).

table(#{lookup := Lookups, inspect := Inspects}) ->
    [bench_table:row(["new port known after the `start` event, ", Name], ns, At(Lookups),
                     {"`httpc` inspect at the event", At(Inspects)}, Bound)
     || {Name, At, Bound} <-
            [{"median", fun bench_stats:median/1, none},
             {"99th percentile", fun(S) -> bench_stats:percentile(99, S) end, none},
             {"longest", fun lists:max/1, {value, at_most, 50.0e6}}]]
    ++ [bench_table:row("restarts", count, length(Lookups), none, {value, at_least, ?ROUNDS})].

%% @doc Restarts the container again and again. Returns the time from each event until the new port
%% was known.
-spec measure(Id :: string()) -> #{lookup | inspect => [bench_stats:ns()]}.
measure(Id) ->
    bench_engine:start(),
    Engine = bench_hosts:engine(2),
    Node = list_to_atom(Id ++ "@" ++ eid_rig:host_ip(2)),
    Lookup = fun() ->
                     case eid:lookup(Node) of
                         {ok, #{port := Port}} -> Port;
                         {error, _} -> none
                     end
             end,
    Inspect = fun() -> bench_engine:host_port(bench_engine:inspect(Engine, Id)) end,
    %% In one second eid learns all containers, and then answers without a request.
    _ = Lookup(),
    timer:sleep(1000),
    Events = events(Id),
    Every = ?ROUNDS div ?INSPECTS,
    Samples = [{Name, restart(Events, Engine, Id, Ask, Inspect)}
               || Round <- lists:seq(1, ?ROUNDS),
                  {Name, Ask} <- [{inspect, Inspect} || Round rem Every =:= 0]
                      ++ [{lookup, Lookup}]],
    maps:from_list([{Name, [Time || {N, Time} <- Samples, N =:= Name]}
                    || Name <- [lookup, inspect]]).

%% The time from the event until the answer is not the former port. The answer must be the new port.
restart(Events, Engine, Id, Ask, Inspect) ->
    Former = Inspect(),
    Url = Engine ++ "/containers/" ++ Id ++ "/restart?t=0",
    {_, Restart} = spawn_monitor(fun() -> bench_engine:post(Url) end),
    Start = next_start(Events),
    {Known, Port} = ask_until_changed(Ask, Former, Start + ?GIVE_UP * 1_000_000),
    receive {'DOWN', Restart, process, _, normal} -> ok end,
    Port = Inspect(),
    Known - Start.

ask_until_changed(Ask, Former, GiveUp) ->
    Port = Ask(),
    case bench_stats:now_ns() of
        Now when Port =/= none, Port =/= Former -> {Now, Port};
        Now when Now < GiveUp -> timer:sleep(1), ask_until_changed(Ask, Former, GiveUp)
    end.

%% The engine's stream of this container's `start' events.
events(Id) ->
    Filters = ["{\"type\":[\"container\"],\"event\":[\"start\"],\"container\":[\"", Id, "\"]}"],
    {ok, Socket} = gen_tcp:connect(eid_rig:host_ip(2), 4243, [binary, {active, true}]),
    ok = gen_tcp:send(Socket, ["GET /events?filters=", uri_string:quote(lists:flatten(Filters)),
                               " HTTP/1.1\r\nHost: engine\r\n\r\n"]),
    receive {tcp, Socket, <<"HTTP/1.1 200", _/binary>>} -> Socket end.

next_start(Events) ->
    receive
        {tcp, Events, Data} ->
            Now = bench_stats:now_ns(),
            case binary:match(Data, <<"\"start\"">>) of
                nomatch -> next_start(Events);
                _ -> Now
            end
    after ?GIVE_UP -> error(no_event)
    end.
