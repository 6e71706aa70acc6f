%% Tests three functions of the NIF library: a node's own name, Rancher's metadata service, and
%% terms as JSON.
-module(eid_naming_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_group/2, end_per_group/2]).
-export([names_by_the_environment/1, names_by_rancher/1, names_by_eid_serve/1, no_name/1, the_command_agrees/1, a_service/1,
         a_bad_service/1, a_hanging_service/1, terms_as_json/1, terms_without_json/1]).
-export([in_docker/1, in_podman/1]).

all() -> [names_by_the_environment, names_by_rancher, names_by_eid_serve, no_name, the_command_agrees, a_service,
          a_bad_service, a_hanging_service, terms_as_json, terms_without_json, {group, rig}].

groups() -> [{rig, [in_docker, in_podman]}].

suite() -> [{timetrap, {minutes, 3}}].

init_per_group(rig, Config) ->
    case eid_rig:available(podman) of
        true ->
            ok = eid_rig:up(),
            %% The command also loads the images into Podman.
            {0, _} = eid_rig:command("podman-service 2 start"),
            Config;
        {skip, _} = Skip -> Skip
    end.

end_per_group(rig, _Config) -> eid_rig:down().

%% Connect and response timeout in milliseconds, and the maximum response in bytes. The timeouts are
%% long: they only end a test that hangs.
-define(LIMITS, {60_000, 60_000, 65536}).
-define(ENGINE, {<<"tcp://127.0.0.1:1">>, <<>>, <<>>, <<>>}).

