%% @doc The settings that a lookup obeys, compiled, and the routes that are set at run time.
%%
%% They are kept in persistent terms, beside the text that they were made from: reading them copies nothing, and a
%% setting that changes is seen at once.
-module(eid_settings).

-export([read/0, plain/0, remember_plain/1, set_routes/1]).

-export_type([settings/0, plain/0]).

-type settings() :: #{routes := eid_routes:table(), hosts := eid_routes:hosts(), engines := eid_engines:table(),
                      erlang_port := inet:port_number()}.

-type plain() :: none | {EngineTemplate :: binary(), ErlangPort :: inet:port_number()}.
%% Settings that say nothing about single hosts or nodes, in a form that needs no looking at; `none' if they do.

%% @doc Reads every setting. Raises {@link eid_config:bad_setting()}.
-spec read() -> settings().
read() ->
    #{routes => routes(), hosts => hosts(), engines => engines(), erlang_port => eid_config:erlang_port()}.

%% @doc What was remembered last. The library knows when the settings have to be read again.
-spec plain() -> plain().
plain() -> persistent_term:get({?MODULE, plain}, none).

%% @doc Remembers whether these settings are plain.
-spec remember_plain(settings()) -> plain().
remember_plain(#{routes := Routes, hosts := Hosts, engines := Engines, erlang_port := ErlangPort}) ->
    Plain = case eid_routes:is_any_allowed(Hosts) andalso eid_host_table:is_empty(Routes) andalso eid_engines:for_all(Engines) of
                {ok, Template} -> {Template, ErlangPort};
                _ -> none
            end,
    plain() =:= Plain
        orelse persistent_term:put({?MODULE, plain}, Plain),
    Plain.

routes() ->
    compiled(routes, {eid_config:routes(), runtime_routes()},
             fun({Configured, AtRunTime}) ->
                     eid_routes:compile(eid_routes:parse(Configured), AtRunTime)
             end).

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

runtime_routes() -> persistent_term:get({?MODULE, runtime_routes}, #{}).

%% @doc Sets or, with `default', takes back routes at run time, before those of the configuration.
-spec set_routes(#{eid_host_table:key() => eid_routes:target() | default}) -> ok.
set_routes(Routes) ->
    Parsed = [parse_route(Key, Target) || {Key, Target} <- maps:to_list(Routes)],
    %% There is no process to keep the routes: the carrier needs nothing started.
    global:trans({?MODULE, self()},
                 fun() ->
                         Changed = lists:foldl(fun change_route/2, runtime_routes(), Parsed),
                         persistent_term:put({?MODULE, runtime_routes}, Changed),
                         persistent_term:put({?MODULE, plain}, none)
                 end,
                 [node()]).

parse_route(Key, default) ->
    {Parsed, _} = eid_routes:parse_entry(Key, engine),
    {Parsed, default};
parse_route(Key, Target) ->
    eid_routes:parse_entry(Key, Target).

change_route({Key, default}, Routes) -> maps:remove(Key, Routes);
change_route({Key, Target}, Routes) -> Routes#{Key => Target}.
