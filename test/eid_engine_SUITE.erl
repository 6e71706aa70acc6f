%% Tests eid:lookup/1 and eid:info/0 with a test double of an engine that misbehaves on command.
-module(eid_engine_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([changed_settings_count_at_once/1, distinct_cold_lookups/1, equal_cold_lookups/1,
         refused_events_are_logged_once/1, states/1, restarts_and_cuts/1,
         misbehaviours/1, bad_engines/1, engines_of_hosts/1, watch/1, invalid_watch/1]).

%% A time limit that only a test that hangs reaches, in milliseconds.
-define(HANGS, 60_000).
%% The last number is the default of `max_response_size', in bytes.
-define(LIMITS, {?HANGS, ?HANGS, 1048576}).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [changed_settings_count_at_once, distinct_cold_lookups, equal_cold_lookups,
     refused_events_are_logged_once, states, restarts_and_cuts, misbehaviours, bad_engines,
     engines_of_hosts, watch, invalid_watch].

%% Cargo may have to build the test double, or wait for another build.
init_per_suite(Config) ->
    ct:timetrap({minutes, 20}),
    ok = eid_engine_double:build(),
    Config.

end_per_suite(_Config) -> ok.

%% With short limits, eid soon gives up an engine that misbehaves. In the other cases no lookup
%% takes long, so their limits only end a test that hangs.
init_per_testcase(Case, Config) ->
    Double = eid_engine_double:start(),
    application:set_env(eid, engines, #{default => "tcp://" ++ eid_engine_double:address(Double)}),
    {Connect, Response} = case Case of
                              misbehaviours -> {200, 300};
                              _ -> {?HANGS, ?HANGS}
                          end,
    application:set_env(eid, connect_timeout, Connect),
    application:set_env(eid, response_timeout, Response),
    [{double, Double} | Config].

end_per_testcase(_, Config) ->
    [application:unset_env(eid, Key) || Key <- [connect_timeout, response_timeout]],
    application:unset_env(eid, engines),
    eid_engine_double:stop(double(Config)).

double(Config) -> proplists:get_value(double, Config).

node_name(Text) -> <<Text/binary, "@127.0.0.9">>.

engine(Config) ->
    #{engines := Engines} = eid:info(),
    maps:get(list_to_binary("tcp://" ++ eid_engine_double:address(double(Config))), Engines).

add(Config, Name, HostPort) ->
    [Id] = eid_engine_double:ids(double(Config),
                                 io_lib:format("{\"do\":\"add\",\"name\":\"~s\",\"host_port\":~b}", [Name, HostPort])),
    Id.

add_many(Config, Count) ->
    eid_engine_double:ids(double(Config),
                          io_lib:format("{\"do\":\"add_many\",\"name\":\"c\",\"count\":~b}", [Count])).

misbehave(Config, How, Where) ->
    eid_engine_double:tell(double(Config), ["{\"do\":\"misbehave\",\"how\":\"", How, "\",\"where\":\"", Where, "\"}"]).

tell(Config, Do) -> eid_engine_double:tell(double(Config), ["{\"do\":\"", Do, "\"}"]).

%% A lookup of a known container obeys a setting that was changed just before.
changed_settings_count_at_once(Config) ->
    Id = add(Config, "db", 4711),
    Node = node_name(Id),
    Published = fun() -> {ok, #{route := published, port := 4711}} = eid:lookup(Node) end,
    {ok, _} = eid:lookup(Node),
    [begin
         Published(),
         application:set_env(eid, allowed_hosts, ["192.0.2.1"]),
         {error, host_not_allowed} = eid:lookup(Node),
         application:unset_env(eid, allowed_hosts),
         Published(),
         ok = eid:set_route("127.0.0.0/8", direct),
         {ok, #{route := direct, port := 12345}} = eid:lookup(Node),
         ok = eid:set_route("127.0.0.0/8", default),
         Published(),
         application:set_env(kernel, erlang_port, 12346),
         {error, not_published} = eid:lookup(Node),
         application:unset_env(kernel, erlang_port)
     end || _ <- lists:seq(1, 10)].

%% Runs all lookups at the same time, each in its own process.
at_once(Names) -> [receive {Pid, Answer} -> Answer end || Pid <- start_lookups(Names)].

start_lookups(Names) ->
    Self = self(),
    [spawn_link(fun() -> Self ! {self(), eid:lookup(Name)} end) || Name <- Names].

distinct_cold_lookups(Config) ->
    Ids = add_many(Config, 1000),
    1000 = length(Ids),
    Answers = few_requests(Config, fun() -> at_once([node_name(Id) || Id <- Ids]) end),
    ?assertEqual([], [Answer || Answer <- Answers, element(1, Answer) =/= ok]),
    1000 = length(lists:usort(Answers)).

%% Lookups wait one second for the engine's list, and then ask about their own containers. More
%% requests are allowed only if the lookups take longer than a second.
few_requests(Config, Lookups) ->
    {Microseconds, Answers} = timer:tc(Lookups),
    Requests = eid_engine_double:note(double(Config), requests),
    ?assert(Requests =< 10 orelse Microseconds > 1_000_000),
    Answers.

equal_cold_lookups(Config) ->
    Id = add(Config, "db", 4711),
    Equal = fun() -> at_once(lists:duplicate(1000, node_name(Id))) end,
    [{ok, #{port := 4711}}] = lists:usort(few_requests(Config, Equal)),
    Note = fun(Name) -> eid_engine_double:note(double(Config), Name) end,
    [{error, no_such_container}] = lists:usort(at_once(lists:duplicate(1000, <<"nobody@127.0.0.9">>))),
    %% While the engine does not answer, lookups of one container share one request. A later lookup
    %% of another container proves that eid has sent all requests of the lookups before it.
    Before = Note(inspects),
    misbehave(Config, "hang-before-headers", "inspect"),
    Same = start_lookups(lists:duplicate(1000, <<"nobody@127.0.0.9">>)),
    eid_ct:eventually(fun() -> lists:all(fun is_waiting/1, Same) end),
    [Other] = start_lookups([<<"another@127.0.0.9">>]),
    eid_ct:eventually(fun() -> Note(inspects) >= Before + 2 end),
    ?assertEqual(Before + 2, Note(inspects)),
    ?assert(lists:all(fun is_waiting/1, [Other | Same])),
    tell(Config, "stop_engine"),
    [{error, {unreachable, _}} = receive {Pid, Answer} -> Answer end || Pid <- [Other | Same]].

is_waiting(Pid) ->
    process_info(Pid, current_function) =:= {current_function, {eid_library, ask, 1}}.

refused_events_are_logged_once(Config) ->
    add(Config, "db", 4711),
    misbehave(Config, "forbidden", "events"),
    {ok, Peer, _} = peer:start_link(#{connection => standard_io,
                                      args => ["-pa", eid_ct:ebin(), "-eid", "engines",
                                               "#{default => \"tcp://" ++ eid_engine_double:address(double(Config)) ++ "\"}"]}),
    ok = eid_ct:start_log(Peer),
    Lookup = fun() -> {ok, #{port := 4711}} = peer:call(Peer, eid, lookup, [<<"db@127.0.0.9">>]) end,
    Info = fun() -> #{engines := Engines} = peer:call(Peer, eid, info, []), maps:values(Engines) end,
    Lookup(),
    eid_ct:eventually(fun() -> [#{state := State}] = Info(), State =:= inspecting end),
    [Lookup() || _ <- lists:seq(1, 4)],
    [Line] = eid_ct:log_lines(Peer),
    [?assertMatch({match, _}, re:run(Line, Word)) || Word <- ["403", "/events", eid_engine_double:address(double(Config))]],
    [#{state := inspecting, containers := 0, lookups := #{ok := 5}}] = Info(),
    ?assertEqual({1, 5}, {eid_engine_double:note(double(Config), events),
                          eid_engine_double:note(double(Config), inspects)}).

states(Config) ->
    add(Config, "db", 4711),
    {ok, _} = eid:lookup(<<"db@127.0.0.9">>),
    eid_ct:eventually(fun() -> is_live(engine(Config)) end),
    #{state := live, containers := 1, lookups := #{ok := 1}, resyncs := 0} = engine(Config),
    eid_engine_double:tell(double(Config), "{\"do\":\"restart\",\"container\":\"db\",\"host_port\":4712}"),
    eid_ct:eventually(fun() -> {ok, #{port := Port}} = eid:lookup(<<"db@127.0.0.9">>), Port =:= 4712 end),
    ?assert(maps:get(events, engine(Config)) > 0),
    tell(Config, "stop_engine"),
    eid_ct:eventually(fun() -> maps:get(state, engine(Config)) =:= connecting end),
    {error, {unreachable, _}} = eid:lookup(<<"db@127.0.0.9">>),
    tell(Config, "start_engine"),
    eid_ct:eventually(fun() -> maps:get(state, engine(Config)) =:= live end),
    {ok, _} = eid:lookup(<<"db@127.0.0.9">>),
    #{resyncs := Resyncs, lookups := #{unreachable := 1}} = engine(Config),
    ?assert(Resyncs > 0).

%% The streams of events end. In every other round the engine restarts, and all ports change. Until
%% eid notices the end, it returns the old ports. After that, all answers are right.
restarts_and_cuts(Config) ->
    Names = [node_name(Id) || Id <- add_many(Config, 20)],
    [begin
         {ok, #{port := Before}} = eid:lookup(hd(Names)),
         tell(Config, Do),
         Do =:= "cut_streams"
             orelse eid_ct:eventually(fun() -> not is_at(Before, eid:lookup(hd(Names))) end),
         [eid_ct:eventually(fun() -> is_right(eid:lookup(node_name(Id)), Port) end)
          || {Id, Port} <- listed_ports(double(Config))]
     end || _ <- lists:seq(1, eid_ct:times(5)),
            Do <- ["restart_engine\",\"ports\":\"new", "cut_streams"]].

%% While the engine restarts, it cannot be reached for a moment.
is_right({error, {unreachable, _}}, _Port) -> false;
is_right(Answer, Port) -> ?assertMatch({ok, #{port := Port}}, Answer), true.

listed_ports(Double) ->
    {match, Found} = re:run(eid_engine_double:tell(Double, "{\"do\":\"list\"}"), "\"host_port\":([0-9]+),\"id\":\"([0-9a-f]+)\"",
                            [global, {capture, [1, 2], binary}]),
    [{Id, binary_to_integer(Port)} || [Port, Id] <- Found].

%% Tests each misbehaviour at each place where it is possible. A lookup returns a port, or a reason
%% that has a sentence. When the engine behaves again, lookups are right.
misbehaviours(Config) ->
    Ways = [{How, Where} || {How, Places} <- eid_engine_double:misbehaviours(double(Config)),
                            Where <- Places, Where =/= <<"open-streams">>],
    ?assert(length(lists:usort([How || {How, _} <- Ways])) >= 30),
    Self = self(),
    %% Most misbehaviours take as long as the time limits, so they run in parallel. Each has its own
    %% engine and host.
    Workers = [spawn_link(fun() -> [misbehaviour(How, Where) || {How, Where} <- Part], Self ! {self(), done} end)
               || Part <- deal(Ways, 8)],
    [receive {Worker, done} -> ok end || Worker <- Workers].

deal(Items, N) -> [[Item || {I, Item} <- lists:enumerate(Items), I rem N =:= Part] || Part <- lists:seq(0, N - 1)].

misbehaviour(How, Where) ->
    Double = eid_engine_double:start(),
    [Ip, _] = string:split(eid_engine_double:address(Double), ":"),
    %% The default setting is another engine. This host's own entry takes precedence.
    ok = global:trans({?MODULE, self()}, fun() ->
                                                 {ok, Engines} = application:get_env(eid, engines),
                                                 application:set_env(eid, engines, Engines#{Ip => "tcp://" ++ eid_engine_double:address(Double)})
                                         end, [node()]),
    Name = list_to_binary("db@" ++ Ip),
    _ = eid_engine_double:tell(Double, "{\"do\":\"add\",\"name\":\"db\",\"host_port\":4711}"),
    _ = eid_engine_double:tell(Double, ["{\"do\":\"misbehave\",\"how\":\"", How, "\",\"where\":\"", Where, "\"}"]),
    case eid:lookup(Name) of
        {ok, #{ip := _, port := Found}} when Found > 0 -> ok;
        {error, Reason} ->
            ?assert(eid_error:is_reason(Reason)),
            ?assert(length(eid:format_error(Reason)) > 60)
    end,
    _ = eid_engine_double:tell(Double, "{\"do\":\"behave\"}"),
    %% In one misbehaviour the engine comes back with other ports.
    [{_, Port}] = listed_ports(Double),
    %% A connection that still hangs may take one more time limit.
    try eid_ct:eventually(fun() -> is_at(Port, eid:lookup(Name)) end)
    catch error:{never, _} -> error({How, Where, {not_at, Port}, eid:lookup(Name)})
    end,
    eid_engine_double:stop(Double).

is_at(Port, {ok, #{port := Port}}) -> true;
is_at(_Port, _) -> false.

bad_engines(_Config) ->
    [?assertMatch({Setting, {bad_setting, "" ++ _}}, {Setting, refusal(Setting)})
     || Setting <- [nonsense, #{default => "192.0.2.1"}, #{default => "http://192.0.2.1:80"}, #{default => 7},
                    #{default => "tcp://{host}"}, #{default => "tcp://{host}:0"}, #{default => "tcp://u@{host}:4243"},
                    #{default => "unix://docker.sock"}, #{"a b" => "tcp://{host}:4243"},
                    #{'db@192.0.2.1' => "tcp://{host}:4243"}, #{"default" => "tcp://{host}:4243"}, #{"192.0.2.1" => "https://{host}:2376/v1.41"}]],
    ok = application:set_env(eid, engines, #{default => <<"tcp://{host}:4243">>, "192.0.2.0/24" => "https://{host}:2376",
                                             'db.example.org' => "unix:///var/run/docker.sock"}),
    ok = eid_routing:check(),
    [begin
         application:set_env(eid, engine_token_file, File),
         ?assertMatch({File, {bad_setting, "{eid, [{engine_token_file, " ++ _}}, {File, refusal(#{})})
     end || File <- ["", token, 7, [token], <<>>, <<255>>]],
    application:unset_env(eid, engine_token_file),
    ok = eid_routing:check().

refusal(Engines) ->
    application:set_env(eid, engines, Engines),
    try eid_routing:check() catch error:Reason -> Reason end.

%% A host's own entry takes precedence over the default, and the default over the port setting.
engines_of_hosts(Config) ->
    Address = eid_engine_double:address(double(Config)),
    [_, Port] = string:split(Address, ":"),
    [Ip, _] = string:split(Address, ":"),
    add(Config, "db", 4711),
    Lookup = fun(Engines, Host) ->
                     application:set_env(eid, engines, Engines),
                     element(1, eid:lookup(<<"db@", Host/binary>>))
             end,
    Nobody = "tcp://127.0.0.1:1",
    ok = Lookup(#{default => "tcp://{host}:" ++ Port}, list_to_binary(Ip)),
    error = Lookup(#{default => Nobody}, list_to_binary(Ip)),
    ok = Lookup(#{default => Nobody, Ip => "tcp://" ++ Address}, list_to_binary(Ip)),
    ok = Lookup(#{default => Nobody, "127.77.0.0/16" => "tcp://{host}:" ++ Port}, list_to_binary(Ip)),
    error = Lookup(#{default => "tcp://{host}:" ++ Port, Ip => Nobody}, list_to_binary(Ip)),
    ok = Lookup(#{default => Nobody, "localhost" => "tcp://" ++ Address}, <<"localhost">>),
    application:set_env(kernel, docker_daemon_port, list_to_integer(Port)),
    ok = Lookup(#{}, list_to_binary(Ip)),
    %% eid checks the name even if it knows the container.
    add(Config, "my.service.name", 4712),
    eid_ct:eventually(fun() -> maps:get(containers, engine(Config)) =:= 2 end),
    {error, bad_node_name} = eid:lookup(list_to_binary("my.service.name@" ++ Ip)),
    error = Lookup(#{default => Nobody}, list_to_binary(Ip)),
    application:unset_env(kernel, docker_daemon_port).

%% Only a change among the matching containers answers a long poll.
watch(Config) ->
    add_labelled(Config, "web", "{\"eid.cluster\":\"shop\"}"),
    add_labelled(Config, "alone", "{}"),
    Filter = {label, <<"eid.cluster">>, <<"shop">>},
    {changed, One, [{Web, <<"web">>, <<>>}]} = watched(start_watch(Config, Filter, 0, ?HANGS)),
    ?assertEqual(64, byte_size(Web)),
    {changed, One, _} = watched(start_watch(Config, {label, <<"eid.cluster">>, any}, 0, ?HANGS)),
    {changed, One, _} = watched(start_watch(Config, {name, <<"w*b">>}, 0, ?HANGS)),
    unchanged = watched(start_watch(Config, Filter, One, 50)),
    Waiting = start_watch(Config, Filter, One, ?HANGS),
    add_labelled(Config, "other", "{\"eid.cluster\":\"club\"}"),
    Db = add_labelled(Config, "db", "{\"eid.cluster\":\"shop\",\"eid.node\":\"db@db.example\"}"),
    {changed, Two, Both} = watched(Waiting),
    ?assertEqual(lists:sort([{Web, <<"web">>, <<>>}, {Db, <<"db">>, <<"db@db.example">>}]), Both),
    Dying = start_watch(Config, Filter, Two, ?HANGS),
    eid_engine_double:tell(double(Config), "{\"do\":\"die\",\"container\":\"db\"}"),
    {changed, One, [{Web, _, _}]} = watched(Dying),
    %% The engine stops, and comes back with the same containers.
    Failing = start_watch(Config, Filter, One, ?HANGS),
    tell(Config, "stop_engine"),
    {failed, Down, {unreachable, _}} = watched(Failing),
    eid_ct:eventually(fun() -> is_down(engine(Config)) end),
    Returning = start_watch(Config, Filter, Down, ?HANGS),
    tell(Config, "start_engine"),
    {changed, One, _} = watched(Returning),
    eid_ct:eventually(fun() -> is_live(engine(Config)) end).

is_down(#{error := {unreachable, _}, state := connecting}) -> true;
is_down(#{}) -> false.

is_live(#{error := none, state := live}) -> true;
is_live(#{}) -> false.

invalid_watch(Config) ->
    Host = {127,0,0,9},
    Watch = fun(Engine, Filter, Known) ->
                    Ref = make_ref(),
                    pending = eid_library:call(fun() -> eid_nif:watch(Ref, Engine, Host, Filter, Known,
                                                                  ?LIMITS, ?HANGS)
                                           end),
                    watched(Ref)
            end,
    Engine = {list_to_binary("tcp://" ++ eid_engine_double:address(double(Config))), <<"h">>, <<>>, <<>>},
    {error, {unreachable, _}} = Watch({<<"nonsense">>, <<"h">>, <<>>, <<>>}, {name, <<"*">>}, 0),
    {changed, Digest, []} = Watch(Engine, {name, <<"*">>}, 0),
    ?assert(Digest > 0),
    [?assertError(badarg, Watch(Engine, Filter, Known))
     || {Filter, Known} <- [{{name, "db"}, 0}, {{name, any}, 0}, {{label, <<"a">>}, 0}, {{label, <<"a">>, none}, 0},
                            {{name, <<"a">>, any}, 0}, {{label, <<255>>, any}, 0}, {all, 0}, {{name, <<"*">>}, -1},
                            {{name, <<"*">>}, none}]].

add_labelled(Config, Name, Labels) ->
    [Id] = eid_engine_double:ids(double(Config), ["{\"do\":\"add\",\"name\":\"", Name, "\",\"labels\":", Labels, "}"]),
    Id.

start_watch(Config, Filter, Known, WithinMs) ->
    Engine = {list_to_binary("tcp://" ++ eid_engine_double:address(double(Config))), <<"127.0.0.9">>, <<>>, <<>>},
    Ref = make_ref(),
    pending = eid_library:call(fun() ->
                                   eid_nif:watch(Ref, Engine, {127,0,0,9}, Filter, Known, ?LIMITS,
                                                 WithinMs)
                           end),
    Ref.

watched(Ref) ->
    receive {Ref, Outcome} -> Outcome end.
