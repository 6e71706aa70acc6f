%% @doc eid, Erlang in Docker: the public API. Everything else is behind it.
%%
%% For a carrier nothing has to be started: the functions work as soon as eid is in the code path. The application is there for
%% discovery and the status page.
-module(eid).

-export([start/0, lookup/1, set_route/2, info/0, node_name/0, format_error/1]).

-export_type([route/0, reason/0]).

-type route() :: #{ip := inet:ip_address(),
                   port := inet:port_number(),
                   route := loopback | bridge | host | published | direct | epmd | fixed}.
%% How to dial a node: its address, its TCP port, and how eid knows. `loopback': it is in this
%% container. `bridge': both containers are on one Docker Engine and in the same Docker network, so it is
%% the container's own address there. `host': the container uses its host's network. `published': the
%% host's port that the Docker Engine has published the container's on. The others the user has set.

-type reason() :: bad_node_name | host_not_allowed | unknown_host | no_such_container | not_running
                | not_published | published_on_loopback | published_elsewhere
                | {unreachable, Detail :: binary()}
                | {refused, HttpStatus :: 100..999, Message :: binary()}
                | bad_response | timeout
                | {dial, route(), inet:posix() | timeout}
                | {handshake, Why :: term()}.
%% Why a node can't be found (all but the last two) or connected. {@link format_error/1} explains.

%% @doc Starts the application, for `erl … -s eid'. If a setting is wrong, this ends in an error with the sentence that
%% says so, which on the command line ends the VM.
-spec start() -> ok.
start() ->
    case application:ensure_all_started(eid) of
        {ok, _} -> ok;
        {error, {eid, {{bad_setting, _} = Bad, _}}} -> error(Bad);
        {error, {eid, {{shutdown, {failed_to_start_child, eid_status, {status, _} = Bad}}, _}}} -> error(Bad);
        {error, Reason} -> error(Reason)
    end.

%% @doc Finds out how `Node' would be dialled, without dialling it. Makes no atom of a binary, and
%% logs nothing about the node. Takes microseconds for a container that is known already, and
%% `connect_timeout' and `response_timeout' together at most, 5 s by default.
%% Raises {@link eid_config:bad_setting()} where a wrong setting has not stopped the start already.
-spec lookup(Node :: node() | binary()) -> {ok, route()} | {error, reason()}.
lookup(Node) when is_atom(Node) ->
    lookup(atom_to_binary(Node));
lookup(Node) when is_binary(Node) ->
    eid_resolver:lookup(Node).

%% @doc Sets a route at run time, in the form of the `routes' setting and before it: for a node, a
%% host or a network; `default' takes it back. It counts from the next connection on. Raises
%% {@link eid_config:bad_setting()} for what is no route.
-spec set_route(eid_host_map:key(), eid_routes:target() | default) -> ok.
set_route(Key, Target) -> eid_settings:set_route(Key, Target).

%% @doc How eid is doing: what it knows of each Docker Engine that it has been asking, and how each
%% connected node is reached. Asks nobody, and takes some microseconds for each.
-spec info() -> eid_info:info().
info() -> eid_info:info().

%% @doc Finds the name that this node should have: what `eid name' prints, for a node that is started
%% without a name and takes one with `net_kernel:start/2'. `EID_NAME' or the ID of this container stands
%% before the `@', and the first that is there of `EID_HOST', `MY_POD_IP', what Rancher's metadata service
%% at `EID_RANCHER' says, and what `eid serve' advertises on this container's default gateway, at `EID_ENGINE'
%% or the default of `engines', after it. The variables are those that the VM was started with. Nobody but
%% Rancher or `eid serve' is asked, for `connect_timeout' and `response_timeout' together at most. The sentence
%% says what is missing and what to set.
-spec node_name() -> {ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}.
node_name() -> eid_own_name:find().

%% @doc A sentence for a person: what happened, and what to do next.
-spec format_error(reason()) -> string().
format_error(Reason) -> eid_error:format(Reason).
