# topology.sh - makes four hosts and two networks on one machine, from network namespaces. Source it
# (bash). deploy/demo, tests/e2e, tests/fault and tests/bench use it.
#
#	                  client network 198.18.0.0/24 (switch brc)
#	     .2 │       │              │                              │
#	   client       │           primary                        standby
#	                │       br0 .11: eth0 + tap0             br0 .12: eth0 + tap0
#	                │                    └ guest .10
#	                │           bk0 .1                         bk0 .2
#	                │              │                              │
#	                │     backup network 198.18.1.0/24 (switch brb)
#	                │              │
#	              gateway  cl0, bk0 (no kernel addresses; its prober owns .3 on cl0, lwIP .3 on bk0)
#	                       mgmt0 198.18.2.3 (kernel sockets, holdfastctl)
#
# With TOPO_CARDS=2, the guest has two network cards. A second client network, 198.18.3.0/24, then joins
# the client's eth1 (.2) to the bridge br1 of each hypervisor. br1 has the ports eth1 and tap1, no
# address and no spanning tree. The second network's switch is brc2.
#
# With TOPO_SPARE=1, there is a third hypervisor, `spare`: .13 on br0, .4 on bk0.
#
# Each host is a namespace named PREFIX-HOST. A fifth namespace, PREFIX-net, has the switches, which do
# not use spanning tree. Outside the namespaces there are only their names, TOPO_DIR (on a tmpfs) and the
# BPF pins under TOPO_PINS. topo_down removes all of this. A script can call topo_down at any time and
# more than once. If the script is killed, a guard process removes everything.
#
# Programs run with nsenter --net. `ip netns exec` cannot be used, because it mounts another /sys, which
# lacks the BPF file system.
#
# Use:	. deploy/lib/topology.sh; topo_trap; topo_up
#	topo_in client ping -c 1 198.18.0.10
#	topo_spawn primary LOG command...; pid=$TOPO_PID
#	topo_end $pid
#
# The functions remember the start time of each process, because the kernel can give its pid to another
# process later. On an error, each function prints a message and calls exit 1. The script's EXIT trap
# (topo_trap) then cleans up.

TOPO_PREFIX=${TOPO_PREFIX:-hf-$$}
TOPO_DIR=/dev/shm/$TOPO_PREFIX
TOPO_PINS=/sys/fs/bpf/holdfast-$TOPO_PREFIX
TOPO_STP=${TOPO_STP:-1} # spanning tree on the hosts' bridges
TOPO_CARDS=${TOPO_CARDS:-1} # network cards of the guest, each in a client network of its own: 1 or 2
TOPO_MTU=${TOPO_MTU:-1500} # of the client network
TOPO_SPARE=${TOPO_SPARE:-0} # 1: a third hypervisor
TOPO_HOSTS="client primary gateway standby net"
(( TOPO_SPARE == 0 )) || TOPO_HOSTS="client primary gateway standby spare net"
TOPO_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
declare -A TOPO_STARTED=() # start times by pid, of processes that topo_end must still end
TOPO_PID=''	# pid of the last process started
TOPO_ENV=()	# NAME=VALUE..., the environment of topo_spawn's programs; @HOST@ stands for their host
TOPO_MADE=''

readonly TOPO_CLIENT_IP=198.18.0.2 TOPO_GUEST_IP=198.18.0.10
readonly TOPO_CLIENT_IP_2=198.18.3.2 TOPO_GUEST_IP_2=198.18.3.10 # in the second client network
readonly TOPO_PROBE_IP=198.18.0.3 # the gateway's address in the client network
readonly TOPO_PRIMARY_CLIENT_IP=198.18.0.11 TOPO_STANDBY_CLIENT_IP=198.18.0.12 TOPO_SPARE_CLIENT_IP=198.18.0.13
readonly TOPO_PRIMARY_IP=198.18.1.1 TOPO_STANDBY_IP=198.18.1.2 TOPO_GATEWAY_IP=198.18.1.3 TOPO_SPARE_IP=198.18.1.4
readonly TOPO_MGMT_IP=198.18.2.3

topo_die() { echo "${0##*/}: $*" >&2; exit 1; }

topo_ns() { echo "$TOPO_PREFIX-$1"; }

# Run a command in a host, in the foreground.
topo_in() # HOST COMMAND...
{
	local host=$1

	shift
	nsenter --net="/run/netns/$TOPO_PREFIX-$host" -- "$@"
}

