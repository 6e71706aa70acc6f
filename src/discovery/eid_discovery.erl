%% @doc The behaviour of a discovery strategy: it lists the nodes that should be connected, and eid
%% connects them.
%%
%% eid's own strategies are `static', `hosts_file', `dns', `srv', `docker' and `rancher', each a
%% module `eid_discovery_NAME'. Write the name of your own module in full:
%%
%% ```
%% -module(my_strategy).
%% -behaviour(eid_discovery).
%% -export([init/1, list/1]).
%%
%% init(#{file := File}) -> File.
%%
%% list(File) ->
%%     case file:consult(File) of
%%         {ok, Nodes} -> {#{nodes => Nodes}, File};
%%         {error, Why} -> {#{nodes => unchanged, problems => [{File, file:format_error(Why)}]}, File}
%%     end.
%% '''
%%
%% with `{eid, [{clusters, [#{name => mine, strategy => {my_strategy, #{file => "/etc/nodes"}}}]}]}'.
-module(eid_discovery).

-export([options/3, bad_setting/2, node_name/1, info/0]).
-export([open_info/0, put_info/2]).    % for the application's processes

-export_type([peer/0, node_text/0, answer/0, problem/0, info/0]).

-type peer() :: node_text() | {node_text(), eid_routing:target()}.
%% A node, and optionally its route, as in {@link eid:set_route/2}. The user's own routes precede
%% this route.

-type node_text() :: node() | unicode:chardata().
%% Prefer text: then a name becomes an atom only after a node has answered at its address.

-type problem() :: {Where :: unicode:chardata(), Sentence :: unicode:chardata()}.
%% A source that could not be asked, and why, with advice. eid logs when the problem begins and
%% ends. Meanwhile {@link info/0} has the current sentence.

-type answer() :: #{nodes := [peer()] | unchanged,
                    partial => boolean(),
                    problems => [problem()],
                    again => interval | now | {within, Milliseconds :: non_neg_integer()}}.
%% The nodes that should be connected now, or `unchanged' if the strategy can't tell. This node may
%% be among them. `partial': the list may be incomplete; eid prunes no node until the next complete
%% answer. `again': when to ask next. The default is the cluster's `interval'. `{within, Ms}' asks
%% earlier if that is sooner, but not within a second. `now' is for a strategy that waits in `list'.

-type info() :: #{name := atom(), strategy := atom(), nodes := [binary()],
                  answered := never | (Milliseconds :: integer()),
                  error := none | #{text := string(), since := Milliseconds :: integer()}}.
%% The last list of a cluster's strategy, and its current problem. Times are of
%% `erlang:system_time(millisecond)'.

-callback init(Options :: term()) -> State :: term().
%% Checks the options, for example with {@link options/3}, and makes the first state. It runs while
%% the application starts, so it must not wait. For wrong options it calls {@link bad_setting/2}.

-callback list(State) -> {answer(), State} when State :: term().
%% Lists the nodes. Each cluster has a process for this, so it may wait. A crash becomes a problem
%% of the cluster.

%% @doc Checks a map of options and fills in the defaults. `Known' has for each key its default (or
%% `required'), a check, and the allowed values in words. `Owner' is the cluster or the strategy.
%% Raises {@link eid_config:bad_setting()}.
-spec options(Owner :: atom(), Options :: term(),
              Known :: #{atom() => {Default :: term() | required, fun((term()) -> boolean()),
                                    Allowed :: string()}}) ->
          #{atom() => term()}.
options(Owner, Options, Known) when is_map(Options) ->
    case maps:keys(maps:without(maps:keys(Known), Options)) of
        [] -> maps:map(fun(Key, Check) -> option(Owner, Key, Options, Check) end, Known);
        [Key | _] ->
            bad_setting("~0tp in {eid, [{clusters, ...}]} has no option ~0tp, only ~ts",
                        [Owner, Key, lists:join(", ", [atom_to_list(K) || K <- maps:keys(Known)])])
    end;
options(Owner, Options, _Known) ->
    bad_setting("the options of ~0tp in {eid, [{clusters, ...}]} must be a map; they are ~0tp",
                [Owner, Options]).

option(Owner, Key, Options, {Default, Check, Allowed}) ->
    case Options of
        #{Key := Value} ->
            (try Check(Value) catch error:_ -> false end)
                orelse bad_setting("~ts of ~0tp in {eid, [{clusters, ...}]} must be ~ts; it is "
                                   "~0tp", [Key, Owner, Allowed, Value]),
            Value;
        #{} when Default =:= required ->
            bad_setting("~ts of ~0tp is missing in {eid, [{clusters, ...}]}; it must be ~ts",
                        [Key, Owner, Allowed]);
        #{} -> Default
    end.

%% @doc Stops the start of the application with this sentence.
-spec bad_setting(io:format(), [term()]) -> no_return().
bad_setting(Format, Arguments) -> eid_config:bad_setting(Format, Arguments).

%% @doc A node name as a binary, or `error' for another term. Makes no atom.
-spec node_name(term()) -> {ok, binary()} | error.
node_name(Node) ->
    case eid_text:parse(Node) of
        {ok, Name} ->
            case eid_library:call(fun() -> eid_nif:parse_node_name(Name) end) of
                {error, bad_node_name} -> error;
                _ -> {ok, Name}
            end;
        error -> error
    end.

%% @doc The state of each cluster's strategy, in the order of the configuration.
-spec info() -> [info()].
info() ->
    try [Info || {_Position, Info} <- ets:tab2list(?MODULE)]
    catch error:badarg -> []    % the application does not run
    end.

%% @private
%% The calling process, the supervisor, owns the table. The clusters write to it, so a reader asks
%% no process.
-spec open_info() -> ok.
open_info() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    ok.

%% @private
-spec put_info(Position :: pos_integer(), info()) -> ok.
put_info(Position, Info) ->
    true = ets:insert(?MODULE, {Position, Info}),
    ok.
