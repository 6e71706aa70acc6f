%% @doc Measures the throughput and the round trip of connections. Two containers of one host use
%% their `bridge' and the `published' port. Across two hosts, containers use the published port, and
%% bare nodes use `inet_tcp'.
%%
%% Each connection is measured twice: as Erlang's distribution, and as a plain TCP connection
%% between the same two nodes (`gen_tcp'), which shows the network's limit.
-module(bench_traffic).

-export([rows/0]).
%% Run on the nodes.
-export([start_peer/0, distribution/3, tcp/3, forget/1]).

-include_lib("kernel/include/net_address.hrl").

-define(ROUNDS, 5).
%% Nanoseconds of one stream, and number of round trips, for each measurement in a round.
-define(STREAM_TIME, 400.0e6).
-define(ROUND_TRIPS, 500).
-define(BLOB, 1_048_576).
-define(TCP_PORT, 12346).

%% The address is the expected remote address of the connection.
-type way() :: {distribution, From :: map(), node(), Route :: default | published | none,
                inet:ip_address()}
             | {tcp, From :: map(), inet:ip_address(), inet:port_number()}.
-type sample() :: {BitsPerSecond :: number(), RoundTrips :: [bench_stats:ns()]}.

-spec rows() -> [bench_table:row()].
rows() -> table(measure()).

measure() ->
    Publish = fun(Host) -> ["-p", eid_rig:host_ip(Host) ++ "::" ++ integer_to_list(?TCP_PORT)] end,
    From = bench_hosts:container(1, []),
    #{id := SameId, node := SameNode} = Same = bench_hosts:container(1, Publish(1)),
    #{id := OtherId, node := OtherNode} = Other = bench_hosts:container(2, Publish(2)),
    BareFrom = bench_hosts:bare(1, "traffic1", ["-start_epmd", "false"]),
    #{node := BareNode} = Bare = bench_hosts:bare(2, "traffic2", ["-start_epmd", "false"]),
    [ok = bench_hosts:call(Peer, ?MODULE, start_peer, []) || Peer <- [Same, Other, Bare]],
    BridgeIp = bridge_ip(SameId),
    {Ip1, Ip2} = {{192, 0, 2, 1}, {192, 0, 2, 2}},
    Ways = [{bridge, {distribution, From, SameNode, default, BridgeIp}},
            {published, {distribution, From, SameNode, published, Ip1}},
            {across, {distribution, From, OtherNode, default, Ip2}},
            {bare, {distribution, BareFrom, BareNode, none, Ip2}},
            {tcp_bridge, {tcp, From, BridgeIp, ?TCP_PORT}},
            {tcp_published, {tcp, From, Ip1, host_port(1, SameId)}},
            {tcp_across, {tcp, From, Ip2, host_port(2, OtherId)}},
            {tcp_bare, {tcp, BareFrom, Ip2, ?TCP_PORT}}],
    Functions = [{Name, fun() -> [sample(Way)] end} || {Name, Way} <- Ways],
    maps:map(fun(_, Samples) -> summary(Samples) end, bench_stats:rounds(?ROUNDS, Functions)).

%% The host port on which the container publishes TCP_PORT.
host_port(Host, Id) ->
    Bindings = eid_rig:docker(Host, ["port ", Id, " ", integer_to_list(?TCP_PORT)]),
    [_Ip, Port] = string:split(hd(string:lexemes(Bindings, "\n")), ":", trailing),
    list_to_integer(Port).

bridge_ip(Id) ->
    Format = "'{{.NetworkSettings.Networks.bridge.IPAddress}}'",
    {ok, Ip} = inet:parse_address(eid_rig:docker(1, ["inspect -f ", Format, " ", Id])),
    Ip.

-spec sample(way()) -> sample() | {other_way, inet:ip_address()}.
sample({tcp, From, Ip, Port}) ->
    bench_hosts:call(From, ?MODULE, tcp, [{Ip, Port}, ?STREAM_TIME, ?ROUND_TRIPS]);
sample({distribution, From, Node, Route, Ip}) ->
    set_route(From, Node, Route),
    Measured = bench_hosts:call(From, ?MODULE, distribution, [Node, ?STREAM_TIME, ?ROUND_TRIPS]),
    ok = bench_hosts:call(From, ?MODULE, forget, [Node]),
    case Measured of
        {Ip, Sample} -> Sample;
        {OtherIp, _} -> {other_way, OtherIp}
    end.

set_route(_From, _Node, none) ->
    ok;
