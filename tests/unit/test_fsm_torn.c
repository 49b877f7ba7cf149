/* test_fsm_torn.c - tests what the gateway does with disks that are an unfinished copy: a copy onto
 * them was interrupted, so some blocks are newer than others
 * (docs/decisions/0073-torn-disks.md). */
#include "fsm_cold_lab.h"

static const struct vm_cold_word was_primary = {.role = VM_COLD_PRIMARY, .disk = VM_COLD_DISK_OWN,
						.ran = 1};
static const struct vm_cold_word was_unsound = {.role = VM_COLD_PRIMARY, .ran = 1,
						.disk = VM_COLD_DISK_UNSOUND};
static const struct vm_cold_word is_torn = {.role = VM_COLD_STANDBY, .disk = VM_COLD_DISK_TORN};

/* Restart the gateway. Both hosts have lost their memory, and report @alpha and @beta from their
 * disks. */
static void cut_power(struct vm_cold_word alpha, struct vm_cold_word beta)
{
	for (int h = 0; h < 2; h++)
		lab.peer[h] = (struct lab_peer){.state = WIRE_STATE_IDLE, .term = 1};
	lab.peer[ALPHA].state = WIRE_STATE_LOST;
	lab.peer[ALPHA].cold = alpha;
	lab.peer[BETA].cold = beta;
	lab_restart(&lab);
	lab.now_ns += 60000 * MS;
}

static void is_refused(const char *code)
{
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, code);
	assert_int_equal(lab.n_starts, 0);
}

static void runs_on(uint8_t h)
{
	assert_int_equal(lab.n_starts, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, h);
	assert_int_equal(lab.journal.term, 2);
}

/* `start web1 --on HOST` */
static void start_on(uint8_t h, bool may_lose, bool may_be_torn)
{
	lab.replied = false;
	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_COMMAND, .op_id = 77, .host = h,
					       .command = VM_COMMAND_START, .is_host_named = true,
					       .may_lose = may_lose, .may_be_torn = may_be_torn});
}

/* The owner dies while it copies its disks to beta, and never comes back. `--lose` alone does not
 * start the guest from beta's disks. */
static void test_an_unfinished_copy(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 1, .owner = ALPHA, .state = VM_UNPROTECTED};
	cut_power(was_primary, is_torn);
	comes_back(BETA);
	assert_non_null(strstr(lab.last_event, "the disks on beta are an unfinished copy"));
	strcpy(lab.last_event, "");
	lab_report(&lab, BETA);
	assert_string_equal(lab.last_event, ""); /* beta's next report causes no second event */
	wait_ms(60000);
	start_on(BETA, false, false);
	is_refused("not-cold");
	start_on(BETA, true, false);
	is_refused("torn");
	assert_non_null(strstr(lab.last_reply.text, "--torn starts them"));
	start_on(BETA, false, true); /* --torn does not include --lose */
	is_refused("not-cold");
	lab.is_forced = true;
	start_on(BETA, true, true);
	wait_ms(1000);
	runs_on(BETA);
	assert_true(lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "in term 2; they are an unfinished copy"));
}

/* The protection ends in the middle of a first copy. The event comes only when the standby has
 * dropped its copy of the guest's memory and has nothing but its disks. */
static void test_the_end_of_a_copy(void **state)
{
	(void)state;
	lab.config.cold_start_newest = false;
	lab.peer[BETA].cold = (struct vm_cold_word){.disk = VM_COLD_DISK_TORN};
	lab_report(&lab, BETA); /* beta still has a copy of the guest, so there is no event */
	assert_null(strstr(lab.last_event, "unfinished"));
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	lab_settle(&lab);
	assert_null(strstr(lab.last_event, "unfinished"));
	lab.peer[BETA].cold.role = VM_COLD_NONE;
	lab_report(&lab, BETA);
	assert_non_null(strstr(lab.last_event, "the disks on beta are an unfinished copy"));
}

/* Beta stands by for the next copy, but has received no epoch of that copy yet. So beta reports no
 * role, but still reports that its disks are an unfinished copy. */
static void test_before_the_next_copy(void **state)
{
	(void)state;
	lab.journal = (struct vm_record){.term = 1, .owner = ALPHA, .state = VM_SYNCING};
	cut_power(was_primary, (struct vm_cold_word){.disk = VM_COLD_DISK_TORN});
	lab.peer[BETA].state = WIRE_STATE_STANDBY_WARM;
	comes_back(BETA);
	start_on(BETA, true, false);
	is_refused("torn");
}

/* Both hosts are back. Beta's disks, which are an unfinished copy, are never chosen, but the guest
 * can be started from alpha's disks. */
static void test_beside_an_unfinished_copy(void **state)
{
	(void)state;
	cut_power(was_primary, is_torn);
	both_come_back();
	runs_on(ALPHA);
	assert_null(strstr(lab.last_state, "unfinished"));
}

static void test_only_an_unfinished_copy(void **state)
{
	(void)state;
	cut_power(was_unsound, is_torn);
	both_come_back();
	wait_ms(60000);
	assert_non_null(strstr(lab.last_event, "beta: an unfinished copy"));
	start_on(BETA, true, false);
	is_refused("torn");
	start_on(ALPHA, true, false);
	wait_ms(2000);
	runs_on(ALPHA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_unfinished_copy, start),
		cmocka_unit_test_setup(test_the_end_of_a_copy, start),
		cmocka_unit_test_setup(test_before_the_next_copy, start),
		cmocka_unit_test_setup(test_beside_an_unfinished_copy, start),
		cmocka_unit_test_setup(test_only_an_unfinished_copy, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
