%% @doc Discovery strategy: the running containers of Docker hosts that have a label or a name,
%% `{docker, #{hosts => ["192.168.4.231", "192.168.4.232"], label => "eid.cluster=shop"}}'.
%%
%% It is told by event: {@link eid_discovery_docker_host} follows each host's engine. A host that does not answer keeps the nodes that
%% it had last, and holds up none of the others.
%%
%% `hosts' are the hosts as they stand in the nodes' names, or one DNS name whose addresses they are. `label' is `"key=value"'
%% or `"key"'; `name' a container's name, with `*' for any text. A node is the label `eid.node' of its container if there is
%% one, with `@Host' after it if it has none itself; otherwise ID and host, or with `node => name' the container's name and
%% host. An ID has as many digits as the one in this node's own name, or else 12, which is how containers call themselves.
-module(eid_discovery_docker).

-behaviour(eid_discovery).

-export([init/1, list/1]).

%% Of an ID, as Docker shows it and makes the container's host name of it.
-define(SHORT_ID, 12).
%% The longest time between two looks at a DNS name of hosts, and the shortest, in milliseconds.
-define(RESOLVE_INTERVAL, 5000).
-define(SHORTEST_INTERVAL, 1000).

-record(host, {watcher :: pid(),
               containers = unknown :: unknown | [eid_nif:container()],    % what it had last
               problem = none :: none | eid:reason()}).

-record(state, {source :: {list, [binary()]} | {dns, string()},
                filter :: eid_nif:filter(),
                node_is :: id | name,
                hosts = #{} :: #{Host :: binary() => #host{}},
                resolve_at = now :: now | infinity | integer(),    % monotonic, milliseconds
                dns_problem = [] :: [eid_discovery:problem()]}).

%% @private
-spec init(term()) -> #state{}.
init(Options) ->
    #{hosts := Hosts, label := Label, name := Name, node := NodeIs} =
        eid_clusters:options(docker, Options,
                             #{hosts => {required, fun are_hosts/1,
                                         "a list of hosts, or a DNS name whose addresses are hosts"},
                               label => {none, fun is_text/1, "\"key=value\" or \"key\""},
                               name => {none, fun is_text/1, "a container's name, in which * stands for any text"},
                               node => {id, fun(Is) -> Is =:= id orelse Is =:= name end, "id or name"}}),
    #state{source = source(Hosts), filter = filter(Label, Name), node_is = NodeIs}.

are_hosts(Hosts) -> is_list_of_hosts(Hosts) orelse eid_discovery_dns:is_name(Hosts).

is_list_of_hosts(Hosts) ->
    is_list(Hosts) andalso Hosts =/= []
        andalso lists:all(fun(Host) -> not is_integer(Host) andalso is_host(Host) end, Hosts).

is_host(Host) ->
    try eid_discovery:node_name(["x@", text(Host)]) =/= error
    catch error:_ -> false
    end.

text(Text) when is_atom(Text) -> atom_to_binary(Text);
text(Text) ->
    Binary = unicode:characters_to_binary(Text),
    true = is_binary(Binary),
    Binary.

is_text(Text) ->
    try text(Text) =/= <<>>
    catch error:_ -> false
    end.

source(Hosts) ->
    case is_list_of_hosts(Hosts) of
        true -> {list, lists:usort([text(Host) || Host <- Hosts])};
        false -> {dns, unicode:characters_to_list(Hosts)}
    end.

filter(none, none) ->
    eid_config:bad_setting("label or name of docker is missing in {eid, [{clusters, ...}]}: not every container is a node of the "
                           "cluster", []);
filter(Label, none) ->
    case binary:split(text(Label), <<"=">>) of
        [Key] -> {label, Key, any};
        [Key, Value] -> {label, Key, Value}
    end;
filter(none, Name) ->
    {name, text(Name)};
filter(_Label, _Name) ->
    eid_config:bad_setting("docker in {eid, [{clusters, ...}]} has both a label and a name; it takes one of them", []).

