%% @doc The application `eid': discovery and the status page. The carrier needs neither, and works
%% even if the application is not started.
-module(eid_app).

-behaviour(application).

-export([start/2, stop/1]).

%% @doc Checks every setting before it starts processes. A wrong setting fails the start with
%% {@link eid_config:bad_setting()}, whose sentence names the key.
-spec start(application:start_type(), term()) ->
          {ok, pid()} | {error, eid_config:bad_setting() | term()}.
start(_Type, _Arguments) ->
    try
        ok = eid_routing:check(),
        Clusters = eid_discovery_config:parse(eid_config:clusters()),
        Status = case eid_config:status() of
                     off -> off;
                     Page -> eid_status:parse(Page)
                 end,
        eid_sup:start_link(Clusters, Status)
    catch
        error:{bad_setting, _} = Bad -> {error, Bad}
    end.

%% @doc Does nothing: connections outlive the application.
-spec stop(term()) -> ok.
stop(_State) -> ok.
