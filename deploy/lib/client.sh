# client.sh - functions that run hf-client and give it commands. Source it after topology.sh and guest.sh.
#
#	client_start BUILD_DIR REPORT.json [hf-client option...]   returns when hf-client is connected
#	client_phase protected         begin the phase "protected"
#	client_wait_replies 100        wait for 100 more replies
#	client_finish                  stop hf-client; sets CLIENT_STATUS; REPORT.json is then written
#
# The variable client_line has the last line that was read from hf-client.

CLIENT_PID=''
CLIENT_STATUS=''
client_line=''

client_start() # BUILD_DIR REPORT [OPTION...]
{
	local build=$1 report=$2

	shift 2
	# Commands go to the client through a FIFO. This shell opens the FIFO for reading and writing, so
	# the opening never waits for the client. The client's lines come through a pipe.
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

# Read the client's lines until one begins with WORD. Returns 1 if the client has ended, its connection
# has broken, or SECONDS have passed.
#
# `read` needs no timeout: the client prints a line at each progress interval, and closes the pipe when
# it ends. Do not use `read -t`: if a trap calls exit during `read -t`, bash 5.2 crashes and nothing
# cleans up.
client_until() # WORD SECONDS
{
	local deadline=$((SECONDS + $2))

	while (( SECONDS < deadline )) && read -r -u "$CLIENT_OUT" client_line; do
		[[ $client_line != "$1"* ]] || return 0
		[[ $client_line != broken* ]] || return 1
	done
	return 1
}

# Begin phase NAME. Discard the client's lines up to the line that reports the new phase.
client_phase() # NAME
{
	client_say phase "$1"
	client_until "phase name=$1 " 10
}

client_value() # NAME; prints its value in the last line that was read
{
	[[ $client_line =~ (^| )$1=([^ ]*) ]] && echo "${BASH_REMATCH[2]}"
}

# Wait for N more replies. Each progress line of the client has the number of replies so far. Needs a
# client that prints progress lines.
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

# Stop the client and wait for its report. CLIENT_STATUS is its exit status. Read the lines that it has still
# to print: a client whose pipe is full does not end.
client_finish()
{
	client_say stop
	while read -r -u "$CLIENT_OUT" client_line; do :; done
	client_reap
}

client_reap()
{
	wait "$CLIENT_PID"
	CLIENT_STATUS=$?
	exec {CLIENT_IN}>&- {CLIENT_OUT}>&-
	topo_end "$CLIENT_PID" # only deletes the record of its pid: the client has ended already
}
