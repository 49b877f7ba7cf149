# guests_libvirt.sh - lets libvirt start the guest of bench_guests, which sources this file.
#
# The domain's XML is what virt-install would write, with two changes that Holdfast needs: <driver> switches the
# network card's offloads off, and <qemu:commandline> adds a second monitor. libvirt runs QEMU as the user libvirt-qemu,
# with a seccomp filter, and makes a tap for it in the bridge.
#
# bench_guests starts a libvirtd of its own in the primary's network namespace. In the mount namespace of this libvirtd,
# libvirt's directories are empty. So it does not disturb a libvirtd that this machine already runs.
#
#	libvirt_start MACHINE    starts the guest on the primary; sets GUEST_PID to its QEMU, LIBVIRT_PID to libvirtd
#	libvirt_virsh ARG...     runs virsh with these arguments
#	libvirt_command          writes the standby's command file: QEMU's arguments, except those that only libvirt needs
#	libvirt_watched          asks virsh for the guest's state 200 times; prints how often each state was the answer,
#	                         and how much processor time libvirtd used

LIBVIRT_PID=''
readonly LIBVIRT_USER=libvirt-qemu

libvirt_virsh() { nsenter -t "$LIBVIRT_PID" -m -n -- virsh -q "$@"; }

# Starts a libvirtd that has no state of this machine's libvirt.
libvirt_daemon()
{
	topo_spawn primary "$TEST_TMP/libvirtd.log" unshare -m --propagation private bash -c '
		for dir in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
			mount -t tmpfs -o mode=755 tmpfs "$dir" || exit 1
		done
		printf "%s\n" "security_driver = \"none\"" "stdio_handler = \"file\"" "cgroup_controllers = []" \
			"dynamic_ownership = 0" >/etc/libvirt/qemu.conf
		exec libvirtd'
	LIBVIRT_PID=$TOPO_PID
	local deadline=$((SECONDS + 30))

	until libvirt_virsh uri >/dev/null 2>&1; do # poll: no event reports that the socket exists
		(( SECONDS < deadline )) && kill -0 "$LIBVIRT_PID" 2>/dev/null ||
			result FAILED "libvirtd does not start: $(tail -n 2 "$TEST_TMP/libvirtd.log")"
		sleep 0.2
	done
}

libvirt_domain() # MACHINE
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
	    <cmdline>$(guest_words)</cmdline>
	  </os>
	  <features><acpi/><apic/></features>
	  <clock offset='utc'>
	    <timer name='rtc' tickpolicy='catchup'/>
	    <timer name='pit' tickpolicy='delay'/>
	    <timer name='hpet' present='no'/>
	  </clock>
	  <devices>
	    <emulator>$(command -v "$QEMU")</emulator>
	    <controller type='usb' model='qemu-xhci' ports='15'/>
	    <interface type='bridge'>
	      <source bridge='br0'/>
	      <target dev='tap0'/>
	      <mac address='$GUEST_MAC'/>
	      <model type='virtio'/>
	      <driver>
	        <host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off'/>
	        <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/>
	      </driver>
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

libvirt_start() # MACHINE
{
	local dir=$TOPO_DIR/primary

	chmod 711 "$TOPO_DIR" # lets libvirt's user pass; the keys and state inside have strict modes of their own
	cp "$GUEST_IMAGE"/{vmlinuz,initramfs} "$dir"
	chown "$LIBVIRT_USER" "$dir"
	topo_in primary ip link del tap0 # libvirt makes a tap of its own
	libvirt_daemon
	libvirt_domain "$1" >"$TEST_TMP/domain.xml"
	libvirt_virsh create "$TEST_TMP/domain.xml" >"$TEST_TMP/virsh.log" 2>&1 ||
		result FAILED "virsh create: $(<"$TEST_TMP/virsh.log")"
	GUEST_PID=$(<"/proc/$LIBVIRT_PID/root/run/libvirt/qemu/$CLUSTER_VM.pid")
}

# Writes the standby's command file from the arguments of the running QEMU. An operator would do the
# same by hand, from the output of `ps`. Where libvirt passed an open descriptor to QEMU, the file names
# a tap, file or socket on the standby's host. The options for libvirt's monitor, secret and memory back
# end are left out.
libvirt_command()
{
	python3 - "$GUEST_PID" "$TOPO_DIR/standby" "$TEST_TMP/standby-console.log" <<-'PY' >"$CLUSTER_ETC/beta/$CLUSTER_VM.command"
	import shlex, sys

	pid, directory, console = sys.argv[1:]
	words = open("/proc/%s/cmdline" % pid).read().split("\0")[:-1]
	out, rest = words[:1], iter(words[1:])
	for option in rest:
	    if option in ("-S", "-no-hpet", "-no-shutdown", "-no-user-config", "-nodefaults"):
	        out += [option] * (option != "-S")
	        continue
	    value = next(rest)
	    if option in ("-mon", "-qmp", "-add-fd") or "charmonitor" in value or '"secret"' in value \
	            or "memory-backend-ram" in value:
	        continue
	    if option == "-machine":
	        value = value.replace(",memory-backend=pc.ram", "")
	    elif option == "-netdev":
	        value = "tap,id=hostnet0,ifname=tap0,script=no,downscript=no"
	    elif "charserial0," in value and option == "-chardev":
	        value = "file,id=charserial0,path=" + console
	    elif "charchannel0," in value and option == "-chardev":
	        value = "socket,id=charchannel0,path=%s/channel,server=on,wait=off" % directory
	    out += [option, value]
	print(shlex.join(out))
	PY
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
