%% @doc Forms whole clusters of 2 to 60 containers. All nodes begin to look for each other at the
%% same moment. Measures how soon each node is connected to all others, the requests to the engines,
%% and the memory. Fits the model `a + b*n + c*n*n' to each figure.
%%
%% The tests' clusters (test/eid_cluster.erl) use new containers for each size and the strategy
%% `docker'. The VMs are up before the nodes begin, so the figures exclude Docker's time to start
%% containers. The largest cluster also runs with `-connect_all false': eid then makes the same mesh
%% without `global'.
-module(bench_formation).

-export([rows/0]).
%% Run on the nodes.
-export([begin_at/2, memory/0, register_name/0]).

%% All sizes except the first have equally many containers of each OTP release on each host.
-define(SIZES, [2, 6, 12, 24, 42, 60]).
%% A size at which the machine is not too busy: no dial takes too long.
-define(CALM, 24).
%% The bound on a node's requests to one engine at this size.
-define(CALM_REQUESTS, 10).
%% Number of containers of the largest cluster that new containers replace.
-define(REPLACED, 6).
%% Number of nodes of each cluster that register a name with `global', one after the other.
-define(REGISTER, 5).
%% Milliseconds for the VMs to start, and for a cluster to form.
-define(PATIENCE, 60_000).
%% Milliseconds until all nodes know when to begin.
-define(LEAD, 3_000).
%% Milliseconds without any call to the nodes, because calls take the machine's time. The second
%% lists come in this time, one second after the first lists.
-define(UNDISTURBED, 6_000).

-type figures() :: #{nodes := pos_integer(), all := bench_stats:ns(), half := bench_stats:ns(), requests := pos_integer(),
                     most_requests := pos_integer(), vm := float(), resident := float(), register := bench_stats:ns(),
                     replaced => float()}.
%% `all': time until the last node was connected to all others. `half': time until half of the nodes
%% were. `requests': requests of all nodes to both engines. `most_requests': the maximum of one node
%% to one engine. `vm': average bytes of memory that a VM has allocated. `resident': average
%% resident bytes of a container's processes, as the kernel counts. `register': time to register a
%% name with `global'. `replaced': requests of a node for each replaced container.

