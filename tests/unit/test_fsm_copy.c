/* test_fsm_copy.c - tests a protected guest whose output is held while its disks are copied again.
 * The standby is not promoted while the copy makes progress. A copy that takes too long ends as the
 * policy standby_lost says, also in SYNCING. A host that dies meanwhile is found as fast as without
 * a copy. fsm_lab.h checks the rules. */
#include "fsm_lab.h"

#define MIB (UINT64_C(1) << 20)

static struct lab lab;

static void report_copy(uint64_t copied_bytes, uint64_t copy_bytes)
{
	struct vm_input in = {
		.kind = VM_IN_REPORT, .host = 0, .agent_state = WIRE_STATE_SYNCING,
		.role = WIRE_VM_ROLE_PRIMARY, .term = lab.peer[0].term, .epoch = 1,
		.copied_bytes = copied_bytes, .copy_bytes = copy_bytes,
	};

	assert_true(lab_feed(&lab, in));
}

/* Let both hosts send beats for @ms milliseconds, without an epoch. */
static void beat(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 10) {
		lab_tick(&lab, 10);
		lab_beat(&lab, 0);
		lab_beat(&lab, 1);
	}
}

/* While the VM is PROTECTED, let the copy advance from byte @from to byte @to of @bytes, by @step
 * every 250 ms. */
static void copy(uint64_t from, uint64_t to, uint64_t step, uint64_t bytes)
{
	for (uint64_t done = from; done <= to && lab.journal.state == VM_PROTECTED; done += step) {
		report_copy(done, bytes);
		beat(250);
	}
}

/* Like copy(), but while the VM is SYNCING. The owner also relays bytes. */
static void copy_syncing(uint64_t from, uint64_t to, uint64_t step, uint64_t bytes)
{
	for (uint64_t done = from; done <= to && lab.journal.state == VM_SYNCING; done += step) {
		report_copy(done, bytes);
		lab_run(&lab, 250, 3);
	}
}

/* Let the standby's stream end, and come back without an epoch. */
static void lose_standbys_copy(void)
{
	lab_stream_down(&lab, 1);
	lab.peer[1].complete = 0;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	lab_report(&lab, 1);
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
}

static int start(void **state)
{
	(void)state;
	lab_start_protected(&lab);
	lab_run(&lab, 1000, 3);
	return 0;
}

static void end_copy(void)
{
	report_copy(0, 0);
	lab_ack(&lab, 2);
	lab_run(&lab, 1000, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.fsm.detector.state, DETECTOR_PROTECTED);
}

/* A copy that makes progress may take 10 s, although the detector's patience is 3 s. */
static void test_copy_that_moves_is_waited_for(void **state)
{
	(void)state;
	copy(0, 40 * MIB, MIB, 40 * MIB);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	assert_int_equal(lab.fsm.detector.state, DETECTOR_PROTECTED);
	end_copy();
	assert_int_equal(lab.n_promotions, 0);
}

/* The detector is in doubt when the first report of a copy arrives. The report ends the doubt. */
static void test_copy_ends_a_doubt(void **state)
{
	(void)state;
	beat(1000);
	assert_int_equal(lab.fsm.detector.state, DETECTOR_DEGRADED);
	report_copy(0, 8 * MIB);
	beat(20);
	assert_int_equal(lab.fsm.detector.state, DETECTOR_PROTECTED);
}

