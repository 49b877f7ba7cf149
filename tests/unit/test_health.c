/* test_health.c - tests the health word of a VM on a virtual clock. Each case begins with a SAFE VM
 * and takes one condition away. The word must then name what is missing, and must not be SAFE. */
#include <errno.h>

#include "health_lab.h"

/* ---- functions that each take one condition away from a SAFE VM */

static void break_conflict(void)
{
	lab.peer[1].term += 5;
	lab_report(&lab, 1);
}

static void break_journal_error(void)
{
	view.journal_error = EROFS;
}

static void break_journal(void)
{
	view.journal_waits_ns = 1200 * MS;
}

static void break_failed(void)
{
	lab.fsm.record.state = VM_FAILED;
}

static void break_silent_guest(void)
{
	lab.fsm.record.state = VM_UNPROTECTED;
	lab.fsm.protection.promoted.state = VM_PROMOTED_SILENT;
}

static void break_ended_guest(void)
{
	lab.fsm.record.state = VM_UNPROTECTED;
	lab.fsm.host[0].verdict = WIRE_VERDICT_EXITED;
	view.text[0] = "no QEMU runs it";
}

static void break_promoting(void)
{
	lab.fsm.record.state = VM_PROMOTING;
}

static void break_unprotected(void)
{
	lab.fsm.record.state = VM_UNPROTECTED;
}

static void break_unprotected_unheard(void)
{
	lab_down(&lab, 0);
	lab.fsm.record.state = VM_UNPROTECTED;
}

static void break_unprotected_torn(void)
{
	break_unprotected_unheard();
	lab.fsm.host[1].epoch = 0;
	lab.fsm.host[1].cold = (struct vm_cold_word){VM_COLD_NONE, .disk = VM_COLD_DISK_TORN};
}

static void break_suspended(void)
{
	lab.fsm.record.state = VM_UNPROTECTED;
	lab.fsm.again.when = VM_AGAIN_COVERED;
}

static void break_soon_again(void)
{
	lab.fsm.record.state = VM_UNPROTECTED;
	lab.fsm.again.when = VM_AGAIN_SOON;
	lab.fsm.again.next_ns = lab.now_ns + 31 * CLOCK_NS_PER_S;
}

static void break_kept_off(void)
{
	break_soon_again();
	lab.fsm.is_barred[VM_HOST_SECOND] = true;
}

static void break_preparing(void)
{
	lab.fsm.record.state = VM_PREPARING;
}

static void break_syncing_standby(void)
{
	lab.fsm.record.state = VM_SYNCING;
	lab_down(&lab, 1);
}

static void break_syncing(void)
{
	lab.fsm.record.state = VM_SYNCING;
	health_read_signs("step_percent=42\nstep_s_left=31\n", &signs[0]);
}

static void break_syncing_disks(void)
{
	lab.fsm.record.state = VM_SYNCING;
	health_read_signs("disks=copying\ndisk_copy_percent=7\ndisk_copy_s_left=3700\n"
			  "step_percent=42\nstep_s_left=31\n", &signs[0]);
}

static void block_way(uint8_t h)
{
	strcpy(lab.fsm.host[h].way, "broken");
	strcpy(lab.fsm.host[h].way_text, "the bridge is gone");
}

static void break_way_out(void)
{
	lab.fsm.record.state = VM_SYNCING;
	block_way(0);
}

static void break_state(void)
{
	lab.fsm.record.state = VM_N_STATES; /* a state that this program does not know */
}

static void break_both(void)
{
	view.reported_ns[0] = view.reported_ns[1] = lab.now_ns - 1000 * MS;
}

/* The owner's agent is stopped: its connection stays up, but no report comes. */
static void break_owner(void)
{
	lab.now_ns += 1000 * MS;
	view.reported_ns[1] = lab.now_ns;
}

static void break_preparing_owner(void)
{
	break_preparing();
	break_owner();
}

static void break_owner_connection(void)
{
	lab_down(&lab, 0);
}

static void break_degraded(void)
{
	lab.fsm.detector.state = DETECTOR_DEGRADED;
}

static void break_suspect(void)
{
	lab.fsm.detector.state = DETECTOR_SUSPECT;
	lab.fsm.detector.doubt_ns = 1;
	lab.fsm.detector.clock_ns = 1 + 1000 * MS;
}

static void break_owner_and_copy(void)
{
	break_owner_connection();
	lab.fsm.host[1].agent_state = WIRE_STATE_FAILED;
}

