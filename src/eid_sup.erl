%% @doc Supervises the processes of the application: the connector, a process for each cluster, and
%% the status page. The connector comes first, because the others call it.
-module(eid_sup).

-behaviour(supervisor).

-export([start_link/2]).
-export([init/1]).

%% @doc Starts the configured processes.
-spec start_link([eid_discovery_config:cluster()], eid_status:config() | off) ->
          supervisor:startlink_ret().
start_link(Clusters, Status) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, {Clusters, Status}).

init({Clusters, Status}) ->
    ok = eid_discovery:open_info(),
    Connector = #{id => eid_discovery_connector,
                  start => {eid_discovery_connector, start_link, []}},
    Workers = [#{id => {cluster, Name}, start => {eid_discovery_cluster, start_link, [Cluster]}}
               || #{name := Name} = Cluster <- Clusters],
    Page = case Status of
               off -> [];
               _ -> eid_status:child_specs(Status)
           end,
    {ok, {#{strategy => rest_for_one, intensity => 5, period => 10},
          [Connector | Workers] ++ Page}}.
