%% Builds eid as other projects get it: from a fresh clone, as a git dependency of a project with a
%% suite, and as part of an embedded release.
-module(eid_build_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([fresh_clone/1, git_dependency/1, embedded_release/1, from_nothing/1]).

suite() -> [{timetrap, {minutes, 20}}].

%% `make soak' also builds everything from nothing, with the compiler's default options.
all() ->
    [fresh_clone, git_dependency, embedded_release]
        ++ [from_nothing || os:getenv("EID_SOAK") =/= false].

%% Makes a repository with the current state of this checkout, including uncommitted changes.
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

%% These builds share one target directory, so cargo compiles the dependencies only once. Cargo
%% compiles eid's own crates again in each clone. Without optimization that takes a sixth of the
%% time.
environment() ->
    Target = os:getenv("CARGO_TARGET_DIR", filename:join(eid_ct:root(), "target")),
    [{"CARGO_TARGET_DIR", filename:join(Target, "clones")},
     {"CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"}].

run(Command, Environment) ->
    Exports = [["export ", Name, "='", Value, "'; "] || {Name, Value} <- Environment],
    %% The command must not inherit the settings of the rebar3 and the make that run this suite.
    Unset = "unset REBAR_PROFILE REBAR_BASE_DIR ERL_FLAGS ERL_LIBS MAKEFLAGS MAKELEVEL; ",
    Output = os:cmd(lists:flatten([Unset, Exports, "{ ", Command, "; } 2>&1; echo status=$?"])),
    case string:find(Output, "status=0\n", trailing) of
        nomatch -> error({failed, Command, Output});
        _ -> Output
    end.

%% The directory has the name that `git clone' gives it.
fresh_clone(Config) -> builds("clone", "rebar3 compile && doc/make.sh", environment(), Config).

from_nothing(Config) -> builds("nothing", "unset CARGO_TARGET_DIR; make && make docs", [], Config).

builds(Folder, Command, Environment, Config) ->
    Clone = filename:join([?config(priv_dir, Config), Folder, "eid"]),
    run("git clone -q -b under_test '" ++ ?config(repository, Config) ++ "' '" ++ Clone ++ "' && cd '"
        ++ Clone ++ "' && " ++ Command, Environment),
    is_built(filename:join(Clone, "_build/default/lib/eid")),
    ?assert(filelib:is_file(filename:join(Clone, "_build/site/index.html"))),
    "status=0\n" = run("cd '" ++ Clone ++ "' && git status --porcelain", []).

is_built(Application) ->
    [?assert(filelib:is_file(filename:join(Application, File)))
     || File <- ["ebin/eid.app", "ebin/eid_tcp_dist.beam", "priv/eid_nif.so", "priv/eid", "priv/man/man1/eid.1",
                "priv/man/man1/eid-name.1", "priv/completions/eid.bash"]].

%% A user's project as in the README: it gets eid from git, and its suite starts two nodes.
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
    Output = run("cd '" ++ Project ++ "' && rebar3 compile && " ++ alone("rebar3 ct"),
                 environment()),
    is_built(filename:join(Project, "_build/default/lib/eid")),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, "All 1 tests passed"), Output}).

%% The README's suite uses fixed addresses, where another program on this machine may listen.
%% If this machine allows it, the suite runs in its own network namespace.
alone(Command) ->
    case os:cmd("unshare --net true && echo yes") of
        "yes\n" -> "unshare --net sh -c 'ip link set lo up && " ++ Command ++ "'";
        _ -> Command
    end.

%% Returns the source of the suite in the README.
readme_suite() ->
    {ok, Readme} = file:read_file(filename:join(eid_ct:root(), "README.md")),
    {match, [Suite]} = re:run(Readme, "```erlang\n(-module\\(shop_SUITE\\).*?)```",
                              [dotall, {capture, all_but_first, binary}]),
    Suite.

%% In embedded mode the VM loads all code before anything runs, and has no code path afterwards.
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
    Ip = eid_ct:ip(2),
    {Status, Output} =
        eid_ct:run_erl(["-mode", "embedded", "-boot", Name, "-noinput", "-name", "a@" ++ Ip,
                        "-eval", "{error, bad_node_name} = eid:lookup(<<\"..@" ++ Ip ++ "\">>), "
                        "pang = net_adm:ping('nobody@" ++ eid_ct:ip(9) ++ "'), "
                        "embedded = code:get_mode(), halt(3)."
                        | eid_ct:arguments(Ip)], []),
    ?assertEqual({3, Output}, {Status, Output}).
