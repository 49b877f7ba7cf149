/* test_fsm_left.c - tests that the gateway never lets the standby's whole copy go while that copy
 * may be all that is left of the guest (docs/decisions/0074-copy-that-is-left.md). fsm_lab.h checks
 * at each order STANDBY_STOP that the owner holds no output any more. */
#include "fsm_left_lab.h"

static const struct vm_cold_word was_primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN,
						.ran = 1};

/* The host of alpha was booted: its agent knows from its disk only that the guest was protected. */
static void boots_alpha(void)
{
	lab_down(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[ALPHA].cold = was_primary;
	comes_back(ALPHA);
}

static void has_copy(void)
{
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_STANDBY_READY);
	assert_int_equal(lab.peer[BETA].complete, 5);
}

/* Check that `failover` is refused without --lose, and that with --lose the guest goes on from
 * beta's copy. */
static void goes_on_from_copy(void)
{
	command(VM_COMMAND_FAILOVER, false);
	is_refused("would-lose", "failover web1 --lose");
	command(VM_COMMAND_FAILOVER, true);
	is_now(VM_PROMOTING, BETA);
	lab_run(&lab, 300, ONLY_BETA);
	is_ordered(BETA, WIRE_VERB_PROMOTE);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_RUNNING);
}

/* The owner releases the guest first, and only then does the standby stop. */
static void test_release_comes_first(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	assert_false(lab.peer[BETA].order.due);
	lab_run(&lab, 1000, BOTH);
	assert_false(lab.peer[BETA].order.due);
	lab_obey(&lab, ALPHA);
	assert_true(lab.replied && lab.last_reply.ok);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	lab_settle(&lab);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_IDLE);
	command(VM_COMMAND_FAILOVER, true);
	is_refused("not-protected", "no standby");
}

/* The owner's host dies before it has carried UNPROTECT out. So beta's copy is kept. */
static void test_owner_dies_before_release(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	lab_run(&lab, 100, BOTH);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 120000, ONLY_BETA);
	assert_false(lab.peer[BETA].order.due);
	has_copy();
	/* a further `unprotect` does not end beta's copy */
	command(VM_COMMAND_UNPROTECT, false);
	assert_false(lab.peer[BETA].order.due);
	goes_on_from_copy();
	comes_back(ALPHA);
	is_ordered(ALPHA, WIRE_VERB_FENCE);
}

/* The operator's `unprotect` waits, because the dead owner does not answer UNPROTECT. `failover`
 * need not wait for its end. */
static void test_failover_ends_a_waiting_unprotect(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	assert_false(lab.replied);
	lab_run(&lab, 5000, ONLY_BETA); /* alpha is silent, but connected */
	goes_on_from_copy();
}

/* The policy standby_lost ends the protection, and then the owner dies. The copy is kept, because
 * it may be all that is left of the guest. */
static void test_standby_lost_is_no_reason(void **state)
{
	(void)state;
	lab_stream_down(&lab, BETA);
	lab_run(&lab, 5500, BOTH);
	is_now(VM_UNPROTECTED, ALPHA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 60000, ONLY_BETA);
	assert_false(lab.peer[BETA].order.due);
	goes_on_from_copy();
}

/* The gateway is restarted before the owner has carried UNPROTECT out. Until the owner is back and
 * has done so, the copy is kept. */
static void test_restart_before_release(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	lab_restart(&lab);
	comes_back(BETA);
	lab_run(&lab, 60000, ONLY_BETA);
	assert_false(lab.peer[BETA].order.due);
	has_copy();
	/* the owner lives after all */
	comes_back(ALPHA);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	assert_false(lab.peer[BETA].order.due);
	command(VM_COMMAND_PROTECT, false);
	is_refused("busy", "has not yet confirmed");
	command(VM_COMMAND_FAILOVER, true);
	is_refused("not-protected", "no standby");
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_IDLE);
}

static void test_restart_and_owner_never_back(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	lab_restart(&lab);
	comes_back(BETA);
	lab_run(&lab, 60000, ONLY_BETA);
	goes_on_from_copy();
}

/* The owner's host is booted before it has carried UNPROTECT out. If UNPROTECT were sent now, the
 * agent would obey and record that the guest was released, although no guest is left. So it is not
 * sent, and beta's copy is kept. */
