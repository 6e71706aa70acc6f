%% @doc The public API of eid, Erlang in Docker. The other modules are internal, except for the
%% behaviour {@link eid_discovery}.
%%
%% The functions work as soon as eid is in the code path: a carrier needs no started application.
%% Start the application for discovery and the status page.
-module(eid).

-export([start/0, lookup/1, set_route/2, info/0, node_name/0, format_error/1]).

-export_type([route/0, reason/0, subject/0]).

-type route() :: #{ip := inet:ip_address(),
                   port := inet:port_number(),
                   route := loopback | bridge | host | published | direct | epmd | fixed}.
%% How to dial a node: its address, its TCP port, and the source of both.
%%
%% `loopback': the node is in this container. `bridge': both containers are on one Docker Engine and
%% in the same Docker network, so it is the container's address there. `host': the container uses
%% its host's network. `published': the host's port on which the Docker Engine published the
%% container's port. The user has set the others.

-type reason() :: bad_node_name | host_not_allowed | unknown_host | no_such_container | not_running
                | not_published | published_on_loopback | published_elsewhere
                | {unreachable, {subject(), Detail :: binary()}}
                | {refused, HttpStatus :: 100..999, Message :: binary()}
                | bad_response | timeout
                | {dial, route(), inet:posix() | timeout}
                | {handshake, Why :: term()}.
%% Why a node can't be found (all but the last two) or connected. {@link format_error/1} makes a
%% sentence of it.

-type subject() :: connection | socket | certificates | token_file | address | defect
                 | epmd | library | changed_library.
%% The part that failed. `connection', `socket', `certificates', `token_file' and `address' concern
%% the way to the Docker Engine. `epmd' is that of the host. `library': eid's library can't be
%% loaded. `changed_library': it was replaced under a running VM. `defect': eid itself failed.

%% @doc Starts the application, for `erl … -s eid'. If a setting is wrong, it raises an error with a
%% sentence, which on the command line ends the VM.
-spec start() -> ok.
start() ->
    case application:ensure_all_started(eid) of
        {ok, _} -> ok;
        {error, {eid, {{bad_setting, _} = Bad, _}}} -> error(Bad);
        {error, {eid, {{shutdown, {failed_to_start_child, eid_status, {status, _} = Bad}}, _}}} ->
            error(Bad);
        {error, Reason} -> error(Reason)
    end.

%% @doc Finds out how to dial `Node', without dialling it. Makes no atom of a binary, and logs
%% nothing about the node.
%%
%% It takes microseconds for a container that is known already, and at most `connect_timeout' plus
%% `response_timeout', 5 s by default. Raises {@link eid_config:bad_setting()} if a setting is wrong
%% and did not stop the start already.
-spec lookup(Node :: node() | binary()) -> {ok, route()} | {error, reason()}.
lookup(Node) when is_atom(Node) ->
    lookup(atom_to_binary(Node));
lookup(Node) when is_binary(Node) ->
    eid_resolver:lookup(Node).

%% @doc Sets a route at run time for a node, a host or a network, as in the `routes' setting, which
%% it precedes. `default' removes it. It counts from the next connection on. Raises
%% {@link eid_config:bad_setting()} if the key or the target is wrong.
-spec set_route(eid_host_map:key(), eid_routing:target() | default) -> ok.
set_route(Key, Target) -> eid_routing:set_route(Key, Target).

%% @doc The state of eid: the directory of each Docker Engine that was asked, and the route of each
%% connected node. Asks no engine, and takes microseconds for each entry.
-spec info() -> eid_info:info().
info() -> eid_info:info().

%% @doc Finds the name that this node should have, as `eid name' prints it, for a node that takes a
%% name with `net_kernel:start/2'.
%%
%% Before the `@' is `EID_NAME' or the ID of this container. After it is the first of these that
%% exists: `EID_HOST', `MY_POD_IP', the host from Rancher's metadata service at `EID_RANCHER', or
%% the host that `eid serve' advertises on this container's default gateway, at `EID_ENGINE' or the
%% default of `engines'. The variables are those that the VM was started with. It takes at most
%% `connect_timeout' plus `response_timeout'. The sentence of an error names the missing variable.
-spec node_name() -> {ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}.
node_name() -> eid_own_name:find().

%% @doc Two sentences for people: the cause, and what to do next.
-spec format_error(reason()) -> string().
format_error(Reason) -> eid_error:format(Reason).
