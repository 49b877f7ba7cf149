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
		last_to = watch.told.word;
	}
	return watch.shown.word;
}

/* Let @ms milliseconds pass. Meanwhile, both hosts report and epochs are committed. */
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
	assert_int_equal(look(), HEALTH_SAFE); /* the first word counts at once */
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
	/* SAFE comes only after 1 s without a cause, and this second has begun again */
	assert_int_equal(look(), HEALTH_NO_ROOM);
	pass(100);
	assert_int_equal(look(), HEALTH_SAFE);
	assert_int_equal(n_events, 2);
	assert_int_equal(last_to, HEALTH_SAFE);
	assert_int_equal(watch.n_changes, 2);
}

/* An operator gets the word as judged at the time of the request, not the word that the gateway's
 * loop judged last. */
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
	/* The limit for all words lets 8 events out at once, and then one in each 10 s. Grave words
	 * such as PAUSED have a second limit of the same size. */
	assert_in_range(n_events, 16, 2 * (8 + 7));
	/* When the word no longer changes, it is reported as an event. */
	report_well();
	pass(20000);
	assert_int_equal(last_to, HEALTH_SAFE);
}

/* A change to PAUSED must be reported even after many other changes, and even if the pause is over
 * before the limits let another event out. */
static void test_a_grave_word_is_told(void **state)
{
	(void)state;
	(void)look();
	for (int i = 0; i < 10; i++) { /* use up the limit of all words */
		break_room();
		pass(50);
		report_well();
		pass(1100);
	}
	n_events = 0;
	break_room();
	pass(50);
	assert_int_equal(n_events, 0);
	break_paused();
	pass(50);
	assert_int_equal(n_events, 1);
	assert_int_equal(last_to, HEALTH_PAUSED);
	for (int i = 0; i < 20; i++) { /* use up the limit of the grave words too */
		view.journal_waits_ns = i % 2 ? 0 : HEALTH_LATE_NS;
		pass(50);
	}
	assert_in_range(n_events, 8, 10);
	view.journal_waits_ns = 0;
	last_to = HEALTH_SAFE;
	lab.fsm.host[0].verdict = WIRE_VERDICT_NONE;
	report_well();
	pass(1500);
	assert_int_equal(watch.shown.word, HEALTH_SAFE);
	for (int i = 0; i < 200 && last_to == HEALTH_SAFE; i++)
		pass(50);
	assert_true(health_word_is_grave(last_to));
	pass(20000);
	assert_int_equal(last_to, HEALTH_SAFE);
	assert_true(health_name_is_grave("FAILED") && health_name_is_grave("PAUSED"));
	assert_false(health_name_is_grave("SAFE") || health_name_is_grave("BEHIND"));
}

static void fail_at(uint64_t ns)
{
	lab.fsm.record.state = VM_FAILED;
	lab.fsm.entered_ns = ns;
}

/* Each failure (FAILED) is reported, even if the last event was a failure too, or if many changes
 * have used up the limits. */
static void test_each_failure_is_told(void **state)
{
	(void)state;
	(void)look();
	for (int i = 0; i < 60; i++) { /* use up all limits */
		view.journal_waits_ns = i % 2 ? 0 : HEALTH_LATE_NS;
		break_room();
		pass(50);
	}
	view.journal_waits_ns = 0;
	n_events = 0;
	for (int i = 0; i < 5; i++) {
		lab.now_ns += 50 * MS;
		fail_at(lab.now_ns);
		(void)look();
		assert_int_equal(n_events, i + 1);
		assert_int_equal(last_to, HEALTH_FAILED);
		assert_int_equal(last_from, i == 0 ? HEALTH_NO_ROOM : HEALTH_PROMOTING);
		(void)look(); /* the same failure is reported only once */
		assert_int_equal(n_events, i + 1);
		/* in every other round, the loop does not see the promotion between two failures */
		if (i % 2 == 0)
			continue;
		lab.fsm.record.state = VM_PROMOTING;
		lab.now_ns += 50 * MS;
		(void)look();
		assert_int_equal(n_events, i + 1);
	}
}

/* From the first connection to the end of a protection, the word is SAFE only in the state
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
	/* the agents' last reports are from before the protection */
	assert_int_not_equal(judge(), HEALTH_SAFE);
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
		cmocka_unit_test_setup(test_a_grave_word_is_told, start_protected),
		cmocka_unit_test_setup(test_each_failure_is_told, start_protected),
		cmocka_unit_test_setup(test_life, start_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
