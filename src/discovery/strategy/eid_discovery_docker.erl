%% @doc Discovery strategy: the running containers of Docker hosts that have a label or a name,
%% `{docker, #{hosts => ["192.168.4.231", "192.168.4.232"], label => "eid.cluster=shop"}}'.
%%
%% It follows the events of each host's engine ({@link eid_discovery_docker_host}). A host that does
%% not answer keeps its last nodes and delays no other host.
%%
%% `hosts' are the hosts as in the nodes' names, or one DNS name whose addresses are the hosts.
%% `label' is `"key=value"' or `"key"'. `name' is a container's name, with `*' for any text. A node
%% is the label `eid.node' of its container, with `@Host' added if the label has no host. Without
%% the label it is ID and host ({@link eid_own_name:id/1}), or with `node => name' the container's
%% name and host.
-module(eid_discovery_docker).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(host, {watcher :: pid(),
               containers = unknown :: unknown | [eid_nif:container()],    % last list
               problem = none :: none | eid:reason()}).

-record(state, {source :: {list, [binary(), ...]} | {dns, string()},
                filter :: eid_nif:filter(),
                node_is :: id | name,
                hosts = #{} :: #{Host :: binary() => #host{}},
                resolver = none :: none | pid(),    % follows the DNS name
                dns_problem = [] :: [eid_discovery:problem()]}).

init(Options) ->
    #{hosts := Hosts, label := Label, name := Name, node := NodeIs} =
        eid_discovery:options(
          docker, Options,
          #{hosts => {required, fun are_hosts/1,
                      "a list of hosts, or a DNS name whose addresses are hosts"},
            label => {none, fun is_text/1, "\"key=value\" or \"key\""},
            name => {none, fun is_text/1, "a container's name, in which * matches any text"},
            node => {id, fun(Is) -> Is =:= id orelse Is =:= name end, "id or name"}}),
    #state{source = source(Hosts), filter = filter(Label, Name), node_is = NodeIs}.

are_hosts(Hosts) ->
    is_list_of_hosts(Hosts)
        orelse ((is_binary(Hosts) orelse io_lib:printable_unicode_list(Hosts))
                andalso eid_discovery_dns:is_name(Hosts)).

is_list_of_hosts(Hosts) ->
    is_list(Hosts) andalso length(Hosts) > 0
        andalso lists:all(fun(Host) -> not is_integer(Host) andalso is_host(Host) end, Hosts).

is_host(Host) ->
    case eid_text:parse(Host) of
        {ok, Text} -> eid_discovery:node_name(["x@", Text]) =/= error;
        error -> false
    end.

is_text(Text) -> not lists:member(eid_text:parse(Text), [error, {ok, <<>>}]).

source(Hosts) ->
    case is_list_of_hosts(Hosts) of
        true -> {list, lists:usort([eid_text:show(Host) || Host <- Hosts])};
        false -> {dns, unicode:characters_to_list(Hosts)}
    end.

filter(none, none) ->
    eid_discovery:bad_setting("label or name of docker is missing in {eid, [{clusters, ...}]}: not "
                              "every container is a node of the cluster", []);
filter(Label, none) ->
    case binary:split(eid_text:show(Label), <<"=">>) of
        [<<>> | _] ->
            eid_discovery:bad_setting("label of docker in {eid, [{clusters, ...}]} must be "
                                      "\"key=value\" or \"key\"; it is ~0tp", [Label]);
        [Key] -> {label, Key, any};
        [Key, Value] -> {label, Key, Value}
    end;
filter(none, Name) ->
    {name, eid_text:show(Name)};
filter(_Label, _Name) ->
    eid_discovery:bad_setting("docker in {eid, [{clusters, ...}]} has both a label and a name; it "
                              "takes one of them", []).

%% Waits until the containers of a host or the addresses of the DNS name change.
list(State) ->
    Next = take_more(await_change(follow_hosts(State))),
    {answer(Next), Next}.

answer(#state{hosts = Hosts, node_is = NodeIs, dns_problem = DnsProblem}) ->
    All = maps:to_list(Hosts),
    Known = [{Host, Containers}
             || {Host, #host{containers = Containers}} <- All, Containers =/= unknown],
    #{nodes => case Known of
                   [] when All =/= []; DnsProblem =/= [] -> unchanged;
                   _ -> lists:append([nodes(Host, Containers, NodeIs)
                                      || {Host, Containers} <- Known])
               end,
      partial => length(Known) < length(All),
      problems => DnsProblem
          ++ [{Host, eid:format_error(Problem)}
              || {Host, #host{problem = Problem}} <- All, Problem =/= none],
      again => now}.

%% Starts to follow in the first call.
follow_hosts(#state{source = {list, Names}, hosts = Hosts} = State) when map_size(Hosts) =:= 0 ->
    follow(Names, State);
follow_hosts(#state{source = {dns, Name}, resolver = none} = State) ->
    State#state{resolver = eid_discovery_docker_dns:start_link(Name)};
follow_hosts(State) ->
    State.

follow(Names, #state{hosts = Hosts, filter = Filter} = State) ->
    _ = [eid_discovery_docker_host:stop(Watcher)
         || #host{watcher = Watcher} <- maps:values(maps:without(Names, Hosts))],
    Started = [{Name, #host{watcher = eid_discovery_docker_host:start_link(Name, Filter)}}
               || Name <- Names, not is_map_key(Name, Hosts)],
    State#state{hosts = maps:merge(maps:with(Names, Hosts), maps:from_list(Started))}.

-define(IS_SOURCE(Source), Source =:= eid_discovery_docker_host;
                           Source =:= eid_discovery_docker_dns).

await_change(State) ->
    receive
        {Source, _, _, _} = Change when ?IS_SOURCE(Source) -> take(Change, State)
    end.

%% Takes all other changes that have arrived by now.
take_more(State) ->
    receive
        {Source, _, _, _} = Change when ?IS_SOURCE(Source) -> take_more(take(Change, State))
    after 0 -> State
    end.

take({eid_discovery_docker_host, Name, Watcher, Outcome}, State) ->
    changed(Name, Watcher, Outcome, State);
take({eid_discovery_docker_dns, _Name, _Resolver, {ok, Names}}, State) ->
    follow(Names, State#state{dns_problem = []});
take({eid_discovery_docker_dns, Name, _Resolver, {error, Reason}}, State) ->
    State#state{dns_problem = [{Name, eid_dns:format_error(Reason)}]}.

changed(Name, Watcher, Outcome, #state{hosts = Hosts} = State) ->
    case Hosts of
        #{Name := #host{watcher = Watcher} = Host} ->
            Changed = case Outcome of
                          {ok, Containers} -> Host#host{containers = Containers, problem = none};
                          {error, Reason} -> Host#host{problem = Reason}
                      end,
            State#state{hosts = Hosts#{Name := Changed}};
        #{} -> State    % from a watcher that was stopped
    end.

nodes(Host, Containers, NodeIs) ->
    [node_of(Host, Container, NodeIs)
     || {Id, _Name, _Label} = Container <- Containers, not eid_own_name:is_own_container(Id)].

node_of(Host, {Id, _Name, <<>>}, id) -> <<(eid_own_name:id(Id))/binary, "@", Host/binary>>;
node_of(Host, {_Id, Name, <<>>}, name) -> <<Name/binary, "@", Host/binary>>;
node_of(Host, {_Id, _Name, Label}, _NodeIs) ->
    case binary:match(Label, <<"@">>) of
        nomatch -> <<Label/binary, "@", Host/binary>>;
        _ -> Label
    end.
