%% @doc An answer that the library has promised.
%%
%% Some are waited for as long as a minute, in this module and not in `eid_nif', which could not get the library again
%% after a reload while a process waited in its former code.
-module(eid_promise).

-export([await/2]).

%% @doc The message that a call which answered `pending' has promised.
-spec await(reference(), pending | {error, eid:reason()}) -> term().
await(Ref, pending) ->
    receive {Ref, Result} -> Result end;
await(_Ref, {error, _} = Error) ->
    Error.
