/* test_fsm_promoted.c - tests that a promotion is complete only when the guest has answered. Tests
 * what counts as an answer, when an answer counts, and what is reported if none comes. In each test
 * the promoted host stays the owner. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

static struct lab lab;
static struct detector_evidence evidence;
static bool asks_guest;

/* Start after the command `failover`; the standby has already reported that it runs the guest. */
static int start_promoted(void **state)
{
	(void)state;
	memset(&evidence, 0, sizeof(evidence));
	asks_guest = true;
	lab_start_protected(&lab);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	lab_settle(&lab);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_equal(lab.journal.owner, 1);
	return 0;
}

static void run(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 10) {
		lab.now_ns += 10 * MS;
		evidence.guest.sent += asks_guest;
		(void)lab_feed(&lab,
			       (struct vm_input){.kind = VM_IN_TICK,
						 .relayed_bytes = lab.relayed_bytes,
						 .evidence = &evidence,
						 .asks_guest = asks_guest,
						 .guest_answers = evidence.guest.answered
									  ? "it answered ICMP echo"
									  : NULL});
		lab_beat(&lab, 0);
		lab_beat(&lab, 1);
	}
	assert_int_equal(lab.journal.owner, 1);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

static void report(uint64_t vcpu_us, uint64_t frames)
{
	const struct lab_peer *p = &lab.peer[1];

	(void)lab_feed(&lab, (struct vm_input){.kind = VM_IN_REPORT,
					       .host = 1,
					       .agent_state = p->state,
					       .role = WIRE_VM_ROLE_PRIMARY,
					       .term = p->term,
					       .guest = {.is_valid = true,
							 .was_running = true,
							 .knows_frames = true,
							 .term = p->term,
							 .vcpu_us = vcpu_us,
							 .frames = frames}});
}

static void test_it_answers(void **state)
{
	(void)state;
	run(40);
	assert_false(lab.replied);
	assert_true(vm_promoted_asks(&lab.fsm, lab.now_ns));
	evidence.guest.answered++;
	run(10);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "done");
	assert_non_null(strstr(lab.last_reply.text,
			       "beta runs web1 in term 2, it answered ICMP echo 50 ms after"));
	assert_false(vm_promoted_asks(&lab.fsm, lab.now_ns));
}

/* Answers that came before the promotion do not count: the guest on the other host sent them. */
static void test_answers_of_before(void **state)
{
	(void)state;
	evidence.guest = (struct detector_probe){.sent = 100, .answered = 100};
	run(4000);
	assert_false(lab.replied);
}

/* The guest cannot run on the new host's CPU: its vCPU spins, and the guest sends nothing. The
 * operator gets an error, and an event raises the alarm. */
static void test_it_is_silent(void **state)
{
	unsigned int n_asked = 0;

	(void)state;
	report(1000000, 0);
	run(4900);
	assert_false(lab.replied);
	run(200);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_string_equal(lab.last_reply.code, "no-answer");
	assert_non_null(strstr(lab.last_reply.text, "0 of 499 probes answered"));
	assert_non_null(strstr(lab.last_reply.text,
			       "0 frames from it, 1000 ms of CPU time, QEMU says running"));
	assert_non_null(strstr(lab.last_event, "alarm: beta was promoted in term 2, but"));
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	/* The gateway still probes the guest from time to time, and reports when the guest
	 * answers. */
	for (int i = 0; i < 100; i++) {
		run(100);
		n_asked += vm_promoted_asks(&lab.fsm, lab.now_ns);
	}
	assert_in_range(n_asked, 15, 25);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	evidence.guest.answered++;
	run(10);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SERVES);
	assert_non_null(strstr(lab.last_event, "serves: it answered ICMP echo"));
}

/* The guest runs, but its tap is in no bridge, so no client can reach it. Its frames alone do not
 * count as an answer. */
static void test_frames_but_no_answer(void **state)
{
	(void)state;
	report(1000, 3);
	run(4900);
	assert_false(lab.replied);
	run(200);
	assert_string_equal(lab.last_reply.code, "no-answer");
	assert_non_null(strstr(lab.last_reply.text, "3 frames from it"));
}

static void test_without_probes(void **state)
{
	(void)state;
	asks_guest = false;
	report(1000, 0);
	run(1000);
	assert_false(lab.replied);
	report(2000, 1); /* this report alone counts as an answer */
	run(10);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "it sent frames"));
	/* The guest sends no frames, but its vCPUs run. The reply says that the gateway can see no
	 * more than that. */
	start_promoted(NULL);
	asks_guest = false;
	report(1000, 0);
	run(5100);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "more cannot be seen"));
	/* The guest's vCPUs do not run. */
	start_promoted(NULL);
	asks_guest = false;
	report(0, 0);
	run(5100);
	assert_string_equal(lab.last_reply.code, "no-answer");
	/* There is nothing to wait for: no guest_address is set, and the host says nothing about
	 * the guest. */
	start_promoted(NULL);
	asks_guest = false;
	run(10);
	assert_true(lab.replied && lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "nobody can see"));
}

/* A report about an earlier promotion does not count for the present one. A new protection ends the
 * wait for an answer. */
static void test_terms(void **state)
{
	(void)state;
	asks_guest = false;
	lab.peer[1].term = 1;
	report(1000, 9);
	lab.peer[1].term = 2;
	assert_false(lab.fsm.protection.promoted.said.is_valid);
	asks_guest = true;
	run(5100);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_SILENT);
	lab_report(&lab, 0);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_NONE);
	assert_false(vm_promoted_asks(&lab.fsm, lab.now_ns));
}

/* A restarted gateway learns of the promoted guest from its owner's first report. That report must
 * not begin a protection, which would end the stopped guest of the other host. */
static void test_a_restart_keeps_the_doubt(void **state)
{
	(void)state;
	lab.config.reprotect_auto = lab.journal.is_wanted = true;
	lab_restart(&lab);
	lab_up(&lab, 0);
	lab_report(&lab, 0);
	assert_int_equal(lab.peer[0].state, WIRE_STATE_FENCED);
	lab_up(&lab, 1);
	report(0, 0);
	assert_int_equal(lab.fsm.protection.promoted.state, VM_PROMOTED_WATCHED);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_false(lab.peer[0].order.due);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_it_answers, start_promoted),
		cmocka_unit_test_setup(test_a_restart_keeps_the_doubt, start_promoted),
		cmocka_unit_test_setup(test_answers_of_before, start_promoted),
		cmocka_unit_test_setup(test_it_is_silent, start_promoted),
		cmocka_unit_test_setup(test_frames_but_no_answer, start_promoted),
		cmocka_unit_test_setup(test_without_probes, start_promoted),
		cmocka_unit_test_setup(test_terms, start_promoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
