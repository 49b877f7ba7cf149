# cluster.sh - runs Holdfast on the four hosts: certificates, configuration, daemons, holdfastctl.
# Source it after topology.sh and guest.sh.
#
#	cluster_configure BUILD_DIR LOG_DIR     make the PKI and all files under TOPO_DIR/etc
#	cluster_start                           start gateway and agents; returns when all are connected
#	cluster_replace_gateway                 let the gateway replace its program by the installed one
#	cluster_ctl protect web1                run holdfastctl as the operator, in the gateway's namespace
#	cluster_wait 'EXPRESSION' SECONDS       wait until a python expression on web1's state (`vm`) is true
#
# Host primary runs agent alpha, host standby runs agent beta, and host spare, if TOPO_SPARE=1, runs agent gamma. The agents keep these names when the
# roles change. A test may set these variables before cluster_configure:
#	CLUSTER_AGENT_INI, CLUSTER_GATEWAY_INI, CLUSTER_VM_INI   more lines for [agent], [gateway], [vm]
#	CLUSTER_STANDBY_INI                              more lines for [standby]
#	CLUSTER_GATEWAY_VM_INI                                   more lines for the gateway's [vm]
#	CLUSTER_PORT, CLUSTER_PROBE_PORT                         the gateway's DPDK devices
#	CLUSTER_AGENT_BIN, CLUSTER_GATEWAY_BIN                   other daemons
#	CLUSTER_PKI_KEPT                                         a directory of certificates that many tests share
#	CLUSTER_BEAT_TIMEOUT_MS

CLUSTER_VM=web1
CLUSTER_PORT=${CLUSTER_PORT:-net_af_packet0,iface=bk0}
CLUSTER_PROBE_PORT=${CLUSTER_PROBE_PORT:-net_af_packet1,iface=cl0}
CLUSTER_BEAT_TIMEOUT_MS=${CLUSTER_BEAT_TIMEOUT_MS:-500}
readonly CLUSTER_LISTEN=$TOPO_GATEWAY_IP:7400 CLUSTER_MGMT=$TOPO_MGMT_IP:7500
readonly CLUSTER_PKI_BIN=$TOPO_LIB/../../certs/holdfast-pki
declare -A CLUSTER_AGENT=([primary]=alpha [standby]=beta [spare]=gamma)
declare -A CLUSTER_IP=([primary]=$TOPO_PRIMARY_IP [standby]=$TOPO_STANDBY_IP [spare]=$TOPO_SPARE_IP)
declare -A CLUSTER_PID=()

# Print the three configuration lines that name the certificate files of ROLE/NAME.
cluster_identity() # ROLE NAME
{
	printf 'ca = %s\ncert = %s\nkey = %s\n' "$CLUSTER_ETC/pki/ca.crt" \
		"$CLUSTER_ETC/pki/$1/$2.crt" "$CLUSTER_ETC/pki/$1/$2.key"
}

cluster_agent_files() # HOST
{
	local name=${CLUSTER_AGENT[$1]} dir=$CLUSTER_ETC/${CLUSTER_AGENT[$1]}
	local here=${CLUSTER_IP[$1]} other peers=''

	for other in primary standby spare; do
		[[ $other != spare || $TOPO_SPARE != 0 ]] || continue
		[[ $other == "$1" ]] || peers+=" ${CLUSTER_AGENT[$other]}@${CLUSTER_IP[$other]}:7402"
	done
	mkdir -p "$dir/vms" "$TOPO_DIR/$1/run" "$TOPO_DIR/$1/state" "$TOPO_PINS"
	cat >"$dir/agent.ini" <<-INI
	[agent]
	gateway = $CLUSTER_LISTEN
	$(cluster_identity host "$name")
	vm_dir = $dir/vms
	run_dir = $TOPO_DIR/$1/run
	role_dir = $TOPO_DIR/$1/roles
	pin_dir = $TOPO_PINS/$name
	beat_ms = 50
	peer_listen = $here:7402
	${CLUSTER_AGENT_INI:-}
	INI
	guest_command tap0 "$CLUSTER_LOGS/$1-console.log" "$TOPO_DIR/$1/qmp-look" "$1"
	printf '%q ' "${GUEST_COMMAND[@]}" >"$dir/$CLUSTER_VM.command"
	{
		printf '[vm]\nname = %s\ntap = tap0%s\n' "$CLUSTER_VM" "$( (( TOPO_CARDS == 1 )) || echo ' tap1')"
		# Only the primary's file has the key qmp (the monitor of the user's QEMU). On the
		# standby the agent starts QEMU.
		[[ $1 != primary ]] || printf 'qmp = %s\n' "$TOPO_DIR/$1/qmp"
		printf 'peer =%s\n' "$peers"
		[[ -z ${GUEST_DISK[$1]:-} ]] || printf 'disks = %s:%s\n' "$GUEST_DISK_NAME" \
			"$(guest_disk_setting "${GUEST_DISK[$1]}")"
		[[ -z ${GUEST_DATA[$1]:-} ]] || printf 'disks = data:%s\n' "$(guest_disk_setting "${GUEST_DATA[$1]}")"
		printf '%s\n' "${CLUSTER_VM_INI:-}"
		printf '[standby]\nstate_dir = %s\ncommand_file = %s\n' "$TOPO_DIR/$1/state" \
			"$dir/$CLUSTER_VM.command"
		printf '%s\n' "${CLUSTER_STANDBY_INI:-}"
	} >"$dir/vms/$CLUSTER_VM.ini"
}

