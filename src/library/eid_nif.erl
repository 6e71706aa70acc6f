%% @doc Stubs of the functions of the Rust library `eid_nif'. See `native/nif' for the other side.
%%
%% Use {@link eid_library:call/1}, which loads the library first. Each call takes microseconds and
%% blocks no scheduler. A function that must ask a Docker Engine answers `pending' at once. Then
%% exactly one message `{Ref, Result}' comes to the caller, within the given milliseconds, even if
%% the request fails: use {@link eid_library:ask/1}.
-module(eid_nif).

-export([load/1]).
-export([parse_node_name/1, is_engine/1, own_container/0, known_route/5, lookup/9, names/6,
         watch/7, take_notice/2, info/0, rancher/4, is_metadata_url/1, node_name/5, to_json/1]).

-export_type([engine/0, bridge/0, kind/0, filter/0, container/0, watched/0, json/0]).

-type engine() :: {Template :: binary(), Host :: binary(), CertFolder :: binary(),
                   TokenFile :: binary()}.
%% The address of a host's Docker Engine: `<<"tcp://{host}:4243">>', `<<"https://{host}:2376">>' or
%% `<<"unix:///var/run/docker.sock">>'; the host as in node names; for `https' the folder with
%% `ca.pem', `cert.pem' and `key.pem', else `<<>>'; for `https' and `unix' the file with the token,
%% or `<<>>'.

-type bridge() :: preferred | never | {last_resort, Failed :: inet:ip_address()}.
%% When to dial a container at its address in a Docker network: whenever this is possible, never,
%% or if there is no other route. In the last case the address that failed comes last.

-type kind() :: loopback | host | bridge | published.
%% See {@link eid:route()}.

-type container() :: {FullId :: binary(), Name :: binary(), NodeLabel :: binary()}.
%% A running container. `NodeLabel' is its label `eid.node', or `<<>>'.

-type watched() :: {changed, Digest :: pos_integer(), [container()]}
                 | {failed, Digest :: pos_integer(), eid:reason()}
                 | unchanged
                 | {error, eid:reason()}.
%% The result of {@link watch/7}.

-type filter() :: {label, Key :: binary(), Value :: binary() | any} | {name, Glob :: binary()}.
%% Selects the containers that have a label with this value or any value, or a name that matches,
%% where `*' matches any text. All texts are in UTF-8.

-type json() :: #{atom() | binary() => json()} | [json()] | binary() | integer() | float() | atom().
%% A term with a form in JSON. A list is an array, never a text. A binary is a text in UTF-8. An
%% integer has 64 bits. `true', `false' and `null' mean themselves, other atoms mean their text.

%% @doc Loads the library for this code. Only {@link eid_library} calls it.
-spec load(file:filename()) -> ok | {error, {atom(), Text :: string()}}.
load(File) -> erlang:load_nif(File, 0).

%% @doc Splits `Container@Host' after checking every character of it. `Ip' is there if the host is
%% an address.
-spec parse_node_name(Node :: binary()) ->
          {ok, {Container :: binary(), Host :: binary(), Ip :: inet:ip_address() | none}}
              | {error, bad_node_name}.
parse_node_name(_Node) -> erlang:nif_error(not_loaded).

%% @doc True if this is the template of an engine's address.
-spec is_engine(Template :: binary()) -> boolean().
is_engine(_Template) -> erlang:nif_error(not_loaded).

%% @doc The full ID (64 hex digits) of the container that this node runs in, from
%% `/proc/self/mountinfo' (proc(5)). Outside of a container it is `none'.
-spec own_container() -> {ok, binary()} | none.
own_container() -> erlang:nif_error(not_loaded).

