%% A reader of the documentation, who does what its blocks of commands say, on the rig's two Docker hosts. What is put in their place is only
%% what differs from one reader to the next: addresses, and a folder.
%%
%% The first line of a block says where it is run:
%%   `# In the checkout:'                      on this machine
%%   `# In the checkout, on 192.168.4.231:'    the same, with that host's Docker and network
%%   `# On 192.168.4.231:', `# On 192.168.4.232:', `# On both hosts:'    there, in a folder of its own
%%   `# Not run by the test: WHY'              skipped, and counted so; make is run dry
%% A reader has a terminal on each host: variables last from block to block. `NAME=…' means what the variable is on the other host. A
%% block of text right after one of commands is what these print; until they do, they are run again. With `in a terminal' it is what is
%% typed after a prompt, and then shown. IDs and numbers of four and more digits in it stand for any, and `…' for anything.
-module(eid_reader).

-export([blocks/1, blocks/2, image/0, command/0, certificates/0, start/1, do/2, stop/1, images/1, has_redis/0, remove_images/0]).
-export([main/0]).    % of test/newcomer

-include_lib("stdlib/include/assert.hrl").

-define(FIRST, "192.168.4.231").
-define(SECOND, "192.168.4.232").
-define(ERLANG, "erlang:27-slim").
-define(DEBIAN, "debian:12-slim").
-define(REDIS, "redis:7").
%% What a reader pulls, and what the pages' commands make.
-define(IMAGES, [?ERLANG, ?DEBIAN, ?REDIS, "eid-example", "shop", "shop-elixir"]).
%% Seconds for one block: in some of them a release is made from nothing.
-define(BLOCK, "400").

-type block() :: #{line := pos_integer(), text := string(), output => string(), _ => _}.
%% Commands, and what they print if that is said.

%% The blocks of commands of a page, or of what stands below one heading of it.
-spec blocks(Page :: file:filename()) -> [block()].
blocks(Page) -> with_output(eid_markdown:blocks(eid_markdown:read(Page))).

-spec blocks(Page :: file:filename(), Heading :: string()) -> [block()].
blocks(Page, Heading) -> with_output(eid_markdown:blocks(eid_markdown:section(Heading, eid_markdown:read(Page)))).

