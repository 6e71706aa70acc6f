%% @doc Calls that wait, side by side.
-module(eid_parallel).

-export([map/2]).
-export([call/2]).    % spawned

%% @doc `lists:map/2' with a process for each element. Exits as the first one that crashes.
-spec map(fun((Element) -> Result), [Element]) -> [Result].
map(Fun, Elements) ->
    Calls = [spawn_monitor(?MODULE, call, [Fun, Element]) || Element <- Elements],
    [receive
         {'DOWN', Monitor, process, Pid, {?MODULE, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Crash} -> exit(Crash)
     end || {Pid, Monitor} <- Calls].

%% @private
-spec call(fun((Element) -> term()), Element) -> no_return().
call(Fun, Element) -> exit({?MODULE, Fun(Element)}).
