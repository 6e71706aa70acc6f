%% @doc The settings that a lookup obeys: `routes', `allowed_hosts' and `engines', checked and
%% compiled into tables. Keys are those of {@link eid_host_map}.
%%
%% The compiled tables are persistent terms, together with the settings that they were made from: a
%% read copies nothing, and a changed setting takes effect at once. Routes that were set at run time
%% or found by discovery are kept here too.
-module(eid_routing).

-export([check/0, read/0, set_route/2, set_discovered/1]).
-export([parse_routes/1, parse_route/2, compile_routes/1, for_address/2]).
-export([compile_hosts/1, is_allowed/3, may_be_allowed/2]).
-export([engine/3, default_engine/0]).

-export_type([settings/0, target/0]).

-type settings() :: #{routes := table(), hosts := hosts(), engines := engines(),
                      erlang_port := inet:port_number()}.

-type target() :: direct | epmd | engine | published | {inet:ip_address(), inet:port_number()}.
%% `direct': the distribution port at the node's own address. `epmd': ask that host's epmd.
%% `engine': ask that host's Docker Engine. `published': the same, but take the published port even
%% if there is a bridge. Otherwise this address and port.

-type routes() :: #{eid_host_map:parsed_key() => target()}.
-type table() :: eid_host_map:table(target()).
-type hosts() :: any | eid_host_map:table(allowed).
-type engines() :: {eid_host_map:table(endpoint()), Default :: endpoint()}.
-type endpoint() :: {Template :: binary(), tcp | https | unix}.

%% @doc Checks every setting of lookups, so that a wrong setting stops the start and not the first
%% connection. Raises {@link eid_config:bad_setting()}.
-spec check() -> ok.
check() ->
    _ = read(),
    _ = eid_config:docker_daemon_port(),
    _ = eid_config:limits(),
    _ = eid_config:engine_certs(),
    _ = eid_config:engine_token_file(),
    ok.

%% @doc Reads the settings. Raises {@link eid_config:bad_setting()}.
-spec read() -> settings().
read() ->
    #{routes => compiled(routes, {stored(discovered), eid_config:routes(), stored(runtime_routes)},
                         fun({Discovered, Configured, AtRunTime}) ->
                                 compile_routes([Discovered, parse_routes(Configured), AtRunTime])
                         end),
      hosts => compiled(allowed_hosts, eid_config:allowed_hosts(), fun compile_hosts/1),
      engines => engines(),
      erlang_port => eid_config:erlang_port()}.

engines() ->
    compiled(engines, {eid_config:engines(), eid_config:docker_daemon_port()},
             fun({Engines, Port}) -> compile_engines(Engines, Port) end).

compiled(Setting, Value, Compile) ->
    case persistent_term:get({?MODULE, Setting}, none) of
        {Value, Compiled} -> Compiled;
        _ ->
            Compiled = Compile(Value),
            persistent_term:put({?MODULE, Setting}, {Value, Compiled}),
            Compiled
    end.

