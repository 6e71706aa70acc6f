%% Compares doc/reference.md with the modules, the command's help and the sources: the page lists
%% every option with its default, and no other option. Also compares the guide's reasons, and the
%% routes and sources in doc/inside.md. Example configurations must be valid, and links must lead to
%% existing headings.
-module(eid_reference_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, suite/0]).
-export([settings/1, cluster_options/1, strategy_options/1, status_options/1, command_options/1, exit_statuses/1, variables/1,
         metrics_of_a_node/1, metrics_of_serve/1, flags/1, reasons/1, routes/1, examples_of_settings/1,
         source_layout/1, links/1]).

suite() -> [{timetrap, {minutes, 2}}].

all() ->
    [settings, cluster_options, strategy_options, status_options, command_options, exit_statuses, variables,
     metrics_of_a_node, metrics_of_serve, flags, reasons, routes, examples_of_settings,
     source_layout, links].

reference(Heading) -> eid_markdown:section(Heading, eid_markdown:read("doc/reference.md")).

%% The code of each row's first cell, and the cells with these numbers.
table(Text, Cells) ->
    [list_to_tuple([eid_markdown:code(lists:nth(N, Row)) || N <- [1 | Cells]]) || Row <- eid_markdown:rows(Text)].

equal(Known, Documented) ->
    ?assertEqual({missing, [], too_many, []}, {missing, Known -- Documented, too_many, Documented -- Known}).

%% The keys that the modules' code reads from the environment of `kernel' or `eid'. Only tests set
%% `tuning', so the page omits it.
settings(_) ->
    Read = lists:usort(lists:append([keys(Module) || Module <- modules()])) -- ["eid tuning"],
    Documented = table(reference("Settings of a node"), [3]),
    equal(Read, lists:sort([Name || {Name, _} <- Documented])),
    %% The defaults that are numbers.
    Numbers = [{"kernel erlang_port", eid_config:erlang_port()}, {"kernel docker_daemon_port", eid_config:docker_daemon_port()}
               | lists:zip(["eid connect_timeout", "eid response_timeout", "eid max_response_size"], tuple_to_list(eid_config:limits()))],
    [?assertEqual({Name, integer_to_list(Number)}, lists:keyfind(Name, 1, Documented)) || {Name, Number} <- Numbers],
    [?assertEqual({Name, lists:flatten(io_lib:format("~0p", [Default]))}, lists:keyfind(Name, 1, Documented))
     || {Name, Default} <- [{"eid engines", eid_config:engines()}, {"eid routes", eid_config:routes()},
                            {"eid allowed_hosts", eid_config:allowed_hosts()}, {"eid clusters", eid_config:clusters()},
                            {"eid status", eid_config:status()}]].

modules() ->
    _ = application:load(eid),
    {ok, Modules} = application:get_key(eid, modules),
    Modules.

