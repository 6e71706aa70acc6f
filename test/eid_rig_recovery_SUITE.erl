%% Tests that the rig recovers from failures: an engine that hangs or does not start, a killed run,
%% and changes of other programs to /run/netns. These failures must not make eid's tests fail.
-module(eid_rig_recovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([down_with_engine_paused/1, down_with_engine_hanging/1, up_with_engine_paused/1, up_with_engine_hanging/1,
         remove_with_engine_hanging/1, command_that_hangs/1, down_after_ip_netns_add/1, up_after_killed_up/1,
         up_with_broken_data/1, up_after_full_disk/1]).

suite() -> [{timetrap, {minutes, 5}}].

%% The last two cases import all images again, so they run only in the soak test.
all() ->
    [up_with_engine_paused, up_with_engine_hanging, remove_with_engine_hanging, command_that_hangs,
     down_with_engine_paused, down_with_engine_hanging, down_after_ip_netns_add, up_after_killed_up]
        ++ [Case || Case <- [up_with_broken_data, up_after_full_disk], eid_ct:times(1) > 1].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            %% An earlier suite may have left the hosts up.
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
    %% The container has outlived its engine.
    ?assertEqual("true", eid_rig:docker(2, ["inspect -f '{{.State.Running}}' ", Id])),
    ok = eid_rig:remove(2, [Id]).

%% The engine that replaces the hanging engine removes the second container.
remove_with_engine_hanging(_) ->
    Ids = [start(), start()],
    Pid = engine(),
    hang(Pid),
    ok = eid_rig:remove(2, Ids),
    ?assertNotEqual(Pid, engine()),
    ?assertEqual("", eid_rig:docker(2, "ps -aq")).

%% The command's processes have ended, and the lock is free.
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
    ?assertMatch({0, _}, eid_rig:command("down")),
    ?assertEqual("", os:cmd("ls -d /run/netns/eid-host* 2> /dev/null")),
    ok = eid_rig:up(),
    ?assertEqual({"up", ""}, {eid_rig:info("host2.engine.state"), eid_rig:docker(2, "ps -aq")}).

%% `ip netns add' mounts /run/netns onto itself, if no other program did so before.
down_after_ip_netns_add(_) ->
    Name = "eid-test-" ++ os:getpid(),
    "" = os:cmd("ip netns add " ++ Name),
    try down_and_up()
    after os:cmd("ip netns delete " ++ Name)
    end.

%% SIGKILL ends `rig up' and all its child processes, after it has created the first host's network.
up_after_killed_up(_) ->
    Network = eid_rig:info("host1.network"),
    [begin
         {0, _} = eid_rig:command("down"),
         Up = open_port({spawn, eid_rig:script() ++ " up"}, [exit_status, stderr_to_stdout]),
         %% A port's program has its own session.
         {os_pid, Session} = erlang:port_info(Up, os_pid),
         eid_ct:eventually(fun() -> filelib:is_file(Network) end),
         _ = [os:cmd("true") || _ <- lists:seq(1, rand:uniform(100))],
         "" = os:cmd("pkill -KILL --session " ++ integer_to_list(Session)),
         receive {Up, {exit_status, _}} -> ok end,
         down_and_up()
     end || _ <- lists:seq(1, eid_ct:times(1))].

%% The engine's database is corrupt, as after an interrupted write.
up_with_broken_data(_) ->
    {0, _} = eid_rig:command("down"),
    Database = filename:join(eid_rig:info("cache"), "host2/docker/network/files/local-kv.db"),
    ok = file:write_file(Database, binary:copy(<<"broken">>, 100)),
    {0, Output} = eid_rig:command("up", 600_000),
    ?assertMatch([_, _], string:split(Output, "eid-host2 gets a new data folder")),
    Release = hd(eid_rig:releases()),
    ?assertEqual("it runs", eid_rig:docker(2, ["run --rm eid-otp:", Release, " echo it runs"])).

%% The cache is on a file system that fills up while the hosts are up.
up_after_full_disk(_) ->
    {0, _} = eid_rig:command("down"),
    Cache = eid_rig:info("cache"),
    Small = "/tmp/eid-small-" ++ os:getpid(),
    InSmall = fun(Command) ->
                      Script = ["EID_RIG_CACHE=", Small, " ", eid_rig:script(), " ", Command, "; echo status=$?"],
                      Output = os:cmd(lists:flatten(Script)),
                      ?assertMatch({_, [_, _]}, {Output, string:split(Output, "status=0\n")})
              end,
    "" = os:cmd("mkdir " ++ Small ++ " && mount -t tmpfs -o size=4g tmpfs " ++ Small
                ++ " && cp " ++ Cache ++ "/*.tar " ++ Cache ++ "/*.release " ++ Cache ++ "/*.packages " ++ Small),
    try
        InSmall("up"),
        _ = os:cmd("dd if=/dev/zero of=" ++ Small ++ "/filler bs=1M 2>&1"),
        InSmall("docker 2 run --detach --rm eid-otp:" ++ hd(eid_rig:releases()) ++ " sleep infinity"),
        InSmall("down"),
        ok = file:delete(Small ++ "/filler"),
        InSmall("up"),
        InSmall("down")
    after
        os:cmd("EID_RIG_CACHE=" ++ Small ++ " " ++ eid_rig:script() ++ " down; umount " ++ Small ++ " && rmdir " ++ Small)
    end.

engine() -> eid_rig:info("host2.engine.pid").

start() -> eid_rig:docker(2, ["run -d --label eid.test=1 eid-otp:", hd(eid_rig:releases()), " sleep infinity"]).

%% SIGCONT alone does not help: the loop stops the process again at once, until the process is
%% killed.
hang(Pid) ->
    "" = os:cmd("(while kill -STOP " ++ Pid ++ "; do :; done) > /dev/null 2>&1 &"),
    ok.
