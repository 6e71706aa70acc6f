%% @doc The process that sets up a connection: it finds the peer, dials it, and starts OTP's
%% handshake, which turns the process into the connection's tick process.
%%
%% A route may be out of date, because a container can get another host port whenever it starts. If
%% a dial fails or reaches another node, eid looks up and dials once more. Then it gives up with the
%% reason.
-module(eid_setup).

-export([select/2, start/5]).
%% Started, or called from the connection's process, by full name, so that no connection runs old
%% code after a reload of this module.
-export([init/6, resume/3, tick/1]).

-include_lib("kernel/include/net_address.hrl").
-include_lib("kernel/include/dist_util.hrl").

%% The distribution protocol's version since OTP 23 (`dist.hrl', ERL_DIST_VER_HIGH).
-define(DIST_VERSION, 6).

%% Milliseconds until a busy peer is dialled again, at first and at most.
-define(FIRST_PAUSE, 10).
-define(LONGEST_PAUSE, 500).

%% Milliseconds to dial over a bridge before the published port is dialled.
-define(BRIDGE_TIME, 1000).

-record(setup, {driver :: eid_carrier:driver(),
                kernel :: pid(),
                node :: node(),
                name :: string(),
                host :: string(),
                type :: normal | hidden,
                my_node :: node(),
                setup_time :: pos_integer(),
                timer :: pid(),
                watcher :: pid(),
                deadline :: integer(),    % of lookups and dials, monotonic milliseconds
                pause = ?FIRST_PAUSE :: pos_integer(),
                hung_up = false :: boolean(),    % the peer hung up once
                route :: eid:route() | undefined,
                attempt = first :: first | second}).

%% @doc True if the name can be dialled over this family of addresses. A text that is not a node
%% name can't, and an IPv6 address can't over IPv4. Other wrong names pass, and the set-up reports
%% them.
-spec select(inet | inet6, node()) -> boolean().
select(Family, Node) ->
    case dist_util:split_node(Node) of
        {node, _Name, Host} -> eid_resolver:is_of_family(Host, Family);
        _ -> false
    end.

%% @doc Starts the process for a connection to `Node'. See the callback `setup' of
%% {@link eid_carrier}.
-spec start(eid_carrier:driver(), node(), normal | hidden, MyNode :: node(),
            SetupTime :: pos_integer()) -> pid().
start(Driver, Node, Type, MyNode, SetupTime) ->
    spawn_opt(?MODULE, init, [Driver, self(), Node, Type, MyNode, SetupTime],
              dist_util:net_ticker_spawn_options()).

%% @private
%% It accepts long and short names, unlike `inet_tcp_dist': `erl -remsh ID@HostIP' starts with short
%% names on OTP 25, and a peer takes its connection.
-spec init(eid_carrier:driver(), Kernel :: pid(), node(), normal | hidden, MyNode :: node(),
           SetupTime :: pos_integer()) -> no_return().