/* Without a report of a copy, 4 s without an epoch lead to a promotion. */
static void test_no_copy_no_patience(void **state)
{
	(void)state;
	beat(4000);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* The copy stops. Half of the detector's patience later, the detector is in doubt. A whole patience
 * after that, the standby is promoted. */
static void test_copy_that_stands_still(void **state)
{
	(void)state;
	copy(0, 8 * MIB, MIB, 40 * MIB);
	for (int i = 0; i < 40 && lab.journal.state == VM_PROTECTED; i++) {
		report_copy(8 * MIB, 40 * MIB);
		beat(100);
	}
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	for (int i = 0; i < 10 && lab.journal.state == VM_PROTECTED; i++) {
		report_copy(8 * MIB, 40 * MIB);
		beat(100);
	}
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

/* Writes of the guest make both numbers of a report grow. That is no progress. */
static void test_writes_are_no_progress(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 60 && lab.journal.state == VM_PROTECTED; n++) {
		report_copy(8 * MIB + n * MIB, 40 * MIB + n * MIB);
		beat(100);
	}
	assert_int_equal(lab.journal.state, VM_PROMOTING);
}

static void test_numbers_that_cannot_be_true(void **state)
{
	static const uint64_t rows[][2] = {
		{100, 1}, {0, UINT64_MAX}, {0, (UINT64_C(1) << 60) + 1}, {UINT64_MAX - 100, 1}};

	(void)state;
	for (int i = 0; i < 4; i++) {
		start(NULL);
		for (uint64_t n = 0; n < 60 && lab.journal.state == VM_PROTECTED; n++) {
			report_copy(rows[i][0] + n, rows[i][1]);
			beat(100);
		}
		assert_int_equal(lab.journal.state, VM_PROMOTING);
	}
}

/* A copy that begins again and again does not count as progress after the third attempt. */
static void test_copies_without_end(void **state)
{
	uint64_t began_ns = lab.now_ns;

	(void)state;
	lab.config.held_copy_max_ns = 600000 * MS;
	for (int i = 0; i < 20 && lab.journal.state == VM_PROTECTED; i++)
		copy(0, 4 * MIB, MIB, 8 * MIB);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_true(lab.now_ns - began_ns < 3 * 1250 * MS + 5500 * MS);
}

/* The first attempt breaks after 5 s. The second begins slowly, but a few reports do not show its
 * speed. So the gateway waits for it. */
static void test_second_attempt_that_begins_slowly(void **state)
{
	(void)state;
	copy(0, 20 * MIB, MIB, 40 * MIB);
	copy(0, MIB, MIB / 4, 40 * MIB);
	copy(2 * MIB, 40 * MIB, 2 * MIB, 40 * MIB);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
	end_copy();
	assert_int_equal(lab.n_promotions, 0);
}

/* The second attempt is too slow all the time. The gateway knows its speed after 3 s of this
 * attempt. */
static void test_second_attempt_that_will_take_too_long(void **state)
{
	uint64_t began_ns;

	(void)state;
	copy(0, 20 * MIB, MIB, 40 * MIB);
	began_ns = lab.now_ns;
	copy(0, 40 * MIB, MIB / 4, 40 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_in_range(lab.now_ns - began_ns, 3000 * MS, 3500 * MS);
}

/* If the beats end during a copy, the promotion comes as fast as without a copy. */
static void test_host_that_dies_meanwhile(void **state)
{
	uint64_t died_ns[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		start(NULL);
		if (i == 1)
			copy(0, 8 * MIB, MIB, 40 * MIB);
		died_ns[i] = lab.now_ns;
		while (lab.journal.state == VM_PROTECTED)
			lab_run(&lab, 10, 2);
		died_ns[i] = lab.now_ns - died_ns[i];
		assert_int_equal(lab.journal.state, VM_PROMOTING);
	}
	assert_true(died_ns[1] <= died_ns[0] + 10 * MS);
}

/* During a copy, the owner's connection ends and no more reports come. The standby is promoted
 * within 1 s. */
static void test_agent_that_is_gone_meanwhile(void **state)
{
	uint64_t began_ns;

	(void)state;
	copy(0, 8 * MIB, MIB, 40 * MIB);
	lab_down(&lab, 0);
	began_ns = lab.now_ns;
	while (lab.journal.state == VM_PROTECTED && lab.now_ns - began_ns < 10000 * MS)
		lab_run(&lab, 10, 2);
	assert_int_equal(lab.journal.state, VM_PROMOTING);
	assert_true(lab.now_ns - began_ns < 1000 * MS);
}

/* A copy of 400 MiB at 4 MiB/s: after 3 s its speed shows that it takes longer than 20 s. So the
 * protection ends, and clients are served. After 10 s the guest is protected again. */
static void test_copy_that_will_take_too_long(void **state)
{
	uint64_t began_ns = lab.now_ns;

	(void)state;
	copy(0, 400 * MIB, MIB, 400 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_in_range(lab.now_ns - began_ns, 3000 * MS, 3500 * MS);
	assert_non_null(strstr(lab.last_state, "standby_lost = unprotected"));
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	lab_settle(&lab);
	for (int i = 0; i < 100; i++) {
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_run(&lab, 90, 3);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	for (int i = 0; i < 20; i++) {
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_settle(&lab);
		lab_run(&lab, 100, 3);
	}
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.journal.owner, 0);
	lab_ack(&lab, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

/* The protection has ended because the copy would take too long. If an operator then says
 * `unprotect`, the guest stays unprotected. */
static void test_operator_says_unprotected(void **state)
{
	(void)state;
	copy(0, 400 * MIB, MIB, 400 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	lab_settle(&lab);
	lab_command(&lab, VM_COMMAND_UNPROTECT);
	for (int i = 0; i < 200; i++) {
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_run(&lab, 100, 3);
	}
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* The copy slows down, so its average speed does not show that it takes too long. It may take 20 s
 * and no longer. */
static void test_copy_that_takes_too_long(void **state)
{
	uint64_t began_ns = lab.now_ns;

	(void)state;
	copy(0, 60 * MIB, 6 * MIB, 80 * MIB);
	copy(60 * MIB + 1, 61 * MIB, 1000, 80 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_true(lab.now_ns - began_ns <= 20500 * MS);
}

/* With standby_lost = hold, one event reports the slow copy, and the gateway waits for it. */
static void test_policy_hold(void **state)
{
	unsigned int n = 0;

	(void)state;
	lab.config.standby_lost_hold = true;
	for (uint64_t done = 0; done <= 200 * MIB; done += MIB) {
		*lab.last_event = '\0';
		report_copy(done, 200 * MIB);
		n += strstr(lab.last_event, "standby_lost = hold") != NULL;
		beat(250);
	}
	assert_int_equal(n, 1);
	end_copy();
	assert_int_equal(lab.n_promotions, 0);
}

/* The gateway itself stands still for a minute. This minute does not count for the copy. */
static void test_gateway_that_stood_still(void **state)
{
	(void)state;
	copy(0, 20 * MIB, MIB, 40 * MIB);
	lab.now_ns += 60000 * MS;
	copy(21 * MIB, 40 * MIB, MIB, 40 * MIB);
	end_copy();
	assert_int_equal(lab.n_promotions, 0);
}

/* After an epoch is committed, the next copy has its own time and its own attempts. */
static void test_next_copy(void **state)
{
	(void)state;
	for (uint64_t epoch = 2; epoch < 8; epoch++) {
		copy(0, 40 * MIB, MIB, 40 * MIB);
		assert_int_equal(lab.journal.state, VM_PROTECTED);
		lab_ack(&lab, epoch);
	}
	assert_int_equal(lab.n_promotions, 0);
}

/* The standby has lost its copy, and the owner still holds output. A copy of 400 MiB at 4 MiB/s
 * would take too long. So clients are served after 3 s, and later the guest is protected again. */
static void test_standby_lost_its_copy(void **state)
{
	uint64_t began_ns;

	(void)state;
	lose_standbys_copy();
	began_ns = lab.now_ns;
	copy_syncing(0, 400 * MIB, MIB, 400 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
	assert_in_range(lab.now_ns - began_ns, 3000 * MS, 3500 * MS);
	assert_non_null(strstr(lab.last_state, "standby_lost = unprotected"));
	assert_int_equal(lab.last_order[0].verb, WIRE_VERB_UNPROTECT);
	lab_settle(&lab);
	for (int i = 0; i < 120; i++) {
		lab_report(&lab, 0);
		lab_report(&lab, 1);
		lab_settle(&lab);
		lab_run(&lab, 100, 3);
	}
	assert_int_equal(lab.journal.state, VM_SYNCING);
	assert_int_equal(lab.journal.owner, 0);
	lab_ack(&lab, 3);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

/* The standby has lost its copy while the gateway was restarted. The new gateway never saw a held
 * epoch, but judges the copy all the same. */
static void test_standby_lost_its_copy_at_a_restart(void **state)
{
	(void)state;
	lab_restart(&lab);
	lab.peer[1].complete = 0;
	lab.peer[1].state = WIRE_STATE_STANDBY_WARM;
	for (uint8_t h = 0; h < 2; h++) {
		lab_up(&lab, h);
		lab_report(&lab, h);
	}
	assert_int_equal(lab_stream_up(&lab, 1, WIRE_VM_ROLE_STANDBY), 0);
	assert_int_equal(lab_stream_up(&lab, 0, WIRE_VM_ROLE_PRIMARY), 0);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	copy_syncing(0, 400 * MIB, MIB, 400 * MIB);
	assert_int_equal(lab.journal.state, VM_UNPROTECTED);
}

/* The standby has lost its copy. The gateway waits for a new copy that takes 10 s. */
static void test_standby_gets_its_copy_back(void **state)
{
	(void)state;
	lose_standbys_copy();
	copy_syncing(0, 40 * MIB, MIB, 40 * MIB);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	end_copy();
	assert_int_equal(lab.n_promotions, 0);
}

/* In SYNCING, no host can be promoted. So a copy that stands still, or begins again without end,
 * ends the protection. */
static void test_no_copy_and_nobody_to_promote(void **state)
{
	uint64_t began_ns;

	(void)state;
	for (int anew = 0; anew < 2; anew++) {
		start(NULL);
		lose_standbys_copy();
		began_ns = lab.now_ns;
		copy_syncing(0, 30 * MIB, 10 * MIB, 40 * MIB);
		for (int i = 0; i < 200 && lab.journal.state == VM_SYNCING; i++)
			copy_syncing(anew ? 0 : 30 * MIB, 30 * MIB, 10 * MIB, 40 * MIB);
		assert_int_equal(lab.journal.state, VM_UNPROTECTED);
		assert_true(lab.now_ns - began_ns <= 20500 * MS);
	}
}

static void test_policy_hold_in_syncing(void **state)
{
	(void)state;
	lab.config.standby_lost_hold = true;
	lose_standbys_copy();
	copy_syncing(0, 200 * MIB, MIB, 200 * MIB);
	assert_int_equal(lab.journal.state, VM_SYNCING);
	end_copy();
}

/* A first copy holds no output, so the owner does not report its progress. It may take long. */
static void test_first_copy_is_not_judged(void **state)
{
	(void)state;
	lab_connect_both(&lab);
	lab_command(&lab, VM_COMMAND_PROTECT);
	lab_settle(&lab);
	for (int i = 0; i < 400; i++) {
		report_copy(0, 0);
		lab_run(&lab, 250, 3);
	}
	assert_int_equal(lab.journal.state, VM_SYNCING);
	lab_ack(&lab, 1);
	assert_int_equal(lab.journal.state, VM_PROTECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_copy_that_moves_is_waited_for, start),
		cmocka_unit_test_setup(test_copy_ends_a_doubt, start),
		cmocka_unit_test_setup(test_no_copy_no_patience, start),
		cmocka_unit_test_setup(test_copy_that_stands_still, start),
		cmocka_unit_test_setup(test_writes_are_no_progress, start),
		cmocka_unit_test_setup(test_numbers_that_cannot_be_true, start),
		cmocka_unit_test_setup(test_copies_without_end, start),
		cmocka_unit_test_setup(test_second_attempt_that_begins_slowly, start),
		cmocka_unit_test_setup(test_second_attempt_that_will_take_too_long, start),
		cmocka_unit_test_setup(test_host_that_dies_meanwhile, start),
		cmocka_unit_test_setup(test_agent_that_is_gone_meanwhile, start),
		cmocka_unit_test_setup(test_copy_that_will_take_too_long, start),
		cmocka_unit_test_setup(test_operator_says_unprotected, start),
		cmocka_unit_test_setup(test_copy_that_takes_too_long, start),
		cmocka_unit_test_setup(test_policy_hold, start),
		cmocka_unit_test_setup(test_gateway_that_stood_still, start),
		cmocka_unit_test_setup(test_next_copy, start),
		cmocka_unit_test_setup(test_standby_lost_its_copy, start),
		cmocka_unit_test_setup(test_standby_lost_its_copy_at_a_restart, start),
		cmocka_unit_test_setup(test_standby_gets_its_copy_back, start),
		cmocka_unit_test_setup(test_no_copy_and_nobody_to_promote, start),
		cmocka_unit_test_setup(test_policy_hold_in_syncing, start),
		cmocka_unit_test(test_first_copy_is_not_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
