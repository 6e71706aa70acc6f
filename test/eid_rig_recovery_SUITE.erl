%% The rig after failures: an engine that does not answer or does not start, a run that was killed,
%% and what other programs do to /run/netns. Such failures must not become failures of eid's tests.
-module(eid_rig_recovery_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([down_with_engine_paused/1, down_with_engine_hanging/1, up_with_engine_paused/1, up_with_engine_hanging/1,
         remove_with_engine_hanging/1, command_that_hangs/1, down_after_ip_netns_add/1, up_after_killed_up/1,
         up_with_broken_data/1, up_after_full_disk/1]).

suite() -> [{timetrap, {minutes, 5}}].

%% The last two import all images again.
all() ->
    [up_with_engine_paused, up_with_engine_hanging, remove_with_engine_hanging, command_that_hangs,
     down_with_engine_paused, down_with_engine_hanging, down_after_ip_netns_add, up_after_killed_up]
        ++ [Case || Case <- [up_with_broken_data, up_after_full_disk], eid_ct:times(1) > 1].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            %% A suite before this one may have left something.
            ok = eid_rig:take_down(),
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

%% SIGKILL ends `rig up' and all that it waits for, after it has made the first host's network.
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

%% A database of the engine that was cut short.
up_with_broken_data(_) ->
    {0, _} = eid_rig:command("down"),
    Database = filename:join(eid_rig:info("cache"), "host2/docker/network/files/local-kv.db"),
    ok = file:write_file(Database, binary:copy(<<"broken">>, 100)),
    {0, Output} = eid_rig:command("up", 600_000),
    ?assertMatch([_, _], string:split(Output, "eid-host2 gets a new data folder")),
    Release = hd(eid_rig:releases()),
    ?assertEqual("it runs", eid_rig:docker(2, ["run --rm eid-otp:", Release, " echo it runs"])).

%% The cache is on a file system that gets full while the hosts are up.
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

%% To go on does not help it: it is stopped again at once, until it is killed.
hang(Pid) ->
    "" = os:cmd("(while kill -STOP " ++ Pid ++ "; do :; done) > /dev/null 2>&1 &"),
    ok.
