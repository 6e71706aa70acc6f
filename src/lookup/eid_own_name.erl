%% @doc What this node is called: the name that it should have, and what its name tells of the others'.
-module(eid_own_name).

-export([find/0, base/0, id/1, is_own_container/1]).

%% Of an ID, as Docker shows it and makes the container's host name of it.
-define(SHORT_ID, 12).

%% @doc See {@link eid:node_name/0}. The library does the finding, so that the command `eid name' finds the same.
-spec find() -> {ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}.
find() ->
    Ref = make_ref(),
    Asked = eid_nif:call(fun() ->
                                 eid_nif:node_name(Ref, none, engine(), eid_config:limits(), eid_config:lookup_time())
                         end),
    case eid_promise:await(Ref, Asked) of
        {error, {unreachable, Detail}} -> {error, {no_name, Detail}};
        Answer -> Answer
    end.

%% Where `eid serve' on this container's host is, which is asked last: as for the command, or as for all engines.
engine() ->
    Engines = eid_engines:compile(eid_config:engines(), eid_config:docker_daemon_port()),
    case os:getenv("EID_ENGINE", "") of
        "" -> eid_engines:default(Engines);
        Template -> {unicode:characters_to_binary(Template), <<>>, eid_config:engine_certs(), token_file()}
    end.

token_file() ->
    case eid_config:engine_token_file() of
        <<>> -> unicode:characters_to_binary(os:getenv("EID_ENGINE_TOKEN_FILE", ""));
        File -> File
    end.

%% @doc What stands before the `@' of this node's name.
-spec base() -> binary().
base() -> hd(binary:split(atom_to_binary(node()), <<"@">>)).

%% @doc A container's ID as it stands in the nodes' names: with as many digits as the one in this node's own name, because
%% nodes are named in one way; or 12, if there is none.
-spec id(FullId :: binary()) -> binary().
id(FullId) ->
    Base = base(),
    Digits = case re:run(Base, "^[0-9a-f]{12,64}$", [{capture, none}]) of
                 match -> byte_size(Base);
                 nomatch -> ?SHORT_ID
             end,
    binary:part(FullId, 0, min(Digits, byte_size(FullId))).

%% @doc Whether this is the ID of the container that this node runs in, or 12 or more of its first digits.
-spec is_own_container(Id :: binary()) -> boolean().
is_own_container(Id) ->
    case eid_nif:call(fun() -> eid_nif:own_container() end) of
        {ok, Own} when byte_size(Id) >= ?SHORT_ID -> binary:longest_common_prefix([Id, Own]) =:= byte_size(Id);
        _ -> false
    end.
