%% Runs on a node of a test cluster. It records when the VM was up, and when each peer connected and
%% disconnected. All times come from the machine's clock, which all containers share. Start it with
%% `-s eid_mesh_recorder' before `-s eid'.
-module(eid_mesh_recorder).

-export([start/0, history/0, log/1]).

-export_type([history/0]).

-type microseconds() :: integer().
-type history() :: #{up := microseconds(), events := [{microseconds(), nodeup | nodedown, node()}]}.

-spec start() -> ok.
start() ->
    Self = self(),
    {_, Monitor} = spawn_monitor(fun() -> init(Self) end),
    receive
        {recording, Recorder} -> demonitor(Monitor, [flush]), true = is_pid(Recorder), ok;
        {'DOWN', Monitor, process, _, Why} -> error(Why)
    end.

%% Peers that are connected already get the current time.
init(Parent) ->
    true = register(?MODULE, self()),
    Up = now_us(),
    ok = net_kernel:monitor_nodes(true),
    Parent ! {recording, self()},
    loop(#{up => Up, events => [{Up, nodeup, Node} || Node <- nodes()]}).

loop(#{events := Events} = History) ->
    receive
        {Change, Node} when Change =:= nodeup; Change =:= nodedown ->
            loop(History#{events := [{now_us(), Change, Node} | Events]});
        {history, From, Ref} ->
            From ! {Ref, History#{events := lists:reverse(Events)}},
            loop(History);
        {log, Text, From, Ref} ->
            logger:notice(Text),
            From ! {Ref, ok},
            loop(History)
    end.

-spec history() -> history().
history() -> ask(fun(Ref) -> {history, self(), Ref} end).

%% Writes a text to this node's log. If a remote call logged the text directly, the logger would
%% send it to the calling node.
-spec log(string()) -> ok.
log(Text) -> ask(fun(Ref) -> {log, Text, self(), Ref} end).

%% A node can be connected before its VM has started the recorder.
ask(Message) ->
    case whereis(?MODULE) of
        undefined ->
            timer:sleep(10),
            ask(Message);
        Recorder ->
            Ref = make_ref(),
            Recorder ! Message(Ref),
            receive {Ref, Answer} -> Answer after 60_000 -> error(timeout) end
    end.

now_us() -> os:system_time(microsecond).