set_route(From, Node, Route) ->
    try ok = bench_hosts:call(From, eid, set_route, [Node, Route])
    catch
        %% A version of eid without the target `published' always dials the published port.
        error:{bad_setting, _} when Route =:= published -> ok
    end.

summary(Samples) ->
    case [Ip || {other_way, Ip} <- Samples] of
        [] ->
            {Bits, RoundTrips} = lists:unzip(Samples),
            {bench_stats:median(Bits), bench_stats:median(lists:append(RoundTrips))};
        [Ip | _] ->
            {other_way, Ip}
    end.

table(Ways) ->
    SameHost = "two containers of one host, `bridge`",
    Across = "two hosts, published port",
    RoundTrip = {ratio, at_most, 0.7},
    NoBounds = {none, none},
    pair(["distribution, ", SameHost], bridge, {"`published`", published}, {none, RoundTrip}, Ways)
    ++ pair(["plain TCP, ", SameHost], tcp_bridge, {"`published`", tcp_published},
            {{ratio, at_least, 1.8}, RoundTrip}, Ways)
    ++ limit("`bridge`", bridge, tcp_bridge, Ways)
    ++ limit("`published`", published, tcp_published, Ways)
    ++ pair(["distribution, ", Across], across, {"`inet_tcp`, bare hosts", bare}, NoBounds, Ways)
    ++ pair(["plain TCP, ", Across], tcp_across, {"bare hosts", tcp_bare}, NoBounds, Ways).

pair(What, Way, {Label, OtherWay}, {StreamBound, RoundTripBound}, Ways) ->
    case {maps:get(Way, Ways), maps:get(OtherWay, Ways)} of
        {{other_way, Ip}, _} -> [other_way(What, Ip)];
        {_, {other_way, Ip}} -> [other_way([What, ", ", Label], Ip)];
        {{Bits, RoundTrip}, {OtherBits, OtherRoundTrip}} ->
            [bench_table:row([What, ": throughput"], bits, Bits, {Label, OtherBits}, StreamBound),
             bench_table:row([What, ": round trip"], ns, RoundTrip, {Label, OtherRoundTrip},
                             RoundTripBound)]
    end.

%% The share of the network's throughput that the distribution carries. The rest is Erlang's own
%% cost.
limit(Route, Way, TcpWay, Ways) ->
    {TcpBits, _} = maps:get(TcpWay, Ways),
    [bench_table:row(["distribution, two containers of one host, ", Route, ": throughput"], bits,
                     Bits, {["plain TCP, ", Route], TcpBits}, none)
     || {Bits, _} <- [maps:get(Way, Ways)], is_number(Bits)].

other_way(What, Ip) ->
    bench_table:missing([What, ": throughput and round trip"],
                        ["the connection went to ", inet:ntoa(Ip), " instead"]).

%% @doc Starts the answering processes: one for the distribution, and one for plain connections.
-spec start_peer() -> ok.
start_peer() ->
    %% The spawned processes are not linked, because the caller ends soon.
    Self = self(),
    spawn(fun() ->
                  true = register(?MODULE, self()),
                  Self ! registered,
                  answer()
          end),
    spawn(fun() ->
                  {ok, Listen} = gen_tcp:listen(?TCP_PORT, [{reuseaddr, true} | tcp_options()]),
                  Self ! listening,
                  accept(Listen)
          end),
    receive registered -> ok end,
    receive listening -> ok end.

answer() ->
    receive
        {reply, From, Ref} -> From ! Ref;
        Blob when is_binary(Blob) -> ok
    end,
    answer().

%% @doc Measures a connection of the distribution. Also returns its remote address.
-spec distribution(node(), bench_stats:ns(), pos_integer()) -> {inet:ip_address(), sample()}.
distribution(Node, StreamTime, RoundTrips) ->
    true = net_kernel:connect_node(Node),
    Peer = {?MODULE, Node},
    {ok, Info} = net_kernel:node_info(Node),
    {address, #net_address{address = {Ip, _Port}}} = lists:keyfind(address, 1, Info),
    Reply = fun() -> Ref = make_ref(), Peer ! {reply, self(), Ref}, receive Ref -> ok end end,
    bench_stats:calls(Reply, 100),
    Trips = round_trips(Reply, RoundTrips),
    Blob = binary:copy(<<0>>, ?BLOB),
    %% The last answer comes when all data has arrived.
    Bits = bits_per_second(fun() -> Peer ! Blob end, Reply, StreamTime),
    {Ip, {Bits, Trips}}.

%% @doc Ends a connection and waits until the node has noticed.
-spec forget(node()) -> ok.
forget(Node) ->
    erlang:monitor_node(Node, true),
    erlang:disconnect_node(Node),
    receive {nodedown, Node} -> ok end.

%% @doc The same measurement over a plain connection.
-spec tcp({inet:ip_address(), inet:port_number()}, bench_stats:ns(), pos_integer()) -> sample().
tcp({Ip, Port}, StreamTime, RoundTrips) ->
    {ok, Socket} = gen_tcp:connect(Ip, Port, tcp_options()),
    Reply = fun() ->
                    ok = gen_tcp:send(Socket, <<1>>),
                    {ok, <<1>>} = gen_tcp:recv(Socket, 1)
            end,
    bench_stats:calls(Reply, 100),
    Trips = round_trips(Reply, RoundTrips),
    ok = gen_tcp:send(Socket, <<0>>),
    Blob = binary:copy(<<0>>, ?BLOB),
    Bits = bits_per_second(fun() -> ok = gen_tcp:send(Socket, Blob) end, Reply, StreamTime),
    ok = gen_tcp:close(Socket),
    {Bits, Trips}.

tcp_options() -> [binary, {active, false}, {nodelay, true}, {buffer, 262_144}].

accept(Listen) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    echo(Socket),
    accept(Listen).

%% Returns each byte 1. A byte 0 begins a stream, and a byte 1 at the end of the stream is returned
%% too.
echo(Socket) ->
    case gen_tcp:recv(Socket, 1) of
        {ok, <<1>> = Byte} -> ok = gen_tcp:send(Socket, Byte), echo(Socket);
        {ok, <<0>>} -> swallow(Socket);
        {error, closed} -> ok
    end.

swallow(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            case binary:last(Data) of
                1 -> ok = gen_tcp:send(Socket, <<1>>), gen_tcp:close(Socket);
                _ -> swallow(Socket)
            end
    end.

round_trips(Reply, Count) ->
    [element(1, bench_stats:timed(Reply)) || _ <- lists:seq(1, Count)].

%% Sends blobs for this time, and waits until the last blob has arrived.
bits_per_second(Send, Last, StreamTime) ->
    Start = bench_stats:now_ns(),
    Blobs = send_until(Send, Start + StreamTime, 0),
    Last(),
    Blobs * ?BLOB * 8 / (bench_stats:now_ns() - Start) * 1.0e9.

send_until(Send, End, Count) ->
    Send(),
    case bench_stats:now_ns() < End of
        true -> send_until(Send, End, Count + 1);
        false -> Count + 1
    end.
