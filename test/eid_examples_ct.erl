%% What the suites of examples share: the commands of READMEs, run where the docker client means one of the rig's hosts. What is put in
%% their place is only what differs from one reader to the next: the values that a block exports, and the hosts' addresses.
-module(eid_examples_ct).

-include_lib("stdlib/include/assert.hrl").

-export([blocks/1, set/3, on_the_rig/1, sh/3, try_sh/3, await/1, containers/2, inspect/3, is_quiet/3, nodes_in/1, in_terminal/5]).

%% The lines of the blocks of commands in an example's README.
blocks(Example) ->
    {ok, Readme} = file:read_file(filename:join([eid_ct:root(), "examples", Example, "README.md"])),
    {match, Blocks} = re:run(Readme, "```sh\n(.*?)```", [global, dotall, unicode, {capture, all_but_first, list}]),
    [string:lexemes(Block, "\n") || [Block] <- Blocks].

%% The commands with another value for a variable that they export.
set(Name, Value, [Char | _] = Line) when is_integer(Char) ->
    re:replace(Line, "^export " ++ Name ++ "=.*", "export " ++ Name ++ "='" ++ Value ++ "'", [unicode, {return, list}]);
set(Name, Value, Lines) ->
    Set = [set(Name, Value, lists:flatten(Line)) || Line <- Lines],
    true = Set =/= Lines,
    lists:join("\n", Set).

on_the_rig(Lines) ->
    [string:replace(string:replace(Line, "192.168.4.231", eid_rig:host_ip(1), all), "192.168.4.232", eid_rig:host_ip(2), all)
     || Line <- Lines].

containers(Host, Label) ->
    string:lexemes(sh(Host, "", ["docker ps --quiet --no-trunc --filter label=", Label]), "\n").

inspect(Host, Id, Format) -> sh(Host, "", ["docker inspect --format '", Format, "' ", Id]).

%% There is a node and no epmd, and the processes' arguments, which everybody on the host can read, do not tell the cookie.
is_quiet(Host, Id, Cookie) ->
    Programs = sh(Host, "", ["docker top ", Id, " -eo pid,comm"]),
    ?assertMatch({_, nomatch}, {Programs, string:find(Programs, "epmd")}),
    ?assertNotMatch({_, nomatch}, {Programs, string:find(Programs, "beam.smp")}),
    Arguments = sh(Host, "", ["docker top ", Id, " -eo pid,args"]),
    ?assertMatch({_, nomatch}, {Arguments, string:find(Arguments, Cookie)}).

%% The list that erl_call has printed, last of all.
nodes_in(Output) ->
    {ok, Tokens, _} = erl_scan:string(lists:last(string:lexemes(Output, "\n")) ++ "."),
    {ok, Nodes} = erl_parse:parse_term(Tokens),
    lists:sort(Nodes).

%% Until it answers ok; then why it did not.
await(Fun) -> await(Fun, erlang:monotonic_time(millisecond) + 30_000).

await(Fun, Deadline) ->
    try ok = Fun()
    catch Class:Reason:Stack ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(100), await(Fun, Deadline);
                false -> erlang:raise(Class, Reason, Stack)
            end
    end.

%% Runs a command that wants a terminal in one, types a line once it shows `Prompt', and waits for a pattern, which the line itself must
%% not match: a terminal shows what is typed.
in_terminal(Host, Command, Prompt, Line, Pattern) ->
    Terminal = open_port({spawn_executable, os:find_executable("script")},
                         [{args, ["-qfec", unicode:characters_to_list(Command), "/dev/null"]}, exit_status, stderr_to_stdout,
                          {env, environment(Host) ++ [{"TERM", "xterm"}]}]),
    seen(Terminal, Prompt, []),
    port_command(Terminal, [Line, $\n]),
    seen(Terminal, Pattern, []),
    %% Erlang's own way out of any shell: who only hangs up leaves the other end running.
    port_command(Terminal, [$\^G]),
    seen(Terminal, "-->", []),
    port_command(Terminal, "q\n"),
    receive {Terminal, {exit_status, _}} -> ok
    after 30_000 -> error(shell_does_not_end)
    end.

seen(Terminal, Pattern, Output) ->
    case re:run(lists:flatten(Output), Pattern, [{capture, none}]) of
        match -> ok;
        nomatch ->
            receive
                {Terminal, {data, Data}} -> seen(Terminal, Pattern, [Output, Data]);
                {Terminal, {exit_status, Status}} -> error({ended, Status, lists:flatten(Output)})
            after 30_000 -> error({not_seen, Pattern, lists:flatten(Output)})
            end
    end.

%% Runs commands where the docker client means this host, in an example's folder.
sh(Host, Example, Commands) ->
    case try_sh(Host, Example, Commands) of
        {0, Output} -> Output;
        {Status, Output} -> error({status, Status, lists:flatten(Commands), Output})
    end.

try_sh(Host, Example, Commands) ->
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-euc", unicode:characters_to_list(Commands)]}, {env, environment(Host)},
                      {cd, filename:join([eid_ct:root(), "examples", Example])}, exit_status, stderr_to_stdout]),
    collect(Port, []).

%% Settings of rebar3 and of this VM are not for those that are started here.
environment(Host) ->
    [{Name, false} || Name <- ["REBAR_PROFILE", "ERL_FLAGS", "ERL_LIBS", "COOKIE", "EID_IMAGE"]]
        ++ [{"DOCKER_HOST", "unix://" ++ eid_rig:socket(Host)}].

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, string:trim(lists:flatten(Output))}
    after 300_000 -> error({hangs, lists:flatten(Output)})
    end.
