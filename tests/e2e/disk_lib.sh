# disk_lib.sh - guests whose root is a disk with two databases (deploy/guest/build-disk-image), clients of these
# databases, and checks of images. To be sourced (bash) after cluster_lib.sh or fault_lib.sh.
#
#	disk_images                   make an image for each host; from now on guests have a disk
#	disk_ready HOST               wait until the guest's databases accept connections
#	disk_clients                  start a client of each database; returns when both have acknowledged writes
#	disk_served 50 20 WHEN        fail unless redis acknowledges 50 more writes in 20 s, and sqlite 10
#	disk_clients_end              end the clients; fail unless every acknowledged write is there, in order
#	disk_switch_off PID           end the databases and the guest cleanly; PID is its QEMU
#	disk_check IMAGE              fail unless the file system, both databases and every acknowledged write are sound
#	disk_snapshot HOST COPY       like disk_check, for the image that the guest on HOST uses now; COPY is a scratch file
#	disk_signal_server HOST KILL  send a signal to the server that receives the writes of the guest's disk
#	disk_crashed IMAGE COPY       copy IMAGE to the raw COPY and replay the journal in it, as the guest does after a crash
#
# The clients' STATUS files (db_client.py) are TEST_TMP/redis.json and TEST_TMP/sqlite.json.

readonly DISK_PORT_OFF=6381
declare -A DISK_PORT=([redis]=6379 [sqlite]=6380) DISK_CLIENT=()
DISK_FAULT=''	# why disk_is_sound failed
DISK_STATUS=$TEST_TMP	# directory of the STATUS files to which images are compared

# Succeed if the directory's file system knows O_DIRECT, which cache=none needs. A tmpfs does not.
disk_knows_direct() # DIR
{
	local r=0

	dd if=/dev/zero of="$1/direct" bs=4096 count=1 oflag=direct 2>/dev/null || r=1
	rm -f "$1/direct"
	return $r
}

# The images of standby and spare are as new: sparse, without a byte in them.
disk_images()
{
	DISK_DIR=$TEST_TMP/images
	mkdir -p "$DISK_DIR"
	if [[ $GUEST_DISK_CACHE == none ]] && ! disk_knows_direct "$DISK_DIR"; then
		echo "$DISK_DIR is on a file system without O_DIRECT: the disks have cache=writeback"
		GUEST_DISK_CACHE=writeback
	fi
	guest_disk_image "$BUILD"
	GUEST_DISK=([primary]=$DISK_DIR/primary.$GUEST_DISK_FORMAT [standby]=$DISK_DIR/standby.raw)
	case $GUEST_DISK_FORMAT in
	raw) cp --sparse=always "$GUEST_DISK_ROOT" "${GUEST_DISK[primary]}" || fail "no image" ;;
	*)   qemu-img convert -f raw -O "$GUEST_DISK_FORMAT" "$GUEST_DISK_ROOT" "${GUEST_DISK[primary]}" || fail "no image" ;;
	esac
	(( TOPO_SPARE == 0 )) || GUEST_DISK[spare]=$DISK_DIR/spare.raw
	truncate -r "$GUEST_DISK_ROOT" "${GUEST_DISK[standby]}" ${GUEST_DISK[spare]:+"${GUEST_DISK[spare]}"}
}

disk_ready() # HOST
{
	scene_until 60 grep -qs 'workload: ready databases' "$TEST_TMP/$1-console.log" ||
		fail "no databases: $(tail -n 5 "$TEST_TMP/$1-console.log")"
}

disk_client_start() # redis|sqlite [OPTION...]
{
	rm -f "$TEST_TMP/$1.json"
	topo_spawn client "$TEST_TMP/$1.log" python3 "$SRC/tests/e2e/db_client.py" run "$1" \
		"$TOPO_GUEST_IP:${DISK_PORT[$1]}" "$TEST_TMP/$1.json" "${@:2}"
	DISK_CLIENT[$1]=$TOPO_PID
}

