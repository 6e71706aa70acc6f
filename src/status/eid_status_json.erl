%% @doc Writes the status data as JSON, for `/cluster.json'. doc/guide/status.md describes it.
-module(eid_status_json).

-export([render/1]).

%% @doc The data as JSON. Fails if the library can't be loaded.
-spec render(eid_status_data:data()) -> binary().
render(Data) ->
    Term = term(Data),
    Json = eid_library:call(fun() -> eid_nif:to_json(Term) end),
    true = is_binary(Json),    % and no error
    Json.

term(#{now := Now, node := #{started := Started} = Own, readiness := Readiness, peers := Peers,
       clusters := Clusters, engines := Engines}) ->
    #{time => time(Now),
      node => Own#{started := time(Started)},
      readiness => Readiness,
      peers => [peer(Peer) || Peer <- Peers],
      clusters => [cluster(Cluster) || Cluster <- Clusters],
      engines => [engine(Engine) || Engine <- Engines]}.

peer(#{node := Node, hidden := Hidden, clusters := Clusters, state := State, since := Since,
       route := Route, ip := Ip, port := Port, round_trip := RoundTrip, error := Error}) ->
    #{node => Node, hidden => Hidden, clusters => Clusters, state => State, since => time(Since),
      route => value(Route), port => value(Port), round_trip_us => value(RoundTrip),
      error => value(Error),
      address => case Ip of
                     none -> null;
                     _ -> list_to_binary(inet:ntoa(Ip))
                 end}.

cluster(#{answered := Answered, error := Error} = Cluster) ->
    Cluster#{answered := time(Answered),
             error := case Error of
                          none -> null;
                          #{since := Since} -> Error#{since := time(Since)}
                      end}.

engine(#{endpoint := Endpoint, state := State, containers := Containers, events := Events,
         resyncs := Resyncs, requests := Requests, lookups := Lookups, latency := Latency,
         error := Error}) ->
    #{endpoint => Endpoint, state => State, containers => Containers, events => Events,
      resyncs => Resyncs, requests => Requests, lookups => Lookups, latency_us => Latency,
      error => value(Error)}.

value(none) -> null;
value(Value) -> Value.

time(none) -> null;
time(Milliseconds) ->
    Options = [{unit, millisecond}, {offset, "Z"}],
    list_to_binary(calendar:system_time_to_rfc3339(Milliseconds, Options)).
