/* Tests what happens when an agent reports that a protected guest of its host has changed.
 * fsm_lab.h checks the rules. */
#include "fsm_lab.h"

#define AGAIN_MS 10000 /* the wait after the first failure; each further failure doubles it */

static struct lab lab;

static int start(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

/* Let the owner report. @is_uncovered: its guest has a part that the protection does not cover.
 * @is_covered_again: the protection covers all parts again. */
static void report(bool is_uncovered, bool is_covered_again)
{
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = 0, .agent_state = lab.peer[0].state,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[0].term,
		.epoch = lab.peer[0].committed, .is_uncovered = is_uncovered,
		.is_covered_again = is_covered_again, .text = is_uncovered ? "added: rng1" : NULL});
}

/* Let the owner report that the guest still differs from what was protected. @is_watched: the owner
 * goes on comparing. */
static void report_watched(bool is_watched)
{
	(void)lab_feed(&lab, (struct vm_input){
		.kind = VM_IN_REPORT, .host = 0, .agent_state = lab.peer[0].state,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[0].term,
		.knows_suspended = true, .is_suspended = is_watched});
}

static void is_now(enum vm_state state, uint64_t term)
{
	assert_int_equal(lab.journal.state, state);
	assert_int_equal(lab.journal.term, term);
	assert_int_equal(lab.journal.owner, 0);
	assert_int_equal(lab.n_promotions, 0);
}

/* In PREPARING of term @term, let the standby get ready, and let the owner refuse to protect the
 * guest. */
static void refuse_protect(uint64_t term)
{
	assert_true(lab_obey(&lab, 1));
	lab_done(&lab, 0, WIRE_ORDER_FAILED, "added: rng1");
	is_now(VM_UNPROTECTED, term + 1);
	lab_settle(&lab);
}

static void test_suspended_and_again(void **state)
{
	(void)state;
	report(true, false);
	is_now(VM_UNPROTECTED, 2);
	assert_non_null(strstr(lab.last_event, "suspended: alpha says: added: rng1"));
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	report(true, false); /* these reports are late: they carry the old term */
	report(false, true);
	is_now(VM_UNPROTECTED, 2);
	lab_settle(&lab);
	report(false, true);
	is_now(VM_PREPARING, 3);
	lab_settle(&lab);
	lab_ack(&lab, 1);
	is_now(VM_PROTECTED, 3);
}

/* If the standby is not ready, the gateway asks it again, but not at once. */
static void test_again_is_tried_again(void **state)
{
	(void)state;
	report(true, false);
	lab_settle(&lab);
	report(false, true);
	lab_done(&lab, 1, WIRE_ORDER_FAILED, "no room");
	is_now(VM_UNPROTECTED, 4);
	lab_settle(&lab);
	lab_report(&lab, 0);
	report(false, true);
	is_now(VM_UNPROTECTED, 4);
	lab_run(&lab, AGAIN_MS, 3);
	report(false, true);
	is_now(VM_UNPROTECTED, 4);
	/* The end of the protection counts as the first failure, so this second wait is twice as
	 * long. */
	lab_run(&lab, AGAIN_MS, 3);
	report(false, true);
	is_now(VM_PREPARING, 5);
	/* If the owner refuses, the gateway tries again later, too. */
	assert_true(lab_obey(&lab, 1));
	lab_done(&lab, 0, WIRE_ORDER_FAILED, "not now");
	is_now(VM_UNPROTECTED, 6);
	lab_settle(&lab);
	lab_run(&lab, 4 * AGAIN_MS, 3);
	report(false, true);
	is_now(VM_PREPARING, 7);
}

/* If the guest changes during the first copy, the waiting operator is told so in the reply. */
static void test_changed_before_it_is_protected(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_true(lab_obey(&lab, 1));
	assert_true(lab_obey(&lab, 0));
	report(true, false);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_string_equal(lab.last_reply.code, "guest-changed");
	assert_non_null(strstr(lab.last_reply.text, "added: rng1"));
}

static void test_an_operators_word_counts_more(void **state)
{
	(void)state;
	report(true, false);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	assert_true(lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "not be protected again by itself"));
	report(false, true);
	is_now(VM_UNPROTECTED, 2);
}

/* A protection has ended for another reason than a change of the guest, or for a reason that the
 * gateway does not know. An agent's report must not restart such a protection. */
static void test_no_agent_begins_a_protection(void **state)
{
	(void)state;
	lab_report_verdict(&lab, 0, WIRE_VERDICT_SHUTDOWN);
	lab_settle(&lab);
	report(false, true);
	is_now(VM_UNPROTECTED, 2);

	lab_start_protected(&lab);
	report(true, false);
	lab_settle(&lab);
	lab_restart(&lab);
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	report(false, true);
	is_now(VM_UNPROTECTED, 2);
}