# Print a number of a client's STATUS file. Starts no process, because tests poll.
disk_value() # redis|sqlite NAME
{
	local text

	text=$(<"$TEST_TMP/$1.json")
	[[ $text =~ \"$2\":\ ([0-9.]+) ]] && echo "${BASH_REMATCH[1]}"
}

# Succeed if all numbers up to N were acknowledged to the client. End the test if the client has ended.
disk_has_acked() # redis|sqlite N
{
	kill -0 "${DISK_CLIENT[$1]}" 2>/dev/null || fail "the $1 client has ended: $(<"$TEST_TMP/$1.json")"
	[[ -s $TEST_TMP/$1.json ]] && (( $(disk_value "$1" acked) >= $2 ))
}

disk_served() # N SECONDS WHEN
{
	local name n
	local -A goal=()

	for name in "${!DISK_CLIENT[@]}"; do
		n=$1
		[[ $name == redis ]] || n=$((($1 + 4) / 5)) # sqlite syncs several times for each write
		goal[$name]=$(($(disk_value "$name" acked) + n))
	done
	for name in "${!DISK_CLIENT[@]}"; do
		scene_until "$2" disk_has_acked "$name" "${goal[$name]}" ||
			fail "$name acknowledges nothing $3: $(<"$TEST_TMP/$name.json")"
	done
}

disk_clients() # [OPTION...]
{
	local name

	for name in redis sqlite; do
		disk_client_start "$name" "$@"
		scene_until 60 test -s "$TEST_TMP/$name.json" || fail "no $name client: $(<"$TEST_TMP/$name.log")"
	done
	disk_served 5 60 "at the start"
}

# Tell the clients to end. Succeed if both had all acknowledged writes read back.
disk_clients_stop()
{
	local name r=0

	for name in "${!DISK_CLIENT[@]}"; do kill -TERM "${DISK_CLIENT[$name]}" 2>/dev/null; done
	for name in "${!DISK_CLIENT[@]}"; do
		wait "${DISK_CLIENT[$name]}" || r=1
		topo_forget "${DISK_CLIENT[$name]}"
		cat "$TEST_TMP/$name.json"
	done
	DISK_CLIENT=()
	return $r
}

disk_clients_end() { disk_clients_stop || fail "an acknowledged write is not there, or a connection was lost"; }

disk_is_gone() { ! kill -0 "$1" 2>/dev/null; } # PID

disk_switch_off() # PID
{
	topo_in client bash -c "exec 3<>/dev/tcp/$TOPO_GUEST_IP/$DISK_PORT_OFF" || fail "the guest does not accept: off"
	scene_until 30 disk_is_gone "$1" || fail "the guest does not switch off"
	! grep -h 'workload: cannot' "$TEST_TMP"/*-console.log || fail "the guest did not make its file systems clean"
}

# Run a program of the guest's root on this host, with its own libraries.
disk_program() # NAME ARGUMENT...
{
	local root=$GUEST_IMAGE/root

	"$root/lib64/ld-linux-x86-64.so.2" --library-path "$root/lib/x86_64-linux-gnu" --argv0 "$1" \
		"$root/bin/$1" "${@:2}"
}

# Compare redis's log in DIR with the client's record of acknowledged writes. A redis on this host loads the log.
disk_redis_is_sound() # DIR
{
	local root=$GUEST_IMAGE/root r=0

	topo_spawn net "$TEST_TMP/check.log" "$root/lib64/ld-linux-x86-64.so.2" --library-path \
		"$root/lib/x86_64-linux-gnu" --argv0 redis-server "$root/bin/redis-server" --port 0 \
		--unixsocket "$1/socket" --dir "$1" --appendonly yes --appendfsync no \
		--auto-aof-rewrite-percentage 0 --save ''
	scene_until 30 test -S "$1/socket" || { DISK_FAULT="redis cannot load it: $(tail -n 3 "$TEST_TMP/check.log")"; r=1; }
	(( r )) || DISK_FAULT=$(python3 "$SRC/tests/e2e/db_client.py" check redis "$1/socket" "$DISK_STATUS/redis.json") || r=1
	topo_end "$TOPO_PID"
	return $r
}

# Check a clean image with raw contents. Sets DISK_FAULT to what is wrong, and DISK_BAD to fsck or db.
disk_is_sound() # IMAGE [crashed]
{
	local dir

	dir=$(mktemp -d "$TEST_TMP/check.XXXXXX")
	DISK_BAD=fsck
	DISK_FAULT=$(fsck.ext4 -fn "$1" 2>&1) || return 1
	debugfs -R "rdump /var/lib $dir" "$1" 2>"$dir/errors"
	DISK_FAULT=$(grep -v '^debugfs ' "$dir/errors") && return 1
	DISK_BAD=db
	# After a crash, the log can end within a write that was never acknowledged.
	[[ ${2:-} == crashed ]] ||
		DISK_FAULT=$(disk_program redis-check-aof "$dir/lib/redis/appendonlydir/appendonly.aof.manifest" 2>&1) || return 1
	disk_redis_is_sound "$dir/lib/redis" || return 1
	DISK_FAULT=$(python3 "$SRC/tests/e2e/db_client.py" check sqlite "$dir/lib/sqlite/work.db" "$DISK_STATUS/sqlite.json") ||
		return 1
	DISK_BAD='' DISK_FAULT=''
	rm -rf "$dir"
}

disk_check() # IMAGE [crashed]
{
	disk_is_sound "$@" || fail "$1: $DISK_BAD: $DISK_FAULT"
	echo "${1##*/}: file system, both databases and every acknowledged write are sound"
}

# Replay the journal in the image, as the guest does after a crash. Sets DISK_BAD and DISK_FAULT if that fails.
disk_replay() # IMAGE
{
	local r=0

	# -p replays the journal and deletes files that were open and deleted; it corrects nothing else by itself.
	DISK_BAD=fsck
	DISK_FAULT=$(fsck.ext4 -p "$1" 2>&1) || r=$?
	(( r <= 1 ))
}

disk_crashed() # IMAGE COPY
{
	case $1 in
	*.qcow2) qemu-img convert -f qcow2 -O raw "$1" "$2" ;;
	*)       cp --sparse=always "$1" "$2" ;;
	esac || fail "no copy of $1"
	disk_replay "$2" || fail "the journal of $1 cannot be replayed: $DISK_FAULT"
}

