%% eid as other projects get it: a fresh clone, a git dependency with a suite of its own, an embedded
%% release.
-module(eid_build_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([fresh_clone/1, git_dependency/1, embedded_release/1]).

suite() -> [{timetrap, {minutes, 10}}].

all() -> [fresh_clone, git_dependency, embedded_release].

%% A repository that holds this checkout as it is, committed or not.
init_per_suite(Config) ->
    Repository = filename:join(?config(priv_dir, Config), "eid.git"),
    run("git clone -q '" ++ eid_ct:root() ++ "' '" ++ Repository ++ "'", []),
    Changed = "git -C '" ++ eid_ct:root() ++ "' ls-files -z --cached --others --exclude-standard",
    run(Changed ++ " | (cd '" ++ eid_ct:root() ++ "' && xargs -0 sh -c 'for f; do test ! -e \"$f\" || "
        "cp --parents -d \"$f\" \"" ++ Repository ++ "\"; done' sh)", []),
    run("cd '" ++ Repository ++ "' && git add -A && git -c user.name=eid -c user.email=eid@localhost "
        "commit -q --allow-empty -m checkout && git branch -f under_test", []),
    [{repository, Repository} | Config].

end_per_suite(_Config) -> ok.

%% Crates that have been built for the checkout are not built once more.
environment() ->
    [{"CARGO_TARGET_DIR", filename:join([eid_ct:root(), "target", "clones"])}].

run(Command, Environment) ->
    Exports = [["export ", Name, "='", Value, "'; "] || {Name, Value} <- Environment],
    %% rebar3's own settings of the run that this suite is part of must not leak into another.
    Output = os:cmd(lists:flatten(["unset REBAR_PROFILE ERL_FLAGS ERL_LIBS; ", Exports, "{ ", Command,
                                   "; } 2>&1; echo status=$?"])),
    case string:find(Output, "status=0\n", trailing) of
        nomatch -> error({failed, Command, Output});
        _ -> Output
    end.

fresh_clone(Config) ->
    Clone = filename:join(?config(priv_dir, Config), "clone"),
    run("git clone -q -b under_test '" ++ ?config(repository, Config) ++ "' '" ++ Clone ++ "' && cd '"
        ++ Clone ++ "' && rebar3 compile", environment()),
    is_built(filename:join(Clone, "_build/default/lib/eid")),
    [] = run("cd '" ++ Clone ++ "' && git status --porcelain", []) -- "status=0\n".

is_built(Application) ->
    [?assert(filelib:is_file(filename:join(Application, File)))
     || File <- ["ebin/eid.app", "ebin/eid_tcp_dist.beam", "priv/eid_nif.so", "priv/eid", "priv/man/man1/eid.1",
                "priv/man/man1/eid-name.1", "priv/completions/eid.bash"]].

%% A user's project, as the README describes it: eid from git, and two nodes in a suite of its own.
git_dependency(Config) ->
    Project = filename:join(?config(priv_dir, Config), "shop"),
    Files =
        [{"rebar.config", ["{deps, [{eid, {git, \"file://", ?config(repository, Config),
                           "\", {branch, \"under_test\"}}}]}.\n"]},
         {"src/shop.app.src", "{application, shop, [{vsn, \"1\"}, {applications, [kernel, stdlib, eid]}]}.\n"},
         {"test/shop_SUITE.erl", readme_suite()}],
    [begin
         Path = filename:join(Project, Name),
         ok = filelib:ensure_dir(Path),
         ok = file:write_file(Path, Content)
     end || {Name, Content} <- Files],
    Output = run("cd '" ++ Project ++ "' && rebar3 compile && rebar3 ct", environment()),
    is_built(filename:join(Project, "_build/default/lib/eid")),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "All 1 tests passed"), Output}).

%% The suite that stands in the README.
readme_suite() ->
    {ok, Readme} = file:read_file(filename:join(eid_ct:root(), "README.md")),
    {match, [Suite]} = re:run(Readme, "```erlang\n(-module\\(shop_SUITE\\).*?)```",
                              [dotall, {capture, all_but_first, binary}]),
    Suite.

%% All code is loaded before anything runs, and there is no code path to look in afterwards.
embedded_release(Config) ->
    Dir = ?config(priv_dir, Config),
    Version = fun(Application) ->
                      _ = application:load(Application),
                      {ok, Vsn} = application:get_key(Application, vsn),
                      {Application, Vsn}
              end,
    Release = {release, {"shop", "1"}, {erts, erlang:system_info(version)},
               [Version(Application) || Application <- [kernel, stdlib, eid]]},
    Name = filename:join(Dir, "shop"),
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    {ok, systools_make, _} = systools:make_script(Name, [{path, [eid_ct:ebin()]}, {outdir, Dir}, silent]),
    {Status, Output} =
        eid_ct:run_erl(["-mode", "embedded", "-boot", Name, "-noinput", "-name", "a@127.0.0.2",
                        "-eval", "{error, bad_node_name} = eid:lookup(<<\"..@127.0.0.2\">>), "
                        "pang = net_adm:ping('nobody@127.0.0.9'), "
                        "embedded = code:get_mode(), halt(3)."
                        | eid_ct:arguments("127.0.0.2")], []),
    ?assertEqual({3, Output}, {Status, Output}).