keys(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    calls(Module, Forms).

calls(Module, {call, _, {remote, _, {atom, _, application}, {atom, _, get_env}}, [{atom, _, App}, {atom, _, Key} | More]}) ->
    [atom_to_list(App) ++ " " ++ atom_to_list(Key) | calls(Module, More)];
%% eid_config reads keys with these functions too.
calls(eid_config, {call, _, {atom, _, Function}, [{atom, _, Key}, _]}) when Function =:= get; Function =:= positive ->
    ["eid " ++ atom_to_list(Key)];
calls(eid_config, {call, _, {atom, _, port}, [{atom, _, Key}, _]}) ->
    ["kernel " ++ atom_to_list(Key)];
calls(Module, Form) when is_tuple(Form) -> calls(Module, tuple_to_list(Form));
calls(Module, [Form | Forms]) -> calls(Module, Form) ++ calls(Module, Forms);
calls(_, _) -> [].

%% The tables of the section, by strategy: the sentence before a table begins with the strategy's
%% name. The tables of a cluster have the key `cluster'.
cluster_tables() ->
    Lines = string:split(reference("Clusters"), "\n", all),
    {_, Tables} = lists:foldl(fun("`{eid" ++ _, {_, Tables}) -> {"cluster", Tables#{"cluster" => []}};
                                 ("`" ++ _ = Line, {_, Tables}) ->
                                      Strategy = eid_markdown:code(Line),
                                      {Strategy, Tables#{Strategy => []}};
                                 (Line, {Of, Tables}) when Of =/= none -> {Of, Tables#{Of := maps:get(Of, Tables) ++ Line ++ "\n"}};
                                 (_, Outside) -> Outside
                              end, {none, #{}}, Lines),
    maps:map(fun(_, Text) -> table(Text, [3]) end, Tables).

cluster_options(_) ->
    [Cluster] = eid_discovery_config:parse([#{name => shop, strategy => {static, #{nodes => []}}}]),
    Known = [{"name", "required"}, {"strategy", "required"}
             | [{atom_to_list(Key), lists:flatten(io_lib:format("~0p", [Value]))}
                || {Key, Value} <- maps:to_list(maps:without([name, strategy, module, state, position], Cluster))]],
    equal(lists:sort(Known), lists:sort(maps:get("cluster", cluster_tables()))).

%% The error message for a wrong option lists the valid options, and the one for a wrong strategy
%% lists the strategies.
strategy_options(_) ->
    Documented = maps:remove("cluster", cluster_tables()),
    {match, [Names]} = re:run(wrong({no_such_strategy, #{}}), "neither one of (.*) nor a module", [{capture, all_but_first, list}]),
    Strategies = string:lexemes(Names, ", "),
    equal(lists:sort(Strategies), lists:sort(maps:keys(Documented))),
    [begin
         {match, [Options]} = re:run(wrong({list_to_atom(Strategy), #{no_such_option => 1}}), "only (.*)$", [{capture, all_but_first, list}]),
         ?assertEqual({Strategy, lists:sort(string:lexemes(Options, ", "))},
                      {Strategy, lists:sort([Option || {Option, _} <- maps:get(Strategy, Documented)])}),
         [?assertEqual({Strategy, Option, Default}, {Strategy, Option, in_source(Strategy, Option)})
          || {Option, Default} <- maps:get(Strategy, Documented)]
     end || Strategy <- Strategies].

wrong(Strategy) ->
    try eid_discovery_config:parse([#{name => shop, strategy => Strategy}]) of
        _ -> error(not_wrong)
    catch error:{bad_setting, Sentence} -> Sentence
    end.

%% Finds the default in `Option => {Default, …' in the strategy's module.
in_source(Strategy, Option) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} =
        beam_lib:chunks(code:which(list_to_atom("eid_discovery_" ++ Strategy)), [abstract_code]),
    [Default] = lists:usort(defaults(list_to_atom(Option), Forms)),
    case io_lib:printable_unicode_list(Default) of
        true -> Default;
        false -> lists:flatten(io_lib:format("~0p", [Default]))
    end.

defaults(Option, {map_field_assoc, _, {atom, _, Option}, {tuple, _, [{Type, _, Default}, _Check, _What]}})
  when Type =:= atom; Type =:= string; Type =:= integer ->
    [Default];
defaults(Option, Form) when is_tuple(Form) -> defaults(Option, tuple_to_list(Form));
defaults(Option, [Form | Forms]) -> defaults(Option, Form) ++ defaults(Option, Forms);
defaults(_, _) -> [].

status_options(_) ->
    Known = [{atom_to_list(Key), lists:flatten(io_lib:format("~0p", [Value]))} || {Key, Value} <- maps:to_list(eid_status:parse(#{}))],
    equal(lists:sort(Known), lists:sort(table(reference("Status"), [3]))).

eid() -> filename:join(code:priv_dir(eid), "eid").

help(Arguments) -> os:cmd("'" ++ eid() ++ "' " ++ Arguments).

%% The page has a section for each command that the help lists. The section has the same options,
%% defaults and variables as the help.
command_options(_) ->
    {match, [List]} = re:run(help("--help"), "^Commands:\n(.*?)\n\n", [multiline, dotall, {capture, all_but_first, list}]),
    Commands = [hd(string:lexemes(Line, " ")) || Line <- string:lexemes(List, "\n")] -- ["help"],
    ?assert(length(Commands) >= 6),
    Text = eid_markdown:read("doc/reference.md"),
    equal(lists:sort(["eid " ++ Command || Command <- Commands]),
          lists:sort([Heading || "### eid " ++ _ = Line <- string:split(Text, "\n", all), Heading <- [string:slice(Line, 4)]])),
    [begin
         Help = options(help("help " ++ Command)),
         Documented = [{Option, Default, Variable} || {Option, Default, Variable} <- table(reference("eid " ++ Command), [3, 4])],
         ?assertEqual({Command, lists:sort([Option || {Option, _, _} <- Help])},
                      {Command, lists:sort([Option || {Option, _, _} <- Documented])}),
         [begin
              {_, Default, Variable} = lists:keyfind(Option, 1, Documented),
              %% If clap knows no default, the page describes the default in words.
              KnownDefault =:= none orelse ?assertEqual({Command, Option, KnownDefault}, {Command, Option, Default}),
              KnownVariable =:= none orelse ?assertEqual({Command, Option, KnownVariable}, {Command, Option, Variable})
          end || {Option, KnownDefault, KnownVariable} <- Help]
     end || Command <- Commands].

options(Help) ->
    [_ | Parts] = re:split(Help, "^ {2,6}(?:-\\w, )?(?=--[a-z])", [multiline, {return, list}]),
    [{Option, value("default", Part), value("env", Part)}
     || Part <- Parts, {match, [Option]} <- [re:run(Part, "^(--[a-z0-9-]+)", [{capture, all_but_first, list}])],
        Option =/= "--help", Option =/= "--version"].

value(What, Part) ->
    case re:run(Part, "\\[" ++ What ++ ": ([^=\\]]*)", [{capture, all_but_first, list}]) of
        {match, [Value]} -> Value;
        nomatch -> none
    end.

exit_statuses(_) ->
    [_, List] = string:split(help("--help"), "Exit status:\n"),
    {match, Known} = re:run(List, "^  ([0-9]+) ", [global, multiline, {capture, all_but_first, list}]),
    equal(lists:append(Known), [Status || {Status} <- table(reference("Exit statuses"), [])]).

%% The environment variables that the sources read: Rust sources for the commands, Erlang sources
%% for the nodes.
variables(_) ->
    Sources = [Source || Folder <- ["native/cli/src", "native/docker/src", "native/nif/src", "src"],
                         Source <- filelib:wildcard(Folder ++ "/**/*.{rs,erl}", eid_ct:root())],
    ?assert(length(Sources) > 80),
    Read = lists:usort(lists:append([variables_in(eid_markdown:read(Source)) || Source <- Sources])),
    equal(Read, lists:sort([Name || {Name} <- table(reference("Environment"), [])] -- ["NAME_PORT_<n>_TCP"])).

variables_in(Source) ->
    %% The rest of the file is tests.
    [Code | _] = string:split(Source, "#[cfg(test)]"),
    Reads = "(?:env = |variable\\(|var_os\\(|var\\(|is_set\\(|getenv\\()\"([A-Z][A-Z_]+)\"",
    case re:run(Code, Reads, [unicode, global, {capture, all_but_first, list}]) of
        {match, Names} -> lists:append(Names);
        nomatch -> []
    end.

%% Names and types, from the code that writes the metrics.
metrics_of_a_node(_) ->
    Source = eid_markdown:read("src/status/eid_status_metrics.erl"),
    {match, Known} = re:run(Source, "[({](eid_[a-z_]+), (?:[a-z]+, )?(gauge|counter),", [global, {capture, all_but_first, list}]),
    ?assert(length(Known) > 15),
    equal(lists:sort([{Name, Type} || [Name, Type] <- Known]), lists:sort(table(reference("Metrics of a node"), [2]))).

%% Reads the metrics of a running `eid serve' without an engine.
metrics_of_serve(_) ->
    Port = eid_ct:free_port({127,0,0,1}),
    At = "127.0.0.1:" ++ integer_to_list(Port),
    Serve = open_port({spawn_executable, eid()},
                      [{args, ["serve", "--docker", "unix:///nobody/is/here.sock", "--listen", At]}, exit_status, stderr_to_stdout]),
    {os_pid, Pid} = erlang:port_info(Serve, os_pid),
    try
        eid_ct:eventually(fun() -> element(1, gen_tcp:connect({127,0,0,1}, Port, [])) =:= ok end),
        {ok, Client} = gen_tcp:connect({127,0,0,1}, Port, [{active, false}]),
        ok = gen_tcp:send(Client, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        Answer = all_of(Client, []),
        {match, Known} = re:run(Answer, "^# TYPE (\\S+) (\\S+)$", [global, multiline, {capture, all_but_first, list}]),
        equal(lists:sort([{Name, Type} || [Name, Type] <- Known]), lists:sort(table(reference("Metrics of `eid serve`"), [2])))
    after
        os:cmd("kill " ++ integer_to_list(Pid))
    end.

all_of(Socket, Read) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} -> all_of(Socket, [Read, Data]);
        {error, closed} -> lists:flatten(Read)
    end.

%% The page's flags name all carriers, the epmd module and the module `eid'.
flags(_) ->
    Flags = [Flag || {Flag} <- table(reference("Flags of erl"), [])],
    Modules = [Module || Flag <- Flags,
                         Module <- case string:lexemes(Flag, " ") of
                                       ["-proto_dist", Carrier] -> [Carrier ++ "_dist"];
                                       ["-epmd_module", Epmd] -> [Epmd];
                                       ["-s", Start] -> [Start];
                                       _ -> []
                                   end],
    equal([atom_to_list(Module) || Module <- modules(), re:run(atom_to_list(Module), "_dist$|^eid_epmd$|^eid$") =/= nomatch],
          lists:sort(Modules)).

%% The troubleshooting page explains each reason of `eid:lookup/1'.
reasons(_) ->
    Rows = table(eid_markdown:section("Reasons", eid_markdown:read("doc/guide/troubleshooting.md")), []),
    equal(union(eid, reason), lists:sort([hd(string:lexemes(Reason, "{, ")) || {Reason} <- Rows])).

%% The pages list each route that eid finds, and each route that a user can set.
routes(_) ->
    equal(union(eid_nif, kind),
          lists:sort([Kind || {Kind} <- table(eid_markdown:section("Routes", eid_markdown:read("doc/inside.md")), [])])),
    [Types] = [Type || ["`eid routes`", Type | _] <- eid_markdown:rows(reference("Settings of a node"))],
    {match, Targets} = re:run(Types, "`([a-z]+)`", [global, {capture, all_but_first, list}]),
    equal(union(eid_routing, target), lists:sort(lists:append(Targets))).

%% The atoms of a union type, and the tags of its tuples.
union(Module, Type) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    [Members] = [Union || {attribute, _, type, {Name, {type, _, union, Union}, []}} <- Forms, Name =:= Type],
    lists:sort(lists:append([case Member of
                                 {atom, _, Atom} -> [atom_to_list(Atom)];
                                 {type, _, tuple, [{atom, _, Tag} | _]} -> [atom_to_list(Tag)];
                                 _ -> []
                             end || Member <- Members])).

%% eid accepts each example of `{eid, […]}', and the parser accepts each example of a module.
examples_of_settings(_) ->
    Blocks = [{Page, Line, Text} || Page <- ["doc/reference.md", "doc/inside.md" | eid_markdown:pages()],
                                    #{language := "erlang", line := Line, text := Text} <- eid_markdown:blocks(eid_markdown:read(Page))],
    Settings = [{Page, Line, Options} || {Page, Line, "{eid, " ++ _ = Text} <- Blocks, {eid, Options} <- [term(Text)]],
    ?assert(length(Settings) >= 5),
    [?assertEqual({Page, Line, ok}, {Page, Line, check(Options)}) || {Page, Line, Options} <- Settings],
    [?assertEqual({Page, Line, ok}, {Page, Line, parse_forms(Text)}) || {Page, Line, "-module" ++ _ = Text} <- Blocks].

term(Text) ->
    {ok, Tokens, _} = erl_scan:string(string:trim(string:trim(Text), trailing, ".") ++ "\n."),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

check(Options) ->
    Before = application:get_all_env(eid),
    [application:set_env(eid, Key, Value) || {Key, Value} <- Options],
    try
        ok = eid_routing:check(),
        _ = eid_discovery_config:parse(eid_config:clusters()),
        _ = [eid_status:parse(eid_config:status()) || eid_config:status() =/= off],
        ok
    after
        [application:unset_env(eid, Key) || {Key, _} <- Options],
        [application:set_env(eid, Key, Value) || {Key, Value} <- Before]
    end.

parse_forms(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text),
    [{ok, _} = erl_parse:parse_form(Form) || Form <- forms(Tokens, [])],
    ok.

forms([], []) -> [];
forms([{dot, _} = Dot | Rest], Form) -> [lists:reverse([Dot | Form]) | forms(Rest, [])];
forms([Token | Rest], Form) -> forms(Rest, [Token | Form]).

%% The section names each source file. After a name with the same beginning, the rest of the name is
%% enough: `_dns'. A mod.rs has its directory's name, and a crate's lib.rs or main.rs has the
%% crate's name.
source_layout(_) ->
    Layout = eid_markdown:section("Source layout", eid_markdown:read("doc/inside.md")),
    {match, Found} = re:run(Layout, "[a-z0-9_]+", [global, {capture, all, list}]),
    Words = lists:append(Found),
    Sources = lists:append([filelib:wildcard(Glob, eid_ct:root()) || Glob <- ["src/**/*.erl", "native/*/src/**/*.rs"]]),
    ?assert(length(Sources) > 80),
    ?assertEqual([], [Source || Source <- Sources,
                                Name <- [case filename:basename(filename:rootname(Source)) of
                                             "mod" -> filename:basename(filename:dirname(Source));
                                             Crate when Crate =:= "lib"; Crate =:= "main" -> lists:nth(2, filename:split(Source));
                                             Other -> Other
                                         end],
                                not lists:any(fun("_" ++ _ = Rest) -> lists:suffix(Rest, Name);
                                                 (Word) -> Word =:= Name
                                              end, Words)]).

%% Each link leads to an existing file, and to an existing heading in that file.
links(_) ->
    Pages = ["CHANGELOG.md", "bench/README.md", "test/rig/README.md", "examples/README.md", "doc/reference.md", "doc/inside.md"
             | filelib:wildcard("examples/*/README.md", eid_ct:root()) ++ eid_markdown:pages()],
    Broken = [{Page, Link} || Page <- Pages, Link <- eid_markdown:links(eid_markdown:read(Page)), not leads_somewhere(Page, Link)],
    ?assertEqual([], Broken).

leads_somewhere(_Page, "http" ++ _) -> true;
leads_somewhere(Page, Link) ->
    {Path, Anchor} = case string:split(Link, "#") of
                         [P, A] -> {P, A};
                         [P] -> {P, none}
                     end,
    Target = case Path of
                 "" -> Page;
                 _ -> filename:join(filename:dirname(Page), Path)
             end,
    filelib:is_file(filename:join(eid_ct:root(), Target))
        andalso (Anchor =:= none orelse lists:member(Anchor, eid_markdown:anchors(eid_markdown:read(Target)))).
