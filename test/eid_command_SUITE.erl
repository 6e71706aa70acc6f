%% Tests the command `eid' on the rig: on a host, as a person runs it, and in a container that has
%% it at /opt/eid/priv/eid.
-module(eid_command_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, end_per_testcase/2]).
-export([lookup_from_a_host/1, lookup_from_a_container/1, statuses/1, slow_dns/1, ps_of_two_hosts/1, ps_of_podman/1, ps_follows/1,
         name_by_the_gateway/1]).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [lookup_from_a_host, lookup_from_a_container, statuses, slow_dns, ps_of_two_hosts, ps_of_podman, ps_follows,
     name_by_the_gateway].

init_per_suite(Config) ->
    case eid_rig:available() of
        true -> ok = eid_rig:up(), Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) -> eid_rig:down().

end_per_testcase(_Case, _Config) -> eid_rig:stop_all().

%% Starts a container that only sleeps, and returns its full ID.
run(Host, Options) ->
    [Release | _] = eid_rig:releases(),
    Run = ["run -d --label eid.test=1 --stop-timeout 1 -v '", priv(), ":/opt/eid/priv:ro' ", Options, " eid-otp:", Release,
           " sleep infinity"],
    lists:last(string:lexemes(eid_rig:docker(Host, Run), "\r\n")).

priv() -> string:trim(os:cmd("readlink -f '" ++ code:priv_dir(eid) ++ "'")).

published(Host) -> "-p " ++ eid_rig:host_ip(Host) ++ "::12345".

at(Name, Host) -> Name ++ "@" ++ eid_rig:host_ip(Host).

%% Returns the published host port of a container.
port(Host, Id) -> integer_to_list(eid_rig:port(#{host => Host, id => Id})).

%% Runs `eid' in a host's network. Returns its exit status and its output.
eid(Host, Arguments) ->
    {Status, Output} = eid_rig:command(["exec ", integer_to_list(Host), " ", priv(), "/eid ", Arguments]),
    {Status, string:trim(Output)}.

