%% @doc The design of the first generation, for comparison: at each connect the connecting process
%% asks the engine with `httpc'. Use it with `erl -epmd_module bench_httpc_epmd -start_epmd false'.
%%
%% This module is for the bench only. It connects to published ports and crashes on any error.
-module(bench_httpc_epmd).

-export([start_link/0, register_node/2, register_node/3, listen_port_please/2, address_please/3]).

%% @doc OTP loads this module because it calls this function.
-spec start_link() -> ignore.
start_link() -> ignore.

-spec register_node(string(), inet:port_number()) -> {ok, -1}.
register_node(_Name, _Port) -> {ok, -1}.

-spec register_node(string(), inet:port_number(), term()) -> {ok, -1}.
register_node(_Name, _Port, _Family) -> {ok, -1}.

-spec listen_port_please(atom(), string()) -> {ok, 0}.
listen_port_please(_Name, _Host) -> {ok, 0}.

%% @doc Returns the host's address to `net_kernel'. Returns the address and the port to the process
%% that connects.
-spec address_please(string(), string(), inet) ->
          {ok, inet:ip_address()} | {ok, inet:ip_address(), inet:port_number(), 6}.
address_please(Container, Host, inet) ->
    {ok, Ip} = inet:parse_address(Host),
    case self() =:= whereis(net_kernel) of
        true -> {ok, Ip};
        false ->
            Inspect = bench_engine:inspect("http://" ++ Host ++ ":4243", Container),
            {ok, Ip, bench_engine:host_port(Inspect), 6}
    end.
