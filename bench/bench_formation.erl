%% @doc Whole clusters of 2 to 60 containers whose nodes all begin to look for each other at the same moment: how soon each is connected
%% to all others, what the engines are asked for that, and what memory it takes; and a model of each, `a + b*n + c*n*n'.
%%
%% The clusters are those of the tests (test/eid_cluster.erl), new containers for each size, found by the strategy `docker'. Their VMs are
%% up and wait before they begin, so that Docker's starting of containers is not measured. The largest is measured once more with
%% `-connect_all false', where eid makes the same mesh and `global' has no part in it.
-module(bench_formation).

-export([rows/0]).
%% On the nodes.
-export([begin_at/2, memory/0, register_name/0]).

%% All but the first have as many containers of each OTP release on each host.
-define(SIZES, [2, 6, 12, 24, 42, 60]).
%% One of them that the machine is not too busy with: none of its dials takes longer than it may.
-define(CALM, 24).
%% Requests of a node to an engine, at most, where that is so.
-define(CALM_REQUESTS, 10).
%% Containers of the largest cluster that are replaced by new ones.
-define(REPLACED, 6).
%% Nodes of each cluster that register a name with `global', one after the other.
-define(REGISTER, 5).
%% Milliseconds for the VMs to come up, and a cluster to form.
-define(PATIENCE, 60_000).
%% Milliseconds until all have been told when to begin.
-define(LEAD, 3_000).
%% Milliseconds in which nobody is asked how far it is, since asking takes the machine's time, and in which the second lists come, a second
%% after the first.
-define(UNDISTURBED, 6_000).

-type figures() :: #{nodes := pos_integer(), all := bench_stats:ns(), half := bench_stats:ns(), requests := pos_integer(),
                     most_requests := pos_integer(), vm := float(), resident := float(), register := bench_stats:ns(),
                     replaced => float()}.
%% `all': until the last node was connected to all others; `half': until half of the nodes were. `requests' to both engines, of all nodes;
%% `most_requests' of one node to one engine. `vm' and `resident': bytes of memory, as the VM counts and as the kernel counts those of
%% the container's processes, on average. `register': for a name that `global' registers. `replaced': requests of a node for each
%% container that was replaced.

-spec rows() -> {[bench_table:row()], Section :: iodata()}.
rows() ->
    All = [measure(Size, []) || Size <- ?SIZES],
    #{nodes := Nodes, all := Time, half := Half, replaced := Replaced} = lists:last(All),
    [#{most_requests := Requests}] = [Figures || #{nodes := ?CALM} = Figures <- All],
    WithoutGlobal = measure(lists:last(?SIZES), ["-connect_all", "false"]),
    Largest = ["a cluster of ", integer_to_list(Nodes), ", all begin at once: "],
    {[bench_table:row([Largest, "nodes connected to all others"], count, Nodes, none, {value, at_least, lists:last(?SIZES)}),
      bench_table:row([Largest, "time until all are connected to all"], ns, Time, {"until half of them are", Half}, none),
      bench_table:row(["a cluster of ", integer_to_list(?CALM), ", all begin at once: requests of a node to an engine, at most"], count,
                      Requests, {"containers of that engine", ?CALM div 2}, {value, at_most, ?CALM_REQUESTS}),
      bench_table:row([Largest, "requests of a node for each container that is then replaced"], number, Replaced, none, none)],
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

%% What those ask who stay, when some containers are replaced by others.
replace(Cluster, Before) ->
    Replaced = eid_cluster:replace(Cluster, ?REPLACED),
    _ = eid_cluster:await_mesh(Replaced, ?PATIENCE),
    timer:sleep(?LEAD),
    More = [lists:sum(Requests) - lists:sum(maps:get(Node, Before))
            || {Node, Requests} <- maps:to_list(requests(Replaced)), is_map_key(Node, Before)],
    {#{replaced => mean(More) / ?REPLACED}, Replaced}.

%% How many requests each node has made to each engine.
requests(Cluster) ->
    Infos = lists:zip(eid_cluster:nodes(Cluster), on_all(Cluster, eid, info, [])),
    maps:from_list([{Node, [Requests || #{requests := Requests} <- maps:values(Engines)]} || {Node, #{engines := Engines}} <- Infos]).

%% What a function answers on all nodes, in the order of the members; again until all do.
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

%% @doc Has this node look for the others from that moment on, by the clock of the machine.
-spec begin_at(Milliseconds :: integer(), Settings :: map()) -> ok.
begin_at(Begin, Settings) ->
    _ = spawn(fun() ->
                      ok = application:stop(eid),
                      ok = application:set_env(eid, clusters, [Settings]),
                      timer:sleep(max(0, Begin - os:system_time(millisecond))),
                      ok = application:start(eid)
              end),
    ok.

%% @doc How long `global' takes to register a name, which all nodes that it knows have to agree to.
-spec register_name() -> bench_stats:ns().
register_name() ->
    Name = {?MODULE, node()},
    {Time, yes} = bench_stats:timed(fun() -> global:register_name(Name, self()) end),
    _ = global:unregister_name(Name),
    Time.

%% @doc The bytes that the VM has allocated, without garbage, and those of the container's processes that are resident.
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

%% The section of the results.

section(All, WithoutGlobal) ->
    ["## Clusters of 2 to 60 containers\n"
     "\n"
     "All nodes begin to look for each other at the same moment, by the strategy `docker`. One machine is both hosts and runs all of\n"
     "the VMs, so the time is above all that of its cores.\n"
     "\n",
     bench_table:format_cells([{"containers", right}, {"connections", right}, {"all connected to all after", right},
                               {"half of the nodes after", right}, {"requests to both engines", right},
                               {"of them by a node to an engine, at most", right}, {"memory of a VM", right},
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

%% What is modelled, and from which sizes.
figures() ->
    All = fun(_) -> true end,
    %% A dial over the bridge that takes longer than a second has the engine asked, and then the published port is dialled.
    Calm = fun(#{most_requests := Most}) -> Most =< ?CALM_REQUESTS end,
    %% The smallest has another mixture of OTP releases.
    Mixed = fun(#{nodes := Nodes}) -> Nodes > hd(?SIZES) end,
    [{"all connected to all after", ns, fun(#{all := Time}) -> Time end, All, "all sizes"},
     {"requests to both engines", number, fun(#{requests := Requests}) -> Requests end, Calm, "sizes in which no dial took too long"},
     {"memory of a VM", bytes, fun(#{vm := Vm}) -> Vm end, Mixed, "all but the smallest, which lacks an OTP release"},
     {"resident memory of a container", bytes, fun(#{resident := Resident}) -> Resident end, Mixed, "the same"},
     {"`global:register_name/2`", ns, fun(#{register := Register}) -> Register end, All, "all sizes"}].

%% Through three points goes any parabola.
model(What, _Unit, Points, From) when length(Points) < 4 ->
    [What, "none: too few sizes", "", "", From];
model(What, Unit, Points, From) ->
    #{coefficients := {A, B, C}, r2 := R2, residual := Residual} = bench_stats:parabola(Points),
    Term = fun(Of, Times) -> [case Of < 0 of true -> " − "; false -> " + " end, bench_table:format_number(Unit, abs(Of)), Times] end,
    [What, [["−" || A < 0], bench_table:format_number(Unit, abs(A)), Term(B, " · n"), Term(C, " · n²")],
     io_lib:format("~.3f", [R2]), bench_table:format_number(Unit, Residual), From].
