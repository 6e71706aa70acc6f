%% @doc The door to the Rust library `eid_nif': its functions as stubs, and loading it on first use.
%%
%% Call a function through {@link call/1}. Each call takes microseconds and blocks no scheduler.
%% What has to ask a Docker Engine answers `pending' at once, and then exactly one message
%% `{Ref, Result}' comes to the caller, within the milliseconds that it gave, whatever happens to
%% the request: see {@link eid_promise:await/2}. See `native/nif' for the other side.
%%
%% This module can be reloaded. The library can't: a VM keeps the one that it has loaded first, with its threads and
%% directories, and new code of this module gets that one again.
-module(eid_nif).

-export([call/1]).
-export([load_and_call/2]).    % by full name
-export([parse_node_name/1, is_engine/1, own_container/0, known_route/5, lookup/9, names/6,
         watch/7, take_notice/2, info/0, rancher/4, is_metadata_url/1, node_name/5, to_json/1]).

-include_lib("kernel/include/file.hrl").

-export_type([limits/0, engine/0, bridge/0, kind/0, filter/0, container/0, watched/0, json/0]).

-type engine() :: {Template :: binary(), Host :: binary(), CertFolder :: binary(), TokenFile :: binary()}.
%% Where a host's Docker Engine is: `<<"tcp://{host}:4243">>', `<<"https://{host}:2376">>' or
%% `<<"unix:///var/run/docker.sock">>'; the host's part of the node name; for `https' the folder with
%% `ca.pem', `cert.pem' and `key.pem', otherwise `<<>>'; and for `https' and `unix' the file with the
%% token, or `<<>>'.

-type bridge() :: preferred | never | {last_resort, Failed :: inet:ip_address()}.
%% Whether a container may be dialled at its own address in a Docker network: wherever it can be, not
%% at all, or if there is no other way, and this address, which could not be dialled, after all others.

-type kind() :: loopback | host | bridge | published.
%% See {@link eid:route()}.

-type container() :: {FullId :: binary(), Name :: binary(), NodeLabel :: binary()}.
%% A running container; `NodeLabel' is its label `eid.node', or `<<>>'.

-type watched() :: {changed, Digest :: pos_integer(), [container()]} | {failed, Digest :: pos_integer(), eid:reason()}
                 | unchanged | {error, eid:reason()}.
%% What has become of the containers that were watched.

