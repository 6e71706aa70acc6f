%% @doc The routes that the user set, and the hosts that may be contacted. Keys are those of
%% {@link eid_host_map}.
-module(eid_routes).

-export([parse/1, parse_entry/2, compile/1, compile_hosts/1, for_name/3, for_address/2, is_allowed/3,
         may_be_allowed/2]).

-export_type([target/0, routes/0, table/0, hosts/0]).

-type target() :: direct | epmd | engine | published | {inet:ip_address(), inet:port_number()}.
%% `direct': the erlang port at the node's own address. `epmd': ask that host's epmd. `engine': ask
%% that host's Docker Engine. `published': the same, but take the published port also where there is
%% a bridge. Otherwise this address and port.

-opaque routes() :: #{eid_host_map:parsed_key() => target()}.
-type table() :: eid_host_map:table(target()).
-opaque hosts() :: any | eid_host_map:table(allowed).

%% @doc Checks the `routes' setting. Raises {@link eid_config:bad_setting()}.
-spec parse(term()) -> routes().
parse(Routes) when is_map(Routes) ->
    maps:from_list([parse_entry(Key, Target) || {Key, Target} <- maps:to_list(Routes)]);
parse(Other) ->
    eid_config:bad_setting("{eid, [{routes, Map}]} must be a map of keys and targets; it is ~tp",
                           [Other]).

%% @doc Checks one route. Raises {@link eid_config:bad_setting()}.
-spec parse_entry(eid_host_map:key() | term(), target() | term()) ->
          {eid_host_map:parsed_key(), target()}.
parse_entry(Key, Target) -> {eid_host_map:parse_key(routes, Key), target(Target)}.

target(Target) when Target =:= direct; Target =:= epmd; Target =:= engine; Target =:= published ->
    Target;
target({Ip, Port} = Target) when is_tuple(Ip), is_integer(Port), Port > 0, Port < 65536 ->
    case inet:ntoa(Ip) of
        {error, einval} -> bad_target(Target);
        _ -> Target
    end;
target(Target) -> bad_target(Target).

-spec bad_target(term()) -> no_return().
bad_target(Target) ->
    eid_config:bad_setting("a route's target must be direct, epmd, engine, published or {IpAddress, "
                           "Port}; it is ~tp", [Target]).

%% @doc Makes a table of routes from several sources. Where two have the same key, that of the later source counts.
-spec compile([routes()]) -> table().
compile(Sources) ->
    eid_host_map:new(maps:to_list(lists:foldl(fun(Later, Before) -> maps:merge(Before, Later) end, #{}, Sources))).

%% @doc Checks the `allowed_hosts' setting and makes a table of it. Raises
%% {@link eid_config:bad_setting()}.
-spec compile_hosts(term()) -> hosts().
compile_hosts(any) ->
    any;
compile_hosts(Hosts) when is_list(Hosts) ->
    eid_host_map:new([{eid_host_map:parse_key(allowed_hosts, Host), allowed} || Host <- Hosts]);
compile_hosts(Other) ->
    eid_config:bad_setting("{eid, [{allowed_hosts, List}]} must be a list of hosts and networks; "
                           "it is ~tp", [Other]).

%% @doc The target for exactly this node, or for this DNS name of a host.
-spec for_name(Node :: binary(), Host :: binary(), table()) -> target() | none.
for_name(Node, Host, Table) -> eid_host_map:for_name(Node, Host, Table).

%% @doc The target for the smallest network that this address is in; `engine' if there is none.
-spec for_address(inet:ip_address(), table()) -> target().
for_address(Address, Table) -> eid_host_map:for_address(Address, Table, engine).

%% @doc Whether this address may be contacted. `Host' is the name that led to it, or `none'.
-spec is_allowed(Host :: binary() | none, inet:ip_address(), hosts()) -> boolean().
is_allowed(_Host, _Address, any) -> true;
is_allowed(Host, Address, Hosts) ->
    (Host =/= none andalso eid_host_map:is_named(Host, Hosts))
        orelse eid_host_map:for_address(Address, Hosts, refused) =:= allowed.

%% @doc Whether some address of this host may be allowed: if not, its name is not even resolved.
-spec may_be_allowed(Host :: binary(), hosts()) -> boolean().
may_be_allowed(_Host, any) -> true;
may_be_allowed(Host, Hosts) ->
    eid_host_map:has_networks(Hosts) orelse eid_host_map:is_named(Host, Hosts).
