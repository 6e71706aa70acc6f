%% @doc The common part of the carriers {@link eid_tcp_dist} and {@link eid6_tcp_dist}: they listen
%% on the distribution port, with the socket options of `inet_tcp_dist'.
%%
%% The callbacks are those of a distribution module in `net_kernel' (ERTS User's Guide, "How to
%% Implement an Alternative Carrier for the Erlang Distribution"). A node listens on its
%% distribution port and asks {@link eid_epmd} for the address of a peer. OTP's `inet_tcp_dist' and
%% `dist_util' do the rest.
-module(eid_carrier).

-export([listen/2, address/1]).

-export_type([driver/0]).

-include_lib("kernel/include/net_address.hrl").

-type driver() :: inet_tcp | inet6_tcp.
%% The module of `kernel' for a carrier's sockets.

-callback listen(Name :: atom(), Host :: string()) ->
    {ok, {inet:socket(), #net_address{}, Creation :: -1}} | {error, term()}.
%% Listens on the distribution port. Creation -1 makes `net_kernel' choose a random one. The error
%% is a sentence if the port is taken. Raises {@link eid_config:bad_setting()}.

-callback accept(inet:socket()) -> pid().
%% Starts the process that accepts connections and gives each to `net_kernel' (its caller).

-callback accept_connection(AcceptPid :: pid(), inet:socket(), MyNode :: node(),
                            Allowed :: [node()], SetupTimeMs :: pos_integer()) -> pid().
%% Starts the process that does the handshake of an accepted connection and becomes its tick
%% process.

-callback setup(node(), Type :: normal | hidden, MyNode :: node(), longnames | shortnames,
                SetupTimeMs :: pos_integer()) -> pid().
%% Starts the process that finds and dials a node and does the handshake. Returns at once, because
%% `net_kernel' waits for it. The process is linked, does not trap exits, and becomes the
%% connection's tick process.

-callback select(node()) -> boolean().
%% True if this carrier can dial the node. It decides from the name alone: up to OTP 27 this runs
%% inside `net_kernel', which must not wait.

-callback address() -> #net_address{}.
%% This node's address if it does not listen (`-dist_listen false'). Raises
%% {@link eid_config:bad_setting()}.

-callback close(inet:socket()) -> ok.
%% Closes a listen socket.

-callback is_node_name(term()) -> boolean().
%% True if the term has the form of a node name.

-callback setopts(inet:socket(), [inet:socket_setopt()]) -> ok | {error, term()}.
%% Sets socket options of a connection (`net_kernel:setopts/2').

-callback getopts(inet:socket(), [inet:socket_getopt()]) ->
    {ok, [inet:socket_setopt()]} | {error, inet:posix()}.
%% Reads socket options of a connection (`net_kernel:getopts/2').

%% @doc Binds the distribution port, with the listen options that `inet_tcp_dist' honours.
-spec listen(driver(), Host :: string()) ->
          {ok, {inet:socket(), #net_address{}, -1}} | {error, term()}.
listen(Driver, Host) ->
    ok = eid_routing:check(),
    Port = eid_config:erlang_port(),
    case Driver:listen(Port, eid_config:listen_options()) of
        {ok, Socket} ->
            {ok, Address} = inet:sockname(Socket),
            {ok, {Socket, #net_address{address = Address, host = Host, protocol = tcp,
                                       family = Driver:family()}, -1}};
        {error, eaddrinuse} ->
            {error, {eaddrinuse, port_taken(Port)}};
        {error, _} = Error ->
            Error
    end.

port_taken(Port) ->
    eid_text:format("port ~b is taken, most likely by another Erlang node in this container: eid "
                    "runs one node a container, because only the distribution port is published. "
                    "Start a shell with -remsh or -dist_listen false, or another node in another "
                    "container", [Port]).

%% @doc This node's address if it does not listen.
-spec address(driver()) -> #net_address{}.
address(Driver) ->
    try eid_routing:check() of
        ok -> inet_tcp_dist:gen_address(Driver)
    catch
        %% `net_kernel' stops at this, but drops the reason. The VM may end before the logger
        %% writes, so print the sentence as OTP prints faults of a listener.
        error:{bad_setting, Sentence} = Reason ->
            erlang:display_string(Sentence ++ "\n"),
            error(Reason)
    end.
