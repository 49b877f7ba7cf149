# guest.sh - functions that build and start the test guest. Source it after topology.sh.
#
# QEMU is Debian's unpatched package, started with an ordinary command line. virtio-net's offloads are off, so
# that the hold sees only complete frames (the agent refuses a guest with offloads on).

GUEST_IMAGE=''		# directory with vmlinuz and initramfs; guest_image sets it
GUEST_MACHINE=${GUEST_MACHINE:-pc}
GUEST_MEM_MIB=${GUEST_MEM_MIB:-256}
GUEST_CPUS=${GUEST_CPUS:-1}
GUEST_RATE=${GUEST_RATE:-200}	# background dirty rate, pages/s
GUEST_BYTES=${GUEST_BYTES:-64}
GUEST_EXTRA=()	# extra words for QEMU's command line
GUEST_WORK=${GUEST_WORK:-}	# the workload image's extra load; see deploy/guest/workload
readonly GUEST_PORT=7000
readonly GUEST_MAC=52:54:00:48:46:01

guest_image() # BUILD_DIR
{
	GUEST_IMAGE=$("$TOPO_LIB/../guest/build-image" "$1") || topo_die "no guest image"
}

# Build the image with redis, sqlite and a compiler. A guest with it needs GUEST_MEM_MIB=384 at least.
guest_workload_image() # BUILD_DIR
{
	GUEST_IMAGE=$("$TOPO_LIB/../guest/build-workload-image" "$1") || topo_die "no guest image"
}

# Set GUEST_COMMAND to the guest's QEMU command line, which is the same on both hosts. It lacks -qmp, the
# agent's monitor. It has another monitor at LOOK_SOCKET, through which tests watch what an agent does, or
# act as an operator.
guest_command() # TAP SERIAL_LOG LOOK_SOCKET
{
	local off="csum=off,gso=off,host_tso4=off,host_tso6=off,host_ufo=off"

	off+=",guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off"
	GUEST_COMMAND=(qemu-system-x86_64 -M "$GUEST_MACHINE" -accel tcg -m "$GUEST_MEM_MIB" -smp "$GUEST_CPUS"
		-nodefaults -display none -vga none
		-kernel "$GUEST_IMAGE/vmlinuz" -initrd "$GUEST_IMAGE/initramfs"
		-append "console=ttyS0 quiet panic=-1 ipv6.disable=1 hf.ip=$TOPO_GUEST_IP/24 hf.port=$GUEST_PORT hf.rate=$GUEST_RATE hf.bytes=$GUEST_BYTES${GUEST_WORK:+ hf.work=$GUEST_WORK}"
		-netdev "tap,id=n0,ifname=$1,script=no,downscript=no"
		-device "virtio-net-pci,netdev=n0,mac=$GUEST_MAC,$off"
		-serial "file:$2"
		-chardev "socket,id=look,path=$3,server=on,wait=off" -mon "chardev=look,mode=control" "${GUEST_EXTRA[@]}")
}

# Boot the guest on HOST and set GUEST_PID. The QMP socket is TOPO_DIR/HOST/qmp; logs go to LOG_DIR.
guest_start() # HOST LOG_DIR
{
	mkdir -p "$TOPO_DIR/$1"
	guest_command tap0 "$2/$1-console.log" "$TOPO_DIR/$1/qmp-look"
	topo_spawn "$1" "$2/$1-qemu.log" "${GUEST_COMMAND[@]}" \
		-qmp "unix:$TOPO_DIR/$1/qmp,server=on,wait=off"
	GUEST_PID=$TOPO_PID
}
