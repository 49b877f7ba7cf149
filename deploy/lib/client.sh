# client.sh - drive hf-client from a shell. Source it after topology.sh and guest.sh.
#
#	client_start BUILD_DIR REPORT.json [hf-client option...]   returns when it is connected
#	client_phase protected
#	client_wait_replies 100        wait for 100 more replies than now
#	client_finish                  stop, wait, status in CLIENT_STATUS, the report is written
#
# Only this shell reads the client's lines, in order; client_line is the last one.

CLIENT_PID=''
CLIENT_STATUS=''
client_line=''

client_start() # BUILD_DIR REPORT [OPTION...]
{
	local build=$1 report=$2

	shift 2
	# Commands go through a FIFO that this shell keeps open both ways, so that neither side blocks in
	# opening it. Lines come through a pipe that ends when the client ends.
	mkfifo "$TOPO_DIR/client.in" || return 1
	exec {CLIENT_IN}<>"$TOPO_DIR/client.in"
	rm "$TOPO_DIR/client.in"
	exec {CLIENT_OUT}< <(exec nsenter --net="/run/netns/$TOPO_PREFIX-client" -- \
		"$build/deploy/guest/hf-client" --connect "$TOPO_GUEST_IP:$GUEST_PORT" --commands \
		--json "$report" "$@" <&"$CLIENT_IN" {CLIENT_IN}>&-)
	CLIENT_PID=$!
	topo_remember "$CLIENT_PID"
	client_until connected 90
}

client_say() { echo "$*" >&"$CLIENT_IN"; }

# Read the client's lines until one begins with WORD. Returns 1 if the client ended, broke, or took
# too long. Do not use `read -t`: bash 5.2 crashes in it (longjmp) on a signal whose trap exits, and
# then nothing cleans up. A timeout is not needed: the client prints a line at each progress
# interval, and the pipe ends with the client.
client_until() # WORD SECONDS
{
	local deadline=$((SECONDS + $2))

	while (( SECONDS < deadline )) && read -r -u "$CLIENT_OUT" client_line; do
		[[ $client_line != "$1"* ]] || return 0
		[[ $client_line != broken* ]] || return 1
	done
	return 1
}

# Begin a phase. Returns when it has begun and all earlier lines are read. Otherwise lines printed
# while this shell did something else would count as new.
client_phase() # NAME
{
	client_say phase "$1"
	client_until "phase name=$1 " 10
}

client_value() # NAME, of the last line read
{
	[[ $client_line =~ (^| )$1=([^ ]*) ]] && echo "${BASH_REMATCH[2]}"
}

# Wait until N more replies have come than the next line reports. Needs progress lines.
client_wait_replies() # N SECONDS
{
	local want deadline=$((SECONDS + $2))

	client_until progress "$2" || return 1
	want=$(($(client_value replies) + $1))
	while (( $(client_value replies) < want )); do
		(( SECONDS < deadline )) || return 1
		client_until progress "$2" || return 1
	done
}

# Stop the client and wait for its report. CLIENT_STATUS is its exit status.
client_finish()
{
	client_say stop
	client_reap
}

client_reap()
{
	wait "$CLIENT_PID"
	CLIENT_STATUS=$?
	exec {CLIENT_IN}>&- {CLIENT_OUT}>&-
	topo_end "$CLIENT_PID" # the client has ended already; this only forgets its pid
}
