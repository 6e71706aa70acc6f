%% Runs the scripts of test/newcomer in order: a newcomer follows the README and knows nothing else.
-module(eid_newcomer_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_group/2, end_per_group/2, init_per_testcase/2]).
-export([has_all_commands/1, demo/1, release/1, cluster/1, secured/1, elixir/1]).

suite() -> [{timetrap, {minutes, 10}}].

%% Each step needs the results of the step before.
all() -> [has_all_commands, {group, steps}].
groups() -> [{steps, [sequence], [demo, release, cluster, secured, elixir]}].

init_per_group(steps, Config) ->
    case eid_rig:available() of
        true -> [{folder, string:trim(os:cmd("mktemp --dry-run /tmp/eid-newcomer.XXXXXX"))} | Config];
        {skip, _} = Skip -> Skip
    end.

end_per_group(steps, Config) ->
    {0, _} = run("follow --leave", Config),
    ok.

init_per_testcase(elixir, Config) ->
    case os:find_executable("mix") of
        false -> {skip, "Elixir is not installed"};
        _ -> Config
    end;
init_per_testcase(_, Config) -> Config.

%% The scripts cover each command of the README.
has_all_commands(_) ->
    Scripts = filelib:wildcard(filename:join(folder(), "[0-9]-*.sh")),
    ?assertEqual(5, length(Scripts)),
    Headings = lists:append([headings(Script) || Script <- Scripts]),
    Commands = fun(Blocks) -> [Text || #{text := Text} <- Blocks] end,
    ?assertEqual(Commands(eid_reader:blocks("README.md")),
                 Commands(lists:append([eid_reader:blocks("README.md", Heading) || Heading <- Headings]))).

%% The headings that a script follows.
headings(Script) ->
    {ok, Text} = file:read_file(Script),
    {match, [Arguments]} = re:run(Text, "^exec .*/follow\" (.*)$", [multiline, {capture, all_but_first, list}]),
    {match, Headings} = re:run(Arguments, "'([^']+)'", [global, {capture, all_but_first, list}]),
    lists:append(Headings).

demo(Config) -> step("1-demo.sh", Config).
release(Config) -> step("2-release.sh", Config).
cluster(Config) -> step("3-cluster.sh", Config).
secured(Config) -> step("4-secured.sh", Config).
elixir(Config) -> step("5-elixir.sh", Config).

step(Script, Config) ->
    {Status, Output} = run(Script, Config),
    ct:log("~ts", [Output]),
    ?assertEqual({0, ""}, {Status, case Status of 0 -> ""; _ -> Output end}).

run(Command, Config) ->
    Port = open_port({spawn, filename:join(folder(), Command)},
                     [{env, [{"EID_NEWCOMER", ?config(folder, Config)}]}, exit_status, stderr_to_stdout]),
    collect(Port, []).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, unicode:characters_to_list(iolist_to_binary(Output))}
    end.

folder() -> filename:join([eid_ct:root(), "test", "newcomer"]).
