/* test_fsm_left_over.c - tests what may come over a standby's copy that is left of a guest
 * (gateway/vm/fsm_left.c): a protection, a start from disks, a restart, an operator's command. See
 * test_fsm_left.c for how such a copy comes to be left. */
#include "fsm_left_lab.h"

static void failover_off(uint8_t off)
{
	give((struct vm_input){.command = VM_COMMAND_FAILOVER, .may_lose = true,
			       .is_off_named = true, .off = off});
}

static void has_copy(void)
{
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_STANDBY_READY);
	assert_int_equal(lab.peer[BETA].complete, 5);
	assert_false(lab.peer[BETA].order.due);
}

/* The owner's host was reinstalled before it had carried out UNPROTECT, and the gateway was
 * restarted. A protection would overwrite the copy. So none begins by itself, and `protect` is
 * refused until an operator gives the copy up. */
static void test_no_protection_over_the_copy(void **state)
{
	(void)state;
	lab.config.reprotect_auto = true;
	command(VM_COMMAND_UNPROTECT, false);
	lab.journal.is_wanted = true;
	lab_down(&lab, ALPHA);
	lab_restart(&lab);
	comes_back(BETA);
	lab.peer[ALPHA].state = WIRE_STATE_IDLE;
	lab.peer[ALPHA].term = 0;
	comes_back(ALPHA);
	lab_run(&lab, 60000, BOTH);
	has_copy();
	is_now(VM_UNPROTECTED, ALPHA);
	command(VM_COMMAND_PROTECT, false);
	is_refused("would-lose", "unprotect web1 --lose");
	has_copy();
	command(VM_COMMAND_UNPROTECT, true);
	lab_settle(&lab);
	command(VM_COMMAND_PROTECT, false);
	is_now(VM_PREPARING, ALPHA);
}

/* The released guest has ended, and the standby, which was away, still has an older copy. */
static void test_no_protection_after_the_guest_ended(void **state)
{
	(void)state;
	lab_down(&lab, BETA);
	lab_run(&lab, 5500, ONLY_ALPHA);
	lab_settle(&lab);
	lab.peer[ALPHA].state = WIRE_STATE_FAILED;
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_EXITED);
	comes_back(BETA);
	lab_run(&lab, 2000, BOTH);
	command(VM_COMMAND_PROTECT, false);
	is_refused("would-lose", "failover web1 --lose");
	has_copy();
}

/* The standby refuses the first protection of a guest. There is no copy, so its STANDBY_STOP does
 * not wait for anything, and the next attempt begins by itself. */
