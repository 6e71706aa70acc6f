%% @doc Compares `eid forward' with socat, HAProxy and nginx: new connections a second, and
%% throughput of streams. Client, forwarder and service use loopback. The client and the service are
%% the example program `forward-load' of the crate `eid-cli'.
-module(bench_forward).

-export([rows/0]).

-define(ROUNDS, 5).
%% The scheduler's placement of processes, or other load on the machine, slows some measurements by
%% a quarter or more. To reduce this noise, each forwarder runs TURNS times for TIME milliseconds in
%% each round, and the sample is the midmean of these turns.
-define(TURNS, 12).
-define(TIME, "100").
-define(CLIENTS, "32").
-define(IP, "127.0.0.7").
-define(START_TIME, 10_000).

-type forwarder() :: direct | eid | socat | haproxy | nginx.

-spec rows() -> [bench_table:row()].
rows() ->
    Load = load_program(),
    [exit({missing, Tool ++ " is not installed"}) || Tool <- ["socat", "haproxy", "nginx"], find(Tool) =:= false],
    Folder = string:trim(os:cmd("mktemp -d")),
    Service = open([Load, " serve ", ?IP, ":0"]),
    Target = listening(Service),
    Places = maps:from_list([{direct, Target} | [start(Forwarder, Folder, Target)
                                                 || Forwarder <- [eid, socat, haproxy, nginx]]]),
    Samples = [{What, measure(Load, What, Places)} || What <- measurements()],
    ok = file:del_dir_r(Folder),
    lists:append([table(What, maps:map(fun(_, All) -> bench_stats:median(All) end, Taken))
                  || {What, Taken} <- Samples]).

%% The measurements, with the names that the load program uses.
measurements() ->
    [{"connections", ?CLIENTS}, {"download", "1"}, {"download", "4"}, {"upload", "1"}, {"upload", "4"}].

load_program() ->
    case os:getenv("EID_BENCH_FORWARD_LOAD") of
        false -> exit({missing, "the load program could not be built"});
        Program -> Program
    end.

find(Tool) -> os:find_executable(Tool, os:getenv("PATH") ++ ":/usr/sbin").

%% Forwarders with threads or workers get two, because the bench usually runs on a machine with two
%% cores.
-spec start(forwarder(), file:filename(), string()) -> {forwarder(), string()}.
start(Forwarder, Folder, Target) ->
    Place = ?IP ++ ":" ++ integer_to_list(free_port()),
    _ = open(command(Forwarder, Folder, Place, Target)),
    ok = wait_for(Place, erlang:monotonic_time(millisecond) + ?START_TIME),
    {Forwarder, Place}.

command(eid, _Folder, Place, Target) ->
    Eid = filename:join(code:priv_dir(eid), "eid"),
    [Eid, " forward --threads 2 --listen ", Place, " --to tcp://", Target];
command(socat, _Folder, Place, Target) ->
    [Ip, Port] = string:split(Place, ":"),
    %% socat's child processes log errors of their connections, so stderr is dropped.
    ["socat -b 262144 TCP4-LISTEN:", Port, ",bind=", Ip, ",fork,reuseaddr,backlog=4096,nodelay TCP4:", Target,
     ",nodelay 2> /dev/null"];
command(haproxy, Folder, Place, Target) ->
    File = filename:join(Folder, "haproxy.cfg"),
    ok = file:write_file(File, ["global\n nbthread 2\n maxconn 2000\n"
                                "defaults\n mode tcp\n option splice-auto\n option tcp-smart-accept\n"
                                " option tcp-smart-connect\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
                                "listen bench\n bind ", Place, " shards by-thread backlog 4096\n"
                                " server service ", Target, "\n"]),
    [find("haproxy"), " -db -q -f ", File];
