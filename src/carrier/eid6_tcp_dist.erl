%% @doc The carrier over IPv6: `erl -proto_dist eid6_tcp -name ContainerID@HostIPv6'.
%%
%% It is {@link eid_tcp_dist}, where each callback is described, with the driver `inet6_tcp'. An
%% IPv4 address as host is dialled in its IPv4-mapped form.
-module(eid6_tcp_dist).

-export([listen/2, accept/1, accept_connection/5, setup/5, close/1, select/1, address/0,
         is_node_name/1, setopts/2, getopts/2]).

-include_lib("kernel/include/net_address.hrl").

-define(DRIVER, inet6_tcp).

%% @see eid_tcp_dist:listen/2
-spec listen(atom(), string()) -> {ok, {inet:socket(), #net_address{}, -1}} | {error, term()}.
listen(_Name, Host) -> eid_carrier:listen(?DRIVER, Host).

%% @see eid_tcp_dist:accept/1
-spec accept(inet:socket()) -> pid().
accept(ListenSocket) -> inet_tcp_dist:gen_accept(?DRIVER, ListenSocket).

%% @see eid_tcp_dist:accept_connection/5
-spec accept_connection(pid(), inet:socket(), node(), [node()], pos_integer()) -> pid().
accept_connection(AcceptPid, Socket, MyNode, Allowed, SetupTime) ->
    inet_tcp_dist:gen_accept_connection(?DRIVER, AcceptPid, Socket, MyNode, Allowed, SetupTime).

%% @see eid_tcp_dist:setup/5
-spec setup(node(), normal | hidden, node(), longnames | shortnames, pos_integer()) -> pid().
setup(Node, Type, MyNode, _LongOrShortNames, SetupTime) ->
    eid_setup:start(?DRIVER, Node, Type, MyNode, SetupTime).

%% @see eid_tcp_dist:select/1
-spec select(node()) -> boolean().
select(Node) -> eid_setup:select(?DRIVER:family(), Node).

%% @see eid_tcp_dist:address/0
-spec address() -> #net_address{}.
address() -> eid_carrier:address(?DRIVER).

%% @see eid_tcp_dist:close/1
-spec close(inet:socket()) -> ok.
close(Socket) -> eid_tcp_dist:close(Socket).

%% @see eid_tcp_dist:is_node_name/1
-spec is_node_name(term()) -> boolean().
is_node_name(Node) -> eid_tcp_dist:is_node_name(Node).

%% @see eid_tcp_dist:setopts/2
-spec setopts(inet:socket(), [inet:socket_setopt()]) -> ok | {error, term()}.
setopts(Socket, Options) -> eid_tcp_dist:setopts(Socket, Options).

%% @see eid_tcp_dist:getopts/2
-spec getopts(inet:socket(), [inet:socket_getopt()]) ->
          {ok, [inet:socket_setopt()]} | {error, inet:posix()}.
getopts(Socket, Options) -> eid_tcp_dist:getopts(Socket, Options).