static void break_standby(void)
{
	lab.now_ns += 1000 * MS;
	view.reported_ns[0] = lab.now_ns;
}

static void break_standby_connection(void)
{
	lab_down(&lab, 1);
}

/* The standby's warm QEMU has ended. */
static void break_warm_qemu(void)
{
	lab.peer[1].state = WIRE_STATE_STANDBY_STARTING;
	report(1, "", "the warm QEMU was killed by signal 9; starting it again");
}

static void break_standby_term(void)
{
	lab.fsm.host[1].term--;
}

/* Both hosts come back from a power failure. */
static void break_power(void)
{
	for (uint8_t h = 0; h < 2; h++) {
		lab.fsm.host[h].cold = (struct vm_cold_word){
			.role = h == 0 ? VM_COLD_PRIMARY : VM_COLD_STANDBY,
			.disk = h == 0 ? VM_COLD_DISK_OWN : VM_COLD_DISK_COPY, .term = 1,
			.ran = 1};
	}
}

/* A cold start was given up, because its host has gone away. */
static void break_start(void)
{
	lab.fsm.record.state = VM_FAILED;
	lab.fsm.cold.is_lost = lab.fsm.may_run[0] = true;
	lab.fsm.host[0].up = false;
	lab.fsm.host[1].cold.role = VM_COLD_FENCED;
}

static void break_unheard(void)
{
	lab.fsm.record.state = VM_FAILED;
	lab.fsm.host[0].up = false;
	lab.fsm.host[1].cold.role = VM_COLD_STANDBY;
}

static void break_stream_hold(void)
{
	lab.config.standby_lost_hold = true;
	lab_stream_down(&lab, 1);
}

static void break_stream(void)
{
	lab_stream_down(&lab, 1);
}

/* The standby has just refused an epoch, and its stream is up again. */
static void break_refused(void)
{
	lab.fsm.protection.standby.n_breaks = 1;
	strcpy(lab.fsm.protection.standby.why, "cannot store epoch 3: no space");
}

static void break_lost_epoch(void)
{
	lab.fsm.protection.complete = 1;
}

static void break_no_epoch(void)
{
	lab.fsm.protection.complete = lab.fsm.protection.committed = 0;
}

static void break_verified(void)
{
	report(0,
	       "disks=in-step\ndisk_verify=failed\n"
	       "disk_verify_why=disk root: is its storage sound?\n",
	       "");
}

static void break_differing(void)
{
	report(0, "disks=in-step\ndisk_verify=running\ndisk_differs=1\n", "");
}

static void break_ram(void)
{
	report(0,
	       HELD VERIFIED "ram_verify=failed\nram_differs=1\n"
			     "ram_verify_why=is its memory sound?\n",
	       "");
}

static void break_ram_page(void)
{
	report(0, HELD VERIFIED "ram_verify=running\nram_differs=1\n", "");
}

static void break_mirror(void)
{
	report(0, "disks=apart\n", "the server of disk root has ended");
}

static void break_direct(void)
{
	report(0, "holding=1\ndirect=1\n" VERIFIED, "");
}

static void break_owner_state(void)
{
	lab.peer[0].state = WIRE_STATE_SYNCING;
	report(0, "", "lost track");
}

static void break_owner_term(void)
{
	lab.fsm.host[0].term--;
}

static void break_hold(void)
{
	report(0, "holding=0\ndirect=0\n" VERIFIED, "");
}

static void break_unheld(void)
{
	relay.unheld_epoch = 2;
}

static void forget_holding(void)
{
	report(0, "direct=0\n" VERIFIED, "");
}

static void forget_direct(void)
{
	report(0, "holding=1\n" VERIFIED, "");
}

static void forget_disks(void)
{
	report(0, HELD "disk_verify=done\ndisk_differs=0\n", "");
}

static void forget_verify(void)
{
	report(0, HELD "disks=in-step\ndisk_differs=0\n", "");
}

static void forget_differs(void)
{
	report(0, HELD "disks=in-step\ndisk_verify=done\n", "");
}

static void forget_owner(void)
{
	report(0, "", "");
}

static void forget_room_free(void)
{
	report(1, "standby_room_needed_bytes=0\n", "");
}

static void forget_room_needed(void)
{
	report(1, "standby_room_free_bytes=300000000\n", "");
}

static void forget_standby(void)
{
	report(1, "", "");
}

