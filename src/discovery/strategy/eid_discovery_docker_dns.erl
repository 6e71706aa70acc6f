%% @doc Follows the addresses of the DNS name that stands for the Docker hosts of {@link eid_discovery_docker}, in a process of
%% its own, so that a slow name server holds up no event.
-module(eid_discovery_docker_dns).

-export([start_link/1]).
%% By full name, so that code can be loaded while it runs.
-export([follow/3]).

%% Milliseconds from one question to the next: the records' time to live, but not less than
%% {@link eid_discovery_config:shortest_interval/0}, and not more than this.
-define(LONGEST_PAUSE, 5000).

%% @doc Starts it. The calling process gets `{eid_discovery_docker_dns, Name, Pid, Outcome}' for each change, with `{ok, Hosts ::
%% [binary()]}' or `{error, eid_dns:reason()}'.
-spec start_link(Name :: string()) -> pid().
start_link(Name) ->
    Parent = self(),
    spawn_link(fun() -> ?MODULE:follow(Parent, Name, none) end).

%% @private
follow(Parent, Name, Told) ->
    {Outcome, Pause} = case eid_dns:addresses(Name, eid_resolver:own_family()) of
                           {ok, Ips, Ttl} ->
                               {{ok, [list_to_binary(inet:ntoa(Ip)) || Ip <- Ips]},
                                max(eid_discovery_config:shortest_interval(), min(Ttl, ?LONGEST_PAUSE))};
                           {error, _} = Error ->
                               {Error, ?LONGEST_PAUSE}
                       end,
    Outcome =:= Told orelse (Parent ! {?MODULE, Name, self(), Outcome}),
    timer:sleep(Pause),
    ?MODULE:follow(Parent, Name, Outcome).
