%% Tests `eid forward' to a Redis in a container on the rig. Tests of the command without containers
%% are in `native/cli/tests/forward.rs'.
-module(eid_forward_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([follows_restarts_and_a_replacement/1, redis_cli_goes_on_working/1, a_session_outlives_the_engine/1, every_route/1,
         two_ambassadors/1, errors_are_printed/1]).

-define(PORT, "6379").
-define(LISTEN, "16379").

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [follows_restarts_and_a_replacement, redis_cli_goes_on_working, a_session_outlives_the_engine, every_route,
     two_ambassadors, errors_are_printed].

init_per_suite(Config) ->
    Missing = [Tool || Tool <- ["redis-server", "redis-cli"], os:find_executable(Tool) =:= false],
    case {eid_rig:available(), Missing} of
        {true, []} ->
            ok = eid_rig:up(),
            [{redis, redis_folder(proplists:get_value(priv_dir, Config))} | Config];
        {true, [Tool | _]} -> {skip, Tool ++ " is not installed"};
        {{skip, _} = Skip, _} -> Skip
    end.

end_per_suite(_Config) -> eid_rig:down().

end_per_testcase(_Case, _Config) -> eid_rig:stop_all().

%% Copies this machine's redis-server with its libraries and its loader, so that it runs in every
%% image.
redis_folder(Folder) ->
    Redis = filename:join(Folder, "redis"),
    Script = "mkdir -p '" ++ Redis ++ "' && cd '" ++ Redis ++ "' && cp -L \"$(command -v redis-server)\" redis-server && "
        "cp -L $(ldd redis-server | grep -o '/[^ ]*') . && mv ld-linux* loader && echo made",
    ?assertEqual("made", string:trim(os:cmd(Script))),
    Redis.

%% Starts Redis on a host, in a container with this name.
start_redis(Config, Host, Name, Docker) ->
    Folder = proplists:get_value(redis, Config),
    Run = ["run -d --label eid.test=1 --stop-timeout 1 --name ", Name, " -v ", Folder, ":/redis:ro ", Docker, " eid-otp:",
           hd(eid_rig:releases()), " /redis/loader --library-path /redis /redis/redis-server --port " ?PORT
           " --protected-mode no --save ''"],
    eid_rig:docker(Host, Run).

published(Host) -> ["-p ", eid_rig:host_ip(Host), "::" ?PORT].

host_port(Host, Name) ->
    [_Ip, Port] = string:split(hd(string:lexemes(eid_rig:docker(Host, ["port ", Name, " " ?PORT]), "\n")), ":", trailing),
    Port.

eid() -> filename:join(code:priv_dir(eid), "eid").

%% Starts `eid forward' in the network of a host, and waits until it listens. It ends with the
%% process that started it.
start_forward(Host, Environment, Arguments) ->
    Command = lists:flatten(["exec 3<&0; env -i ", Environment, " '", eid(), "' forward ", Arguments, " <&3 2>&1 & "
                             "read end_of_input; kill $!"]),
    Forward = open_port({spawn_executable, eid_rig:script()},
                        [{args, ["exec", integer_to_list(Host), "sh", "-c", Command]}, {line, 10_000}, exit_status]),
    said(Forward, "is forwarded to"),
    Forward.

start_forward(Host, Target) -> start_forward(Host, "", ["--listen " ?LISTEN " --to ", Target]).

stop_forward(Forward) -> true = port_close(Forward).

%% Waits for a line that contains `Part'.
said(Forward, Part) ->
    receive
        {Forward, {data, {eol, Line}}} ->
            ct:log("~ts", [Line]),
            case string:find(Line, Part) of
                nomatch -> said(Forward, Part);
                _ -> Line
            end;
        {Forward, {exit_status, Status}} -> error({ended, Status})
    after 10_000 -> error({never_said, Part})
    end.

%% Returns what Redis answers to one command, over a new connection.
redis(Host, Command) -> redis(Host, "127.0.0.1", ?LISTEN, Command).

redis(Host, Ip, Port, Command) ->
    {_, Output} = eid_rig:command(["exec ", integer_to_list(Host), " redis-cli -h ", Ip, " -p ", Port, " ", Command]),
    string:trim(Output).

until_it_answers(Host) -> eid_ct:eventually(fun() -> redis(Host, "ping") =:= "PONG" end, 20_000).

%% Waits until Redis itself answers at its published port. From then on the first forwarded
%% connection works.
until_redis_answers(Host, Name) ->
    Port = host_port(Host, Name),
    eid_ct:eventually(fun() -> redis(Host, eid_rig:host_ip(Host), Port, "ping") =:= "PONG" end, 20_000),
    Port.

replace(Config, Name) ->
    eid_rig:docker(2, ["rm -f ", Name]),
    start_redis(Config, 2, Name, published(2)).

follows_restarts_and_a_replacement(Config) ->
    start_redis(Config, 2, "redis", published(2)),
    Forward = start_forward(1, "docker://redis@192.0.2.2:" ?PORT),
    until_it_answers(1),
    Changes = [fun() -> eid_rig:docker(2, "restart -t 0 redis") end || _ <- lists:seq(1, 3)]
        ++ [fun() -> replace(Config, "redis") end || _ <- lists:seq(1, 3)],
    lists:foldl(fun(Change, Before) ->
                        Change(),
                        Port = until_redis_answers(2, "redis"),
                        ?assertNotEqual(Before, Port),
                        ?assertEqual("PONG", redis(1, "ping")),
                        Port
                end, host_port(2, "redis"), Changes),
    stop_forward(Forward).

%% One redis-cli reads commands from its input. When Redis is replaced, redis-cli loses its
%% connection and at most one command. Then it connects again.
redis_cli_goes_on_working(Config) ->
    start_redis(Config, 2, "redis", published(2)),
    Forward = start_forward(1, "docker://redis@192.0.2.2:" ?PORT),
    until_it_answers(1),
    Cli = open_port({spawn_executable, eid_rig:script()},
                    [{args, ["exec", "1", "redis-cli", "-p", ?LISTEN]}, {line, 10_000}, exit_status]),
    ?assertEqual(["OK"], tell(Cli, "set colour red")),
    ?assertEqual(["red"], tell(Cli, "get colour")),
    Before = host_port(2, "redis"),
    replace(Config, "redis"),
    ?assertNotEqual(Before, until_redis_answers(2, "redis")),
    ct:log("~p", [tell(Cli, "get colour")]),
    %% The new Redis has no data, so the answer is empty.
    ?assertEqual([""], tell(Cli, "get colour")),
    ?assertEqual(["OK"], tell(Cli, "set colour blue")),
    ?assertEqual(["blue"], tell(Cli, "get colour")),
    port_close(Cli),
    stop_forward(Forward).

tell(Cli, Command) ->
    true = port_command(Cli, [Command, "\necho .\n"]),
    answers(Cli, []).

answers(Cli, Lines) ->
    receive
        {Cli, {data, {eol, "."}}} -> lists:reverse(Lines);
        {Cli, {data, {eol, Line}}} -> answers(Cli, [Line | Lines]);
        {Cli, {exit_status, Status}} -> error({redis_cli, Status, Lines})
    after 10_000 -> error({redis_cli_is_silent, Lines})
    end.

%% An established connection needs no engine.
a_session_outlives_the_engine(Config) ->
    start_redis(Config, 2, "redis", published(2)),
    Forward = start_forward(1, "docker://redis@192.0.2.2:" ?PORT),
    until_it_answers(1),
    Cli = open_port({spawn_executable, eid_rig:script()},
                    [{args, ["exec", "1", "redis-cli", "-p", ?LISTEN]}, {line, 10_000}, exit_status]),
    ?assertEqual(["OK"], tell(Cli, "set colour red")),
    {0, _} = eid_rig:command("dockerd 2 kill"),
    ?assertEqual(["red"], tell(Cli, "get colour")),
    {0, _} = eid_rig:command("dockerd 2 start"),
    ?assertEqual(["red"], tell(Cli, "get colour")),
    until_it_answers(1),
    port_close(Cli),
    stop_forward(Forward).

%% Uses the bridge in a container beside Redis, the host's network from the other host, and a
%% container ID.
every_route(Config) ->
    Id = start_redis(Config, 2, "redis", ""),
    Ambassador = eid_rig:docker(2, ["run -d --label eid.test=1 --stop-timeout 1 -e A_PORT_" ?PORT "_TCP=docker://redis@192.0.2.2:" ?PORT
                                    " -p 192.0.2.2:" ?LISTEN ":" ?PORT " -v ", eid(), ":/eid:ro eid-otp:",
                                    hd(eid_rig:releases()), " /eid forward"]),
    Answer = fun() -> redis(1, eid_rig:host_ip(2), ?LISTEN, "client list") end,
    eid_ct:eventually(fun() -> string:find(Answer(), "addr=") =/= nomatch end, 20_000),
    Address = eid_rig:docker(2, ["inspect -f '{{.NetworkSettings.IPAddress}}' ", Ambassador]),
    ?assertNotEqual({nomatch, Answer()}, {string:find(Answer(), "addr=" ++ Address), Answer()}),
    eid_rig:docker(2, ["rm -f ", Ambassador, " ", Id]),
    HostId = start_redis(Config, 2, "redis-on-host", "--network host"),
    Forward = start_forward(1, ["docker://", HostId, "@192.0.2.2:" ?PORT]),
    until_it_answers(1),
    stop_forward(Forward).

%% The classic setup: an ambassador near the client connects to an ambassador near the service. Each
%% gets its target from an environment variable.
two_ambassadors(Config) ->
    Image = ["eid-otp:", hd(eid_rig:releases())],
    start_redis(Config, 2, "redis", ""),
    Ambassador = fun(Host, Name, Target) ->
                         eid_rig:docker(Host, ["run -d --label eid.test=1 --stop-timeout 1 --name ", Name, " -e REDIS_PORT_" ?PORT "_TCP=",
                                               Target, " -p ", eid_rig:host_ip(Host), ":" ?PORT ":" ?PORT " -v ", eid(),
                                               ":/eid:ro ", Image, " /eid forward"])
                 end,
    Ip = eid_rig:docker(2, "inspect -f '{{.NetworkSettings.IPAddress}}' redis"),
    Ambassador(2, "redis_ambassador", ["tcp://", Ip, ":" ?PORT]),
    Ambassador(1, "redis_client_ambassador", "tcp://192.0.2.2:" ?PORT),
    eid_ct:eventually(fun() -> redis(1, "192.0.2.1", ?PORT, "ping") =:= "PONG" end, 20_000),
    %% It is process 1 of its container, where SIGTERM has no default action. It ends on SIGTERM, so
    %% Docker does not kill it.
    eid_rig:docker(1, "stop -t 60 redis_client_ambassador"),
    ExitCode = eid_rig:docker(1, "inspect -f '{{.State.ExitCode}}' redis_client_ambassador"),
    ?assertEqual("0", ExitCode).

errors_are_printed(Config) ->
    Forward = start_forward(1, "docker://redis@192.0.2.2:" ?PORT),
    said(Forward, "the engine knows no such container; compare the name with docker ps"),
    start_redis(Config, 2, "redis", ""),
    eid_ct:eventually(fun() -> _ = redis(1, "ping"), said_already(Forward, "is not published") end, 20_000),
    replace(Config, "redis"),
    until_it_answers(1),
    said(Forward, "can be reached again"),
    stop_forward(Forward).

said_already(Forward, Part) ->
    receive {Forward, {data, {eol, Line}}} -> string:find(Line, Part) =/= nomatch
    after 0 -> false
    end.
