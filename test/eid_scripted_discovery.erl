%% A discovery strategy whose answers the tests set.
-module(eid_scripted_discovery).

-behaviour(eid_discovery).

-export([init/1, list/1]).
-export([asked/1]).    % on the node

%% A test sets the answer on the node, as the value of a key in the environment of `kernel': an
%% answer, or `crash'. With `calls' and `times', the module asks another strategy this number of
%% times, without a pause.
init(#{key := Key}) ->
    Asked = counters:new(1, []),
    persistent_term:put({?MODULE, Key}, Asked),
    #{key => Key, asked => Asked};
init(#{calls := {Module, Options}, times := Times}) ->
    persistent_term:erase(?MODULE),
    {Module, Module:init(Options), Times};
init(Other) -> eid_discovery:bad_setting("a scripted discovery in {eid, [{clusters, ...}]} takes a key; it has ~p", [Other]).

list(#{key := Key, asked := Asked} = State) ->
    counters:add(Asked, 1, 1),
    case application:get_env(kernel, Key, #{nodes => []}) of
        crash -> error(as_told);
        Answer -> {Answer, State}
    end;
list({Module, State, 0}) ->
    persistent_term:put(?MODULE, done),
    {#{nodes => unchanged}, {Module, State, 0}};
list({Module, State, Times}) ->
    {Answer, Next} = Module:list(State),
    {Answer#{again => now}, {Module, Next, Times - 1}}.

%% The number of requests to the strategy of this key since the application started.
asked(Key) -> counters:get(persistent_term:get({?MODULE, Key}), 1).
