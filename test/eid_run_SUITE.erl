%% Tests test/run.sh: its counts, its cleanup after earlier runs, and its check for sleeps.
-module(eid_run_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([wrong_part/1, ends_what_a_killed_run_left/1, leaves_a_run_that_goes_on/1, compiles_again_after_a_failure/1,
         counts_of_common_test/1, counts_of_cargo/1, cargo_that_does_not_compile/1, finds_sleeps/1,
         stale_exception/1]).

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [wrong_part, ends_what_a_killed_run_left, leaves_a_run_that_goes_on, compiles_again_after_a_failure,
     counts_of_common_test, counts_of_cargo, cargo_that_does_not_compile, finds_sleeps, stale_exception].

%% Runs lines of bash in the checkout. Returns the exit status and the output.
bash(Lines) -> bash(Lines, []).

bash(Lines, Environment) ->
    Port = open_port({spawn_executable, os:find_executable("bash")},
                     [{args, ["-c", lists:flatten(lists:join($\n, Lines))]}, {cd, eid_ct:root()},
                      {env, Environment}, exit_status, stderr_to_stdout, binary]),
    collect(Port, <<>>).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, <<Output/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, binary_to_list(Output)}
    end.

wrong_part(_) ->
    {2, "usage: run.sh static|unit|rig|docs|all|soak\n" ++ _} = bash(["test/run.sh nonsense"]).

%% A child process of a run outlives the run's main process. The child has a separate session, as
%% after SIGKILL.
ends_what_a_killed_run_left(_) ->
    {0, Output} = bash(["source test/lib/leftovers.sh",
                        "sh -c : & run=$!; wait",
                        "EID_TEST_RUN=$run setsid tail -f /dev/null & left=$!",
                        "until [ \"$(run_of $left)\" = $run ]; do :; done",
                        "end_processes has_ended",
                        "wait $left; echo $?"]),
    ?assertEqual("137", lists:last(string:lexemes(Output, "\n"))).

leaves_a_run_that_goes_on(_) ->
    {0, "still there\n"} = bash(["source test/lib/leftovers.sh",
                                 "EID_TEST_RUN=$$ exec bash -c '",
                                 "source test/lib/leftovers.sh",
                                 "tail -f /dev/null & child=$!",
                                 "is_running $$ && end_processes has_ended",
                                 "kill -0 $child && echo still there",
                                 "kill $child'"]).

%% A beam file that a full disk has truncated is newer than its source.
compiles_again_after_a_failure(Config) ->
    Root = ?config(priv_dir, Config),
    {0, Output} = bash(["source test/lib/leftovers.sh", "cd '" ++ Root ++ "'",
                        "mkdir -p _build/default/lib/eid/ebin _build/test/lib/eid/test",
                        ": > _build/default/lib/eid/ebin/eid.beam",
                        "HOME=$PWD; rebar3() { echo rebar3 $*; }",
                        "clear_build && find _build -name '*.beam'"]),
    ?assertEqual(["run.sh: the run before did not pass, so its Erlang code is compiled again", "rebar3 compile"],
                 string:lexemes(Output, "\n")).

counts_of_common_test(Config) ->
    Report = filename:join(?config(priv_dir, Config), "report.xml"),
    Case = fun(Name, Inside) -> ["<testcase name=\"", Name, "\">", Inside, "</testcase>"] end,
    Skipped = fun(Why) -> ["<skipped type=\"skip\">", Why, "</skipped>"] end,
    ok = file:write_file(Report, ["<testsuites><testsuite name=\"a_SUITE\">",
                                  Case("init_per_suite", ""), Case("good", ""),
                                  Case("bad", "<failure>why</failure>"),
                                  Case("left_out", Skipped("{tc_user_skip,\"no Docker\"}")),
                                  Case("lost", Skipped("{tc_auto_skip,{failed,x}}")),
                                  Case("end_per_suite", Skipped("{tc_auto_skip,{failed,x}}")),
                                  "</testsuite></testsuites>"]),
    Files = [filename:join(?config(priv_dir, Config), Name) || Name <- ["failed", "skipped"]],
    {0, "1 2 1\n"} = bash([["escript test/lib/junit.escript unit ", lists:join($\s, [Report | Files])]]),
    ?assertEqual([{ok, <<"unit: a_SUITE:bad\nunit: a_SUITE:lost (did not run)\n">>},
                  {ok, <<"unit: a_SUITE:left_out: \"no Docker\"\n">>}],
                 [file:read_file(File) || File <- Files]).

counts_of_cargo(Config) ->
    {1, Output} = results(Config, ["cargo() { [[ $* != *--no-run* ]] || return 0",
                                   "echo 'test a::b ... FAILED'",
                                   "echo 'test c ... ignored, no Podman'",
                                   "echo 'test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out'",
                                   "echo 'test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'",
                                   "return 101; }", "cargo_tests"]),
    ?assertMatch(["7 passed, 1 failed, 1 skipped", "failed: cargo test: a::b", "skipped: cargo test: c, no Podman" | _],
                 lists:reverse(string:lexemes(Output, "\n"))).

cargo_that_does_not_compile(Config) ->
    {1, Output} = results(Config, ["check true", "cargo() { return 101; }", "cargo_tests"]),
    ?assertMatch(["1 passed, 1 failed, 0 skipped", "failed: cargo test: ended with status 101" | _],
                 lists:reverse(string:lexemes(Output, "\n"))).

%% Runs these lines with the functions of results.sh. Returns the exit status and the output.
results(Config, Lines) ->
    Folder = filename:join(?config(priv_dir, Config), "results"),
    _ = file:del_dir_r(Folder),
    ok = file:make_dir(Folder),
    bash(["source test/lib/results.sh", "alone() { \"$@\"; }" | Lines] ++ ["print_results"],
         [{"TMPDIR", Folder}]).

finds_sleeps(Config) ->
    {0, ""} = sleeps(Config, "eventually(F) -> F() orelse eventually(F).\n", ""),
    [?assertMatch({1, "sleeps: wait for a condition instead" ++ _}, sleeps(Config, Line ++ "\n", ""))
     || Line <- ["timer:sleep(100),", "receive after 100 -> ok end,", "    after Pause -> ok", "\"(sleep 1; date)\""]],
    {0, ""} = sleeps(Config, "timer:sleep(50)\n", "test/a.erl | timer:sleep(50) | the pause between two looks\n").

stale_exception(Config) ->
    {1, "sleeps: no such line any more" ++ _} =
        sleeps(Config, "ok\n", "test/a.erl | timer:sleep(50) | the pause between two looks\n"),
    {1, "sleeps: no reason is given" ++ _} = sleeps(Config, "timer:sleep(50)\n", "test/a.erl | timer:sleep(50)\n").

%% Runs the check in a repository with this file and these exceptions.
sleeps(Config, Code, Exceptions) ->
    Folder = filename:join(?config(priv_dir, Config), "sleeps"),
    _ = file:del_dir_r(Folder),
    Static = filename:join(Folder, "test/static"),
    ok = filelib:ensure_path(Static),
    {ok, _} = file:copy(filename:join(eid_ct:root(), "test/static/sleeps.sh"), filename:join(Static, "sleeps.sh")),
    ok = file:write_file(filename:join(Folder, "test/a.erl"), Code),
    ok = file:write_file(filename:join(Static, "sleeps.txt"), ["# A comment.\n", Exceptions]),
    bash([["git init -q '", Folder, "' && bash '", Static, "/sleeps.sh'"]]).