-type filter() :: {label, Key :: binary(), Value :: binary() | any} | {name, Glob :: binary()}.
%% Which containers are meant: those that have a label, with this value or any, or those whose name is
%% this, where `*' stands for any text. All texts are in UTF-8.

-type limits() :: {ConnectMs :: pos_integer(), ResponseMs :: pos_integer(),
                   BodyBytes :: pos_integer()}.
%% Bounds of one request: milliseconds to connect, milliseconds from then on to the end of the
%% answer, and bytes of its body.

-type json() :: #{atom() | binary() => json()} | [json()] | binary() | integer() | float() | atom().
%% What has a form in JSON. A list is an array, never a text; a binary is a text in UTF-8; an integer
%% has 64 bits; `true', `false' and `null' mean themselves, and other atoms their text.

%% So often is the library loaded for one call, and former code purged for one load.
-define(LOADS, 10).
-define(PURGES, 100).

%% @doc Evaluates `Fun', which calls a function of this module, and loads the library before if
%% need be. It is not loaded by `-on_load': an embedded release on OTP 25 runs that too late.
-spec call(fun(() -> Result)) -> Result | {error, {unreachable, Detail :: binary()}}.
call(Fun) ->
    try Fun()
    catch
        %% By full name, because code of before a reload can't load it, and may not be on the stack when it is loaded.
        error:not_loaded -> ?MODULE:load_and_call(Fun, ?LOADS)
    end.

%% @private
%% This module may be reloaded again in between; a function that is still not there is not in the library at all.
load_and_call(_Fun, 0) ->
    {error, {unreachable, unfit("it lacks a function")}};
load_and_call(Fun, Loads) ->
    case load() of
        ok ->
            try Fun()
            catch error:not_loaded -> ?MODULE:load_and_call(Fun, Loads - 1)
            end;
        %% This is code of before a reload by now.
        {error, {old_code, _}} ->
            ?MODULE:load_and_call(Fun, Loads - 1);
        {error, {_, Text}} ->
            {error, {unreachable, unfit(Text)}}
    end.

load() ->
    {File, _} = OnDisk = on_disk(),
    {First, _} = Kept = kept(OnDisk),
    case load_nif(First, ?PURGES) of
        ok ->
            persistent_term:put(?MODULE, Kept),
            Kept =:= OnDisk orelse eid_setup_log:library_changed(File),
            ok;
        %% Another process was faster.
        {error, {reload, _}} -> ok;
        {error, _} = Error -> Error
    end.

%% A library that is loaded already is found by its name, whatever has become of the file (dlopen(3) of glibc).
load_nif(File, Purges) ->
    case erlang:load_nif(File, 0) of
        %% This module was reloaded, and its former code still holds the library. Nobody stays in there for longer
        %% than a call takes.
        {error, {upgrade, _}} when Purges > 0 ->
            _ = code:soft_purge(?MODULE) orelse timer:sleep(1),
            load_nif(File, Purges - 1);
        Result -> Result
    end.

%% The library that this VM has loaded.
kept(Default) -> persistent_term:get(?MODULE, Default).

%% The library that a VM would load that starts now: its file, and what tells that from one that takes its place.
on_disk() ->
    File = filename:join(priv_dir(), "eid_nif"),
    {File, case file:read_file_info(File ++ ".so", [raw, {time, posix}]) of
               {ok, #file_info{major_device = Device, inode = Inode, size = Size, mtime = Modified}} ->
                   {Device, Inode, Size, Modified};
               {error, Posix} -> Posix
           end}.

unfit(Text) ->
    OnDisk = on_disk(),
    Format = case kept(OnDisk) of
                 OnDisk -> "eid_nif can't be loaded (~ts)";
                 _ -> "eid_nif was changed, and this VM keeps the one that it has loaded, which does not fit (~ts)"
             end,
    unicode:characters_to_binary(io_lib:format(Format, [Text])).

%% `code:priv_dir/1' knows the application only where its folder is called `eid' or `eid-Vsn'.
priv_dir() ->
    case code:priv_dir(eid) of
        {error, bad_name} ->
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

%% @doc Splits `Container@Host' after checking every character of it. `Ip' is there if the host is an
%% address.
-spec parse_node_name(Node :: binary()) ->
          {ok, {Container :: binary(), Host :: binary(), Ip :: inet:ip_address() | none}}
              | {error, bad_node_name}.
parse_node_name(_Node) -> erlang:nif_error(not_loaded).

%% @doc Whether this is the template of an engine's address.
-spec is_engine(Template :: binary()) -> boolean().
is_engine(_Template) -> erlang:nif_error(not_loaded).

%% @doc The full ID (64 hex digits) of the container that this runs in, from
%% `/proc/self/mountinfo' (proc(5)); `none' outside of one.
-spec own_container() -> {ok, binary()} | none.
own_container() -> erlang:nif_error(not_loaded).

%% @doc Reads from memory how to dial a container. `HostIp' is the host's address, which chooses
%% among several bindings.
-spec known_route(Container :: binary(), engine(), HostIp :: inet:ip_address(),
                  ErlangPort :: inet:port_number(), bridge()) ->
          {ok, inet:ip_address(), inet:port_number(), kind()} | unknown.
known_route(_Container, _Engine, _HostIp, _ErlangPort, _Bridge) -> erlang:nif_error(not_loaded).

%% @doc Finds out how to dial a container, by asking its engine if need be. The message is
%% `{Ref, {ok, Ip, Port, Kind}}' or `{Ref, {error, eid:reason()}}'. `Again' says that what is known of
%% it is wrong, because it could not be dialled: the engine is asked, and no request is shared that is
%% under way.
-spec lookup(reference(), Node :: binary(), engine(), HostIp :: inet:ip_address(),
             ErlangPort :: inet:port_number(), bridge(), limits(), WithinMs :: non_neg_integer(),
             Again :: boolean()) -> pending.
lookup(_Ref, _Node, _Engine, _HostIp, _ErlangPort, _Bridge, _Limits, _WithinMs, _Again) ->
    erlang:nif_error(not_loaded).

%% @doc Finds all running containers that publish the erlang port. The message is
%% `{Ref, {ok, [{Id :: binary(), Port}]}}' or `{Ref, {error, eid:reason()}}'.
-spec names(reference(), engine(), HostIp :: inet:ip_address(), ErlangPort :: inet:port_number(),
            limits(), WithinMs :: non_neg_integer()) -> pending.
