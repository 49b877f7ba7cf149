# lost_lib.sh - shared code of test_gateway_lost_*, in which the hosts of a protected guest lose the
# gateway. To be sourced (bash) instead of tests/e2e/cluster_lib.sh; needs SRC, BUILD and TEST_TMP.
#
#	lost_start POLICY       start networks, guest, daemons and client; protect the guest; set SCENE_TERM
#	lost_logged alpha TEXT  succeeds if the agent's log contains TEXT
TOPO_STP=0 # as in fault_lib.sh
# shellcheck source=tests/e2e/cluster_lib.sh
. "$SRC/tests/e2e/cluster_lib.sh"

lost_start() # POLICY
{
	CLUSTER_VM_INI=$(printf 'gateway_lost = %s\ngateway_lost_ms = 1000' "$1")
	scene_start --depth 4
	scene_protect
	scene_served 100 20 "while protected"
}

lost_logged() { grep -q "$2" "$TEST_TMP/agent-$1.log"; } # alpha|beta TEXT

lost_look() { topo_in primary python3 "$SCENE_TOOLS/qmp_status.py" "$TOPO_DIR/primary/qmp-look"; }
lost_is_looked() { [[ $(lost_look) == "$1" ]]; }

# Wait until the gateway shows STATE, OWNER and TERM. A restarted gateway takes these three from the
# reports of both agents.
lost_is() # STATE OWNER TERM SECONDS
{
	cluster_wait "vm['state'] == '$1' and vm['owner'] == '$2' and vm['term'] == $3" "$4" ||
		fail "not $1 on $2 in term $3: $(cluster_show)"
}
