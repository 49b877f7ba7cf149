/* test_fsm_way.c - tests what happens when something blocks the path between clients and the guest.
 * A VM becomes PROTECTED only if clients would be able to reach the guest on the standby's host
 * after a failover. It does not stay PROTECTED while held frames cannot leave. fsm_lab.h checks the
 * rules of vm/fsm.h. */
#include "fsm_lab.h"

static struct lab lab;

static void report_way(uint8_t h, const char *way, const char *text, uint64_t n_mended)
{
	struct vm_input in = {
		.kind = VM_IN_REPORT, .host = h, .agent_state = lab.peer[h].state,
		.role = h == 0 ? WIRE_VM_ROLE_PRIMARY : WIRE_VM_ROLE_STANDBY,
		.term = lab.peer[h].term, .epoch = lab.peer[h].complete,
		.way = way, .text = text, .n_mended = n_mended,
	};

	assert_true(lab_feed(&lab, in));
}

/* Start a protection. The standby has started its QEMU. But its first report says that the tap's
 * bridge port does not forward yet. */
static int start_preparing(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab.peer[1].term = lab.peer[1].order.term;
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	lab_done(&lab, 1, WIRE_ORDER_OK, "");
	assert_int_equal(lab.journal.state, VM_PREPARING);
	return 0;
}

static int start_protected(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	return 0;
}

/* Spanning tree needs time before the port forwards. Until then, the primary is not ordered to
 * protect its guest, and the VM is not reported as protected. */
static void test_standby_waits_for_its_port(void **state)
{
	(void)state;
	report_way(1, "listening", "tap tap0 cannot serve clients: its port is listening", 0);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	assert_non_null(strstr(lab.last_event, "listening"));
	lab_run(&lab, 31000, 3);
	assert_int_equal(lab.journal.state, VM_PREPARING);
	report_way(1, NULL, "", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_PROTECT);
	assert_false(lab.replied);
}

static void test_standby_without_an_obstacle(void **state)
{
	(void)state;
	report_way(1, NULL, "", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

/* The standby's tap is in no bridge, so the protection fails. The waiting operator gets the reason
 * that the host reported. */
static void test_standby_never_gets_ready(void **state)
{
	(void)state;
	report_way(1, "no-bridge", "tap tap0 is no port of a bridge", 0);
	lab_run(&lab, 2 * lab.config.order_timeout_ns / MS + 100, 3);
	assert_true(lab.replied && !lab.last_reply.ok);
	assert_non_null(strstr(lab.last_reply.text, "tap tap0 is no port of a bridge"));
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_int_not_equal(lab.last_order[0].verb, WIRE_VERB_PROTECT);
}

static void test_held_frames_cannot_leave(void **state)
{
	(void)state;
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_non_null(strstr(lab.last_state, "hfo5 is in the way"));
	lab_ack(&lab, 5);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.committed, 1);
	report_way(0, NULL, "", 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.committed, 5);
}

/* If held frames can never leave, the protection ends: an unprotected guest is better than a silent
 * one. */
static void test_held_frames_never_leave(void **state)
{
	(void)state;
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	lab_run(&lab, lab.config.standby_timeout_ns / MS - 100, 3);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_run(&lab, 200, 3);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_non_null(strstr(lab.last_state, "hfo5 is in the way"));
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
}

/* The guest dies while its output cannot leave. The standby has every committed epoch, so it is
 * promoted. */
static void test_a_guest_that_ends_then_is_promoted(void **state)
{
	struct vm_input in = {.kind = VM_IN_REPORT,
			      .role = WIRE_VM_ROLE_PRIMARY,
			      .term = 1,
			      .epoch = 1,
			      .agent_state = WIRE_STATE_FAILED,
			      .verdict = WIRE_VERDICT_EXITED,
			      .way = "release-broken",
			      .text = "QEMU ended"};

	(void)state;
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	(void)lab_feed(&lab, in);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	(void)lab_feed(&lab, in);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

static void test_a_host_that_dies_then_is_failed_over(void **state)
{
	(void)state;
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	lab_run(&lab, 6000, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_int_equal(lab.journal.owner, 1);
}

/* The owner was silent and is heard again, but its held frames cannot leave. Its standby is not
 * promoted; only the protection ends. */
static void test_a_host_that_speaks_again_is_not(void **state)
{
	(void)state;
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	for (int i = 0; lab.journal.state == VM_SYNCING && i < 100; i++)
		lab_run(&lab, 20, 2);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	report_way(0, "release-broken", "held frames cannot leave: hfo5 is in the way", 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_run(&lab, 6000, 3);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* A standby that loses its path to clients later stays PROTECTED: promoting it is still better than
 * no promotion. */
static void test_standby_is_cut_off_later(void **state)
{
	(void)state;
	report_way(1, "no-bridge", "tap tap0 is no port of a bridge", 0);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_non_null(strstr(lab.last_event, "tap tap0 is no port of a bridge"));
	lab_ack(&lab, 7);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	report_way(1, NULL, "", 0);
	assert_non_null(strstr(lab.last_event, "any more"));
}

static void test_made_anew(void **state)
{
	(void)state;
	lab.last_event[0] = '\0';
	report_way(0, NULL, "", 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_non_null(strstr(lab.last_event, "made anew"));
	lab.last_event[0] = '\0';
	report_way(0, NULL, "", 1);
	/* the smaller number of devices made anew is of another protection */
	report_way(0, NULL, "", 0);
	assert_string_equal(lab.last_event, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_standby_waits_for_its_port, start_preparing),
		cmocka_unit_test_setup(test_standby_without_an_obstacle, start_preparing),
		cmocka_unit_test_setup(test_standby_never_gets_ready, start_preparing),
		cmocka_unit_test_setup(test_held_frames_cannot_leave, start_protected),
		cmocka_unit_test_setup(test_held_frames_never_leave, start_protected),
		cmocka_unit_test_setup(test_a_guest_that_ends_then_is_promoted, start_protected),
		cmocka_unit_test_setup(test_a_host_that_dies_then_is_failed_over, start_protected),
		cmocka_unit_test_setup(test_a_host_that_speaks_again_is_not, start_protected),
		cmocka_unit_test_setup(test_standby_is_cut_off_later, start_protected),
		cmocka_unit_test_setup(test_made_anew, start_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
