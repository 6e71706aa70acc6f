%% Helpers for all suites: they start Erlang nodes at addresses that no other test run uses, read
%% what a node prints and logs, and wait for a condition.
-module(eid_ct).

-export([ip/1, address/1, free_port/1, await_free/1, start_node/3, arguments/1, ebin/0, root/0, run_erl/2,
         log_lines/1, take_log/1, start_log/1, eventually/1, eventually/2, times/1, start_proxy/2]).
-export([keep_log/0, log/2, take_lines/0]).    % on the node

%% Returns the N-th loopback address of this test run, as text. Each run has its own network,
%% because nodes of two runs on one machine listen on the same port.
-spec ip(1..254) -> string().
ip(N) -> inet:ntoa(address(N)).

-spec address(1..254) -> inet:ip4_address().
address(N) ->
    {A, B} = case persistent_term:get({?MODULE, network}, none) of
                 none -> claim_network();
                 Claimed -> Claimed
             end,
    {127, A, B, N}.

%% Claims a network for this run: a process listens in the network until the run ends.
claim_network() ->
    Self = self(),
    {A, B} = Network = {99 + rand:uniform(100), rand:uniform(254)},
    Own = fun() ->
                  {ok, _} = gen_tcp:listen(12345, [{ip, {127, A, B, 255}}]),
                  Self ! {self(), claimed},
                  receive never -> ok end
          end,
    {Owner, Monitor} = spawn_monitor(Own),
    receive
        {Owner, claimed} ->
            true = demonitor(Monitor, [flush]),
            persistent_term:put({?MODULE, network}, Network),
            Network;
        {'DOWN', Monitor, process, Owner, {{badmatch, {error, eaddrinuse}}, _}} ->
            claim_network()
    end.

%% Returns a free port at this address. Linux gives no port of this range to an outgoing connection.
-spec free_port(inet:ip_address()) -> inet:port_number().
free_port(Ip) ->
    Port = 20_000 + rand:uniform(10_000),
    case gen_tcp:listen(Port, [{ip, Ip}]) of
        {ok, Socket} -> ok = gen_tcp:close(Socket), Port;
        {error, eaddrinuse} -> free_port(Ip)
    end.

%% Starts an Erlang node at a loopback address, controlled through its standard input and output.
%% The previous node at the address may still be ending, because peer:stop/1 does not wait for its
%% VM.
start_node(Name, Ip, Arguments) ->
    lists:member("-dist_listen", Arguments) orelse await_free(Ip),
    peer:start_link(#{name => Name, host => Ip, longnames => true, connection => standard_io,
                      wait_boot => 60_000, args => arguments(Ip) ++ Arguments}).

