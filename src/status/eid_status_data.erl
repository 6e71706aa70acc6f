%% @doc Collects what the status page shows, as one term. {@link eid_status_html},
%% {@link eid_status_json} and {@link eid_status_metrics} write it.
%%
%% Each value is picked by name. It copies no whole environment, command line or process state, so
%% no secret gets out, such as the cookie. All texts are valid UTF-8 of bounded length without
%% control characters, even if they come from other hosts. The writers escape them.
-module(eid_status_data).

-export([read/1, readiness/1]).

-export_type([data/0, own/0, readiness/0, peer/0, cluster/0, engine/0]).

-type data() :: #{now := milliseconds(), node := own(), readiness := readiness(),
                  peers := [peer()], clusters := [cluster()], engines := [engine()]}.

-type own() :: #{name := binary(), otp_release := binary(), eid_version := binary(),
                 carrier := binary(), started := milliseconds()}.

-type readiness() :: #{ready := boolean(), connected := non_neg_integer(),
                       required := non_neg_integer()}.
%% `connected': visible peers.

-type peer() :: #{node := binary(), hidden := boolean(), clusters := [binary()],
                  state := connected | connecting | waiting, since := milliseconds() | none,
                  route := atom() | none, ip := inet:ip_address() | none,
                  port := inet:port_number() | none,
                  round_trip := Microseconds :: non_neg_integer() | none,
                  error := binary() | none}.
%% A node that is connected, or that a cluster lists.

-type cluster() :: #{name := binary(), strategy := binary(), nodes := [binary()],
                     answered := milliseconds() | none,
                     error := none | #{text := binary(), since := milliseconds()}}.

-type engine() :: #{endpoint := binary(), state := atom(), containers := non_neg_integer(),
                    events := non_neg_integer(), resyncs := non_neg_integer(),
                    requests := non_neg_integer(),
                    lookups := #{Outcome :: atom() => non_neg_integer()},
                    latency := #{p50 | p90 | p99 | max => Microseconds :: float()},
                    error := binary() | none}.

-type milliseconds() :: integer().
%% Of `erlang:system_time(millisecond)'.

%% Characters of the longest text.
-define(LONGEST_TEXT, 600).

%% @doc The current data. Asks no other node and no engine.
-spec read(Required :: non_neg_integer()) -> data().
read(Required) ->
    #{engines := Engines, nodes := Connections} = eid_info:info(),
    #{now => erlang:system_time(millisecond),
      node => own(),
      readiness => readiness(Required),
      peers => peers(Connections),
      clusters => [cluster(Cluster) || Cluster <- eid_discovery:info()],
      engines => [engine(Endpoint, Engine)
                  || {Endpoint, Engine} <- lists:sort(maps:to_list(Engines))]}.

%% @doc True if at least `Required' visible peers are connected.
-spec readiness(Required :: non_neg_integer()) -> readiness().
readiness(Required) ->
    Connected = length(nodes()),
    #{ready => Connected >= Required, connected => Connected, required => Required}.

own() ->
    _ = application:load(eid),
    {ok, Version} = application:get_key(eid, vsn),
    #{name => text(node()),
      otp_release => text(erlang:system_info(otp_release)),
      eid_version => text(Version),
      carrier => case init:get_argument(proto_dist) of
                     {ok, [[Carrier | _] | _]} -> text(Carrier);
                     _ -> <<"inet_tcp">>
                 end,
      started => erlang:convert_time_unit(erlang:system_info(start_time) + erlang:time_offset(),
                                          native, millisecond)}.

peers(Connections) ->
    Connected = maps:from_list([{atom_to_binary(Node), {Node, Connection}}
                                || {Node, Connection} <- maps:to_list(Connections)]),
    Wanted = eid_discovery_connector:info(),
    RoundTrips = eid_round_trips:all(),
    Hidden = nodes(hidden),
    lists:sort(fun(#{node := A}, #{node := B}) -> A =< B end,
               [peer(Name, maps:get(Name, Wanted, #{}), maps:get(Name, Connected, none),
                     RoundTrips, Hidden)
                || Name <- maps:keys(maps:merge(Connected, Wanted))]).

%% The connector and `net_kernel' are read at different moments. On conflict `net_kernel' wins.
peer(Name, Wanted, Connection, RoundTrips, Hidden) ->
    Clusters = lists:sort([text(Cluster) || Cluster <- maps:get(clusters, Wanted, [])]),
    Peer = #{node => text(Name), clusters => Clusters, hidden => false, since => none,
             route => none, ip => none, port => none, round_trip => none, error => none},
    case {Connection, maps:get(state, Wanted, waiting)} of
        {{Node, How}, _} ->
            Peer#{state => connected, hidden := lists:member(Node, Hidden),
                  since := case maps:get(since, Wanted, undefined) of
                               undefined -> none;
                               Since -> Since
                           end,
                  route := maps:get(route, How), ip := maps:get(ip, How, none),
                  port := maps:get(port, How, none),
                  round_trip := maps:get(Node, RoundTrips, none)};
        {none, State} ->
            Peer#{state => case State of
                               connecting -> connecting;
                               _ -> waiting
                           end,
                  error := error_text(maps:get(error, Wanted, none))}
    end.

cluster(#{name := Name, strategy := Strategy, nodes := Nodes, answered := Answered,
          error := Error}) ->
    #{name => text(Name), strategy => text(Strategy),
      nodes => lists:sort([text(Node) || Node <- Nodes]),
      answered => case Answered of
                      never -> none;
                      _ -> Answered
                  end,
      error => case Error of
                   none -> none;
                   #{text := Text, since := Since} -> #{text => text(Text), since => Since}
               end}.

engine(Endpoint, Engine) ->
    Figures = maps:with([state, containers, events, resyncs, requests, lookups, latency], Engine),
    Figures#{endpoint => text(Endpoint), error => error_text(maps:get(error, Engine, none))}.

error_text(none) -> none;
error_text(Error) ->
    case eid_error:is_reason(Error) of
        true -> text(eid_error:format(Error));
        false -> text(Error)
    end.

text(Term) -> clean(eid_text:show(Term)).

%% Control characters and line ends become a blank. Characters without a width, and those that turn
%% the direction of writing, become visible.
clean(Utf8) ->
    Long = string:slice(within_bytes(Utf8), 0, ?LONGEST_TEXT),
    Short = case byte_size(Long) < byte_size(Utf8) of
                true -> <<Long/binary, "…"/utf8>>;
                false -> Long
            end,
    replace("\\p{Cf}", <<16#FFFD/utf8>>, replace("[\\p{Cc}\\p{Zl}\\p{Zp}]+", <<" ">>, Short)).

%% A limit in bytes as well, because one letter may have any number of accents.
within_bytes(Utf8) ->
    Size = min(byte_size(Utf8), 4 * ?LONGEST_TEXT),
    case unicode:characters_to_binary(binary:part(Utf8, 0, Size)) of
        {incomplete, Whole, _Rest} -> Whole;
        Whole -> Whole
    end.

replace(Pattern, New, Text) ->
    re:replace(Text, Pattern, New, [unicode, global, {return, binary}]).
