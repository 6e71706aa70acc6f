%% A test double of an engine that misbehaves on command. It runs the program in
%% `native/docker/tests/engine_double', where `program.rs' lists the commands.
-module(eid_engine_double).

-export([build/0, start/0, stop/1, address/1, tell/2, ids/2, note/2, misbehaviours/1]).

-export_type([double/0]).

-opaque double() :: {port(), Address :: string()}.

%% Makes cargo build the program, which may take minutes.
-spec build() -> ok.
build() ->
    _ = program(),
    ok.

%% Starts a double without containers, at its own loopback address.
-spec start() -> double().
start() ->
    Program = program(),
    %% No two doubles of a run have the same address, because settings are by address.
    N = erlang:unique_integer([positive, monotonic]),
    Ip = lists:concat(["127.77.", N div 250 rem 250, ".", 1 + N rem 250]),
    Port = open_port({spawn_executable, Program},
                     [{args, ["--listen", Ip ++ ":0"]}, {line, 1_000_000}, binary]),
    receive {Port, {data, {eol, Line}}} -> {Port, binary_to_list(string:prefix(Line, "listening on "))}
    after 60_000 -> error({no_double, Program})
    end.

program() ->
    case persistent_term:get(?MODULE, none) of
        none ->
            Program = built(),
            persistent_term:put(?MODULE, Program),
            Program;
        Program -> Program
    end.

%% Runs cargo every time, because only cargo knows whether there is anything to build.
built() ->
    Root = eid_ct:root(),
    Target = os:getenv("CARGO_TARGET_DIR", filename:join(Root, "target")),
    Built = os:cmd("cd '" ++ Root ++ "' && cargo build --locked --quiet -p eid-docker --example engine-double "
                   "--target-dir '" ++ Target ++ "' 2>&1 && echo built"),
    "built" = string:trim(Built),
    filename:join([Target, "debug", "examples", "engine-double"]).

-spec stop(double()) -> ok.
stop({Port, _Address}) ->
    port_close(Port),
    ok.

%% Returns `Host:Port', as part of an engine's URL.
-spec address(double()) -> string().
address({_Port, Address}) -> Address.

%% Sends a command and returns the result, as JSON.
-spec tell(double(), iodata()) -> binary().
tell({Port, _Address}, Command) ->
    true = port_command(Port, [Command, $\n]),
    Answer = line(Port, <<>>),
    case re:run(Answer, "^{\"ok\":(.*)}$", [{capture, [1], binary}]) of
        {match, [Ok]} -> Ok;
        nomatch -> error({double, iolist_to_binary(Command), Answer})
    end.

line(Port, Line) ->
    receive
        {Port, {data, {noeol, Part}}} -> line(Port, <<Line/binary, Part/binary>>);
        {Port, {data, {eol, Part}}} -> <<Line/binary, Part/binary>>
    after 60_000 -> error(double_is_silent)
    end.

%% Returns the IDs in the answer to a command.
-spec ids(double(), iodata()) -> [binary()].
ids(Double, Command) ->
    case re:run(tell(Double, Command), "[0-9a-f]{64}", [global, {capture, first, binary}]) of
        {match, Matches} -> lists:append(Matches);
        nomatch -> []
    end.

%% Returns one of the double's counters: `requests', `inspects', …
-spec note(double(), atom()) -> non_neg_integer().
note(Double, Name) ->
    {match, [Number]} = re:run(tell(Double, "{\"do\":\"notes\"}"), ["\"", atom_to_list(Name), "\":([0-9]+)"],
                               [{capture, [1], binary}]),
    binary_to_integer(Number).

%% Returns all misbehaviours, each with the places where it is possible.
-spec misbehaviours(double()) -> [{How :: binary(), [Where :: binary()]}].
misbehaviours(Double) ->
    {match, Found} = re:run(tell(Double, "{\"do\":\"misbehaviours\"}"),
                            "{\"how\":\"([^\"]+)\",\"where\":\\[([^]]*)\\]}", [global, {capture, [1, 2], binary}]),
    [{How, [binary:replace(Where, <<"\"">>, <<>>, [global]) || Where <- binary:split(Places, <<",">>, [global])]}
     || [How, Places] <- Found].
