/* test_health_watch.c - tests how the health word of a VM changes with time, on a virtual clock. */
#include "health_lab.h"

static unsigned n_events;
static enum health_word last_from, last_to;

static enum health_word look(void)
{
	enum health_word from;

	view.now_ns = lab.now_ns;
	if (health_watch(&watch, &view, &from)) {
		n_events++;
		last_from = from;
		last_to = watch.shown.word;
	}
	return watch.shown.word;
}

/* Let @ms pass, in which both hosts report and epochs are committed. */
static void pass(uint64_t ms)
{
	static uint64_t epoch = 100;

	for (uint64_t i = 0; i < ms; i += 50) {
		lab_run(&lab, 50, 3);
		if (lab.fsm.record.state == VM_PROTECTED)
			lab_ack(&lab, ++epoch);
		view.reported_ns[0] = view.reported_ns[1] = lab.now_ns;
		(void)look();
	}
}

static void test_safe_is_slow_to_come_back(void **state)
{
	struct health shown;

	(void)state;
	n_events = 0;
	assert_int_equal(look(), HEALTH_SAFE); /* the first judgement is taken as it is */
	pass(5000);
	assert_int_equal(n_events, 0);
	break_room();
	assert_int_equal(look(), HEALTH_NO_ROOM);
	assert_int_equal(watch.shown.since_ns, lab.now_ns);
	assert_int_equal(n_events, 1);
	assert_int_equal(last_from, HEALTH_SAFE);
	pass(3000);
	assert_int_equal(watch.shown.since_ns, lab.now_ns - 3000 * MS);
	report_well();
	pass(950);
	assert_int_equal(look(), HEALTH_NO_ROOM);
	health_look(&watch, &view, &shown);
	assert_int_equal(shown.word, HEALTH_NO_ROOM);
	assert_non_null(strstr(shown.missing, "MiB free")); /* the cause is still named */
	break_room();
	pass(50);
	report_well();
	pass(950);
	assert_int_equal(look(), HEALTH_NO_ROOM); /* the second begins anew */
	pass(100);
	assert_int_equal(look(), HEALTH_SAFE);
	assert_int_equal(n_events, 2);
	assert_int_equal(last_to, HEALTH_SAFE);
	assert_int_equal(watch.n_changes, 2);
}

/* What an operator gets is judged when it is asked for, not when the loop last looked. */
static void test_look_is_of_now(void **state)
{
	(void)state;
	assert_int_equal(look(), HEALTH_SAFE);
	view.now_ns = lab.now_ns + 1000 * MS;
	health_look(&watch, &view, &health);
	assert_int_equal(health.word, HEALTH_OWNER_SILENT);
	assert_int_equal(health.since_ns, view.now_ns);
}

static void test_no_storm(void **state)
{
	(void)state;
	n_events = 0;
	(void)look();
	for (int i = 0; i < 300; i++) { /* 60 s */
		break_room();
		pass(100);
		break_paused();
		pass(100);
		lab.fsm.host[0].verdict = WIRE_VERDICT_NONE;
	}
	assert_true(watch.n_changes > 500);
	assert_in_range(n_events, 8, 8 + 7);
	/* The last word is told. */
	report_well();
	pass(20000);
	assert_int_equal(last_to, HEALTH_SAFE);
}

/* From the first connection to the end of a protection, the word is never SAFE outside of
 * PROTECTED. */
static void test_life(void **state)
{
	(void)state;
	assert_int_equal(judge(), HEALTH_UNPROTECTED);
	lab_command(&lab, VM_COMMAND_PROTECT);
	assert_int_equal(judge(), HEALTH_PREPARING);
	lab_settle(&lab);
	assert_int_equal(judge(), HEALTH_SYNCING);
	relay.term = lab.fsm.record.term;
	lab_ack(&lab, 1);
	assert_int_not_equal(judge(), HEALTH_SAFE); /* the agents' reports are of before */
	report_well();
	assert_int_equal(judge(), HEALTH_SAFE);
	lab_command(&lab, VM_COMMAND_FAILOVER);
	assert_int_equal(judge(), HEALTH_PROMOTING);
	lab_settle(&lab);
	assert_int_equal(judge(), HEALTH_UNPROTECTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_safe_is_slow_to_come_back, start_protected),
		cmocka_unit_test_setup(test_look_is_of_now, start_protected),
		cmocka_unit_test_setup(test_no_storm, start_protected),
		cmocka_unit_test_setup(test_life, start_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