%% @private
%% Waits until something has changed on some host.
-spec list(#state{}) -> {eid_discovery:answer(), #state{}}.
list(#state{hosts = Before, dns_problem = DnsProblem} = State) ->
    Resolved = #state{hosts = Hosts} = resolve(State),
    HasNews = Resolved#state.dns_problem =/= DnsProblem orelse maps:keys(Before) -- maps:keys(Hosts) =/= [],
    Next = case HasNews of
               true -> Resolved;
               false -> await_change(Resolved)
           end,
    {answer(Next), Next}.

answer(#state{hosts = Hosts, node_is = NodeIs, dns_problem = DnsProblem}) ->
    All = maps:to_list(Hosts),
    Known = [{Host, Containers} || {Host, #host{containers = Containers}} <- All, Containers =/= unknown],
    #{nodes => case Known of
                   [] when All =/= []; DnsProblem =/= [] -> unchanged;
                   _ -> lists:append([nodes(Host, Containers, NodeIs) || {Host, Containers} <- Known])
               end,
      partial => length(Known) < length(All) orelse DnsProblem =/= [],
      problems => DnsProblem
          ++ [{Host, eid:format_error(Problem)} || {Host, #host{problem = Problem}} <- All, Problem =/= none],
      again => now}.

resolve(#state{source = {list, Hosts}} = State) ->
    follow(Hosts, State#state{resolve_at = infinity});
resolve(#state{source = {dns, Name}, resolve_at = At} = State) ->
    case At =:= now orelse At =< erlang:monotonic_time(millisecond) of
        false -> State;
        true ->
            case eid_dns:addresses(Name, [eid_resolver:own_family()]) of
                {ok, Ips, Ttl} ->
                    Wait = max(?SHORTEST_INTERVAL, min(Ttl, ?RESOLVE_INTERVAL)),
                    follow([list_to_binary(inet:ntoa(Ip)) || Ip <- Ips],
                           State#state{resolve_at = erlang:monotonic_time(millisecond) + Wait, dns_problem = []});
                {error, Reason} ->
                    State#state{resolve_at = erlang:monotonic_time(millisecond) + ?RESOLVE_INTERVAL,
                                dns_problem = [{Name, eid_dns:format_error(Reason)}]}
            end
    end.

follow(Names, #state{hosts = Hosts, filter = Filter} = State) ->
    [eid_discovery_docker_host:stop(Watcher) || #host{watcher = Watcher} <- maps:values(maps:without(Names, Hosts))],
    Started = [{Name, #host{watcher = eid_discovery_docker_host:start_link(Name, Filter)}}
               || Name <- Names, not is_map_key(Name, Hosts)],
    State#state{hosts = maps:merge(maps:with(Names, Hosts), maps:from_list(Started))}.

await_change(#state{resolve_at = At} = State) ->
    Wait = case At of
               infinity -> infinity;
               _ -> max(0, At - erlang:monotonic_time(millisecond))
           end,
    receive
        {eid_discovery_docker_host, Name, Watcher, Outcome} -> take(changed(Name, Watcher, Outcome, State))
    after Wait -> State
    end.

%% What else has come by now.
take(State) ->
    receive
        {eid_discovery_docker_host, Name, Watcher, Outcome} -> take(changed(Name, Watcher, Outcome, State))
    after 0 -> State
    end.

changed(Name, Watcher, Outcome, #state{hosts = Hosts} = State) ->
    case Hosts of
        #{Name := #host{watcher = Watcher} = Host} ->
            State#state{hosts = Hosts#{Name := case Outcome of
                                                   {ok, Containers} -> Host#host{containers = Containers, problem = none};
                                                   {error, Reason} -> Host#host{problem = Reason}
                                               end}};
        #{} -> State    % of a watcher that has been stopped
    end.

nodes(Host, Containers, NodeIs) ->
    Own = case eid_nif:call(fun() -> eid_nif:own_container() end) of
              {ok, Id} -> Id;
              _ -> none
          end,
    Digits = id_digits(),
    [node_of(Host, Container, NodeIs, Digits) || {Id, _Name, _Label} = Container <- Containers, Id =/= Own].

node_of(Host, {Id, _Name, <<>>}, id, Digits) -> <<Id:Digits/binary, "@", Host/binary>>;
node_of(Host, {_Id, Name, <<>>}, name, _Digits) -> <<Name/binary, "@", Host/binary>>;
node_of(Host, {_Id, _Name, Label}, _NodeIs, _Digits) ->
    case binary:match(Label, <<"@">>) of
        nomatch -> <<Label/binary, "@", Host/binary>>;
        _ -> Label
    end.

id_digits() ->
    Base = eid_discovery_dns:own_base(),
    case re:run(Base, "^[0-9a-f]{12,64}$", [{capture, none}]) of
        match -> byte_size(Base);
        nomatch -> ?SHORT_ID
    end.
