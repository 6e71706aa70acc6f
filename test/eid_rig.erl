%% Controls the rig (test/rig) for common_test: two real Docker hosts, and Erlang nodes in
%% containers of Docker or Podman. A test controls a node through its container's standard input and
%% output, because the distribution itself is under test.
-module(eid_rig).

-export([available/0, available/1, up/0, down/0, releases/0, info/1, command/1, command/2]).
-export([host_ip/1, host_ip6/1, socket/1, podman_ip/1, podman/1]).
-export([start_node/3, start_nodes/1, start_detached/3, manual_connect/0, remove/2, stop_all/0,
         stop_all/1, docker/2, client/2, port/1, restart/1, load/2, script/0]).
-export([parallel/2]).

-export_type([container/0]).

%% Milliseconds. The rig may build the images first, from a slow mirror.
-define(UP_TIME, 900_000).

%% Set while the hosts are up and clean.
-define(RESTORED, {?MODULE, restored}).

-type engine() :: docker | podman.
-type container() :: #{host := 1 | 2, engine => engine(), id := string(), node := node(), peer => pid()}.

%% Returns true, or common_test's `skip' tuple with the reason why the rig can't run here.
available() -> is_available("available").

available(podman) -> is_available("available podman");
available(dns) -> is_available("available dns").

is_available(Command) ->
    case command(Command) of
        {0, _} -> true;
        {_, Why} -> {skip, string:trim(Why)}
    end.

%% Starts the hosts. Restarts an engine that hangs.
up() ->
    case persistent_term:erase(?RESTORED) orelse command("up", ?UP_TIME) of
        true -> ok;
        {0, _} -> ok;
        {_, Why} ->
            {0, _} = command("down"),
            error({rig, Why})
    end.

%% If EID_RIG_KEEP is 1, the hosts stay up for the next suite.
down() ->
    case os:getenv("EID_RIG_KEEP") of
        "1" -> restore(), persistent_term:put(?RESTORED, true);
        _ -> {0, _} = command("down"), ok
    end.