%% @doc Reads from memory how to dial a container. `HostIp' is the host's address, which chooses
%% among several bindings.
-spec known_route(Container :: binary(), engine(), HostIp :: inet:ip_address(),
                  ErlangPort :: inet:port_number(), bridge()) ->
          {ok, inet:ip_address(), inet:port_number(), kind()} | unknown.
known_route(_Container, _Engine, _HostIp, _ErlangPort, _Bridge) -> erlang:nif_error(not_loaded).

%% @doc Finds out how to dial a container, and asks its engine if necessary. The message is
%% `{Ref, {ok, Ip, Port, Kind}}' or `{Ref, {error, eid:reason()}}'. `Again' means that the known
%% route could not be dialled: then the library asks the engine and shares no request that is
%% already under way.
-spec lookup(reference(), Node :: binary(), engine(), HostIp :: inet:ip_address(),
             ErlangPort :: inet:port_number(), bridge(), eid_config:limits(),
             WithinMs :: non_neg_integer(), Again :: boolean()) -> pending.
lookup(_Ref, _Node, _Engine, _HostIp, _ErlangPort, _Bridge, _Limits, _WithinMs, _Again) ->
    erlang:nif_error(not_loaded).

%% @doc Finds all running containers that publish the distribution port. The message is
%% `{Ref, {ok, [{Id :: binary(), Port}]}}' or `{Ref, {error, eid:reason()}}'.
-spec names(reference(), engine(), HostIp :: inet:ip_address(), ErlangPort :: inet:port_number(),
            eid_config:limits(), WithinMs :: non_neg_integer()) -> pending.
names(_Ref, _Engine, _HostIp, _ErlangPort, _Limits, _WithinMs) ->
    erlang:nif_error(not_loaded).

%% @doc Waits until the running containers that match the filter differ from those that the caller
%% knows. `Known' is the digest of the last answer. With 0 the message comes as soon as the
%% containers are known.
%%
%% The message is `{Ref, watched()}'. In `changed' the containers are in the order of their IDs.
%% `failed' means that the engine can't be asked, so the last list may still be true. `unchanged'
%% comes when the time is over. A digest is never 0, and is the same for the same content. While
%% the library asks again about a container, the old answer counts.
-spec watch(reference(), engine(), HostIp :: inet:ip_address(), filter(),
            Known :: non_neg_integer(), eid_config:limits(), WithinMs :: non_neg_integer()) ->
          pending.
watch(_Ref, _Engine, _HostIp, _Filter, _Known, _Limits, _WithinMs) ->
    erlang:nif_error(not_loaded).

%% @doc Returns once why each lookup must ask this engine: the engine refuses its list or its
%% events, or the list is too large.
-spec take_notice(engine(), HostIp :: inet:ip_address()) ->
          {refused, Endpoint :: binary(), eid:reason()} | none.
take_notice(_Engine, _HostIp) -> erlang:nif_error(not_loaded).

%% @doc The state of each engine's directory.
-spec info() -> #{Endpoint :: binary() => eid_info:engine()}.
info() -> erlang:nif_error(not_loaded).

%% @doc Asks Rancher's metadata service, at a URL such as `http://rancher-metadata/latest', for the
%% service of this container: its name and the addresses of its running containers, in order, this
%% one included. The message is `{Ref, {ok, {Service, Addresses}}}' or `{Ref, {error,
%% eid:reason()}}'.
-spec rancher(reference(), BaseUrl :: binary(), eid_config:limits(),
              WithinMs :: non_neg_integer()) -> pending.
rancher(_Ref, _BaseUrl, _Limits, _WithinMs) -> erlang:nif_error(not_loaded).

%% @doc True if this can be the URL of a metadata service.
-spec is_metadata_url(Url :: binary()) -> boolean().
is_metadata_url(_Url) -> erlang:nif_error(not_loaded).

%% @doc Finds the name that this node should have, as `eid name' does. It reads the environment
%% that the VM was started with. If necessary it asks Rancher's metadata service, at this URL or at
%% `EID_RANCHER'. Else it asks `eid serve' at `Engine', with the default gateway for `{host}'.
%%
%% The message is `{Ref, {ok, Name :: binary()}}' or `{Ref, {error, {no_name, Sentence ::
%% binary()}}}'.
-spec node_name(reference(), Rancher :: binary() | none, engine(), eid_config:limits(),
                WithinMs :: non_neg_integer()) -> pending.
node_name(_Ref, _Rancher, _Engine, _Limits, _WithinMs) -> erlang:nif_error(not_loaded).

%% @doc A term as JSON. Raises `badarg' for a term without such a form, and for more than 64 nested
%% lists and maps. It runs on a dirty scheduler and may take long.
-spec to_json(json()) -> binary().
to_json(_Term) -> erlang:nif_error(not_loaded).