cluster_gateway_files()
{
	local dir=$CLUSTER_ETC/gateway

	# In a test, the gateway's journal can be in TOPO_DIR, a tmpfs. In production the journal must be
	# on a disk, to survive a reboot.
	mkdir -p "$dir/vms" "$TOPO_DIR/gateway/state"
	cat >"$dir/gateway.ini" <<-INI
	[gateway]
	port = $CLUSTER_PORT
	address = $TOPO_GATEWAY_IP/24
	probe_port = $CLUSTER_PROBE_PORT
	probe_address = $TOPO_PROBE_IP/24
	listen = $CLUSTER_LISTEN
	management = $CLUSTER_MGMT
	$(cluster_identity gateway gw)
	state_dir = $TOPO_DIR/gateway/state
	vm_dir = $dir/vms
	beat_timeout_ms = $CLUSTER_BEAT_TIMEOUT_MS
	patience_ms = $((CLUSTER_BEAT_TIMEOUT_MS > 3000 ? CLUSTER_BEAT_TIMEOUT_MS : 3000))
	${CLUSTER_GATEWAY_INI:-}
	INI
	cat >"$dir/vms/$CLUSTER_VM.ini" <<-INI
	[vm]
	name = $CLUSTER_VM
	primary = alpha
	standby = beta
	guest_address = $TOPO_GUEST_IP
	guest_mac = $GUEST_MAC
	guest_ports = $GUEST_PORT
	primary_address = $TOPO_PRIMARY_CLIENT_IP
	standby_address = $TOPO_STANDBY_CLIENT_IP
	primary_backup = $TOPO_PRIMARY_IP
	standby_backup = $TOPO_STANDBY_IP
	$( (( TOPO_SPARE == 0 )) || printf '%s = %s\n' spare gamma spare_address "$TOPO_SPARE_CLIENT_IP" \
		spare_backup "$TOPO_SPARE_IP")
	${CLUSTER_GATEWAY_VM_INI:-}
	INI
}

# Make the PKI in the directory DIR.
cluster_make_pki() # DIR
{
	local identity

	"$CLUSTER_PKI_BIN" init "$1" >/dev/null || topo_die "no PKI"
	for identity in 'host alpha' 'host beta' 'host gamma' 'gateway gw' 'operator demo' 'viewer looker'; do
		# shellcheck disable=SC2086 # two words
		"$CLUSTER_PKI_BIN" issue "$1" $identity >/dev/null || topo_die "cannot issue a certificate for $identity"
	done
}

# Make the cluster's PKI, or copy that of CLUSTER_PKI_KEPT. That one is made anew when it is a day old.
cluster_pki()
{
	local kept=${CLUSTER_PKI_KEPT:-} lock

	if [[ -z $kept ]]; then
		cluster_make_pki "$CLUSTER_ETC/pki"
		return
	fi
	exec {lock}>"$kept.lock"
	flock "$lock"
	if [[ ! -e $kept/host/gamma.crt || -z $(find "$kept/complete" -newer "$CLUSTER_PKI_BIN" -mtime 0 2>/dev/null) ]]
	then
		rm -rf "$kept"
		cluster_make_pki "$kept"
		touch "$kept/complete"
	fi
	cp -a "$kept" "$CLUSTER_ETC/pki" || topo_die "cannot copy $kept"
	exec {lock}>&-
}