command(nginx, Folder, Place, Target) ->
    File = filename:join(Folder, "nginx.conf"),
    Module = "/usr/lib/nginx/modules/ngx_stream_module.so",
    %% On Debian the stream code is a module. In other builds it may be part of nginx.
    Load = [["load_module ", Module, ";\n"] || filelib:is_file(Module)],
    ok = file:write_file(File, [Load, "daemon off;\npid ", Folder, "/nginx.pid;\nworker_processes 2;\n"
                                "error_log ", Folder, "/nginx.log;\nworker_rlimit_nofile 10000;\n"
                                "events { worker_connections 4096; }\n"
                                "stream {\n access_log off;\n proxy_buffer_size 64k;\n"
                                " server { listen ", Place, " reuseport backlog=4096; proxy_pass ", Target, "; }\n}\n"]),
    [find("nginx"), " -p ", Folder, " -e ", Folder, "/nginx.log -c ", File].

%% The command ends with the process that opened it. A shell gives a background process no input, so
%% the script passes its own input on: the load program ends with its input.
open(Command) ->
    Script = ["exec 3<&0; ", Command, " <&3 & read end_of_input; kill $! 2> /dev/null"],
    open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", lists:flatten(Script)]}, {line, 1000}, exit_status]).

listening(Service) ->
    receive {Service, {data, {eol, "listening on " ++ Place}}} -> Place
    after ?START_TIME -> error(no_service)
    end.

free_port() ->
    {ok, Ip} = inet:parse_address(?IP),
    {ok, Socket} = gen_tcp:listen(0, [{ip, Ip}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

wait_for(Place, End) ->
    [Ip, Port] = string:split(Place, ":"),
    case gen_tcp:connect(Ip, list_to_integer(Port), []) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, Why} ->
            erlang:monotonic_time(millisecond) < End orelse error({no_forwarder, Place, Why}),
            timer:sleep(20),
            wait_for(Place, End)
    end.

measure(Load, {What, Count}, Places) ->
    Functions = [{Forwarder, fun() -> [sample([Load, " ", What, " ", Place, " ", Count, " " ?TIME])] end}
                 || {Forwarder, Place} <- maps:to_list(Places)],
    maps:map(fun(_Forwarder, Samples) -> midmeans(Samples) end, bench_stats:rounds(?ROUNDS * ?TURNS, Functions)).

midmeans([]) -> [];
midmeans(Samples) ->
    {Round, Rest} = lists:split(?TURNS, Samples),
    [bench_stats:midmean(Round) | midmeans(Rest)].

sample(Command) ->
    Output = string:trim(os:cmd(lists:flatten([Command, " 2>&1"]))),
    case string:to_integer(Output) of
        {Number, ""} when Number > 0 -> Number;
        _ -> error({load, Output})
    end.

table({"connections", _}, #{eid := Eid, nginx := Nginx, socat := Socat, haproxy := Haproxy, direct := Direct}) ->
    What = "`eid forward`, new connections a second",
    [bench_table:row(What, count, Eid, With, Bound)
     || {With, Bound} <- [{{"socat", Socat}, {ratio, at_least, 5}},
                          {{"nginx", Nginx}, {ratio, at_least, 0.97}},
                          {{"HAProxy", Haproxy}, none},
                          {{"without a forwarder (the limit)", Direct}, none}]];
table({What, Count}, #{eid := Eid, direct := Direct} = Medians) ->
    [{Best, Name} | _] = lists:reverse(lists:sort([{maps:get(Name, Medians), Name} || Name <- [socat, haproxy, nginx]])),
    Row = ["`eid forward`, ", What, ", ", Count, case Count of "1" -> " stream"; _ -> " streams" end],
    [bench_table:row(Row, bits, Eid, {["the best of socat, HAProxy and nginx: ", atom_to_list(Name)], Best},
                     {ratio, at_least, 0.97})]
        ++ [bench_table:row(Row, bits, Eid, {Other, maps:get(Key, Medians)}, none)
            || {Key, Other} <- [{socat, "socat"}, {haproxy, "HAProxy"}, {nginx, "nginx"}], Key =/= Name]
        ++ [bench_table:row(Row, bits, Eid, {"without a forwarder (the limit)", Direct}, none)].
