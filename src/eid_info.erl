%% @doc The state of eid on this node: its Docker Engines, and the routes of connected nodes.
-module(eid_info).

-export([info/0]).

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
%% The directory of a Docker Engine.
%%
%% `live': it has the list of the running containers and follows the engine's events, so lookups
%% read memory. `connecting': it gets the list, for the first time or after a gap. `inspecting': the
%% engine refuses the list or the events, or the list is too large, so each lookup asks the engine.
%% `closed': there was no lookup for a minute.
%%
%% `containers' are known now. The other numbers count from the first lookup: events that reported a
%% change, new lists after a gap, requests, and lookups by outcome (`ok' or the reason's name).
%% `error' keeps the directory from being live.

-type connection() :: #{route := accepted | loopback | bridge | host | published | direct | epmd
                                 | fixed | unknown,
                        ip => inet:ip_address(), port => inet:port_number()}.
%% The route to a connected node (see {@link eid:route()}) and its address as this node sees it.
%% `accepted': the peer dialled.

%% @doc See {@link eid:info/0}.
-spec info() -> info().
info() ->
    Engines = case eid_library:call(fun() -> eid_nif:info() end) of
                  {error, _} -> #{};
                  Known -> Known
              end,
    #{engines => Engines,
      nodes => maps:from_list([{Node, connection(Node)} || Node <- nodes(connected)])}.

connection(Node) ->
    case net_kernel:node_info(Node) of
        {ok, Info} ->
            Address = case lists:keyfind(address, 1, Info) of
                          {_, #net_address{address = {Ip, Port}}} -> #{ip => Ip, port => Port};
                          _ -> #{}
                      end,
            Address#{route => case lists:keyfind(owner, 1, Info) of
                                  {_, Owner} when is_pid(Owner) -> eid_epmd:noted_route(Owner);
                                  {_, _} -> unknown
                              end};
        {error, _} ->
            #{route => unknown}    % it has just left
    end.
