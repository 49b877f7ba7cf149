# cluster_lib.sh - starts a whole Holdfast with a real guest and a running client, for the tests of
# tests/e2e and tests/fault. To be sourced (bash) instead of lib.sh; needs SRC, BUILD and TEST_TMP.
#
#	scene_start [hf-client option...]   start networks, guest, daemons, one client connection; not protected
#	scene_protect                       protect web1; returns when it is PROTECTED
#	scene_ask_protect                   the same for a test of a refusal; returns the exit status of `protect`
#	scene_value 'EXPRESSION'            print the value of a Python expression over `vm` and `host`, from vm show
#	scene_end                           end the client; fail if it saw a reply lost, repeated, reordered or torn
# shellcheck source=tests/e2e/lib.sh
. "$SRC/tests/e2e/lib.sh"
# shellcheck source=deploy/lib/cluster.sh
. "$SRC/deploy/lib/cluster.sh"

SCENE_TOOLS=$SRC/tests/e2e
CLUSTER_PKI_KEPT=$BUILD/test-pki
CAPTURE_PID=''

# End the test as failed. Prints the ends of the daemons' logs too, because the test's files are removed.
fail() # TEXT...
{
	local log

	for log in "${CLUSTER_LOGS:-/nonexistent}"/{gateway,agent-*}.log; do
		[[ ! -s $log ]] || { echo "---- the end of ${log##*/}" && tail -n 15 "$log" | cut -c 1-300; } >&2
	done
	echo "FAIL: $*" >&2
	exit 1
}

# Build programs that are not built by default.
scene_build() # TARGET...
{
	ninja -C "$BUILD" "$@" >"$TEST_TMP/build.log" 2>&1 || { tail -n 20 "$TEST_TMP/build.log" >&2; return 1; }
}

scene_start()
{
	topo_trap
	topo_up
	# with a root disk, disk_images has already made the image
	[[ -n ${GUEST_DISK[primary]:-} ]] || guest_image "$BUILD"
	cluster_configure "$BUILD" "$TEST_TMP"
	guest_start primary "$TEST_TMP"
	cluster_start
	client_start "$BUILD" "$TEST_TMP/client.json" --progress-ms 100 "$@" ||
		fail "no connection to the guest: $client_line"
}

# Give the order `protect` once, and set SCENE_STATUS to its exit status. Returns 1 if the answer is of the moment: the
# gateway does not know yet that the last protection has ended, or an agent is on its way back.
scene_order_protect()
{
	SCENE_STATUS=0
	cluster_ctl protect "$CLUSTER_VM" >"$TEST_TMP/protect.log" 2>&1 || SCENE_STATUS=$?
	! grep -qE 'the end of the last term; try again|the agent of [a-z]+ (is not connected|has not reported this VM)' \
		"$TEST_TMP/protect.log"
}

# Give the order `protect` until its answer is not of the moment. Returns its exit status; its answer is in
# TEST_TMP/protect.log.
scene_ask_protect()
{
	scene_until 30 scene_order_protect || fail "protect: $(<"$TEST_TMP/protect.log")"
	return "$SCENE_STATUS"
}

# Protect the VM, and set SCENE_TERM to its term.
scene_protect()
{
	scene_ask_protect || fail "protect: $(<"$TEST_TMP/protect.log")"
	[[ $(<"$TEST_TMP/protect.log") =~ protected\ in\ term\ ([0-9]+) ]] ||
		fail "protect says: $(<"$TEST_TMP/protect.log")"
	SCENE_TERM=${BASH_REMATCH[1]}
}

scene_value() # EXPRESSION
{
	cluster_show | python3 -c '
import json, sys
vm = json.load(sys.stdin)
vm = vm.get("vm", vm)
host = {h["name"]: h for h in vm["hosts"]}
print(eval(sys.argv[1]))' "$1"
}

