%% @doc Where the Docker Engines are: `{engines, #{Host => Endpoint, default => Endpoint}}'.
%%
%% An endpoint is `"tcp://192.0.2.1:4243"', `"https://192.0.2.1:2376"' or
%% `"unix:///var/run/docker.sock"'; `{host}' in it stands for the host of the node that is looked up. A
%% host is a DNS name, an address or a network, as in {@link eid_host_map}. Where nothing fits it is
%% `tcp://{host}' with the port of `docker_daemon_port'.
-module(eid_engines).

-export([compile/2, for_host/3, default/1]).

-export_type([table/0]).

-opaque table() :: {eid_host_map:table(endpoint()), Default :: endpoint()}.
-type endpoint() :: {Template :: binary(), tcp | https | unix}.

%% @doc Checks the `engines' setting and makes a table of it. Raises {@link eid_config:bad_setting()}.
-spec compile(term(), DaemonPort :: inet:port_number()) -> table().
compile(Engines, DaemonPort) when is_map(Engines) ->
    Default = maps:get(default, Engines, "tcp://{host}:" ++ integer_to_list(DaemonPort)),
    Entries = [{host(Host), endpoint(Endpoint)}
               || {Host, Endpoint} <- maps:to_list(maps:remove(default, Engines))],
    {eid_host_map:new(Entries), endpoint(Default)};
compile(Other, _DaemonPort) ->
    eid_config:bad_setting("{eid, [{engines, Map}]} must be a map of hosts and endpoints; it is ~tp",
                           [Other]).

host(Key) ->
    lists:member(Key, ["default", <<"default">>])
        andalso eid_config:bad_setting("{eid, [{engines, ...}]} has the key ~tp; it must be the atom default", [Key]),
    Host = eid_host_map:parse_key(engines, Key),
    eid_host_map:is_node(Host)
        andalso eid_config:bad_setting("{eid, [{engines, ...}]} has hosts for keys, and not nodes: ~tp", [Key]),
    Host.

endpoint(Text) ->
    Template = try unicode:characters_to_binary(Text) catch error:_ -> error end,
    case is_binary(Template) andalso eid_nif:call(fun() -> eid_nif:is_engine(Template) end) of
        true -> {Template, scheme(Template)};
        %% The library is not there: each lookup will say so.
        {error, {unreachable, _}} -> {Template, tcp};
        false -> eid_config:bad_setting("an engine must be \"tcp://HOST:PORT\", \"https://HOST:PORT\" or "
                                    "\"unix:///PATH\", where HOST may be {host}; it is ~tp", [Text])
    end.

scheme(<<"https://", _/binary>>) -> https;
scheme(<<"unix://", _/binary>>) -> unix;
scheme(_) -> tcp.

%% @doc The engine of a host that is not known yet.
-spec default(table()) -> eid_nif:engine().
default({_Table, {Template, Scheme}}) -> engine(Template, <<>>, Scheme).

%% @doc The engine of the host that has this name, or text, in node names, and this address.
-spec for_host(Host :: binary(), inet:ip_address(), table()) -> eid_nif:engine().
for_host(Host, Ip, {Table, Default}) ->
    {Template, Scheme} =
        case eid_host_map:for_name(<<>>, Host, Table) of
            none -> eid_host_map:for_address(Ip, Table, Default);
            Endpoint -> Endpoint
        end,
    engine(Template, Host, Scheme).

engine(Template, Host, Scheme) -> {Template, Host, certs(Scheme), token_file(Scheme)}.

certs(https) -> eid_config:engine_certs();
certs(_) -> <<>>.

%% Never over plain TCP, where it could be read.
token_file(tcp) -> <<>>;
token_file(_) -> eid_config:engine_token_file().
