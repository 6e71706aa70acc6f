%% Tests the user's routes and allowed hosts: which key wins, and which keys and targets are
%% invalid.
-module(eid_routes_SUITE).

-include_lib("stdlib/include/assert.hrl").

-export([all/0, most_specific_key_wins/1, keys_of_every_type/1, dns_names_ignore_case/1, run_time_first/1,
         families_do_not_mix/1, allowed_hosts/1, allowed_by_default/1, bad_settings/1]).

all() ->
    [most_specific_key_wins, keys_of_every_type, dns_names_ignore_case, run_time_first, families_do_not_mix,
     allowed_hosts, allowed_by_default, bad_settings].

compile(Routes) -> eid_routing:compile_routes([eid_routing:parse_routes(Routes)]).

most_specific_key_wins(_) ->
    Table = compile(#{'db@10.0.0.5' => {{10,0,0,5}, 4711},
                                 "10.0.0.0/8" => direct,
                                 "10.42.0.0/16" => engine,
                                 "10.42.7.0/24" => epmd,
                                 "10.42.7.9" => {{192,0,2,9}, 99},
                                 "0.0.0.0/0" => epmd}),
    ?assertEqual({{10,0,0,5}, 4711}, eid_host_map:for_name(<<"db@10.0.0.5">>, <<"10.0.0.5">>, Table)),
    ?assertEqual(none, eid_host_map:for_name(<<"web@10.0.0.5">>, <<"10.0.0.5">>, Table)),
    [?assertEqual({Ip, Target}, {Ip, eid_routing:for_address(Ip, Table)})
     || {Ip, Target} <- [{{10,0,0,5}, direct}, {{10,42,1,1}, engine}, {{10,42,7,8}, epmd},
                         {{10,42,7,9}, {{192,0,2,9}, 99}}, {{11,0,0,1}, epmd}]],
    ?assertEqual(engine, eid_routing:for_address({192,0,2,1}, compile(#{}))).

keys_of_every_type(_) ->
    [?assertEqual({Key, direct}, {Key, eid_host_map:for_name(<<"a@b.c">>, <<"b.c">>,
                                                           compile(#{Key => direct}))})
     || Key <- ['a@b.c', "a@b.c", <<"a@b.c">>, 'b.c', "b.c", <<"b.c">>]].

dns_names_ignore_case(_) ->
    Table = compile(#{"Db.Example.ORG" => direct}),
    ?assertEqual(direct, eid_host_map:for_name(<<"a@dB.example.org">>, <<"dB.example.org">>, Table)).

%% A route that is set at run time wins, even if its key is written differently.
run_time_first(_) ->
    [begin
         Table = eid_routing:compile_routes([eid_routing:parse_routes(#{Configured => epmd}), eid_routing:parse_routes(#{AtRunTime => direct})]),
         ?assertEqual(direct, eid_routing:for_address({10,42,3,9}, Table))
     end || {Configured, AtRunTime} <- [{"10.42.3.9", <<"10.42.3.9">>}, {"10.42.3.9/32", '10.42.3.9'},
                                        {"10.42.1.0/16", "10.42.0.0/16"}]].

families_do_not_mix(_) ->
    Table = compile(#{"::/0" => direct, "2001:db8::/32" => epmd, "0.0.0.0/0" => epmd}),
    ?assertEqual(epmd, eid_routing:for_address({0,0,0,1}, Table)),
    ?assertEqual(direct, eid_routing:for_address({16#fd00,0,0,0,0,0,0,1}, Table)),
    ?assertEqual(epmd, eid_routing:for_address({16#2001,16#db8,0,0,0,0,0,1}, Table)).

allowed_hosts(_) ->
    Hosts = eid_routing:compile_hosts(["192.168.4.0/24", <<"db.example.org">>, "2001:db8::7"]),
    ?assert(eid_routing:is_allowed(<<"192.168.4.9">>, {192,168,4,9}, Hosts)),
    ?assertNot(eid_routing:is_allowed(<<"192.168.5.9">>, {192,168,5,9}, Hosts)),
    ?assert(eid_routing:is_allowed(<<"db.example.org">>, {1,2,3,4}, Hosts)),
    ?assertNot(eid_routing:is_allowed(none, {1,2,3,4}, Hosts)),
    ?assert(eid_routing:is_allowed(none, {16#2001,16#db8,0,0,0,0,0,7}, Hosts)),
    %% 192.168.4.9 and 192.168.5.9 in their IPv4-mapped form.
    ?assert(eid_routing:is_allowed(none, {0,0,0,0,0,16#ffff,16#c0a8,16#0409}, Hosts)),
    ?assertNot(eid_routing:is_allowed(none, {0,0,0,0,0,16#ffff,16#c0a8,16#0509},
                                     eid_routing:compile_hosts(["192.168.4.0/24", "::/0"]))),
    Named = eid_routing:compile_hosts(["db.example.org"]),
    ?assert(eid_routing:may_be_allowed(<<"db.example.org">>, Named)),
    ?assertNot(eid_routing:may_be_allowed(<<"other.example.org">>, Named)),
    ?assertNot(eid_routing:is_allowed(<<"a">>, {1,2,3,4}, eid_routing:compile_hosts([]))).

allowed_by_default(_) ->
    ?assert(eid_routing:is_allowed(none, {1,2,3,4}, eid_routing:compile_hosts(any))).

bad_settings(_) ->
    [?assertError({bad_setting, _}, eid_routing:parse_routes(Routes))
     || Routes <- [[], #{"10.0.0.0/33" => direct}, #{"10.0.0.0/x" => direct}, #{"" => direct},
                   #{42 => direct}, #{"a" => bridge}, #{"a" => {{1,2,3}, 5}}, #{"a" => {{1,2,3,4}, 0}},
                   #{"a" => {"1.2.3.4", 5}}]],
    [?assertError({bad_setting, _}, eid_routing:compile_hosts(Hosts))
     || Hosts <- [all, "10.0.0.1", ["10.0.0.0/-1"], [{1,2,3,4}], ["10.0.0.256"],
                  ["192.168.4.*"], ["10.0.0.1:4243"], ["[2001:db8::7]"], ["a b"]]],
    try eid_routing:parse_routes(#{"10.0.0.0/33" => direct})
    catch error:{bad_setting, Sentence} ->
            ?assertNotEqual(nomatch, string:find(Sentence, "routes")),
            ?assertNotEqual(nomatch, string:find(Sentence, "10.0.0.0/33"))
    end.
