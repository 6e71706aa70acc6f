# shellcheck shell=bash
# Clears everything that a run leaves behind when it is interrupted, killed, or out of disk space.
#
# A run is identified by its process ID. All its processes have that ID in the environment variable EID_TEST_RUN. All
# its temporary files are in one directory with the ID in its name. The file _build/test-did-not-pass exists until a run
# passes.

DID_NOT_PASS=_build/test-did-not-pass

# Prints the ID of the run that a process belongs to.
run_of() { { tr '\0' '\n' < "/proc/$1/environ" | sed -n 's/^EID_TEST_RUN=//p'; } 2> /dev/null; }

# Prints the processes of all runs, except processes on a host of the rig. `rig down` ends them.
processes_of_runs() {
  local environ pid
  grep -lsz '^EID_TEST_RUN=' /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid environ; do
    [ "$(readlink "/proc/$pid/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || echo "$pid"
  done
}

is_running() { [ "$(run_of "$1")" = "$1" ]; }

folder_of() { echo "/tmp/eid-test.$1"; }

# Ends the processes of runs for which the condition holds, except this shell and its own children. They may start
# others meanwhile, so look again until none is left.
end_processes() {
  local condition=$1 pid ids
  for _ in {1..100}; do
    ids=()
    for pid in $(processes_of_runs); do
      if [ "$pid" != "$$" ] && [ "$pid" != "$BASHPID" ] && "$condition" "$(run_of "$pid")"; then ids+=("$pid"); fi
    done
    [ "${#ids[@]}" -gt 0 ] || return 0
    kill -KILL "${ids[@]}" 2> /dev/null
    sleep 0.1
  done
  echo "run.sh: these processes of an earlier run do not end: ${ids[*]}" >&2
}

has_ended() { [ -n "$1" ] && ! is_running "$1"; }
is_this()   { [ "$1" = "$$" ]; }

# Does nothing in parts that do not use the rig.
take_rig_down() { [ "$uses_rig" = no ] || [ "$(id -u)" != 0 ] || test/rig/rig down; }

# Clears the leftovers of earlier runs. Fails if another run is in progress, because a machine has only one rig and one
# loopback.
end_earlier_runs() {
  local pid folder
  for pid in $(processes_of_runs); do
    if [ "$pid" != "$$" ] && is_running "$pid"; then
      echo "run.sh: another run goes on as process $pid: wait for its end, or stop it with: kill $pid" >&2
      return 1
    fi
  done
  end_processes has_ended
  for folder in /tmp/eid-test.*; do
    [ ! -d "$folder" ] || rm -rf --one-file-system "$folder"
  done
  take_rig_down
  [ ! -e "$DID_NOT_PASS" ] || clear_build
}

# A run that was killed or out of disk space can leave truncated files that are newer than their sources.
clear_build() {
  local plt
  echo "run.sh: the run before did not pass, so its Erlang code is compiled again"
  rm -rf _build/unit _build/*/lib/eid/ebin _build/*/lib/eid/test _build/*/lib/eid/.rebar3
  for plt in _build/default/rebar3_*_plt ~/.cache/rebar3/rebar3_*_plt; do
    [ ! -e "$plt" ] || dialyzer --plt_info --plt "$plt" > /dev/null 2>&1 || rm -f "$plt"
  done
  rebar3 compile
}

begin_this_run() {
  TMPDIR=$(folder_of "$$")
  export TMPDIR
  mkdir -p "$TMPDIR" _build && : > "$DID_NOT_PASS"
}

end_this_run() {
  end_processes is_this
  take_rig_down
  rm -rf --one-file-system "$(folder_of "$$")"
}
