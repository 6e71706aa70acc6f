%% Tests the status page, on nodes at loopback addresses and in a browser. The connections are real.
%% Most cases replace discovery's state by test data, so that it can have any content.
-module(eid_status_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_group/2, end_per_group/2]).
-export([endpoints/1, readiness/1, refusals/1, slow_clients/1, hostile_texts/1, json/1, metrics/1, no_cookie/1,
         application/1, bad_settings/1, port_taken/1, without_inets/1, round_trips/1, many_peers/1, releases/1, browser/1]).

-define(PAGE, eid_ct:ip(2)).

suite() -> [{timetrap, {minutes, 3}}].

all() ->
    [endpoints, readiness, refusals, slow_clients, hostile_texts, json, metrics, no_cookie, application, bad_settings, port_taken,
     without_inets, round_trips, many_peers, browser, {group, rig}].

groups() -> [{rig, [releases]}].

init_per_group(rig, Config) ->
    case eid_rig:available() of
        true -> ok = eid_rig:up(), Config;
        {skip, _} = Skip -> Skip
    end.

end_per_group(rig, _Config) ->
    eid_rig:stop_all(),
    eid_rig:down().

endpoints(_) ->
    {Page, _} = start_page(#{}),
    [begin
         {200, #{"content-type" := Type, "cache-control" := "no-store", "x-content-type-options" := "nosniff",
                 "content-length" := Length, "content-security-policy" := Policy} = Headers, Body} = get(Page, Path),
         ?assertEqual(byte_size(Body), list_to_integer(Length)),
         ?assertNot(is_map_key("server", Headers)),
         ?assertMatch({match, _}, re:run(Policy, "^default-src 'none';")),
         ?assertEqual({match, [{0, length(Policy)}]}, re:run(Policy, "^((?!unsafe|http|\\*).)*$", [{capture, first}])),
         {200, #{"content-type" := Type, "content-length" := _}, <<>>} = eid_status_node:request(Page, "HEAD", Path)
     end || {Path, Type} <- [{"/", "text/html; charset=utf-8"}, {"/?a=b", "text/html; charset=utf-8"},
                             {"/status.css", "text/css; charset=utf-8"},
                             {"/status.js", "text/javascript; charset=utf-8"},
                             {"/cluster.json", "application/json"},
                             {"/metrics", "text/plain; version=0.0.4; charset=utf-8"},
                             {"/live", "text/plain; charset=utf-8"}, {"/ready", "text/plain; charset=utf-8"}]].

%% Hidden nodes do not count.
readiness(_) ->
    {Page, Peer} = start_page(#{ready => 2}),
    {503, _, <<"not ready: 0 connected, 2 needed\n">>} = get(Page, "/ready"),
    {B, C} = {start_peer(Peer, b, eid_ct:ip(3)), start_peer(Peer, c, eid_ct:ip(4), ["-hidden"])},
    {503, _, <<"not ready: 1 connected, 2 needed\n">>} = get(Page, "/ready"),
    D = start_peer(Peer, d, eid_ct:ip(5)),
    {200, _, <<"ready: 2 connected, 2 needed\n">>} = get(Page, "/ready"),
    ok = peer:stop(C),
    {200, _, _} = get(Page, "/ready"),
    ok = peer:stop(D),
    eid_ct:eventually(fun() -> {Status, _, _} = get(Page, "/ready"), Status =:= 503 end),
    {200, _, <<"live\n">>} = get(Page, "/live"),
    ok = peer:stop(B).

refusals(_) ->
    {Page, Peer} = start_page(#{}),
    [{404, _, _} = get(Page, Path) || Path <- ["/index.html", "/metrics/", "//", "/live/..%2f..%2fetc/passwd",
                                               "/../../../etc/passwd", "/usr/lib/erlang", "*", "/releases"]],
    [{405, #{"allow" := "GET, HEAD"}, _} = eid_status_node:request(Page, Method, "/live")
     || Method <- ["POST", "PUT", "DELETE", "PATCH", "TRACE"]],
    {404, _, _} = eid_status_node:request(Page, "POST", "/nothing"),
    {501, _, _} = eid_status_node:request(Page, "OPTIONS", "/"),
    {414, _, _} = get(Page, [$/ | lists:duplicate(2000, $a)]),
    [{413, _, _} = eid_status_node:answer(eid_status_node:exchange(Page, ["POST / HTTP/1.1\r\nhost: a\r\n", Header, "\r\n\r\n"]))
     || Header <- ["content-length: 100000", [$x | lists:duplicate(9000, $x)] ++ ": y"]],
    %% The page answers each request or closes the connection, and then answers the next request.
    [begin
         eid_status_node:exchange(Page, Request),
         {200, _, _} = get(Page, "/live")
     end || Request <- ["GET / HTTP/1.1\r\n\r\n", "GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                        "\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n",
                        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", <<255,254,"/ HTTP/1.1\r\n\r\n">>,
                        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]],
    ?assertEqual([], [Header || Header <- maps:keys(element(2, get(Page, "/nothing"))), Header =:= "server"]),
    ?assert(is_process_alive(Peer)).

%% The page closes connections of clients that send nothing, announce a body and do not send it, or
%% do not read.
slow_clients(_) ->
    {{Ip, Port} = Page, Peer} = start_page(#{}),
    Ports = length(peer:call(Peer, erlang, ports, [])),
    pretend(Peer, eid_discovery_connector, maps:from_list([{integer_to_binary(N), peer(waiting, [shop], lists:duplicate(500, $x))}
                                                 || N <- lists:seq(1, 10_000)])),
    {ok, Deaf} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {recbuf, 1024}]),
    ok = gen_tcp:send(Deaf, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    Clients = [begin
                   Socket = eid_status_node:connect(Page),
                   ok = gen_tcp:send(Socket, Part),
                   Socket
               end || Part <- ["", "GET / HT", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n"]],
    {200, _, _} = get(Page, "/live"),
    [?assertMatch({error, closed}, gen_tcp:recv(Socket, 0)) || Socket <- Clients],
    eid_ct:eventually(fun() -> length(peer:call(Peer, erlang, ports, [])) =< Ports end),
    ok = gen_tcp:close(Deaf).

-define(HOSTILE, <<"\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\\\n\r\t\0{}", 16#202E/utf8, "end">>).

pretend_hostile(Peer) ->
    Node = <<"<b>", (?HOSTILE)/binary, "@", (?HOSTILE)/binary>>,
    Invalid = <<"caf", 16#E9, 16#FF, "<i>">>,
    Now = erlang:system_time(millisecond),
    pretend(Peer, eid_discovery_connector, #{Node => peer(waiting, [binary_to_atom(?HOSTILE)], unicode:characters_to_list(?HOSTILE)),
                                   Invalid => peer(connecting, [shop], "x" ++ lists:duplicate(100_000, $y)),
                                   <<>> => peer(waiting, [''], [$a, 16#10FFFF, $b])}),
    pretend(Peer, eid_discovery, [#{name => binary_to_atom(?HOSTILE), strategy => '<u>', nodes => [Node, Invalid],
                                    answered => never, error => #{text => binary_to_list(?HOSTILE), since => Now}}]).

hostile_texts(_) ->
    {Page, Peer} = start_page(#{}),
    pretend_hostile(Peer),
    {200, _, Body} = get(Page, "/"),
    ?assertEqual(Body, unicode:characters_to_binary(Body)),
    Tags = lists:usort(matches(Body, "<[^ >]*")),
    ?assertEqual([], [Tag || Tag <- Tags, lists:member(Tag, [<<"<b">>, <<"<i">>, <<"<u">>, <<"<img">>])]),
    ?assertEqual(1, length(matches(Body, "<script"))),
    ?assertNotEqual(nomatch, binary:match(Body, <<"&lt;script&gt;alert(1)&lt;/script&gt;">>)),
    %% Only these attribute names appear in tags.
    Names = lists:usort(matches(Body, "(?<=[ \"])[a-z-]+(?==\"[^\"<>]*\"[ >])")),
    ?assertEqual([], Names -- [<<"aria-hidden">>, <<"aria-label">>, <<"aria-labelledby">>, <<"charset">>, <<"class">>,
                               <<"colspan">>, <<"content">>, <<"data-label">>, <<"datetime">>, <<"href">>, <<"http-equiv">>,
                               <<"id">>, <<"lang">>, <<"name">>, <<"rel">>, <<"role">>, <<"scope">>, <<"src">>,
                               <<"title">>]),
    ?assertEqual(nomatch, binary:match(Body, <<16#202E/utf8>>)),
    ?assert(byte_size(Body) < 40_000).

%% Any JSON parser would do. OTP 27's parser is missing in OTP 25.
json(_) ->
    {Page, Peer} = start_page(#{ready => 1}),
    B = start_peer(Peer, b, eid_ct:ip(3)),
    NodeB = atom_to_binary(peer:call(B, erlang, node, [])),
    Address = list_to_binary(eid_ct:ip(3)),
    Now = erlang:system_time(millisecond),
    pretend(Peer, eid_discovery_connector, #{NodeB => (peer(connected, [shop], none))#{since => Now - 5000},
                                   <<"c@127.0.0.4">> => peer(waiting, [shop], "nobody answers")}),
    pretend(Peer, eid_discovery, [#{name => shop, strategy => static, nodes => [NodeB, <<"c@127.0.0.4">>], answered => Now,
                                    error => none}]),
    Own = atom_to_binary(peer:call(Peer, erlang, node, [])),
    eid_ct:eventually(fun() -> is_map_key(<<"round_trip_us">>, hd(maps:get(<<"peers">>, get_json(Page)))) end),
    ?assertMatch(#{<<"node">> := #{<<"name">> := Own, <<"carrier">> := <<"eid_tcp">>, <<"otp_release">> := _,
                                   <<"eid_version">> := _, <<"started">> := _},
                   <<"readiness">> := #{<<"ready">> := true, <<"connected">> := 1, <<"required">> := 1},
                   <<"peers">> := [#{<<"node">> := NodeB, <<"state">> := <<"connected">>, <<"route">> := <<"direct">>,
                                     <<"address">> := Address, <<"port">> := 12345, <<"hidden">> := false,
                                     <<"clusters">> := [<<"shop">>], <<"error">> := null},
                                   #{<<"node">> := <<"c@127.0.0.4">>, <<"state">> := <<"waiting">>, <<"route">> := null,
                                     <<"address">> := null, <<"port">> := null, <<"since">> := null,
                                     <<"error">> := <<"nobody answers">>}],
                   <<"clusters">> := [#{<<"name">> := <<"shop">>, <<"strategy">> := <<"static">>,
                                        <<"nodes">> := [NodeB, <<"c@127.0.0.4">>], <<"error">> := null}],
                   <<"engines">> := []}, get_json(Page)),
    %% Texts with characters that JSON must escape or can't represent.
    pretend_hostile(Peer),
    #{<<"peers">> := [_, _, _, _]} = get_json(Page).

get_json(Page) ->
    {200, _, Body} = get(Page, "/cluster.json"),
    eid_json:decode(Body).

metrics(_) ->
    {Page, Peer} = start_page(#{ready => 3}),
    B = start_peer(Peer, b, eid_ct:ip(3)),
    NodeB = atom_to_binary(peer:call(B, erlang, node, [])),
    Now = erlang:system_time(millisecond),
    pretend(Peer, eid_discovery_connector, #{NodeB => peer(connected, [shop], none), <<"c@127.0.0.4">> => peer(waiting, [shop], "no")}),
    pretend(Peer, eid_discovery, [#{name => shop, strategy => static, nodes => [NodeB], answered => Now, error => none},
                                  #{name => jobs, strategy => dns, nodes => [], answered => never,
                                    error => #{text => "no such name", since => Now}}]),
    ask_engine_that_is_down(Peer),
    eid_ct:eventually(fun() -> is_map_key({<<"eid_round_trip_seconds">>, [{<<"node">>, NodeB}]}, get_metrics(Page)) end),
    Metrics = get_metrics(Page),
    [?assertEqual({Name, Labels, Value}, {Name, Labels, maps:get({Name, Labels}, Metrics, none)})
     || {Name, Labels, Value} <-
            [{<<"eid_ready">>, [], 0.0}, {<<"eid_required_nodes">>, [], 3.0}, {<<"eid_listed_nodes">>, [], 2.0},
             {<<"eid_connected_nodes">>, [{<<"type">>, <<"visible">>}], 1.0},
             {<<"eid_connected_nodes">>, [{<<"type">>, <<"hidden">>}], 0.0},
             {<<"eid_node_connected">>, [{<<"node">>, NodeB}], 1.0},
             {<<"eid_node_connected">>, [{<<"node">>, <<"c@127.0.0.4">>}], 0.0},
             {<<"eid_strategy_nodes">>, [{<<"cluster">>, <<"shop">>}, {<<"strategy">>, <<"static">>}], 1.0},
             {<<"eid_strategy_failing">>, [{<<"cluster">>, <<"shop">>}, {<<"strategy">>, <<"static">>}], 0.0},
             {<<"eid_strategy_failing">>, [{<<"cluster">>, <<"jobs">>}, {<<"strategy">>, <<"dns">>}], 1.0},
             {<<"eid_lookups_total">>, [{<<"endpoint">>, <<"tcp://127.0.0.1:1">>}, {<<"outcome">>, <<"unreachable">>}], 1.0},
             {<<"eid_engine_state">>, [{<<"endpoint">>, <<"tcp://127.0.0.1:1">>}, {<<"state">>, <<"live">>}], 0.0}]],
    #{{<<"eid_node_start_time_seconds">>, []} := Started} = Metrics,
    Start = peer:call(Peer, erlang, system_info, [start_time])
        + peer:call(Peer, erlang, time_offset, []),
    ?assertEqual(erlang:convert_time_unit(Start, native, millisecond), round(Started * 1000)),
    %% Hostile labels come back as the page shows them, without characters that no text may contain.
    pretend_hostile(Peer),
    [_] = [Cluster || {{<<"eid_strategy_failing">>, [{_, Cluster}, _]}, 1.0} <- maps:to_list(get_metrics(Page)),
                      binary:match(Cluster, <<"\"'><script>alert(1)</script>">>) =:= {0, 28},
                      binary:match(Cluster, <<"&amp;\\ ">>) =/= nomatch].

get_metrics(Page) ->
    {200, _, Body} = get(Page, "/metrics"),
    ?assertEqual($\n, binary:last(Body)),
    maps:map(fun(_, Value) -> Value end, samples(binary:split(Body, <<"\n">>, [global]), none, [], #{})).

%% Parses the text format 0.0.4 strictly: each family is one block, which begins with HELP and TYPE,
%% and no sample appears twice.
samples([<<>>], _Family, _Families, Samples) ->
    Samples;
samples([Help, Type | Lines], Family, Families, Samples) when Family =:= none ->
    {match, [Name]} = re:run(Help, "^# HELP ([a-z_]+) [^\\\\]+$", [{capture, all_but_first, binary}]),
    {match, [Name, Kind]} = re:run(Type, "^# TYPE ([a-z_]+) (gauge|counter)$", [{capture, all_but_first, binary}]),
    ?assertNot(lists:member(Name, Families)),
    ?assertEqual(Kind =:= <<"counter">>, re:run(Name, "_total$", [{capture, none}]) =:= match),
    samples(Lines, {Name, 0}, [Name | Families], Samples);
samples([Line | Lines] = All, {Name, Count}, Families, Samples) ->
    case re:run(Line, "^([a-z_]+)(?:\\{(.*)\\})? ([0-9.e+-]+)$", [{capture, all_but_first, binary}, dotall]) of
        {match, [Name, Labels, Value]} ->
            Key = {Name, labels(Labels)},
            ?assertNot(is_map_key(Key, Samples)),
            samples(Lines, {Name, Count + 1}, Families, Samples#{Key => to_float(Value)});
        nomatch ->
            ?assert(Count > 0),
            samples(All, none, Families, Samples)
    end.

labels(<<>>) -> [];
labels(Text) ->
    {match, [Name, Value]} = re:run(Text, "^([a-z_]+)=\"((?:[^\"\\\\\n]|\\\\[\\\\\"n])*)\"", [{capture, all_but_first, binary}]),
    Length = byte_size(Name) + byte_size(Value) + 3,
    Rest = binary:part(Text, Length, byte_size(Text) - Length),
    Label = {Name, re:replace(Value, "\\\\([\\\\\"])", "\\1", [global, {return, binary}])},
    case Rest of
        <<>> -> [Label];
        <<",", More/binary>> -> [Label | labels(More)]
    end.

to_float(Text) ->
    try float(binary_to_integer(Text))
    catch error:badarg -> binary_to_float(Text)
    end.

no_cookie(_) ->
    Cookie = "ZqXjWvPk9Distinctive",
    {Page, Peer} = start_page(#{}),
    {ok, B, NodeB} = eid_ct:start_node(b, eid_ct:ip(3), []),
    {ok, C, NodeC} = eid_ct:start_node(c, eid_ct:ip(4), []),
    [true = peer:call(Node, erlang, set_cookie, [list_to_atom(Cookie)]) || Node <- [Peer, B]],
    pong = peer:call(Peer, net_adm, ping, [NodeB], 30_000),
    %% This node has another cookie, so its error message is about the cookie.
    pang = peer:call(Peer, net_adm, ping, [NodeC], 30_000),
    pretend(Peer, eid_discovery_connector, #{atom_to_binary(NodeC) => peer(waiting, [shop], eid:format_error({handshake, bad_cookie}))}),
    Digests = [Cookie | [binary_to_list(Encoded)
                         || Hash <- [md5, sha, sha256], Digest <- [crypto:hash(Hash, Cookie)],
                            Encoded <- [binary:encode_hex(Digest), base64:encode(Digest),
                                        integer_to_binary(binary:decode_unsigned(Digest))]]],
    [begin
         Answer = string:lowercase(eid_status_node:exchange(Page, [Method, " ", Path, " HTTP/1.1\r\nhost: a\r\n\r\n"])),
         [?assertEqual({Path, nomatch}, {Path, string:find(Answer, string:lowercase(Secret))}) || Secret <- Digests]
     end || Method <- ["GET", "POST", "OPTIONS"],
            Path <- ["/", "/cluster.json", "/metrics", "/live", "/ready", "/nothing", "/%zz"]],
    [peer:stop(Node) || Node <- [B, C]].

%% This case uses no test data.
application(_) ->
    Ip = eid_ct:address(2),
    Port = eid_ct:free_port(Ip),
    [_, NodeB, NodeC] = Nodes = [iolist_to_binary([Name, "@", eid_ct:ip(N)])
                                 || {Name, N} <- [{"page", 2}, {"b", 3}, {"c", 4}]],
    Setting = ["-eid", "status", term(#{ip => Ip, port => Port, ready => 1}), "-eid", "clusters",
               term([#{name => shop, strategy => {static, #{nodes => Nodes}}}])],
    {ok, Peer, _} = eid_ct:start_node(page, ?PAGE, ["-s", "eid" | Setting]),
    Page = {Ip, Port},
    eid_ct:eventually(fun() -> lists:keymember(eid, 1, peer:call(Peer, application, which_applications, [])) end),
    {503, _, _} = get(Page, "/ready"),
    {ok, B, _} = eid_ct:start_node(b, eid_ct:ip(3), []),
    eid_ct:eventually(fun() -> {Status, _, _} = get(Page, "/ready"), Status =:= 200 end),
    %% After the first attempt the page has the reason why the other node can't be reached.
    eid_ct:eventually(fun() -> [_, #{<<"error">> := Error}] = maps:get(<<"peers">>, get_json(Page)), Error =/= null end),
    #{<<"peers">> := [#{<<"node">> := NodeB, <<"state">> := <<"connected">>,
                        <<"since">> := <<_/binary>>},
                      #{<<"node">> := NodeC, <<"since">> := null}],
      <<"clusters">> := [#{<<"name">> := <<"shop">>, <<"strategy">> := <<"static">>, <<"error">> := null,
                           <<"nodes">> := [NodeB, NodeC]}]} = get_json(Page),
    {200, _, Html} = get(Page, "/"),
    ?assertNotEqual(nomatch, binary:match(Html, <<"1 of 2 peers connected">>)),
    %% The page stops and starts with the application.
    ok = peer:call(Peer, application, stop, [eid]),
    {error, econnrefused} = gen_tcp:connect(Ip, Port, []),
    ok = peer:call(Peer, application, start, [eid]),
    {200, _, _} = get(Page, "/ready"),
    %% If a setting is wrong, the console shows the reason.
    [begin
         Arguments = ["-noinput", "-name", "d@" ++ eid_ct:ip(5), "-s", "eid"
                      | eid_ct:arguments(eid_ct:ip(5))],
         {Status, Output} = eid_ct:run_erl(Arguments ++ Wrong, []),
         ?assertNotEqual(0, Status),
         ?assertNotEqual({nomatch, Output}, {string:find(Output, Sentence), Output})
     end || {Wrong, Sentence} <- [{["-eid", "status", "#{port => http}"], "it is http"},
                                  {Setting, "the status page can't listen on " ++ ?PAGE}]],
    ok = peer:stop(B).

term(Term) -> lists:flatten(io_lib:format("~0p", [Term])).

bad_settings(_) ->
    ?assertEqual(#{ip => {127,0,0,1}, port => 8080, ready => 0}, eid_status:parse(#{})),
    ?assertEqual(#{ip => {0,0,0,0,0,0,0,1}, port => 80, ready => 3}, eid_status:parse(#{ip => "::1", port => 80, ready => 3})),
    [try eid_status:parse(Setting) of
         Parsed -> error({parsed, Parsed})
     catch
         error:{bad_setting, Sentence} ->
             [?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, Word), Sentence}) || Word <- ["status" | Words]]
     end || {Setting, Words} <-
                [{[], ["a map", "it is []"]}, {on, ["it is on"]},
                 {#{adress => "::1"}, ["the key adress", "ip, port and ready"]}, {#{"ip" => x}, ["the key \"ip\""]},
                 {#{ip => {127,0,0}}, ["ip", "{127,0,0}"]}, {#{ip => localhost}, ["ip", "localhost"]},
                 {#{ip => "127.1"}, ["ip", "127.1"]}, {#{ip => {1,2,3,256}}, ["ip", "256"]},
                 {#{port => 0}, ["port", "it is 0"]}, {#{port => 65536}, ["port", "65536"]}, {#{port => "80"}, ["port"]},
                 {#{ready => -1}, ["ready", "it is -1"]}, {#{ready => yes}, ["ready", "it is yes"]}]].

port_taken(_) ->
    {{Ip, Port}, _Peer} = start_page(#{}),
    {error, {status, Sentence}} = eid_status:start_link(eid_status:parse(#{ip => Ip, port => Port})),
    [?assertNotEqual({nomatch, Sentence}, {string:find(Sentence, Word), Sentence})
     || Word <- [?PAGE, integer_to_list(Port), "in use", "status"]],
    {error, {status, Elsewhere}} = eid_status:start_link(eid_status:parse(#{ip => {192,0,2,77}, port => Port})),
    ?assertNotEqual(nomatch, string:find(Elsewhere, "192.0.2.77")).

without_inets(_) ->
    {ok, Peer, _} = eid_ct:start_node(page, ?PAGE, []),
    true = peer:call(Peer, code, del_path, [inets]),
    {error, {status, Sentence}} = peer:call(Peer, eid_status, start_link, [eid_status:parse(#{})]),
    ?assertNotEqual(nomatch, string:find(Sentence, "Add inets")),
    %% The rest of eid works without inets.
    ?assertMatch(ok, peer:call(Peer, application, start, [eid])).

round_trips(_) ->
    %% In a mesh, `global' on node B or on the page's node would disconnect node C
    %% from the other one of the two.
    NoMesh = ["-connect_all", "false"],
    {_Page, Peer} = start_page(#{}, NoMesh),
    B = start_peer(Peer, b, eid_ct:ip(3), NoMesh),
    C = start_peer(Peer, c, eid_ct:ip(4), NoMesh),
    %% A hidden node may be a C node, which does not understand the request.
    Hidden = start_peer(Peer, hidden, eid_ct:ip(5), ["-hidden"]),
    [NodeB, NodeC] = [peer:call(Node, erlang, node, []) || Node <- [B, C]],
    All = fun() -> peer:call(Peer, eid_round_trips, all, []) end,
    eid_ct:eventually(fun() -> lists:sort(maps:keys(All())) =:= [NodeB, NodeC] end),
    ?assert(lists:all(fun(Microseconds) -> Microseconds > 0 end, maps:values(All()))),
    %% While a node does not answer, its round trip grows with the waiting time.
    ok = peer:call(B, sys, suspend, [net_kernel]),
    eid_ct:eventually(fun() -> maps:get(NodeB, All()) > 1_000_000 end),
    ok = peer:call(B, sys, resume, [net_kernel]),
    eid_ct:eventually(fun() -> maps:get(NodeB, All()) < 1_000_000 end),
    %% The page forgets a node that has left, and does not connect to it again.
    true = peer:call(Peer, erlang, disconnect_node, [NodeB]),
    eid_ct:eventually(fun() -> maps:keys(All()) =:= [NodeC] end),
    peer:call(Peer, erlang, send, [eid_round_trips, ask]),
    ?assertEqual([NodeC], maps:keys(All())),
    ?assertEqual([NodeC], peer:call(Peer, erlang, nodes, [])),
    peer:stop(Hidden).

many_peers(_) ->
    {Page, Peer} = start_page(#{}),
    Nodes = [iolist_to_binary(io_lib:format("~12.16.0b@192.168.4.231", [N])) || N <- lists:seq(1, 500)],
    pretend(Peer, eid_discovery_connector, maps:from_list([{Node, peer(waiting, [shop], "nobody answers")} || Node <- Nodes])),
    {200, _, Body} = get(Page, "/"),
    ?assertEqual(500, length(matches(Body, "<tr role=\"row\" id=\"peer-[0-9a-f]+%40192.168.4.231\""))),
    ?assertNotEqual(nomatch, binary:match(Body, <<"0 of 500 peers connected">>)).

%% The same compiled code runs on every release. The page listens inside the container.
releases(_) -> [on_release(Release) || Release <- eid_rig:releases()].

on_release(Release) ->
    #{peer := Peer} = eid_rig:start_node(1, Release, #{}),
    Page = serve_on(Peer, #{ready => 1}),
    pretend_hostile(Peer),
    [?assertMatch({Release, Path, {Status, _, _}},
                  {Release, Path, peer:call(Peer, eid_status_node, request, [Page, Method, Path])})
     || {Method, Path, Status} <- [{"GET", "/", 200}, {"GET", "/cluster.json", 200}, {"GET", "/metrics", 200},
                                   {"GET", "/live", 200}, {"GET", "/ready", 503}, {"POST", "/", 405}, {"GET", "/x", 404}]],
    peer:stop(Peer).

%% Shows a cluster of four in Chromium while one node leaves.
browser(Config) ->
    case programs() of
        {ok, Python, Chromium, Driver} -> in_browser(Python, Chromium, Driver, ?config(priv_dir, Config));
        {missing, What} -> {skip, "there is no " ++ What}
    end.

%% A real cluster, without test data. One of its nodes does not exist, and one strategy reaches no
%% engine.
in_browser(Python, Chromium, Driver, Folder) ->
    {Ip, Port} = Page = {eid_ct:address(2), eid_ct:free_port(eid_ct:address(2))},
    Names = [{"0a1b2c3d4e5f", eid_ct:ip(3)}, {"9f8e7d6c5b4a", eid_ct:ip(4)},
             {lists:append(lists:duplicate(8, "c0ffee12")), eid_ct:ip(5)}],
    [_, _, D] = [begin {ok, Peer, _} = eid_ct:start_node(Name, At, []), Peer end
                 || {Name, At} <- Names],
    Away = [lists:duplicate(64, $f), "@2001:db8:85a3:8d3:1319:8a2e:370:7348"],
    Nodes = [iolist_to_binary(Away) | [iolist_to_binary([Name, "@", At]) || {Name, At} <- Names]],
    Clusters = [#{name => shop, strategy => {static, #{nodes => Nodes}}},
                #{name => jobs, strategy => {docker, #{hosts => ["127.0.0.1"], label => "eid.cluster=jobs"}}},
                #{name => '<img src=x onerror=alert(1)>', strategy => {hosts_file, #{file => filename:join(Folder, "hosts")}}}],
    ok = file:write_file(filename:join(Folder, "hosts"), ["'", eid_ct:ip(4), "'.\n"]),
    {ok, Peer, _} = eid_ct:start_node(page, ?PAGE, ["-eid", "engines", "#{default => \"tcp://127.0.0.1:1\"}",
                                                    "-eid", "clusters", term(Clusters),
                                                    "-eid", "status",
                                                    term(#{ip => Ip, port => Port, ready => 2})]),
    ok = peer:call(Peer, eid, start, []),
    _Hidden = start_peer(Peer, remsh, eid_ct:ip(6), ["-hidden"]),
    Script = filename:join([eid_ct:root(), "test", "browser", "status_page.py"]),
    Url = "http://" ++ ?PAGE ++ ":" ++ integer_to_list(Port) ++ "/",
    eid_ct:eventually(fun() -> length(matches(element(3, get(Page, "/")), " ms<")) >= 3 end),
    Browser = open_port({spawn_executable, Python},
                        [{args, [Script, Url, Folder, Chromium, Driver]}, {line, 10_000}, exit_status, stderr_to_stdout]),
    attend(Browser, [{"leave", fun() -> peer:stop(D) end}, {"end", fun() -> peer:stop(Peer) end}], []).

attend(Browser, Wishes, Lines) ->
    receive
        {Browser, {data, {_, Line}}} ->
            case lists:keytake(Line, 1, Wishes) of
                {value, {_, Fulfil}, Rest} ->
                    Fulfil(),
                    port_command(Browser, "done\n"),
                    attend(Browser, Rest, Lines);
                false -> attend(Browser, Wishes, [Line | Lines])
            end;
        {Browser, {exit_status, Status}} ->
            ?assertEqual({0, [], ["ok"]}, {Status, Wishes, lists:reverse(Lines)})
    end.

%% The first Python in PATH may lack selenium, so the search tries a second one.
programs() ->
    Pythons = [Python || Python <- ["python3", "/usr/bin/python3"], string:find(os:cmd(Python ++ " -c 'import selenium' || echo no"), "no") =:= nomatch],
    Chromiums = [Path || Name <- ["chromium", "chromium-browser", "google-chrome"], Path <- [os:find_executable(Name)], Path =/= false],
    case {Pythons, Chromiums, os:find_executable("chromedriver")} of
        {[], _, _} -> {missing, "Python with selenium"};
        {_, [], _} -> {missing, "Chromium"};
        {_, _, false} -> {missing, "chromedriver"};
        {[Python | _], [Chromium | _], Driver} -> {ok, os:find_executable(Python), Chromium, Driver}
    end.

%% Starts a node with the page. Returns the page's address and the peer.
start_page(Settings) -> start_page(Settings, []).

start_page(Settings, Arguments) ->
    {ok, Peer, _} = eid_ct:start_node(page, ?PAGE, ["-eid", "engines", "#{default => \"tcp://127.0.0.1:1\"}" | Arguments]),
    {serve_on(Peer, Settings#{ip => eid_ct:address(2)}), Peer}.

serve_on(Peer, Settings) ->
    {Module, Binary, File} = code:get_object_code(eid_status_node),
    {module, Module} = peer:call(Peer, code, load_binary, [Module, File, Binary]),
    pretend(Peer, eid_discovery_connector, #{}),
    pretend(Peer, eid_discovery, []),
    Port = eid_ct:free_port(maps:get(ip, Settings, {127,0,0,1})),
    #{ip := Ip} = Config = eid_status:parse(Settings#{port => Port}),
    ok = peer:call(Peer, Module, serve, [Config]),
    {Ip, Port}.

start_peer(Page, Name, Ip) -> start_peer(Page, Name, Ip, []).

start_peer(Page, Name, Ip, Arguments) ->
    {ok, Peer, Node} = eid_ct:start_node(Name, Ip, Arguments),
    pong = peer:call(Page, net_adm, ping, [Node], 30_000),
    Peer.

%% From now on, this module's info/0 on that node returns the given data. It reads a persistent
%% term, because a large term takes long to compile.
pretend(Peer, Module, Info) ->
    Key = {?MODULE, Module},
    ok = peer:call(Peer, persistent_term, put, [Key, Info], 60_000),
    Get = {call, 1, {remote, 1, {atom, 1, persistent_term}, {atom, 1, get}}, [erl_parse:abstract(Key)]},
    Forms = [{attribute, 1, module, Module}, {attribute, 1, export, [{info, 0}]},
             {function, 1, info, 0, [{clause, 1, [], [], [Get]}]}],
    {ok, Module, Binary} = compile:forms(Forms),
    _ = peer:call(Peer, code, purge, [Module]),
    {module, Module} = peer:call(Peer, code, load_binary, [Module, "pretended", Binary]).

peer(State, Clusters, Error) -> #{clusters => Clusters, state => State, since => undefined, error => Error}.

ask_engine_that_is_down(Peer) ->
    {error, {unreachable, _}} = peer:call(Peer, eid, lookup, [<<"shop@192.0.2.99">>]).

get(Page, Path) -> eid_status_node:request(Page, "GET", Path).

matches(Text, Pattern) ->
    case re:run(Text, Pattern, [global, {capture, first, binary}]) of
        {match, Found} -> lists:append(Found);
        nomatch -> []
    end.
