%% @doc Finds the address and port of a node from its name.
%%
%% It tries the user's route for this node or its host's name, then this container itself. After
%% these it tries the user's route for the host's address, then the Docker Engine on that host.
%%
%% OTP's `inet' resolves the names of hosts, so its configuration counts, and eid contacts the
%% address that it has checked.
-module(eid_resolver).

-export([lookup/1, resolve/4, resolve_again/4, names/3, watch/6, is_of_family/2, own_family/0]).

-export_type([family/0]).

-include_lib("kernel/include/inet.hrl").
-include_lib("kernel/include/logger.hrl").

-type family() :: inet | inet6.
-type timeout_ms() :: non_neg_integer().
-type time_limit() :: timeout_ms() | configured.
%% `configured': the time of {@link eid_config:lookup_time/0}.

-record(query, {node :: binary(),
                container :: binary(),
                host :: binary(),
                ip :: inet:ip_address() | none,    % of a host that is an address
                family :: family(),
                began :: integer(),    % monotonic, native units
                limit :: time_limit(),
                bridge = preferred :: eid_nif:bridge(),
                again = false :: boolean(),    % the route of before could not be dialled
                settings :: eid_routing:settings()}).

%% @doc See {@link eid:lookup/1}.
-spec lookup(Node :: binary()) -> {ok, eid:route()} | {error, eid:reason()}.
lookup(Node) -> resolve(Node, any, configured, preferred).

%% @doc Finds the route to `Node', which is `Container@Host', within this time in milliseconds. The
%% family `any' is the family of the host's address, or for a DNS name the family of the carrier on
%% the command line.
-spec resolve(Node :: iodata(), family() | any, time_limit(), preferred | never) ->
          {ok, eid:route()} | {error, eid:reason()}.
resolve(Node, Family, Limit, Bridge) ->
    query(Node, Family, Limit, fun(Query) -> find(Query#query{bridge = Bridge}) end).

%% @doc The same after a dial of this route has failed: earlier answers do not count, and a bridge
%% is the last resort.
-spec resolve_again(Node :: iodata(), family() | any, timeout_ms(), Failed :: eid:route()) ->
          {ok, eid:route()} | {error, eid:reason()}.
resolve_again(Node, Family, Timeout, Failed) ->
    Bridge = case Failed of
                 #{route := bridge, ip := Ip} -> {last_resort, Ip};
                 _ -> preferred
             end,
    query(Node, Family, Timeout,
          fun(Query) -> find(Query#query{bridge = Bridge, again = true}) end).

query(NodeText, Family, Limit, Fun) ->
    Settings = eid_routing:read(),
    %% `parse_node_name' checks every byte.
    Node = try iolist_to_binary(NodeText) catch error:badarg -> <<>> end,    % a code above 255
    case eid_library:call(fun() -> eid_nif:parse_node_name(Node) end) of
        {ok, {Container, Host, Ip}} ->
            Fun(#query{node = Node, container = Container, host = Host, ip = Ip,
                       family = family(Family, Ip), began = erlang:monotonic_time(),
                       limit = Limit, settings = Settings});
        {error, _} = Error -> Error
    end.

family(any, {_, _, _, _}) -> inet;
family(any, none) -> own_family();
family(any, _Ip6) -> inet6;
family(Family, _Ip) -> Family.