init(Driver, Kernel, Node, Type, MyNode, SetupTime) ->
    Timer = dist_util:start_timer(SetupTime),
    {node, Name, Host} = dist_util:split_node(Node),
    Setup = #setup{driver = Driver, kernel = Kernel, node = Node, name = Name, host = Host,
                   type = Type, my_node = MyNode, setup_time = SetupTime, timer = Timer,
                   watcher = eid_setup_log:start(Node), deadline = deadline(SetupTime)},
    case eid_epmd:route_please(Name, Host, Driver:family()) of
        {ok, Route} -> first_attempt(Setup#setup{route = Route});
        %% route_please has reported the reason.
        {error, Reason} -> ?shutdown2(Node, {shutdown, Reason})
    end.

first_attempt(Setup) ->
    dist_util:reset_timer(Setup#setup.timer),
    case dial(first_dial_time(Setup), Setup) of
        {ok, Socket} -> handshake(Socket, Setup);
        {error, _} -> second_attempt(Setup)
    end.

%% On a bridge a dial succeeds within milliseconds or never, so fail over early.
first_dial_time(#setup{route = #{route := bridge}} = Setup) ->
    min(?BRIDGE_TIME, time_left(Setup) div 2);
first_dial_time(Setup) -> time_left(Setup) div 2.

second_attempt(#setup{driver = Driver, node = Node, route = Failed} = Setup) ->
    %% Keep half of the remaining time for the dial.
    case eid_resolver:resolve_again(atom_to_binary(Node), Driver:family(), time_left(Setup) div 2,
                                    Failed) of
        {ok, Route} ->
            dist_util:reset_timer(Setup#setup.timer),
            last_dial(Setup#setup{route = Route, attempt = second});
        {error, Reason} ->
            ?shutdown2(Node, Reason)
    end.

last_dial(#setup{node = Node, route = Route} = Setup) ->
    case dial(time_left(Setup), Setup) of
        {ok, Socket} -> handshake(Socket, Setup);
        {error, Posix} -> ?shutdown2(Node, {dial, Route, Posix})
    end.

%% The peer was busy with another connection to this node.
dial_again(#setup{pause = Pause, attempt = Attempt} = Setup) ->
    timer:sleep(Pause),
    Longer = Setup#setup{pause = min(2 * Pause, ?LONGEST_PAUSE)},
    case Attempt of
        first -> first_attempt(Longer);
        second -> last_dial(Longer)
    end.

dial(Timeout, #setup{driver = Driver, route = #{ip := Ip, port := Port}}) ->
    Driver:connect(Ip, Port, eid_config:connect_options(), Timeout).

%% Ends in the connection's tick loop, or in an exit. This module must not stay on the stack.
%%
%% The functions are those of `inet_tcp_dist:gen_hs_data/2', which OTP 25 does not have.
handshake(Socket, #setup{driver = Driver, host = Host, watcher = Watcher, route = Route} = Setup) ->
    eid_epmd:note_route(Route),
    #{ip := Ip, port := Port} = Route,
    Nodelay = {nodelay, application:get_env(kernel, dist_nodelay, true) =/= false},
    SetOpts = fun(Options) ->
                      fun(S) -> inet:setopts(S, [{packet, 4}, Nodelay | Options]) end
              end,
    dist_util:handshake_we_started(
      #hs_data{kernel_pid = Setup#setup.kernel,
               other_node = Setup#setup.node,
               this_node = Setup#setup.my_node,
               socket = Socket,
               timer = Setup#setup.timer,
               this_flags = 0,
               other_version = ?DIST_VERSION,
               request_type = Setup#setup.type,
               f_send = fun Driver:send/2,
               f_recv = recv(Setup),
               f_setopts_pre_nodeup = SetOpts([{active, false}]),
               f_setopts_post_nodeup = SetOpts([{active, true}, {deliver, port}, binary]),
               f_getll = fun inet:getll/1,
               f_address = fun(_Socket, _Node) ->
                                   #net_address{address = {Ip, Port}, host = Host, protocol = tcp,
                                                family = Driver:family()}
                           end,
               f_handshake_complete =
                   fun(_Socket, _Node, _DHandle) -> eid_setup_log:connected(Watcher) end,
               mf_tick = fun ?MODULE:tick/1,
               mf_getstat = fun inet_tcp_dist:getstat/1,
               mf_setopts = fun inet_tcp_dist:setopts/2,
               mf_getopts = fun inet_tcp_dist:getopts/2}).

%% Reads the handshake's three packets (status, challenge, acknowledgement). If the handshake is
%% bound to fail, it leaves it for a new dial. `dist_util' would exit then, and a catch of that exit
%% would keep this module on the connection's stack for as long as it lives.
recv(#setup{driver = Driver} = Setup) ->
    Packets = counters:new(1, []),
    fun(Socket, Length, Timeout) ->
            Received = Driver:recv(Socket, Length, Timeout),
            counters:add(Packets, 1, 1),
            case verdict(counters:get(Packets, 1), Received, Setup) of
                go_on ->
                    Received;
                ask_again ->
                    Driver:close(Socket),
                    leave(fun second_attempt/1,
                          Setup#setup{deadline = deadline(Setup#setup.setup_time)});
                {dial_again, NewSetup} ->
                    Driver:close(Socket),
                    leave(fun dial_again/1, NewSetup)
            end
    end.

%% Goes on with a function without the stack beneath: hibernation drops it.
leave(Function, Setup) ->
    Ref = make_ref(),
    self() ! Ref,
    erlang:hibernate(?MODULE, resume, [Ref, Function, Setup]).

%% @private
-spec resume(reference(), fun((#setup{}) -> no_return()), #setup{}) -> no_return().
resume(Ref, Function, Setup) ->
    receive Ref -> Function(Setup) end.

%% The status `nok' means that the peer connects to us at the same moment and that its attempt wins:
%% `net_kernel' ends this process when it arrives. But that attempt may have died with the previous
%% connection, and `dist_util' would wait for it until the setup time is over.
verdict(1, {ok, "snok"}, Setup) ->
    case time_left(Setup) of
        0 -> go_on;
        _ -> {dial_again, Setup}
    end;
%% The acceptor hangs up silently if its `net_kernel' has not yet handled the end of the previous
%% connection. If it hangs up again, another program listens on that port. Later in the handshake it
%% hangs up because of the cookie.
verdict(Packet, {error, closed}, #setup{hung_up = false} = Setup) when Packet < 3 ->
    {dial_again, Setup#setup{hung_up = true}};
verdict(Packet, {error, closed}, #setup{attempt = first}) when Packet < 3 ->
    ask_again;
%% The challenge is `N', flags (8 bytes), challenge (4), creation (4), length of the name (2), name
%% (ERTS User's Guide, "Distribution Protocol", "Distribution Handshake").
verdict(2, {ok, [$N | Rest]}, #setup{node = Node, attempt = first}) when length(Rest) > 18 ->
    {_, [High, Low | Tail]} = lists:split(16, Rest),
    case lists:sublist(Tail, High bsl 8 + Low) =:= atom_to_list(Node) of
        true -> go_on;
        false -> ask_again
    end;
verdict(_Packet, _Received, _Setup) ->
    go_on.

%% @private
-spec tick(inet:socket()) -> ok | {error, term()}.
tick(Socket) ->
    inet_tcp_dist:tick(inet_tcp, Socket).

%% The last tenth of the setup time is for the steps after a wait. Otherwise the timer of
%% `dist_util', which kills without a reason, could come first.
deadline(SetupTime) ->
    erlang:monotonic_time(millisecond) + SetupTime - SetupTime div 10.

time_left(#setup{deadline = Deadline}) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).
