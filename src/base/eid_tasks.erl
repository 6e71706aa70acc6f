%% @doc Calls that wait: side by side, and for no longer than they may. Each runs in a process of its own, and
%% what it leaves in a message queue goes with that.
-module(eid_tasks).

-export([map/2, within/2]).
-export([call/2]).    % spawned

%% So many calls are under way at a time.
-define(MAX_CALLS, 100).

%% @doc `lists:map/2', a hundred elements at a time. Exits as the first call that crashes.
-spec map(fun((Element) -> Result), [Element]) -> [Result].
map(Fun, Elements) when length(Elements) =< ?MAX_CALLS ->
    Calls = [spawn_monitor(?MODULE, call, [Fun, Element]) || Element <- Elements],
    [receive
         {'DOWN', Monitor, process, Pid, {?MODULE, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Crash} -> exit(Crash)
     end || {Pid, Monitor} <- Calls];
map(Fun, Elements) ->
    {Now, Later} = lists:split(?MAX_CALLS, Elements),
    map(Fun, Now) ++ map(Fun, Later).

%% @doc The result of a function of OTP that takes no time limit, or does not keep it; `{error, timeout}' after so many
%% milliseconds, and `{error, Exit}' for one that crashes.
-spec within(Milliseconds :: non_neg_integer(), fun(() -> Result)) -> Result | {error, timeout | term()}.
within(Milliseconds, Fun) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, call, [fun(_) -> Fun() end, none]),
    receive
        {'DOWN', Monitor, process, Pid, Exit} -> result(Exit)
    after Milliseconds ->
            exit(Pid, kill),
            receive
                {'DOWN', Monitor, process, Pid, killed} -> {error, timeout};
                {'DOWN', Monitor, process, Pid, Exit} -> result(Exit)
            end
    end.

result({?MODULE, Result}) -> Result;
result(Crash) -> {error, Crash}.

%% @private
-spec call(fun((Element) -> term()), Element) -> no_return().
call(Fun, Element) -> exit({?MODULE, Fun(Element)}).
