%% @doc Runs functions that wait in processes, side by side or with a time limit.
%%
%% Each function has a process, so messages that it leaves in the queue end with this process.
-module(eid_tasks).

-export([map/2, within/2]).
-export([run/2]).    % spawned

%% Processes at a time.
-define(MAX_TASKS, 100).

%% @doc `lists:map/2', a hundred elements at a time. Exits as the first function that crashes.
-spec map(fun((Element) -> Result), [Element]) -> [Result].
map(Fun, Elements) when length(Elements) =< ?MAX_TASKS ->
    Tasks = [spawn_monitor(?MODULE, run, [Fun, Element]) || Element <- Elements],
    [receive
         {'DOWN', Monitor, process, Pid, {?MODULE, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Crash} -> exit(Crash)
     end || {Pid, Monitor} <- Tasks];
map(Fun, Elements) ->
    {Now, Later} = lists:split(?MAX_TASKS, Elements),
    map(Fun, Now) ++ map(Fun, Later).

%% @doc The result of a function of OTP that has no time limit or does not keep it. It is
%% `{error, timeout}' after this time, and `{error, Exit}' if the function crashes.
-spec within(Milliseconds :: non_neg_integer(), fun(() -> Result)) ->
          Result | {error, timeout | term()}.
within(Milliseconds, Fun) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, run, [fun(_) -> Fun() end, none]),
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
-spec run(fun((Element) -> term()), Element) -> no_return().
run(Fun, Element) -> exit({?MODULE, Fun(Element)}).
