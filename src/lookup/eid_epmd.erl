%% @doc The port mapper: it answers "where is this node?" in the place of epmd.
%%
%% The carriers {@link eid_tcp_dist} and {@link eid6_tcp_dist} call it. `-epmd_module eid_epmd
%% -start_epmd false' gives it to any other carrier, `inet_tls' first of all. The functions are those
%% that OTP asks of an epmd module (ERTS User's Guide, "How to Implement an Alternative Node
%% Discovery for Erlang Distribution").
-module(eid_epmd).

-export([start_link/0, register_node/2, register_node/3, listen_port_please/2, address_please/3,
         route_please/3, port_please/2, port_please/3, names/0, names/1]).

-define(DIST_VERSION, 6).

-type host() :: atom() | string() | inet:ip_address().

%% @doc There is no process. OTP calls this so that the module is loaded: one that is not is
%% silently replaced by `erl_epmd', which is why `-no_epmd' must not stand on the command line.
-spec start_link() -> ignore.
start_link() -> ignore.

%% @doc Nothing to register: the engine knows the port. Creation -1 makes `net_kernel' choose one.
-spec register_node(Name :: atom() | string(), inet:port_number()) -> {ok, -1}.
register_node(Name, Port) -> register_node(Name, Port, inet).

%% @doc The same, for a carrier that names its driver or its family.
-spec register_node(Name :: atom() | string(), inet:port_number(),
                    inet_tcp | inet6_tcp | inet | inet6) -> {ok, -1}.
register_node(_Name, _Port, _Driver) -> {ok, -1}.

%% @doc The port to listen on: the erlang port. Raises {@link eid_config:bad_setting()} if a setting is
%% wrong, which stops the start.
-spec listen_port_please(Name :: atom() | string(), host()) -> {ok, inet:port_number()}.
listen_port_please(_Name, _Host) ->
    ok = eid_config:check(),
    {ok, eid_config:erlang_port()}.

%% @doc The address to dial for `Name@Host', and its port.
%%
%% Carriers ask twice: first whether there may be one, which up to OTP 27 happens inside
%% `net_kernel', where nothing may wait; the answer is the host's address then, or the unspecified
%% one if only DNS knows it. The second time it is the route. A route that can't be found is logged
%% here, because the other carriers drop the reason.
-spec address_please(Name :: atom() | string(), host(), inet | inet6) ->
          {ok, inet:ip_address()}
              | {ok, inet:ip_address(), inet:port_number(), Version :: 6}
              | {error, eid:reason()}.
address_please(Name, Host, Family) ->
    HostText = host_text(Host),
    case self() =:= whereis(net_kernel) of
        true ->
            case eid_resolver:is_of_family(HostText, Family) of
                true -> {ok, address_without_waiting(HostText, Family)};
                false -> {error, unknown_host}
            end;
        false ->
            case route_please(Name, Host, Family) of
                {ok, #{ip := Ip, port := Port} = Route} ->
                    eid_info:dialling(Route),
                    {ok, Ip, Port, ?DIST_VERSION};
                {error, _} = Error ->
                    Error
            end
    end.

%% @doc The route to `Name@Host', for a process that is about to connect. One that can't be found is
%% logged.
-spec route_please(Name :: atom() | string(), host(), inet | inet6) ->
          {ok, eid:route()} | {error, eid:reason()}.
route_please(Name, Host, Family) ->
    Node = [name_text(Name), $@, host_text(Host)],
    case eid_resolver:resolve(Node, Family, setup_time_for_lookup(), preferred) of
        {ok, _} = Found ->
            Found;
        {error, Reason} = Error ->
            eid_setup_log:failed(Node, Reason),
            Error
    end.

address_without_waiting(HostText, Family) ->
    case inet:parse_strict_address(HostText) of
        {ok, {_, _, _, _} = Ip} when Family =:= inet6 -> inet:ipv4_mapped_ipv6_address(Ip);
        {ok, Ip} -> Ip;
        {error, einval} when Family =:= inet -> {0, 0, 0, 0};
        {error, einval} -> {0, 0, 0, 0, 0, 0, 0, 0}
    end.

%% The lookup is over before the carrier's setup time is, so that the reason gets out.
setup_time_for_lookup() ->
    min(eid_config:lookup_time(), net_kernel:connecttime() * 3 div 4).

%% @doc As {@link port_please/3}, in the configured time.
-spec port_please(Name :: atom() | string(), host()) ->
          {port, inet:port_number(), Version :: 6} | noport.
port_please(Name, Host) -> port_please(Name, Host, infinity).

%% @doc The port of `Name' at the host's own address, within so many milliseconds. The port of a
%% route to another address would help nobody: `noport', as for every error.
-spec port_please(Name :: atom() | string(), host(), timeout()) ->
          {port, inet:port_number(), Version :: 6} | noport.
port_please(Name, Host, Timeout) ->
    HostText = host_text(Host),
    Node = [name_text(Name), $@, HostText],
    case eid_resolver:resolve(Node, any, patience(Timeout), never) of
        {ok, #{route := Kind, ip := Ip, port := Port}} ->
            case Kind =/= loopback andalso (Kind =/= fixed orelse inet:parse_address(HostText) =:= {ok, Ip}) of
                true -> {port, Port, ?DIST_VERSION};
                false -> noport
            end;
        {error, _} -> noport
    end.

%% @doc The nodes on this node's own host; while it has no name, on the host that it calls its own.
-spec names() -> {ok, [{Name :: string(), inet:port_number()}]} | {error, term()}.
names() ->
    case is_alive() of
        true ->
            {node, _Name, Host} = dist_util:split_node(node()),
            names(Host);
        false ->
            {ok, Host} = inet:gethostname(),
            names(Host)
    end.

%% @doc The nodes on a host: the IDs of the containers there that publish their erlang port,
%% with the published ports. `net_adm:names/1' and `net_adm:world/0' get their lists here.
-spec names(host()) -> {ok, [{Name :: string(), inet:port_number()}]} | {error, term()}.
names(Host) ->
    eid_resolver:names(host_text(Host), any, configured).

patience(infinity) -> configured;
patience(Timeout) -> Timeout.

name_text(Name) when is_atom(Name) -> atom_to_list(Name);
name_text(Name) -> Name.

host_text(Host) when is_atom(Host) -> atom_to_list(Host);
host_text(Host) when is_tuple(Host) -> inet:ntoa(Host);
host_text(Host) -> Host.