stored(Routes) -> persistent_term:get({?MODULE, Routes}, #{}).

store(Routes, New) -> persistent_term:put({?MODULE, Routes}, New).

%% Routes.

%% @doc Sets a route at run time. With `default' it removes this route again. It precedes the
%% configured routes.
-spec set_route(eid_host_map:key(), target() | default) -> ok.
set_route(Key, Target) ->
    Change = case Target of
                 default ->
                     Parsed = eid_host_map:parse_key(routes, Key),
                     fun(Routes) -> maps:remove(Parsed, Routes) end;
                 _ ->
                     {Parsed, _} = parse_route(Key, Target),
                     fun(Routes) -> Routes#{Parsed => Target} end
             end,
    %% A lock, because no process owns the routes: the carrier needs nothing started.
    global:trans({?MODULE, self()},
                 fun() -> store(runtime_routes, Change(stored(runtime_routes))) end, [node()]).

%% @doc Replaces the routes that discovery has found. The configured routes precede these.
-spec set_discovered(#{Node :: binary() => target()}) -> ok.
set_discovered(Routes) -> store(discovered, parse_routes(Routes)).

%% @doc Checks the `routes' setting. Raises {@link eid_config:bad_setting()}.
-spec parse_routes(term()) -> routes().
parse_routes(Routes) when is_map(Routes) ->
    maps:from_list([parse_route(Key, Target) || {Key, Target} <- maps:to_list(Routes)]);
parse_routes(Other) ->
    eid_config:bad_setting("{eid, [{routes, Map}]} must be a map of keys and targets; it is ~tp",
                           [Other]).

%% @doc Checks one route. Raises {@link eid_config:bad_setting()}.
-spec parse_route(eid_host_map:key() | term(), target() | term()) ->
          {eid_host_map:parsed_key(), target()}.
parse_route(Key, Target) ->
    is_target(Target)
        orelse eid_config:bad_setting("a route's target must be direct, epmd, engine, published or "
                                      "{IpAddress, Port}; it is ~tp", [Target]),
    {eid_host_map:parse_key(routes, Key), Target}.

is_target({Ip, Port}) when is_tuple(Ip), is_integer(Port), Port > 0, Port < 65536 ->
    inet:ntoa(Ip) =/= {error, einval};
is_target(Target) -> lists:member(Target, [direct, epmd, engine, published]).

%% @doc Makes a table of routes from several sources. If two have the same key, the later wins.
-spec compile_routes([routes()]) -> table().
compile_routes(Sources) ->
    Merged = lists:foldl(fun(Later, Before) -> maps:merge(Before, Later) end, #{}, Sources),
    eid_host_map:new(maps:to_list(Merged)).

%% @doc The target for the smallest network that contains this address, by default `engine'.
-spec for_address(inet:ip_address(), table()) -> target().
for_address(Address, Table) -> eid_host_map:for_address(Address, Table, engine).

%% Allowed hosts.

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

%% @doc True if eid may contact this address. `Host' is the name that led to it, or `none'.
-spec is_allowed(Host :: binary() | none, inet:ip_address(), hosts()) -> boolean().
is_allowed(_Host, _Address, any) -> true;
is_allowed(Host, Address, Hosts) ->
    (Host =/= none andalso eid_host_map:is_named(Host, Hosts))
        orelse eid_host_map:for_address(Address, Hosts, refused) =:= allowed.

%% @doc True if some address of this host may be allowed. If not, eid does not resolve its name.
-spec may_be_allowed(Host :: binary(), hosts()) -> boolean().
may_be_allowed(_Host, any) -> true;
may_be_allowed(Host, Hosts) ->
    eid_host_map:has_networks(Hosts) orelse eid_host_map:is_named(Host, Hosts).

%% Engines: `{engines, #{Host => Endpoint, default => Endpoint}}'.
%%
%% An endpoint is `"tcp://192.0.2.1:4243"', `"https://192.0.2.1:2376"' or
%% `"unix:///var/run/docker.sock"'. `{host}' in it is replaced by the host of the node. The default
%% is `tcp://{host}' with the port of `docker_daemon_port'.

-spec compile_engines(term(), DaemonPort :: inet:port_number()) -> engines().
compile_engines(Engines, DaemonPort) when is_map(Engines) ->
    Default = maps:get(default, Engines, "tcp://{host}:" ++ integer_to_list(DaemonPort)),
    Entries = [{engine_host(Host), endpoint(Endpoint)}
               || {Host, Endpoint} <- maps:to_list(maps:remove(default, Engines))],
    {eid_host_map:new(Entries), endpoint(Default)};
compile_engines(Other, _DaemonPort) ->
    eid_config:bad_setting("{eid, [{engines, Map}]} must be a map of hosts and endpoints; it is "
                           "~tp", [Other]).

engine_host(Key) ->
    lists:member(Key, ["default", <<"default">>])
        andalso eid_config:bad_setting("{eid, [{engines, ...}]} has the key ~tp; it must be the "
                                       "atom default", [Key]),
    Host = eid_host_map:parse_key(engines, Key),
    eid_host_map:is_node(Host)
        andalso eid_config:bad_setting("{eid, [{engines, ...}]} has hosts for keys, and not nodes: "
                                       "~tp", [Key]),
    Host.

endpoint(Text) ->
    case eid_text:parse(Text) of
        {ok, Template} when not is_atom(Text) ->
            case eid_library:call(fun() -> eid_nif:is_engine(Template) end) of
                true -> {Template, scheme(Template)};
                %% The library can't be loaded. Each lookup will report it.
                {error, {unreachable, _}} -> {Template, tcp};
                false -> bad_endpoint(Text)
            end;
        _ -> bad_endpoint(Text)
    end.

-spec bad_endpoint(term()) -> no_return().
bad_endpoint(Text) ->
    eid_config:bad_setting("an engine must be \"tcp://HOST:PORT\", \"https://HOST:PORT\" or "
                           "\"unix:///PATH\", where HOST may be {host}; it is ~tp", [Text]).

%% OTP 29 does not load a pattern for the prefix here if OTP 25 has compiled it.
scheme(Template) ->
    case binary:split(Template, <<"://">>) of
        [<<"https">>, _] -> https;
        [<<"unix">>, _] -> unix;
        _ -> tcp
    end.

%% @doc The engine of the host with this name, as in node names, and this address.
-spec engine(Host :: binary(), inet:ip_address(), settings()) -> eid_nif:engine().
engine(Host, Ip, #{engines := {Table, Default}}) ->
    engine(Host, case eid_host_map:for_name(<<>>, Host, Table) of
                     none -> eid_host_map:for_address(Ip, Table, Default);
                     Endpoint -> Endpoint
                 end).

%% @doc The engine of a host that is not known yet.
-spec default_engine() -> eid_nif:engine().
default_engine() ->
    {_Table, Default} = engines(),
    engine(<<>>, Default).

%% The token never goes over plain TCP, where others could read it.
engine(Host, {Template, tcp}) -> {Template, Host, <<>>, <<>>};
engine(Host, {Template, unix}) -> {Template, Host, <<>>, eid_config:engine_token_file()};
engine(Host, {Template, https}) ->
    {Template, Host, eid_config:engine_certs(), eid_config:engine_token_file()}.
