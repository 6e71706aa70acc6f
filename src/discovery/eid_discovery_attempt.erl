%% @doc One attempt to connect a node, in a process of its own: find it, see whether anything answers there, and have
%% `net_kernel' connect it.
%%
%% The dial before the connection is what keeps the two apart that a carrier can't: an address where nobody is
%% costs 2 s at most and no atom, and leaves no line in the log.
-module(eid_discovery_attempt).

-export([start_monitor/1, outcome/1, is_turned_away/1, format/1]).
-export([run/1]).    % spawned

-export_type([failure/0]).

-type failure() :: eid:reason() | no_own_name | own_address | too_many_names | not_connected | {crashed, term()}.

%% Milliseconds for a dial.
-define(DIAL_TIME, 2000).
%% Milliseconds in which a carrier's report comes once the connection has failed.
-define(REPORT_TIME, 200).

%% @doc Starts the attempt; {@link outcome/1} explains how it ends.
-spec start_monitor(Node :: binary()) -> {pid(), reference()}.
start_monitor(Node) ->
    spawn_monitor(?MODULE, run, [Node]).

%% @private
-spec run(Node :: binary()) -> no_return().
run(Node) -> exit({?MODULE, attempt(Node)}).

%% @doc What has come of it, told by its exit reason.
-spec outcome(Exit :: term()) -> connected | {failed, failure()}.
outcome({?MODULE, Outcome}) -> Outcome;
outcome(killed) -> {failed, timeout};
outcome(Crash) -> {failed, {crashed, Crash}}.

attempt(Node) ->
    case is_alive() andalso eid:lookup(Node) of
        false -> {failed, no_own_name};
        {ok, Route} ->
            case leads_back(Route) orelse dial(Route) of
                true -> {failed, own_address};
                ok -> connect(Node);
                {error, Posix} -> again(Node, Route, Posix)
            end;
        {error, Reason} -> {failed, Reason}
    end.

%% Whether this is where this node listens itself: another name for it, which it would not answer to.
leads_back(#{route := loopback}) -> true;
leads_back(#{ip := Ip, port := Port, route := direct}) ->
    [_Name, Host] = string:split(atom_to_list(node()), "@"),
    Port =:= eid_config:erlang_port() andalso inet:parse_strict_address(Host) =:= {ok, Ip};
leads_back(_) -> false.

dial(#{ip := Ip, port := Port, route := Kind}) ->
    case gen_tcp:connect(Ip, Port, family(Ip) ++ eid_carrier:connect_options(), dial_time(Kind)) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, _} = Error -> Error
    end.

family(Ip) when tuple_size(Ip) =:= 8 -> [inet6];
family(_Ip) -> [inet].

%% A bridge is near or it is not there at all.
dial_time(bridge) -> ?DIAL_TIME div 2;
dial_time(_) -> ?DIAL_TIME.

%% The carrier knows what to do where containers are kept apart, so all that matters is that there is another way.
again(Node, #{route := bridge} = Failed, Posix) ->
    case eid_resolver:resolve_again(Node, any, eid_config:lookup_time(), Failed) of
        {ok, #{route := published} = Route} ->
            case dial(Route) of
                ok -> connect(Node);
                {error, Why} -> {failed, {dial, Route, Why}}
            end;
        _ -> {failed, {dial, Failed, Posix}}
    end;
again(_Node, Route, Posix) ->
    {failed, {dial, Route, Posix}}.

connect(Node) ->
    case eid_discovery_connector:atom(Node) of
        {ok, Atom} ->
            ok = eid_setup_log:redirect(Node),
            Connected = net_kernel:connect_node(Atom),
            %% The peer may have been faster.
            case Connected =:= true orelse lists:member(Atom, nodes(connected)) of
                true -> connected;
                false -> {failed, reported()}
            end;
        {error, Reason} ->
            {failed, Reason}
    end.

reported() ->
    receive {eid_setup_log, Reason} -> Reason
    after ?REPORT_TIME -> not_connected
    end.

%% @doc Whether the node has answered and wants no connection, so that somebody has to mend something.
-spec is_turned_away(failure() | none) -> boolean().
is_turned_away({handshake, bad_cookie}) -> true;
is_turned_away({handshake, not_allowed}) -> true;
is_turned_away({handshake, {another_node, _}}) -> true;
is_turned_away(_) -> false.

%% @doc A sentence for a person: what happened, and what to do next.
-spec format(failure()) -> string().
format(no_own_name) ->
    "this node has no name, so it can't connect to others. Start it with -name ContainerID@HostIP.";
format(own_address) ->
    "the name leads back to this node, which is called otherwise. Take it out of the list, or name the nodes as the list does.";
format(too_many_names) ->
    "so many new node names have come up that no more are taken: each would stay in the atom table. Look at what the "
    "strategy lists; one more is taken every ten seconds.";
format(not_connected) ->
    "it was dialled, but did not become connected. Look at the log of the carrier on both sides.";
format({crashed, Crash}) ->
    lists:flatten(io_lib:format("the attempt crashed, which is an error in eid: ~0tP. Please report it.", [Crash, 20]));
format(Reason) ->
    eid:format_error(Reason).