%% Waits until no node listens at this address.
-spec await_free(Ip :: string()) -> ok.
await_free(Ip) ->
    {ok, Address} = inet:parse_address(Ip),
    eventually(fun() ->
                       case gen_tcp:listen(12345, [{ip, Address}, {reuseaddr, true}]) of
                           {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
                           {error, eaddrinuse} -> false
                       end
               end).

%% Arguments for nodes on one machine that listen on the same port at different loopback addresses,
%% without Docker.
arguments(Ip) ->
    {ok, Address} = inet:parse_address(Ip),
    ["-pa", ebin(), "-proto_dist", "eid_tcp", "-start_epmd", "false", "-setcookie", "eid_ct",
     "-kernel", "inet_dist_use_interface", term(Address),
     "-eid", "routes", term(#{"127.0.0.0/8" => direct})].

term(Term) -> lists:flatten(io_lib:format("~0p", [Term])).

ebin() -> filename:absname(filename:dirname(code:which(eid))).

%% Returns the directory of the checkout. The tests may have been compiled in a copy of it.
root() -> root(filename:absname(filename:dirname(code:which(?MODULE)))).

root("/") -> error(no_checkout);
root(Dir) ->
    case filelib:is_file(filename:join(Dir, "Makefile")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.

%% Runs erl until it exits, with additional environment variables. Returns its exit status and its
%% output.
run_erl(Arguments, Environment) ->
    Port = open_port({spawn_executable, os:find_executable("erl")},
                     [{args, Arguments}, {env, Environment}, exit_status, stderr_to_stdout, binary]),
    collect(Port, <<>>).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, <<Output/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Output}
    after 60_000 -> error({erl_hangs, Output})
    end.

%% Starts to record the lines that eid logs on a node.
start_log(Peer) ->
    {module, _} = peer:call(Peer, code, load_binary, binary(?MODULE)),
    ok = peer:call(Peer, ?MODULE, keep_log, []),
    ok = peer:call(Peer, logger, add_handler, [?MODULE, ?MODULE, #{}]).

binary(Module) ->
    {Module, Binary, File} = code:get_object_code(Module),
    [Module, File, Binary].

%% Starts a process that only owns the table of log lines.
keep_log() ->
    Self = self(),
    _ = spawn(fun() ->
                      ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
                      Self ! {?MODULE, made},
                      receive never -> ok end
              end),
    receive {?MODULE, made} -> ok end.

log(#{level := Level, msg := {Format, Arguments}, meta := #{mfa := {Module, _, _}}}, _Config) ->
    case lists:member(Module, [eid_failures, eid_library, eid_resolver, eid_discovery_connector,
                               eid_discovery_cluster]) andalso Level =/= debug of
        true -> ets:insert(?MODULE, {erlang:unique_integer([monotonic]), lists:flatten(io_lib:format(Format, Arguments))});
        false -> ok
    end;
log(_Event, _Config) ->
    ok.

%% Returns the lines since start_log/1 or the last take_log/1.
log_lines(Peer) ->
    [Line || {_, Line} <- peer:call(Peer, ets, tab2list, [?MODULE])].

take_log(Peer) -> peer:call(Peer, ?MODULE, take_lines, []).

take_lines() ->
    [Line || {Key, _} <- ets:tab2list(?MODULE), {_, Line} <- ets:take(?MODULE, Key)].

%% Waits until a condition holds. No other function of the suites waits by the clock. The time limit
%% only ends a test that hangs.
eventually(Condition) -> eventually(Condition, 30_000).

eventually(Condition, Milliseconds) ->
    eventually_until(Condition, erlang:monotonic_time(millisecond) + Milliseconds).

eventually_until(Condition, Deadline) ->
    IsLate = erlang:monotonic_time(millisecond) > Deadline,
    case Condition() of
        true -> ok;
        _ when IsLate -> error({never, Condition});
        _ -> timer:sleep(20), eventually_until(Condition, Deadline)
    end.

%% Returns how often to repeat a step: N times in `make test', and EID_SOAK times as often in `make
%% soak'.
-spec times(pos_integer()) -> pos_integer().
times(N) -> N * list_to_integer(os:getenv("EID_SOAK", "1")).

%% Starts a TCP proxy on 127.0.0.1. Returns its port and a counter of accepted connections.
start_proxy(Ip, Port) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, binary, {active, false}]),
    Accepted = counters:new(1, []),
    Acceptor = spawn_link(fun() -> accept_loop(Listen, Ip, Port, Accepted) end),
    ok = gen_tcp:controlling_process(Listen, Acceptor),
    {ok, ProxyPort} = inet:port(Listen),
    {ProxyPort, Accepted}.

accept_loop(Listen, Ip, Port, Accepted) ->
    {ok, Client} = gen_tcp:accept(Listen),
    counters:add(Accepted, 1, 1),
    {ok, Server} = gen_tcp:connect(Ip, Port, [binary, {active, false}]),
    [begin
         Pump = spawn(fun() -> receive go -> pump(From, To) end end),
         ok = gen_tcp:controlling_process(From, Pump),
         Pump ! go
     end || {From, To} <- [{Client, Server}, {Server, Client}]],
    accept_loop(Listen, Ip, Port, Accepted).

pump(From, To) ->
    case gen_tcp:recv(From, 0) of
        {ok, Data} -> ok = gen_tcp:send(To, Data), pump(From, To);
        {error, _} -> gen_tcp:shutdown(To, write)
    end.