static void test_owner_boots_before_release(void **state)
{
	(void)state;
	lab.config.has_fence_command = true;
	command(VM_COMMAND_UNPROTECT, false);
	boots_alpha();
	assert_false(lab.peer[ALPHA].order.due);
	assert_false(lab.peer[BETA].order.due);
	lab_run(&lab, 60000, BOTH);
	assert_false(lab.peer[ALPHA].order.due);
	assert_false(lab.peer[BETA].order.due);
	goes_on_from_copy(); /* alpha is connected, so no fence command runs */
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_FENCED);
}

/* The owner released the guest long ago, while the standby was away. Then the owner's host is
 * booted. Its disks are newer than the standby's copy, so the copy is ended. */
static void test_owner_boots_after_release(void **state)
{
	(void)state;
	lab_down(&lab, BETA);
	lab_run(&lab, 5500, 1);
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, ALPHA);
	lab_down(&lab, ALPHA);
	lab.peer[ALPHA].state = WIRE_STATE_IDLE;
	lab.peer[ALPHA].cold = (struct vm_cold_word){.role = VM_COLD_RUNNING, .ran = 2,
						     .disk = VM_COLD_DISK_OWN};
	comes_back(BETA);
	assert_false(lab.peer[BETA].order.due);
	comes_back(ALPHA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
}

/* The owner is away, so `failover --lose` runs the fence command before beta runs the guest. */
static void test_fence_command_runs_first(void **state)
{
	(void)state;
	lab.config.has_fence_command = true;
	command(VM_COMMAND_UNPROTECT, false);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 1000, ONLY_BETA);
	command(VM_COMMAND_FAILOVER, true);
	assert_true(lab.fence_runs);
	lab_run(&lab, 1000, ONLY_BETA);
	assert_false(lab.peer[BETA].order.due);
	assert_true(lab_fenced(&lab, WIRE_ORDER_OK));
	lab_settle(&lab);
	is_now(VM_UNPROTECTED, BETA);
}

/* An operator who does not want the copy ends it with `unprotect --lose`. */
static void test_the_copy_is_given_up(void **state)
{
	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 1000, ONLY_BETA);
	command(VM_COMMAND_UNPROTECT, true);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	/* the same after a restart of the gateway */
	lab_restart(&lab);
	comes_back(BETA);
	assert_false(lab.peer[BETA].order.due);
	command(VM_COMMAND_UNPROTECT, true);
	assert_true(lab.last_reply.ok);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
}

/* If a guest has shut itself down, nobody needs its copy, so the copy is ended. */
static void test_a_guest_that_shut_itself_down(void **state)
{
	(void)state;
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_SHUTDOWN);
	is_now(VM_UNPROTECTED, ALPHA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
}

/* Bring the VM to SYNCING: held output cannot leave. If @is_restarted, the gateway is then
 * restarted, and no longer knows that beta has all that was committed. */
static void begin_syncing(bool is_restarted)
{
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = ALPHA, .agent_state = lab.peer[ALPHA].state,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[ALPHA].term,
		.epoch = lab.peer[ALPHA].committed, .way = "no-carrier", .text = "eth1 is down"});
	is_now(VM_SYNCING, ALPHA);
	if (!is_restarted)
		return;
	lab_restart(&lab);
	comes_back(BETA);
	assert_int_equal(lab_stream_up(&lab, BETA, WIRE_VM_ROLE_STANDBY), 0);
}

/* The owner dies in SYNCING. beta's copy is kept. */
static void test_owner_dies_while_syncing(void **state)
{
	(void)state;
	begin_syncing(true);
	lab_run(&lab, 60000, ONLY_BETA);
	is_now(VM_UNPROTECTED, ALPHA);
	assert_false(lab.peer[BETA].order.due);
	has_copy();
	goes_on_from_copy();
}

/* In SYNCING, an operator can fail over before the protection is given up. The old owner's lease is
 * over before beta runs the guest (fsm_lab.h checks it). */
static void test_failover_while_syncing(void **state)
{
	(void)state;
	begin_syncing(true);
	lab_run(&lab, 5000, ONLY_BETA);
	is_now(VM_SYNCING, ALPHA);
	goes_on_from_copy();
}

/* The owner is away in SYNCING, and comes back before an operator has decided. It still has the
 * guest, so the copy is ended and is not promoted. */