%% Runs `eid' in a container.
eid_in(Host, Id, Arguments) ->
    {Status, Output} = eid_rig:command(["docker ", integer_to_list(Host), " exec ", Id, " /opt/eid/priv/eid ", Arguments]),
    {Status, string:trim(Output)}.

contains(Part, Text) -> ?assertNotEqual({nomatch, Text}, {string:find(Text, Part), Text}).

lookup_from_a_host(_) ->
    Id = run(2, [published(2), " --name shop"]),
    _ = run(2, "--name on-host --network host"),
    Port = port(2, Id),
    Expected = {0, "published 192.0.2.2:" ++ Port},
    [?assertEqual({Name, Expected}, {Name, eid(1, ["lookup ", at(Name, 2)])})
     || Name <- ["shop", Id, lists:sublist(Id, 12)]],
    ?assertEqual({0, "host 192.0.2.2:12345"}, eid(1, ["lookup ", at("on-host", 2)])),
    ?assertEqual({0, "{\"address\":\"192.0.2.2\",\"node\":\"shop@192.0.2.2\",\"port\":" ++ Port ++ ",\"route\":\"published\"}"},
                 eid(1, ["lookup --json ", at("shop", 2)])),
    eid_rig:docker(2, "restart -t 0 shop"),
    ?assertEqual({0, "published 192.0.2.2:" ++ port(2, Id)}, eid(1, ["lookup ", at("shop", 2)])).

lookup_from_a_container(_) ->
    A = run(1, published(1)),
    B = run(1, published(1)),
    C = run(2, published(2)),
    ?assertEqual({0, "loopback 127.0.0.1:12345"}, eid_in(1, A, ["lookup ", at(A, 1)])),
    {0, "bridge 172.17.0." ++ _} = eid_in(1, A, ["lookup ", at(B, 1)]),
    ?assertEqual({0, "published 192.0.2.2:" ++ port(2, C)}, eid_in(1, A, ["lookup ", at(C, 2)])).

statuses(_) ->
    _ = run(2, [published(2), " --name stopped"]),
    eid_rig:docker(2, "stop -t 0 stopped"),
    _ = run(2, "--name hidden"),
    _ = run(2, "--name loopback -p 127.0.0.1::12345"),
    _ = run(2, "--name elsewhere -p 192.0.2.12::12345"),
    [begin
         {Actual, Sentence} = eid(1, ["lookup ", Arguments]),
         ?assertEqual({Arguments, Status, Sentence}, {Arguments, Actual, Sentence}),
         contains(Part, Sentence)
     end || {Status, Part, Arguments} <-
                [{2, "Usage:", ""}, {3, "not a node name", "'a@b@c'"}, {3, "no such container", at("gone", 2)},
                 {4, "docker start", at("stopped", 2)}, {4, "not published", at("hidden", 2)},
                 {4, "loopback address only", at("loopback", 2)}, {4, "docker port", at("elsewhere", 2)},
                 {5, "connection refused", ["--engine tcp://{host}:4244 ", at("hidden", 2)]}]],
    eid_rig:command("dockerd 2 pause"),
    try
        {5, Late} = eid(1, ["lookup --timeout 1 ", at("hidden", 2)]),
        contains("did not answer in time", Late)
    after
        eid_rig:command("dockerd 2 continue")
    end.

%% No host has the name server's address. The resolver itself gives up after 10 seconds.
slow_dns(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "resolv.conf"),
    ok = file:write_file(File, "nameserver 192.0.2.99\n"),
    [begin
         Run = ["exec 1 unshare -m sh -c \"mount --bind '", File, "' /etc/resolv.conf && exec '", priv(), "/eid' ", Arguments,
                " --timeout 1\""],
         {Actual, Output} = eid_rig:command(Run),
         ?assertEqual({Arguments, 3, Output}, {Arguments, Actual, Output}),
         %% The command prints this sentence at its own timeout. The resolver's message is
         %% different.
         contains("DNS does not answer in time for shop.example", Output)
     end || Arguments <- ["lookup db@shop.example", "doctor db@shop.example", "ps --host shop.example"]].

ps_of_two_hosts(_) ->
    A = run(1, [published(1), " --name shop --label eid.cluster=shop"]),
    B = run(2, [published(2), " --name cache"]),
    _ = run(2, "--name on-host --network host --label eid.node=web"),
    _ = run(2, "--name ended --label eid.cluster=shop"),
    eid_rig:docker(2, "stop -t 0 ended"),
    _ = eid_rig:docker(2, "create --label eid.test=1 --name made --expose 12345 eid-otp:" ++ hd(eid_rig:releases()) ++ " true"),
    {0, Table} = eid(1, "ps --host 192.0.2.1 --host 192.0.2.2"),
    [Head | Rows] = [string:lexemes(Row, " ") || Row <- string:lexemes(Table, "\r\n")],
    ?assertEqual(["NODE", "NAME", "STATE", "IMAGE", "PORT", "CLUSTER", "SINCE"], Head),
    Image = "eid-otp:" ++ hd(eid_rig:releases()),
    ?assertEqual([[at(lists:sublist(A, 12), 1), "shop", "running", Image, "192.0.2.1:" ++ port(1, A), "shop"],
                  [at(lists:sublist(B, 12), 2), "cache", "running", Image, "192.0.2.2:" ++ port(2, B), "-"],
                  [at("web", 2), "on-host", "running", Image, "host", "-"]],
                 [lists:sublist(Row, 6) || Row <- Rows]),
    Names = fun(Arguments) ->
                    {0, Text} = eid(1, ["ps --host 192.0.2.1 --host 192.0.2.2 ", Arguments]),
                    [lists:nth(2, string:lexemes(Row, " ")) || Row <- tl(string:lexemes(Text, "\r\n"))]
            end,
    ?assertEqual(["shop", "cache", "ended", "made", "on-host"], Names("--all")),
    ?assertEqual(["shop", "ended"], Names("--all --label eid.cluster=shop")),
    {0, Json} = eid(1, "ps --json --host 192.0.2.1"),
    [contains(Part, Json) || Part <- ["\"failures\":[]", A, "\"cluster\":\"shop\"", "Z\""]],
    %% A host that does not exist does not hide the containers of the other host.
    {5, Half} = eid(1, "ps --timeout 1 --host 192.0.2.9 --host 192.0.2.1"),
    contains(" shop ", Half),
    contains("eid: 192.0.2.9: ", Half).

%% Podman's times have a zone, and its stopped containers still list ports.
ps_of_podman(_) ->
    case eid_rig:available(podman) of
        {skip, _} = Skip -> Skip;
        true ->
            {0, _} = eid_rig:command("podman-service 2 start"),
            Podman = #{host => 2, engine => podman},
            Run = "run -d --label eid.test=1 -p 192.0.2.12::12345 --name ",
            Image = " eid-otp:" ++ hd(eid_rig:releases()) ++ " sleep infinity",
            try
                [eid_rig:client(Podman, [Run, Name, Image]) || Name <- ["up", "down"]],
                eid_rig:client(Podman, "stop -t 0 down"),
                {0, Table} = eid(1, "ps --all --host 192.0.2.12"),
                [_, Down, Up] = string:lexemes(Table, "\r\n"),
                contains(" running ", Up),
                contains(" 192.0.2.12:", Up),
                ?assertEqual({nomatch, Down}, {string:find(Down, "192.0.2.12:"), Down}),
                {0, Json} = eid(1, "ps --json --host 192.0.2.12"),
                contains("Z\"", Json)
            after
                eid_rig:stop_all(Podman)
            end
    end.

%% `eid ps --watch' prints a line for each change, also for changes while the engine was down.
ps_follows(_) ->
    Id = run(2, [published(2), " --name shop"]),
    Watch = open_port({spawn_executable, eid_rig:script()},
                      [{args, ["exec", "1", priv() ++ "/eid", "ps", "--watch", "--host", "192.0.2.2"]}, {line, 1000},
                       stderr_to_stdout]),
    {os_pid, OsPid} = erlang:port_info(Watch, os_pid),
    try
        "+ " ++ First = line(Watch),
        contains(lists:sublist(Id, 12) ++ "@192.0.2.2  shop  running", First),
        eid_rig:docker(2, "restart -t 0 shop"),
        Port = port(2, Id),
        ok = until(Watch, ":" ++ Port ++ " "),
        _ = run(2, [published(2), " --name more"]),
        ok = until(Watch, "  more  "),
        %% A disconnected network takes the port away, and the engine sends no event of the
        %% container.
        eid_rig:docker(2, "network disconnect bridge more"),
        ok = until(Watch, "~ "),
        eid_rig:command("dockerd 2 kill"),
        ok = until(Watch, "eid: 192.0.2.2: the engine"),
        {0, _} = eid_rig:command("dockerd 2 start"),
        ok = until(Watch, "it answers again"),
        eid_rig:docker(2, "rm -f shop"),
        ok = until(Watch, "- " ++ lists:sublist(Id, 12))
    after
        os:cmd("kill " ++ integer_to_list(OsPid))
    end.

