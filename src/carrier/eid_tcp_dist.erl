%% @doc The carrier over IPv4: `erl -proto_dist eid_tcp -name ContainerID@HostIP'.
%%
%% These are the callbacks that `net_kernel' asks of a distribution module (ERTS User's Guide,
%% "How to Implement an Alternative Carrier for the Erlang Distribution"; `net_kernel.erl' names
%% them). A node listens on its erlang port and asks {@link eid_epmd:address_please/3} where a
%% peer is; the rest is OTP's own, in `inet_tcp_dist' and `dist_util'.
-module(eid_tcp_dist).

-export([listen/2, accept/1, accept_connection/5, setup/5, close/1, select/1, address/0,
         is_node_name/1, setopts/2, getopts/2]).

-include_lib("kernel/include/net_address.hrl").

-define(DRIVER, inet_tcp).

%% @doc Listens on the erlang port. Creation -1 makes `net_kernel' choose a random one. Fails with
%% a sentence if the port is taken; raises {@link eid_config:bad_setting()} if a setting is wrong.
-spec listen(Name :: atom(), Host :: string()) ->
          {ok, {inet:socket(), #net_address{}, Creation :: -1}} | {error, term()}.
listen(_Name, Host) ->
    eid_carrier:listen(?DRIVER, Host).

%% @doc Starts the process that accepts connections and gives each to `net_kernel' (its caller).
-spec accept(inet:socket()) -> pid().
accept(ListenSocket) ->
    inet_tcp_dist:gen_accept(?DRIVER, ListenSocket).

%% @doc Starts the process that does the handshake of an accepted connection and becomes its tick
%% process. `SetupTime' is in milliseconds.
-spec accept_connection(AcceptPid :: pid(), inet:socket(), MyNode :: node(), Allowed :: [node()],
                        SetupTime :: pos_integer()) -> pid().
accept_connection(AcceptPid, Socket, MyNode, Allowed, SetupTime) ->
    inet_tcp_dist:gen_accept_connection(?DRIVER, AcceptPid, Socket, MyNode, Allowed, SetupTime).

%% @doc Starts the process that finds, dials and greets `Node', and returns at once: `net_kernel'
%% waits for it. It is linked, does not trap exits, and becomes the connection's tick process.
-spec setup(node(), Type :: normal | hidden, MyNode :: node(), longnames | shortnames,
            SetupTime :: pos_integer()) -> pid().
setup(Node, Type, MyNode, _LongOrShortNames, SetupTime) ->
    eid_setup:start(?DRIVER, Node, Type, MyNode, SetupTime).

%% @doc Closes a listen socket.
-spec close(inet:socket()) -> ok.
close(Socket) ->
    ?DRIVER:close(Socket).

%% @doc Whether this carrier is for `Node', told by the name alone: up to OTP 27 this runs inside
%% `net_kernel', which must not wait.
-spec select(node()) -> boolean().
select(Node) ->
    eid_setup:select(?DRIVER:family(), Node).

%% @doc This node's address where it does not listen (`-dist_listen false'). Raises
%% {@link eid_config:bad_setting()} if a setting is wrong, as {@link listen/2} does.
-spec address() -> #net_address{}.
address() ->
    eid_carrier:address(?DRIVER).

%% @doc Whether `Node' has the form of a node name.
-spec is_node_name(term()) -> boolean().
is_node_name(Node) ->
    inet_tcp_dist:is_node_name(Node).

%% @doc Sets socket options of a connection (`net_kernel:setopts/2').
-spec setopts(inet:socket(), [inet:socket_setopt()]) -> ok | {error, term()}.
setopts(Socket, Options) ->
    inet_tcp_dist:setopts(Socket, Options).

%% @doc Reads socket options of a connection (`net_kernel:getopts/2').
-spec getopts(inet:socket(), [inet:socket_getopt()]) ->
          {ok, [inet:socket_setopt()]} | {error, inet:posix()}.
getopts(Socket, Options) ->
    inet_tcp_dist:getopts(Socket, Options).
