%% @doc Runs the parts of `make bench' and writes the table. The exit status shows whether every
%% bound holds. run.sh starts it; README.md describes the measurements.
-module(eid_bench).

-export([main/0]).

%% The parts, in the table's order. Some parts need the rig: two Docker hosts on this machine.
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
%% Milliseconds after which a part is given up.
-define(PART_TIME, 600_000).
%% Milliseconds between two parts, in which leftovers of the first part end.
-define(REST, 2_000).

%% @doc Runs the parts named on the command line after `-extra', or all parts, and ends the VM. Only
%% a run of all parts writes the file named by `EID_BENCH_RESULTS'.
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

%% If a part needs the hosts, checks that they are available and starts an epmd on each host. run.sh
%% has started the hosts.
rig(Parts) ->
    case lists:keymember(rig, 3, Parts) andalso eid_rig:available() of
        true -> bench_hosts:start_epmds(), up;
        false -> not_needed;
        {skip, Why} -> {missing, Why}
    end.

%% Returns a part's rows, and its own section if it has one.
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

%% A part's nodes are linked to the process in which the part runs, and end with it.
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
            [bench_table:missing(atom_to_list(Name), "it crashed; see the log")]
    after ?PART_TIME ->
            exit(Runner, kill),
            [bench_table:missing(atom_to_list(Name), "it took too long")]
    end.

introduction(Rig) ->
    ["# Results of `make bench`\n"
     "\n"
     "`make bench` writes this file; do not edit it. ", measured(Rig), "\n"
     "\n"
     "All numbers come from this one run, in which the compared systems take turns.\n"
     "A number is the median unless the row names another figure.\n"
     "The ratio is eid's number divided by the other one.\n"
     "[README.md](README.md) describes each measurement.\n"].

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
