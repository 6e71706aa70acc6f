%% @doc Reports why a process that sets up a connection ended.
%%
%% A handshake fails by an exit deep inside `dist_util', or its timer kills the process. Therefore
%% a small process watches the setup process until it is connected.
-module(eid_setup_log).

-export([start/1, connected/1]).

-include_lib("kernel/include/logger.hrl").

%% @doc Watches the calling process, which is about to connect to `Node'.
-spec start(node()) -> Watcher :: pid().
start(Node) ->
    Setup = self(),
    Watcher = spawn(fun() -> watch(Setup, Node) end),
    %% Wait until it watches: an earlier exit would have no reason.
    receive {Watcher, watching} -> Watcher end.

%% @doc Ends the watch. From now on OTP reports the connection's end.
-spec connected(Watcher :: pid()) -> ok.
connected(Watcher) ->
    Watcher ! connected,
    ok.

watch(Setup, Node) ->
    Monitor = monitor(process, Setup),
    Setup ! {self(), watching},
    receive
        connected -> ok;
        {'DOWN', Monitor, process, Setup, Exit} ->
            case reason(Exit) of
                none -> ?LOG_DEBUG("The connection to ~ts was given up: ~0tp", [Node, Exit]);
                Reason -> eid_failures:report(atom_to_binary(Node), Reason)
            end
    end.

%% The reason of the failed connection in an exit reason of the setup process. `none': it is not a
%% failure, or was reported already. `remarked' and `disconnect' come from `net_kernel': it took
%% the peer's simultaneous connection, or a process asked it to disconnect. The tuples come from
%% `dist_util'.
reason(normal) -> none;
reason(shutdown) -> none;
reason({shutdown, _}) -> none;
reason(remarked) -> none;
reason(disconnect) -> none;
%% `net_kernel' ended it as above, before the watch began.
reason(noproc) -> none;
reason({dial, _, _} = Reason) -> Reason;
reason(setup_timer_timeout) -> {handshake, timeout};
reason({recv_challenge_failed, no_node, Name}) ->
    {handshake, {another_node, try list_to_binary(Name) catch error:badarg -> Name end}};
%% The acceptor hangs up silently on a challenge reply that was made with another cookie.
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