find(#query{node = Node, container = Container, host = Host, family = Family,
            settings = #{routes := Table, erlang_port := ErlangPort}} = Query) ->
    case eid_host_map:for_name(Node, Host, Table) of
        {Ip, Port} ->
            fixed(Ip, Port, Query);
        none ->
            case eid_own_name:is_own_container(Container) of
                true -> {ok, route(loopback_address(Family), ErlangPort, loopback, Query)};
                false ->
                    with_address(Query, fun(Ip) ->
                                                go(eid_routing:for_address(Ip, Table), Ip, Query)
                                        end)
            end;
        Target ->
            with_address(Query, fun(Ip) -> go(Target, Ip, Query) end)
    end.

go({Ip, Port}, _HostIp, Query) ->
    fixed(Ip, Port, Query);
go(direct, HostIp, #query{settings = #{erlang_port := ErlangPort}} = Query) ->
    {ok, route(HostIp, ErlangPort, direct, Query)};
go(epmd, HostIp, #query{container = Name} = Query) ->
    case in_time(Query, fun() -> erl_epmd:port_please(binary_to_list(Name), HostIp) end) of
        {port, Port, _Version} -> {ok, route(HostIp, Port, epmd, Query)};
        {error, timeout} = Error -> Error;
        _ -> epmd_error(<<"epmd does not answer there, or knows no ", Name/binary>>)
    end;
go(published, HostIp, Query) ->
    from_engine(HostIp, Query#query{bridge = never});
go(engine, HostIp, Query) ->
    from_engine(HostIp, Query).

%% An address that the user set need not be the address of the node's host, so only networks can
%% allow it.
fixed(Ip, Port, #query{settings = #{hosts := Hosts}} = Query) ->
    case eid_routing:is_allowed(none, Ip, Hosts) of
        true -> {ok, route(Ip, Port, fixed, Query)};
        false -> {error, host_not_allowed}
    end.

from_engine(HostIp, #query{again = true} = Query) ->
    ask(engine(HostIp, Query), HostIp, Query);
from_engine(HostIp, #query{container = Container, bridge = Bridge,
                           settings = #{erlang_port := ErlangPort}} = Query) ->
    Engine = engine(HostIp, Query),
    case eid_library:call(fun() -> eid_nif:known_route(Container, Engine, HostIp, ErlangPort,
                                                       Bridge)
                          end) of
        {ok, Ip, Port, Kind} -> {ok, route(Ip, Port, Kind, Query)};
        unknown -> ask(Engine, HostIp, Query);
        {error, _} = Error -> Error
    end.

ask(Engine, HostIp, #query{node = Node, bridge = Bridge, again = Again,
                           settings = #{erlang_port := ErlangPort}} = Query) ->
    case ask_engine(Engine, HostIp,
                    fun(Ref) -> eid_nif:lookup(Ref, Node, Engine, HostIp, ErlangPort, Bridge,
                                               eid_config:limits(), time_left(Query), Again)
                    end) of
        {ok, Ip, Port, Kind} -> {ok, route(Ip, Port, Kind, Query)};
        {error, _} = Error -> Error
    end.

ask_engine(Engine, HostIp, Fun) ->
    Answer = eid_library:ask(Fun),
    case eid_library:call(fun() -> eid_nif:take_notice(Engine, HostIp) end) of
        {refused, Endpoint, Reason} -> log_no_directory(Endpoint, Reason);
        _ -> ok
    end,
    Answer.

log_no_directory(Endpoint, {refused, Status, Message}) ->
    ?LOG_WARNING("The Docker Engine at ~ts, or a proxy in front of it, refuses its events (HTTP "
                 "~b: ~ts), so every lookup there asks it. Allow GET of /events and "
                 "/containers/json to spare that.", [Endpoint, Status, Message]);
log_no_directory(Endpoint, _TooLarge) ->
    ?LOG_WARNING("The list of the containers at ~ts is too large, so every lookup there asks the "
                 "Docker Engine. Raise {eid, [{max_response_size, ...}]}; a list may have 16 times "
                 "that size.", [Endpoint]).

%% @doc The nodes on a host: for each running container that publishes its distribution port, its
%% ID as in node names ({@link eid_own_name:id/1}), and the published port.
-spec names(Host :: iodata(), family() | any, time_limit()) ->
          {ok, [{Name :: string(), inet:port_number()}]} | {error, eid:reason() | term()}.
names(Host, Family, Limit) ->
    on_host(Host, Family, Limit, fun names_at/2).

names_at(Ip, #query{host = Host, settings = #{routes := Table}} = Query) ->
    case eid_host_map:for_name(<<>>, Host, Table) of
        none -> names_by(eid_routing:for_address(Ip, Table), Ip, Query);
        Target -> names_by(Target, Ip, Query)
    end.

names_by(epmd, HostIp, Query) ->
    case in_time(Query, fun() -> erl_epmd:names(HostIp) end) of
        {error, address} -> epmd_error(<<"epmd does not answer there">>);
        Answer -> Answer
    end;
names_by(Target, HostIp, #query{settings = #{erlang_port := ErlangPort}} = Query)
  when Target =:= engine; Target =:= published ->
    Engine = engine(HostIp, Query),
    case ask_engine(Engine, HostIp,
                    fun(Ref) -> eid_nif:names(Ref, Engine, HostIp, ErlangPort,
                                              eid_config:limits(), time_left(Query))
                    end) of
        {ok, Names} -> {ok, [{binary_to_list(eid_own_name:id(Id)), Port} || {Id, Port} <- Names]};
        {error, _} = Error -> Error
    end;
%% There is no list of nodes to ask for.
names_by(_Direct, _HostIp, _Query) ->
    {ok, []}.

%% @doc Waits until the containers of the host's engine that match the filter change, or until the
%% time in milliseconds is over. `Known' is the digest of the last answer, or 0.
-spec watch(Host :: iodata(), family() | any, eid_nif:filter(), Known :: non_neg_integer(),
            eid_config:limits(), timeout_ms()) -> eid_nif:watched().
watch(Host, Family, Filter, Known, Limits, Timeout) ->
    on_host(Host, Family, configured,
            fun(Ip, Query) ->
                    Engine = engine(Ip, Query),
                    ask_engine(Engine, Ip,
                               fun(Ref) -> eid_nif:watch(Ref, Engine, Ip, Filter, Known, Limits,
                                                         Timeout)
                               end)
            end).

%% Any container's name makes a node name of the host.
on_host(Host, Family, Limit, Fun) ->
    query(["x@", Host], Family, Limit,
          fun(Query) -> with_address(Query, fun(Ip) -> Fun(Ip, Query) end) end).

epmd_error(Detail) -> {error, {unreachable, {epmd, Detail}}}.

engine(HostIp, #query{host = Host, settings = Settings}) ->
    eid_routing:engine(Host, HostIp, Settings).

%% Calls `Fun' with the host's address if eid may contact it.
with_address(#query{host = Host, settings = #{hosts := Hosts}} = Query, Fun) ->
    case eid_routing:may_be_allowed(Host, Hosts) andalso address(Query) of
        false -> {error, host_not_allowed};
        {ok, Ip} ->
            case eid_routing:is_allowed(Host, Ip, Hosts) of
                true -> Fun(Ip);
                false -> {error, host_not_allowed}
            end;
        {error, _} = Error -> Error
    end.

address(#query{ip = {_, _, _, _} = Ip4}) ->
    {ok, Ip4};
address(#query{ip = {0, 0, 0, 0, 0, 16#ffff, _, _} = Mapped, family = inet6}) ->
    {ok, inet:ipv4_mapped_ipv6_address(Mapped)};
address(#query{ip = none, host = Host, family = Family} = Query) ->
    case in_time(Query, fun() -> inet:gethostbyname(binary_to_list(Host), Family) end) of
        {ok, #hostent{h_addr_list = [Ip | _]}} -> {ok, Ip};
        {error, timeout} -> {error, timeout};
        {error, _} -> {error, unknown_host}
    end;
address(#query{ip = Ip6, family = inet6}) ->
    {ok, Ip6};
address(_Ip6OverIp4) ->
    {error, unknown_host}.

in_time(Query, Fun) -> eid_tasks:within(time_left(Query), Fun).

route(Ip, Port, Kind, #query{family = Family}) ->
    #{ip => to_family(Ip, Family), port => Port, route => Kind}.

to_family({_, _, _, _} = Ip, inet6) -> inet:ipv4_mapped_ipv6_address(Ip);
to_family(Ip, _Family) -> Ip.

loopback_address(inet) -> {127, 0, 0, 1};
loopback_address(inet6) -> {0, 0, 0, 0, 0, 0, 0, 1}.

%% @doc The family of the carrier on the command line.
-spec own_family() -> family().
own_family() ->
    case init:get_argument(proto_dist) of
        {ok, [["eid6_" ++ _ | _] | _]} -> inet6;
        {ok, [["inet6_" ++ _ | _] | _]} -> inet6;
        _ -> inet
    end.

%% @doc True if a host in a node name can be dialled over this family. It checks the text only: a
%% DNS name passes.
-spec is_of_family(Host :: string(), family()) -> boolean().
is_of_family(Host, Family) ->
    case inet:parse_strict_address(Host) of
        {ok, Ip6} when tuple_size(Ip6) =:= 8 -> Family =:= inet6;
        _ -> true
    end.

time_left(#query{began = Began, limit = Limit}) ->
    Spent = erlang:convert_time_unit(erlang:monotonic_time() - Began, native, millisecond),
    max(0, milliseconds(Limit) - Spent).

milliseconds(configured) -> eid_config:lookup_time();
milliseconds(Timeout) -> Timeout.
