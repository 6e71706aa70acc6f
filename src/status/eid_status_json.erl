%% @doc The report as JSON, for `/cluster.json'. doc/guide/status.md describes it.
-module(eid_status_json).

-export([render/1]).

%% @doc Writes the report down. Fails if the library can't be loaded.
-spec render(eid_status_data:report()) -> binary().
render(Report) ->
    Term = term(Report),
    Json = eid_nif:call(fun() -> eid_nif:to_json(Term) end),
    true = is_binary(Json),    % and no error
    Json.

term(#{now := Now, node := Own, readiness := Readiness, peers := Peers, clusters := Clusters, engines := Engines}) ->
    #{name := Name, otp_release := Otp, eid_version := Version, carrier := Carrier, started := Started} = Own,
    #{time => time(Now),
      node => #{name => Name, otp_release => Otp, eid_version => Version, carrier => Carrier, started => time(Started)},
      readiness => Readiness,
      peers => [peer(Peer) || Peer <- Peers],
      clusters => [cluster(Cluster) || Cluster <- Clusters],
      engines => [engine(Engine) || Engine <- Engines]}.

peer(#{node := Node, hidden := Hidden, clusters := Clusters, state := State, since := Since, route := Route, ip := Ip,
       port := Port, round_trip := RoundTrip, error := Error}) ->
    #{node => Node, hidden => Hidden, clusters => Clusters, state => name(State), since => time(Since),
      route => name(Route), port => value(Port), round_trip_us => value(RoundTrip), error => value(Error),
      address => case Ip of
                     none -> null;
                     _ -> list_to_binary(inet:ntoa(Ip))
                 end}.

cluster(#{name := Name, strategy := Strategy, nodes := Nodes, answered := Answered, error := Error}) ->
    #{name => Name, strategy => Strategy, nodes => Nodes, answered => time(Answered),
      error => case Error of
                   none -> null;
                   #{text := Text, since := Since} -> #{text => Text, since => time(Since)}
               end}.

engine(#{endpoint := Endpoint, state := State, containers := Containers, events := Events, resyncs := Resyncs,
         requests := Requests, lookups := Lookups, latency := Latency, error := Error}) ->
    #{endpoint => Endpoint, state => name(State), containers => Containers, events => Events, resyncs => Resyncs,
      requests => Requests, lookups => Lookups, latency_us => Latency, error => value(Error)}.

value(none) -> null;
value(Value) -> Value.

name(none) -> null;
name(Atom) -> atom_to_binary(Atom).

time(none) -> null;
time(Milliseconds) ->
    list_to_binary(calendar:system_time_to_rfc3339(Milliseconds, [{unit, millisecond}, {offset, "Z"}])).
