# bench_lib.sh - shared code of the bench_* scripts: starts the networks, a guest with real programs,
# and Holdfast. To be sourced by bash, with SRC, BUILD and TEST_TMP set as tests/bench/run sets them.
#
#	bench_start WORKLOAD          starts networks, guest with its workload, and daemons; does not protect
#	bench_set_epochs 'KEY = V...' puts settings into the VM's file of host alpha and restarts its agent
#	bench_protect; bench_unprotect
#	bench_redis OPTION...         runs redis_load in the client's namespace; prints its JSON object
set -uo pipefail
: "${SRC:?run this with tests/bench/run}" "${BUILD:?}" "${TEST_TMP:?}"

TOPO_STP=${TOPO_STP:-0} # no spanning tree: earlier results had none
# shellcheck source=deploy/lib/topology.sh
. "$SRC/deploy/lib/topology.sh"
GUEST_MEM_MIB=${GUEST_MEM_MIB:-384} GUEST_RATE=0
# shellcheck source=deploy/lib/guest.sh
. "$SRC/deploy/lib/guest.sh"
# shellcheck source=deploy/lib/cluster.sh
. "$SRC/deploy/lib/cluster.sh"

readonly BENCH_REDIS=$TOPO_GUEST_IP:6379

die() { echo "${0##*/}: $*" >&2; exit 1; }
note() { echo "${0##*/}: $*" >&2; }

# Starts only the networks and the guest, without Holdfast.
bench_start_guest() # WORKLOAD
{
	GUEST_WORK=$1
	topo_trap
	topo_up
	guest_workload_image "$BUILD"
	guest_start primary "$TEST_TMP"
}

# Waits until the guest's console says that the workload is ready. For redis, also fills the server
# with keys.
bench_wait_workload() # WORKLOAD
{
	local deadline=$((SECONDS + 120))

	until grep -qs "workload: ready $1" "$TEST_TMP/primary-console.log"; do
		(( SECONDS < deadline )) || die "the workload $1 does not start: $(tail -n 3 "$TEST_TMP/primary-console.log")"
		kill -0 "$GUEST_PID" 2>/dev/null || die "QEMU ended: $(tail -n 3 "$TEST_TMP/primary-qemu.log")"
		sleep 0.2
	done
	[[ $1 != redis ]] || bench_redis --fill --depth 64 >/dev/null || die "redis does not answer"
}

bench_start() # WORKLOAD
{
	GUEST_WORK=$1
	topo_trap
	topo_up
	guest_workload_image "$BUILD"
	cluster_configure "$BUILD" "$TEST_TMP"
	cp "$CLUSTER_ETC/alpha/vms/$CLUSTER_VM.ini" "$TEST_TMP/vm.ini"
	guest_start primary "$TEST_TMP"
	cluster_start
	bench_wait_workload "$1"
}

# Adds LINES to the original VM file of host alpha, and restarts alpha's agent to make it read the file.
# The guest must not be protected.
bench_set_epochs() # LINES
{
	{ printf '[vm]\n%s\n' "$1"; tail -n +2 "$TEST_TMP/vm.ini"; } >"$CLUSTER_ETC/alpha/vms/$CLUSTER_VM.ini"
	cluster_stop alpha
	cluster_start_agent primary
	cluster_wait 'host["alpha"]["connected"] and host["beta"]["connected"]' 30 ||
		die "agent alpha does not come back: $(tail -n 3 "$TEST_TMP/agent-alpha.log")"
}

# Protects the guest. Tries up to three times: on a busy machine the standby's QEMU may need longer than
# the 10 s allowed for its start.
bench_protect()
{
	local try

	for try in 1 2 3; do
		if cluster_ctl protect "$CLUSTER_VM" >"$TEST_TMP/ctl.log" 2>&1; then
			cluster_wait 'vm["state"] == "PROTECTED"' 60 || die "it did not become PROTECTED"
			return
		fi
		note "protect, attempt $try: $(cat "$TEST_TMP/ctl.log")"
	done
	die "it cannot be protected"
}

bench_unprotect()
{
	cluster_ctl unprotect "$CLUSTER_VM" >"$TEST_TMP/ctl.log" 2>&1 || die "unprotect: $(cat "$TEST_TMP/ctl.log")"
	cluster_wait 'vm["state"] == "UNPROTECTED"' 30 || die "it did not become UNPROTECTED"
}

bench_redis() { topo_in client "$BUILD/tests/bench/redis_load" --connect "$BENCH_REDIS" "$@"; }

# Does what bench_redis does, but in the background. The caller must end the process, whose pid is in
# TOPO_PID.
bench_redis_start() # LOG OPTION...
{
	topo_spawn client "$1" "$BUILD/tests/bench/redis_load" --connect "$BENCH_REDIS" "${@:2}"
}
