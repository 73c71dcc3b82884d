#!/usr/bin/env bash
# The keeper with real processes: restart, kill, hold, release, backoff, TERM, a second keeper of the
# same name, a missing command, KILL of the keeper and KILL of its parent without an orphan.
# Nothing sleeps for a fixed time: each wait polls for what it waits for, up to a bound.
set -euo pipefail

keeper=${TIDAL_BIN:?expected TIDAL_BIN, the folder of the programs}/tidal_keeper
work=$(mktemp -d)
# Deeper than a socket path may be.
run=$work/$(printf 'deep%.0s/' {1..40})run
passed=0

# Only what this script has started, and what its files name.
cleanup() {
    local file
    for file in "$work"/*.pid; do
        [ ! -f "$file" ] || kill -KILL "$(cat "$file")" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT

fail() {
    printf 'FAIL %s\n' "$*" >&2
    cat "$work"/*.out >&2 || true
    exit 1
}

ok() {
    passed=$((passed + 1))
    printf 'ok   %s\n' "$*"
}

# eventually WHAT COMMAND...: until the command succeeds, 10 s at most.
eventually() {
    local what=$1 tries
    shift
    for ((tries = 0; tries < 500; tries++)); do
        if "$@"; then
            return 0
        fi
        read -rt 0.02 <> <(:) || true
    done
    fail "expected $what within 10 s, found: $("$keeper" status --run "$run" 2>&1 || true)"
}

# field NAME KEY: one value of a process's status line; empty without a keeper.
field() {
    local line word
    line=$("$keeper" status "$1" --run "$run" 2>/dev/null) || return 0
    for word in $line; do
        [ "${word%%=*}" != "$2" ] || printf '%s' "${word#*=}"
    done
}

has() {
    [ "$(field "$1" "$2")" = "$3" ]
}

has_other_pid() {
    local pid
    pid=$(field "$1" pid)
    [ -n "$pid" ] && [ "$pid" != 0 ] && [ "$pid" != "$2" ]
}

# A zombie that its parent has not fetched yet is gone as well.
gone() {
    local state
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) || return 0
    [ -z "$state" ] || [ "$state" = Z ]
}

file_has() {
    grep -q "$2" "$1" 2>/dev/null
}

# start NAME COMMAND...: a keeper in the background; its pid goes to $keeper_pid.
start() {
    local name=$1
    shift
    "$keeper" --name "$name" --run "$run" -- "$@" >"$work/$name.out" 2>&1 &
    keeper_pid=$!
    echo "$keeper_pid" >"$work/$name.pid"
    eventually "the keeper of $name" has "$name" keeper "$keeper_pid"
}

# -- starts, restarts, holds ----------------------------------------------------------------------

start steady /bin/sh -c 'while :; do read -r line; done' <> <(:)
eventually "steady to run" has steady state running
first=$(field steady pid)
"$keeper" kill steady --run "$run" >/dev/null
eventually "a new process after kill" has_other_pid steady "$first"
has steady restarts 1 || fail "expected 1 restart, found $(field steady restarts)"
gone "$first" || fail "expected $first to be gone"
ok "a killed process is started again"

second=$(field steady pid)
"$keeper" kill steady --run "$run" --hold >/dev/null
gone "$second" || fail "expected a process that is held to be gone when the verb returns"
has steady state held || fail "expected state held, found $(field steady state)"
ok "kill --hold returns when the process is gone"
"$keeper" release steady --run "$run" >/dev/null
eventually "a process after release" has steady state running
ok "release starts it again"

third=$(field steady pid)
"$keeper" kill steady --run "$run" --signal STOP --hold >/dev/null
eventually "a stopped process" file_has "/proc/$third/status" '^State:[[:space:]]*T'
"$keeper" release steady --run "$run" >/dev/null
eventually "a process that goes on" file_has "/proc/$third/status" '^State:[[:space:]]*[SR]'
ok "STOP freezes a process, release thaws the same one"

if "$keeper" --name steady --run "$run" -- true >"$work/twice.out" 2>&1; then
    fail "expected a second keeper of one name to be refused"
fi
file_has "$work/twice.out" "pid $keeper_pid" || fail "expected the refusal to name pid $keeper_pid"
has steady pid "$third" || fail "expected the first keeper to be untouched"
ok "a second keeper of one name is refused, with the pid of the first"

"$keeper" kill absent --run "$run" >"$work/absent.out" 2>&1 && fail "expected kill of an unknown name to fail"
"$keeper" kill steady --run "$run" --signal NONSENSE >"$work/signal.out" 2>&1 && fail "expected a bad signal to be refused"
file_has "$work/signal.out" NONSENSE || fail "expected the refusal to name the bad signal"
ok "an unknown name and an unknown signal are errors"

"$keeper" stop steady --run "$run" >/dev/null
gone "$third" || fail "expected the process to be gone after stop"
wait "$keeper_pid" || fail "expected exit status 0 after stop, found $?"
has steady state "" || fail "expected no keeper after stop"
ok "stop returns when keeper and process are gone, with status 0"

# -- backoff and errors ---------------------------------------------------------------------------

start failing /bin/sh -c 'exit 3'
eventually "three failures" file_has "$work/failing.out" 'exit=3 retry_ms=400'
for pause in 100 200 400; do
    [ "$(grep -c "retry_ms=$pause\$" "$work/failing.out")" = 1 ] || fail "expected one pause of $pause ms"
done
kill -TERM "$keeper_pid"
wait "$keeper_pid" || fail "expected exit status 0, found $?"
ok "a failing process is retried with growing pauses"

start misconfigured /bin/sh -c 'echo "no such region" >&2; exit 78'
eventually "the report of exit 78" file_has "$work/misconfigured.out" 'event=child_config_error.*retry_ms=5000'
file_has "$work/misconfigured.out" 'no such region' || fail "expected the child's own line in the output"
kill -INT "$keeper_pid"
wait "$keeper_pid" || fail "expected exit status 0, found $?"
ok "exit status 78 is reported and retried slowly"

status=0
"$keeper" --name missing --run "$run" -- "$work/no-such-program" >"$work/missing.out" 2>&1 || status=$?
[ "$status" = 127 ] || fail "expected status 127 for a missing command, found $status"
file_has "$work/missing.out" 'no-such-program: No such file' || fail "expected the error to name the command"
[ "$(grep -c child_not_started "$work/missing.out")" = 1 ] || fail "expected one attempt"
ok "a command that does not exist is one clear error"

# -- signals --------------------------------------------------------------------------------------

# shellcheck disable=SC2016 # the inner shell expands it
counting='trap "echo got TERM; exit 0" TERM; trap "echo got INT; exit 0" INT; echo up; while :; do read -rt 0.02 <> <(:) || true; done'
start counted /bin/bash -c "$counting"
eventually "the process to be up" file_has "$work/counted.out" '^up'
kill -INT "$keeper_pid"
kill -TERM "$keeper_pid" 2>/dev/null || true
wait "$keeper_pid" || fail "expected exit status 0, found $?"
[ "$(grep -c '^got' "$work/counted.out")" = 1 ] || fail "expected one signal to reach the process"
ok "of INT and TERM in a row one is forwarded"

start deaf /bin/bash -c "trap '' TERM; echo up; while :; do read -rt 0.02 <> <(:) || true; done"
eventually "the process to be up" file_has "$work/deaf.out" '^up'
deaf=$(field deaf pid)
began=$(date +%s%N)
kill -TERM "$keeper_pid"
status=0
wait "$keeper_pid" || status=$?
took_ms=$((($(date +%s%N) - began) / 1000000))
[ "$status" = 1 ] || fail "expected status 1 after a forced stop, found $status"
[ "$took_ms" -ge 3400 ] || fail "expected the process to get 3500 ms, found $took_ms ms"
gone "$deaf" || fail "expected the deaf process to be gone"
ok "a process that ignores TERM is killed after 3.5 s ($took_ms ms)"

# -- no orphans -----------------------------------------------------------------------------------

start orphaned /bin/sh -c 'while :; do read -r line; done' <> <(:)
eventually "orphaned to run" has orphaned state running
child=$(field orphaned pid)
kill -KILL "$keeper_pid"
wait "$keeper_pid" 2>/dev/null || true
eventually "the child of a killed keeper to be gone" gone "$child"
[ "$("$keeper" status --run "$run")" = "name=orphaned state=no_keeper pid=0" ] ||
    fail "expected status to show the killed keeper, found $("$keeper" status --run "$run")"
ok "KILL of the keeper leaves no orphan"

start orphaned /bin/sh -c 'while :; do read -r line; done' <> <(:)
"$keeper" stop orphaned --run "$run" >/dev/null
wait "$keeper_pid" || fail "expected exit status 0, found $?"
ok "a new keeper takes over what a killed one left behind"

# A manager that starts a keeper and dies by KILL.
# shellcheck disable=SC2016 # the inner shell expands it
manager='"$0" --name managed --run "$1" --die-with-parent -- /bin/bash -c "trap \"echo bye; exit 0\" TERM; echo up; while :; do read -rt 0.02 <> <(:) || true; done" & wait'
/bin/bash -c "$manager" "$keeper" "$run" >"$work/managed.out" 2>&1 &
manager_pid=$!
echo "$manager_pid" >"$work/manager.pid"
eventually "the managed process to be up" file_has "$work/managed.out" '^up'
managed_keeper=$(field managed keeper)
managed_child=$(field managed pid)
echo "$managed_keeper" >"$work/managed.pid"
kill -KILL "$manager_pid"
wait "$manager_pid" 2>/dev/null || true
eventually "the keeper of a killed manager to be gone" gone "$managed_keeper"
gone "$managed_child" || fail "expected the process to be gone with its keeper"
file_has "$work/managed.out" '^bye' || fail "expected the process to be told to stop"
ok "KILL of the manager stops keeper and process in order"

# -- log file -------------------------------------------------------------------------------------

"$keeper" --name logged --run "$run" --log "$work/logged.log" -- /bin/sh -c 'echo out; echo err >&2; exec cat' <> <(:) >"$work/logged.out" 2>&1 &
keeper_pid=$!
echo "$keeper_pid" >"$work/logged.pid"
eventually "the child's lines in the log file" file_has "$work/logged.log" '^err'
"$keeper" stop logged --run "$run" >/dev/null
wait "$keeper_pid" || fail "expected exit status 0, found $?"
file_has "$work/logged.log" '^out' || fail "expected the child's output in the log file"
file_has "$work/logged.log" 'event=child_started process=logged' || fail "expected the keeper's lines in the log file"
[ ! -s "$work/logged.out" ] || fail "expected nothing on the inherited output"
ok "--log takes the output of keeper and process"

printf '%s passed\n' "$passed"
