%% @doc Looks up DNS records with their time to live, which `inet' drops.
%%
%% OTP's resolver `inet_res' asks the name servers of `/etc/resolv.conf'. If they do not know an
%% address, `inet' looks it up as it is configured (`/etc/hosts', search domains). Then the time to
%% live is `none'.
-module(eid_dns).

-export([addresses/2, services/2, format_error/1]).

-export_type([ttl/0, reason/0]).

-type ttl() :: none | (Milliseconds :: non_neg_integer()).
-type reason() :: nxdomain | timeout | atom() | term().
%% `nxdomain': there is no such name. The others are errors of `inet_res', such as `servfail'.

%% Milliseconds for one question.
-define(TIMEOUT, 3000).
%% More than the nodes of a cluster.
-define(MAX_SERVICES, 500).

%% @doc The addresses of a name: its A records for `inet', its AAAA records for `inet6'.
-spec addresses(Name :: string(), inet | inet6) ->
          {ok, [inet:ip_address()], ttl()} | {error, reason()}.
addresses(Name, Family) ->
    case ask(Name, case Family of inet -> a; inet6 -> aaaa end) of
        {ok, Ips, Ttl} -> {ok, hosts(Ips), Ttl};
        {error, Reason} ->
            case eid_tasks:within(?TIMEOUT, fun() -> inet:getaddrs(Name, Family) end) of
                {ok, Ips} -> {ok, hosts(Ips), none};
                {error, _} -> {error, Reason}
            end
    end.

hosts(Ips) -> lists:usort(lists:filter(fun is_of_a_host/1, Ips)).

%% The unspecified address would lead back to this node. A multicast address is not a host's.
is_of_a_host({A, _, _, _}) -> A > 0 andalso A < 224;
is_of_a_host({0, 0, 0, 0, 0, 0, 0, 0}) -> false;
is_of_a_host({A, _, _, _, _, _, _, _}) -> A < 16#ff00.

%% @doc The services in the SRV records of a name, in the order of the records' priority: targets
%% and ports, with one address of each target. `Missing' lists the targets without an address. It
%% reads at most 500 records.
-spec services(Name :: string(), inet | inet6) ->
          {ok, [{Target :: string(), inet:port_number(), inet:ip_address()}], ttl(),
           Missing :: [{Target :: string(), reason()}]}
              | {error, reason()}.
services(Name, Family) ->
    case ask(Name, srv) of
        {ok, Records, Ttl} ->
            First = lists:sublist(lists:sort(Records), ?MAX_SERVICES),
            Services = [{without_dot(Target), Port}
                        || {_Priority, _Weight, Port, Target} <- First,
                           Port > 0, without_dot(Target) =/= ""],
            Targets = lists:usort([Target || {Target, _} <- Services]),
            Addresses = maps:from_list(eid_tasks:map(fun(Target) ->
                                                             {Target, address(Target, Family)}
                                                     end, Targets)),
            {ok, [{Target, Port, Ip} || {Target, Port} <- Services,
                                        {ok, Ip} <- [maps:get(Target, Addresses)]],
             Ttl, [{Target, Reason} || {Target, {error, Reason}} <- maps:to_list(Addresses)]};
        {error, _} = Error -> Error
    end.

address(Target, Family) ->
    case addresses(Target, Family) of
        {ok, [Ip | _], _} -> {ok, Ip};
        {ok, [], _} -> {error, nxdomain};
        {error, _} = Error -> Error
    end.

without_dot(Target) -> string:lowercase(string:trim(Target, trailing, ".")).

%% The data of the records of this type, and their smallest time to live. CNAME records are skipped.
ask(Name, Type) ->
    case ask(Name, Type, []) of
        %% OTP 27 fails on an answer that was cut to fit into a datagram. Other releases ask again
        %% by TCP.
        {error, formerr} -> ask(Name, Type, [{usevc, true}]);
        Answer -> Answer
    end.

ask(Name, Type, Options) ->
    case inet_res:resolve(Name, in, Type, Options, ?TIMEOUT) of
        {ok, Message} ->
            Records = [inet_dns:rr(Record) || Record <- inet_dns:msg(Message, anlist)],
            Ttls = [Seconds * 1000 || Fields <- Records, {ttl, Seconds} <- Fields],
            {ok, [Data || Fields <- Records, lists:member({type, Type}, Fields),
                          {data, Data} <- Fields],
             lists:min([none | Ttls])};    % an atom is greater than every number
        {error, {Reason, _Message}} -> {error, Reason};
        {error, _} = Error -> Error
    end.

%% @doc Two sentences for people: the cause, and what to do next.
-spec format_error(reason()) -> string().
format_error(nxdomain) ->
    "DNS knows no such name. Check its spelling, and the name server in /etc/resolv.conf.";
format_error(timeout) ->
    "no name server answers in time. Check those in /etc/resolv.conf, and the network.";
format_error(Reason) ->
    eid_text:format("DNS has no answer (~0tp). Check the name servers in /etc/resolv.conf.",
                    [Reason]).
