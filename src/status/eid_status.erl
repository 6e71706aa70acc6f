%% @doc The status page: `{eid, [{status, #{ip => {127,0,0,1}, port => 8080, ready => 2}}]}'.
%%
%% The default is off. The server is `httpd' of OTP's application `inets', which must be in the code
%% path but need not be started. {@link eid_status_http} answers the requests.
-module(eid_status).

-export([parse/1, child_specs/1, start_link/1]).

-export_type([config/0]).

-type config() :: #{ip := inet:ip_address(), port := inet:port_number(),
                    ready := non_neg_integer()}.
%% `ready': the number of visible peers that make `/ready' answer 200.

%% A node without peers may be the first node of a cluster, so by default it counts as ready.
-define(DEFAULTS, #{ip => {127,0,0,1}, port => 8080, ready => 0}).

%% @doc Checks the `status' setting. Raises {@link eid_config:bad_setting()}.
-spec parse(term()) -> config().
parse(Map) when is_map(Map) ->
    case maps:keys(maps:without(maps:keys(?DEFAULTS), Map)) of
        [] -> maps:map(fun parse/2, maps:merge(?DEFAULTS, Map));
        [Key | _] ->
            eid_config:bad_setting("{eid, [{status, Map}]} has the key ~0tp; it may have ip, port "
                                   "and ready", [Key])
    end;
parse(Other) ->
    eid_config:bad_setting("{eid, [{status, Map}]} must be a map, for example #{ip => {127,0,0,1}, "
                           "port => 8080, ready => 2}; it is ~0tp", [Other]).

parse(ip, Value) ->
    case address(Value) of
        {ok, Ip} -> Ip;
        {error, _} ->
            eid_config:bad_setting("{eid, [{status, #{ip => Ip}}]} must be an address of this "
                                   "node, for example {127,0,0,1}; it is ~0tp", [Value])
    end;
parse(port, Port) when is_integer(Port), Port > 0, Port < 65536 ->
    Port;
parse(port, Other) ->
    eid_config:bad_setting("{eid, [{status, #{port => Port}}]} must be an integer from 1 to 65535; "
                           "it is ~0tp", [Other]);
parse(ready, Peers) when is_integer(Peers), Peers >= 0 ->
    Peers;
parse(ready, Other) ->
    eid_config:bad_setting("{eid, [{status, #{ready => N}}]} must be the number of peers that make "
                           "this node ready, 0 or more; it is ~0tp", [Other]).

address(Ip) when is_tuple(Ip) ->
    case inet:ntoa(Ip) of
        {error, einval} = Error -> Error;
        _ -> {ok, Ip}
    end;
address(Text) when is_list(Text) -> inet:parse_strict_address(Text);
address(_) -> {error, einval}.

%% @doc The children of eid's supervisor for the page.
-spec child_specs(config()) -> [supervisor:child_spec()].
child_specs(Config) ->
    [#{id => eid_round_trips, start => {eid_round_trips, start_link, []}},
     #{id => ?MODULE, start => {?MODULE, start_link, [Config]}, type => supervisor,
       shutdown => infinity}].

%% @doc Starts the server. The error is a sentence.
-spec start_link(config()) -> supervisor:startlink_ret() | {error, {status, Sentence :: string()}}.
start_link(Config) ->
    case code:ensure_loaded(httpd) of
        {module, httpd} ->
            case can_listen(Config) of
                ok -> start_server(Config);
                {error, Posix} ->
                    failed("the status page can't listen on ~ts port ~b (~ts). Give it another ip "
                           "or port in {eid, [{status, ...}]}, or end the program that listens "
                           "there", Config, inet:format_error(Posix))
            end;
        {error, _} ->
            failed("the status page on ~ts port ~b needs OTP's application inets (~ts). Add inets "
                   "to the release or the image, or take {eid, [{status, ...}]} away", Config,
                   "it is not in the code path")
    end.

failed(Format, #{ip := Ip, port := Port}, Why) ->
    {error, {status, eid_text:format(Format, [inet:ntoa(Ip), Port, Why])}}.

%% `httpd' hides the reason deep in the exit of a supervisor, so this tries first.
can_listen(#{ip := Ip, port := Port}) ->
    case gen_tcp:listen(Port, [{ip, Ip}, {reuseaddr, true}, family(Ip)]) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, _} = Error -> Error
    end.

start_server(Config) ->
    case inets:start(httpd, server_config(Config), stand_alone) of
        {ok, Supervisor} = Started ->
            case supervisor:which_children(Supervisor) of
                [{_, Server, _, _}] when is_pid(Server) -> Started;
                %% It has refused the configuration and logged why.
                _ ->
                    true = unlink(Supervisor),
                    true = exit(Supervisor, shutdown),
                    failed("the status page on ~ts port ~b ~ts", Config,
                           "can't run on this release's httpd")
            end;
        {error, Reason} ->
            failed("the status page on ~ts port ~b can't be started: ~0tp", Config, Reason)
    end.

%% One small request for each connection. A client slower than `minimum_bytes_per_second' is
%% disconnected. (There is no `keep_alive_timeout': OTP 29 refuses it together with `keep_alive'
%% off.)
server_config(#{ip := Ip, port := Port, ready := Ready}) ->
    Anywhere = code:root_dir(),    % the folders must exist, but no module reads files there
    [{bind_address, Ip}, {port, Port}, {ipfamily, family(Ip)},
     {server_name, "eid"}, {server_tokens, none},
     {server_root, Anywhere}, {document_root, Anywhere},
     {modules, [eid_status_http]}, {customize, eid_status_http}, {eid_ready, Ready},
     {keep_alive, false}, {minimum_bytes_per_second, 200},
     {max_clients, 64}, {max_uri_size, 1024}, {max_header_size, 8192},
     %% `httpd' compares the number of digits of Content-Length: 1 accepts 0 to 9, which is below
     %% max_body_size.
     {max_content_length, 1}, {max_body_size, 10}].

family({_, _, _, _}) -> inet;
family(_) -> inet6.
