%% @doc Calls that wait, side by side.
-module(eid_parallel).

-export([map/2]).

%% @doc `lists:map/2' with a process for each element. Exits as the first one that crashes.
-spec map(fun((Element) -> Result), [Element]) -> [Result].
map(Fun, Elements) ->
    Calls = [spawn_monitor(fun() -> exit({?MODULE, Fun(Element)}) end) || Element <- Elements],
    [receive
         {'DOWN', Monitor, process, Pid, {?MODULE, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Crash} -> exit(Crash)
     end || {Pid, Monitor} <- Calls].
