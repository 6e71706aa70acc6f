%% @doc One log line for a connection that failed: the sentence of {@link eid:format_error/1}.
%%
%% A handshake fails by an exit deep inside `dist_util', or is killed from outside by its timer. So
%% a small process watches the setup process until it is connected, and says why it ended.
-module(eid_setup_log).

-export([start/1, connected/1, failed/2, no_directory/2, library_changed/1]).
-export([open_redirects/0, redirect/1, restore/2]).

-include_lib("kernel/include/logger.hrl").

%% @doc Watches the calling process, which is about to connect to `Node'.
-spec start(node()) -> pid().
start(Node) ->
    Setup = self(),
    Reporter = spawn(fun() -> watch(Setup, Node) end),
    %% Not before it watches: an exit that came first would have no reason.
    receive {Reporter, watching} -> Reporter end.

%% @doc Ends the watch: from now on OTP tells of the connection's end.
-spec connected(Reporter :: pid()) -> ok.
connected(Reporter) ->
    Reporter ! connected,
    ok.

%% @doc Logs that the connection to `Node' failed, as a warning, unless somebody has asked to be told.
-spec failed(node() | iodata(), eid:reason()) -> ok.
failed(Node, Reason) when is_atom(Node) ->
    failed(atom_to_binary(Node), Reason);
failed(Node, Reason) ->
    case listeners(iolist_to_binary(Node)) of
        [] -> ?LOG_WARNING("No connection to ~ts: ~ts", [Node, eid_error:format(Reason)]);
        Listeners ->
            _ = [Pid ! {eid_setup_log, Reason} || Pid <- Listeners],
            ok
    end.

%% @doc Has the failures of connections that discovery attempts told to it and not logged, because it tries
%% again and again. The calling process owns the table of who is to be told: for each node it may be several.
-spec open_redirects() -> ok.
open_redirects() ->
    _ = ets:new(?MODULE, [named_table, public, bag, {read_concurrency, true}]),
    ok.

%% @doc The calling process gets a failure to connect `Node' as `{eid_setup_log, Reason}', until {@link restore/2} or its
%% end. Nothing happens while nobody owns the table.
-spec redirect(Node :: binary()) -> ok.
redirect(Node) -> in_table(fun() -> ets:insert(?MODULE, {Node, self()}) end).

%% @doc This process gets no failures to connect `Node' any more; if nobody does, they are logged again.
-spec restore(Node :: binary(), pid()) -> ok.
restore(Node, Pid) -> in_table(fun() -> ets:delete_object(?MODULE, {Node, Pid}) end).

in_table(Fun) ->
    try
        true = Fun(),
        ok
    catch error:badarg -> ok    % discovery has been stopped
    end.

listeners(Node) ->
    try [Pid || {_, Pid} <- ets:lookup(?MODULE, Node), is_process_alive(Pid)]
    catch error:badarg -> []    % discovery does not run
    end.

%% @doc Logs, as a warning, that each lookup has to ask this engine, and why.
-spec no_directory(Endpoint :: binary(), eid:reason()) -> ok.
no_directory(Endpoint, {refused, Status, Message}) ->
    ?LOG_WARNING("The Docker Engine at ~ts, or a proxy in front of it, refuses its events (HTTP ~b: ~ts), so "
                 "every lookup there asks it. Allow GET of /events and /containers/json to spare that.",
                 [Endpoint, Status, Message]);
no_directory(Endpoint, _TooLarge) ->
    ?LOG_WARNING("The list of the containers at ~ts is too large, so every lookup there asks the Docker Engine. Raise "
                 "{eid, [{max_response_size, ...}]}, of which a list may have 16 times as many bytes.", [Endpoint]).

%% @doc Logs, as a warning, that another library is there than this VM has loaded.
-spec library_changed(File :: file:filename()) -> ok.
library_changed(File) ->
    %% Whoever calls from another node, as a remote shell does, is told there, if that is still there. This node's log has it in any case.
    Leaders = [group_leader() | [whereis(init) || node(group_leader()) =/= node()]],
    lists:foreach(fun(Leader) ->
                          ?LOG_WARNING("Modules of eid were reloaded, but the library ~ts.so is not the one that this node has loaded "
                                       "and goes on with. Restart the node to change it.", [File], #{gl => Leader})
                  end, Leaders).

watch(Setup, Node) ->
    Monitor = monitor(process, Setup),
    Setup ! {self(), watching},
    receive
        connected -> ok;
        {'DOWN', Monitor, process, Setup, Exit} ->
            case reason(Exit) of
                none -> ?LOG_DEBUG("The connection to ~ts was given up: ~0tp", [Node, Exit]);
                Reason -> failed(Node, Reason)
            end
    end.

%% What an exit reason of the setup process says of the connection. `none': it is no failure, or it
%% has been logged. `remarked' and `disconnect' come from `net_kernel': the peer's simultaneous
%% connection was taken instead, or somebody asked for the end. The tuples are `dist_util''s.
reason(normal) -> none;
reason(shutdown) -> none;
reason({shutdown, _}) -> none;
reason(remarked) -> none;
reason(disconnect) -> none;
%% Ended before it was watched, and so before it did anything: by `net_kernel', as above.
reason(noproc) -> none;
reason({dial, _, _} = Reason) -> Reason;
reason(setup_timer_timeout) -> {handshake, timeout};
reason({recv_challenge_failed, no_node, Name}) -> {handshake, {another_node, to_text(Name)}};
%% The acceptor hangs up, without a word, on a challenge reply that was made with another cookie.
reason({recv_challenge_ack_failed, {error, closed}}) -> {handshake, bad_cookie};
reason({recv_challenge_ack_failed, bad_cookie}) -> {handshake, bad_cookie};
reason({recv_status_failed, not_allowed}) -> {handshake, not_allowed};
reason({Step, {error, Posix}}) when is_atom(Step) -> {handshake, {Step, Posix}};
%% `dist_util' crashed: `net_kernel' had given up this attempt.
reason({Error, [{_, _, _, _} | _]}) -> {handshake, Error};
reason(Exit) ->
    case eid_error:is_reason(Exit) of
        true -> Exit;
        false -> {handshake, Exit}
    end.

to_text(Name) ->
    try list_to_binary(Name)
    catch error:badarg -> Name
    end.
