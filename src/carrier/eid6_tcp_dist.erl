%% @doc The carrier over IPv6: `erl -proto_dist eid6_tcp -name ContainerID@HostIPv6'.
%%
%% It dials an IPv4 address in its IPv4-mapped form.
-module(eid6_tcp_dist).

-behaviour(eid_carrier).

-export([listen/2, accept/1, accept_connection/5, setup/5, close/1, select/1, address/0,
         is_node_name/1, setopts/2, getopts/2]).

-define(DRIVER, inet6_tcp).

listen(_Name, Host) -> eid_carrier:listen(?DRIVER, Host).

accept(ListenSocket) -> inet_tcp_dist:gen_accept(?DRIVER, ListenSocket).

accept_connection(AcceptPid, Socket, MyNode, Allowed, SetupTime) ->
    inet_tcp_dist:gen_accept_connection(?DRIVER, AcceptPid, Socket, MyNode, Allowed, SetupTime).

setup(Node, Type, MyNode, _LongOrShortNames, SetupTime) ->
    eid_setup:start(?DRIVER, Node, Type, MyNode, SetupTime).

select(Node) -> eid_setup:select(?DRIVER:family(), Node).

address() -> eid_carrier:address(?DRIVER).

close(ListenSocket) -> ?DRIVER:close(ListenSocket).

is_node_name(Node) -> inet_tcp_dist:is_node_name(Node).

setopts(Socket, Options) -> inet_tcp_dist:setopts(Socket, Options).

getopts(Socket, Options) -> inet_tcp_dist:getopts(Socket, Options).
