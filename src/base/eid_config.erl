%% @doc The settings: their names, defaults and checks. doc/reference.md lists them.
%%
%% The two ports belong to the application `kernel' (`erl -kernel erlang_port 12345'), like OTP's
%% own distribution settings. The others belong to `eid'.
-module(eid_config).

-export([erlang_port/0, docker_daemon_port/0, limits/0, lookup_time/0, engines/0, engine_certs/0,
         engine_token_file/0, routes/0, allowed_hosts/0, clusters/0, status/0, tuning/2,
         listen_options/0, connect_options/0, bad_setting/2]).

-export_type([bad_setting/0, limits/0]).

-type bad_setting() :: {bad_setting, Sentence :: string()}.
%% The error that these functions raise. The sentence has the key, its value and the values that
%% are allowed.

-type limits() :: {ConnectMs :: pos_integer(), ResponseMs :: pos_integer(),
                   BodyBytes :: pos_integer()}.
%% Limits of one request: milliseconds to connect, milliseconds from then until the end of the
%% answer, and bytes of its body.

%% @doc The TCP port that every node listens on in its container (`-kernel erlang_port', 12345).
-spec erlang_port() -> inet:port_number().
erlang_port() -> port(erlang_port, 12345).

%% @doc The TCP port of the Docker API on every host (`-kernel docker_daemon_port', 4243).
-spec docker_daemon_port() -> inet:port_number().
docker_daemon_port() -> port(docker_daemon_port, 4243).

%% @doc The limits of one request to an engine: `{connect_timeout, 2000}' and
%% `{response_timeout, 3000}' in milliseconds, `{max_response_size, 1048576}' in bytes.
-spec limits() -> limits().
limits() ->
    {positive(connect_timeout, 2000),
     positive(response_timeout, 3000),
     positive(max_response_size, 1048576)}.

%% @doc The longest time that a lookup takes, in milliseconds: to connect, and to get the answer.
-spec lookup_time() -> pos_integer().
lookup_time() ->
    {Connect, Response, _Size} = limits(),
    Connect + Response.

%% @doc `{engines, #{Host => Endpoint, default => Endpoint}}' as the user wrote it.
%% {@link eid_routing} checks it.
-spec engines() -> term().
engines() -> get(engines, #{}).

%% @doc The folder with `ca.pem', `cert.pem' and `key.pem' for engines at `https://':
%% `{engine_certs, Folder}', else the environment variable `DOCKER_CERT_PATH', else `<<>>'.
-spec engine_certs() -> binary().
engine_certs() ->
    case get(engine_certs, none) of
        none -> unicode:characters_to_binary(os:getenv("DOCKER_CERT_PATH", ""));
        Folder -> path(Folder, "{eid, [{engine_certs, Folder}]} must be the name of a folder")
    end.

%% @doc The file with the token for engines at `https://' and `unix://': `{engine_token_file,
%% File}', else `<<>>'.
-spec engine_token_file() -> binary().
engine_token_file() ->
    case get(engine_token_file, none) of
        none -> <<>>;
        File -> path(File, "{eid, [{engine_token_file, File}]} must be the name of a file")
    end.

path(Name, Rule) ->
    case not is_atom(Name) andalso eid_text:parse(Name) of
        {ok, Path} when Path =/= <<>> -> Path;
        _ -> bad_setting("~ts; it is ~tp", [Rule, Name])
    end.

%% @doc `{routes, #{Key => Target}}' as the user wrote it. {@link eid_routing} checks it.
-spec routes() -> term().
routes() -> get(routes, #{}).

%% @doc `{allowed_hosts, [Host]}' as the user wrote it, or `any', which is the default.
-spec allowed_hosts() -> term().
allowed_hosts() -> get(allowed_hosts, any).

%% @doc `{clusters, [Map]}' as the user wrote it. {@link eid_discovery_config} checks it. Only the
%% application reads it.
-spec clusters() -> term().
clusters() -> get(clusters, []).

%% @doc `{status, Map}' as the user wrote it, or `off', which is the default. {@link eid_status}
%% checks it. Only the application reads it.
-spec status() -> term().
status() -> get(status, off).

%% @private
%% One of discovery's delays (in milliseconds) and limits, from `{tuning, Map}'. This setting is
%% not documented. Only tests use it, to run in seconds with few nodes.
-spec tuning(Key, Default :: pos_integer()) -> pos_integer()
              when Key :: shortest_interval | longest_gap | patience | max_attempts
                        | max_first_attempts.
tuning(Key, Default) -> maps:get(Key, get(tuning, #{}), Default).

%% @doc The socket options to listen with, as in `inet_tcp_dist': the user's options precede the
%% defaults, but not the options that the handshake needs.
-spec listen_options() -> [gen_tcp:listen_option()].
listen_options() ->
    User = application:get_env(kernel, inet_dist_listen_options, []),
    Forced = [{active, false}, {packet, 2}]
        ++ [{ip, Ip} || {ok, Ip} <- [application:get_env(kernel, inet_dist_use_interface)]],
    Defaults = [Option || {Key, _} = Option <- [{reuseaddr, true}, {backlog, 128}, {nodelay, true}],
                          not lists:keymember(Key, 1, User)],
    with_forced(Defaults ++ User, Forced).

%% @doc The socket options to connect with: the user's, except those that the handshake needs.
-spec connect_options() -> [gen_tcp:connect_option()].
connect_options() ->
    with_forced(application:get_env(kernel, inet_dist_connect_options, []),
                [{active, false}, {packet, 2}]).

with_forced(Options, Forced) ->
    [Option || Option <- Options,
               not (is_tuple(Option) andalso lists:keymember(element(1, Option), 1, Forced))]
        ++ Forced.

port(Key, Default) ->
    case application:get_env(kernel, Key, Default) of
        Port when is_integer(Port), Port > 0, Port < 65536 -> Port;
        Other -> bad_setting("-kernel ~ts must be a port, an integer from 1 to 65535; it is ~tp",
                             [Key, Other])
    end.

positive(Key, Default) ->
    case get(Key, Default) of
        N when is_integer(N), N > 0, N =< 16#7FFFFFFF -> N;
        Other -> bad_setting("{eid, [{~ts, N}]} must be a positive integer; it is ~tp",
                             [Key, Other])
    end.

%% @doc Raises {@link bad_setting()} with this sentence.
-spec bad_setting(io:format(), [term()]) -> no_return().
bad_setting(Format, Arguments) -> error({bad_setting, eid_text:format(Format, Arguments)}).

%% With a plain `-pa' the application is not loaded while `kernel' starts, so its environment is
%% missing. The first read loads it.
get(Key, Default) ->
    case application:get_env(eid, Key) of
        {ok, Value} -> Value;
        undefined ->
            case persistent_term:get(?MODULE, not_loaded) of
                loaded -> Default;
                not_loaded ->
                    _ = application:load(eid),
                    persistent_term:put(?MODULE, loaded),
                    application:get_env(eid, Key, Default)
            end
    end.
