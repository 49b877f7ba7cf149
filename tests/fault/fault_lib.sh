# fault_lib.sh - kills daemons at named points (hostagent/lib/base/fault.h) while a client sends
# requests, and kills and revives whole hosts. To be sourced (bash); needs SRC, BUILD and TEST_TMP.
#
# One guest is used for many scenarios. After a failover the dead host comes back as after a reboot
# and becomes the next standby. So the guest moves back and forth between the two hosts. An agent
# gets its fault point at its start. While the agent's host is the standby, a point in the primary's
# code has no effect.
#
#	fault_start                            like scene_start, with daemons that have fault points
#	fault_arm primary before_stop:3        let the next agent die at its third pass of point before_stop
#	fault_strike primary 30                start to count the passes; wait up to 30 s for the agent to die
#	fault_slow_copy 6                      let the next copy of the guest's disk take 6 s
#	FAULT_ON, FAULT_OFF                    the host that runs the guest, and the other host
TOPO_STP=0 # no spanning tree, which would make each `protect` take about 3 s longer; tests/e2e and test_network have it
# shellcheck source=tests/e2e/cluster_lib.sh
. "$SRC/tests/e2e/cluster_lib.sh"

declare -A FAULT_ARMED=()
FAULT_ON=primary FAULT_OFF=standby
FAULT_PIDS=''	# every process of host FAULT_ON except its agent

# Start a process that asks the guest for its MAC address 250 times a second. With the ARP replies,
# every epoch has many frames to release.
fault_ask_arp()
{
	topo_spawn client "$TEST_TMP/arp.log" python3 "$SRC/tests/fault/arp_asker.py" eth0 \
		"$TOPO_CLIENT_IP" "$TOPO_GUEST_IP"
}

# Build the daemons that have fault points. From now on the cluster's daemons are these.
fault_programs()
{
	scene_build hostagent/holdfast-agent-fault gateway/holdfast-gateway-fault || fail "no daemons with fault points"
	CLUSTER_AGENT_BIN=$BUILD/hostagent/holdfast-agent-fault
	CLUSTER_GATEWAY_BIN=$BUILD/gateway/holdfast-gateway-fault
}

fault_start() # [hf-client option...]
{
	fault_programs
	topo_trap
	topo_up
	# with a root disk, disk_images has already made the image
	[[ -n ${GUEST_DISK[primary]:-} ]] || guest_image "$BUILD"
	cluster_configure "$BUILD" "$TEST_TMP"
	guest_start primary "$TEST_TMP"
	fault_gateway
	fault_agent primary
	fault_agent standby
	cluster_wait 'host["alpha"]["connected"] and host["beta"]["connected"]' 30 ||
		fail "the agents did not connect"
	client_start "$BUILD" "$TEST_TMP/client.json" --progress-ms 200 "$@" ||
		fail "no connection to the guest: $client_line"
}

fault_arm() { FAULT_ARMED[$1]=$2; } # primary|standby|gateway POINT:NTH; applies to the next start only

# Start the agent of HOST. If fault_arm has set a fault point for it, the agent gets this point.
fault_agent() # HOST
{
	fault_spawn "$1" cluster_start_agent "$1"
}

fault_gateway()
{
	fault_spawn gateway cluster_start_gateway
}

fault_spawn() # HOST|gateway COMMAND...
{
	local who=$1

	shift
	rm -f "$TOPO_DIR/strike-$who"
	if [[ -n ${FAULT_ARMED[$who]:-} ]]; then
		export HOLDFAST_FAULT=${FAULT_ARMED[$who]} HOLDFAST_FAULT_GATE=$TOPO_DIR/strike-$who
	fi
	"$@"
	unset HOLDFAST_FAULT HOLDFAST_FAULT_GATE "FAULT_ARMED[$who]"
}

fault_pid_of() { echo "${CLUSTER_PID[${CLUSTER_AGENT[$1]:-$1}]}"; } # HOST|gateway

# Wait until the daemon has died at its fault point. The daemon is a child of this shell. Sets
# FAULT_NS to the time of the death, or slightly later.
fault_await() # HOST|gateway SECONDS
{
	local name=${CLUSTER_AGENT[$1]:-$1} pid limit ended status

	pid=${CLUSTER_PID[$name]}
	sleep "$2" &
	limit=$!
	{ wait -n -p ended "$pid" "$limit"; status=$?; } 2>"$TEST_TMP/wait.log" # bash reports the killed child on stderr
	FAULT_NS=$(scene_now_ns)
	[[ $ended == "$pid" ]] || fail "$name did not reach its point in $2 s"
	{ kill "$limit" && wait "$limit"; } 2>/dev/null
	unset "CLUSTER_PID[$name]"
	(( status == 137 )) || fail "$name was not killed at its point (status $status)"
}

