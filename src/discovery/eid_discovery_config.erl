%% @doc The setting `clusters': its form, defaults and checks.
-module(eid_discovery_config).

-export([parse/1, shortest_interval/0]).

-export_type([cluster/0]).

-type cluster() :: #{position := pos_integer(),    % in the configuration
                     name := atom(),
                     strategy := atom(),     % as configured
                     module := module(),     % an eid_discovery
                     state := term(),        % made by the module's init/1
                     interval := pos_integer(),    % milliseconds
                     prune := boolean(),
                     limit := pos_integer()}.

-define(STRATEGIES, #{static => eid_discovery_static,
                      hosts_file => eid_discovery_hosts_file,
                      dns => eid_discovery_dns,
                      srv => eid_discovery_srv,
                      docker => eid_discovery_docker,
                      rancher => eid_discovery_rancher}).

%% Milliseconds. Shorter intervals would flood the servers that a strategy asks.
-define(SHORTEST_INTERVAL, 1000).

%% @doc Checks the setting and the options of each strategy. Raises
%% {@link eid_config:bad_setting()}.
-spec parse(term()) -> [cluster()].
parse(Clusters) when length(Clusters) >= 0 ->
    Parsed = [(cluster(Cluster))#{position => Position}
              || {Position, Cluster} <- lists:zip(lists:seq(1, length(Clusters)), Clusters)],
    Names = [Name || #{name := Name} <- Parsed],
    case Names -- lists:usort(Names) of
        [] -> Parsed;
        [Twice | _] ->
            eid_config:bad_setting("{eid, [{clusters, ...}]} has two clusters with the name ~0tp; "
                                   "names must differ", [Twice])
    end;
parse(Other) ->
    eid_config:bad_setting("{eid, [{clusters, List}]} must be a list of maps; it is ~0tp", [Other]).

cluster(#{name := Name, strategy := Strategy} = Cluster) when is_atom(Name) ->
    #{interval := Interval, prune := Prune, limit := Limit} =
        eid_discovery:options(
          Name, maps:without([name, strategy], Cluster),
          #{interval => {5000, fun is_interval/1,
                         "milliseconds, at least " ++ integer_to_list(shortest_interval())},
            prune => {false, fun is_boolean/1, "true or false"},
            limit => {500, fun is_count/1, "a positive integer"}}),
    {Module, Options} = module(Name, Strategy),
    #{name => Name, module => Module, state => init(Name, Module, Options),
      interval => Interval, prune => Prune, limit => Limit,
      strategy => case Strategy of
                      {Short, _Options} -> Short;
                      Short -> Short
                  end};
cluster(Other) ->
    eid_config:bad_setting("each cluster in {eid, [{clusters, ...}]} must be a map with name (an "
                           "atom) and strategy; one is ~0tp", [Other]).

%% A user's strategy may crash on its options without a sentence.
init(Name, Module, Options) ->
    try Module:init(Options)
    catch
        error:{bad_setting, Sentence} ->
            eid_config:bad_setting("the cluster ~0tp: ~ts", [Name, Sentence]);
        Class:Reason:Stack ->
            eid_config:bad_setting("the strategy of the cluster ~0tp in {eid, [{clusters, ...}]}, "
                                   "~0tp, does not take its options: ~0tP",
                                   [Name, Module, {Class, Reason, Stack}, 30])
    end.

is_interval(N) -> is_integer(N) andalso N >= shortest_interval() andalso N =< 16#7FFFFFFF.

%% @doc The shortest pause between two questions of a strategy, in milliseconds.
-spec shortest_interval() -> pos_integer().
shortest_interval() -> eid_config:tuning(shortest_interval, ?SHORTEST_INTERVAL).

is_count(N) -> is_integer(N) andalso N > 0.

module(Name, {Strategy, Options}) when is_atom(Strategy) ->
    Module = maps:get(Strategy, ?STRATEGIES, Strategy),
    _ = code:ensure_loaded(Module),
    case erlang:function_exported(Module, init, 1)
        andalso erlang:function_exported(Module, list, 1) of
        true -> {Module, Options};
        false ->
            Known = lists:join(", ", [atom_to_list(S) || S <- maps:keys(?STRATEGIES)]),
            eid_config:bad_setting("the strategy ~0tp of the cluster ~0tp in {eid, [{clusters, "
                                   "...}]} is neither one of ~ts nor a module with the behaviour "
                                   "eid_discovery", [Strategy, Name, Known])
    end;
module(Name, Strategy) when is_atom(Strategy) ->
    module(Name, {Strategy, #{}});
module(Name, Strategy) ->
    eid_config:bad_setting("the strategy of the cluster ~0tp in {eid, [{clusters, ...}]} must be "
                           "{Strategy, Options}; it is ~0tp", [Name, Strategy]).
