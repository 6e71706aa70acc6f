%% @doc Writes the status data in Prometheus' text format, version 0.0.4, for `/metrics'.
%%
%% Labels of nodes and endpoints exist as long as these, so their number stays bounded.
-module(eid_status_metrics).

-export([render/1]).

-type sample() :: {Labels :: [{atom(), unicode:chardata() | atom()}], number()}.

%% @doc The data as metrics.
-spec render(eid_status_data:data()) -> iodata().
render(#{node := Own, readiness := Readiness, peers := Peers, clusters := Clusters,
         engines := Engines}) ->
    #{name := Name, otp_release := Otp, eid_version := Version, carrier := Carrier,
      started := Started} = Own,
    #{ready := Ready, required := Required} = Readiness,
    Listed = [Peer || #{clusters := [_ | _]} = Peer <- Peers],
    Connected = [Peer || #{state := connected} = Peer <- Peers],
    Hidden = length([Peer || #{hidden := true} = Peer <- Connected]),
    [family(eid_node_info, gauge, "This node; the value is always 1.",
            [{[{node, Name}, {otp_release, Otp}, {eid_version, Version}, {carrier, Carrier}], 1}]),
     family(eid_node_start_time_seconds, gauge, "Start time of this node, in seconds since 1970.",
            [{[], Started / 1000}]),
     family(eid_ready, gauge, "1 if enough visible peers are connected for this node.",
            [{[], boolean(Ready)}]),
     family(eid_required_nodes, gauge, "Visible peers that make this node ready.",
            [{[], Required}]),
     family(eid_connected_nodes, gauge, "Nodes that are connected.",
            [{[{type, visible}], length(Connected) - Hidden}, {[{type, hidden}], Hidden}]),
     family(eid_listed_nodes, gauge, "Nodes that some cluster lists.", [{[], length(Listed)}]),
     family(eid_node_connected, gauge, "1 if a node that some cluster lists is connected.",
            [{[{node, Node}], boolean(State =:= connected)}
             || #{node := Node, state := State} <- Listed]),
     family(eid_round_trip_seconds, gauge, "Time of the last message to a node and back.",
            [{[{node, Node}], Microseconds / 1.0e6}
             || #{node := Node, round_trip := Microseconds} <- Peers, Microseconds =/= none])
     | clusters(Clusters) ++ engines(Engines)].

clusters(Clusters) ->
    Labels = fun(#{name := Name, strategy := Strategy}) ->
                     [{cluster, Name}, {strategy, Strategy}]
             end,
    [family(eid_strategy_nodes, gauge, "Nodes in the strategy's last answer.",
            [{Labels(Cluster), length(Nodes)} || #{nodes := Nodes} = Cluster <- Clusters]),
     family(eid_strategy_failing, gauge, "1 if a problem keeps the strategy from a full answer.",
            [{Labels(Cluster), boolean(Error =/= none)}
             || #{error := Error} = Cluster <- Clusters]),
     family(eid_strategy_last_answer_time_seconds, gauge,
            "Time of the strategy's last answer, in seconds since 1970.",
            [{Labels(Cluster), Answered / 1000}
             || #{answered := Answered} = Cluster <- Clusters, Answered =/= none])].

engines(Engines) ->
    [family(eid_engine_state, gauge, "States of an engine's directory; 1 for the current state.",
            [{[{endpoint, Endpoint}, {state, Possible}], boolean(Possible =:= State)}
             || #{endpoint := Endpoint, state := State} <- Engines,
                Possible <- lists:usort([State, live, connecting, inspecting, closed])]),
     family(eid_engine_failing, gauge, "1 if an error keeps eid from following the engine.",
            [{[{endpoint, Endpoint}], boolean(Error =/= none)}
             || #{endpoint := Endpoint, error := Error} <- Engines])]
        ++ [family(Name, Type, Help, [{[{endpoint, Endpoint}], maps:get(Key, Engine)}
                                      || #{endpoint := Endpoint} = Engine <- Engines])
            || {Name, Key, Type, Help} <-
                   [{eid_engine_containers, containers, gauge, "Known containers of the engine."},
                    {eid_engine_events_total, events, counter, "Events that reported a change."},
                    {eid_engine_resyncs_total, resyncs, counter, "New lists after a gap."},
                    {eid_engine_requests_total, requests, counter, "Requests to the engine."}]]
        ++ [family(eid_lookups_total, counter, "Lookups of nodes by outcome.",
                   [{[{endpoint, Endpoint}, {outcome, Outcome}], Count}
                    || #{endpoint := Endpoint, lookups := Lookups} <- Engines,
                       {Outcome, Count} <- lists:sort(maps:to_list(Lookups))]),
            family(eid_lookup_duration_seconds, gauge, "Quantiles of the duration of all lookups.",
                   [{[{endpoint, Endpoint}, {quantile, Quantile}], maps:get(Key, Latency) / 1.0e6}
                    || #{endpoint := Endpoint, latency := Latency} <- Engines,
                       {Key, Quantile} <- [{p50, "0.5"}, {p90, "0.9"}, {p99, "0.99"}, {max, "1"}],
                       is_map_key(Key, Latency)])].

boolean(true) -> 1;
boolean(false) -> 0.

-spec family(Name :: atom(), gauge | counter, Help :: string(), [sample()]) -> iodata().
family(_Name, _Type, _Help, []) -> [];
family(Name, Type, Help, Samples) ->
    Text = atom_to_list(Name),
    ["# HELP ", Text, $\s, Help, $\n,
     "# TYPE ", Text, $\s, atom_to_list(Type), $\n
     | [[Text, labels(Labels), $\s, number(Value), $\n] || {Labels, Value} <- Samples]].

labels([]) -> "";
labels(Labels) ->
    [${, lists:join($,, [[atom_to_list(Name), "=\"", escape(Value), $"]
                         || {Name, Value} <- Labels]), $}].

escape(Text) -> << <<(escape_byte(Byte))/binary>> || <<Byte>> <= eid_text:show(Text) >>.

escape_byte($\\) -> <<"\\\\">>;
escape_byte($") -> <<"\\\"">>;
escape_byte($\n) -> <<"\\n">>;
escape_byte(Byte) -> <<Byte>>.

number(Integer) when is_integer(Integer) -> integer_to_list(Integer);
number(Float) -> float_to_list(Float, [short]).