fault_strike() # HOST|gateway SECONDS
{
	: >"$TOPO_DIR/strike-$1"
	fault_await "$1" "$2"
}

# Start a watcher. As soon as the agent of the guest's host dies, the watcher kills this host. Call
# this before fault_strike.
fault_watch()
{
	local pid

	FAULT_PIDS=''
	for pid in $(topo_pids "$FAULT_ON"); do
		[[ $pid == "$(fault_pid_of "$FAULT_ON")" ]] || FAULT_PIDS+=" $pid"
	done
	# shellcheck disable=SC2086 # several arguments
	topo_spawn net "$TEST_TMP/watch.log" python3 "$SRC/tests/fault/die_with.py" \
		"c-$FAULT_ON,b-$FAULT_ON" "$(fault_pid_of "$FAULT_ON")" $FAULT_PIDS
	FAULT_WATCH=$TOPO_PID
	scene_until 10 grep -qs watching "$TEST_TMP/watch.log" || fail "no watcher"
}

# Limit the speed of the copy of the guest's disk that is made next: it takes SECONDS. A copy that runs now is not
# slowed down. TEST_TMP/slow.log has the line "slow" once the next one has begun.
fault_slow_copy() # SECONDS
{
	local bytes

	bytes=$(stat -c %s "${GUEST_DISK[$FAULT_ON]}")
	topo_spawn "$FAULT_ON" "$TEST_TMP/slow.log" python3 "$SRC/tests/fault/slow_copy.py" \
		"$TOPO_DIR/$FAULT_ON/qmp-look" $((bytes / $1))
	scene_until 10 grep -qs watching "$TEST_TMP/slow.log" || fail "no copy can be slowed down: $(<"$TEST_TMP/slow.log")"
}

fault_is_empty() { [[ -z $(topo_pids "$1") ]]; } # HOST

# Wait until the watcher has killed the host and all of its processes are gone. Call this after
# fault_strike.
fault_host_gone()
{
	wait "$FAULT_WATCH" || fail "the host was not killed: $(cat "$TEST_TMP/watch.log")"
	rm "$TEST_TMP/watch.log"
	{ for pid in $FAULT_PIDS; do wait "$pid"; done; } 2>/dev/null
	# Wait: freeing a guest's memory takes a while. A guest that the agent started is no child of
	# this shell.
	scene_until 10 fault_is_empty "$FAULT_ON" || fail "processes survived the death of $FAULT_ON"
}

# Bring the dead host back as a reboot would: its links are up, its tap is new, and its processes and
# the files on its tmpfs are gone. Starts its agent. A boot takes longer than the gateway needs to close the old
# agent's connection: wait for that, or the host counts as connected while its new agent is not.
fault_reboot() # HOST
{
	local device

	topo_end_all "$1"
	cluster_wait "not host['${CLUSTER_AGENT[$1]}']['connected']" 30 ||
		fail "the gateway keeps the connection of a dead host: $(cluster_show)"
	for device in tap0 $(topo_in "$1" ip -o link | grep -o 'hfo[0-9]*' | sort -u); do
		topo_in "$1" ip link del "$device"
	done
	rm -rf "${TOPO_PINS:?}/${CLUSTER_AGENT[$1]}" "${TOPO_DIR:?}/$1"/{run,state}
	mkdir -p "$TOPO_DIR/$1"/{run,state}
	topo_in "$1" ip tuntap add dev tap0 mode tap
	topo_in "$1" ip link set tap0 master br0 up
	topo_in net ip link set "c-$1" up
	topo_in net ip link set "b-$1" up
	fault_agent "$1"
}

fault_swap()
{
	local on=$FAULT_ON

	FAULT_ON=$FAULT_OFF FAULT_OFF=$on
}

# Check that host FAULT_OFF owns the VM in the next term, and that the client is served.
fault_took_over() # TERM_BEFORE WHEN
{
	cluster_wait "vm['state'] == 'UNPROTECTED' and vm['owner'] == '${CLUSTER_AGENT[$FAULT_OFF]}'" 20 ||
		fail "no failover $2: $(cluster_show)"
	[[ $(scene_value 'vm["term"]') == $(($1 + 1)) ]] || fail "term after $2: $(cluster_show)"
	scene_served 100 20 "after the failover"
}
