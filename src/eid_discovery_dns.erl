%% @doc Discovery strategy: the addresses of a DNS name, `{dns, #{name => "shop.default.svc.cluster.local"}}'.
%%
%% Behind each address, A or AAAA, is a node `Base@Address', dialled there directly at the erlang port: a pod, or
%% a container in an overlay network. `base' is what stands before the `@' of all nodes, by default of this one. `family' is `inet',
%% `inet6' or `any'; by default it is what the carrier can dial.
-module(eid_discovery_dns).

-behaviour(eid_discovery).

-export([init/1, list/1]).
-export([own_base/0, peers/2, is_base/1, is_name/1]).    % of other strategies that name nodes so

-record(state, {name :: string(), base :: string() | own, families :: [inet | inet6, ...]}).

%% @private
-spec init(term()) -> #state{}.
init(Options) ->
    #{name := Name, base := Base, family := Family} =
        eid_clusters:options(dns, Options,
                             #{name => {required, fun is_name/1, "a DNS name"},
                               base => {own, fun is_base/1, "what stands before the @ in the nodes' names"},
                               family => {carrier, fun(F) -> lists:member(F, [inet, inet6, any]) end,
                                          "inet, inet6 or any"}}),
    #state{name = unicode:characters_to_list(Name), base = Base, families = families(Family)}.

families(carrier) ->
    case eid_resolver:own_family() of
        inet -> [inet];
        inet6 -> [inet, inet6]
    end;
families(any) -> [inet, inet6];
families(Family) -> [Family].

%% @private
-spec list(#state{}) -> {eid_discovery:answer(), #state{}}.
list(#state{name = Name, base = Base, families = Families} = State) ->
    Answer = case eid_dns:addresses(Name, Families) of
                 {ok, Ips, Ttl} -> #{nodes => peers(Base, Ips), again => again(Ttl)};
                 {error, Reason} -> #{nodes => unchanged, problems => [{Name, eid_dns:format_error(Reason)}]}
             end,
    {Answer, State}.

again(none) -> interval;
again(Ttl) -> {within, Ttl}.

%% @doc The nodes of this base name at these addresses, each to be dialled directly.
-spec peers(Base :: unicode:chardata() | own, [inet:ip_address()]) -> [eid_discovery:peer()].
peers(own, Ips) -> peers(own_base(), Ips);
peers(Base, Ips) -> [{unicode:characters_to_binary([Base, "@", inet:ntoa(Ip)]), direct} || Ip <- Ips].

%% @doc What stands before the `@' of this node's name.
-spec own_base() -> binary().
own_base() -> hd(binary:split(atom_to_binary(node()), <<"@">>)).

%% @doc Whether this can stand before the `@' of a node's name.
-spec is_base(term()) -> boolean().
is_base(Base) ->
    try eid_discovery:node_name([Base, "@h"]) =/= error
    catch error:_ -> false
    end.

%% @doc Whether this can be a DNS name.
-spec is_name(term()) -> boolean().
is_name(Name) ->
    try
        Text = unicode:characters_to_list(Name),
        Text =/= "" andalso length(Text) < 256 andalso lists:all(fun(C) -> C > $\s andalso C < 127 end, Text)
    catch error:_ -> false
    end.