static void test_owner_returns_after_syncing(void **state)
{
	(void)state;
	begin_syncing(true);
	lab_run(&lab, 60000, ONLY_BETA);
	comes_back(ALPHA);
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
	command(VM_COMMAND_FAILOVER, true);
	is_refused("not-protected", "no standby");
	lab_settle(&lab);
	assert_int_equal(lab.peer[ALPHA].state, WIRE_STATE_RUNNING);
	assert_int_equal(lab.peer[BETA].state, WIRE_STATE_IDLE);
}

/* The owner's QEMU has ended, but the guest did not shut itself down. So beta's copy is kept. */
static void test_guest_dies_while_syncing(void **state)
{
	(void)state;
	begin_syncing(true);
	lab_up(&lab, ALPHA);
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_EXITED);
	is_now(VM_UNPROTECTED, ALPHA);
	/* alpha's agent answers UNPROTECT, and reports that no QEMU runs the guest */
	lab.peer[ALPHA].order.due = false;
	lab.peer[ALPHA].term = lab.journal.term;
	lab.peer[ALPHA].state = WIRE_STATE_FAILED;
	lab_report_verdict(&lab, ALPHA, WIRE_VERDICT_EXITED);
	lab_done(&lab, ALPHA, WIRE_ORDER_OK, "");
	lab_run(&lab, 60000, BOTH);
	assert_false(lab.peer[BETA].order.due);
	has_copy();
	goes_on_from_copy();
}

/* The owner dies in the middle of the first copy of its disks. The standby has whole epochs of the
 * memory already, but they are of no use without the disks. */
static void test_unfinished_disks_are_no_copy(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	lab.peer[BETA].complete = 3;
	lab.peer[BETA].cold = (struct vm_cold_word){.role = VM_COLD_NOT, .disk = VM_COLD_DISK_TORN};
	lab.unheld = 3;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_EPOCH_ACK, .host = BETA, .epoch = 3,
					       .term = lab.journal.term, .is_unheld = true});
	lab_report(&lab, BETA);
	is_now(VM_SYNCING, ALPHA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 31000, ONLY_BETA);
	is_now(VM_UNPROTECTED, ALPHA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	command(VM_COMMAND_FAILOVER, true);
	is_refused("not-protected", "no standby");
}

/* A first copy that is not whole is of no use, so it is stopped at once. */
static void test_an_unfinished_copy_is_stopped(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	is_now(VM_SYNCING, ALPHA);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 31000, ONLY_BETA);
	is_now(VM_UNPROTECTED, ALPHA);
	is_ordered(BETA, WIRE_VERB_STANDBY_STOP);
	command(VM_COMMAND_FAILOVER, true);
	is_refused("not-protected", "no standby");
	/* no copy is left, so alpha may run the guest that was started when its host booted */
	lab_settle(&lab);
	boots_alpha();
	is_ordered(ALPHA, WIRE_VERB_UNPROTECT);
}

/* While beta's copy may be all that is left, a drain of beta does not end it, and tells the
 * operator to fail over. */
static void test_a_drain_sees_it(void **state)
{
	char why[VM_TEXT_MAX];

	(void)state;
	command(VM_COMMAND_UNPROTECT, false);
	lab_down(&lab, ALPHA);
	lab_run(&lab, 1000, ONLY_BETA);
	assert_int_equal(vm_drain_look(&lab.fsm, BETA, false, why, sizeof(why)), VM_DRAIN_STUCK);
	assert_non_null(strstr(why, "failover web1 --lose"));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup(test, start_committed)
	const struct CMUnitTest tests[] = {
		TEST(test_release_comes_first),
		TEST(test_owner_dies_before_release),
		TEST(test_failover_ends_a_waiting_unprotect),
		TEST(test_standby_lost_is_no_reason),
		TEST(test_restart_before_release),
		TEST(test_restart_and_owner_never_back),
		TEST(test_owner_boots_before_release),
		TEST(test_owner_boots_after_release),
		TEST(test_fence_command_runs_first),
		TEST(test_the_copy_is_given_up),
		TEST(test_a_guest_that_shut_itself_down),
		TEST(test_owner_dies_while_syncing),
		TEST(test_failover_while_syncing),
		TEST(test_owner_returns_after_syncing),
		TEST(test_guest_dies_while_syncing),
		TEST(test_unfinished_disks_are_no_copy),
		TEST(test_an_unfinished_copy_is_stopped),
		TEST(test_a_drain_sees_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