with_output([#{language := "sh"} = Block, #{language := "text", follows := true, text := Output} | Rest]) ->
    [Block#{output => Output} | with_output(Rest)];
with_output([#{language := "sh"} = Block | Rest]) -> [Block | with_output(Rest)];
with_output([#{language := Language, text := Text} | Rest]) ->
    %% Commands that nobody runs.
    false = lists:member(Language, ["console", "bash", "shell", ""]) orelse (Language =:= "text" andalso lists:prefix("$ ", Text)),
    with_output(Rest);
with_output([]) -> [].

%% What the README does that other pages build upon: the image, the command `eid` on each host, the certificates in /etc/eid/certs.
-spec image() -> block().
image() -> block_with("examples/Dockerfile", "In your own image").

-spec command() -> block().
command() -> block_with("> /usr/local/bin/eid", "In your own image").

-spec certificates() -> [block()].
certificates() -> [block_with(Text, "The same with TLS and eid serve") || Text <- ["openssl req -x509", "tar --create"]].

block_with(Text, Heading) ->
    [Block] = [Block || #{text := Commands} = Block <- blocks("README.md", Heading), string:find(Commands, Text) =/= nomatch],
    Block.

%% What a reader pulls: an Erlang, a Debian without one, and a Redis, which is the machine's own with all that it is linked to.
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

%% The hosts keep their images from one time to the next; these are not theirs.
remove_images() ->
    [docker(Host, ["image rm --force ", Image]) || Host <- [1, 2], Image <- ?IMAGES],
    ok.

%% A folder for what the commands write, with a short name because there are sockets in it. The first host gets to the second one by
%% what is called ssh.
-spec start(Folder :: file:filename()) -> ok.
start(Folder) ->
    [ok = filelib:ensure_path(filename:join(Folder, Name)) || Name <- ["work-1", "work-2", "bin-1", "bin-2", "run"]],
    Ssh = filename:join([Folder, "bin-1", "ssh"]),
    ok = file:write_file(Ssh, ["#!/bin/sh\nshift\ncd '", filename:join(Folder, "work-2"), "'\n",
                               "exec '", eid_rig:script(), "' exec 2 env DOCKER_HOST=unix://", eid_rig:socket(2), " sh -c \"$*\"\n"]),
    file:change_mode(Ssh, 8#755).

%% Whatever a reader has left, which is nothing unless a block has failed: containers, and programs in the folder.
-spec stop(Folder :: file:filename()) -> ok.
stop(Folder) ->
    Left = [{Host, string:lexemes(Ids, "\r\n")} || Host <- [1, 2], {0, [_ | _] = Ids} <- [docker(Host, "ps --all --quiet")]],
    [eid_rig:remove(Host, Ids) || {Host, Ids} <- Left],
    os:cmd("for pid in $(cat '" ++ Folder ++ "'/pids); do case $(readlink /proc/$pid/cwd) in '" ++ Folder ++ "'/*) kill $pid; esac; done; "
           "rm -rf '" ++ Folder ++ "'"),
    ok.

docker(Host, Arguments) -> eid_rig:command(["docker ", integer_to_list(Host), " ", Arguments]).

%% Does what a block says; what was printed, or why it is not run.
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

%% That there is at least such a thing to make.
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

%% One line is typed once there is a prompt.
type(Where, #{text := Text, output := Shown}, Folder) ->
    [{work, Host}] = places(Where ++ ":"),
    [Typed | Printed] = string:lexemes(Shown, "\n"),
    {match, [Line]} = re:run(Typed, "^\\S*[0-9]> (.*)$", [unicode, {capture, all_but_first, list}]),
    Script = prepare(work, Host, Text, Folder),
    [eid_page:in_terminal(Host, shell(Host, Script, Folder), "[0-9]> ?", Line, "(?m)" ++ pattern(addresses(Each))) || Each <- Printed],
    {done, Shown}.

%% The lines shown that are not there, in their order, among those that are.
missing(Shown, Output) ->
    missing_lines(string:lexemes(addresses(Shown), "\n"), string:lexemes(Output, "\r\n")).

missing_lines([], _) -> [];
missing_lines(Missing, []) -> Missing;
missing_lines([Shown | Rest] = All, [Line | Lines]) ->
    case re:run(Line, pattern(Shown), [unicode, {capture, none}]) of
        match -> missing_lines(Rest, Lines);
        nomatch -> missing_lines(All, Lines)
    end.

%% Addresses of hosts are as they are; IDs, ports, times and addresses of containers are not the reader's own. Terminals add colours.
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

%% As it is on the rig.
addresses(Text) -> eid_page:on_the_rig(Text).

%% Where it is in the folder: a place for sockets, the command, and the host's certificates.
folders(Text, machine, _Folder) -> Text;
folders(Text, Host, Folder) ->
    replaced([{"/run/eid-serve", filename:join(Folder, "run")},
              {"/usr/local/bin/eid", filename:join([Folder, "bin-" ++ at(Host), "eid"])},
              {"/etc/eid/certs", filename:join([Folder, "work-" ++ at(Host), eid_rig:host_ip(Host)])}], Text).

replaced(Replacements, Text) ->
    lists:foldl(fun({There, Here}, Changed) -> lists:flatten(string:replace(Changed, There, Here, all)) end, Text, Replacements).

%% Runs a block wherever it says; the last status that is not 0, and all that was printed.
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

%% The engine's socket is where it is on a host of its own: in a /run that is this one's, but for that. /sys shows the host's network.
as_on_a_host(Host, Folder) ->
    Run = filename:join(Folder, "machine-run"),
    ["mkdir -p ", Run, " && mount --rbind /run ", Run, " && mount -t tmpfs none /run && ln -s ", Run, "/* /run/ && ",
     "ln -sf ", eid_rig:socket(Host), " /run/docker.sock && mount -t sysfs sysfs /sys && "].

%% The reader's terminal: what has been set stays set.
script(In, At, Text, Folder) ->
    Variables = filename:join(Folder, "variables-" ++ At),
    ["unset REBAR_PROFILE REBAR_BASE_DIR ERL_FLAGS ERL_LIBS DOCKER_HOST MAKEFLAGS MAKELEVEL\n",
     "test ! -e '", Variables, "' || . '", Variables, "'\n",
     "PATH='", filename:join(Folder, "bin-" ++ At), "':$PATH\n",
     "trap 'status=$?; { set | grep -vE \"^(PPID|status)=\"; export -p; } > \"", Variables, "\"; "
     "jobs -p >> \"", filename:join(Folder, "pids"), "\"; exit $status' EXIT\n",
     "cd '", case In of checkout -> eid_ct:root(); work -> filename:join(Folder, "work-" ++ At) end, "'\n",
     "set -e\n", Text].

%% `NAME=…' is what the reader has seen on the other host.
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

%% @doc A newcomer with the README: `FOLDER follow HEADING...' does what stands below these headings, `FOLDER leave' takes down what that has
%% left. The transcript is printed.
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
