# kills_lib.sh - the clients of bench_kills and bench_life, and what they have seen. A guest has two databases on a
# disk. To be sourced (bash) after fault_lib.sh and disk_lib.sh.
#
#	start_client redis            like disk_client_start, for a client that is patient
#	replace_clients               start new clients in the place of those that have ended
#	note_acked; goes_on           before a kill; succeeds once the clients are served after it
#	look_at_image                 compare the image of FAULT_ON with the acknowledged writes
#	end_clients                   let the clients compare everything
#
# All that is broken is a line in FAULTS. CHECKED counts the images, COMMIT is the tree's.
readonly PATIENCE_S=180	# a client that waits longer for an answer has lost its connection
CHECKED=0
FAULTS=$TEST_TMP/faults # a line of JSON for each client that ended and each bad image (kills_report.py)
declare -A BEFORE=()	# the last number that each client had acknowledged before the kill
COMMIT=$(git -C "$SRC" describe --always --dirty --abbrev=12 --exclude '*') || COMMIT=unknown
: >"$FAULTS"

kills_report() { python3 "$SRC/tests/bench/kills_report.py" "$@"; }

# Record what those clients have seen that have ended by themselves.
record_ended()
{
	local name

	for name in "${!DISK_CLIENT[@]}"; do ! has_ended "$name" || end_client "$name"; done
	[[ $client_line == broken* ]] || return 0
	wait "$CLIENT_PID" # it writes its report after this line
	kills_report service "$TEST_TMP/client.json" >>"$FAULTS"
}

# Record what a client has seen. The client has ended or is about to end.
end_client() # redis|sqlite
{
	wait "${DISK_CLIENT[$1]}" 2>/dev/null
	topo_forget "${DISK_CLIENT[$1]}"
	kills_report client "$TEST_TMP/$1.json" >>"$FAULTS"
}

has_ended() { ! kill -0 "${DISK_CLIENT[$1]}" 2>/dev/null; } # redis|sqlite

start_client() { disk_client_start "$1" --reply-timeout-s "$PATIENCE_S"; } # redis|sqlite

# Start new clients in the place of those that have ended.
replace_clients()
{
	local name

	for name in redis sqlite; do
		has_ended "$name" || continue
		end_client "$name"
		start_client "$name"
		scene_until 60 test -s "$TEST_TMP/$name.json" || fail "no $name client: $(<"$TEST_TMP/$name.log")"
	done
}

# Succeed if each client has had acknowledgements since the kill, or has ended.
goes_on()
{
	local name

	for name in redis sqlite; do
		has_ended "$name" || (( $(disk_value "$name" acked) >= BEFORE[$name] + 10 )) || return 1
	done
}

# Note what the clients have had until now, and let them measure gap_ms anew.
note_acked()
{
	local name

	for name in redis sqlite; do
		BEFORE[$name]=$(disk_value "$name" acked)
		kill -USR1 "${DISK_CLIENT[$name]}"
	done
}

# Compare the image of the host that runs the guest now with the acknowledged writes. The guest is not protected.
look_at_image()
{
	CHECKED=$((CHECKED + 1))
	disk_snapshot_is_sound "$FAULT_ON" "$TEST_TMP/promoted" && return
	echo "$DISK_BAD: $DISK_FAULT" >&2
	kills_report image "$DISK_BAD" "$DISK_FAULT" >>"$FAULTS"
}

host_dies() # HOST
{
	topo_kill_host "$1" 2>/dev/null
	unset "CLUSTER_PID[${CLUSTER_AGENT[$1]}]"
}

# Print the longest time for which the client has had no acknowledgement, including the present wait.
gap() { json "$TEST_TMP/$1.json" "max(d['gap_ms'], d['since_ms'])"; }

# Let the clients compare everything, and record what they have seen.
end_clients()
{
	local name

	scene_drain
	client_finish
	kills_report service "$TEST_TMP/client.json" >>"$FAULTS"
	for name in redis sqlite; do has_ended "$name" || kill -TERM "${DISK_CLIENT[$name]}"; done
	for name in redis sqlite; do end_client "$name"; done
}
