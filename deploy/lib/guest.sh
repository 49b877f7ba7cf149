# guest.sh - functions that build and start the test guest. Source it after topology.sh.
#
# QEMU is Debian's unpatched package, started with an ordinary command line. virtio-net's offloads are off,
# so that captures in tests see complete frames. With GUEST_OFFLOADS=1 they are QEMU's defaults.

GUEST_IMAGE=''		# directory with vmlinuz and initramfs; guest_image sets it
GUEST_MACHINE=${GUEST_MACHINE:-pc}
GUEST_MEM_MIB=${GUEST_MEM_MIB:-256}
GUEST_CPUS=${GUEST_CPUS:-1}
GUEST_RATE=${GUEST_RATE:-200}	# background dirty rate, pages/s
GUEST_BYTES=${GUEST_BYTES:-64}
GUEST_EXTRA=()	# more arguments for QEMU
GUEST_WORDS=ipv6.disable=1	# more options of the guest's kernel command line
GUEST_WORK=${GUEST_WORK:-}	# the workload image's extra load; see deploy/guest/workload
# The guest's root disk. Each host has a copy of the image that guest_disk_image makes. Without a root
# disk, the guest's root file system is in RAM.
declare -A GUEST_DISK=()	# path of the image, by host
GUEST_DISK_NAME=root		# the disk's name in QEMU, and in `disks =`
# A second disk `data`, ext4, mounted as /data: path of the image, by host. It is always on virtio-scsi, with an iothread
# and described by -blockdev. Its format is qcow2 if the path ends with .qcow2, else raw.
declare -A GUEST_DATA=()
GUEST_DISK_BUS=${GUEST_DISK_BUS:-virtio}	# or scsi
GUEST_DISK_LAYOUT=${GUEST_DISK_LAYOUT:-drive}	# or blockdev: how the command line describes it
GUEST_DISK_IOTHREAD=${GUEST_DISK_IOTHREAD:-0}	# 1: requests are served by a thread of its own
GUEST_DISK_FORMAT=${GUEST_DISK_FORMAT:-raw}	# or qcow2; on the standby it is always raw
GUEST_DISK_CACHE=${GUEST_DISK_CACHE:-none}	# or writeback, which every file system supports
readonly GUEST_PORT=7000
readonly GUEST_MAC=52:54:00:48:46:01
readonly GUEST_MAC_2=52:54:00:48:46:02 # of the second card, with TOPO_CARDS=2

guest_image() # BUILD_DIR
{
	GUEST_IMAGE=$("$TOPO_LIB/../guest/build-image" "$1") || topo_die "no guest image"
}

# Build the image with redis, sqlite and a compiler. A guest with it needs GUEST_MEM_MIB=384 at least.
guest_workload_image() # BUILD_DIR
{
	GUEST_IMAGE=$("$TOPO_LIB/../guest/build-workload-image" "$1") || topo_die "no guest image"
}

# Build the image with a root disk and two databases. Sets GUEST_DISK_ROOT to the image to copy.
guest_disk_image() # BUILD_DIR
{
	GUEST_IMAGE=$("$TOPO_LIB/../guest/build-disk-image" "$1") || topo_die "no guest image with a disk"
	GUEST_DISK_ROOT=$GUEST_IMAGE/root.img
}

# Print the image as the key `disks` takes it, after its name.
guest_disk_setting() # PATH
{
	[[ $1 != *.qcow2 ]] || echo -n qcow2:
	echo "$1"
}

# Set GUEST_DISK_WORDS to the arguments of QEMU that describe the root disk on HOST.
guest_disk_words() # HOST
{
	local file=${GUEST_DISK[$1]:-} format=$GUEST_DISK_FORMAT device=virtio-blk-pci thread='' direct=on
	local node=$GUEST_DISK_NAME

	GUEST_DISK_WORDS=()
	[[ -n $file ]] || return 0
	[[ $1 != standby ]] || format=raw
	[[ $file != *.qcow2 ]] || format=qcow2
	[[ $GUEST_DISK_CACHE == none ]] || direct=off
	if (( GUEST_DISK_IOTHREAD )); then
		GUEST_DISK_WORDS+=(-object iothread,id=disk-thread)
		thread=,iothread=disk-thread
	fi
	case $GUEST_DISK_LAYOUT in
	drive)
		GUEST_DISK_WORDS+=(-drive
			"if=none,id=$GUEST_DISK_NAME,file=$file,format=$format,cache=$GUEST_DISK_CACHE,discard=unmap") ;;
	blockdev)
		node+=-image
		GUEST_DISK_WORDS+=(
			-blockdev "driver=file,node-name=$node-file,filename=$file,cache.direct=$direct,discard=unmap"
			-blockdev "driver=$format,node-name=$node,file=$node-file,cache.direct=$direct,discard=unmap") ;;
	*)
		topo_die "GUEST_DISK_LAYOUT is $GUEST_DISK_LAYOUT; it may be drive or blockdev" ;;
	esac
	if [[ $GUEST_DISK_BUS == scsi ]]; then
		GUEST_DISK_WORDS+=(-device "virtio-scsi-pci,id=scsi0$thread")
		device=scsi-hd,bus=scsi0.0 thread=''
	fi
	GUEST_DISK_WORDS+=(-device "$device,drive=$node,id=$GUEST_DISK_NAME$thread")
	guest_data_words "$1" "$direct"
}