%% Calls `eid:node_name/0' in a new VM with this environment. All other variables that affect the
%% name are unset.
node_name(Environment) -> node_name(Environment, []).

node_name(Environment, Arguments) ->
    Unset = [{Name, false} || Name <- ["EID_ENGINE", "EID_NAME", "EID_HOST", "MY_POD_IP", "EID_RANCHER"]],
    Code = "io:format(\"~0p.\", [eid:node_name()]), halt().",
    {0, Output} = eid_ct:run_erl(["-noinput", "-pa", eid_ct:ebin(), "-eval", Code | Arguments],
                                 lists:ukeymerge(1, lists:keysort(1, Environment), lists:keysort(1, Unset))),
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Output)),
    {ok, Term} = erl_parse:parse_term(Tokens),
    Term.

names_by_the_environment(_) ->
    ?assertEqual({ok, <<"shop@10.1.2.3">>}, node_name([{"EID_NAME", "shop"}, {"MY_POD_IP", "10.1.2.3"}])),
    ?assertEqual({ok, <<"shop@fd00::3">>},
                 node_name([{"EID_NAME", "shop"}, {"EID_HOST", "fd00::3"}, {"MY_POD_IP", "10.1.2.3"}])).

names_by_rancher(_) ->
    Url = metadata(#{"/latest/self/container" => "{\"primary_ip\": \"10.42.0.1\"}"}),
    ?assertEqual({ok, <<"shop@10.42.0.1">>}, node_name([{"EID_NAME", "shop"}, {"EID_RANCHER", Url}])).

%% The command `eid name' finds the same name.
names_by_eid_serve(_) ->
    "http://" ++ Rest = metadata(#{"/eid/host" => "{\"Host\": \"192.0.2.1\"}"}, none),
    Engine = "tcp://" ++ Rest,
    Environment = [{"EID_NAME", "shop"}, {"EID_ENGINE", Engine}],
    ?assertEqual({ok, <<"shop@192.0.2.1">>}, node_name(Environment)),
    ?assertEqual("shop@192.0.2.1\n", os:cmd("EID_NAME=shop EID_ENGINE=" ++ Engine ++ " '" ++ eid() ++ "' name")),
    %% Without the variable, eid uses the engine that is set for all hosts.
    Setting = ["-eid", "engines", lists:flatten(io_lib:format("~0p", [#{default => Engine}]))],
    ?assertEqual({ok, <<"shop@192.0.2.1">>}, node_name([{"EID_NAME", "shop"}], Setting)).

no_name(_) ->
    Missing = fun(Environment) ->
                      {error, {no_name, Sentence}} = node_name(Environment),
                      Sentence
              end,
    [?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, Part), Sentence})
     || {Part, Sentence} <-
            [{"set EID_HOST", Missing([{"EID_NAME", "shop"}, {"EID_ENGINE", "tcp://127.0.0.1:1"}])},
             {"EID_NAME is", Missing([{"EID_NAME", "a b"}, {"EID_HOST", "h"}])},
             {"connection refused", Missing([{"EID_NAME", "shop"}, {"EID_RANCHER", "http://127.0.0.1:1"}])}]].

eid() -> filename:join([filename:dirname(eid_ct:ebin()), "priv", "eid"]).

%% The command `eid name' and `eid:node_name/0' share their code.
the_command_agrees(_) ->
    ?assertEqual("shop@192.0.2.1\n",
                 os:cmd("EID_NAME=shop EID_HOST=192.0.2.1 '" ++ eid() ++ "' name")),
    ?assertEqual({ok, <<"shop@192.0.2.1">>}, node_name([{"EID_NAME", "shop"}, {"EID_HOST", "192.0.2.1"}])).

a_service(_) ->
    Service = "never_seen_" ++ integer_to_list(rand:uniform(1 bsl 60)),
    Url = metadata(#{"/latest/self/service" =>
                         "{\"name\": \"" ++ Service ++ "\", \"containers\": ["
                         "{\"primary_ip\": \"10.42.0.2\", \"state\": \"running\"}, "
                         "{\"primary_ip\": \"10.42.0.1\", \"state\": \"running\"}, "
                         "{\"primary_ip\": \"10.42.0.3\", \"state\": \"stopped\"}, "
                         "{\"primary_ip\": \"fd00::1\"}]}"}),
    Addresses = [{10,42,0,1}, {10,42,0,2}, {16#fd00,0,0,0,0,0,0,1}],
    ?assertEqual({ok, {list_to_binary(Service), Addresses}}, rancher(Url)),
    ?assertError(badarg, list_to_existing_atom(Service)).

a_bad_service(_) ->
    ?assertEqual({error, {refused, 404, <<"Not found">>}}, rancher(metadata(#{}))),
    ?assertEqual({error, bad_response}, rancher(metadata(#{"/latest/self/service" => "<html>"}))),
    ?assertEqual({error, {refused, 200, <<"this container has no service there">>}},
                 rancher(metadata(#{"/latest/self/service" => "null"}))),
    ?assertEqual({error, {unreachable, {connection, <<"connection refused">>}}}, rancher("http://127.0.0.1:1/latest")),
    [?assertMatch({error, {unreachable, _}}, rancher(NoUrl))
     || NoUrl <- ["", "rancher-metadata", "https://h", "http://h/\r\nX: y", <<255>>]],
    %% With an argument of the wrong type, the library sends nothing.
    ?assertError(badarg, eid_nif:rancher(make_ref(), "http://h", ?LIMITS, 1000)),
    ?assertError(badarg, eid_nif:node_name(make_ref(), undefined, ?ENGINE, ?LIMITS, 1000)).

%% The caller gets exactly one message, even if the total time limit is shorter than a request's. No
%% second message can come once the library has closed its connections.
a_hanging_service(_) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {active, false}]),
    {ok, Port} = inet:port(Listen),
    Url = "http://127.0.0.1:" ++ integer_to_list(Port),
    ?assertEqual({error, timeout}, rancher(Url, {500, 500, 65536}, 60_000)),
    ok = all_closed(Listen),
    ?assertEqual({error, timeout}, rancher(Url, ?LIMITS, 50)),
    ok = all_closed(Listen),
    Ref = make_ref(),
    pending = eid_library:call(fun() -> eid_nif:node_name(Ref, iolist_to_binary(Url), ?ENGINE, ?LIMITS, 50) end),
    ?assertMatch({error, {no_name, _}}, answer(Ref)),
    ok = all_closed(Listen),
    receive {Ref, _} = Second -> error(Second) after 0 -> ok end.

%% Reads each accepted connection until the library closes it.
all_closed(Listen) ->
    case gen_tcp:accept(Listen, 0) of
        {ok, Socket} -> ok = until_closed(Socket), all_closed(Listen);
        {error, timeout} -> ok
    end.

until_closed(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> until_closed(Socket);
        {error, closed} -> ok
    end.

rancher(Url) -> rancher(Url, ?LIMITS, 60_000).

rancher(Url, Limits, WithinMs) ->
    Ref = make_ref(),
    pending = eid_library:call(fun() ->
                                   eid_nif:rancher(Ref, iolist_to_binary(Url), Limits, WithinMs)
                           end),
    answer(Ref).

answer(Ref) ->
    receive {Ref, Answer} -> Answer end.

%% Starts a metadata service at a new URL, with a page for each path. It ends with the test case.
metadata(Pages) -> metadata(Pages, "application/json") ++ "/latest".

metadata(Pages, Accept) ->
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127,0,0,1}}, {active, false}, {packet, http}, {reuseaddr, true}]),
    {ok, Port} = inet:port(Listen),
    Server = spawn_link(fun() -> receive go -> serve(Listen, Pages, Accept) end end),
    ok = gen_tcp:controlling_process(Listen, Server),
    Server ! go,
    lists:concat(["http://127.0.0.1:", Port]).

serve(Listen, Pages, Accept) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    {ok, {http_request, 'GET', {abs_path, Path}, _}} = gen_tcp:recv(Socket, 0),
    Accept = proplists:get_value('Accept', headers(Socket), none),
    {Status, Body} = case Pages of
                         #{Path := Page} -> {"200 OK", Page};
                         _ -> {"404 Not Found", "{\"code\":404,\"message\":\"Not found\"}"}
                     end,
    ok = gen_tcp:send(Socket, ["HTTP/1.1 ", Status, "\r\nConnection: close\r\nContent-Length: ",
                               integer_to_list(iolist_size(Body)), "\r\n\r\n", Body]),
    gen_tcp:close(Socket),
    serve(Listen, Pages, Accept).

headers(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_header, _, Name, _, Value}} -> [{Name, Value} | headers(Socket)];
        {ok, http_eoh} -> []
    end.

json(Term) -> eid_library:call(fun() -> eid_nif:to_json(Term) end).

terms_as_json(_) ->
    Wide = binary_to_atom(<<"日本"/utf8>>),
    Long = binary_to_atom(unicode:characters_to_binary(lists:duplicate(255, $日))),
    [?assertEqual({Term, Json}, {Term, json(Term)})
     || {Term, Json} <-
            [{#{}, <<"{}">>}, {[], <<"[]">>}, {<<>>, <<"\"\"">>},
             {true, <<"true">>}, {false, <<"false">>}, {null, <<"null">>},
             {undefined, <<"\"undefined\"">>}, {'a b"', <<"\"a b\\\"\"">>}, {'é', <<"\"é\""/utf8>>},
             {Wide, <<"\"日本\""/utf8>>},
             {Long, <<$", (atom_to_binary(Long))/binary, $">>},
             {0, <<"0">>}, {-1, <<"-1">>}, {1 bsl 64 - 1, <<"18446744073709551615">>},
             {-(1 bsl 63), <<"-9223372036854775808">>}, {1.5, <<"1.5">>}, {-0.25, <<"-0.25">>},
             {<<"é\"\\\n\0"/utf8>>, <<"\"é\\\"\\\\\\n\\u0000\""/utf8>>},
             {"ab", <<"[97,98]">>},
             {#{a => [#{<<"b">> => 1}]}, <<"{\"a\":[{\"b\":1}]}">>},
             {nested(64), iolist_to_binary([lists:duplicate(65, $[), lists:duplicate(65, $])])}]],
    Many = maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, 1000)]),
    Json = json(Many),
    [?assertNotEqual(nomatch, binary:match(Json, [<<"\"", Key/binary, "\":", Key/binary>>]))
     || Key <- maps:keys(Many)].

terms_without_json(_) ->
    _ = json([]),    % loads the library
    [?assertError(badarg, json(Term))
     || Term <- [{a}, self(), make_ref(), fun() -> ok end, <<255>>, <<1:3>>, [1 | 2], 1 bsl 64,
                 -(1 bsl 63) - 1, #{1 => 2}, #{"a" => 1}, #{a => {}}, [[<<255>>]], #{<<255>> => 1},
                 nested(65), nested(1_000_000)]].

nested(0) -> [];
nested(Depth) -> [nested(Depth - 1)].

in_docker(_) -> in_container(#{host => 1, engine => docker}).

in_podman(_) -> in_container(#{host => 2, engine => podman}).

%% The hostname need not be the container's ID. The mounted command is the only part of eid in the
%% container.
in_container(Engine) ->
    Eid = filename:join([filename:dirname(eid_ct:ebin()), "priv"]),
    [Release | _] = eid_rig:releases(),
    try
        [begin
             Run = lists:append(["run -d --label eid.test=1 --stop-timeout 1 ", Options, " -v '",
                                 string:trim(os:cmd("readlink -f '" ++ Eid ++ "'")),
                                 ":/opt/eid:ro' eid-otp:", Release, " sleep infinity"]),
             Id = lists:last(string:lexemes(eid_rig:client(Engine, Run), "\r\n")),
             ?assertEqual(64, length(Id)),
             Name = fun(Arguments) ->
                            eid_rig:client(Engine, ["exec -e EID_HOST=192.0.2.1 ", Id, " /opt/eid/eid name ", Arguments])
                    end,
             ?assertEqual({Options, Id ++ "@192.0.2.1"}, {Options, Name("")}),
             ?assertEqual({Options, lists:sublist(Id, 12) ++ "@2001:db8::1"},
                          {Options, Name("--short --host 2001:db8::1")})
         end || Options <- ["", "--hostname web", "--network host", "--name web --hostname 0123456789ab"]]
    after
        eid_rig:stop_all(Engine)
    end.