static void break_late(void)
{
	lab.fsm.protection.standby.is_waited_for = true;
	lab.fsm.protection.standby.since_ns = lab.now_ns - 1000 * MS;
}

static void break_acknowledged(void)
{
	relay.sent_epoch = 4;
	relay.in_flight[3].epoch = 3;
	relay.in_flight[3].end_ns = lab.now_ns - 1000 * MS;
	relay.in_flight[4].epoch = 4;
	relay.in_flight[4].end_ns = lab.now_ns;
}

static void break_never_committed(void)
{
	lab.fsm.protection.committed_ns = 0; /* as after a restart of the gateway */
}

static void break_commits(void)
{
	lab_run(&lab, 2200, 3);
	report_well();
}

static void break_last_copy(void)
{
	break_stream();
	lab.fsm.host[0].verdict = WIRE_VERDICT_EXITED;
}

static void break_fence(void)
{
	lab.config.fence_required = true;
	view.fence_fault = "its fence_command cannot be run: /sbin/off does not exist";
}

static void break_way_in(void)
{
	block_way(1);
}

static void test_each_row(void **state)
{
	static const struct {
		void (*take_away)(void);
		enum health_word word;
		const char *says;
	} cases[] = {
		{break_power, HEALTH_COLD, "ran it last, in term 1; `holdfastctl start web1`"},
		{break_conflict, HEALTH_CONFLICT, "holdfastctl owner web1 HOST"},
		{break_journal, HEALTH_JOURNAL, "1200 ms"},
		{break_journal_error, HEALTH_JOURNAL, "written: Read-only file system"},
		{break_start, HEALTH_FAILED, "`holdfastctl start web1 --on beta --lose --off"},
		{break_unheard, HEALTH_FAILED, "alpha is not connected, and may have the guest"},
		{break_failed, HEALTH_FAILED, "holdfastctl failover web1"},
		{break_silent_guest, HEALTH_NOT_SERVED, "nothing shows that its guest serves"},
		{break_ended_guest, HEALTH_NOT_SERVED, "beta has an older copy of it"},
		{break_promoting, HEALTH_PROMOTING, "takes over"},
		{break_unprotected, HEALTH_UNPROTECTED, "holdfastctl protect web1"},
		{break_unprotected_unheard, HEALTH_UNPROTECTED, "failover web1 --lose`"},
		{break_unprotected_torn, HEALTH_UNPROTECTED, "; the disks on beta are an"},
		{break_suspended, HEALTH_UNPROTECTED, "protected again by itself"},
		{break_soon_again, HEALTH_UNPROTECTED, "protected again by itself in 00:31"},
		{break_kept_off, HEALTH_UNPROTECTED, "after `holdfastctl undrain beta`"},
		{break_preparing, HEALTH_PREPARING, "beta gets ready"},
		{break_preparing_owner, HEALTH_PREPARING, "alpha was not heard for 1000 ms, so no"},
		{break_syncing_standby, HEALTH_SYNCING, "beta was not heard"},
		{break_syncing, HEALTH_SYNCING, "syncing 42 %, 00:31 left;"},
		{break_syncing_disks, HEALTH_SYNCING, "syncing 7 %, 01:01:40 left;"},
		{break_way_out, HEALTH_SYNCING, "cannot leave: the bridge is gone"},
		{break_state, HEALTH_UNPROTECTED, "unknown"},
		{break_both, HEALTH_OWNER_SILENT, "cut off?"},
		{break_owner, HEALTH_OWNER_SILENT, "alpha was not heard for 1000 ms"},
		{break_owner_connection, HEALTH_OWNER_SILENT, "beta is promoted once"},
		{break_owner_and_copy, HEALTH_OWNER_SILENT, "beta is not promoted: the standby's"},
		{break_degraded, HEALTH_IN_DOUBT, "alpha may have failed: "},
		{break_suspect, HEALTH_IN_DOUBT, "alpha may have failed: "},
		{break_standby, HEALTH_NO_STANDBY, "beta was not heard for 1000 ms"},
		{break_standby_connection, HEALTH_NO_STANDBY, "beta was not heard"},
		{break_warm_qemu, HEALTH_NO_STANDBY, "standby-starting in term 1: the warm QEMU"},
		{break_standby_term, HEALTH_NO_STANDBY, "could not take over"},
		{break_stream, HEALTH_NO_STANDBY, "beta: it has no stream"},
		{break_stream, HEALTH_NO_STANDBY, "goes on without a copy, 00:0"},
		{break_last_copy, HEALTH_NO_STANDBY, "has ended, so its copy is kept, and beta is"},
		{break_stream_hold, HEALTH_NO_STANDBY, "`holdfastctl unprotect web1` lets"},
		{break_refused, HEALTH_NO_STANDBY, "cannot store epoch 3"},
		{break_lost_epoch, HEALTH_NO_STANDBY, "lacks epochs"},
		{break_no_epoch, HEALTH_NO_STANDBY, "lacks epochs"},
		{break_fence, HEALTH_NO_FENCE, "cannot be run: /sbin/off does not"},
		{break_paused, HEALTH_PAUSED, "paused the guest on alpha"},
		{break_ram, HEALTH_RAM, "could not be put right: is its memory sound?"},
		{break_ram_page, HEALTH_RAM, "not all pages were compared since"},
		{break_verified, HEALTH_DISKS, "failed: disk root: is its storage sound?"},
		{break_differing, HEALTH_DISKS, "not all blocks were compared since"},
		{break_mirror, HEALTH_DISKS, "not in step: the server of disk root has ended"},
		{break_direct, HEALTH_NOT_HELD, "without this gateway"},
		{break_owner_state, HEALTH_NOT_HELD, "syncing in term 1: lost track"},
		{break_owner_term, HEALTH_NOT_HELD, "in term 0"},
		{break_hold, HEALTH_NOT_HELD, "before its commit"},
		{break_unheld, HEALTH_NOT_HELD, "before its commit"},
		{forget_holding, HEALTH_NOT_HELD, "alpha does not say whether output is held"},
		{forget_direct, HEALTH_NOT_HELD, "alpha does not say whether output is held"},
		{forget_owner, HEALTH_NOT_HELD, "alpha does not say whether output is held"},
		{forget_disks, HEALTH_DISKS, "alpha does not say whether the disks are in step"},
		{forget_verify, HEALTH_DISKS, "alpha does not say whether the disks are in step"},
		{forget_differs, HEALTH_DISKS, "alpha does not say whether the disks are in step"},
		{forget_room_free, HEALTH_NO_ROOM, "beta does not say how much is free"},
		{forget_room_needed, HEALTH_NO_ROOM, "beta does not say how much is free"},
		{forget_standby, HEALTH_NO_ROOM, "beta does not say how much is free"},
		{break_late, HEALTH_BEHIND, "beta lets nothing be committed for 1000 ms"},
		{break_acknowledged, HEALTH_BEHIND, "acknowledged an epoch for 1000 ms"},
		{break_never_committed, HEALTH_BEHIND, "since this gateway's start"},
		{break_commits, HEALTH_BEHIND, "no epoch was committed for 2200 ms"},
		{break_room, HEALTH_NO_ROOM, "a full copy may need 276 MiB"},
		{break_way_in, HEALTH_NO_WAY, "guest on beta: the bridge is gone"},
	};
	bool is_seen[HEALTH_N_WORDS] = {[HEALTH_SAFE] = true};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)start_protected(state);
		cases[i].take_away();
		if (judge() != cases[i].word || !says(cases[i].says) ||
		    strchr(health.missing, '{') || strchr(health.next, '{'))
			fail_msg("case %zu: %s: %s; %s", i, health_word_name(health.word),
				 health.missing, health.next);
		is_seen[health.word] = true;
	}
	for (size_t i = 0; i < HEALTH_N_WORDS; i++)
		assert_true(is_seen[i]);
}

