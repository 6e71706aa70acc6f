%% The rig with an engine that does not answer: Docker's failures must not become eid's.
-module(eid_rig_recovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([down_with_engine_paused/1, down_with_engine_hanging/1, up_with_engine_paused/1, up_with_engine_hanging/1,
         remove_with_engine_hanging/1, command_that_hangs/1]).

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [up_with_engine_paused, up_with_engine_hanging, remove_with_engine_hanging, command_that_hangs, down_with_engine_paused,
     down_with_engine_hanging].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            %% A suite before this one may have left something.
            {0, _} = eid_rig:command("down"),
            true = os:putenv("EID_RIG_PATIENCE", "2"),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) ->
    os:unsetenv("EID_RIG_PATIENCE"),
    eid_rig:down().

init_per_testcase(_, Config) ->
    ok = eid_rig:up(),
    Config.

end_per_testcase(_, _Config) -> ok.

up_with_engine_paused(_) ->
    Pid = engine(),
    {0, _} = eid_rig:command("dockerd 2 pause"),
    ok = eid_rig:up(),
    ?assertEqual({Pid, "up"}, {engine(), eid_rig:info("host2.engine.state")}).

up_with_engine_hanging(_) ->
    Id = start(),
    Pid = engine(),
    hang(Pid),
    {0, Said} = eid_rig:command("up"),
    ?assertMatch([_, _], string:split(Said, "the engine of eid-host2 hangs")),
    ?assertNotEqual(Pid, engine()),
    %% It has outlived its engine.
    ?assertEqual("true", eid_rig:docker(2, ["inspect -f '{{.State.Running}}' ", Id])),
    ok = eid_rig:remove(2, [Id]).

%% The second is removed by the engine that took the place of the first.
remove_with_engine_hanging(_) ->
    Ids = [start(), start()],
    Pid = engine(),
    hang(Pid),
    ok = eid_rig:remove(2, Ids),
    ?assertNotEqual(Pid, engine()),
    ?assertEqual("", eid_rig:docker(2, "ps -aq")).

%% Nothing is left of it, and the lock is free.
command_that_hangs(_) ->
    {0, _} = eid_rig:command("dockerd 2 pause"),
    ?assertError({hangs, "rig dockerd 2 start", _}, eid_rig:command("dockerd 2 start", 1000)),
    ?assertEqual("free", string:trim(os:cmd("flock --timeout 1 " ++ eid_rig:info("cache") ++ "/rig.lock echo free"))).

down_with_engine_paused(_) ->
    {0, _} = eid_rig:command("dockerd 2 pause"),
    down_and_up().

down_with_engine_hanging(_) ->
    _ = start(),
    hang(engine()),
    down_and_up().

down_and_up() ->
    ?assertMatch({0, _}, eid_rig:command("down", 30_000)),
    ?assertEqual("", os:cmd("ls -d /run/netns/eid-host* 2> /dev/null")),
    ok = eid_rig:up(),
    ?assertEqual({"up", ""}, {eid_rig:info("host2.engine.state"), eid_rig:docker(2, "ps -aq")}).

engine() -> eid_rig:info("host2.engine.pid").

start() -> eid_rig:docker(2, ["run -d --label eid.test=1 eid-otp:", hd(eid_rig:releases()), " sleep infinity"]).

%% To go on does not help it: it is stopped again at once, until it is killed.
hang(Pid) ->
    "" = os:cmd("(while kill -STOP " ++ Pid ++ "; do :; done) > /dev/null 2>&1 &"),
    ok.
