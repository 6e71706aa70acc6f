%% The blocks of the pages (README, guide, examples), and running their commands on the rig's Docker hosts: what is put in
%% their place is only what differs from one reader to the next, the values that a block exports and the hosts' addresses.
-module(eid_page).

-export([blocks/1, blocks/2, lines/1, set/3, on_the_rig/1, sh/3, try_sh/3, build_example/2, remove_example/0]).
-export([connected/1, nodes_in/1, mesh/1, await/1, await/2]).

-export_type([container/0]).

-type container() :: {Host :: 1 | 2, Id :: string(), node()}.

-define(EXAMPLE, "eid-example").

%% The text of each block of this language, of commands first of all, in a page of the checkout.
blocks(File) -> blocks(File, "sh").

blocks(File, Language) -> [Text || #{language := L, text := Text} <- eid_markdown:blocks(eid_markdown:read(File)), L =:= Language].

lines(Block) -> string:lexemes(Block, "\n").

%% The commands with another value for a variable that they export.
set(Name, Value, Commands) ->
    Set = re:replace(Commands, "^export " ++ Name ++ "=.*", "export " ++ Name ++ "='" ++ Value ++ "'",
                     [multiline, unicode, {return, list}]),
    true = Set =/= Commands,
    Set.

%% The text with the rig's hosts in the place of the pages'.
on_the_rig(Text) ->
    lists:foldl(fun({Address, Host}, Now) -> lists:append(string:replace(Now, Address, eid_rig:host_ip(Host), all)) end,
                Text, [{"192.168.4.231", 1}, {"192.168.4.232", 2}]).

%% Runs commands where the docker client means this host, in a folder of the checkout or another one.
sh(Host, Folder, Commands) ->
    case try_sh(Host, Folder, Commands) of
        {0, Output} -> Output;
        {Status, Output} -> error({status, Status, lists:flatten(Commands), Output})
    end.

try_sh(Host, Folder, Commands) ->
    %% Settings of rebar3 and of this VM are not for those that are started here.
    Environment = [{Name, false} || Name <- ["REBAR_PROFILE", "ERL_FLAGS", "ERL_LIBS", "COOKIE", "EID_IMAGE"]]
        ++ [{"DOCKER_HOST", "unix://" ++ eid_rig:socket(Host)}],
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-euc", unicode:characters_to_list(Commands)]}, {env, Environment},
                      {cd, filename:join(eid_ct:root(), Folder)}, exit_status, stderr_to_stdout]),
    collect(Port, []).

collect(Port, Output) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, string:trim(lists:flatten(Output))}
    after 120_000 -> error({hangs, lists:flatten(Output)})
    end.

%% Makes the examples' image, as examples/README.md says, on a release that the rig has.
build_example(Host, Release) ->
    [_FromSource, FromDist] = blocks("examples/README.md"),
    sh(Host, "", set("BASE", "eid-otp:" ++ Release, FromDist)).

%% The hosts keep their images from one time to the next; this one is not theirs.
remove_example() ->
    [try_sh(Host, "", "docker image rm --force " ?EXAMPLE) || Host <- [1, 2]],
    ok.

%% The nodes that the one in this container is connected to, by erl_call, which prints the list last of all.
connected({Host, Id, _Node}) ->
    Output = sh(Host, "", ["docker exec ", Id, " erl_call -address 127.0.0.1:12345 -a 'erlang nodes []'"]),
    nodes_in(Output).

nodes_in(Output) ->
    {ok, Tokens, _} = erl_scan:string(lists:last(string:lexemes(Output, "\n")) ++ "."),
    {ok, Nodes} = erl_parse:parse_term(Tokens),
    lists:sort(Nodes).

%% Each of these nodes is connected to all others, and to nobody else.
-spec mesh([container()]) -> ok.
mesh(Containers) ->
    All = lists:sort([Node || {_, _, Node} <- Containers]),
    Seen = [{Node, connected(Container)} || {_, _, Node} = Container <- Containers],
    case [{Node, All -- [Node]} || {_, _, Node} <- Containers] of
        Seen -> ok;
        Expected -> error({no_mesh, Expected, Seen})
    end.

%% Waits until this answers ok; then says why it did not.
await(Fun) -> await(Fun, 30_000).

await(Fun, Milliseconds) -> await_until(Fun, erlang:monotonic_time(millisecond) + Milliseconds).

await_until(Fun, Deadline) ->
    try ok = Fun()
    catch Class:Reason:Stack ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(100), await_until(Fun, Deadline);
                false -> erlang:raise(Class, Reason, Stack)
            end
    end.
