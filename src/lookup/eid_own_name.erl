%% @doc This node's name, and the form of the container IDs in node names.
-module(eid_own_name).

-export([find/0, base/0, id/1, is_own_container/1]).

%% Digits of an ID as Docker prints it and uses it for the container's host name.
-define(SHORT_ID, 12).

%% @doc See {@link eid:node_name/0}. The library finds the name, so `eid name' finds the same.
-spec find() -> {ok, Name :: binary()} | {error, {no_name, Sentence :: binary()}}.
find() ->
    Engine = engine(),
    case eid_library:ask(fun(Ref) -> eid_nif:node_name(Ref, none, Engine, eid_config:limits(),
                                                       eid_config:lookup_time())
                         end) of
        {error, {unreachable, {_Library, Detail}}} -> {error, {no_name, Detail}};
        Answer -> Answer
    end.

%% The address of `eid serve' on this container's host, which is asked last: that of the command
%% `eid', else the default engine.
engine() ->
    Default = eid_routing:default_engine(),
    case os:getenv("EID_ENGINE", "") of
        "" -> Default;
        Template -> {eid_text:show(Template), <<>>, eid_config:engine_certs(), token_file()}
    end.

token_file() ->
    case eid_config:engine_token_file() of
        <<>> -> eid_text:show(os:getenv("EID_ENGINE_TOKEN_FILE", ""));
        File -> File
    end.

%% @doc The part of this node's name before the `@'.
-spec base() -> binary().
base() -> hd(binary:split(atom_to_binary(node()), <<"@">>)).

%% @doc A container's ID as in node names: with as many digits as the ID in this node's name,
%% because all nodes are named in one way. The default is 12 digits.
-spec id(FullId :: binary()) -> binary().
id(FullId) ->
    Base = base(),
    Digits = case re:run(Base, "^[0-9a-f]{12,64}$", [{capture, none}]) of
                 match -> byte_size(Base);
                 nomatch -> ?SHORT_ID
             end,
    binary:part(FullId, 0, min(Digits, byte_size(FullId))).

%% @doc True if this is the ID of this node's container, or at least the first 12 digits of it.
-spec is_own_container(Id :: binary()) -> boolean().
is_own_container(Id) ->
    case eid_library:call(fun() -> eid_nif:own_container() end) of
        {ok, Own} when byte_size(Id) >= ?SHORT_ID ->
            binary:longest_common_prefix([Id, Own]) =:= byte_size(Id);
        _ -> false
    end.
