%% @doc The carriers' sockets: listening on the erlang port, and the options of all of them.
-module(eid_carrier).

-export([listen/2, address/1, connect_options/0]).

-export_type([driver/0]).

-include_lib("kernel/include/net_address.hrl").

-type driver() :: inet_tcp | inet6_tcp.
%% The module of `kernel' that a carrier's sockets belong to.

%% @doc Binds the erlang port, with the listen options that `inet_tcp_dist' honours.
-spec listen(driver(), Host :: string()) ->
          {ok, {inet:socket(), #net_address{}, -1}} | {error, term()}.
listen(Driver, Host) ->
    ok = eid_config:check(),
    Port = eid_config:erlang_port(),
    case Driver:listen(Port, listen_options()) of
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
    lists:flatten(
      io_lib:format("port ~b is taken, most likely by another Erlang node in this container: eid runs one "
                    "node a container, because only the erlang port is published. Start a shell with "
                    "-remsh or -dist_listen false, or another node in another container", [Port])).

%% As `inet_tcp_dist' takes them: the user's options before the defaults, never over what the
%% handshake depends on.
listen_options() ->
    User = application:get_env(kernel, inet_dist_listen_options, []),
    Forced = [{active, false}, {packet, 2}]
        ++ [{ip, Ip} || {ok, Ip} <- [application:get_env(kernel, inet_dist_use_interface)]],
    with_forced(default_options(User) ++ User, Forced).

default_options(User) ->
    [Option || {Key, _} = Option <- [{reuseaddr, true}, {backlog, 128}, {nodelay, true}],
               not lists:keymember(Key, 1, User)].

%% @doc The options to connect with: the user's, but never over what the handshake depends on.
-spec connect_options() -> [gen_tcp:connect_option()].
connect_options() ->
    with_forced(application:get_env(kernel, inet_dist_connect_options, []),
                [{active, false}, {packet, 2}]).

with_forced(Options, Forced) ->
    [Option || Option <- Options,
               not (is_tuple(Option) andalso lists:keymember(element(1, Option), 1, Forced))]
        ++ Forced.

%% @doc This node's address where it does not listen.
-spec address(driver()) -> #net_address{}.
address(Driver) ->
    try eid_config:check() of
        ok -> inet_tcp_dist:gen_address(Driver)
    catch
        %% `net_kernel' stops at this, but drops the reason. The VM may be gone before the logger
        %% gets to write, so this is printed as OTP prints what is wrong with a listener.
        error:{bad_setting, Sentence} = Reason ->
            erlang:display_string(Sentence ++ "\n"),
            error(Reason)
    end.
