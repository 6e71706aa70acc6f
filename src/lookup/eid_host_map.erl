%% @doc A map from nodes, hosts and networks to values. The most specific key of a host wins.
%%
%% Keys, the most specific first: a node name (`'db@10.0.0.5''), a host's DNS name as in node names
%% (`"db.example.org"'), an address (`"10.0.0.9"') or a network (`"10.42.0.0/16"', `"fd00::/8"'),
%% longer prefixes first. Keys can be strings, binaries or atoms.
-module(eid_host_map).

-export([parse_key/2, is_node/1, new/1, for_name/3, for_address/3, is_named/2, has_networks/1]).

-export_type([key/0, parsed_key/0, table/1]).

-type key() :: atom() | string() | binary().
-opaque parsed_key() :: {name, binary()} | {network, network()}.
%% Equal for all ways to write the same key.
-opaque table(Value) :: #{names := #{binary() => Value}, networks := [{network(), Value}]}.
%% The networks are sorted, the longest prefix first.
-type network() :: {AddressBits :: 32 | 128, Prefix :: bitstring()}.

%% @doc Checks a key of this setting of `eid'. Raises {@link eid_config:bad_setting()}.
-spec parse_key(Setting :: atom(), key() | term()) -> parsed_key().
parse_key(Setting, Key) ->
    try
        {ok, Binary} = eid_text:parse(Key),
        [_ | _] = Text = unicode:characters_to_list(Binary),
        case string:split(Text, "/") of
            [Address, Length] -> {network, network(Address, list_to_integer(Length))};
            [_] ->
                case inet:parse_strict_address(Text) of
                    {ok, Address} -> {network, {bit_size(to_bits(Address)), to_bits(Address)}};
                    {error, einval} -> {name, name(Binary)}
                end
        end
    catch
        error:_ ->
            eid_config:bad_setting("{eid, [{~ts, ...}]} has a key that is not a node name, host "
                                   "name, address or network: ~tp", [Setting, Key])
    end.

network(Address, Length) ->
    {ok, Parsed} = inet:parse_strict_address(Address),
    Bits = to_bits(Parsed),
    <<Prefix:Length/bitstring, _/bitstring>> = Bits,
    {bit_size(Bits), Prefix}.

%% A node name is compared as it is. DNS names are compared without case.
name(Text) ->
    {Node, Name} = case binary:match(Text, <<"@">>) of
                       nomatch -> {<<"any@", Text/binary>>, string:lowercase(Text)};
                       _ -> {Text, Text}
                   end,
    case eid_library:call(fun() -> eid_nif:parse_node_name(Node) end) of
        {ok, _} -> Name;
        %% The library can't be loaded. Each lookup will report it.
        {error, {unreachable, _}} -> Name
    end.

%% @doc True if the key is a node name.
-spec is_node(parsed_key()) -> boolean().
is_node({name, Name}) -> binary:match(Name, <<"@">>) =/= nomatch;
is_node({network, _}) -> false.

%% @doc Makes a table.
-spec new([{parsed_key(), Value}]) -> table(Value).
new(Entries) ->
    Networks = [{Network, Value} || {{network, Network}, Value} <- Entries],
    #{names => maps:from_list([{Name, Value} || {{name, Name}, Value} <- Entries]),
      networks => lists:sort(fun({{_, A}, _}, {{_, B}, _}) -> bit_size(A) >= bit_size(B) end,
                             Networks)}.

%% @doc The value for exactly this node, or for this DNS name of a host.
-spec for_name(Node :: binary(), Host :: binary(), table(Value)) -> Value | none.
for_name(_Node, _Host, #{names := Names}) when map_size(Names) =:= 0 -> none;
for_name(Node, Host, #{names := Names}) ->
    case Names of
        #{Node := Value} -> Value;
        _ -> maps:get(string:lowercase(Host), Names, none)
    end.

%% @doc The value for the smallest network that contains this address.
-spec for_address(inet:ip_address(), table(Value), Default) -> Value | Default.
for_address(_Address, #{networks := []}, Default) -> Default;
for_address(Address, #{networks := Networks}, Default) ->
    in_networks(to_bits(Address), Networks, Default).

in_networks(_Bits, [], Default) ->
    Default;
in_networks(Bits, [{{Size, Prefix}, Value} | Rest], Default) ->
    Length = bit_size(Prefix),
    case Bits of
        <<Prefix:Length/bitstring, _/bitstring>> when bit_size(Bits) =:= Size -> Value;
        _ -> in_networks(Bits, Rest, Default)
    end.

%% @doc True if there is an entry for this DNS name of a host.
-spec is_named(Host :: binary(), table(_)) -> boolean().
is_named(Host, #{names := Names}) -> is_map_key(string:lowercase(Host), Names).

%% @doc True if there is an entry for any address or network.
-spec has_networks(table(_)) -> boolean().
has_networks(#{networks := Networks}) -> Networks =/= [].

to_bits({A, B, C, D}) -> <<A, B, C, D>>;
%% An IPv4-mapped address leads to the IPv4 address (RFC 4291, 2.5.5.2).
to_bits({0, 0, 0, 0, 0, 16#ffff, AB, CD}) -> <<AB:16, CD:16>>;
to_bits(Ip6) -> << <<Group:16>> || Group <- tuple_to_list(Ip6) >>.
