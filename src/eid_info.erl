%% @doc What eid knows about itself: its Docker Engines, and how the connected nodes are reached.
-module(eid_info).

-export([info/0, dialling/1]).

-export_type([info/0, engine/0, connection/0]).

-include_lib("kernel/include/net_address.hrl").

-type info() :: #{engines := #{Endpoint :: binary() => engine()},
                  nodes := #{node() => connection()}}.

-type engine() :: #{state := connecting | live | inspecting | closed,
                    containers := non_neg_integer(),
                    events := non_neg_integer(),
                    resyncs := non_neg_integer(),
                    requests := non_neg_integer(),
                    lookups := #{Outcome :: atom() => pos_integer()},
                    latency := #{p50 | p90 | p99 | max := Microseconds :: float()},
                    error := none | eid:reason()}.
%% What eid keeps of a Docker Engine. `live': it has the list of the running containers and follows
%% the engine's events, so lookups read memory. `connecting': it gets the list, for the first time or
%% after a gap. `inspecting': the engine refuses the list or the events, or the list is too
%% large, so each lookup asks it.
%% `closed': nobody has asked for a minute. `containers' are known now; the rest counts from the
%% first lookup on: events that told of a change, lists taken again after a gap, requests made, and
%% lookups by outcome, `ok' or the reason's name. `error' is what keeps it from being live.

-type connection() :: #{route := accepted | loopback | bridge | host | published | direct | epmd
                                 | fixed | unknown,
                        ip => inet:ip_address(), port => inet:port_number()}.
%% How a connected node was reached (see {@link eid:route()}), or that it was the one to connect, and
%% its address as this node sees it.

%% @doc See {@link eid:info/0}.
-spec info() -> info().
info() ->
    Engines = case eid_nif:call(fun() -> eid_nif:info() end) of
                  {error, _} -> #{};
                  Known -> Known
              end,
    #{engines => Engines,
      nodes => maps:from_list([{Node, connection(Node)} || Node <- nodes(connected)])}.

%% @doc Notes down that the calling process is about to connect by this route. It is the process
%% that stays with the connection, so its dictionary is where the note lasts just as long.
-spec dialling(eid:route()) -> ok.
dialling(#{route := Kind}) ->
    _ = put(?MODULE, Kind),
    ok.

connection(Node) ->
    case net_kernel:node_info(Node) of
        {ok, Info} ->
            Address = case lists:keyfind(address, 1, Info) of
                          {_, #net_address{address = {Ip, Port}}} -> #{ip => Ip, port => Port};
                          _ -> #{}
                      end,
            {_, Owner} = lists:keyfind(owner, 1, Info),
            Address#{route => route(Owner)};
        {error, _} ->
            #{route => unknown}    % it has just left
    end.

route(Owner) when is_pid(Owner) ->
    case process_info(Owner, dictionary) of
        {dictionary, Dictionary} -> proplists:get_value(?MODULE, Dictionary, accepted);
        undefined -> unknown
    end;
route(_Owner) -> unknown.
