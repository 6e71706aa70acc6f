%% @doc The process of one attempt to connect a node: it finds the node, dials it, and makes
%% `net_kernel' connect it.
%%
%% It dials once before `net_kernel' does: an address where no node listens then costs at most 2 s,
%% no atom and no log line.
-module(eid_discovery_attempt).

-export([start_monitor/2, outcome/1, is_turned_away/1, format/1]).
-export([run/2]).    % spawned

-export_type([failure/0]).

-type failure() :: eid:reason() | no_own_name | own_address | too_many_names | not_connected
                 | {crashed, term()}.

-type to_atom() :: fun((Node :: binary()) -> {ok, node()} | {error, too_many_names}).

%% Milliseconds for a dial.
-define(DIAL_TIME, 2000).
%% Milliseconds until the carrier's report of a failed connection arrives.
-define(REPORT_TIME, 200).

%% @doc Starts the attempt. {@link outcome/1} explains its exit reason. `ToAtom' makes an atom of
%% the node's name after a successful dial. It is an external fun, so that code can be loaded.
-spec start_monitor(Node :: binary(), to_atom()) -> {pid(), reference()}.
start_monitor(Node, ToAtom) ->
    spawn_monitor(?MODULE, run, [Node, ToAtom]).

%% @private
-spec run(Node :: binary(), to_atom()) -> no_return().
run(Node, ToAtom) -> exit({?MODULE, attempt(Node, ToAtom)}).

%% @doc The outcome of an attempt, from its exit reason.
-spec outcome(Exit :: term()) -> connected | {failed, failure()}.
outcome({?MODULE, Outcome}) -> Outcome;
outcome(killed) -> {failed, timeout};
outcome(Crash) -> {failed, {crashed, Crash}}.

attempt(Node, ToAtom) ->
    case is_alive() andalso eid:lookup(Node) of
        false -> {failed, no_own_name};
        {ok, Route} ->
            case leads_back(Route) orelse dial_with_fallback(Node, Route) of
                true -> {failed, own_address};
                ok -> connect(Node, ToAtom);
                {error, Failure} -> {failed, Failure}
            end;
        {error, Reason} -> {failed, Reason}
    end.

%% True if this node itself listens there. The name is then another name for it, and it would not
%% accept the connection.
leads_back(#{route := loopback}) -> true;
leads_back(#{ip := Ip, port := Port, route := direct}) ->
    [_Name, Host] = string:split(atom_to_list(node()), "@"),
    Port =:= eid_config:erlang_port() andalso inet:parse_strict_address(Host) =:= {ok, Ip};
leads_back(_) -> false.

%% The carrier fails over from a bridge itself, so it is enough that the published port answers.
dial_with_fallback(Node, #{route := bridge} = Bridge) ->
    case dial(Bridge) of
        ok -> ok;
        {error, _} = Error ->
            case eid_resolver:resolve_again(Node, any, eid_config:lookup_time(), Bridge) of
                {ok, #{route := published} = Route} -> dial(Route);
                _ -> Error
            end
    end;
dial_with_fallback(_Node, Route) -> dial(Route).

dial(#{ip := Ip, port := Port, route := Kind} = Route) ->
    Family = case tuple_size(Ip) of
                 4 -> inet;
                 8 -> inet6
             end,
    %% On a bridge a dial succeeds within milliseconds or never, so fail over early.
    Timeout = case Kind of
                  bridge -> ?DIAL_TIME div 2;
                  _ -> ?DIAL_TIME
              end,
    case gen_tcp:connect(Ip, Port, [Family | eid_config:connect_options()], Timeout) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, Posix} -> {error, {dial, Route, Posix}}
    end.

connect(Node, ToAtom) ->
    case ToAtom(Node) of
        {ok, Atom} ->
            ok = eid_failures:subscribe(Node),
            Connected = net_kernel:connect_node(Atom),
            %% The peer may have connected first.
            case Connected =:= true orelse lists:member(Atom, nodes(connected)) of
                true -> connected;
                false -> {failed, reported()}
            end;
        {error, Reason} ->
            {failed, Reason}
    end.

reported() ->
    receive {eid_failures, Reason} -> Reason
    after ?REPORT_TIME -> not_connected
    end.

%% @doc True if the node has answered and refused the connection: an administrator must act.
-spec is_turned_away(failure() | none) -> boolean().
is_turned_away({handshake, bad_cookie}) -> true;
is_turned_away({handshake, not_allowed}) -> true;
is_turned_away({handshake, {another_node, _}}) -> true;
is_turned_away(_) -> false.

%% @doc Two sentences for people: the cause, and what to do next.
-spec format(failure()) -> string().
format(no_own_name) ->
    "this node has no name, so it can't connect to others. Start it with -name ContainerID@HostIP.";
format(own_address) ->
    "the name leads back to this node, which has another name. Take it out of the list, or name "
    "the nodes as the list does.";
format(too_many_names) ->
    "too many new node names have come up, and each would stay in the atom table. Look at what the "
    "strategy lists; one more is taken every ten seconds.";
format(not_connected) ->
    "it was dialled, but did not become connected. Look at the log of the carrier on both sides.";
format({crashed, Crash}) ->
    eid_text:format("the attempt crashed, which is an error in eid: ~0tP. Please report it.",
                    [Crash, 20]);
format(Reason) ->
    eid:format_error(Reason).