# Print the pid of the QEMU that the agent of HOST has started.
disk_standby_pid() { cat "$TOPO_DIR/$1/run/$CLUSTER_VM.standby.pid"; } # HOST

disk_monitor() # HOST WORD
{
	topo_in "$1" python3 "$SCENE_TOOLS/qmp_pause.py" "$TOPO_DIR/$1/qmp-look" "$2" >"$TEST_TMP/monitor.log" 2>&1 ||
		fail "the monitor of $1: $(tail -n 1 "$TEST_TMP/monitor.log")"
}

# Copy the image while the guest is paused, and compare the copy with the writes acknowledged until then. The guest must
# not be protected: its agent would pause and resume it too. Sets DISK_BAD and DISK_FAULT, as disk_is_sound does.
disk_snapshot_is_sound() # HOST COPY
{
	local name r=0

	mkdir -p "$2.json"
	disk_monitor "$1" 0
	for name in redis sqlite; do cp "$TEST_TMP/$name.json" "$2.json/"; done
	cp --sparse=always "${GUEST_DISK[$1]}" "$2" || fail "no copy of ${GUEST_DISK[$1]}"
	disk_monitor "$1" cont
	# The files are up to 100 ms old: more numbers may have been sent.
	sed -i 's/"sent": [0-9]*/"sent": 999999999/' "$2.json"/*.json
	DISK_STATUS=$2.json
	disk_replay "$2" && disk_is_sound "$2" crashed || r=1
	DISK_STATUS=$TEST_TMP
	rm -rf "$2" "$2.json"
	return $r
}

disk_snapshot() # HOST COPY
{
	disk_snapshot_is_sound "$@" || fail "the image of $1: $DISK_BAD: $DISK_FAULT"
	echo "$1: file system, both databases and every acknowledged write are sound while the guest runs"
}

# Print a number of the primary's agent; 0 while the agent is new.
disk_stat() { scene_value "vm['stats'].get('$1', 0)"; } # NAME

# Print how many bytes the guest has written to its disk, as QEMU counts them.
disk_written_bytes() # HOST
{
	topo_in "$1" python3 "$SRC/tests/e2e/qmp_blocks.py" "$TOPO_DIR/$1/qmp-look" written
}

# Print the pid of the server that receives the writes of the guest's disk on HOST.
disk_server_pid() # HOST
{
	local pid

	for pid in $(topo_pids "$1"); do
		[[ $(<"/proc/$pid/comm") != nbdkit ]] || echo "$pid"
	done
} 2>/dev/null

disk_signal_server() # HOST SIGNAL
{
	local pid

	pid=$(disk_server_pid "$1")
	[[ $pid =~ ^[0-9]+$ ]] || fail "one server of a disk should run on $1: $pid"
	kill -s "$2" "$pid"
}

# Remove the last write from redis's log in a clean image.
disk_forget_one() # IMAGE
{
	local dir=/var/lib/redis/appendonlydir log=appendonly.aof.1.incr.aof file=$TEST_TMP/log

	debugfs -R "dump $dir/$log $file" "$1" 2>/dev/null
	python3 -c '
import sys
with open(sys.argv[1], "r+b") as file:
    file.truncate(file.read().rindex(b"*1\r\n$5\r\nMULTI\r\n"))' "$file" || fail "no last write in the log"
	# A new file: one that is only shortened can keep a block behind its end, which e2fsck does not like.
	printf '%s\n' "cd $dir" "rm $log" "write $file $log" | debugfs -w -f - "$1" >/dev/null 2>&1
	rm "$file"
}
