%% @doc Discovery: something lists the nodes that should be connected, and eid connects them.
%%
%% This is the behaviour of a strategy. Those that come with eid are `static', `hosts_file', `dns',
%% `srv', `docker' and `rancher', each a module `eid_discovery_NAME'; a module of your own is named in full:
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

-export([info/0, node_name/1]).
-export([open_info/0, put_info/2]).    % of the application's processes

-export_type([peer/0, node_text/0, answer/0, problem/0, info/0]).

-type peer() :: node_text() | {node_text(), eid_routes:target()}.
%% A node, and if need be how to reach it, as with {@link eid:set_route/2}. The user's own routes come before that.

-type node_text() :: node() | unicode:chardata().
%% Text is best: names that nobody answers to become no atoms.

-type problem() :: {Where :: unicode:chardata(), Sentence :: unicode:chardata()}.
%% Something that could not be asked, and why, with what to do about it. It is logged when it comes, and
%% when it has gone; what it says meanwhile is shown by {@link info/0}.

-type answer() :: #{nodes := [peer()] | unchanged,
                    partial => boolean(),
                    problems => [problem()],
                    again => interval | now | {within, Milliseconds :: non_neg_integer()}}.
%% The nodes that should be connected now, or `unchanged' where that can't be said. This node itself may be
%% among them. `partial': some may be missing, because not everybody who was asked has ever answered, so
%% nobody is disconnected for not being listed before the next answer that is not. `again': when to ask the next time, by
%% default after the cluster's `interval'; `{within, Ms}' if that is sooner, but not within a second; `now' for a
%% strategy that waits by itself.

-type info() :: #{name := atom(), strategy := atom(), nodes := [binary()],
                  answered := never | (Milliseconds :: integer()),
                  error := none | #{text := string(), since := Milliseconds :: integer()}}.
%% What a cluster's strategy has listed last, and what keeps it from doing so. Times are of
%% `erlang:system_time(millisecond)'.

-callback init(Options :: term()) -> State :: term().
%% Checks the options and makes the first state. It runs while the application starts, so it must not wait
%% for anything; for wrong options it calls {@link eid_config:bad_setting/2}.

-callback list(State) -> {answer(), State} when State :: term().
%% Lists the nodes. It runs in a process of its own, so it may take its time, and a crash is a problem
%% like others.

%% @doc How each cluster's strategy is doing, in the order of the configuration.
-spec info() -> [info()].
info() ->
    try [Info || {_Position, Info} <- ets:tab2list(?MODULE)]
    catch error:badarg -> []    % the application does not run
    end.

%% @private
%% Whoever shows it asks no process: the calling one, the supervisor, owns the table that the workers write to.
-spec open_info() -> ok.
open_info() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    ok.

%% @private
-spec put_info(Position :: pos_integer(), info()) -> ok.
put_info(Position, Info) ->
    true = ets:insert(?MODULE, {Position, Info}),
    ok.

%% @doc A node name as a binary; `error' for what is none. It makes no atom.
-spec node_name(term()) -> {ok, binary()} | error.
node_name(Node) ->
    try
        Name = if
                   is_atom(Node) -> atom_to_binary(Node);
                   true -> unicode:characters_to_binary(Node)
               end,
        %% As a pattern, compiled on OTP 25, it would not load on 29.
        true = is_binary(Name),
        case eid_nif:call(fun() -> eid_nif:parse_node_name(Name) end) of
            {error, bad_node_name} -> error;
            _ -> {ok, Name}
        end
    catch error:_ -> error
    end.
