%% @doc Discovery strategy: the containers of this container's service, from Rancher's metadata
%% service, `{rancher, #{}}'.
%%
%% A node is `Base@Address', dialled directly at the container's address in the managed network.
%% `base' is by default the name of the service. `url' is the address of the metadata service, by
%% default `http://rancher-metadata/latest'.
-module(eid_discovery_rancher).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(state, {url :: binary(), base :: unicode:chardata() | service}).

init(Options) ->
    #{url := Url, base := Base} =
        eid_discovery:options(rancher, Options,
                              #{url => {"http://rancher-metadata/latest", fun is_url/1,
                                        "\"http://HOST[:PORT]/PATH\""},
                                base => {service, fun eid_discovery_dns:is_base/1,
                                         "the part of the nodes' names before the @"}}),
    #state{url = unicode:characters_to_binary(Url), base = Base}.

is_url(Url) ->
    Text = unicode:characters_to_binary(Url),
    %% If the library can't be loaded, each question will report it.
    eid_library:call(fun() -> eid_nif:is_metadata_url(Text) end) =/= false.

list(#state{url = Url, base = Base} = State) ->
    Limits = eid_config:limits(),
    Time = eid_config:lookup_time(),
    Answer = case eid_library:ask(fun(Ref) -> eid_nif:rancher(Ref, Url, Limits, Time) end) of
                 {ok, {Service, Ips}} ->
                     #{nodes => eid_discovery_dns:peers(base(Base, Service), Ips)};
                 {error, Reason} ->
                     #{nodes => unchanged, problems => [{Url, problem(Reason)}]}
             end,
    {Answer, State}.

base(service, Service) -> Service;
base(Base, _Service) -> Base.

problem({unreachable, {_Subject, Detail}}) ->
    ["the metadata service can't be asked: ", Detail, ". Check url, and that this container is in "
     "Rancher's managed network."];
problem({refused, Status, Message}) ->
    io_lib:format("the metadata service refused to answer (HTTP ~b: ~ts). Check url: it ends with "
                  "the version, for example /latest.", [Status, Message]);
problem(timeout) ->
    "the metadata service does not answer in time. Check url, and the network.";
problem(_BadResponse) ->
    "the server that answers is not Rancher's metadata service. Check url.".
