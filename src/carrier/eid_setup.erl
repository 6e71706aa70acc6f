%% @doc The process that sets a connection up: it finds the peer, dials it, and hands the socket to
%% OTP's handshake, which turns the process into the connection's tick process.
%%
%% What was found may be out of date, because a container can get another host port whenever it
%% starts. So a dial that fails, or that reaches another node, makes eid look up and dial once more,
%% and then give up with the reason.
-module(eid_setup).

-export([select/2, start/5]).
%% Started, or called from the connection's process, by full name, so that a reload of this module
%% finds no connection in old code.
-export([init/6, resume/3, tick/1]).

-include_lib("kernel/include/net_address.hrl").
-include_lib("kernel/include/dist_util.hrl").

%% The distribution protocol's version since OTP 23 (`dist.hrl', ERL_DIST_VER_HIGH).
-define(DIST_VERSION, 6).

%% Milliseconds before a busy peer is dialled again, at first and at most.
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
                reporter :: pid(),
                deadline :: integer(),    % of finding and dialling, monotonic milliseconds
                pause = ?FIRST_PAUSE :: pos_integer(),
                hung_up = false :: boolean(),    % the peer has, once
                route :: eid:route() | undefined,
                attempt = first :: first | second}).

%% @doc Whether the name can be dialled over this family of addresses: what is no node name at all
%% can't, nor an IPv6 address over IPv4. Other wrong names pass, and setting up says what is wrong.
-spec select(inet | inet6, node()) -> boolean().
select(Family, Node) ->
    case dist_util:split_node(Node) of
        {node, _Name, Host} -> eid_resolver:is_of_family(Host, Family);
        _ -> false
    end.

