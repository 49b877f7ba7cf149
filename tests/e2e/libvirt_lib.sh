# libvirt_lib.sh - lets libvirt start the guest. To be sourced (bash) after cluster_lib.sh or bench_lib.sh.
#
# The domain's XML is what virt-install would write, with one change that Holdfast needs: <qemu:commandline> adds a
# second monitor. libvirt runs QEMU as the user nobody, with a seccomp filter, and makes a tap for it in the bridge.
# The guest has a disk, which it does not use.
#
# libvirt_start starts a libvirtd of its own in the primary's network namespace. In the mount namespace of this libvirtd,
# libvirt's directories are empty. So it does not disturb a libvirtd that this machine already runs. Debian's packages
# leave some of these directories to the first libvirtd that runs: they are made here, empty, and stay. The user
# libvirt-qemu is made in that namespace only.
#
#	libvirt_start MACHINE WORDS
#	                         starts the guest on the primary, with WORDS for its kernel; sets GUEST_PID to its QEMU and
#	                         LIBVIRT_PID to libvirtd
#	libvirt_virsh ARG...     runs virsh with these arguments
#	libvirt_inspect          makes both hosts' files with `inspect --domain`
#	libvirt_watched          asks virsh for the guest's state 200 times; prints how often each state was the answer,
#	                         and how much processor time libvirtd used

LIBVIRT_PID=''
readonly LIBVIRT_USER=nobody

libvirt_virsh() { nsenter -t "$LIBVIRT_PID" -m -n -- virsh -q "$@"; }

# Starts a libvirtd that has no state of this machine's libvirt.
libvirt_daemon()
{
	topo_spawn primary "$TEST_TMP/libvirtd.log" unshare -m --propagation private bash -c '
		for dir in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
			mkdir -p "$dir" && mount -t tmpfs -o mode=755 tmpfs "$dir" || exit 1
		done
		# libvirtd wants its own user too, whom only the package with its service makes
		for file in passwd group; do
			cp "/etc/$file" /run && mount --bind "/run/$file" "/etc/$file" || exit 1
		done
		getent passwd libvirt-qemu >/run/found || echo "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin" >>/etc/passwd
		getent group libvirt-qemu >/run/found || echo "libvirt-qemu:x:64055:" >>/etc/group
		printf "%s\n" "user = \"nobody\"" "group = \"nogroup\"" "security_driver = \"none\"" \
			"stdio_handler = \"file\"" "cgroup_controllers = []" "dynamic_ownership = 0" >/etc/libvirt/qemu.conf
		exec libvirtd'
	LIBVIRT_PID=$TOPO_PID
	local deadline=$((SECONDS + 30))

	until libvirt_virsh uri >/dev/null 2>&1; do # poll: no event reports that the socket exists
		(( SECONDS < deadline )) && kill -0 "$LIBVIRT_PID" 2>/dev/null ||
			fail "libvirtd does not start: $(tail -n 2 "$TEST_TMP/libvirtd.log")"
		sleep 0.2
	done
}

libvirt_domain() # MACHINE WORDS
{
	local dir=$TOPO_DIR/primary

	cat <<-XML
	<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
	  <name>$CLUSTER_VM</name>
	  <memory unit='MiB'>256</memory>
	  <vcpu>1</vcpu>
	  <os>
	    <type arch='x86_64' machine='$1'>hvm</type>
	    <kernel>$dir/vmlinuz</kernel>
	    <initrd>$dir/initramfs</initrd>
	    <cmdline>$2</cmdline>
	  </os>
	  <features><acpi/><apic/></features>
	  <clock offset='utc'>
	    <timer name='rtc' tickpolicy='catchup'/>
	    <timer name='pit' tickpolicy='delay'/>
	    <timer name='hpet' present='no'/>
	  </clock>
	  <devices>
	    <emulator>$(command -v qemu-system-x86_64)</emulator>
	    <disk type='file' device='disk'>
	      <driver name='qemu' type='raw'/>
	      <source file='$dir/disk.raw'/>
	      <target dev='vda' bus='virtio'/>
	    </disk>
	    <controller type='usb' model='qemu-xhci' ports='15'/>
	    <interface type='bridge'>
	      <source bridge='br0'/>
	      <target dev='tap0'/>
	      <mac address='$GUEST_MAC'/>
	      <model type='virtio'/>
	    </interface>
	    <serial type='file'><source path='$TEST_TMP/primary-console.log'/></serial>
	    <channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
	    <input type='tablet' bus='usb'/>
	    <memballoon model='virtio'/>
	    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
	  </devices>
	  <qemu:commandline>
	    <qemu:arg value='-qmp'/><qemu:arg value='unix:$dir/qmp,server=on,wait=off'/>
	  </qemu:commandline>
	</domain>
	XML
}

