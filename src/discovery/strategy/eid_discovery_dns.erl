%% @doc Discovery strategy: the addresses of a DNS name, `{dns, #{name =>
%% "shop.default.svc.cluster.local"}}'.
%%
%% At each address, A or AAAA, is a node `Base@Address', dialled directly at the distribution port:
%% a pod, or a container in an overlay network. `base' is the part of all nodes' names before the
%% `@', by default that of this node. `family' is `inet', `inet6' or `any'. The default is the
%% family that the carrier can dial.
-module(eid_discovery_dns).

-behaviour(eid_discovery).

-export([init/1, list/1]).
-export([peers/2, is_base/1, is_name/1]).    % for other strategies

-record(state, {name :: string(), base :: unicode:chardata() | own, families :: [inet | inet6, ...],
                last = #{} :: #{inet | inet6 => [inet:ip_address()]}}).    % the last answers

init(Options) ->
    #{name := Name, base := Base, family := Family} =
        eid_discovery:options(dns, Options,
                              #{name => {required, fun is_name/1, "a DNS name"},
                                base => {own, fun is_base/1,
                                         "the part of the nodes' names before the @"},
                                family => {carrier, fun is_family/1, "inet, inet6 or any"}}),
    #state{name = unicode:characters_to_list(Name), base = Base, families = families(Family)}.

is_family(Family) -> lists:member(Family, [inet, inet6, any]).

families(carrier) ->
    case eid_resolver:own_family() of
        inet -> [inet];
        inet6 -> [inet, inet6]
    end;
families(any) -> [inet, inet6];
families(Family) -> [Family].

list(#state{name = Name, base = Base, families = Families, last = Before} = State) ->
    Answers = eid_tasks:map(fun(Family) -> {Family, eid_dns:addresses(Name, Family)} end, Families),
    %% A name with addresses of one family may be unknown in the other family.
    IsKnown = lists:any(fun({_Family, Answer}) -> element(1, Answer) =:= ok end, Answers),
    Last = lists:foldl(fun({Family, {ok, Ips, _Ttl}}, All) -> All#{Family => Ips};
                          ({Family, {error, nxdomain}}, All) when IsKnown -> All#{Family => []};
                          ({_Family, {error, _Reason}}, All) -> All
                       end, Before, Answers),
    Problems = [{Name, eid_dns:format_error(Reason)}
                || {_Family, {error, Reason}} <- Answers,
                   not (IsKnown andalso Reason =:= nxdomain)],
    Answer = #{nodes => peers(Base, lists:append(maps:values(Last))),
               partial => map_size(Last) < length(Families),
               problems => Problems,
               again => again(lists:min([none | [Ttl || {_, {ok, _Ips, Ttl}} <- Answers]]))},
    {case map_size(Last) of
         0 -> Answer#{nodes := unchanged};
         _ -> Answer
     end, State#state{last = Last}}.

again(none) -> interval;
again(Ttl) -> {within, Ttl}.

%% @doc The nodes with this base at these addresses, each with a direct route.
-spec peers(Base :: unicode:chardata() | own, [inet:ip_address()]) -> [eid_discovery:peer()].
peers(own, Ips) -> peers(eid_own_name:base(), Ips);
peers(Base, Ips) ->
    [{unicode:characters_to_binary([Base, "@", inet:ntoa(Ip)]), direct} || Ip <- Ips].

%% @doc True if this can be the part of a node's name before the `@'.
-spec is_base(term()) -> boolean().
is_base(Base) -> eid_discovery:node_name([Base, "@h"]) =/= error.

%% @doc True if this can be a DNS name.
-spec is_name(term()) -> boolean().
is_name(Name) ->
    try
        Text = unicode:characters_to_list(Name),
        length(Text) < 256
            andalso re:run(Text, "^[A-Za-z0-9_.-]+$", [{capture, none}, dollar_endonly]) =:= match
    catch error:_ -> false
    end.
