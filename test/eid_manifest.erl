%% Reads Kubernetes manifests, so that tests can run their containers with Docker. It fails on every
%% field that it does not know, so no field is ignored silently.
-module(eid_manifest).

-export([read/1, object/3, pods/1, service_name/1, run/3]).

-export_type([object/0]).

-type object() :: #{binary() => term()}.

-spec read(file:filename()) -> {ok, [object()]} | {error, Output :: string()}.
read(File) ->
    Script = filename:join([eid_ct:root(), "test", "eid_manifest.py"]),
    %% Debian's own Python finds the Python packages that Debian installs.
    Output = os:cmd("PATH=/usr/bin:$PATH python3 '" ++ Script ++ "' '" ++ File ++ "' 2>&1"),
    try terms(Output) of
        [_ | _] = Objects -> {ok, Objects};
        [] -> {error, Output}
    catch error:_ -> {error, Output}
    end.

terms(Text) -> terms(Text, {1, 1}).

terms(Text, At) ->
    case erl_scan:tokens([], Text, At) of
        {done, {ok, Tokens, Next}, Rest} ->
            {ok, Term} = erl_parse:parse_term(Tokens),
            [Term | terms(Rest, Next)];
        {more, _} -> [];
        {done, {eof, _}, _} -> []
    end.

-spec object(Kind :: binary(), Name :: binary(), [object()]) -> object().
object(Kind, Name, Objects) ->
    [Object] = [O || #{<<"kind">> := K, <<"metadata">> := #{<<"name">> := N}} = O <- Objects, K =:= Kind, N =:= Name],
    Object.

%% A Deployment's number of pods, their labels and their specification.
-spec pods(Deployment :: object()) -> {pos_integer(), Labels :: object(), PodSpec :: object()}.
pods(#{<<"spec">> := #{<<"replicas">> := Replicas, <<"selector">> := #{<<"matchLabels">> := Selector},
                       <<"template">> := #{<<"metadata">> := #{<<"labels">> := Labels}, <<"spec">> := Pod}}}) ->
    Selector = maps:with(maps:keys(Selector), Labels),
    {Replicas, Labels, Pod}.

%% The DNS name of a Service in the namespace `default'.
-spec service_name(Service :: object()) -> string().
service_name(#{<<"metadata">> := #{<<"name">> := Name} = Metadata}) ->
    false = is_map_key(<<"namespace">>, Metadata),
    binary_to_list(Name) ++ ".default.svc.cluster.local".

%% The arguments of `docker run', with image and command, that start a pod's only container as a
%% kubelet would.
-spec run(PodSpec :: object(), [object()],
          #{pod_ip := string(), dir := file:filename(), secrets := #{{Name :: binary(), Key :: binary()} => string()}}) ->
          [string()].
run(Pod, Objects, Given) ->
    #{<<"containers">> := [Container]} = Pod,
    all([<<"containers">>, <<"volumes">>, <<"securityContext">>, <<"automountServiceAccountToken">>, <<"enableServiceLinks">>], Pod),
    all([<<"name">>, <<"image">>, <<"command">>, <<"args">>, <<"env">>, <<"ports">>, <<"readinessProbe">>, <<"livenessProbe">>,
         <<"securityContext">>, <<"resources">>, <<"volumeMounts">>], Container),
    {Entry, Command} = command(Container),
    user(maps:get(<<"securityContext">>, Pod, #{}))
        ++ confinement(maps:get(<<"securityContext">>, Container, #{}))
        ++ memory(maps:get(<<"resources">>, Container, #{}))
        ++ lists:append([["--env", [Name, "=", value(Env, Given)]] || #{<<"name">> := Name} = Env <- maps:get(<<"env">>, Container, [])])
        ++ lists:append([mount(Mount, maps:get(<<"volumes">>, Pod), Objects, Given)
                         || Mount <- maps:get(<<"volumeMounts">>, Container, [])])
        ++ Entry ++ [maps:get(<<"image">>, Container) | Command].

all(Known, Map) ->
    case maps:keys(maps:without(Known, Map)) of
        [] -> ok;
        Others -> error({not_understood, Others})
    end.

command(Container) ->
    Arguments = maps:get(<<"args">>, Container, []),
    case Container of
        #{<<"command">> := [Entry | Rest]} -> {["--entrypoint", Entry], Rest ++ Arguments};
        #{} -> {[], Arguments}
    end.

user(Context) ->
    all([<<"runAsNonRoot">>, <<"runAsUser">>, <<"runAsGroup">>, <<"seccompProfile">>], Context),
    %% `RuntimeDefault' is the profile that Docker uses without any option.
    #{<<"type">> := <<"RuntimeDefault">>} = maps:get(<<"seccompProfile">>, Context, #{<<"type">> => <<"RuntimeDefault">>}),
    case Context of
        #{<<"runAsUser">> := User, <<"runAsGroup">> := Group} ->
            true = User > 0 orelse not maps:get(<<"runAsNonRoot">>, Context, false),
            ["--user", io_lib:format("~b:~b", [User, Group])];
        #{} -> []
    end.

confinement(Context) ->
    lists:append([case Setting of
                      {<<"allowPrivilegeEscalation">>, false} -> ["--security-opt", "no-new-privileges"];
                      {<<"readOnlyRootFilesystem">>, true} -> ["--read-only"];
                      {<<"capabilities">>, #{<<"drop">> := [<<"ALL">>]} = Only} when map_size(Only) =:= 1 -> ["--cap-drop", "ALL"]
                  end || Setting <- maps:to_list(Context)]).

memory(#{<<"limits">> := #{<<"memory">> := Memory} = Limits} = Resources) ->
    all([<<"memory">>], Limits),
    all([<<"limits">>, <<"requests">>], Resources),
    [Number, <<>>] = binary:split(Memory, <<"Mi">>),
    ["--memory", [Number, "m"]].

value(#{<<"value">> := Value}, _Given) -> Value;
value(#{<<"valueFrom">> := #{<<"fieldRef">> := #{<<"fieldPath">> := <<"status.podIP">>}}}, #{pod_ip := Ip}) -> Ip;
value(#{<<"valueFrom">> := #{<<"secretKeyRef">> := #{<<"name">> := Name, <<"key">> := Key}}}, #{secrets := Secrets}) ->
    maps:get({Name, Key}, Secrets).

mount(#{<<"name">> := Name, <<"mountPath">> := Path} = Mount, Volumes, Objects, #{dir := Dir}) ->
    all([<<"name">>, <<"mountPath">>], Mount),
    [Volume] = [maps:remove(<<"name">>, V) || #{<<"name">> := N} = V <- Volumes, N =:= Name],
    case Volume of
        #{<<"emptyDir">> := _} -> ["--tmpfs", Path];
        #{<<"configMap">> := #{<<"name">> := Map}} ->
            #{<<"data">> := Data} = object(<<"ConfigMap">>, Map, Objects),
            Folder = filename:join(Dir, binary_to_list(Map)),
            ok = filelib:ensure_path(Folder),
            [ok = file:write_file(filename:join(Folder, File), Text) || {File, Text} <- maps:to_list(Data)],
            ["--volume", [Folder, ":", Path, ":ro"]]
    end.
