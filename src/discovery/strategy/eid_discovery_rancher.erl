%% @doc Discovery strategy: the containers of this one's service, as Rancher's metadata service lists them:
%% `{rancher, #{}}'.
%%
%% A node is `Base@Address', the container's address in the managed network, where it is dialled directly. `base' is by default the
%% name of the service; `url' is where the metadata service is, by default `http://rancher-metadata/latest'.
-module(eid_discovery_rancher).

-behaviour(eid_discovery).

-export([init/1, list/1]).

-record(state, {url :: binary(), base :: unicode:chardata() | service}).

%% @private
-spec init(term()) -> #state{}.
init(Options) ->
    #{url := Url, base := Base} =
        eid_discovery_config:options(rancher, Options,
                             #{url => {"http://rancher-metadata/latest", fun is_url/1, "\"http://HOST[:PORT]/PATH\""},
                               base => {service, fun eid_discovery_dns:is_base/1,
                                        "what stands before the @ in the nodes' names"}}),
    #state{url = unicode:characters_to_binary(Url), base = Base}.

is_url(Url) ->
    Text = unicode:characters_to_binary(Url),
    %% If the library is not there, each question will say so.
    eid_nif:call(fun() -> eid_nif:is_metadata_url(Text) end) =/= false.

%% @private
-spec list(#state{}) -> {eid_discovery:answer(), #state{}}.
list(#state{url = Url, base = Base} = State) ->
    Ref = make_ref(),
    Asked = eid_nif:call(fun() -> eid_nif:rancher(Ref, Url, eid_config:limits(), eid_config:lookup_time()) end),
    Answer = case eid_promise:await(Ref, Asked) of
                 {ok, {Service, Ips}} -> #{nodes => eid_discovery_dns:peers(base(Base, Service), Ips)};
                 {error, Reason} -> #{nodes => unchanged, problems => [{Url, problem(Reason)}]}
             end,
    {Answer, State}.

base(service, Service) -> Service;
base(Base, _Service) -> Base.

problem({unreachable, Detail}) ->
    ["the metadata service can't be asked: ", Detail, ". Check url, and that this container is in Rancher's managed network."];
problem({refused, Status, Message}) ->
    io_lib:format("the metadata service refused to answer (HTTP ~b: ~ts). Check url: it ends with the version, for example "
                  "/latest.", [Status, Message]);
problem(timeout) ->
    "the metadata service does not answer in time. Check url, and the network.";
problem(_BadResponse) ->
    "what answers is no metadata service of Rancher's. Check url.".
