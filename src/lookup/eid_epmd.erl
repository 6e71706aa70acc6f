%% @doc The port mapper: it answers "where is this node?" instead of epmd.
%%
%% The carriers {@link eid_tcp_dist} and {@link eid6_tcp_dist} call it. `-epmd_module eid_epmd
%% -start_epmd false' makes every other carrier call it too, for example `inet_tls'. The functions
%% are those of an epmd module in OTP (ERTS User's Guide, "How to Implement an Alternative Node
%% Discovery for Erlang Distribution").
-module(eid_epmd).

-export([start_link/0, register_node/2, register_node/3, listen_port_please/2, address_please/3,
         port_please/2, port_please/3, names/0, names/1]).
-export([route_please/3, note_route/1, noted_route/1]).    % for eid's carriers and eid:info/0

-define(DIST_VERSION, 6).

-type host() :: atom() | string() | inet:ip_address().

%% @doc There is no process. OTP calls this to load the module. OTP silently replaces a module that
%% is not loaded by `erl_epmd', which is why the command line must not have `-no_epmd'.
-spec start_link() -> ignore.
start_link() -> ignore.

%% @doc Registers nothing: the engine knows the port. Creation -1 makes `net_kernel' choose one.
-spec register_node(Name :: atom() | string(), inet:port_number()) -> {ok, -1}.
register_node(Name, Port) -> register_node(Name, Port, inet).

%% @doc The same, for a carrier that names its driver or its family.
-spec register_node(Name :: atom() | string(), inet:port_number(),
                    inet_tcp | inet6_tcp | inet | inet6) -> {ok, -1}.
register_node(_Name, _Port, _Driver) -> {ok, -1}.

%% @doc The port to listen on: the distribution port. Raises {@link eid_config:bad_setting()} if a
%% setting is wrong, which stops the start.
-spec listen_port_please(Name :: atom() | string(), host()) -> {ok, inet:port_number()}.
listen_port_please(_Name, _Host) ->
    ok = eid_routing:check(),
    {ok, eid_config:erlang_port()}.

%% @doc The address to dial for `Name@Host', and its port.
%%
%% Carriers ask twice. They first ask whether there may be an address. Up to OTP 27 this happens
%% inside `net_kernel', which must not wait, so the answer is the host's address, or the
%% unspecified address for a DNS name. The second time the answer is the route. A route that can't
%% be found is logged here, because other carriers drop the reason.
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
                    note_route(Route),
                    {ok, Ip, Port, ?DIST_VERSION};
                {error, _} = Error ->
                    Error
            end
    end.

%% @doc The route to `Name@Host', for a process that is about to connect. Logs the reason if there
%% is no route.
-spec route_please(Name :: atom() | string(), host(), inet | inet6) ->
          {ok, eid:route()} | {error, eid:reason()}.
route_please(Name, Host, Family) ->
    Node = [eid_text:show(Name), $@, host_text(Host)],
    case eid_resolver:resolve(Node, Family, setup_time_for_lookup(), preferred) of
        {ok, _} = Found ->
            Found;
        {error, Reason} = Error ->
            eid_failures:report(Node, Reason),
            Error
    end.

%% @doc Notes the route by which the calling process is about to connect. The process stays with
%% the connection, so the note in its dictionary lasts as long as the connection.
-spec note_route(eid:route()) -> ok.
note_route(#{route := Kind}) ->
    _ = put(?MODULE, Kind),
    ok.

%% @doc The route that the process of a connection has noted. Without a note the peer dialled.
-spec noted_route(pid()) -> accepted | unknown | atom().
noted_route(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> proplists:get_value(?MODULE, Dictionary, accepted);
        undefined -> unknown
    end.

address_without_waiting(HostText, Family) ->
    case inet:parse_strict_address(HostText) of
        {ok, {_, _, _, _} = Ip} when Family =:= inet6 -> inet:ipv4_mapped_ipv6_address(Ip);
        {ok, Ip} -> Ip;
        {error, einval} when Family =:= inet -> {0, 0, 0, 0};
        {error, einval} -> {0, 0, 0, 0, 0, 0, 0, 0}
    end.

%% The lookup ends before the carrier's setup time does, so that the reason can be reported.
setup_time_for_lookup() ->
    min(eid_config:lookup_time(), net_kernel:connecttime() * 3 div 4).

%% @doc As {@link port_please/3}, in the configured time.
-spec port_please(Name :: atom() | string(), host()) ->
          {port, inet:port_number(), Version :: 6} | noport.
port_please(Name, Host) -> port_please(Name, Host, infinity).

%% @doc The port of `Name', found within this time in milliseconds. A port is only useful at the
%% host's own address, so other routes answer `noport', as every error does.
-spec port_please(Name :: atom() | string(), host(), timeout()) ->
          {port, inet:port_number(), Version :: 6} | noport.
port_please(Name, Host, Timeout) ->
    HostText = host_text(Host),
    Node = [eid_text:show(Name), $@, HostText],
    Within = case Timeout of
                 infinity -> configured;
                 _ -> Timeout
             end,
    case eid_resolver:resolve(Node, any, Within, never) of
        {ok, #{route := loopback}} -> noport;
        {ok, #{route := fixed, ip := Ip, port := Port}} ->
            case inet:parse_address(HostText) of
                {ok, Ip} -> {port, Port, ?DIST_VERSION};
                _ -> noport
            end;
        {ok, #{port := Port}} -> {port, Port, ?DIST_VERSION};
        {error, _} -> noport
    end.

%% @doc The nodes on this node's own host. While this node has no name, it is the host that the
%% system names.
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

%% @doc The nodes on a host: the IDs of the containers there that publish their distribution port,
%% with the published ports. `net_adm:names/1' and `net_adm:world/0' get their lists here.
-spec names(host()) -> {ok, [{Name :: string(), inet:port_number()}]} | {error, term()}.
names(Host) ->
    eid_resolver:names(host_text(Host), any, configured).

host_text(Host) when is_atom(Host) -> atom_to_list(Host);
host_text(Host) when is_tuple(Host) -> inet:ntoa(Host);
host_text(Host) -> Host.