/* As long as each value is within its limit, the word stays SAFE. */
static void test_limits(void **state)
{
	(void)state;
	view.reported_ns[0] = view.reported_ns[1] = lab.now_ns - 999 * MS;
	assert_int_equal(judge(), HEALTH_SAFE);
	view.reported_ns[0] = lab.now_ns - 1000 * MS;
	assert_int_equal(judge(), HEALTH_OWNER_SILENT);
	report_well();
	lab.fsm.protection.standby.is_waited_for = true;
	lab.fsm.protection.standby.since_ns = lab.now_ns - 999 * MS;
	assert_int_equal(judge(), HEALTH_SAFE);
	lab.fsm.protection.standby.is_waited_for = false;
	lab.fsm.detector.state = DETECTOR_SUSPECT;
	lab.fsm.detector.doubt_ns = 1;
	lab.fsm.detector.clock_ns = 1000 * MS;
	assert_int_equal(judge(), HEALTH_SAFE);
	lab.fsm.detector.state = DETECTOR_PROTECTED;
	/* An agent whose epochs are 10 s apart is not late after 20 s. */
	health_read_signs(HELD VERIFIED "interval_ms_p99=10000.5\n", &signs[0]);
	lab.now_ns += 60000 * MS;
	view.reported_ns[0] = view.reported_ns[1] = lab.now_ns;
	lab.fsm.protection.committed_ns = lab.now_ns - 21900 * MS;
	assert_int_equal(judge(), HEALTH_SAFE);
	lab.fsm.protection.committed_ns = lab.now_ns - 22000 * MS;
	assert_int_equal(judge(), HEALTH_BEHIND);
}