-spec rows() -> {[bench_table:row()], Section :: iodata()}.
rows() ->
    All = [measure(Size, []) || Size <- ?SIZES],
    #{nodes := Nodes, all := Time, half := Half, replaced := Replaced} = lists:last(All),
    [#{most_requests := Requests}] = [Figures || #{nodes := ?CALM} = Figures <- All],
    WithoutGlobal = measure(lists:last(?SIZES), ["-connect_all", "false"]),
    Largest = ["a cluster of ", integer_to_list(Nodes), ", all begin at once: "],
    {[bench_table:row([Largest, "nodes connected to all others"], count, Nodes, none, {value, at_least, lists:last(?SIZES)}),
      bench_table:row([Largest, "time until all are connected to all"], ns, Time, {"until half of them are", Half}, none),
      bench_table:row(["a cluster of ", integer_to_list(?CALM), ", all begin at once: requests from one node to one engine, maximum"], count,
                      Requests, {"containers of that engine", ?CALM div 2}, {value, at_most, ?CALM_REQUESTS}),
      bench_table:row([Largest, "requests from one node for each replaced container"], number, Replaced, none, none)],
     section(All, WithoutGlobal)}.

-spec measure(pos_integer(), Erl :: [string()]) -> figures().
measure(Size, Erl) ->
    Dir = filename:absname(filename:dirname(code:which(?MODULE))),
    #{settings := Settings} = Cluster =
        eid_cluster:start(docker, Size, #{dir => Dir, discovery => off, erl => Erl, docker => ["--label", bench_hosts:label()]}),
    _ = on_all(Cluster, eid_mesh_recorder, history, []),
    Begin = os:system_time(millisecond) + ?LEAD,
    _ = [{_, {ok, ok}} = Told || Told <- eid_cluster:call(Cluster, eid_cluster:members(Cluster), ?MODULE, begin_at, [Begin, Settings])],
    timer:sleep(max(0, Begin + ?UNDISTURBED - os:system_time(millisecond))),
    _ = eid_cluster:await_mesh(Cluster, ?PATIENCE),
    Times = [1000 * (lists:max([Time || {Time, nodeup, _} <- Events]) - 1000 * Begin)
             || #{events := Events} <- on_all(Cluster, eid_mesh_recorder, history, [])],
    Requests = requests(Cluster),
    Memory = on_all(Cluster, ?MODULE, memory, []),
    Registering = [Time || Member <- lists:sublist(eid_cluster:members(Cluster), ?REGISTER),
                           {_, {ok, Time}} <- eid_cluster:call(Cluster, [Member], ?MODULE, register_name, [])],
    Figures = #{nodes => length(Times), all => lists:max(Times), half => bench_stats:median(Times),
                requests => lists:sum(lists:append(maps:values(Requests))),
                most_requests => lists:max(lists:append(maps:values(Requests))),
                vm => mean([Vm || {Vm, _} <- Memory]), resident => mean([Resident || {_, Resident} <- Memory]),
                register => bench_stats:median(Registering)},
    {More, Left} = case Size =:= lists:last(?SIZES) andalso Erl =:= [] of
                       true -> replace(Cluster, Requests);
                       false -> {#{}, Cluster}
                   end,
    eid_cluster:stop(Left),
    maps:merge(Figures, More).

%% Replaces some containers, and counts the requests of the nodes that stay.
replace(Cluster, Before) ->
    Replaced = eid_cluster:replace(Cluster, ?REPLACED),
    _ = eid_cluster:await_mesh(Replaced, ?PATIENCE),
    timer:sleep(?LEAD),
    More = [lists:sum(Requests) - lists:sum(maps:get(Node, Before))
            || {Node, Requests} <- maps:to_list(requests(Replaced)), is_map_key(Node, Before)],
    {#{replaced => mean(More) / ?REPLACED}, Replaced}.

%% The number of requests from each node to each engine.
requests(Cluster) ->
    Infos = lists:zip(eid_cluster:nodes(Cluster), on_all(Cluster, eid, info, [])),
    maps:from_list([{Node, [Requests || #{requests := Requests} <- maps:values(Engines)]} || {Node, #{engines := Engines}} <- Infos]).

%% Calls a function on all nodes until all of them answer. Returns the answers in the order of the
%% members.
on_all(Cluster, Module, Function, Arguments) ->
    on_all(Cluster, Module, Function, Arguments, erlang:monotonic_time(millisecond) + ?PATIENCE).

on_all(Cluster, Module, Function, Arguments, Deadline) ->
    Answers = maps:from_list(eid_cluster:call(Cluster, eid_cluster:members(Cluster), Module, Function, Arguments)),
    case [Failed || {_, {error, _}} = Failed <- maps:to_list(Answers)] of
        [] ->
            [begin {ok, Value} = maps:get(Node, Answers), Value end || Node <- eid_cluster:nodes(Cluster)];
        [{Node, {error, Why}} | _] ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({no_answer, Node, Why}),
            timer:sleep(500),
            on_all(Cluster, Module, Function, Arguments, Deadline)
    end.

mean(Numbers) -> lists:sum(Numbers) / length(Numbers).

%% @doc Makes this node look for the others from this moment on. All nodes share the machine's
%% clock.
-spec begin_at(Milliseconds :: integer(), Settings :: map()) -> ok.
begin_at(Begin, Settings) ->
    _ = spawn(fun() ->
                      ok = application:stop(eid),
                      ok = application:set_env(eid, clusters, [Settings]),
                      timer:sleep(max(0, Begin - os:system_time(millisecond))),
                      ok = application:start(eid)
              end),
    ok.

%% @doc The time in which `global' registers a name. All nodes that `global' knows must agree.
-spec register_name() -> bench_stats:ns().
register_name() ->
    Name = {?MODULE, node()},
    {Time, yes} = bench_stats:timed(fun() -> global:register_name(Name, self()) end),
    _ = global:unregister_name(Name),
    Time.

%% @doc The bytes that the VM has allocated after garbage collection, and the resident bytes of the
%% container's processes.
-spec memory() -> {Vm :: non_neg_integer(), Resident :: non_neg_integer()}.
memory() ->
    Resident = lists:sum([resident(File) || File <- filelib:wildcard("/proc/[0-9]*/status")]),
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    {erlang:memory(total), Resident}.

resident(File) ->
    case file:read_file(File) of
        {ok, Status} ->
            {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
            1024 * list_to_integer(Kilobytes);
        {error, _} -> 0    % it has just ended
    end.

%% The section in the results.

section(All, WithoutGlobal) ->
    ["## Clusters of 2 to 60 containers\n"
     "\n"
     "All nodes begin to look for each other at the same moment, with the strategy `docker`.\n"
     "One machine is both hosts and runs all VMs, so its cores limit the time.\n"
     "\n",
     bench_table:format_cells([{"containers", right}, {"connections", right}, {"all connected to all after", right},
                               {"half of the nodes after", right}, {"requests to both engines", right},
                               {"maximum from one node to one engine", right}, {"memory of a VM", right},
                               {"resident memory of a container", right}, {"`global:register_name/2`", right}],
                              [line(Figures, "") || Figures <- All] ++ [line(WithoutGlobal, ", `-connect_all false`")]),
     "\n"
     "By least squares, for n containers:\n"
     "\n",
     bench_table:format_cells([{"figure", left}, {"model", left}, {"R²", right}, {"largest residual", right}, {"from", left}],
                              [model(What, Unit, [{N, Of(Figures)} || #{nodes := N} = Figures <- All, Counts(Figures)], From)
                               || {What, Unit, Of, Counts, From} <- figures()])].

line(#{nodes := N, all := All, half := Half, requests := Requests, most_requests := Most, vm := Vm, resident := Resident,
       register := Register}, How) ->
    Count = fun(Number) -> bench_table:format_number(count, Number) end,
    [[Count(N), How], Count(N * (N - 1) div 2), bench_table:format_number(ns, All), bench_table:format_number(ns, Half),
     Count(Requests), Count(Most), bench_table:format_number(bytes, Vm), bench_table:format_number(bytes, Resident),
     bench_table:format_number(ns, Register)].

%% The figures with a model, and the sizes that each model uses.
figures() ->
    All = fun(_) -> true end,
    %% If a dial over the bridge takes longer than a second, eid asks the engine and then dials the
    %% published port.
    Calm = fun(#{most_requests := Most}) -> Most =< ?CALM_REQUESTS end,
    %% The smallest cluster has another mixture of OTP releases.
    Mixed = fun(#{nodes := Nodes}) -> Nodes > hd(?SIZES) end,
    [{"all connected to all after", ns, fun(#{all := Time}) -> Time end, All, "all sizes"},
     {"requests to both engines", number, fun(#{requests := Requests}) -> Requests end, Calm, "sizes in which no dial took too long"},
     {"memory of a VM", bytes, fun(#{vm := Vm}) -> Vm end, Mixed, "all but the smallest, which lacks an OTP release"},
     {"resident memory of a container", bytes, fun(#{resident := Resident}) -> Resident end, Mixed, "the same"},
     {"`global:register_name/2`", ns, fun(#{register := Register}) -> Register end, All, "all sizes"}].

%% Any parabola fits three points.
model(What, _Unit, Points, From) when length(Points) < 4 ->
    [What, "none: too few sizes", "", "", From];
model(What, Unit, Points, From) ->
    #{coefficients := {A, B, C}, r2 := R2, residual := Residual} = bench_stats:parabola(Points),
    Term = fun(Of, Times) -> [case Of < 0 of true -> " − "; false -> " + " end, bench_table:format_number(Unit, abs(Of)), Times] end,
    [What, [["−" || A < 0], bench_table:format_number(Unit, abs(A)), Term(B, " · n"), Term(C, " · n²")],
     io_lib:format("~.3f", [R2]), bench_table:format_number(Unit, Residual), From].