cluster_configure() # BUILD_DIR LOG_DIR
{
	CLUSTER_BUILD=$1 CLUSTER_LOGS=$2 CLUSTER_ETC=$TOPO_DIR/etc
	CLUSTER_AGENT_BIN=${CLUSTER_AGENT_BIN:-$1/hostagent/holdfast-agent}
	CLUSTER_GATEWAY_BIN=${CLUSTER_GATEWAY_BIN:-$1/gateway/holdfast-gateway}
	CLUSTER_CTL_BIN=$1/gateway/ctl/holdfastctl
	# nbdkit loads this plugin, which is not installed in a build tree.
	TOPO_ENV+=("HOLDFAST_DISK_PLUGIN=$(realpath "$1")/hostagent/disk/holdfast-disk.so")
	local bin

	for bin in "$CLUSTER_AGENT_BIN" "$CLUSTER_GATEWAY_BIN" "$CLUSTER_CTL_BIN"; do
		[[ -x $bin ]] || topo_die "$bin is not built; run: ninja -C $1"
	done
	mkdir -p "$CLUSTER_ETC" "$CLUSTER_LOGS"
	cluster_pki
	cluster_agent_files primary; cluster_agent_files standby; cluster_gateway_files
	(( TOPO_SPARE == 0 )) || cluster_agent_files spare
}

# Start the agent of HOST; cluster_stop ends it. A restarted daemon appends to its old log.
cluster_start_agent() # HOST
{
	local name=${CLUSTER_AGENT[$1]}

	topo_spawn "$1" "$CLUSTER_LOGS/agent-$name.log" "$CLUSTER_AGENT_BIN" \
		--config "$CLUSTER_ETC/$name/agent.ini"
	CLUSTER_PID[$name]=$TOPO_PID
}

cluster_start_gateway()
{
	topo_spawn gateway "$CLUSTER_LOGS/gateway.log" "$CLUSTER_GATEWAY_BIN" \
		--config "$CLUSTER_ETC/gateway/gateway.ini"
	CLUSTER_PID[gateway]=$TOPO_PID
}

# Let the gateway replace its program by the one that is installed now. Returns 1 if the old program
# goes on, or if no new program has taken over after 30 s.
cluster_replace_gateway()
{
	local log=$CLUSTER_LOGS/gateway.log end=$((SECONDS + 30)) before said pid

	before=$(wc -c <"$log")
	kill -USR2 "${CLUSTER_PID[gateway]}" || return 1
	while (( SECONDS < end )); do
		said=$(tail -c "+$((before + 1))" "$log")
		[[ $said != *'this program goes on'* ]] || return 1
		if [[ $said == *'main: gateway='* ]]; then
			pid=${said#*starts as pid }
			topo_forget "${CLUSTER_PID[gateway]}" # the old process ends by itself
			CLUSTER_PID[gateway]=${pid%%,*}
			topo_remember "${CLUSTER_PID[gateway]}"
			return 0
		fi
		sleep 0.05
	done
	return 1
}

cluster_stop() # alpha|beta|gateway
{
	topo_end "${CLUSTER_PID[$1]}"
	unset "CLUSTER_PID[$1]"
}

cluster_ctl_as() # ROLE NAME ARGUMENT...
{
	local role=$1 name=$2

	shift 2
	topo_in gateway "$CLUSTER_CTL_BIN" --gateway "$CLUSTER_MGMT" --ca "$CLUSTER_ETC/pki/ca.crt" \
		--cert "$CLUSTER_ETC/pki/$role/$name.crt" --key "$CLUSTER_ETC/pki/$role/$name.key" "$@"
}

cluster_ctl() { cluster_ctl_as operator demo "$@"; }

# Print the output of `vm show --json`.
cluster_show() { cluster_ctl --json vm show "$CLUSTER_VM"; }

# Wait until the Python expression EXPRESSION is true. In it, `vm` is the VM's object from `vm show`, and
# `host` has the VM's hosts by name. Returns 1 if EXPRESSION is not true within SECONDS. Checks five times
# a second.
cluster_wait() # EXPRESSION SECONDS
{
	local deadline=$((SECONDS + $2))

	while (( SECONDS <= deadline )); do
		cluster_show 2>/dev/null | python3 "$TOPO_LIB/vm-is.py" "$1" && return 0
		cluster_died && return 1
		sleep 0.2
	done
	return 1
}

# If one of the daemons has ended, print a message and succeed. If all of them run, fail.
cluster_died()
{
	local name

	for name in "${!CLUSTER_PID[@]}"; do
		if ! kill -0 "${CLUSTER_PID[$name]}" 2>/dev/null; then
			echo "${0##*/}: $name has ended; the end of its log:" >&2
			tail -n 5 "$CLUSTER_LOGS"/*"$name.log" >&2
			return 0
		fi
	done
	return 1
}

cluster_start()
{
	cluster_start_gateway
	cluster_start_agent primary
	cluster_start_agent standby
	cluster_wait 'host["alpha"]["connected"] and host["beta"]["connected"]' 30 ||
		topo_die "the agents did not connect to the gateway; logs: $CLUSTER_LOGS"
}