/* Of several causes, the word names the gravest. */
static void test_gravity(void **state)
{
	(void)state;
	break_room();
	break_mirror();
	assert_int_equal(judge(), HEALTH_DISKS);
	break_warm_qemu();
	assert_int_equal(judge(), HEALTH_NO_STANDBY);
	break_suspect();
	assert_int_equal(judge(), HEALTH_IN_DOUBT);
	break_paused(); /* the guest is paused, and so no epochs come: the word is PAUSED */
	assert_int_equal(judge(), HEALTH_PAUSED);
	break_conflict();
	assert_int_equal(judge(), HEALTH_CONFLICT);
}

/* The report of a guest without disks may lack the keys of disks, and a standby that needs no room
 * may report 0. */
static void test_needless_keys(void **state)
{
	(void)state;
	report(0, HELD "disks=none\n", "");
	assert_int_equal(judge(), HEALTH_SAFE);
	report(0, HELD VERIFIED "ram_verify=off\nram_differs=0\n", "");
	assert_int_equal(judge(), HEALTH_SAFE);
	report(1, "standby_room_free_bytes=0\nstandby_room_needed_bytes=0\n", "");
	assert_int_equal(judge(), HEALTH_SAFE);
}

/* An agent's report may have any text. The judgement must not be confused by it. */
static void test_hostile_reports(void **state)
{
	static char text[WIRE_TEXT_MAX + 1];

	(void)state;
	health_read_signs("step_percent=99999999999999999999999\nstep_s_left=18446744073709551615\n"
			  "interval_ms_p99=18446744073709551615\nholding=-1\n"
			  "standby_room_free_bytes=x\nstandby_room_needed_bytes=-1\n"
			  "disk_verify_why=\n",
			  &signs[0]);
	assert_int_equal(signs[0].copy_percent, 100);
	assert_int_equal(signs[0].interval_ns, 10000 * MS);
	assert_false(signs[0].is_holding);
	lab.fsm.record.state = VM_SYNCING;
	assert_int_equal(judge(), HEALTH_SYNCING);
	assert_true(says("syncing 100 %, 99:00:00 left"));
	/* Placeholders such as {vm} are not replaced in a report's text. */
	lab.fsm.record.state = VM_PROTECTED;
	break_mirror();
	view.text[0] = "{vm} {";
	assert_int_equal(judge(), HEALTH_DISKS);
	assert_true(says("not in step: {vm} {"));
	/* A long text is cut. */
	memset(text, 'x', WIRE_TEXT_MAX);
	view.text[0] = text;
	(void)judge();
	assert_int_equal(strlen(health.missing), sizeof(health.missing) - 1);
}

/* A host that never reported is described as not heard "yet". */
static void test_never_heard(void **state)
{
	(void)state;
	view.reported_ns[0] = 0;
	assert_int_equal(judge(), HEALTH_UNPROTECTED);
	assert_true(says("alpha was not heard yet"));
}

/* If the VM's file does not require the fence, a failover can go on without it. */
static void test_fence_is_not_required(void **state)
{
	(void)state;
	break_fence();
	lab.config.fence_required = false;
	assert_int_equal(judge(), HEALTH_SAFE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_each_row, start_protected),
		cmocka_unit_test_setup(test_fence_is_not_required, start_protected),
		cmocka_unit_test_setup(test_limits, start_protected),
		cmocka_unit_test_setup(test_gravity, start_protected),
		cmocka_unit_test_setup(test_needless_keys, start_protected),
		cmocka_unit_test_setup(test_hostile_reports, start_protected),
		cmocka_unit_test_setup(test_never_heard, start_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
