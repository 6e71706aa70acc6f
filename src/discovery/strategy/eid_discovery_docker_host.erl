%% @doc Follows the containers of one Docker host for {@link eid_discovery_docker}: its process
%% sends each change, and keeps trying while the host does not answer.
-module(eid_discovery_docker_host).

-export([start_link/2, stop/1]).
%% Called by full name, so that code can be loaded while it runs.
-export([follow/5]).

%% Milliseconds that the library may wait for a change.
-define(WATCH_TIME, 60_000).
%% Milliseconds between two tries if there is no engine to follow: the address is not allowed, or
%% the name is unknown.
-define(PAUSE, 3000).

%% @doc Starts the process. For each change the caller gets `{eid_discovery_docker_host, Host, Pid,
%% Outcome}', with `{ok, [eid_nif:container()]}' or `{error, eid:reason()}'.
-spec start_link(Host :: binary(), eid_nif:filter()) -> pid().
start_link(Host, Filter) ->
    Parent = self(),
    spawn_link(fun() -> ?MODULE:follow(Parent, Host, Filter, 0, none) end).

%% @doc Ends the process.
-spec stop(pid()) -> true.
stop(Watcher) ->
    unlink(Watcher),
    exit(Watcher, kill).

%% @private
%% `Known' is the digest of the last list. `Sent' is the last error without a digest.
-spec follow(Parent :: pid(), Host :: binary(), eid_nif:filter(), Known :: non_neg_integer(),
             Sent :: none | eid:reason()) -> no_return().
follow(Parent, Host, Filter, Known, Sent) ->
    case eid_resolver:watch(Host, any, Filter, Known, eid_config:limits(), ?WATCH_TIME) of
        unchanged ->
            ?MODULE:follow(Parent, Host, Filter, Known, Sent);
        {changed, Digest, Containers} ->
            send(Parent, Host, {ok, Containers}),
            ?MODULE:follow(Parent, Host, Filter, Digest, none);
        {failed, Digest, Reason} ->
            send(Parent, Host, {error, Reason}),
            ?MODULE:follow(Parent, Host, Filter, Digest, none);
        {error, Reason} ->
            Reason =:= Sent orelse send(Parent, Host, {error, Reason}),
            timer:sleep(?PAUSE - rand:uniform(?PAUSE div 10)),
            ?MODULE:follow(Parent, Host, Filter, 0, Reason)
    end.

send(Parent, Host, Outcome) ->
    Parent ! {?MODULE, Host, self(), Outcome},
    ok.
