%% @doc Follows the containers of one Docker host for {@link eid_discovery_docker}, in a process of its own: it tells of
%% each change, and goes on trying where the host does not answer.
-module(eid_discovery_docker_host).

-export([start_link/2, stop/1]).
%% By full name, so that code can be loaded while it runs.
-export([follow/5]).

%% Milliseconds that the library is asked to wait for a change.
-define(WATCH_TIME, 60_000).
%% Milliseconds between two tries where there is nothing to follow: an address that is not allowed, a name that is unknown.
-define(PAUSE, 3000).

%% @doc Starts it. The calling process gets `{eid_discovery_docker_host, Host, Pid, Outcome}' for each change, with `{ok,
%% [eid_nif:container()]}' or `{error, eid:reason()}'.
-spec start_link(Host :: binary(), eid_nif:filter()) -> pid().
start_link(Host, Filter) ->
    Parent = self(),
    spawn_link(fun() -> ?MODULE:follow(Parent, Host, Filter, 0, none) end).

%% @doc Ends it.
-spec stop(pid()) -> true.
stop(Watcher) ->
    unlink(Watcher),
    exit(Watcher, kill).

%% @private
%% `Known' is the digest of what was told last.
follow(Parent, Host, Filter, Known, Told) ->
    case eid_resolver:watch(Host, any, Filter, Known, eid_config:limits(), ?WATCH_TIME) of
        unchanged ->
            ?MODULE:follow(Parent, Host, Filter, Known, Told);
        {changed, Digest, Containers} ->
            tell(Parent, Host, {ok, Containers}),
            ?MODULE:follow(Parent, Host, Filter, Digest, none);
        {failed, Digest, Reason} ->
            tell(Parent, Host, {error, Reason}),
            ?MODULE:follow(Parent, Host, Filter, Digest, none);
        {error, Reason} ->
            Reason =:= Told orelse tell(Parent, Host, {error, Reason}),
            timer:sleep(?PAUSE - rand:uniform(?PAUSE div 10)),
            ?MODULE:follow(Parent, Host, Filter, 0, Reason)
    end.

tell(Parent, Host, Outcome) ->
    Parent ! {?MODULE, Host, self(), Outcome},
    ok.
