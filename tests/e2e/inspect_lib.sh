# inspect_lib.sh - protects a guest with the files that `holdfast-agent inspect` made from its running QEMU. To be
# sourced (bash) after cluster_lib.sh.
#
#	inspect_ask STATUS ARGUMENT...   run inspect on the primary; its output is in TEST_TMP/inspect.log
#	inspect_start                    like scene_start, but both agents have only the files from inspect

inspect_ask() # STATUS ARGUMENT...
{
	local want=$1 r=0

	shift
	topo_in primary "$CLUSTER_AGENT_BIN" inspect "$@" >"$TEST_TMP/inspect.log" 2>&1 || r=$?
	[[ $r == "$want" ]] || fail "inspect ends with $r instead of $want: $(<"$TEST_TMP/inspect.log")"
}

inspect_says() { grep -qF -- "$1" "$TEST_TMP/inspect.log" || fail "inspect does not say '$1': $(<"$TEST_TMP/inspect.log")"; }

inspect_start() # [hf-client option...]
{
	local dir=$TEST_TMP/inspected maps=()

	topo_trap
	topo_up
	[[ -n ${GUEST_DISK[primary]:-} ]] || guest_image "$BUILD"
	cluster_configure "$BUILD" "$TEST_TMP"
	guest_start primary "$TEST_TMP"
	scene_until 30 test -S "$TOPO_DIR/primary/qmp" || fail "QEMU has no monitor"
	maps=(--map "$TEST_TMP/primary-console.log=$TEST_TMP/standby-console.log"
		--map "look=$TOPO_DIR/standby/qmp-look"
		--map "state_dir=$TOPO_DIR/standby/state"
		--map "command_file=$CLUSTER_ETC/beta/$CLUSTER_VM.command")
	[[ -z ${GUEST_DISK[primary]:-} ]] || maps+=(--map "$GUEST_DISK_NAME=${GUEST_DISK[standby]}")
	inspect_ask 0 --qmp "$TOPO_DIR/primary/qmp" --name "$CLUSTER_VM" "${maps[@]}" --write "$dir"
	cat "$TEST_TMP/inspect.log"
	rm "$CLUSTER_ETC"/{alpha,beta}/vms/* "$CLUSTER_ETC"/{alpha,beta}/*.command
	cp "$dir/$CLUSTER_VM.ini" "$CLUSTER_ETC/alpha/vms/$CLUSTER_VM.ini"
	cp "$dir/$CLUSTER_VM.standby.ini" "$CLUSTER_ETC/beta/vms/$CLUSTER_VM.ini"
	cp "$dir/$CLUSTER_VM.command" "$CLUSTER_ETC/beta/$CLUSTER_VM.command"
	cluster_start
	client_start "$BUILD" "$TEST_TMP/client.json" --progress-ms 100 "$@" ||
		fail "no connection to the guest: $client_line"
}