static void test_a_refused_protection_is_tried_again(void **state)
{
	(void)state;
	lab_init(&lab);
	lab.config.reprotect_auto = true;
	for (uint8_t h = 0; h < 2; h++) {
		lab.peer[h].state = WIRE_STATE_IDLE;
		comes_back(h);
	}
	command(VM_COMMAND_PROTECT, false);
	lab.peer[BETA].order.due = false;
	lab_done(&lab, BETA, WIRE_ORDER_FAILED, "no room");
	is_now(VM_UNPROTECTED, ALPHA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	lab_obey(&lab, BETA);
	for (int i = 0; i < 20 && lab.journal.state == VM_UNPROTECTED; i++) {
		lab_run(&lab, 1000, BOTH);
		lab_report(&lab, ALPHA);
		lab_report(&lab, BETA);
	}
	is_now(VM_PREPARING, ALPHA);
}

/* The owner's host is dead, but its connection is not closed yet. The fence command runs. */
static void test_fence_command_runs_for_a_silent_owner(void **state)
{
	(void)state;
	lab.config.has_fence_command = lab.config.fence_required = true;
	command(VM_COMMAND_UNPROTECT, false);
	lab_run(&lab, 5000, ONLY_BETA);
	assert_true(lab.fsm.host[ALPHA].up);
	command(VM_COMMAND_FAILOVER, true);
	is_now(VM_PROMOTING, BETA);
	assert_true(lab.fence_runs);
}

/* --off says that the owner is off, so no fence command runs. The gateway refuses --off where it
 * knows better, and where nothing asks for it. */
static void test_off_in_place_of_a_fence_command(void **state)
{
	(void)state;
	lab.config.has_fence_command = lab.config.fence_required = true;
	failover_off(ALPHA);
	is_refused("not-possible", "--off goes with --lose");
	command(VM_COMMAND_UNPROTECT, false);
	lab_run(&lab, 5000, ONLY_BETA);
	failover_off(ALPHA);
	is_refused("not-possible", "it is connected");
	lab_down(&lab, ALPHA);
	failover_off(BETA);
	is_refused("not-possible", "it is not the owner");
	failover_off(ALPHA);
	is_now(VM_PROMOTING, BETA);
	assert_false(lab.fence_runs);
}

/* The standby is cut off with its copy. The owner's host boots before it has released the guest, so
 * the copy may have more than the owner's disks: these are not started by themselves. */
static void test_no_start_while_the_copy_is_cut_off(void **state)
{
	(void)state;
	lab.config.cold_start_newest = lab.config.reprotect_auto = true;
	lab.fsm.record.is_wanted = lab.journal.is_wanted = true;
	lab_down(&lab, BETA);
	lab_run(&lab, 5500, ONLY_ALPHA);
	is_now(VM_UNPROTECTED, ALPHA);
	lab_down(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[ALPHA].cold = (struct vm_cold_word){.role = VM_COLD_PRIMARY,
						     .disk = VM_COLD_DISK_OWN, .ran = 1};
	comes_back(ALPHA);
	lab_run(&lab, 60000, ONLY_ALPHA);
	is_now(VM_UNPROTECTED, ALPHA);
	comes_back(BETA);
	has_copy();
}

/* The gateway is restarted after the guest has shut itself down. Nobody wants its copy. */
static void test_a_shutdown_is_seen_after_a_restart(void **state)
{
	(void)state;
	lab_down(&lab, BETA);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_SHUTDOWN);
	lab_restart(&lab);
	lab_up(&lab, ALPHA);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_SHUTDOWN);
	comes_back(BETA);
	lab_run(&lab, 1000, BOTH);
	assert_false(vm_left_is_copy(&lab.fsm, lab.now_ns));
}

/* `unprotect --lose` that is refused gives nothing up. */
static void test_a_refused_unprotect_keeps_the_copy(void **state)
{
	(void)state;
	lab_run(&lab, 100, BOTH);
	command(VM_COMMAND_FAILOVER, false);
	is_now(VM_PROMOTING, BETA);
	command(VM_COMMAND_UNPROTECT, true);
	is_refused("busy", "is being promoted");
	assert_false(lab.fsm.is_copy_unwanted);
}

/* The owner's agent was restarted while the VM is SYNCING, and says that the guest still runs. So
 * the copy is not all that is left. */
static void test_a_guest_that_is_found(void **state)
{
	(void)state;
	lab.fsm.record.state = lab.journal.state = VM_SYNCING;
	lab_down(&lab, ALPHA);
	lab_up(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT, .host = ALPHA,
					       .agent_state = WIRE_STATE_LOST,
					       .term = lab.peer[ALPHA].term});
	assert_true(vm_left_is_copy(&lab.fsm, lab.now_ns));
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT, .host = ALPHA,
					       .agent_state = WIRE_STATE_LOST,
					       .term = lab.peer[ALPHA].term,
					       .is_guest_found = true});
	assert_false(vm_left_is_copy(&lab.fsm, lab.now_ns));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup(test, start_committed)
	const struct CMUnitTest tests[] = {
		TEST(test_no_protection_over_the_copy),
		TEST(test_no_protection_after_the_guest_ended),
		TEST(test_a_refused_protection_is_tried_again),
		TEST(test_fence_command_runs_for_a_silent_owner),
		TEST(test_off_in_place_of_a_fence_command),
		TEST(test_no_start_while_the_copy_is_cut_off),
		TEST(test_a_shutdown_is_seen_after_a_restart),
		TEST(test_a_refused_unprotect_keeps_the_copy),
		TEST(test_a_guest_that_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