line(Port) ->
    receive {Port, {data, {eol, Line}}} -> Line after 20_000 -> error(no_line) end.

until(Port, Part) ->
    Line = line(Port),
    case string:find(Line, Part) of
        nomatch -> until(Port, Part);
        _ -> ok
    end.

%% `eid name' asks a server on the host, at the gateway's address.
name_by_the_gateway(_) ->
    Id = run(1, published(1)),
    {1, Nobody} = eid_in(1, Id, "name --engine tcp://{host}:4299"),
    contains("eid serve at \"tcp://172.17.0.1:4299\"", Nobody),
    contains("connection refused", Nobody),
    %% The Docker Engine itself does not serve the path that `eid serve' serves.
    {1, Engine} = eid_in(1, Id, "name --engine tcp://192.0.2.1:4243"),
    contains("status 404", Engine),
    Folder = filename:join("/tmp", "eid_command_" ++ os:getpid()),
    ok = filelib:ensure_path(filename:join(Folder, "eid")),
    ok = file:write_file(filename:join([Folder, "eid", "host"]), "{\"Host\":\"192.0.2.1\"}"),
    Serve = open_port({spawn_executable, eid_rig:script()},
                      [{args, ["exec", "1", "python3", "-m", "http.server", "4299", "--bind", "172.17.0.1", "--directory", Folder]},
                       stderr_to_stdout]),
    {os_pid, OsPid} = erlang:port_info(Serve, os_pid),
    try
        eid_ct:eventually(fun() -> eid_in(1, Id, "name --engine tcp://{host}:4299") =:= {0, at(Id, 1)} end)
    after
        os:cmd("kill " ++ integer_to_list(OsPid)),
        file:del_dir_r(Folder)
    end.
