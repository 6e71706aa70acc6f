%% Every block of commands in the README, SECURITY.md, CONTRIBUTING.md and the guide, run on the rig's two Docker hosts, in the order in which
%% a reader comes to it. What is put in its place is only what differs from one reader to the next: addresses, and a folder.
%%
%% The first line of a block says where it is run:
%%   `# In the checkout:'    on this machine                  `# On 192.168.4.231:', `# On 192.168.4.232:', `# On both hosts:'
%%   `# In the checkout, on both hosts:' is both              `# Not run by the test: WHY' is skipped, and counted so
%% A page has a terminal on each host: variables last from block to block. `NAME=…' means what the variable is on the other host. A
%% block of text right after one of commands is what these print; until they do, they are run again. IDs and numbers of four and more digits in it
%% stand for any, and `…' for anything.
-module(eid_docs_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([is_run/1]).

-define(FIRST, "192.168.4.231").
-define(SECOND, "192.168.4.232").
-define(OUR_IMAGES, ["eid-example", "erlang:27-slim", "redis:7"]).
%% Milliseconds until what is to be printed is.
-define(PATIENCE, 40_000).

suite() -> [{timetrap, {minutes, 4}}].

all() -> [{group, group(Page)} || Page <- pages()].

%% A group for each page, and in it one for each block, which has its line for a name.
groups() ->
    lists:append([[{group(Page), [], [{group, group(Page, Block)} || Block <- blocks(Page)]}
                   | [{group(Page, Block), [], [is_run]} || Block <- blocks(Page)]] || Page <- pages()]).

pages() -> [Page || Page <- eid_markdown:pages(), not is_run_elsewhere(Page), blocks(Page) =/= []].

%% A suite of its own has nodes around that page's commands.
is_run_elsewhere("doc/guide/migration.md") -> true = filelib:is_file(filename:join(eid_ct:root(), "test/eid_migration_SUITE.erl"));
is_run_elsewhere(_) -> false.

group(Page) -> list_to_atom(Page).
group(Page, #{line := Line}) -> list_to_atom(Page ++ ":" ++ integer_to_list(Line)).

%% The blocks of commands, each with what it prints, if that is said.
blocks(Page) -> with_output(eid_markdown:blocks(eid_markdown:read(Page))).

with_output([#{language := "sh"} = Block, #{language := "text", follows := true, text := Output} | Rest]) ->
    [Block#{output => Output} | with_output(Rest)];
with_output([#{language := "sh"} = Block | Rest]) -> [Block | with_output(Rest)];
with_output([#{language := Language} | Rest]) ->
    false = lists:member(Language, ["console", "bash", "shell", ""]),    % commands that nobody runs
    with_output(Rest);
with_output([]) -> [].

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            try make_images(Config)
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end,
            Config;
        {skip, _} = Skip -> Skip
    end.

%% What a reader pulls: an Erlang, and a Redis, which is the machine's own with all that it is linked to.
make_images(Config) ->
    Release = case lists:member("27", eid_rig:releases()) of
                  true -> "27";
                  false -> lists:last(eid_rig:releases())
              end,
    [eid_rig:docker(Host, ["tag eid-otp:", Release, " erlang:27-slim"]) || Host <- [1, 2]],
    _ = [begin
             Folder = redis_folder(filename:join(?config(priv_dir, Config), "redis")),
             [eid_rig:docker(Host, ["build --quiet --tag redis:7 '", Folder, "'"]) || Host <- [1, 2]]
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
                         ["FROM erlang:27-slim\nCOPY . /redis\nRUN chmod +x /redis/run", [[" && ln -s /redis/run /usr/local/bin/", P] || P <- Programs],
                          "\nEXPOSE 6379\n"]),
    Folder.

end_per_suite(_Config) ->
    [docker(Host, ["image rm --force ", Image]) || Host <- [1, 2], Image <- ?OUR_IMAGES],
    eid_rig:down().

init_per_group(Group, Config) ->
    case [{Page, Block} || Page <- pages(), Block <- blocks(Page), group(Page, Block) =:= Group] of
        [{_Page, Block}] -> [{block, Block} | Config];
        [] when Group =:= 'doc/guide/ambassadors.md' ->
            case has_redis() of
                true -> start_page(Config);
                false -> {skip, "redis-server and redis-cli are not installed"}
            end;
        [] -> start_page(Config)
    end.

%% A folder for what a page's commands write, with a short name because there are sockets in it.
start_page(Config) ->
    Folder = string:trim(os:cmd("mktemp -d /tmp/eid-docs.XXXXXX")),
    [ok = file:make_dir(filename:join(Folder, Name)) || Name <- ["work", "run"]],
    build_image(Folder),
    [{folder, Folder} | Config].

%% Most pages say that the image has to be there, which is made as one of them says.
build_image(Folder) ->
    case docker(2, "image inspect eid-example") of
        {0, _} -> ok;
        _ ->
            [Build] = [Block || #{text := "# In the checkout, on both hosts:" ++ _} = Block <- blocks("doc/guide/first-cluster.md")],
            {0, _} = run(Build, Folder),
            [ok = file:delete(File) || File <- filelib:wildcard(filename:join(Folder, "variables-*"))]
    end.

end_per_group(Group, Config) ->
    case lists:keymember(block, 1, Config) of
        true -> ok;
        false ->
            ?assert(lists:member(Group, [group(Page) || Page <- pages()])),
            end_page(?config(folder, Config))
    end.

%% Whatever a page has left, which is nothing unless one of its blocks has failed: containers, and programs in its folder.
end_page(Folder) ->
    Left = [{Host, string:lexemes(Ids, "\r\n")} || Host <- [1, 2], {0, [_ | _] = Ids} <- [docker(Host, "ps --all --quiet")]],
    [eid_rig:remove(Host, Ids) || {Host, Ids} <- Left],
    os:cmd("for pid in $(cat '" ++ Folder ++ "'/pids); do case $(readlink /proc/$pid/cwd) in '" ++ Folder ++ "'/*) kill $pid; esac; done; "
           "rm -rf '" ++ Folder ++ "'"),
    ok.

docker(Host, Arguments) -> eid_rig:command(["docker ", integer_to_list(Host), " ", Arguments]).

is_run(Config) ->
    Block = ?config(block, Config),
    Folder = ?config(folder, Config),
    Failed = filename:join(Folder, "failed"),
    case {Block, filelib:is_file(Failed)} of
        {#{text := "# Not run by the test: " ++ Rest}, _} ->
            [Why | _] = string:split(Rest, "\n"),
            {skip, Why};
        {_, true} -> {skip, "a block before it on its page has failed"};
        {#{text := Text}, false} ->
            ct:log("~ts", [Text]),
            ok = file:write_file(Failed, ""),
            {0, Output} = as_printed(Block, Folder, erlang:monotonic_time(millisecond) + ?PATIENCE),
            ct:log("~ts", [Output]),
            ok = file:delete(Failed)
    end.

as_printed(#{output := Shown} = Block, Folder, Deadline) ->
    {Status, Output} = run(Block, Folder),
    case {missing(Shown, Output), Status, erlang:monotonic_time(millisecond) > Deadline} of
        {[], 0, _} -> {0, Output};
        {Missing, _, true} -> error({not_printed, Missing, Status, Output});
        _ -> timer:sleep(200), as_printed(Block, Folder, Deadline)
    end;
as_printed(Block, Folder, _Deadline) ->
    case run(Block, Folder) of
        {0, _} = Done -> Done;
        {Status, Output} -> error({status, Status, Output})
    end.

%% The lines shown that are not there, in their order, among those that are.
missing(Shown, Output) ->
    missing_lines(string:lexemes(here(Shown), "\n"), string:lexemes(Output, "\r\n")).

missing_lines([], _) -> [];
missing_lines(Missing, []) -> Missing;
missing_lines([Shown | Rest] = All, [Line | Lines]) ->
    case re:run(Line, pattern(Shown), [unicode, {capture, none}]) of
        match -> missing_lines(Rest, Lines);
        nomatch -> missing_lines(All, Lines)
    end.

%% Addresses of hosts are as they are; IDs, ports, times and addresses of containers are not the reader's own.
pattern(Shown) ->
    Escaped = re:replace(Shown, "[][(){}.*+?|^$\\\\]", "\\\\&", [unicode, global, {return, list}]),
    Tokens = re:split(Escaped, "(192\\\\\\.0\\\\\\.2\\\\\\.[12](?![0-9])|\\b[0-9a-f]{12,64}\\b|[0-9]{4,}|\\s*…\\s*|\\s+)",
                      [unicode, {return, list}]),
    ["^\\s*" | [token(Token) || Token <- Tokens]] ++ "\\s*$".

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
here(Text) -> here(Text, "").

here(Text, Folder) ->
    lists:foldl(fun({There, Here}, Changed) -> lists:flatten(string:replace(Changed, There, Here, all)) end, Text,
                [{?FIRST, eid_rig:host_ip(1)}, {?SECOND, eid_rig:host_ip(2)},
                 {"/run/eid-serve", filename:join(Folder, "run")}]).

%% Runs a block wherever it says; the last status that is not 0, and all that was printed.
run(#{text := Text}, Folder) ->
    [Where | _] = string:split(Text, "\n"),
    Places = places(Where),
    lists:foldl(fun(Place, {0, Before}) ->
                        {Status, Output} = run_at(Place, Text, Folder),
                        {Status, Before ++ Output};
                   (_, Failed) -> Failed
                end, {0, ""}, Places).

places("# In the checkout:") -> [{checkout, machine}];
places("# In the checkout, on both hosts:") -> [{checkout, 1}, {checkout, 2}];
places("# On both hosts:") -> [{work, 1}, {work, 2}];
places("# On " ?FIRST ++ _) -> [{work, 1}];
places("# On " ?SECOND ++ _) -> [{work, 2}];
places(Line) -> error({says_not_where_it_is_run, Line}).

run_at({In, Host}, Text, Folder) ->
    At = case Host of machine -> "machine"; _ -> integer_to_list(Host) end,
    Script = filename:join(Folder, "block-" ++ At),
    Output = filename:join(Folder, "output-" ++ At),
    ok = file:write_file(Script, unicode:characters_to_binary(script(In, At, here(filled(Text, Host, Folder), Folder), Folder))),
    Shell = ["sh '", Script, "' > '", Output, "' 2>&1 < /dev/null"],
    Command = case Host of
                  machine -> ["sh -c \"", Shell, "\""];
                  _ -> ["exec ", At, " unshare --mount sh -c \"", as_on_a_host(Host, Folder), Shell, "\""]
              end,
    Status = case Host of
                 machine -> {S, _} = sh(Command), S;
                 _ -> {S, _} = eid_rig:command(Command, 240_000), S
             end,
    {ok, Printed} = file:read_file(Output),
    {Status, unicode:characters_to_list(Printed)}.

sh(Command) ->
    Output = os:cmd(lists:flatten([Command, "; echo status=$?"])),
    {match, [Status]} = re:run(Output, "status=([0-9]+)\\s*$", [{capture, all_but_first, list}]),
    {list_to_integer(Status), Output}.

%% The engine's socket is where it is on a host of its own: in a /run that is this one's, but for that. /sys shows the host's network.
as_on_a_host(Host, Folder) ->
    Run = filename:join(Folder, "machine-run"),
    ["mkdir -p ", Run, " && mount --rbind /run ", Run, " && mount -t tmpfs none /run && ln -s ", Run, "/* /run/ && ",
     "ln -sf ", eid_rig:socket(Host), " /run/docker.sock && mount -t sysfs sysfs /sys && "].

%% The reader's terminal: what has been set stays set.
script(In, At, Text, Folder) ->
    Variables = filename:join(Folder, "variables-" ++ At),
    ["unset REBAR_PROFILE ERL_FLAGS ERL_LIBS DOCKER_HOST\n",
     "PATH='", priv(), "':$PATH\n",
     "test ! -e '", Variables, "' || . '", Variables, "'\n",
     "trap 'status=$?; { set | grep -vE \"^(PPID|status)=\"; export -p; } > \"", Variables, "\"; "
     "jobs -p >> \"", filename:join(Folder, "pids"), "\"; exit $status' EXIT\n",
     "cd '", case In of checkout -> eid_ct:root(); work -> filename:join(Folder, "work") end, "'\n",
     "set -e\n", Text].

priv() -> string:trim(os:cmd("readlink -f '" ++ code:priv_dir(eid) ++ "'")).

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