libvirt_start() # MACHINE WORDS
{
	local dir=$TOPO_DIR/primary

	chmod 711 "$TOPO_DIR" # lets libvirt's user pass; the keys and state inside have strict modes of their own
	cp "$GUEST_IMAGE"/{vmlinuz,initramfs} "$dir"
	truncate -s 8M "$dir/disk.raw" "$TOPO_DIR/standby/disk.raw"
	chown "$LIBVIRT_USER" "$dir" "$dir/disk.raw"
	topo_in primary ip link del tap0 # libvirt makes a tap of its own
	libvirt_daemon
	libvirt_domain "$1" "$2" >"$TEST_TMP/domain.xml"
	libvirt_virsh create "$TEST_TMP/domain.xml" >"$TEST_TMP/virsh.log" 2>&1 ||
		fail "virsh create: $(<"$TEST_TMP/virsh.log")"
	GUEST_PID=$(<"/proc/$LIBVIRT_PID/root/run/libvirt/qemu/$CLUSTER_VM.pid")
}

# Makes the files of both hosts with `inspect --domain`, and gives them to the agents. The standby's QEMU makes
# console and channel at places of its own.
libvirt_inspect()
{
	local dir=$TEST_TMP/inspected

	topo_in primary "$CLUSTER_AGENT_BIN" inspect --domain "$CLUSTER_VM" --write "$dir" \
		--map "$TEST_TMP/primary-console.log=$TEST_TMP/standby-console.log" \
		--map "virtio-disk0=$TOPO_DIR/standby/disk.raw" --map "state_dir=$TOPO_DIR/standby/state" \
		--map "command_file=$CLUSTER_ETC/beta/$CLUSTER_VM.command" >"$TEST_TMP/inspect.log" 2>&1 ||
		fail "inspect --domain: $(<"$TEST_TMP/inspect.log")"
	cp "$dir/$CLUSTER_VM.ini" "$CLUSTER_ETC/alpha/vms/$CLUSTER_VM.ini"
	cp "$dir/$CLUSTER_VM.standby.ini" "$CLUSTER_ETC/beta/vms/$CLUSTER_VM.ini"
	cp "$dir/$CLUSTER_VM.command" "$CLUSTER_ETC/beta/$CLUSTER_VM.command"
}

# Prints the processor time of libvirtd in clock ticks.
libvirt_ticks()
{
	local stat

	read -r stat <"/proc/$LIBVIRT_PID/stat"
	read -ra stat <<<"${stat##*) }"
	echo $((stat[11] + stat[12])) # fields 14 and 15 of proc(5): user and system time
}

libvirt_watched()
{
	local n=200 ticks start paused

	ticks=$(libvirt_ticks) start=${EPOCHREALTIME/./}
	for ((i = 0; i < n; i++)); do echo "domstate $CLUSTER_VM"; done | libvirt_virsh >"$TEST_TMP/domstate" 2>&1
	ticks=$(($(libvirt_ticks) - ticks)) start=$((${EPOCHREALTIME/./} - start))
	paused=$(grep -c paused "$TEST_TMP/domstate")
	echo "virsh domstate: running $(grep -c running "$TEST_TMP/domstate"), paused $paused of $n in $((start / 1000)) ms;" \
		"libvirtd took $((ticks * 1000000 / $(getconf CLK_TCK) * 100 / start)) % of a core; virsh list: $(libvirt_virsh list | tr -s ' ')"
}