# Add the arguments that describe the second disk.
guest_data_words() # HOST on|off
{
	local file=${GUEST_DATA[$1]:-} format=raw driver=file

	[[ -n $file ]] || return 0
	[[ $file != *.qcow2 ]] || format=qcow2
	[[ ! -b $file ]] || driver=host_device
	GUEST_DISK_WORDS+=(-object iothread,id=data-thread
		-device virtio-scsi-pci,id=scsi1,iothread=data-thread
		-blockdev "driver=$driver,node-name=data-file,filename=$file,cache.direct=$2,discard=unmap"
		-blockdev "driver=$format,node-name=data-image,file=data-file,cache.direct=$2,discard=unmap"
		-device scsi-hd,bus=scsi1.0,drive=data-image,id=data)
}

# Print the options of the guest's kernel command line that name the disks on HOST.
guest_disk_option() # HOST
{
	[[ -z ${GUEST_DISK[$1]:-} ]] || case $GUEST_DISK_BUS in
	scsi) echo -n ' hf.root=sda' ;;
	*)    echo -n ' hf.root=vda' ;;
	esac
	[[ -z ${GUEST_DATA[$1]:-} ]] || echo -n ' hf.disk=sda'
}

# If there is a second card, set GUEST_CARD_WORDS to QEMU's arguments for the card. Set GUEST_CARD_OPTION to
# the option of the guest's kernel command line that gives the card's address.
guest_second_card() # ,OFFLOADS_OFF
{
	GUEST_CARD_WORDS=() GUEST_CARD_OPTION=''
	(( TOPO_CARDS > 1 )) || return 0
	GUEST_CARD_WORDS=(-netdev tap,id=n1,ifname=tap1,script=no,downscript=no
		-device "virtio-net-pci,netdev=n1,mac=$GUEST_MAC_2$1")
	GUEST_CARD_OPTION=" hf.ip_2=$TOPO_GUEST_IP_2/24"
}

# Print the options of the installed QEMU that turn virtio-net's offloads off. QEMU 8.1 and later have
# the last three.
guest_offloads_off()
{
	local name options='' help

	help=$(qemu-system-x86_64 -device virtio-net-pci,help) || topo_die "QEMU knows no virtio-net-pci"
	for name in csum gso host_tso4 host_tso6 host_ufo guest_csum guest_tso4 guest_tso6 guest_ufo guest_ecn \
			host_uso guest_uso4 guest_uso6; do
		[[ $help != *" $name="* ]] || options+=,$name=off
	done
	echo "${options#,}"
}

# Set GUEST_COMMAND to the guest's QEMU command line. On both hosts it is the same, except for the path of
# a disk's image. It has no -qmp (the agent's monitor), but a second monitor at LOOK_SOCKET for the tests.
guest_command() # TAP SERIAL_LOG LOOK_SOCKET [HOST]
{
	local off=''

	[[ -n ${GUEST_OFFLOADS:-} ]] || off=,$(guest_offloads_off)
	guest_disk_words "${4:-none}"
	guest_second_card "$off"
	GUEST_COMMAND=(qemu-system-x86_64 -M "$GUEST_MACHINE" -accel tcg -m "$GUEST_MEM_MIB" -smp "$GUEST_CPUS"
		-nodefaults -display none -vga none
		-kernel "$GUEST_IMAGE/vmlinuz" -initrd "$GUEST_IMAGE/initramfs"
		-append "console=ttyS0 quiet panic=-1 $GUEST_WORDS hf.ip=$TOPO_GUEST_IP/24 hf.port=$GUEST_PORT hf.rate=$GUEST_RATE hf.bytes=$GUEST_BYTES${GUEST_WORK:+ hf.work=$GUEST_WORK}$GUEST_CARD_OPTION$(guest_disk_option "${4:-none}")"
		-netdev "tap,id=n0,ifname=$1,script=no,downscript=no"
		-device "virtio-net-pci,netdev=n0,mac=$GUEST_MAC$off" "${GUEST_CARD_WORDS[@]}"
		-serial "file:$2"
		-chardev "socket,id=look,path=$3,server=on,wait=off" -mon "chardev=look,mode=control"
		"${GUEST_DISK_WORDS[@]}" "${GUEST_EXTRA[@]}")
}

# Boot the guest on HOST and set GUEST_PID. The QMP socket is TOPO_DIR/HOST/qmp; logs go to LOG_DIR.
guest_start() # HOST LOG_DIR
{
	mkdir -p "$TOPO_DIR/$1"
	guest_command tap0 "$2/$1-console.log" "$TOPO_DIR/$1/qmp-look" "$1"
	topo_spawn "$1" "$2/$1-qemu.log" "${GUEST_COMMAND[@]}" \
		-qmp "unix:$TOPO_DIR/$1/qmp,server=on,wait=off"
	GUEST_PID=$TOPO_PID
}