/* The owner's agent or the guest's QEMU was restarted, so no agent knows any more whether the guest
 * is again as it was when it was protected. Under `reprotect = auto` the gateway then tries by
 * itself to protect the guest. */
static void test_nobody_watches_under_auto(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_protect(&lab);
	report(true, false);
	report(false, false); /* the order to end the protection is on its way */
	lab_settle(&lab);
	for (int i = 0; i < 10; i++) { /* while the agent compares, wait for its report */
		report_watched(true);
		lab_run(&lab, AGAIN_MS, 3);
		is_now(VM_UNPROTECTED, 2);
	}
	lab_down(&lab, 0);
	lab_up(&lab, 0);
	report(false, false);
	is_now(VM_PREPARING, 3);
	refuse_protect(3);
	for (uint64_t wait_ms = 2 * AGAIN_MS; wait_ms < 200000; wait_ms *= 2) {
		uint64_t term = lab.journal.term;

		lab_run(&lab, wait_ms - 1000, 3);
		report(false, false);
		is_now(VM_UNPROTECTED, term);
		lab_run(&lab, 1000, 3);
		report(false, false);
		is_now(VM_PREPARING, term + 1);
		refuse_protect(term + 1);
	}
}

/* No agent compares the guest any more, and its protection has ended only just now. Under
 * `reprotect = auto` the gateway first waits for AGAIN_MS. */
static void test_nobody_watches_and_the_wait(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab.config.reprotect_auto = true;
	lab_protect(&lab);
	report(true, false);
	lab_settle(&lab);
	report(false, false);
	is_now(VM_UNPROTECTED, 2);
	lab_run(&lab, AGAIN_MS - 1000, 3);
	report(false, false);
	is_now(VM_UNPROTECTED, 2);
	lab_run(&lab, 1000, 3);
	report(false, false);
	is_now(VM_PREPARING, 3);
}

static void test_nobody_watches_under_ask(void **state)
{
	(void)state;
	report(true, false);
	report_watched(false); /* the order to end the protection is on its way */
	lab_settle(&lab);
	report_watched(true);
	lab_run(&lab, AGAIN_MS, 3);
	report_watched(true);
	assert_int_equal(lab.fsm.again.when, VM_AGAIN_COVERED);
	report_watched(false);
	assert_int_equal(lab.fsm.again.when, VM_AGAIN_NEVER);
	assert_non_null(strstr(lab.last_event, "alpha no longer knows what was protected"));
	lab_run(&lab, AGAIN_MS, 3);
	report(false, true);
	is_now(VM_UNPROTECTED, 2);
	/* An older agent does not say whether it still compares the guest with what was protected.
	 * So the gateway waits for that agent's report that the guest is covered again. */
	lab_start_protected(&lab);
	report(true, false);
	lab_settle(&lab);
	report(false, false);
	lab_run(&lab, AGAIN_MS, 3);
	report(false, true);
	is_now(VM_PREPARING, 3);
}

/* If the guest ends while its protection is suspended, the protection does not resume: the next
 * guest of that name may be a different one. */
static void test_guest_ends_while_suspended(void **state)
{
	(void)state;
	for (int is_auto = 0; is_auto < 2; is_auto++) {
		lab_connect_both(&lab);
		lab.config.reprotect_auto = is_auto;
		lab_protect(&lab);
		report(true, false);
		lab_settle(&lab);
		report_watched(true);
		lab_report_verdict(&lab, 0, WIRE_VERDICT_EXITED);
		assert_false(lab.journal.is_wanted);
		assert_int_equal(lab.fsm.again.when, VM_AGAIN_NEVER);
		lab_run(&lab, AGAIN_MS, 3);
		report(false, true);
		is_now(VM_UNPROTECTED, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_suspended_and_again, start),
		cmocka_unit_test_setup(test_again_is_tried_again, start),
		cmocka_unit_test_setup(test_changed_before_it_is_protected, start),
		cmocka_unit_test_setup(test_an_operators_word_counts_more, start),
		cmocka_unit_test_setup(test_no_agent_begins_a_protection, start),
		cmocka_unit_test(test_nobody_watches_under_auto),
		cmocka_unit_test(test_nobody_watches_and_the_wait),
		cmocka_unit_test_setup(test_nobody_watches_under_ask, start),
		cmocka_unit_test(test_guest_ends_while_suspended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
