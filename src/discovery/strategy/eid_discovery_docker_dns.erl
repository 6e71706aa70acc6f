%% @doc Follows the addresses of a DNS name for {@link eid_discovery_docker}, whose addresses are
%% Docker hosts. It has a process, so a slow name server delays no event.
-module(eid_discovery_docker_dns).

-export([start_link/1]).
%% Called by full name, so that code can be loaded while it runs.
-export([follow/3]).

%% Milliseconds between two questions: the records' time to live, at least
%% {@link eid_discovery_config:shortest_interval/0} and at most this.
-define(LONGEST_PAUSE, 5000).

%% @doc Starts the process. For each change the caller gets `{eid_discovery_docker_dns, Name, Pid,
%% Outcome}', with `{ok, Hosts :: [binary()]}' or `{error, eid_dns:reason()}'.
-spec start_link(Name :: string()) -> pid().
start_link(Name) ->
    Parent = self(),
    spawn_link(fun() -> ?MODULE:follow(Parent, Name, none) end).

%% @private
-spec follow(Parent :: pid(), Name :: string(), Sent :: none | {ok | error, term()}) -> no_return().
follow(Parent, Name, Sent) ->
    {Outcome, Pause} =
        case eid_dns:addresses(Name, eid_resolver:own_family()) of
            {ok, Ips, Ttl} ->
                {{ok, [list_to_binary(inet:ntoa(Ip)) || Ip <- Ips]},
                 max(eid_discovery_config:shortest_interval(), min(Ttl, ?LONGEST_PAUSE))};
            {error, _} = Error ->
                {Error, ?LONGEST_PAUSE}
        end,
    Outcome =:= Sent orelse (Parent ! {?MODULE, Name, self(), Outcome}),
    timer:sleep(Pause),
    ?MODULE:follow(Parent, Name, Outcome).
