%% @doc Limits how many node names become atoms.
%%
%% A connection needs the node's name as an atom, and atoms are never freed. Discovery learns names
%% from others: DNS servers, labels of containers. Therefore a name becomes an atom only after a
%% node has answered at its address. A thousand new names may become atoms at once, then one more every
%% ten seconds, and none while three quarters of the atom table are full.
-module(eid_discovery_atoms).

-export([new/0, take/2]).

-export_type([allowance/0]).

-record(allowance, {left :: number(), at :: integer()}).    % monotonic, milliseconds
-opaque allowance() :: #allowance{}.

-define(AT_ONCE, 1000).
-define(INTERVAL, 10_000).

%% @doc A full allowance.
-spec new() -> allowance().
new() -> #allowance{left = ?AT_ONCE, at = erlang:monotonic_time(millisecond)}.

%% @doc The atom of this name. A name that is not an atom yet uses up the allowance.
-spec take(Node :: binary(), allowance()) -> {{ok, node()} | {error, too_many_names}, allowance()}.
take(Node, Allowance) ->
    try {{ok, binary_to_existing_atom(Node)}, Allowance}
    catch error:badarg -> take_new(Node, refill(Allowance))
    end.

take_new(Node, #allowance{left = Left} = Allowance) ->
    Full = erlang:system_info(atom_count) > erlang:system_info(atom_limit) * 3 div 4,
    if
        Left < 1; Full -> {{error, too_many_names}, Allowance};
        true -> {{ok, binary_to_atom(Node)}, Allowance#allowance{left = Left - 1}}
    end.

refill(#allowance{left = Left, at = At}) ->
    Now = erlang:monotonic_time(millisecond),
    #allowance{left = min(?AT_ONCE, Left + (Now - At) / ?INTERVAL), at = Now}.
