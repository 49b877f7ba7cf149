# power_lib.sh - a power failure of everything: the gateway and both hosts. To be sourced (bash) after fault_lib.sh.
#
#	power_cut                   kill every process of the three, at once
#	power_back HOST...          boot hosts: their tmpfs is empty, their taps are new, their agents run
#	power_running               print the QEMUs on both hosts that run a guest, one a line: HOST PID WORDS...; a QEMU that
#	                            waits for its state is none
#	power_guests                print how many these are
#
# Disks keep what they have: the gateway's state_dir, role_dir, images, disk log. The page cache is not lost here.

# An agent may have begun to start a QEMU just before it was killed. What is found late is killed too.
power_is_off() # HOST
{
	local pids

	mapfile -t pids < <(topo_pids "$1")
	(( ${#pids[@]} == 0 )) && return
	kill -KILL "${pids[@]}" 2>/dev/null
	return 1
}

power_cut()
{
	local pids host

	mapfile -t pids < <(topo_pids gateway; topo_pids primary; topo_pids standby)
	{ kill -KILL "${pids[@]}"; wait "${pids[@]}"; } 2>/dev/null # not all are children of this shell
	topo_forget "${pids[@]}"
	CLUSTER_PID=()
	for host in gateway primary standby; do
		scene_until 10 power_is_off "$host" || fail "processes survived on $host"
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

power_running()
{
	local host pid words

	for host in primary standby; do
		for pid in $(topo_pids "$host"); do
			[[ $(<"/proc/$pid/comm") == qemu-system* ]] || continue
			words=$(tr '\0' ' ' <"/proc/$pid/cmdline")
			# a process that is ending has no words any more, and no memory in which a guest could run
			[[ -z $words || $words == *' -incoming '* ]] || echo "$host $pid $words"
		done
	done 2>/dev/null
}

power_guests() { power_running | wc -l; }
