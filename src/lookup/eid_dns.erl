%% @doc DNS records with their time to live, which `inet' does not tell.
%%
%% OTP's resolver `inet_res' asks the name servers of `/etc/resolv.conf'. An address that they do not know is looked up as
%% `inet' is configured to (`/etc/hosts', search domains), and then the time to live is `none'.
-module(eid_dns).

-export([addresses/2, services/2, format_error/1]).

-export_type([ttl/0, reason/0]).

-type ttl() :: none | (Milliseconds :: non_neg_integer()).
-type reason() :: nxdomain | timeout | atom() | term().
%% `nxdomain': there is no such name. Others are those of `inet_res': `servfail', `refused', …

%% Milliseconds for one question.
-define(TIMEOUT, 3000).
%% More targets than a cluster has nodes.
-define(MAX_SERVICES, 500).

%% @doc The addresses of a name: its A records for `inet', its AAAA records for `inet6'.
-spec addresses(Name :: string(), inet | inet6) -> {ok, [inet:ip_address()], ttl()} | {error, reason()}.
addresses(Name, Family) ->
    case ask(Name, record_type(Family)) of
        {ok, Ips, Ttl} -> {ok, hosts(Ips), Ttl};
        {error, Reason} ->
            case eid_tasks:within(?TIMEOUT, fun() -> inet:getaddrs(Name, Family) end) of
                {ok, Ips} -> {ok, hosts(Ips), none};
                {error, _} -> {error, Reason}
            end
    end.

record_type(inet) -> a;
record_type(inet6) -> aaaa.

hosts(Ips) -> lists:usort(lists:filter(fun is_of_a_host/1, Ips)).

%% No host has the unspecified address, and dialling it would lead back here; nor a group's.
is_of_a_host({A, _, _, _}) -> A > 0 andalso A < 224;
is_of_a_host({0, 0, 0, 0, 0, 0, 0, 0}) -> false;
is_of_a_host({A, _, _, _, _, _, _, _}) -> A < 16#ff00.

%% @doc What the SRV records of a name say: targets and ports, in the order of the records' priority, with an address of the
%% target; and those targets that have none. Of more than 500 records the others are left out.
-spec services(Name :: string(), inet | inet6) ->
          {ok, [{Target :: string(), inet:port_number(), inet:ip_address()}], ttl(), Missing :: [{Target :: string(), reason()}]}
              | {error, reason()}.
services(Name, Family) ->
    case ask(Name, srv) of
        {ok, Records, Ttl} ->
            Services = [{without_dot(Target), Port} || {_Priority, _Weight, Port, Target} <- lists:sublist(lists:sort(Records), ?MAX_SERVICES),
                                                       Port > 0, without_dot(Target) =/= ""],
            Targets = lists:usort([Target || {Target, _} <- Services]),
            Addresses = maps:from_list(eid_tasks:map(fun(Target) -> {Target, address(Target, Family)} end, Targets)),
            {ok, [{Target, Port, Ip} || {Target, Port} <- Services, {ok, Ip} <- [maps:get(Target, Addresses)]], Ttl,
             [{Target, Reason} || {Target, {error, Reason}} <- maps:to_list(Addresses)]};
        {error, _} = Error -> Error
    end.

address(Target, Family) ->
    case addresses(Target, Family) of
        {ok, [Ip | _], _} -> {ok, Ip};
        {ok, [], _} -> {error, nxdomain};
        {error, _} = Error -> Error
    end.

without_dot(Target) -> string:lowercase(string:trim(Target, trailing, ".")).

%% The data of the records of this type, behind whatever CNAME records there are.
ask(Name, Type) ->
    case ask(Name, Type, []) of
        %% OTP 27 trips over an answer that was cut to fit into a datagram, where others ask again by TCP.
        {error, formerr} -> ask(Name, Type, [{usevc, true}]);
        Answer -> Answer
    end.

ask(Name, Type, Options) ->
    case inet_res:resolve(Name, in, Type, Options, ?TIMEOUT) of
        {ok, Message} ->
            Records = [inet_dns:rr(Record) || Record <- inet_dns:msg(Message, anlist)],
            Ttls = [Seconds * 1000 || Fields <- Records, {ttl, Seconds} <- Fields],
            {ok, [Data || Fields <- Records, lists:member({type, Type}, Fields), {data, Data} <- Fields],
             lists:min([none | Ttls])};
        {error, {Reason, _Message}} -> {error, Reason};
        {error, _} = Error -> Error
    end.

%% @doc A sentence for a person: what happened, and what to do next.
-spec format_error(reason()) -> string().
format_error(nxdomain) ->
    "DNS knows no such name. Check its spelling, and /etc/resolv.conf: which name server is asked.";
format_error(timeout) ->
    "no name server answers in time. Check those in /etc/resolv.conf, and the network.";
format_error(Reason) ->
    lists:flatten(io_lib:format("DNS has no answer (~0tp). Check the name servers in /etc/resolv.conf.", [Reason])).
