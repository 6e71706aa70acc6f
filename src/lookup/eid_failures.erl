%% @doc Reports why connections failed: to the processes that subscribed to the node, else as one
%% log line with the sentence of {@link eid:format_error/1}.
%%
%% Discovery subscribes to the nodes that it connects, because it tries again and again.
-module(eid_failures).

-export([report/2, open/0, subscribe/1, unsubscribe/2]).

-include_lib("kernel/include/logger.hrl").

%% @doc Reports that the connection to `Node' failed. The log line is a warning.
-spec report(Node :: iodata(), eid:reason()) -> ok.
report(Node, Reason) ->
    case subscribers(iolist_to_binary(Node)) of
        [] -> ?LOG_WARNING("No connection to ~ts: ~ts", [Node, eid_error:format(Reason)]);
        Subscribers ->
            _ = [Pid ! {?MODULE, Reason} || Pid <- Subscribers],
            ok
    end.

%% @doc Opens the table of subscribers. The calling process owns it.
-spec open() -> ok.
open() ->
    _ = ets:new(?MODULE, [named_table, public, bag, {read_concurrency, true}]),
    ok.

%% @doc Subscribes the calling process: it gets failures to connect `Node' as `{eid_failures,
%% Reason}', until {@link unsubscribe/2} or its end. Does nothing while the table is not open.
-spec subscribe(Node :: binary()) -> ok.
subscribe(Node) -> change(fun() -> ets:insert(?MODULE, {Node, self()}) end).

%% @doc Ends a subscription. After the last one, failures to connect `Node' are logged again.
-spec unsubscribe(Node :: binary(), pid()) -> ok.
unsubscribe(Node, Pid) -> change(fun() -> ets:delete_object(?MODULE, {Node, Pid}) end).

change(Fun) ->
    try
        true = Fun(),
        ok
    catch error:badarg -> ok    % discovery has been stopped
    end.

subscribers(Node) ->
    try [Pid || {_, Pid} <- ets:lookup(?MODULE, Node), is_process_alive(Pid)]
    catch error:badarg -> []    % discovery does not run
    end.
