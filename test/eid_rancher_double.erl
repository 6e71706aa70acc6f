%% A test double of Rancher 1.x's metadata service: a small HTTP server in the network of the rig's
%% host 1. A test sets its contents.
%%
%% The answer depends on the client: `self' is the container with the client's address as its
%% primary address, and the container's service and host. The server answers every path below
%% `self'. A client that accepts JSON gets JSON. Other clients get text: a value, or the keys of an
%% object.
-module(eid_rancher_double).

-export([start/0, start/1, stop/1, url/1, set/2]).
%% Run on the server's node.
-export([serve/2, put_contents/1]).

-export_type([double/0, contents/0]).

-opaque double() :: #{peer := pid(), url := string()}.

-type contents() :: {services, [#{name := string(), containers := [container()]}]} | {status, 400..599}.
%% With `status' the server answers every request with this status.
-type container() :: #{primary_ip := string(), agent_ip := string(), name := string(), state => string(), _ => _}.

-define(PORT, 8090).

%% Starts the server on host 1, without any service.
-spec start() -> double().
start() -> start(eid_rig:host_ip(1)).

-spec start(Ip :: string()) -> double().
start(Ip) ->
    Erl = ["exec", "1", "erl", "-pa", filename:absname(filename:dirname(code:which(?MODULE)))],
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => 30_000, exec => {eid_rig:script(), Erl}}),
    {ok, Address} = inet:parse_address(Ip),
    ok = peer:call(Peer, ?MODULE, serve, [Address, ?PORT]),
    Double = #{peer => Peer, url => lists:flatten(io_lib:format("http://~s:~b/latest", [Ip, ?PORT]))},
    ok = set(Double, {services, []}),
    Double.

-spec stop(double()) -> ok.
stop(#{peer := Peer}) -> peer:stop(Peer).

%% The URL to which clients send requests.
-spec url(double()) -> string().
url(#{url := Url}) -> Url.

-spec set(double(), contents()) -> ok.
set(#{peer := Peer}, Contents) -> peer:call(Peer, ?MODULE, put_contents, [Contents]).

put_contents(Contents) -> persistent_term:put(?MODULE, Contents).

%% Returns once the server listens.
serve(Ip, Port) ->
    Self = self(),
    Server = spawn(fun() ->
                           {ok, Listen} = gen_tcp:listen(Port, [{ip, Ip}, binary, {packet, http_bin}, {active, false},
                                                                {reuseaddr, true}, {backlog, 128}]),
                           Self ! {listening, self()},
                           accept(Listen)
                   end),
    receive {listening, Server} -> ok after 5000 -> {error, timeout} end.

accept(Listen) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    Pid = spawn(fun() -> receive go -> requests(Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listen).

requests(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, 'GET', {abs_path, Path}, _}} ->
            Accept = accept_header(Socket, <<>>),
            {ok, {Asker, _}} = inet:peername(Socket),
            {Status, Type, Body} = answer(string:lexemes(Path, "/"), inet:ntoa(Asker), Accept, persistent_term:get(?MODULE)),
            ok = gen_tcp:send(Socket, ["HTTP/1.1 ", integer_to_list(Status), " Whatever\r\nContent-Type: ", Type,
                                       "\r\nContent-Length: ", integer_to_list(iolist_size(Body)), "\r\n\r\n", Body]),
            requests(Socket);
        _ -> gen_tcp:close(Socket)
    end.

accept_header(Socket, Accept) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_header, _, 'Accept', _, Value}} -> accept_header(Socket, Value);
        {ok, http_eoh} -> Accept;
        {ok, {http_header, _, _, _, _}} -> accept_header(Socket, Accept)
    end.

answer(_Path, _Asker, _Accept, {status, Status}) ->
    {Status, "text/plain", "no metadata now"};
answer([_Version | Path], Asker, Accept, {services, Services}) ->
    Wanted = walk(Path, #{<<"self">> => self_of(Asker, Services)}),
    case {Wanted, binary:match(Accept, <<"application/json">>)} of
        {none, _} -> {404, "text/plain", "Not found"};
        {{some, Value}, nomatch} -> {200, "text/plain", plain(Value)};
        {{some, Value}, _} -> {200, "application/json", json(Value)}
    end;
answer([], _Asker, _Accept, _Contents) ->
    {404, "text/plain", "Not found"}.

walk([], Value) -> {some, Value};
walk([Key | Path], Map) when is_map_key(Key, Map) -> walk(Path, maps:get(Key, Map));
walk(_, _) -> none.

self_of(Asker, Services) ->
    case [{Service, Container} || #{containers := Containers} = Service <- Services,
                                  #{primary_ip := Ip} = Container <- Containers, Ip =:= Asker] of
        [{Service, Container} | _] ->
            #{<<"container">> => container(Container, Service), <<"service">> => service(Service), <<"host">> => host(Container)};
        [] -> #{}
    end.

service(#{name := Name, containers := Containers} = Service) ->
    #{<<"name">> => text(Name), <<"kind">> => <<"service">>, <<"stack_name">> => <<"test">>, <<"scale">> => length(Containers),
      <<"fqdn">> => null, <<"vip">> => null, <<"hostname">> => null, <<"health_check">> => null, <<"system">> => false,
      <<"labels">> => #{}, <<"links">> => #{}, <<"metadata">> => #{}, <<"ports">> => [], <<"sidekicks">> => [],
      <<"external_ips">> => [], <<"containers">> => [container(Container, Service) || Container <- Containers]}.

container(#{primary_ip := Ip, name := Name} = Container, #{name := Service}) ->
    #{<<"name">> => text(Name), <<"primary_ip">> => text(Ip), <<"ips">> => [text(Ip)], <<"service_name">> => text(Service),
      <<"stack_name">> => <<"test">>, <<"state">> => text(maps:get(state, Container, "running")), <<"health_state">> => null,
      <<"start_count">> => 1, <<"system">> => false, <<"labels">> => #{<<"io.rancher.container.network">> => <<"true">>},
      <<"ports">> => [], <<"dns">> => [], <<"dns_search">> => [], <<"network_from_container_uuid">> => null}.

host(#{agent_ip := Ip}) ->
    #{<<"agent_ip">> => text(Ip), <<"name">> => <<"host-", (text(Ip))/binary>>, <<"hostname">> => <<"host-", (text(Ip))/binary>>,
      <<"labels">> => #{}, <<"memory">> => 4096, <<"milli_cpu">> => 2000}.

text(Text) -> list_to_binary(Text).

plain(Map) when is_map(Map) ->
    [[Key, case Value of _ when is_map(Value); is_list(Value) -> "/\n"; _ -> "\n" end] || {Key, Value} <- maps:to_list(Map)];
plain(List) when is_list(List) ->
    [[integer_to_list(Index), "=", maps:get(<<"name">>, Item, <<>>), "\n"]
     || {Index, Item} <- lists:zip(lists:seq(0, length(List) - 1), List), is_map(Item)];
plain(null) -> "";
plain(Text) when is_binary(Text) -> Text;
plain(Other) -> io_lib:format("~p", [Other]).

%% Only these two characters in the tests' texts need an escape.
json(Map) when is_map(Map) ->
    ["{", lists:join(",", [[json(Key), ":", json(Value)] || {Key, Value} <- maps:to_list(Map)]), "}"];
json(List) when is_list(List) -> ["[", lists:join(",", [json(Item) || Item <- List]), "]"];
json(Text) when is_binary(Text) -> ["\"", string:replace(string:replace(Text, "\\", "\\\\", all), "\"", "\\\"", all), "\""];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Atom) when Atom =:= true; Atom =:= false; Atom =:= null -> atom_to_list(Atom).
