%% @doc Starts the nodes that the bench measures, on the rig's two hosts (test/rig), in containers
%% or bare.
%%
%% The bench controls each node through its standard input and output. A node ends with the process
%% that started it.
-module(bench_hosts).

-export([container/2, container/3, sleeping_container/1, bare/3, local/1, call/4, engine/1]).
-export([start_epmds/0, remove_containers/0, label/0]).

-export_type([container/0, bare/0]).

-type host() :: 1 | 2.
-type container() :: eid_rig:container().
-type bare() :: #{node := node(), peer := pid()}.

-define(CALL_TIME, 120_000).

%% The OTP release of the containers. It is the machine's release, so that bare nodes and nodes in
%% containers are equal.
release() ->
    Own = erlang:system_info(otp_release),
    case lists:member(Own, eid_rig:releases()) of
        true -> Own;
        false -> error({no_image_of_otp, Own})
    end.

%% Arguments with which nodes can connect in a tight loop. No peer connects back, although OTP's
%% `rex' sends a message to each new node. A node gives up a connect that hangs after two seconds.
node_args() ->
    ["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false",
     "dist_auto_connect", "never", "net_setuptime", "2"].

%% @doc Starts a node in a container, with eid as the carrier.
-spec container(host(), Docker :: [string()]) -> container().
container(Host, Docker) ->
    container(Host, Docker, ["-proto_dist", "eid_tcp", "-start_epmd", "false"]).

%% @doc Starts a node in a container that publishes the distribution port on the host's address.
%% `Docker' holds more arguments of `docker run'.
-spec container(host(), Docker :: [string()], Carrier :: [string()]) -> container().
container(Host, Docker, Carrier) ->
    eid_rig:start_node(Host, release(),
                       #{docker => ["-p", eid_rig:host_ip(Host) ++ "::12345" | Docker],
                         mount => [ebin()], erl => ["-pa", ebin()] ++ Carrier ++ node_args()}).

%% @doc Starts a container that publishes the distribution port and does nothing. Returns its short
%% ID.
-spec sleeping_container(host()) -> string().
sleeping_container(Host) ->
    Id = eid_rig:docker(Host, ["run -d --label ", label(), " --stop-timeout 1 -p ",
                               eid_rig:host_ip(Host), "::12345 eid-otp:", release(),
                               " sleep infinity"]),
    lists:sublist(Id, 12).

%% @doc Removes all containers of this run that still exist.
-spec remove_containers() -> ok.
remove_containers() ->
    [eid_rig:docker(Host, ["rm -f ", Id])
     || Host <- [1, 2],
        Id <- string:lexemes(eid_rig:docker(Host, ["ps -aq --filter label=", label()]), "\n")],
    ok.

%% @doc The label of this run's containers.
-spec label() -> string().
label() -> "eid.bench=" ++ os:getpid().

%% @doc Starts a node of the machine's own OTP in a host's network, without a container.
-spec bare(host(), Name :: string(), Carrier :: [string()]) -> bare().
bare(Host, Name, Carrier) ->
    Erl = ["exec", integer_to_list(Host), "erl", "-name", Name ++ "@" ++ eid_rig:host_ip(Host),
           "-setcookie", "eid_rig" | code_paths()] ++ Carrier ++ node_args(),
    {ok, Peer, Node} = peer:start_link(#{connection => standard_io, wait_boot => 30_000,
                                         exec => {eid_rig:script(), Erl}}),
    #{node => Node, peer => Peer}.

%% @doc Starts a node of the machine's own OTP on the machine itself, without distribution.
-spec local(Arguments :: [string()]) -> bare().
local(Arguments) ->
    {ok, Peer, Node} = peer:start_link(#{connection => standard_io,
                                         args => code_paths() ++ Arguments}),
    #{node => Node, peer => Peer}.

code_paths() -> ["-pa", eid_ct:ebin(), "-pa", ebin()].

ebin() -> filename:absname(filename:dirname(code:which(?MODULE))).

%% @doc Starts an epmd on each host. Each epmd ends with the process that started it.
-spec start_epmds() -> ok.
start_epmds() ->
    lists:foreach(fun start_epmd/1, [1, 2]).

start_epmd(Host) ->
    Script = "epmd -address " ++ eid_rig:host_ip(Host) ++ " & "
        "until epmd -names > /dev/null 2>&1; do sleep 0.05; done; echo ready; "
        "read end_of_input; kill $!",
    Port = open_port({spawn_executable, eid_rig:script()},
                     [{args, ["exec", integer_to_list(Host), "sh", "-c", Script]}, exit_status]),
    receive
        {Port, {data, "ready\n"}} -> ok;
        {Port, {exit_status, Status}} -> error({epmd, Status})
    after 10_000 -> error(epmd_hangs)
    end.

%% @doc Calls a function on a node.
-spec call(container() | bare(), module(), atom(), [term()]) -> term().
call(#{peer := Peer}, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, ?CALL_TIME).

%% @doc The engine of a host, as a URL.
-spec engine(host()) -> string().
engine(Host) -> "http://" ++ eid_rig:host_ip(Host) ++ ":4243".
