%% @doc The settings: their names, defaults and checks. doc/reference.md lists them.
%%
%% The two ports belong to the application `kernel' (`erl -kernel erlang_port 12345'), like OTP's
%% own distribution settings; the others belong to `eid'.
-module(eid_config).

-export([check/0, erlang_port/0, docker_daemon_port/0, limits/0, lookup_time/0, engines/0,
         engine_certs/0, engine_token_file/0, routes/0, allowed_hosts/0, clusters/0, status/0, tuning/2,
         bad_setting/2]).

-export_type([bad_setting/0]).

-type bad_setting() :: {bad_setting, Sentence :: string()}.
%% What these functions raise: it names the key and the value, and says what is allowed.

%% @doc Reads every setting, so that a wrong one stops the start and not the first connection.
-spec check() -> ok.
check() ->
    _ = erlang_port(),
    _ = docker_daemon_port(),
    _ = limits(),
    _ = eid_engines:compile(engines(), docker_daemon_port()),
    _ = engine_certs(),
    _ = engine_token_file(),
    _ = eid_routes:parse(routes()),
    _ = eid_routes:compile_hosts(allowed_hosts()),
    ok.

%% @doc The TCP port that every node listens on in its container (`-kernel erlang_port', 12345).
-spec erlang_port() -> inet:port_number().
erlang_port() -> port(erlang_port, 12345).

%% @doc The TCP port of the Docker API on every host (`-kernel docker_daemon_port', 4243).
-spec docker_daemon_port() -> inet:port_number().
docker_daemon_port() -> port(docker_daemon_port, 4243).

%% @doc The bounds of one request to an engine: `{connect_timeout, 2000}' and
%% `{response_timeout, 3000}' in milliseconds, `{max_response_size, 1048576}' in bytes.
-spec limits() -> eid_nif:limits().
limits() ->
    {positive(connect_timeout, 2000),
     positive(response_timeout, 3000),
     positive(max_response_size, 1048576)}.

%% @doc The most that a lookup takes, in milliseconds: to connect, and to get the answer.
-spec lookup_time() -> pos_integer().
lookup_time() ->
    {Connect, Response, _Size} = limits(),
    Connect + Response.

%% @doc `{engines, #{Host => Endpoint, default => Endpoint}}' as the user wrote it; {@link eid_engines}
%% knows the form.
-spec engines() -> term().
engines() -> get(engines, #{}).

%% @doc The folder with `ca.pem', `cert.pem' and `key.pem' for engines at `https://':
%% `{engine_certs, Folder}', or else the environment variable `DOCKER_CERT_PATH'; `<<>>' if neither is
%% there.
-spec engine_certs() -> binary().
engine_certs() ->
    case get(engine_certs, none) of
        none ->
            case os:getenv("DOCKER_CERT_PATH") of
                false -> <<>>;
                Folder -> unicode:characters_to_binary(Folder)
            end;
        Folder ->
            case path(Folder) of
                {ok, Path} -> Path;
                error -> bad_setting("{eid, [{engine_certs, Folder}]} must be the name of a folder; it is "
                                     "~tp", [Folder])
            end
    end.

%% @doc The file with the token for engines at `https://' and `unix://': `{engine_token_file, File}';
%% `<<>>' if there is none.
-spec engine_token_file() -> binary().
engine_token_file() ->
    case get(engine_token_file, none) of
        none -> <<>>;
        File ->
            case path(File) of
                {ok, Path} -> Path;
                error -> bad_setting("{eid, [{engine_token_file, File}]} must be the name of a file; it is ~tp",
                                     [File])
            end
    end.

path(Name) ->
    try unicode:characters_to_binary(iolist(Name)) of
        Path when is_binary(Path), Path =/= <<>> -> {ok, Path};
        _ -> error
    catch
        error:badarg -> error    % a list of something else
    end.

%% Anything else is no text.
iolist(Text) when is_list(Text); is_binary(Text) -> Text;
iolist(_) -> "".

%% @doc `{routes, #{Key => Target}}' as the user wrote it; {@link eid_routes} knows the form.
-spec routes() -> term().
routes() -> get(routes, #{}).

%% @doc `{allowed_hosts, [Host]}' as the user wrote it, or `any', which is the default.
-spec allowed_hosts() -> term().
allowed_hosts() -> get(allowed_hosts, any).

%% @doc `{clusters, [Map]}' as the user wrote it; {@link eid_discovery_config} knows the form. Only the application reads it.
-spec clusters() -> term().
clusters() -> get(clusters, []).

%% @doc `{status, Map}' as the user wrote it, or `off', which is the default; {@link eid_status} knows the form. Only the
%% application reads it.
-spec status() -> term().
status() -> get(status, off).

%% @private
%% One of discovery's delays (in milliseconds) and limits, from `{tuning, Map}'. This setting is not documented: only
%% tests use it, to run in seconds with few nodes.
-spec tuning(Key, Default :: pos_integer()) -> pos_integer()
              when Key :: shortest_interval | longest_gap | patience | max_attempts | max_first_attempts.
tuning(Key, Default) -> maps:get(Key, get(tuning, #{}), Default).

port(Key, Default) ->
    case application:get_env(kernel, Key, Default) of
        Port when is_integer(Port), Port > 0, Port < 65536 -> Port;
        Other -> bad_setting("-kernel ~ts must be a port, an integer from 1 to 65535; it is ~tp",
                     [Key, Other])
    end.

positive(Key, Default) ->
    case get(Key, Default) of
        N when is_integer(N), N > 0, N =< 16#7FFFFFFF -> N;
        Other -> bad_setting("{eid, [{~ts, N}]} must be a positive integer; it is ~tp", [Key, Other])
    end.

%% @doc Raises {@link bad_setting()} with this sentence.
-spec bad_setting(io:format(), [term()]) -> no_return().
bad_setting(Format, Arguments) ->
    error({bad_setting, lists:flatten(io_lib:format(Format, Arguments))}).

%% With a plain `-pa' nobody has loaded the application, and its environment is not there.
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
