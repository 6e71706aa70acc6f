%% @doc The settings that a lookup obeys, compiled, with the routes that are set at run time and those that discovery has found.
%%
%% They are kept in persistent terms, beside the text that they were made from: reading them copies nothing, and a
%% setting that changes is seen at once.
-module(eid_settings).

-export([read/0, set_route/2, set_discovered/1]).

-export_type([settings/0]).

-type settings() :: #{routes := eid_routes:table(), hosts := eid_routes:hosts(), engines := eid_engines:table(),
                      erlang_port := inet:port_number()}.

%% @doc Reads every setting. Raises {@link eid_config:bad_setting()}.
-spec read() -> settings().
read() ->
    #{routes => routes(), hosts => hosts(), engines => engines(), erlang_port => eid_config:erlang_port()}.

%% What the user says of a node comes before what discovery says.
routes() ->
    compiled(routes, {stored(discovered), eid_config:routes(), stored(runtime_routes)},
             fun({Discovered, Configured, AtRunTime}) ->
                     eid_routes:compile([Discovered, eid_routes:parse(Configured), AtRunTime])
             end).

stored(Routes) -> persistent_term:get({?MODULE, Routes}, eid_routes:parse(#{})).

store(Routes, New) -> persistent_term:put({?MODULE, Routes}, New).

engines() ->
    compiled(engines, {eid_config:engines(), eid_config:docker_daemon_port()},
             fun({Engines, Port}) -> eid_engines:compile(Engines, Port) end).

hosts() ->
    compiled(allowed_hosts, eid_config:allowed_hosts(), fun eid_routes:compile_hosts/1).

compiled(Setting, Text, Compile) ->
    case persistent_term:get({?MODULE, Setting}, none) of
        {Text, Compiled} -> Compiled;
        _ ->
            Compiled = Compile(Text),
            persistent_term:put({?MODULE, Setting}, {Text, Compiled}),
            Compiled
    end.

%% @doc Sets or, with `default', takes back a route at run time, before those of the configuration.
-spec set_route(eid_host_map:key(), eid_routes:target() | default) -> ok.
set_route(Key, Target) ->
    Change = case Target of
                 default ->
                     {Parsed, _} = eid_routes:parse_entry(Key, engine),
                     fun(Routes) -> maps:remove(Parsed, Routes) end;
                 _ ->
                     {Parsed, _} = eid_routes:parse_entry(Key, Target),
                     fun(Routes) -> Routes#{Parsed => Target} end
             end,
    %% There is no process to keep the routes: the carrier needs nothing started.
    global:trans({?MODULE, self()}, fun() -> store(runtime_routes, Change(stored(runtime_routes))) end, [node()]).

%% @doc Sets the routes that discovery has found, in the place of those before. There is one process that does.
-spec set_discovered(#{Node :: binary() => eid_routes:target()}) -> ok.
set_discovered(Routes) -> store(discovered, eid_routes:parse(Routes)).
