%% Tests `make install', `make uninstall' and `make dist'. The cases check the installed files, that
%% an Erlang of each release then needs no -pa, and the image that examples/Dockerfile builds from
%% source.
-module(eid_install_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2, init_per_testcase/2]).
-export([staged/1, tarball/1, plain_erl/1, wrong_erlang/1, releases/1, images/1, from_source/1]).

-import(eid_page, [sh/3, await/1, mesh/1]).

-define(COMMANDS, ["", "-name", "-lookup", "-ps", "-doctor", "-serve", "-forward"]).
-define(OURS, "eid.test=1").

suite() -> [{timetrap, {minutes, 8}}].

all() -> [staged, tarball, plain_erl, wrong_erlang, {group, rig}].

%% Building the image from source takes minutes, so only `make soak' does it.
groups() -> [{rig, [], [releases, images] ++ [from_source || eid_ct:times(1) > 1]}].

init_per_suite(Config) ->
    ok = run("rebar3 compile", Config),
    Config.

end_per_suite(_Config) -> ok.

init_per_group(rig, Config) ->
    case eid_rig:available() of
        true -> ok = eid_rig:up(), Config;
        {skip, _} = Skip -> Skip
    end.

end_per_group(rig, _Config) -> eid_rig:down().

init_per_testcase(plain_erl, Config) ->
    case os:cmd("unshare --mount --net true && echo yes") of
        "yes\n" -> Config;
        Why -> {skip, "no namespaces of its own for an installation: " ++ string:trim(Why)}
    end;
init_per_testcase(from_source, Config) ->
    Missing = [Tool || Tool <- ["gcc", "make", "rebar3", "rustup"], os:find_executable(Tool) =:= false],
    case {Missing, lists:member(erlang:system_info(otp_release), eid_rig:releases()), eid_rig:available(podman)} of
        {[], true, true} ->
            {0, _} = eid_rig:command("podman-service 1 start"),
            Config;
        {[], true, Skip} -> Skip;
        {[], false, _} -> {skip, "the image's compilers are this machine's, for whose OTP release the rig has no image"};
        _ -> {skip, lists:flatten(["the image's compilers are this machine's, which lacks ", lists:join(", ", Missing)])}
    end;
init_per_testcase(_, Config) ->
    Config.

%% Runs a command in the checkout. Returns ok, or its exit status and its output. The command does
%% not inherit the settings of the rebar3 and the make that run this suite.
run(Command, Config) ->
    Log = filename:join(?config(priv_dir, Config), "command.log"),
    Status = os:cmd(lists:flatten(["unset REBAR_PROFILE REBAR_BASE_DIR ERL_FLAGS ERL_LIBS MAKEFLAGS MAKELEVEL; cd '", eid_ct:root(), "' && { ", Command,
                                   "; } > '", Log, "' 2>&1; printf $?"])),
    {ok, Output} = file:read_file(Log),
    case Status of
        "0" -> ok;
        _ -> {list_to_integer(Status), unicode:characters_to_list(Output)}
    end.

%% Lists the files below a directory, with their permissions.
tree(Folder) ->
    lists:sort(string:lexemes(os:cmd("cd '" ++ Folder ++ "' && find . ! -type d -printf '%m %P\\n'"), "\n")).

%% The expected files: the application in this library directory, and the rest below this prefix.
expected(Library, Prefix) ->
    Application = filename:join(Library, "eid-" ++ version()),
    Beams = [filename:join("ebin", filename:basename(Beam)) || Beam <- filelib:wildcard(eid_ct:root() ++ "/_build/default/lib/eid/ebin/*")],
    true = length(Beams) > 40,
    lists:sort(
      [["644 ", filename:join(Application, Beam)] || Beam <- Beams]
      ++ [["755 ", filename:join(Application, "priv/eid_nif.so")], ["755 ", Prefix, "bin/eid"]]
      ++ [["644 ", filename:join(Application, "priv/status." ++ Type)] || Type <- ["css", "js"]]
      ++ [["644 ", Prefix, "share/man/man1/eid", Command, ".1"] || Command <- ?COMMANDS]
      ++ [["644 ", Prefix, "share/", File] || File <- ["bash-completion/completions/eid", "zsh/site-functions/_eid",
                                                       "fish/vendor_completions.d/eid.fish"]]).

version() ->
    {ok, [{application, eid, Properties}]} = file:consult(eid_ct:root() ++ "/src/eid.app.src"),
    proplists:get_value(vsn, Properties).

flat(Lines) -> lists:sort([lists:flatten(Line) || Line <- Lines]).

%% Installs for a package, so files outside DESTDIR do not change. The files go to the Erlang of the
%% prefix or else of the PATH, unless ERLANG_LIB is set. An older or newer eid is removed. Files of
%% other applications stay, with their permissions. All users can read the directories, whatever the
%% umask.
staged(Config) ->
    Stage = filename:join(?config(priv_dir, Config), "a stage"),
    Library = string:prefix(code:lib_dir(), "/"),
    Variables = ["DESTDIR='", Stage, "' PREFIX=/opt/eid"],
    Below = fun(Files) -> [filename:join([Stage, Library, File]) || File <- Files] end,
    Others = [Stage ++ "/opt/eid/bin/eider" | Below(["eid_other-1/ebin/eid_other.beam", "eid-1st/ebin/eid-1st.app"])],
    Olds = Below(["eid-" ++ version() ++ "/ebin/eid_of_old.beam" | ["eid-" ++ V ++ "/ebin/eid.app" || V <- ["0.0.9", "99.1-rc1"]]]),
    [begin ok = filelib:ensure_dir(File), ok = file:write_file(File, "") end || File <- Others ++ Olds],
    Left = tree(Stage) -- ["644 " ++ string:prefix(Old, Stage ++ "/") || Old <- Olds],
    3 = length(Left),
    Manual = Stage ++ "/opt/eid/share/man/man1",
    ok = filelib:ensure_path(Manual),
    ok = file:change_mode(Manual, 8#2775),
    ok = run(["umask 077; make install ", Variables], Config),
    ?assertEqual(flat(expected(Library, "opt/eid/")), tree(Stage) -- Left),
    ?assertEqual(Left, Left -- (Left -- tree(Stage))),
    ?assertEqual("2775 man1", permissions(Manual)),
    ?assertEqual("", os:cmd("find '" ++ Stage ++ "' -type d ! -perm -755")),
    ok = run(["make install ", Variables], Config),
    ok = run(["make uninstall ", Variables], Config),
    ?assertEqual(Left, tree(Stage)),

    Elsewhere = filename:join(?config(priv_dir, Config), "elsewhere"),
    ok = run(["make install DESTDIR='", Elsewhere, "' ERLANG_LIB=/opt/otp/lib"], Config),
    ?assertEqual(flat(expected("opt/otp/lib", "usr/local/")), tree(Elsewhere)).

permissions(File) -> string:trim(os:cmd("find '" ++ File ++ "' -maxdepth 0 -printf '%m %f'")).

%% The tarball has the same files, below a prefix with its Erlang in lib/erlang. It contains no
%% directories, because ADD would change the directories of the image.
tarball(Config) ->
    Unpacked = filename:join(?config(priv_dir, Config), "unpacked"),
    ok = filelib:ensure_path(Unpacked),
    Tarball = dist(Config),
    ok = run(["tar --extract --file '", Tarball, "' --directory '", Unpacked, "'"], Config),
    ?assertEqual(flat(expected("lib/erlang/lib", "")), tree(Unpacked)),
    Listed = string:lexemes(os:cmd("tar --list --verbose --numeric-owner --file '" ++ Tarball ++ "'"), "\n"),
    ?assertEqual([], [Line || Line <- Listed, re:run(Line, "^-\\S+ 0/0 ", [{capture, none}]) =/= match]),
    %% A second build gives the same bytes.
    {ok, Bytes} = file:read_file(Tarball),
    ok = run("touch priv/eid", Config),
    ?assertEqual({ok, Bytes}, file:read_file(dist(Config))).

dist(Config) ->
    ok = run("make dist", Config),
    [Tarball] = filelib:wildcard(eid_ct:root() ++ "/_build/eid-" ++ version() ++ "-*.tar.gz"),
    Tarball.

%% Installs into this machine's Erlang, but in a mount namespace where an overlay takes all writes.
plain_erl(Config) ->
    Lines = ["ip link set lo up",
             "mkdir /run/eid-install && mount -t tmpfs none /run/eid-install && cd /run/eid-install && mkdir changed work",
             "mount -t overlay -o lowerdir=/usr,upperdir=changed,workdir=work none /usr"
             | comes_and_goes("make install PREFIX=/usr", "make uninstall PREFIX=/usr", "/usr")]
        ++ ["test -z \"$(find /run/eid-install/changed -type f)\""],
    %% The namespace also has its own /run, so nothing remains.
    ?assertEqual(ok, run(["unshare --mount --net sh -c 'mount -t tmpfs none /run && PATH=/usr/bin:/usr/sbin:/bin exec sh \"$0\"' '",
                          script(Lines, Config), "'"], Config)).

%% Commands for a root shell. Only between installation and removal does a node find the carrier,
%% and it finds the carrier without -pa.
comes_and_goes(Install, Uninstall, Prefix) ->
    Node = "erl -noinput -proto_dist eid_tcp -start_epmd false -setcookie x -name a@127.0.0.1 -eval ",
    Works = [Node, "'true = is_alive(), true = lists:prefix(code:lib_dir(), code:which(eid_tcp_dist)), "
             "{error, bad_node_name} = eid:lookup(<<\"@\">>), halt().'"],
    ["set -eux", "fails() { if \"$@\"; then exit 9; fi; }",
     ["cd '", eid_ct:root(), "'"],
     ["works() { ", Works, "; }"],
     "fails works",
     Install,
     "works",
     ["test \"$(command -v eid)\" = ", Prefix, "/bin/eid"],
     "eid --version",
     Uninstall,
     "fails works",
     ["fails test -e ", Prefix, "/bin/eid"]].

script(Lines, Config) ->
    File = filename:join(?config(priv_dir, Config), "as_root.sh"),
    ok = file:write_file(File, lists:join($\n, Lines)),
    File.

%% `make install' refuses an Erlang that cannot load the build, because it is older or has another C
%% library.
wrong_erlang(Config) ->
    Otp = filename:join(?config(priv_dir, Config), "otp"),
    Erl = Otp ++ "/bin/erl",
    ok = filelib:ensure_dir(Erl),
    ok = filelib:ensure_path(Otp ++ "/lib"),
    ok = file:write_file(Erl, "#!/bin/sh\nexit 1\n"),
    ok = file:change_mode(Erl, 8#755),
    refuses(["PREFIX='", Otp, "' ERLANG_LIB='", Otp, "/lib'"], "can't load what was built", Config),
    ?assertEqual(["755 bin/erl"], tree(Otp)),
    ?assertEqual({ok, []}, file:list_dir(Otp ++ "/lib")),
    %% A directory that is not an Erlang's library directory is refused, too.
    refuses(["PREFIX='", Otp, "' ERLANG_LIB='", Otp, "/elsewhere/lib'"], "is not the library folder of an Erlang", Config),
    ?assertNot(filelib:is_file(Otp ++ "/elsewhere")),
    refuses("PREFIX=otp", "is no absolute path", Config).

refuses(Variables, Why, Config) ->
    {_, Output} = run(["make install ", Variables], Config),
    ?assertNotEqual({nomatch, Output}, {string:find(Output, Why), Output}).

%% Installs the checkout in a container of each release, where the Erlang is Debian's and belongs to
%% root.
releases(Config) ->
    Root = eid_ct:root(),
    Run = ["env PREFIX=/usr/local native/install.sh "],
    Script = script(comes_and_goes([Run, "install"], [Run, "uninstall"], "/usr/local"), Config),
    [sh(1, "", ["docker run --rm --label ", ?OURS, [[" --volume '", Path, "':'", Path, "':ro"] || Path <- [Root, Script]],
                " eid-otp:", Release, " sh '", Script, "'"]) || Release <- eid_rig:releases()].

%% Adds the tarball to an image of each release, with one line. Nodes of all releases connect, with
%% only the carrier on the command line.
images(Config) ->
    Context = filename:join(?config(priv_dir, Config), "context"),
    ok = filelib:ensure_path(Context),
    {ok, _} = file:copy(dist(Config), Context ++ "/eid.tar.gz"),
    ok = file:write_file(Context ++ "/Dockerfile", "ARG BASE\nFROM ${BASE}\nADD eid.tar.gz /usr/\n"),
    Releases = eid_rig:releases(),
    Image = fun(Release) -> "eid-installed:" ++ Release end,
    try
        Containers = [begin
                          sh(Host, Context, ["docker build --build-arg BASE=eid-otp:", Release, " --tag ", Image(Release), " ."]),
                          start(Host, Image(Release))
                      end || {Host, Release} <- lists:zip(hosts(Releases), Releases)],
        [{FirstHost, FirstId, First} | Others] = Containers,
        [await(fun() ->
                       Ping = io_lib:format("docker exec ~s erl_call -address 127.0.0.1:12345 -a \"net_adm ping [~p]\"", [Id, First]),
                       "pong" = sh(Host, "", Ping), ok
               end) || {Host, Id, _} <- Others],
        await(fun() -> mesh(Containers) end),
        [?assertMatch("/usr/lib/erlang/lib/eid-" ++ _, sh(Host, "", ["docker exec ", Id, " erl -noinput -eval "
                                                                     "'io:put_chars(code:lib_dir(eid)), halt().'"]))
         || {Host, Id, _} <- Containers],
        Route = sh(FirstHost, "", ["docker exec ", FirstId, " eid lookup ", atom_to_list(element(3, lists:last(Containers)))]),
        ?assertMatch({match, _}, re:run(Route, "^(published|bridge) "))
    after
        eid_rig:stop_all(),
        [eid_page:try_sh(Host, "", ["docker image rm --force ", Image(Release)]) || Host <- [1, 2], Release <- Releases]
    end.

hosts(Releases) -> [1 + N rem 2 || N <- lists:seq(1, length(Releases))].

start(Host, Image) ->
    Ip = eid_rig:host_ip(Host),
    Run = ["docker run --detach --label ", ?OURS, " --publish ", Ip, "::12345 ", Image, " sh -c 'umask 077; echo x > ~/.erlang.cookie; "
           "exec erl -noinput -proto_dist eid_tcp -start_epmd false -name \"$(eid name --short --host ", Ip, ")\"'"],
    Id = lists:sublist(sh(Host, "", Run), 12),
    {Host, Id, list_to_atom(Id ++ "@" ++ Ip)}.

%% Builds the image that compiles eid, with the command in examples/README.md. Podman mounts this
%% machine's compilers and crates into the build, so the build needs no registry. The image is small
%% and contains none of them.
from_source(Config) ->
    Base = "eid-otp:" ++ erlang:system_info(otp_release),
    Rust = filename:join(?config(priv_dir, Config), "rust"),
    ok = filelib:ensure_path(Rust),
    ok = file:write_file(Rust ++ "/Dockerfile", "FROM " ++ Base ++ "\nRUN mkdir /usr/local/cargo /usr/local/rustup\n"),
    Targets = os:getenv("CARGO_TARGET_DIR", filename:join(eid_ct:root(), "target")),
    Target = filename:join(Targets, "image"),
    ok = filelib:ensure_path(Target),
    Lent = ["/usr:/usr:ro", "/etc/alternatives:/etc/alternatives:ro", home("CARGO_HOME", ".cargo") ++ ":/opt/cargo",
            home("RUSTUP_HOME", ".rustup") ++ ":/opt/rustup:ro", Target ++ ":/eid/target",
            options(Config) ++ ":/eid/.cargo:ro"],
    _ = dist(Config),    % an older builder makes every stage
    podman(["build --tag eid-rust ", Rust]),
    try
        podman(["build --network none --build-arg BASE=", Base, " --build-arg ERLANG=", Base, " --build-arg RUST=eid-rust",
                [[" --volume ", Volume] || Volume <- Lent], as_on_the_page()]),
        ?assert(image_size("eid-example") - image_size(Base) < 30_000_000),
        Ip = eid_rig:podman_ip(1),
        Id = lists:sublist(podman(["run --detach --label ", ?OURS, " --publish ", Ip, "::12345 --env COOKIE=x --env EID_HOST=", Ip,
                                   " eid-example"]), 12),
        await(fun() ->
                      ?assertEqual("'" ++ Id ++ "@" ++ Ip ++ "'", podman(["exec ", Id, " erl_call -address 127.0.0.1:12345 -a 'erlang node []'"])),
                      ok
              end),
        %% Each mounted path leaves only an empty directory.
        ?assertEqual("", podman(["exec ", Id, " sh -c 'find /eid /opt ! -type d 2> /dev/null || true'"])),
        %% The build has not changed the host's devices.
        ?assertEqual("works", sh(1, "", ["docker run --rm --label ", ?OURS, " ", Base, " echo works"]))
    after
        eid_rig:stop_all(#{host => 1, engine => podman}),
        eid_rig:command("podman 1 image rm --force eid-example eid-rust")
    end.

%% Makes a directory with cargo's options. Only `make soak' optimizes, because compiling without
%% optimization takes a sixth of the time.
options(Config) ->
    Folder = filename:join(?config(priv_dir, Config), "cargo"),
    ok = filelib:ensure_path(Folder),
    Options = case os:getenv("EID_SOAK") of
                  false -> "[profile.release]\nopt-level = 0\nstrip = true\n";
                  _ -> ""
              end,
    ok = file:write_file(filename:join(Folder, "config.toml"), Options),
    Folder.

%% Returns the arguments of the page's `docker build', with absolute paths, because Podman does not
%% run in the checkout.
as_on_the_page() ->
    ["docker build" ++ Arguments | _] = eid_page:blocks("examples/README.md"),
    {match, [File, Tag]} = re:run(Arguments, "^ --file (\\S+)( --tag eid-example) \\.$", [{capture, all_but_first, list}]),
    [" --file ", filename:join(eid_ct:root(), File), Tag, " ", eid_ct:root()].

%% Returns what Podman has printed, without its log.
podman(Arguments) ->
    case eid_rig:command(["podman 1 ", Arguments], 420_000) of
        {0, Output} -> string:trim(Output);
        {Status, Output} -> error({status, Status, lists:flatten(Arguments), Output})
    end.

image_size(Image) -> list_to_integer(podman(["image inspect --format '{{.Size}}' ", Image])).

home(Variable, Folder) -> os:getenv(Variable, filename:join(os:getenv("HOME"), Folder)).