# Print CLOCK_REALTIME in ns, without starting a process. capture.py uses the same clock.
scene_now_ns() { echo $((${EPOCHREALTIME/./} * 1000)); }

# Print the gateway's counter NAME, from `holdfastctl stats`.
scene_counter() # NAME
{
	cluster_ctl --json stats | python3 -c '
import json, sys
print(json.load(sys.stdin)["counters"][sys.argv[1]])' "$1"
}

# Print how many bytes HOST has sent into the backup network.
scene_sent_bytes() # HOST
{
	topo_in net ip -s -j link show "b-$1" |
		python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["stats64"]["rx"]["bytes"])'
}

# Discard the lines that the client has printed so far.
scene_drain()
{
	while read -r -t 0 -u "$CLIENT_OUT"; do # read -t 0 only tests whether input is ready
		read -r -t 5 -u "$CLIENT_OUT" client_line || break
		[[ $client_line != broken* ]] || fail "the client: $client_line"
	done
}

# Wait until the client has N more replies. Fail the test if this takes longer than SECONDS.
scene_served() # N SECONDS WHEN
{
	scene_drain
	client_wait_replies "$1" "$2" || fail "the client got no replies $3: $client_line"
}

scene_end()
{
	scene_drain # a client whose output is not read would block
	client_finish
	head -n 12 "$TEST_TMP/client.json"
	[[ $CLIENT_STATUS == 0 ]] || fail "the client saw wrong or missing replies"
	[[ $(json "$TEST_TMP/client.json" \
		'd["connection_survived"], d["lost"], d["repeated"], d["out_of_order"], d["forgotten"], d["corrupt"]') \
		== "(True, 0, 0, 0, 0, 0)" ]] || fail "the client's report is not clean"
}

# Wait until COMMAND succeeds, without starting `sleep` processes. Returns 1 if COMMAND does not
# succeed in time.
scene_until() # SECONDS COMMAND...
{
	local deadline=$((SECONDS + $1)) nothing

	shift
	until "$@"; do
		(( SECONDS < deadline )) || return 1
		read -r -t 0.05 nothing <> <(:) || true
	done
}

# Start to record the guest's frames into FILE. Without HOST, these are the frames that reach the
# client's switch port; with HOST, the frames that HOST sends into the switch.
capture_start() # FILE [HOST]
{
	rm -f "$1" # it says "ready" if it is of an earlier capture
	topo_spawn net "$TEST_TMP/capture.log" python3 "$SCENE_TOOLS/capture.py" record \
		"c-${2:-client}" "$GUEST_MAC" "$1" ${2:+in}
	CAPTURE_PID=$TOPO_PID
	scene_until 10 grep -qs ready "$1" || fail "no capture: $(cat "$TEST_TMP/capture.log")"
}

capture_stop() { topo_end "$CAPTURE_PID"; }

capture_count() # FILE FROM_NS [TO_NS]
{
	python3 "$SCENE_TOOLS/capture.py" count "$@" || fail "the capture is not whole"
}

# Wait until the guest has sent nothing for QUIET_MS, and print when this silence began. Returns 1
# if there is no such silence within LIMIT_MS.
capture_quiet() # QUIET_MS LIMIT_MS
{
	topo_in net python3 "$SCENE_TOOLS/capture.py" quiet c-client "$GUEST_MAC" "$1" "$2"
}

# Kill a daemon with SIGKILL.
scene_kill() # alpha|beta|gateway
{
	kill -KILL "${CLUSTER_PID[$1]}"
	{ wait "${CLUSTER_PID[$1]}"; } 2>/dev/null
	cluster_stop "$1"
}

# Succeeds if a signal has stopped all threads of the process.
scene_is_stopped() # PID
{
	local running

	[[ -d /proc/$1/task ]] || return 1
	# List the threads that are not stopped. grep exits 1 if there are none.
	running=$(grep -L '^State:	T' "/proc/$1/task"/*/status 2>/dev/null) || true
	[[ -z $running ]]
}
