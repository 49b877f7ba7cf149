# power_lib.sh - a power failure of everything: the gateway and both hosts. To be sourced (bash) after fault_lib.sh.
#
#	power_cut                   kill every process of the three, at once
#	power_back HOST...          boot hosts: their tmpfs is empty, their taps are new, their agents run
#	power_guests                print how many guests run on both hosts; a QEMU that waits for its state is none
#
# Disks keep what they have: the gateway's state_dir, role_dir, images, disk log. The page cache is not lost here.

power_cut()
{
	local pids host

	mapfile -t pids < <(topo_pids gateway; topo_pids primary; topo_pids standby)
	{ kill -KILL "${pids[@]}"; wait "${pids[@]}"; } 2>/dev/null # not all are children of this shell
	topo_forget "${pids[@]}"
	CLUSTER_PID=()
	for host in gateway primary standby; do
		scene_until 10 fault_is_empty "$host" || fail "processes survived on $host"
	done
}

power_back() # HOST...
{
	local host device

	for host; do
		for device in tap0 $(topo_in "$host" ip -o link | grep -o 'hfo[0-9]*' | sort -u); do
			topo_in "$host" ip link del "$device"
		done
		rm -rf "${TOPO_PINS:?}/${CLUSTER_AGENT[$host]}" "${TOPO_DIR:?}/$host"/{run,state,qmp,qmp-look}
		mkdir -p "$TOPO_DIR/$host"/{run,state}
		topo_in "$host" ip tuntap add dev tap0 mode tap
		topo_in "$host" ip link set tap0 master br0 up
		cluster_start_agent "$host"
	done
}

power_guests()
{
	local pid n=0

	for pid in $(topo_pids primary; topo_pids standby); do
		[[ $(<"/proc/$pid/comm") == qemu-system* ]] || continue
		[[ $(tr '\0' ' ' <"/proc/$pid/cmdline") == *' -incoming '* ]] || n=$((n + 1))
	done 2>/dev/null
	echo "$n"
}
