%% Runs every block of commands in SECURITY.md, CONTRIBUTING.md and the guide on the rig's two
%% Docker hosts. `eid_reader' runs the blocks in the order of the page. Each page starts in its own
%% directory.
-module(eid_docs_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([is_run/1]).

-import(eid_reader, [blocks/1]).

suite() -> [{timetrap, {minutes, 4}}].

all() -> [{group, group(Page)} || Page <- pages()].

%% A group for each page, and in it a group for each block. A block's group is named by its line.
groups() ->
    lists:append([[{group(Page), [], [{group, group(Page, Block)} || Block <- blocks(Page)]}
                   | [{group(Page, Block), [], [is_run]} || Block <- blocks(Page)]] || Page <- pages()]).

pages() -> [Page || Page <- eid_markdown:pages(), not is_run_elsewhere(Page), blocks(Page) =/= []].

%% Two pages have their own suites. One suite follows the README as a newcomer does. The other
%% starts nodes around the commands of the page about migration.
is_run_elsewhere("README.md") -> true = is_suite("eid_newcomer_SUITE");
is_run_elsewhere("doc/guide/migration.md") -> true = is_suite("eid_migration_SUITE");
is_run_elsewhere(_) -> false.

is_suite(Name) -> filelib:is_file(filename:join([eid_ct:root(), "test", Name ++ ".erl"])).

group(Page) -> list_to_atom(Page).
group(Page, #{line := Line}) -> list_to_atom(Page ++ ":" ++ integer_to_list(Line)).

init_per_suite(Config) ->
    case eid_rig:available() of
        true ->
            ok = eid_rig:up(),
            try eid_reader:images(?config(priv_dir, Config))
            catch Class:Reason:Stack ->
                    end_per_suite(Config),
                    erlang:raise(Class, Reason, Stack)
            end,
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_suite(_Config) ->
    eid_reader:remove_images(),
    eid_rig:down().

init_per_group(Group, Config) ->
    case [{Page, Block} || Page <- pages(), Block <- blocks(Page), group(Page, Block) =:= Group] of
        [{_Page, Block}] -> [{block, Block} | Config];
        [] when Group =:= 'doc/guide/ambassadors.md' ->
            case eid_reader:has_redis() of
                true -> start_page(Group, Config);
                false -> {skip, "redis-server and redis-cli are not installed"}
            end;
        [] -> start_page(Group, Config)
    end.

start_page(Page, Config) ->
    Folder = string:trim(os:cmd("mktemp -d /tmp/eid-docs.XXXXXX")),
    ok = eid_reader:start(Folder),
    _ = [{done, _} = eid_reader:do(Block, Folder) || Block <- before(atom_to_list(Page))],
    [ok = file:delete(File) || File <- filelib:wildcard(filename:join(Folder, "variables-*"))],
    [{folder, Folder} | Config].

%% Returns the blocks to run before a page. Most pages require the image and the command `eid'. One
%% page shows how to make the image.
before("doc/guide/first-cluster.md") -> [];
before(Page) ->
    Image = case eid_rig:command("docker 2 image inspect eid-example") of
                {0, _} -> [];
                _ -> [eid_reader:image()]
            end,
    Image ++ [eid_reader:command()] ++ [Block || wants_certificates(Page), Block <- eid_reader:certificates()].

wants_certificates(Page) ->
    lists:any(fun(#{text := Text}) -> string:find(Text, "/etc/eid/certs") =/= nomatch end, blocks(Page)).

end_per_group(Group, Config) ->
    case lists:keymember(block, 1, Config) of
        true -> ok;
        false ->
            ?assert(lists:member(Group, [group(Page) || Page <- pages()])),
            eid_reader:stop(?config(folder, Config))
    end.

is_run(Config) ->
    #{text := Text} = Block = ?config(block, Config),
    Folder = ?config(folder, Config),
    Failed = filename:join(Folder, "failed"),
    case filelib:is_file(Failed) of
        true -> {skip, "a block before it on its page has failed"};
        false ->
            ct:log("~ts", [Text]),
            ok = file:write_file(Failed, ""),
            Result = eid_reader:do(Block, Folder),
            ct:log("~tp", [Result]),
            ok = file:delete(Failed),
            case Result of
                {done, _} -> ok;
                {skip, _} -> Result
            end
    end.
