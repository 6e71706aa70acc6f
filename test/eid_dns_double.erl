%% A test double of a name server, on 127.0.0.1 over UDP. A function makes its answers, including
%% answers that a real server never sends.
-module(eid_dns_double).

-export([start/1, stop/1, port/1, asked/1, inetrc/2]).
-export([a/3, aaaa/3, srv/4]).

%% `Answer' gets the question, {Name, Type}. It returns a list of records, an error code (3: no such
%% name), `silence', or bytes to send unchanged after the question's ID. The server is linked to the
%% caller.
start(Answer) ->
    Self = self(),
    Server = spawn_link(fun() ->
                                {ok, Socket} = gen_udp:open(0, [binary, {ip, {127,0,0,1}}, {recbuf, 1 bsl 20}]),
                                {ok, Port} = inet:port(Socket),
                                Self ! {self(), Port},
                                loop(Socket, Answer, #{})
                        end),
    receive {Server, Port} -> {Server, Port} end.

stop({Server, _Port}) ->
    unlink(Server),
    exit(Server, kill).

port({_Server, Port}) -> Port.

%% Returns how often the server was asked for each name and type.
asked({Server, _Port}) ->
    Ref = make_ref(),
    Server ! {asked, self(), Ref},
    receive {Ref, Asked} -> Asked end.

%% Arguments for a node that asks only this name server.
inetrc({_Server, Port}, Folder) ->
    File = filename:join(Folder, "inetrc." ++ integer_to_list(Port)),
    ok = file:write_file(File, io_lib:format("{resolv_conf, \"\"}.~n{hosts_file, \"\"}.~n{lookup, [file]}.~n"
                                             "{nameserver, {127,0,0,1}, ~b}.~n{timeout, 2000}.~n{retry, 1}.~n", [Port])),
    ["-kernel", "inetrc", lists:flatten(io_lib:format("~p", [File]))].

loop(Socket, Answer, Asked) ->
    receive
        {udp, Socket, Ip, Port, <<Id:16, _/binary>> = Packet} ->
            {ok, Question} = inet_dns:decode(Packet),
            [Query] = inet_dns:msg(Question, qdlist),
            #{domain := Name, type := Type} = maps:from_list(inet_dns:dns_query(Query)),
            case Answer({Name, Type}) of
                silence -> ok;
                Bytes when is_binary(Bytes) -> gen_udp:send(Socket, Ip, Port, [<<Id:16>>, Bytes]);
                Code when is_integer(Code) -> gen_udp:send(Socket, Ip, Port, answer(Question, [], Code));
                Records -> gen_udp:send(Socket, Ip, Port, answer(Question, Records, 0))
            end,
            loop(Socket, Answer, maps:update_with({Name, Type}, fun(Count) -> Count + 1 end, 1, Asked));
        {asked, From, Ref} ->
            From ! {Ref, Asked},
            loop(Socket, Answer, Asked)
    end.

answer(Question, Records, Code) ->
    Header = inet_dns:make_header(inet_dns:msg(Question, header), [{qr, true}, {aa, true}, {ra, true}, {rcode, Code}]),
    inet_dns:encode(inet_dns:make_msg(Question, [{header, Header}, {anlist, Records}, {arlist, []}])).

a(Name, Ttl, Ip) -> record(Name, a, Ttl, Ip).

aaaa(Name, Ttl, Ip) -> record(Name, aaaa, Ttl, Ip).

srv(Name, Ttl, Port, Target) -> record(Name, srv, Ttl, {0, 0, Port, Target}).

record(Name, Type, Ttl, Data) ->
    inet_dns:make_rr([{domain, Name}, {type, Type}, {class, in}, {ttl, Ttl}, {data, Data}]).