%% Removes all containers, and undoes the suites' changes, except `rig pods up'.
restore() ->
    Info = info(),
    Of = fun(Host, Key) -> maps:get(lists:concat(["host", Host, ".", Key]), Info) end,
    [Of(Host, "engine.state") || Host <- [1, 2]] =:= ["up", "up"] orelse up(),
    _ = parallel(fun(Host) ->
                         Name = integer_to_list(Host),
                         remove_all(#{host => Host, engine => docker}, ""),
                         Of(Host, "engine.tls") =:= "" orelse rig(["dockerd ", Name, " plain"]),
                         Of(Host, "podman.state") =:= "up" andalso stop_podman(Host)
                 end, [1, 2]),
    Of(1, "dns.state") =:= "up" andalso rig("dns stop"),
    rig("link up").

stop_podman(Host) ->
    remove_all(#{host => Host, engine => podman}, ""),
    rig(["podman-service ", integer_to_list(Host), " kill"]).

rig(Command) -> {0, _} = command(Command), ok.

%% The OTP releases for which the rig has images, as strings, oldest first.
releases() ->
    {0, Output} = command("releases"),
    string:lexemes(Output, "\n").

%% The value of a key of `rig info'. The command takes seconds, so this function caches paths, which
%% never change.
info(Key) ->
    case persistent_term:get({?MODULE, Key}, unknown) of
        unknown ->
            Value = maps:get(Key, info()),
            lists:prefix("/", Value) andalso persistent_term:put({?MODULE, Key}, Value),
            Value;
        Path -> Path
    end.

info() ->
    {0, Output} = command("info"),
    maps:from_list([{Key, Value} || Line <- string:lexemes(Output, "\n"),
                                    [Key, Value] <- [string:split(Line, "=")]]).

host_ip(Host) -> "192.0.2." ++ integer_to_list(Host).

host_ip6(Host) -> "2001:db8::" ++ integer_to_list(Host).

%% The engine's unix socket. This VM can use it too.
socket(Host) -> info("host" ++ integer_to_list(Host) ++ ".engine.socket").

%% The address of Podman's API, at which its containers publish their ports too.
podman_ip(Host) -> "192.0.2.1" ++ integer_to_list(Host).

%% The options of a node in Podman.
podman(Host) -> #{engine => podman, host => podman_ip(Host), docker => ["-p", podman_ip(Host) ++ "::12345"]}.

%% Runs a command of the rig. Returns its exit status and its output.
command(Arguments) -> command(Arguments, 120_000).

command(Arguments, Timeout) ->
    Port = open_port({spawn, lists:flatten([script(), " ", Arguments])},
                     [exit_status, stderr_to_stdout]),
    collect(Port, lists:flatten(["rig ", Arguments]), [], Timeout).

%% Kills a command that hangs, with all processes that it started. Otherwise they would keep the
%% rig's lock. A port's program has a separate session, and the hosts' daemons are in other
%% sessions.
collect(Port, Command, Output, Timeout) ->
    receive
        {Port, {data, Data}} -> collect(Port, Command, [Output, Data], Timeout);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Output)}
    after Timeout ->
            {os_pid, OsPid} = erlang:port_info(Port, os_pid),
            "" = os:cmd("pkill -KILL --session " ++ integer_to_list(OsPid)),
            error({hangs, Command, lists:flatten(Output)})
    end.

script() -> filename:join([eid_ct:root(), "test", "rig", "rig"]).

%% Starts a node in a container and waits until it runs. Options: `erl' replaces the arguments of
%% the usual carrier. `docker' replaces the arguments that publish the port. `name' is the name of
%% the container and so of the node. `host' is the host part of the node's name. `node' is the whole
%% node name. `mount' lists paths that the container sees under the same name, or {Path,
%% PathInContainer}; a path may be a socket. `engine' is podman or docker.
-spec start_node(1 | 2, Release :: string(), map()) -> container().
start_node(Host, Release, Options) ->
    {ok, Peer, Node} = peer:start_link(#{connection => standard_io, wait_boot => 60_000,
                                         exec => {script(), run(Host, Release, Options, ["-i", "--rm"])}}),
    Id = peer:call(Peer, os, getenv, ["CONTAINER"]),
    #{host => Host, engine => engine(Options), id => Id, node => Node, peer => Peer}.

%% Starts several nodes at once.
-spec start_nodes([{1 | 2, Release :: string(), map()}]) -> [container()].
start_nodes(Starts) ->
    parallel(fun({Host, Release, Options}) -> start_node(Host, Release, Options) end, Starts).

%% Applies a function to all elements at once. The worker processes live as long as the caller,
%% because a peer ends with the process that started it.
parallel(Function, List) ->
    Caller = self(),
    Workers = [spawn_link(fun() ->
                                  Monitor = monitor(process, Caller),
                                  Caller ! {self(), Function(Element)},
                                  receive {'DOWN', Monitor, process, _, _} -> ok end
                          end) || Element <- List],
    [receive {Worker, Result} -> Result end || Worker <- Workers].

%% Arguments of erl. The node connects only if a caller uses net_kernel:connect_node/1. After a
%% disconnect neither `global' nor a late message connects it again. Kernel parameters may follow.
manual_connect() ->
    ["-proto_dist", "eid_tcp", "-start_epmd", "false", "-connect_all", "false",
     "-kernel", "prevent_overlapping_partitions", "false", "dist_auto_connect", "never"].

%% Like start_node/3, but in the background, so that a test can kill and restart the container.
-spec start_detached(1 | 2, Release :: string(), map()) -> container().
start_detached(Host, Release, Options) ->
    Run = run(Host, Release, Options, ["-d"]),
    {0, Output} = exec(Run ++ ["-noinput"]),
    Id = lists:sublist(string:trim(Output), 12),
    Name = maps:get(name, Options, Id),
    #{host => Host, engine => engine(Options), id => Id, node => list_to_atom(node_name(Name, Host, Options))}.

run(Host, Release, Options, How) ->
    Publish = maps:get(docker, Options, ["-p", host_ip(Host) ++ "::12345"]),
    {Named, Name} = case Options of
                        #{name := ContainerName} -> {["--name", ContainerName], ContainerName};
                        _ -> {[], "$HOSTNAME"}
                    end,
    Carrier = maps:get(erl, Options, ["-proto_dist", "eid_tcp", "-start_epmd", "false"]),
    [atom_to_list(engine(Options)), integer_to_list(Host), "run"] ++ How ++ Named ++ Publish
        ++ ["--label", "eid.test=1", "--stop-timeout", "1",
            "-v", eid_ct:ebin() ++ ":/opt/eid/ebin:ro",
            "-v", real(code:priv_dir(eid)) ++ ":/opt/eid/priv:ro"]
        ++ lists:append([["-v", volume(Mount)] || Mount <- maps:get(mount, Options, [])])
        ++ ["eid-otp:" ++ Release, "sh", "-c",
            "export CONTAINER=$HOSTNAME; exec erl -name " ++ node_name(Name, Host, Options) ++ " \"$@\"", "erl",
            "-pa", "/opt/eid/ebin", "-setcookie", "eid_rig" | Carrier].

volume({Path, Inside}) -> Path ++ ":" ++ Inside ++ ":ro";
volume(Path) -> volume({Path, Path}).

engine(ContainerOrOptions) -> maps:get(engine, ContainerOrOptions, docker).

real(Path) ->
    string:trim(os:cmd("readlink -f '" ++ Path ++ "'")).

name_host(Host, Options) -> maps:get(host, Options, host_ip(Host)).

node_name(_Name, _Host, #{node := Node}) -> Node;
node_name(Name, Host, Options) -> Name ++ "@" ++ name_host(Host, Options).

exec(Arguments) ->
    Port = open_port({spawn_executable, script()},
                     [{args, Arguments}, exit_status, stderr_to_stdout]),
    collect(Port, lists:flatten(lists:join(" ", ["rig" | Arguments])), [], 120_000).

%% Runs the docker client on a host. Returns its output.
docker(Host, Arguments) -> client(#{host => Host}, Arguments).

%% Runs the client of a container's engine.
client(#{host := Host} = Container, Arguments) ->
    {0, Output} = command([atom_to_list(engine(Container)), " ", integer_to_list(Host), " ", Arguments]),
    string:trim(Output).

%% The host port on which a container publishes its distribution port.
port(#{id := Id} = Container) ->
    list_to_integer(client(Container, ["inspect -f '{{(index (index .NetworkSettings.Ports \"12345/tcp\") 0)"
                                       ".HostPort}}' ", Id])).

restart(#{id := Id} = Container) -> client(Container, ["restart -t 0 ", Id]).

%% Loads a module of the tests on a node.
load(#{peer := Peer}, Module) ->
    {Module, Binary, File} = code:get_object_code(Module),
    {module, Module} = peer:call(Peer, code, load_binary, [Module, File, Binary]),
    ok.

%% Removes all containers that tests have left on the hosts.
stop_all() -> parallel(fun(Host) -> stop_all(#{host => Host, engine => docker}) end, [1, 2]), ok.

%% The same for one engine. Ignores containers that Docker is already removing, and engines that are
%% down.
stop_all(Container) -> remove_all(Container, " --filter label=eid.test").

remove_all(#{host := Host, engine := Engine}, Filter) ->
    Client = [atom_to_list(Engine), " ", integer_to_list(Host), " "],
    case command([Client, "ps -aq", Filter]) of
        {0, [_ | _] = Ids} -> remove_from(Engine, Host, string:lexemes(Ids, "\r\n"));
        _ -> none
    end,
    command([Client, "network prune -f"]),
    ok.

%% Podman stops a container before it removes it; `-t 0' avoids the wait.
remove_from(podman, Host, Ids) -> command(["podman ", integer_to_list(Host), " rm -f -t 0 ", lists:join(" ", Ids)]);
remove_from(docker, Host, Ids) -> remove(Host, Ids).

%% Removes Docker containers in any state. If the engine then hangs, this is Docker's failure and
%% not eid's: the rig restarts the engine and prints a message. Returns `error' for containers that
%% are gone or that Docker is already removing.
-spec remove(1 | 2, [Id :: string()]) -> ok | error.
remove(Host, Ids) ->
    {Status, Output} = command(["remove ", integer_to_list(Host), [[" ", Id] || Id <- Ids]], ?UP_TIME),
    Output =:= "" orelse ct:pal("rig remove ~b: ~ts", [Host, Output]),
    case Status of
        0 -> ok;
        _ -> error
    end.
