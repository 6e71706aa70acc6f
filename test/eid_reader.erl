%% A reader of the documentation: runs the pages' command blocks on the rig's two Docker hosts. It
%% changes only values that differ between readers: addresses and a directory.
%%
%% The first line of a block determines where it runs:
%%   `# In the checkout:'                    on this machine
%%   `# In the checkout, on 192.168.4.231:'  the same, with that host's Docker and network
%%   `# On 192.168.4.231:', `# On 192.168.4.232:', `# On both hosts:'
%%                                           there, in a separate directory
%%   `# Not run by the test: WHY'            skipped and counted; `make' gets a dry run
%% A reader has one terminal on each host, so variables last from block to block. `NAME=…' takes the
%% variable's value from the other host. A text block right after a command block is the expected
%% output. The commands run again until they print it. If the commands run `in a terminal', the text
%% block has a line to type after the prompt, and then the output. In a text block, IDs and numbers
%% of four or more digits match any other, and `…' matches anything.
-module(eid_reader).

-export([blocks/1, blocks/2, image/0, command/0, certificates/0, start/1, do/2, stop/1, images/1, has_redis/0, remove_images/0]).
-export([main/0]).    % for test/newcomer

-include_lib("stdlib/include/assert.hrl").

-define(FIRST, "192.168.4.231").
-define(SECOND, "192.168.4.232").
-define(ERLANG, "erlang:27-slim").
-define(DEBIAN, "debian:12-slim").
-define(REDIS, "redis:7").
%% Images that a reader pulls, and images that the pages' commands build.
-define(IMAGES, [?ERLANG, ?DEBIAN, ?REDIS, "eid-example", "shop", "shop-elixir"]).
%% Seconds for one block. Some blocks build a release from scratch.
-define(BLOCK, "400").

-type block() :: #{line := pos_integer(), text := string(), output => string(), _ => _}.
%% Commands, and their expected output if the page shows it.

%% The command blocks of a page, or of the section below one heading.
-spec blocks(Page :: file:filename()) -> [block()].
blocks(Page) -> with_output(eid_markdown:blocks(eid_markdown:read(Page))).

-spec blocks(Page :: file:filename(), Heading :: string()) -> [block()].
blocks(Page, Heading) -> with_output(eid_markdown:blocks(eid_markdown:section(Heading, eid_markdown:read(Page)))).

with_output([#{language := "sh"} = Block, #{language := "text", follows := true, text := Output} | Rest]) ->
    [Block#{output => Output} | with_output(Rest)];
with_output([#{language := "sh"} = Block | Rest]) -> [Block | with_output(Rest)];
with_output([#{language := Language, text := Text} | Rest]) ->
    %% Fails if a block shows commands that no test runs.
    false = lists:member(Language, ["console", "bash", "shell", ""]) orelse (Language =:= "text" andalso lists:prefix("$ ", Text)),
    with_output(Rest);
with_output([]) -> [].

%% Steps of the README that other pages need: the image, the command `eid` on each host, and the
%% certificates in /etc/eid/certs.
-spec image() -> block().
image() -> block_with("examples/Dockerfile", "In your own image").

-spec command() -> block().
command() -> block_with("> /usr/local/bin/eid", "In your own image").

-spec certificates() -> [block()].
certificates() -> [block_with(Text, "The same with TLS and eid serve") || Text <- ["openssl req -x509", "tar --create"]].

block_with(Text, Heading) ->
    [Block] = [Block || #{text := Commands} = Block <- blocks("README.md", Heading), string:find(Commands, Text) =/= nomatch],
    Block.

%% Builds the images that a reader pulls: one with Erlang, a Debian without Erlang, and a Redis. The
%% Redis image contains this machine's programs and their shared libraries.
images(Folder) ->
    Releases = eid_rig:releases(),
    Erlang = case lists:member("27", Releases) of
                 true -> "27";
                 false -> lists:last(Releases)
             end,
    Debian = filename:join(Folder, "debian"),
    ok = filelib:ensure_path(Debian),
    ok = file:write_file(filename:join(Debian, "Dockerfile"),
                         ["FROM eid-otp:", hd(Releases), "\nRUN rm -rf /usr/lib/erlang && find /usr/bin -xtype l -delete && ! command -v erl\n"]),
    [begin
         eid_rig:docker(Host, ["tag eid-otp:", Erlang, " " ?ERLANG]),
         eid_rig:docker(Host, ["build --quiet --tag " ?DEBIAN " '", Debian, "'"])
     end || Host <- [1, 2]],
    _ = [begin
             Redis = redis_folder(filename:join(Folder, "redis")),
             [eid_rig:docker(Host, ["build --quiet --tag " ?REDIS " '", Redis, "'"]) || Host <- [1, 2]]
         end || has_redis()],
    ok.

has_redis() -> lists:all(fun(Program) -> os:find_executable(Program) =/= false end, ["redis-server", "redis-cli"]).

redis_folder(Folder) ->
    Programs = ["redis-server", "redis-cli"],
    Script = ["mkdir -p '", Folder, "' && cd '", Folder, "'", [[" && cp -L \"$(command -v ", P, ")\" ", P] || P <- Programs],
              " && cp -L $(ldd ", lists:join(" ", Programs), " | grep -o '/[^ ]*' | sort -u) . && mv ld-linux* loader && echo made"],
    ?assertEqual("made", string:trim(os:cmd(lists:flatten(Script)))),
    Run = ["#!/bin/sh\nexec /redis/loader --library-path /redis \"/redis/${0##*/}\" \"$@\"\n"],
    ok = file:write_file(filename:join(Folder, "run"), Run),
    ok = file:write_file(filename:join(Folder, "Dockerfile"),
                         ["FROM " ?ERLANG "\nCOPY . /redis\nRUN chmod +x /redis/run", [[" && ln -s /redis/run /usr/local/bin/", P] || P <- Programs],
                          "\nEXPOSE 6379\n"]),
    Folder.

%% The hosts keep their images between runs, so the tests remove the images that they built.
remove_images() ->
    [docker(Host, ["image rm --force ", Image]) || Host <- [1, 2], Image <- ?IMAGES],
    ok.

%% Makes a directory for the commands' files. Its name is short because it holds sockets. The first
%% host reaches the second host with a script named `ssh'.
-spec start(Folder :: file:filename()) -> ok.
start(Folder) ->
    [ok = filelib:ensure_path(filename:join(Folder, Name)) || Name <- ["work-1", "work-2", "bin-1", "bin-2", "run"]],
    Ssh = filename:join([Folder, "bin-1", "ssh"]),
    ok = file:write_file(Ssh, ["#!/bin/sh\nshift\ncd '", filename:join(Folder, "work-2"), "'\n",
                               "exec '", eid_rig:script(), "' exec 2 env DOCKER_HOST=unix://", eid_rig:socket(2), " sh -c \"$*\"\n"]),
    file:change_mode(Ssh, 8#755).

%% Removes leftovers of a reader: containers and programs, which only a failed block leaves, and the
%% directory.
-spec stop(Folder :: file:filename()) -> ok.
stop(Folder) ->
    Left = [{Host, string:lexemes(Ids, "\r\n")} || Host <- [1, 2], {0, [_ | _] = Ids} <- [docker(Host, "ps --all --quiet")]],
    [eid_rig:remove(Host, Ids) || {Host, Ids} <- Left],
    os:cmd("for pid in $(cat '" ++ Folder ++ "'/pids); do case $(readlink /proc/$pid/cwd) in '" ++ Folder ++ "'/*) kill $pid; esac; done; "
           "rm -rf '" ++ Folder ++ "'"),
    ok.

docker(Host, Arguments) -> eid_rig:command(["docker ", integer_to_list(Host), " ", Arguments]).

%% Runs a block. Returns its output, or the reason to skip it.
-spec do(block(), Folder :: file:filename()) -> {done, string()} | {skip, string()}.
do(#{text := "# Not run by the test: " ++ Rest}, _Folder) ->
    [Why | Commands] = string:lexemes(Rest, "\n"),
    [?assertEqual({Command, 0}, {Command, dry_run(Command)}) || Command <- Commands, re:run(Command, "^([A-Z]+=\\S+ )*make ", [{capture, none}]) =:= match],
    {skip, Why};
do(#{text := Text} = Block, Folder) ->
    [Where | _] = string:split(Text, "\n"),
    case string:split(Where, ", in a terminal:") of
        [Before, ""] -> type(Before, Block, Folder);
        [_] -> {done, as_printed(Block, Folder)}
    end.

%% Checks with a dry run that make has this target.
dry_run(Make) ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", "exec > /dev/null; " ++ Make]}, {env, [{"MAKEFLAGS", "n"}]},
                                                     {cd, eid_ct:root()}, exit_status]),
    receive {Port, {exit_status, Status}} -> Status end.

as_printed(#{output := Shown} = Block, Folder) ->
    Run = fun() ->
                  {Status, Output} = run(Block, Folder),
                  ?assertEqual({0, [], Output}, {Status, missing(Shown, Output), Output}),
                  Output
          end,
    eid_page:await(Run);
as_printed(Block, Folder) ->
    case run(Block, Folder) of
        {0, Output} -> Output;
        {Status, Output} -> error({status, Status, Output})
    end.

%% Types the line at the prompt, once for each expected line of output.
type(Where, #{text := Text, output := Shown}, Folder) ->
    [{work, Host}] = places(Where ++ ":"),
    [Typed | Printed] = string:lexemes(Shown, "\n"),
    {match, [Line]} = re:run(Typed, "^\\S*[0-9]> (.*)$", [unicode, {capture, all_but_first, list}]),
    Script = prepare(work, Host, Text, Folder),
    [eid_page:in_terminal(Host, shell(Host, Script, Folder), "[0-9]> ?", Line, "(?m)" ++ pattern(addresses(Each))) || Each <- Printed],
    {done, Shown}.

%% The shown lines that the output lacks. The output must contain the lines in the same order.
missing(Shown, Output) ->
    missing_lines(string:lexemes(addresses(Shown), "\n"), string:lexemes(Output, "\r\n")).

missing_lines([], _) -> [];
missing_lines(Missing, []) -> Missing;
missing_lines([Shown | Rest] = All, [Line | Lines]) ->
    case re:run(Line, pattern(Shown), [unicode, {capture, none}]) of
        match -> missing_lines(Rest, Lines);
        nomatch -> missing_lines(All, Lines)
    end.

%% A pattern for a shown line. Addresses of hosts must match exactly. IDs, ports, times and
%% addresses of containers may differ. Terminals may add colours.
pattern(Shown) ->
    Escaped = re:replace(Shown, "[][(){}.*+?|^$\\\\]", "\\\\&", [unicode, global, {return, list}]),
    Tokens = re:split(Escaped, "(192\\\\\\.0\\\\\\.2\\\\\\.[12](?![0-9])|\\b[0-9a-f]{12,64}\\b|[0-9]{4,}|\\s*…\\s*|\\s+)",
                      [unicode, {return, list}]),
    Around = "(\\s|\\e\\[[0-9;]*[A-Za-z])*",
    ["^", Around, [token(Token) || Token <- Tokens], Around, "$"].

token("192\\.0" ++ _ = Ip) -> Ip;
token([_ | _] = Token) ->
    case re:run(Token, "^[0-9a-f]{12,64}$", [unicode, {capture, none}]) of
        match -> "[0-9a-f]{12,64}";
        nomatch ->
            case {is_large(Token), string:trim(Token)} of
                {true, _} -> "[0-9]+";
                {_, ""} -> "\\s+";
                {_, "…"} -> ".*";
                _ -> Token
            end
    end;
token("") -> "".

is_large(Token) -> re:run(Token, "^[0-9]{4,}$", [unicode, {capture, none}]) =:= match.

%% The text with the rig's addresses.
addresses(Text) -> eid_page:on_the_rig(Text).

%% Replaces paths by paths in the reader's directory: the sockets' directory, the command, and the
%% host's certificates.
folders(Text, machine, _Folder) -> Text;
folders(Text, Host, Folder) ->
    replaced([{"/run/eid-serve", filename:join(Folder, "run")},
              {"/usr/local/bin/eid", filename:join([Folder, "bin-" ++ at(Host), "eid"])},
              {"/etc/eid/certs", filename:join([Folder, "work-" ++ at(Host), eid_rig:host_ip(Host)])}], Text).

replaced(Replacements, Text) ->
    lists:foldl(fun({There, Here}, Changed) -> lists:flatten(string:replace(Changed, There, Here, all)) end, Text, Replacements).

%% Runs a block on each host that it names, until a run fails. Returns the last exit status and all
%% output.
run(#{text := Text}, Folder) ->
    [Where | _] = string:split(Text, "\n"),
    lists:foldl(fun(Place, {0, Before}) ->
                        {Status, Output} = run_at(Place, Text, Folder),
                        {Status, Before ++ Output};
                   (_, Failed) -> Failed
                end, {0, ""}, places(Where)).

places("# In the checkout:") -> [{checkout, machine}];
places("# In the checkout, on " ?FIRST ":") -> [{checkout, 1}];
places("# On both hosts:") -> [{work, 1}, {work, 2}];
places("# On " ?FIRST ++ _) -> [{work, 1}];
places("# On " ?SECOND ++ _) -> [{work, 2}];
places(Line) -> error({says_not_where_it_is_run, Line}).

run_at({In, Host}, Text, Folder) ->
    Script = prepare(In, Host, Text, Folder),
    Output = filename:join(Folder, "output-" ++ at(Host)),
    Port = open_port({spawn, lists:flatten(shell(Host, [Script, " > ", Output, " 2>&1 < /dev/null"], Folder))}, [exit_status]),
    Status = receive {Port, {exit_status, S}} -> S end,
    {ok, Printed} = file:read_file(Output),
    {Status, unicode:characters_to_list(Printed)}.

at(machine) -> "machine";
at(Host) -> integer_to_list(Host).

prepare(In, Host, Text, Folder) ->
    Script = filename:join(Folder, "block-" ++ at(Host)),
    ok = file:write_file(Script, unicode:characters_to_binary(script(In, at(Host), folders(addresses(filled(Text, Host, Folder)), Host, Folder), Folder))),
    Script.

shell(machine, Script, _Folder) -> ["sh -c \"timeout --foreground " ?BLOCK " sh ", Script, "\""];
shell(Host, Script, Folder) ->
    [eid_rig:script(), " exec ", at(Host), " unshare --mount sh -c \"", as_on_a_host(Host, Folder), "timeout --foreground " ?BLOCK " sh ", Script, "\""].

%% Mounts directories so that a block runs as on a separate host. The engine's socket is in /run,
%% beside links to the rest of this machine's /run. A new /sys shows the host's network.
as_on_a_host(Host, Folder) ->
    Run = filename:join(Folder, "machine-run"),
    ["mkdir -p ", Run, " && mount --rbind /run ", Run, " && mount -t tmpfs none /run && ln -s ", Run, "/* /run/ && ",
     "ln -sf ", eid_rig:socket(Host), " /run/docker.sock && mount -t sysfs sysfs /sys && "].

%% Restores the variables of the reader's terminal, and saves them at the end.
script(In, At, Text, Folder) ->
    Variables = filename:join(Folder, "variables-" ++ At),
    ["unset REBAR_PROFILE REBAR_BASE_DIR ERL_FLAGS ERL_LIBS DOCKER_HOST MAKEFLAGS MAKELEVEL\n",
     "test ! -e '", Variables, "' || . '", Variables, "'\n",
     "PATH='", filename:join(Folder, "bin-" ++ At), "':$PATH\n",
     "trap 'status=$?; { set | grep -vE \"^(PPID|status)=\"; export -p; } > \"", Variables, "\"; "
     "jobs -p >> \"", filename:join(Folder, "pids"), "\"; exit $status' EXIT\n",
     "cd '", case In of checkout -> eid_ct:root(); work -> filename:join(Folder, "work-" ++ At) end, "'\n",
     "set -e\n", Text].

%% Replaces `NAME=…' by the value that the reader saw on the other host.
filled(Text, Host, Folder) when Host =:= 1; Host =:= 2 ->
    case re:run(Text, "^(?:export )?([A-Za-z_]+)=…$", [unicode, multiline, {capture, all_but_first, list}]) of
        {match, [Name]} ->
            Other = filename:join(Folder, "variables-" ++ integer_to_list(3 - Host)),
            Value = os:cmd("sh -c '. \"" ++ Other ++ "\"; printf %s \"$" ++ Name ++ "\"'"),
            true = Value =/= "",
            filled(lists:flatten(string:replace(Text, Name ++ "=…", Name ++ "='" ++ Value ++ "'")), Host, Folder);
        nomatch -> Text
    end;
filled(Text, machine, _Folder) -> Text.

%% @doc The command line of the newcomer's scripts. `DIRECTORY follow HEADING...' runs the README's
%% blocks below these headings and prints a transcript. `DIRECTORY leave' removes the leftovers.
main() ->
    ok = io:setopts([{encoding, unicode}]),
    [Folder, What | Headings] = init:get_plain_arguments(),
    try newcomer(What, Folder, Headings) of
        ok -> halt(0)
    catch error:Reason ->
            io:format("~nfailed: ~tp~n", [Reason]),
            halt(1)
    end.

newcomer("follow", Folder, Headings) ->
    ok = eid_rig:up(),
    ok = start(Folder),
    ok = images(Folder),
    _ = [begin
             io:format("~n== ~ts~n", [Heading]),
             [transcript(Block, Folder) || Block <- blocks("README.md", Heading)]
         end || Heading <- Headings],
    ok;
newcomer("leave", Folder, []) ->
    ok = eid_rig:up(),
    ok = stop(Folder),
    ok = remove_images(),
    eid_rig:down().

transcript(#{text := Text} = Block, Folder) ->
    io:format("~n~ts", [Text]),
    case do(Block, Folder) of
        {done, Output} -> io:format("~n~ts~n", [Output]);
        {skip, _Why} -> ok
    end.
