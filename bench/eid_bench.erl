%% @doc `make bench': runs the parts, writes the table, and says by its exit status whether every
%% bound holds. Run by run.sh; README.md tells what is measured.
-module(eid_bench).

-export([main/0]).

%% The parts in the table's order. Some need the rig: two Docker hosts on this machine.
-define(PARTS, [{lookup, bench_lookup, rig},
                {connect, bench_connect, rig},
                {cold, bench_cold, no_rig},
                {traffic, bench_traffic, rig},
                {restart, bench_restart, rig},
                {joining, bench_joining, rig},
                {formation, bench_formation, rig},
                {latency, bench_latency, no_rig},
                {serve, bench_serve, rig},
                {forward, bench_forward, no_rig}]).
%% A part that takes longer is given up.
-define(PART_TIME, 600_000).
%% Between two parts, what the first has left running ends.
-define(REST, 2_000).

%% @doc Runs the parts named on the command line after `-extra', or all, and ends the VM. Only a run
%% of all is written to a file, which `EID_BENCH_RESULTS' names.
-spec main() -> no_return().
main() ->
    Chosen = [list_to_existing_atom(Part) || Part <- init:get_plain_arguments()],
    Parts = [Part || {Name, _, _} = Part <- ?PARTS,
                     Chosen =:= [] orelse lists:member(Name, Chosen)],
    Rig = rig(Parts),
    {PartsRows, Sections} = lists:unzip([run(Part, Rig) || Part <- Parts]),
    Rows = lists:append(PartsRows),
    Report = [introduction(Rig), "\n", bench_table:format(Rows), Sections],
    ok = io:setopts([{encoding, unicode}]),
    io:format("~n~ts", [Report]),
    Chosen =:= [] andalso write(Report),
    halt(case bench_table:holds(Rows) of true -> 0; false -> 1 end).

write(Report) ->
    case os:getenv("EID_BENCH_RESULTS") of
        false -> ok;
        File -> ok = file:write_file(File, unicode:characters_to_binary(Report))
    end.

%% Whether the hosts are there for the parts that need them. run.sh has brought them up.
rig(Parts) ->
    case lists:keymember(rig, 3, Parts) andalso eid_rig:available() of
        true -> bench_hosts:start_epmds(), up;
        false -> not_needed;
        {skip, Why} -> {missing, Why}
    end.

%% The rows of a part, and what it has to say beside them: a section with a table of its own.
run({Name, _, rig}, {missing, Why}) ->
    {[bench_table:missing(atom_to_list(Name), Why)], ""};
run({Name, Module, _}, Rig) ->
    io:format(standard_error, "bench: ~s~n", [Name]),
    Measured = rows(Name, Module),
    Rig =:= up andalso bench_hosts:remove_containers(),
    timer:sleep(?REST),
    case Measured of
        {Rows, Section} -> {Rows, ["\n", Section]};
        Rows -> {Rows, ""}
    end.

%% The nodes that a part has started are linked to the process that it runs in, and end with it.
rows(Name, Module) ->
    Self = self(),
    {Runner, Monitor} = spawn_monitor(fun() -> Self ! {self(), Module:rows()}, exit(shutdown) end),
    receive
        {Runner, Rows} ->
            receive {'DOWN', Monitor, process, Runner, shutdown} -> Rows end;
        {'DOWN', Monitor, process, Runner, {missing, Why}} ->
            [bench_table:missing(atom_to_list(Name), Why)];
        {'DOWN', Monitor, process, Runner, Crash} ->
            io:format(standard_error, "bench: ~s: ~p~n", [Name, Crash]),
            [bench_table:missing(atom_to_list(Name), "it crashed; its log says why")]
    after ?PART_TIME ->
            exit(Runner, kill),
            [bench_table:missing(atom_to_list(Name), "it took too long")]
    end.

introduction(Rig) ->
    ["# Results of `make bench`\n"
     "\n"
     "Made by `make bench`, not by hand. ", measured(Rig), "\n"
     "\n"
     "Whatever is compared was measured in this one run, in rounds that take turns. A number is\n"
     "the median unless the row says otherwise, and the ratio is eid's divided by the other one.\n"
     "[README.md](README.md) says how each row comes about.\n"].

measured(Rig) ->
    [calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]),
     ", eid ", commit(), ", Erlang/OTP ", otp_version(), docker(Rig),
     ", ", command("uname -sr"), " on ", cpu(), "."].

docker(up) -> [", Docker ", eid_rig:docker(1, "version -f '{{.Server.Version}}'")];
docker(_) -> "".

commit() ->
    Dir = ["git -C '", eid_ct:root(), "' "],
    Changes = command([Dir, "status --porcelain -- ':/' ':!/bench/RESULTS.md'"]),
    [command([Dir, "rev-parse --short=12 HEAD"]), [", with changes" || Changes =/= ""]].

otp_version() ->
    Release = erlang:system_info(otp_release),
    File = filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"]),
    case file:read_file(File) of
        {ok, Version} -> string:trim(Version);
        {error, _} -> Release
    end.

cpu() ->
    Model = command("sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1"),
    io_lib:format("~b x ~ts", [erlang:system_info(logical_processors_available), Model]).

command(Command) -> string:trim(os:cmd(lists:flatten(Command))).