# Run a command in a host, in the background. Its stdout and stderr go to LOG. Sets TOPO_PID to its pid.
topo_spawn() # HOST LOG COMMAND...
{
	local host=$1 log=$2

	shift 2
	# Use exec, so that the recorded pid is the program's own and signals reach the program.
	( (( ${#TOPO_ENV[@]} == 0 )) || export "${TOPO_ENV[@]//@HOST@/$host}"
	  exec nsenter --net="/run/netns/$TOPO_PREFIX-$host" -- "$@" ) </dev/null >>"$log" 2>&1 &
	TOPO_PID=$!
	topo_remember "$TOPO_PID"
}

# Record the start time of a child of this shell, for topo_end.
topo_remember() # PID
{
	local stat

	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0 # it has ended already
	read -ra stat <<<"${stat##*) }" # without the process name, which may contain blanks
	TOPO_STARTED[$1]=${stat[19]}	# field 22, proc(5)
}

# End recorded children with TERM, and after 5 s with KILL. Returns when they are gone, and deletes their
# records. Leaves other processes alone.
topo_end() # PID...
{
	local pid started=()

	for pid in "$@"; do
		[[ -z ${TOPO_STARTED[$pid]:-} ]] || started+=("$pid:${TOPO_STARTED[$pid]}")
	done
	(( ${#started[@]} )) || return 0
	python3 "$TOPO_LIB/end-pids.py" 5 "${started[@]}"
	topo_forget "${started[@]%:*}"
}

# Wait for children that have ended or are about to end, and delete their records.
topo_forget() # PID...
{
	local pid

	for pid in "$@"; do
		wait "$pid" 2>/dev/null
		unset "TOPO_STARTED[$pid]"
	done
}

# End all processes in a host, including those that this script did not start (for example a QEMU that an
# agent started).
topo_end_all() # HOST
{
	local pids

	mapfile -t pids < <(topo_pids "$1")
	(( ${#pids[@]} == 0 )) || python3 "$TOPO_LIB/end-pids.py" 5 "${pids[@]}"
	topo_forget "${pids[@]}"
}

topo_pids() { ip netns pids "$TOPO_PREFIX-$1" 2>/dev/null; }

# Print the switches' ports of a hypervisor, with commas between them.
topo_ports() # HOST
{
	local more=''

	(( TOPO_CARDS == 1 )) || more=,d-$1
	echo "c-$1,b-$1$more"
}

# Make a host die at once: send SIGKILL to every process in it, and set its links down at the switches.
# Sets TOPO_KILL_NS to CLOCK_MONOTONIC just before the kill, and TOPO_KILL_TOOK_NS to the kill's duration.
topo_kill_host() # HOST
{
	local pids

	mapfile -t pids < <(topo_pids "$1")
	read -r TOPO_KILL_NS TOPO_KILL_TOOK_NS < <(
		topo_in net python3 "$TOPO_LIB/kill-host.py" "$(topo_ports "$1")" "${pids[@]}") ||
		topo_die "could not kill the $1 host"
	topo_forget "${pids[@]}"
}

topo_now_ns() { python3 -c 'import time; print(time.monotonic_ns())'; }

# Connect HOST's interface DEV to a switch; the switch's end is called PORT.
topo_cable() # HOST DEV SWITCH PORT
{
	local ns=$TOPO_PREFIX-$1 mtu=1500

	[[ $2 != eth* ]] || mtu=$TOPO_MTU
	topo_in net ip link add "$4" mtu "$mtu" type veth peer name "$2" mtu "$mtu" netns "$ns" || return 1
	topo_in net ip link set "$4" master "$3" up
	topo_in "$1" ip link set "$2" up
	# Turn offloads off, so that every frame is whole and has a correct checksum. Captures need
	# this, and so do guests and DPDK ports without offloads.
	topo_in "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
	topo_in net ethtool -K "$4" tx off tso off gso off gro off >/dev/null
}

# Add a bridge. Its multicast snooping is the kernel's default.
topo_bridge() # HOST NAME [OPTION...]
{
	topo_in "$1" ip link add "$2" type bridge "${@:3}" &&
		topo_in "$1" ip link set "$2" up
}

topo_hypervisor() # HOST BACKUP_IP CLIENT_IP
{
	# Use spanning tree, as libvirt's and NetworkManager's bridges do, but with the kernel's
	# shortest forward delay, 2 s. A port sends nothing for two delays after it gets a carrier.
	# A tap gets its carrier only when QEMU opens it. So each `protect` takes about 3 s longer.
	# tests/fault does without (TOPO_STP=0).
	topo_bridge "$1" br0 stp_state 0 forward_delay 0 &&
		topo_cable "$1" eth0 brc "c-$1" &&
		topo_in "$1" ip link set eth0 master br0 &&
		topo_in "$1" ip link set br0 type bridge stp_state "$TOPO_STP" forward_delay 200 &&
		topo_in "$1" ip tuntap add dev tap0 mode tap &&
		topo_in "$1" ip link set tap0 mtu "$TOPO_MTU" master br0 up &&
		topo_cable "$1" bk0 brb "b-$1" &&
		topo_in "$1" ip addr add "$2/24" dev bk0 &&
		topo_in "$1" ip addr add "$3/24" dev br0 &&
		topo_second "$1"
}

# Add the bridge and the tap for the guest's second card, if it has one.
topo_second() # HOST
{
	(( TOPO_CARDS > 1 )) || return 0
	topo_bridge "$1" br1 stp_state 0 forward_delay 0 &&
		topo_cable "$1" eth1 brc2 "d-$1" &&
		topo_in "$1" ip link set eth1 master br1 &&
		topo_in "$1" ip tuntap add dev tap1 mode tap &&
		topo_in "$1" ip link set tap1 mtu "$TOPO_MTU" master br1 up
}

# Add the second client network, if there is one.
topo_second_network()
{
	(( TOPO_CARDS > 1 )) || return 0
	topo_bridge net brc2 stp_state 0 forward_delay 0 &&
		topo_cable client eth1 brc2 d-client &&
		topo_in client ip addr add "$TOPO_CLIENT_IP_2/24" dev eth1
}

topo_make()
{
	local host

	for host in $TOPO_HOSTS; do
		ip netns add "$TOPO_PREFIX-$host" &&
			topo_in "$host" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
				net.ipv6.conf.default.disable_ipv6=1 &&
			topo_in "$host" ip link set lo up || return 1
	done
	topo_bridge net brc stp_state 0 forward_delay 0 && topo_bridge net brb stp_state 0 forward_delay 0 &&
		topo_cable client eth0 brc c-client &&
		topo_in client ip addr add "$TOPO_CLIENT_IP/24" dev eth0 &&
		topo_second_network &&
		topo_hypervisor primary "$TOPO_PRIMARY_IP" "$TOPO_PRIMARY_CLIENT_IP" &&
		topo_hypervisor standby "$TOPO_STANDBY_IP" "$TOPO_STANDBY_CLIENT_IP" &&
		{ (( TOPO_SPARE == 0 )) || topo_hypervisor spare "$TOPO_SPARE_IP" "$TOPO_SPARE_CLIENT_IP"; } &&
		topo_cable gateway bk0 brb b-gateway &&
		topo_cable gateway cl0 brc c-gateway &&
		topo_in gateway ip link add mgmt0 type veth peer name mgmt1 &&
		topo_in gateway ip addr add "$TOPO_MGMT_IP/24" dev mgmt0 &&
		topo_in gateway ip link set mgmt0 up &&
		topo_in gateway ip link set mgmt1 up
}

topo_up()
{
	local tool

	[[ $EUID == 0 ]] || topo_die "needs root"
	for tool in ip nsenter ethtool python3 sysctl; do
		command -v "$tool" >/dev/null || topo_die "no '$tool'; run deploy/setup"
	done
	[[ -c /dev/net/tun ]] || topo_die "no /dev/net/tun: the kernel cannot make taps"
	topo_sweep
	topo_guard
	mkdir -m 700 "$TOPO_DIR" || topo_die "cannot make $TOPO_DIR"
	TOPO_MADE=1
	topo_make || topo_die "cannot make the networks (the message is above)"
}

topo_remove() # PREFIX
{
	local host pids mount

	for host in client primary gateway standby spare net; do
		[[ -e /run/netns/$1-$host ]] || continue
		# End the processes that are left, for example a QEMU that an agent started.
		mapfile -t pids < <(ip netns pids "$1-$host" 2>/dev/null)
		(( ${#pids[@]} == 0 )) || python3 "$TOPO_LIB/end-pids.py" 2 "${pids[@]}"
	done
	for host in client primary gateway standby spare net; do
		[[ ! -e /run/netns/$1-$host ]] || ip netns del "$1-$host"
	done
	# a killed agent leaves the mount points of its views of qcow2 images (hostagent/standby/rawview.h)
	for mount in $(awk -v dir="/dev/shm/$1/" 'index($2, dir) == 1 { print $2 }' /proc/mounts); do
		umount --lazy "$mount"
	done
	rm -rf "/sys/fs/bpf/holdfast-$1" "/dev/shm/$1"
}

topo_down()
{
	[[ -n $TOPO_MADE ]] || return 0
	topo_end "${!TOPO_STARTED[@]}"
	topo_remove "$TOPO_PREFIX"
	TOPO_MADE=''
}

# Remove what an earlier run left because it and its guard process were killed. A run's prefix has the
# pid of its script. If no process has this pid, the run is over.
topo_sweep()
{
	local path pid

	for path in /run/netns/hf-*-net /dev/shm/hf-*; do
		[[ ${path##*/} =~ ^hf-([0-9]+)(-net)?$ ]] || continue
		pid=${BASH_REMATCH[1]}
		[[ -e $path && ! -e /proc/$pid ]] || continue
		echo "removing what an earlier run (pid $pid) left" >&2
		topo_remove "hf-$pid"
	done
}

# Start the guard process, unless this script has one. If the script is killed, the guard cleans up. The
# guard has a session of its own, so that Ctrl-C does not reach it.
topo_guard()
{
	[[ -z ${TOPO_GUARD:-} ]] || return 0
	setsid python3 "$TOPO_LIB/guard.py" $$ "$TOPO_LIB/topology.sh" "$TOPO_PREFIX" \
		</dev/null >/dev/null 2>&1 &
	TOPO_GUARD=$!
}

# Set traps that clean up when the script ends. If a script sets other traps, these must call topo_down.
topo_trap()
{
	trap topo_down EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}