names(_Ref, _Engine, _HostIp, _ErlangPort, _Limits, _WithinMs) ->
    erlang:nif_error(not_loaded).

%% @doc Waits until something else is true of the running containers that are meant than the caller
%% knows: `Known' is the digest of what it was told last, or 0, and then it is told what is true as soon
%% as that is known. The message is `{Ref, {changed, Digest, [{FullId, Name, Node}]}}' in the order of the
%% IDs, all of them binaries, and `Node' being the label `eid.node' or empty; `{Ref, {failed, Digest,
%% eid:reason()}}' while the engine can't be asked, so that what was true before may still be; `{Ref,
%% unchanged}' when the time is over; or `{Ref, {error, eid:reason()}}'. A digest is never 0, and the same
%% for the same content. A container that is being asked about again counts as what it was before.
-spec watch(reference(), engine(), HostIp :: inet:ip_address(), filter(), Known :: non_neg_integer(),
            limits(), WithinMs :: non_neg_integer()) -> pending.
watch(_Ref, _Engine, _HostIp, _Filter, _Known, _Limits, _WithinMs) ->
    erlang:nif_error(not_loaded).

%% @doc Why each lookup has to ask this engine, if it refuses its list or its events, or if its list
%% is too large; told once.
-spec take_notice(engine(), HostIp :: inet:ip_address()) ->
          {refused, Endpoint :: binary(), eid:reason()} | none.
take_notice(_Engine, _HostIp) -> erlang:nif_error(not_loaded).

%% @doc How the directory of each engine is doing.
-spec info() -> #{Endpoint :: binary() => eid_info:engine()}.
info() -> erlang:nif_error(not_loaded).

%% @doc Asks Rancher's metadata service, at a URL such as `http://rancher-metadata/latest', for the
%% name of the service that this container is part of and the addresses of its running containers, in
%% order, its own included. The message is `{Ref, {ok, {Service, Addresses}}}' or `{Ref, {error, eid:reason()}}'.
-spec rancher(reference(), BaseUrl :: binary(), limits(), WithinMs :: non_neg_integer()) -> pending.
rancher(_Ref, _BaseUrl, _Limits, _WithinMs) -> erlang:nif_error(not_loaded).

%% @doc Whether this can be the URL of a metadata service.
-spec is_metadata_url(Url :: binary()) -> boolean().
is_metadata_url(_Url) -> erlang:nif_error(not_loaded).

%% @doc Finds the name that this node should have, as `eid name' does, and asks Rancher's metadata
%% service if need be, at this URL, or that of the variable `EID_RANCHER', or else `eid serve': `Engine' with
%% the default gateway for its `{host}', whatever host is in it. The environment is the one
%% that the VM was started with. The message is `{Ref, {ok, Name :: binary()}}' or
%% `{Ref, {error, {no_name, Sentence :: binary()}}}'.
-spec node_name(reference(), Rancher :: binary() | none, engine(), limits(), WithinMs :: non_neg_integer()) ->
          pending.
node_name(_Ref, _Rancher, _Engine, _Limits, _WithinMs) -> erlang:nif_error(not_loaded).

%% @doc A term as JSON. Raises `badarg' for what has no such form, and for what is deeper than 64 lists
%% and maps in each other. It runs on a dirty scheduler and may take long.
-spec to_json(json()) -> binary().
to_json(_Term) -> erlang:nif_error(not_loaded).