%% @doc Starts the process for a connection to `Node'; see {@link eid_tcp_dist:setup/5}.
-spec start(eid_carrier:driver(), node(), normal | hidden, MyNode :: node(),
            SetupTime :: pos_integer()) -> pid().
start(Driver, Node, Type, MyNode, SetupTime) ->
    spawn_opt(?MODULE, init, [Driver, self(), Node, Type, MyNode, SetupTime],
              dist_util:net_ticker_spawn_options()).

%% @private
%% Long and short names are not told apart here as `inet_tcp_dist' does: `erl -remsh ID@HostIP' starts
%% with short names on OTP 25, and a peer takes its connection.
init(Driver, Kernel, Node, Type, MyNode, SetupTime) ->
    Timer = dist_util:start_timer(SetupTime),
    {node, Name, Host} = dist_util:split_node(Node),
    Setup = #setup{driver = Driver, kernel = Kernel, node = Node, name = Name, host = Host,
                   type = Type, my_node = MyNode, setup_time = SetupTime, timer = Timer,
                   reporter = eid_setup_log:start(Node), deadline = deadline(SetupTime)},
    case eid_epmd:route_please(Name, Host, Driver:family()) of
        {ok, Route} -> first_attempt(Setup#setup{route = Route});
        %% route_please has reported it.
        {error, Reason} -> ?shutdown2(Node, {shutdown, Reason})
    end.

first_attempt(Setup) ->
    dist_util:reset_timer(Setup#setup.timer),
    case dial(first_dial_time(Setup), Setup) of
        {ok, Socket} -> handshake(Socket, Setup);
        {error, _} -> second_attempt(Setup)
    end.

%% A bridge is near or it is not there at all.
first_dial_time(#setup{route = #{route := bridge}} = Setup) -> min(?BRIDGE_TIME, time_left(Setup) div 2);
first_dial_time(Setup) -> time_left(Setup) div 2.

second_attempt(#setup{driver = Driver, node = Node, route = Failed} = Setup) ->
    %% Half of the time that is left, so that there is some to dial.
    case eid_resolver:resolve_again(atom_to_binary(Node), Driver:family(), time_left(Setup) div 2, Failed) of
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

%% The peer is there, but was busy with another connection to this node.
dial_again(#setup{pause = Pause, attempt = Attempt} = Setup) ->
    timer:sleep(Pause),
    Longer = Setup#setup{pause = min(2 * Pause, ?LONGEST_PAUSE)},
    case Attempt of
        first -> first_attempt(Longer);
        second -> last_dial(Longer)
    end.

dial(Timeout, #setup{driver = Driver, route = #{ip := Ip, port := Port}}) ->
    Driver:connect(Ip, Port, eid_carrier:connect_options(), Timeout).

%% Ends in the connection's tick loop, or in an exit. Nothing of this module may stay on the stack.
handshake(Socket, #setup{driver = Driver, host = Host, reporter = Reporter, route = Route} = Setup) ->
    eid_info:dialling(Route),
    #{ip := Ip, port := Port} = Route,
    HSData = hs_data(Driver, Socket),
    dist_util:handshake_we_started(
      HSData#hs_data{kernel_pid = Setup#setup.kernel,
                     other_node = Setup#setup.node,
                     this_node = Setup#setup.my_node,
                     timer = Setup#setup.timer,
                     this_flags = 0,
                     other_version = ?DIST_VERSION,
                     request_type = Setup#setup.type,
                     f_recv = recv(Setup),
                     f_address = fun(_Socket, _Node) ->
                                         #net_address{address = {Ip, Port}, host = Host, protocol = tcp,
                                                      family = Driver:family()}
                                 end,
                     f_handshake_complete =
                         fun(_Socket, _Node, _DHandle) -> eid_setup_log:connected(Reporter) end}).

%% Reads the handshake's three packets (status, challenge, acknowledgement), and leaves a handshake
%% that will come to nothing for a new dial. `dist_util' itself would exit then, and catching that would
%% leave this module on the stack of the connection for as long as it lives.
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

%% Goes on with a function, and drops the stack beneath, which is what hibernating does.
leave(Function, Setup) ->
    Ref = make_ref(),
    self() ! Ref,
    erlang:hibernate(?MODULE, resume, [Ref, Function, Setup]).

%% @private
resume(Ref, Function, Setup) ->
    receive Ref -> Function(Setup) end.

%% The status `nok' means that the peer is connecting to us at the same moment, and that its attempt
%% counts: `net_kernel' ends this process when it arrives. But that attempt may itself have died with
%% the connection before this one, and `dist_util' would wait for it until the setup time is over.
verdict(1, {ok, "snok"}, Setup) ->
    case time_left(Setup) of
        0 -> go_on;
        _ -> {dial_again, Setup}
    end;
%% The acceptor hangs up without a word when `net_kernel' there has not yet dealt with the end of the
%% connection before. If it does so again, something else listens on that port. Later in the handshake
%% it hangs up because of the cookie.
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

%% OTP's own connection functions for this socket; on OTP 25, which has no `gen_hs_data/2', the
%% same made from what `inet_tcp_dist' exports there.
hs_data(Driver, Socket) ->
    {module, Otp} = code:ensure_loaded(inet_tcp_dist),
    case erlang:function_exported(Otp, gen_hs_data, 2) of
        true ->
            Otp:gen_hs_data(Driver, Socket);
        false ->
            Nodelay = {nodelay, application:get_env(kernel, dist_nodelay, true) =/= false},
            SetOpts = fun(Options) ->
                              fun(S) -> inet:setopts(S, [{packet, 4}, Nodelay | Options]) end
                      end,
            #hs_data{socket = Socket,
                     f_send = fun Driver:send/2,
                     f_recv = fun Driver:recv/3,
                     f_setopts_pre_nodeup = SetOpts([{active, false}]),
                     f_setopts_post_nodeup = SetOpts([{active, true}, {deliver, port}, binary]),
                     f_getll = fun inet:getll/1,
                     mf_tick = fun ?MODULE:tick/1,
                     mf_getstat = fun Otp:getstat/1,
                     mf_setopts = fun Otp:setopts/2,
                     mf_getopts = fun Otp:getopts/2}
    end.

%% @private
tick(Socket) ->
    inet_tcp_dist:tick(inet_tcp, Socket).

%% A tenth of the setup time is kept for what follows a wait, so that `dist_util''s timer, which
%% kills without a reason, never comes first.
deadline(SetupTime) ->
    erlang:monotonic_time(millisecond) + SetupTime - SetupTime div 10.

time_left(#setup{deadline = Deadline}) ->
    max(0, Deadline - erlang:monotonic_time(millisecond)).
