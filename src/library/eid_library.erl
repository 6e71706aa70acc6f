%% @doc Calls the functions of the Rust library, whose stubs are in {@link eid_nif}, and loads the
%% library on the first call.
%%
%% `-on_load' would be too late: an embedded release on OTP 25 runs it after `kernel' has started.
%%
%% Erlang modules can be reloaded, but the library can't. A VM keeps the library that it loaded
%% first, with its threads and directories, and each reload of `eid_nif' gets this library again.
-module(eid_library).

-export([call/1, ask/1, priv_dir/0]).

-include_lib("kernel/include/file.hrl").
-include_lib("kernel/include/logger.hrl").

%% Retries: loads per call, and purges of old code per load.
-define(LOADS, 10).
-define(PURGES, 100).

%% @doc Evaluates a function that calls {@link eid_nif}. Loads the library before if necessary.
-spec call(fun(() -> Result)) ->
          Result | {error, {unreachable, {library | changed_library, Detail :: binary()}}}.
call(Fun) -> call(Fun, ?LOADS).

call(Fun, Loads) ->
    try Fun()
    catch
        %% `eid_nif' may be reloaded between a load and the call. After many loads the library
        %% itself lacks the function.
        error:not_loaded when Loads =:= 0 -> unfit("it lacks a function");
        error:not_loaded ->
            case load() of
                ok -> call(Fun, Loads - 1);
                %% `eid_nif' was reloaded meanwhile: load the library for the new code.
                {error, {old_code, _}} -> call(Fun, Loads - 1);
                {error, {_, Text}} -> unfit(Text)
            end
    end.

%% @doc Evaluates a function that gives a reference to a function of {@link eid_nif}, and waits for
%% the answer `{Ref, Result}'.
-spec ask(fun((reference()) -> pending)) -> term().
ask(Fun) ->
    Ref = make_ref(),
    case call(fun() -> Fun(Ref) end) of
        pending -> receive {Ref, Result} -> Result end;
        {error, _} = Error -> Error
    end.

load() ->
    {File, _} = OnDisk = on_disk(),
    {First, _} = Kept = kept(OnDisk),
    case load(First, ?PURGES) of
        ok ->
            persistent_term:put(?MODULE, Kept),
            _ = Kept =:= OnDisk orelse log_change(File),
            ok;
        %% Another process has loaded it meanwhile.
        {error, {reload, _}} -> ok;
        {error, _} = Error -> Error
    end.

%% The library of this VM is found by its name, even if the file was replaced (dlopen(3) of glibc).
load(File, Purges) ->
    case eid_nif:load(File) of
        %% The old code of `eid_nif' still has the library. Calls leave old code in microseconds.
        {error, {upgrade, _}} when Purges > 0 ->
            _ = code:soft_purge(eid_nif) orelse timer:sleep(1),
            load(File, Purges - 1);
        Result -> Result
    end.

%% The library that this VM has loaded.
kept(Default) -> persistent_term:get(?MODULE, Default).

%% The library that a new VM would load: its name, and the file's identity.
on_disk() ->
    File = filename:join(priv_dir(), "eid_nif"),
    {File, case file:read_file_info(File ++ ".so", [raw, {time, posix}]) of
               {ok, #file_info{major_device = Device, inode = Inode, size = Size,
                               mtime = Modified}} ->
                   {Device, Inode, Size, Modified};
               {error, Posix} -> Posix
           end}.

%% A caller on another node, such as a remote shell, also gets the line there.
log_change(File) ->
    Leaders = [group_leader() | [whereis(init) || node(group_leader()) =/= node()]],
    [?LOG_WARNING("Modules of eid were reloaded, but the library ~ts.so is not the one that this "
                  "node has loaded and goes on with. Restart the node to change it.",
                  [File], #{gl => Leader}) || Leader <- Leaders].

unfit(Text) ->
    OnDisk = on_disk(),
    {Subject, Format} =
        case kept(OnDisk) of
            OnDisk -> {library, "eid_nif can't be loaded (~ts)"};
            _ -> {changed_library, "eid_nif was changed, and this VM keeps the library that it has "
                                   "loaded, which does not fit (~ts)"}
        end,
    {error, {unreachable, {Subject, eid_text:show(io_lib:format(Format, [Text]))}}}.

%% @doc The folder `priv' of eid. `code:priv_dir/1' knows an application only if its folder is
%% called `eid' or `eid-Vsn'.
-spec priv_dir() -> file:filename().
priv_dir() ->
    case code:priv_dir(eid) of
        {error, bad_name} ->
            filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.
