#!/usr/bin/env escript
%% Checks that calls between eid's modules go one way. Prints a sentence for each call against the
%% direction and for each cycle between modules, and exits with 1 if there is one.
%%
%% usage: layers.escript [EBIN]      the default is _build/default/lib/eid/ebin
%%
%% Only calls count. Types such as `eid:reason()' may be used everywhere.
-mode(compile).

%% From top to bottom. A module may call the modules of its own layer and of the layers below it.
%% Discovery and the layers above it must not call carriers: only OTP calls these.
layers() ->
    [{application, [eid_app, eid_sup]},
     {status, "status"},
     {discovery, "discovery"},
     {api, [eid, eid_info]},
     {carrier, "carrier"},
     {lookup, "lookup"},
     {library, "library"},
     {base, "base"}].

main([]) -> main([filename:join(root(), "_build/default/lib/eid/ebin")]);
main([Ebin]) ->
    Layers = maps:from_list([{Module, Layer}
                             || {Layer, Where} <- layers(), Module <- modules(Where)]),
    Sources = modules("."),
    Calls = calls(Ebin, Sources),
    report([io_lib:format("~ts is in no folder of src that layers.escript knows", [Module])
            || Module <- Sources, not is_map_key(Module, Layers)]
           ++ [io_lib:format("~ts (~ts) calls ~ts (~ts), which is not below it",
                             [From, maps:get(From, Layers), To, maps:get(To, Layers)])
               || {From, To} <- Calls, is_map_key(From, Layers), is_map_key(To, Layers),
                  not may_call(maps:get(From, Layers), maps:get(To, Layers))]
           ++ [[lists:join(", ", [atom_to_list(Module) || Module <- Cycle]),
                " call each other in a cycle"] || Cycle <- cycles(Calls)]);
main(_) -> report(["usage: layers.escript [EBIN]"]).

report([]) -> ok;
report(Sentences) ->
    [io:format(standard_error, "layers: ~ts~n", [Sentence]) || Sentence <- Sentences],
    halt(1).

root() -> filename:absname(filename:join(filename:dirname(escript:script_name()), "../..")).

modules(Modules = [First | _]) when is_atom(First) -> Modules;
modules(Folder) ->
    Files = filelib:wildcard(filename:join(["src", Folder, "**", "*.erl"]), root()),
    [list_to_atom(filename:basename(File, ".erl")) || File <- Files].

may_call(Layer, Layer) -> true;
may_call(_, carrier) -> false;
may_call(From, To) -> position(From) < position(To).

position(Layer) -> length(lists:takewhile(fun({Name, _}) -> Name =/= Layer end, layers())).

%% Calls between different modules of eid.
calls(Ebin, Modules) ->
    {ok, _} = xref:start(?MODULE, [{xref_mode, modules}]),
    case xref:add_directory(?MODULE, Ebin) of
        {ok, [_ | _]} -> ok;
        _ -> report([["there are no modules in ", Ebin, "; run rebar3 compile first"]])
    end,
    {ok, Calls} = xref:q(?MODULE, "strict ME"),
    [Call || {From, To} = Call <- Calls, lists:member(From, Modules), lists:member(To, Modules)].

cycles(Calls) ->
    Graph = digraph:new(),
    [digraph:add_vertex(Graph, Module) || Call <- Calls, Module <- tuple_to_list(Call)],
    [digraph:add_edge(Graph, From, To) || {From, To} <- Calls],
    digraph_utils:cyclic_strong_components(Graph).
