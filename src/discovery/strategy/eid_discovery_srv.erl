%% @doc Discovery strategy: the SRV records of a DNS name, `{srv, #{name =>
%% "_erlang._tcp.shop.example.org"}}'.
%%
%% Each record is a node `Base@Target', which is dialled at the record's port and the target's
%% address. `base' is as in {@link eid_discovery_dns}. A target has one node: of several ports the
%% port of the first record by priority counts.
-module(eid_discovery_srv).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(state, {name :: string(), base :: unicode:chardata() | own,
                known = #{} :: #{Target :: string() => eid_discovery:peer()}}).

init(Options) ->
    #{name := Name, base := Base} =
        eid_discovery:options(srv, Options,
                              #{name => {required, fun eid_discovery_dns:is_name/1, "a DNS name"},
                                base => {own, fun eid_discovery_dns:is_base/1,
                                         "the part of the nodes' names before the @"}}),
    #state{name = unicode:characters_to_list(Name), base = Base}.

list(#state{name = Name, known = Before} = State) ->
    case eid_dns:services(Name, eid_resolver:own_family()) of
        {ok, Services, Ttl, Missing} ->
            Base = base(State),
            Found = [{Target, {unicode:characters_to_binary([Base, "@", Target]), {Ip, Port}}}
                     || {Target, Port, Ip} <- Services],
            %% DNS still lists these targets, but has no address for them at the moment.
            Kept = maps:with([Target || {Target, _} <- Missing], Before),
            Known = maps:merge(Kept, maps:from_list(lists:reverse(Found))),
            {#{nodes => [Peer || {_, Peer} <- Found] ++ maps:values(Kept),
               problems => [{Name, missing(Missing)} || Missing =/= []],
               again => case Ttl of none -> interval; _ -> {within, Ttl} end},
             State#state{known = Known}};
        {error, Reason} ->
            {#{nodes => unchanged, problems => [{Name, eid_dns:format_error(Reason)}]}, State}
    end.

missing([{Target, Reason} | _] = Missing) ->
    io_lib:format("~b targets have no address, for example ~ts: ~ts",
                  [length(Missing), Target, eid_dns:format_error(Reason)]).

base(#state{base = own}) -> eid_own_name:base();
base(#state{base = Base}) -> Base.
