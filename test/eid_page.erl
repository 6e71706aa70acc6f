%% Reads the command blocks of pages (README, guide, examples), and runs them on the rig's Docker
%% hosts. It changes only values that differ between readers: exported variables and the hosts'
%% addresses.
-module(eid_page).

-export([blocks/1, blocks/2, lines/1, set/3, on_the_rig/1, sh/3, try_sh/3, build_example/2, remove_example/0]).
-export([containers/2, inspect/3, is_quiet/3, in_terminal/5]).
-export([connected/1, nodes_in/1, mesh/1, await/1, await/2]).

-include_lib("stdlib/include/assert.hrl").

-export_type([container/0]).

-type container() :: {Host :: 1 | 2, Id :: string(), node()}.

-define(EXAMPLE, "eid-example").

%% The text of each block in this language in a page of the checkout. The default is `sh', the
%% language of commands.
blocks(File) -> blocks(File, "sh").

blocks(File, Language) -> [Text || #{language := L, text := Text} <- eid_markdown:blocks(eid_markdown:read(File)), L =:= Language].

lines(Block) -> string:lexemes(Block, "\n").

%% Changes the value of a variable that the commands export.
set(Name, Value, Commands) ->
    Set = re:replace(Commands, "^export " ++ Name ++ "=.*", "export " ++ Name ++ "='" ++ Value ++ "'",
                     [multiline, unicode, {return, list}]),
    true = Set =/= Commands,
    Set.

%% Replaces the page's host addresses by the rig's addresses.
on_the_rig(Text) ->
    lists:foldl(fun({Address, Host}, Now) -> lists:append(string:replace(Now, Address, eid_rig:host_ip(Host), all)) end,
                Text, [{"192.168.4.231", 1}, {"192.168.4.232", 2}]).

%% Runs commands whose docker client talks to this host's engine, in a directory of the checkout or
%% in another one.
sh(Host, Folder, Commands) ->
    case try_sh(Host, Folder, Commands) of
        {0, Output} -> Output;
        {Status, Output} -> error({status, Status, lists:flatten(Commands), Output})
    end.

try_sh(Host, Folder, Commands) ->
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-euc", unicode:characters_to_list(Commands)]}, {env, environment(Host)},
                      {cd, filename:join(eid_ct:root(), Folder)}, exit_status, stderr_to_stdout]),
    collect(Port, []).

%% The commands must not inherit the settings of rebar3 or of this VM.
environment(Host) ->
    [{Name, false} || Name <- ["REBAR_PROFILE", "REBAR_BASE_DIR", "ERL_FLAGS", "ERL_LIBS", "COOKIE", "EID_IMAGE"]]
        ++ [{"DOCKER_HOST", "unix://" ++ eid_rig:socket(Host)}].

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, string:trim(lists:flatten(Output))}
    after 240_000 -> error({hangs, lists:flatten(Output)})
    end.

%% Builds the examples' image as examples/README.md describes, on an OTP release that the rig has.
build_example(Host, Release) ->
    [_FromSource, FromDist] = blocks("examples/README.md"),
    sh(Host, "", set("BASE", "eid-otp:" ++ Release, FromDist)).

%% The hosts keep their images between runs, so the tests remove the image that they built.
remove_example() ->
    [try_sh(Host, "", "docker image rm --force " ?EXAMPLE) || Host <- [1, 2]],
    ok.

containers(Host, Label) ->
    string:lexemes(sh(Host, "", ["docker ps --quiet --no-trunc --filter label=", Label]), "\n").

inspect(Host, Id, Format) -> sh(Host, "", ["docker inspect --format '", Format, "' ", Id]).

%% The container runs a node and no epmd. Every user of the host can read the processes' arguments,
%% so the arguments must not contain the cookie.
is_quiet(Host, Id, Cookie) ->
    Programs = sh(Host, "", ["docker top ", Id, " -eo pid,comm"]),
    ?assertMatch({_, nomatch}, {Programs, string:find(Programs, "epmd")}),
    ?assertNotMatch({_, nomatch}, {Programs, string:find(Programs, "beam.smp")}),
    Arguments = sh(Host, "", ["docker top ", Id, " -eo pid,args"]),
    ?assertMatch({_, nomatch}, {Arguments, string:find(Arguments, Cookie)}).

%% Runs an interactive command in a terminal. Types a line once the command prints `Prompt', and
%% waits for a pattern. The line must not match the pattern, because a terminal echoes typed text.
in_terminal(Host, Command, Prompt, Line, Pattern) ->
    Terminal = open_port({spawn_executable, os:find_executable("script")},
                         [{args, ["-qfec", unicode:characters_to_list(Command), "/dev/null"]}, exit_status, stderr_to_stdout,
                          {env, environment(Host) ++ [{"TERM", "xterm"}]}]),
    seen(Terminal, Prompt, []),
    port_command(Terminal, [Line, $\n]),
    seen(Terminal, Pattern, []),
    %% Ctrl-G and `q' leave any Erlang shell. If the terminal only closed, the remote end would keep
    %% running.
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

%% The nodes to which this container's node is connected. erl_call prints the list last.
connected({Host, Id, _Node}) ->
    Output = sh(Host, "", ["docker exec ", Id, " erl_call -address 127.0.0.1:12345 -a 'erlang nodes []'"]),
    nodes_in(Output).

nodes_in(Output) ->
    {ok, Tokens, _} = erl_scan:string(lists:last(string:lexemes(Output, "\n")) ++ "."),
    {ok, Nodes} = erl_parse:parse_term(Tokens),
    lists:sort(Nodes).

%% Each of these nodes is connected to all others and to no further node.
-spec mesh([container()]) -> ok.
mesh(Containers) ->
    All = lists:sort([Node || {_, _, Node} <- Containers]),
    Seen = [{Node, connected(Container)} || {_, _, Node} = Container <- Containers],
    case [{Node, All -- [Node]} || {_, _, Node} <- Containers] of
        Seen -> ok;
        Expected -> error({no_mesh, Expected, Seen})
    end.

%% Waits until a function returns, and returns its result. After the time limit, fails with the
%% function's last error.
await(Fun) -> await(Fun, 60_000).

await(Fun, Milliseconds) -> await_until(Fun, erlang:monotonic_time(millisecond) + Milliseconds).

await_until(Fun, Deadline) ->
    try Fun()
    catch Class:Reason:Stack ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(100), await_until(Fun, Deadline);
                false -> erlang:raise(Class, Reason, Stack)
            end
    end.
