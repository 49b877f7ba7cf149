/* test_drain_third.c - tests the drain of a host whose VMs have a third host. No operator has
 * agreed to guests without a copy, and then the third host fails. */
#include "drain_lab.h"

static void is_given_up(const char *words)
{
	assert_int_equal(lab.d.phase, DRAIN_NONE);
	assert_int_equal(lab.n_replies, 1);
	assert_false(lab.ok);
	assert_string_equal(lab.code, "not-drained");
	if (!strstr(lab.text, words))
		fail_msg("'%s' has no '%s'", lab.text, words);
	lab.n_replies = 0;
}

/* The operator has not agreed to guests without a copy. The drain waits, and the third host fails.
 * Until it is back, the drain neither moves a guest nor ends a copy. */
static void test_third_is_lost(void **state)
{
	(void)state;
	lab.views[0].has_third = lab.views[1].has_third = true;
	lab.views[0].place = VM_DRAIN_COPY;
	lab.views[1].place = VM_DRAIN_BUSY;
	ask(false, true);
	disk();
	tick(S);
	lab.views[0].has_third = false;
	lab.views[1].place = VM_DRAIN_MOVABLE;
	lab.views[1].has_third = false;
	tick(S);
	assert_int_equal(lab.asked[1], 0);
	lab.views[1].has_third = true;
	tick(S);
	assert_int_equal(lab.asked[1], 1);
	moved(1, true, "web2 was moved");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_COPIES);
	assert_int_equal(lab.ended[0], 0);
	lab.views[0].has_third = true;
	tick(S);
	assert_int_equal(lab.ended[0], 1);
	moved(0, true, "web1 has no copy there");
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

static void test_third_stays_lost(void **state)
{
	(void)state;
	lab.views[0].has_third = lab.views[1].has_third = true;
	lab.views[0].place = VM_DRAIN_COPY;
	lab.views[1].place = VM_DRAIN_AWAY;
	ask(false, true);
	lab.views[0].has_third = false;
	disk();
	tick(59 * S);
	assert_int_equal(lab.n_replies, 0);
	tick(2 * S);
	is_given_up("the copy of web1 (no third host can keep its copy any more)");
	assert_int_equal(lab.ended[0], 0);
	assert_non_null(strstr(lab.said, "web1 runs on beta, and its copy stays on alpha"));
	/* Without --wait, the drain is given up at once. If the operator has agreed to guests
	 * without a copy, the drain goes on. */
	lab.views[0].has_third = true;
	ask(false, false);
	lab.views[0].has_third = false;
	disk();
	tick(S);
	is_given_up("the copy of web1 (no third host can keep its copy any more)");
	ask(true, false);
	disk();
	tick(S);
	assert_int_equal(lab.ended[0], 1);
}

/* The third host of one VM fails. A drain that is given up for this VM ends no other VM's copy. */
static void test_none_is_ended(void **state)
{
	(void)state;
	lab.views[0].has_third = lab.views[1].has_third = true;
	lab.views[0].place = lab.views[1].place = VM_DRAIN_COPY;
	ask(false, false);
	lab.views[1].has_third = false;
	disk();
	tick(S);
	is_given_up("the copy of web2 (no third host can keep its copy any more)");
	assert_int_equal(lab.ended[0] + lab.ended[1], 0);
}

static void test_move_without_third(void **state)
{
	(void)state;
	lab.n = 1;
	lab.views[0].has_third = true;
	ask(false, false);
	lab.views[0].has_third = false;
	disk();
	tick(S);
	is_given_up("web1 (no third host can keep its copy any more)");
	assert_int_equal(lab.asked[0], 0);
	lab.views[0].has_third = true;
	ask(false, true);
	lab.views[0].has_third = false;
	disk();
	tick(S);
	assert_int_equal(lab.asked[0], 0);
	guard(30 * S); /* the host goes down: no agreement is needed */
	tick(S);
	assert_int_equal(lab.asked[0], 1);
}

/* A drain of the spare is refused if the VM needs the spare for its copy, because no other host can
 * keep it. */
static void test_spare_is_needed(void **state)
{
	(void)state;
	lab.n = 1;
	lab.views[0].place = VM_DRAIN_AWAY;
	lab.views[0].is_spare = true;
	ask(false, false);
	is_refused("unprotected", "web1");
	assert_non_null(strstr(lab.said, "web1 needs alpha for its copy: no other host can"));
	lab.views[0].has_third = true;
	ask(false, false);
	disk();
	tick(S);
	assert_int_equal(lab.d.phase, DRAIN_DONE);
}

/* A restarted gateway knows whether an operator has agreed, and to what. */
static void test_record(void **state)
{
	static const char *const states[] = {"draining ", "drained ", "draining-leave ",
					     "drained "};
	static const char agreed[] = "by=operator limit_s=600 ";
	static const char not[] = "by=operator-unagreed limit_s=600 ";
	static struct drain_record r, back;
	static char text[DRAIN_RECORD_BYTES_MAX];
	size_t size;

	(void)state;
	r.n_hosts = 1;
	strcpy(r.hosts[0].name, "alpha");
	r.hosts[0].limit_s = 600;
	for (int i = 0; i < 4; i++) {
		r.hosts[0].keeps_copies = i & 1;
		r.hosts[0].is_done = i & 2;
		size = drain_record_format(&r, text, sizeof(text));
		assert_int_equal(drain_record_parse(text, size, &back), 0);
		assert_int_equal(back.hosts[0].keeps_copies, i == 1);
		assert_non_null(strstr(text, i == 1 ? not : agreed));
	}
	for (int i = 0; i < 4; i++) {
		r.hosts[0].is_done = i & 1;
		r.hosts[0].leaves = i & 2;
		size = drain_record_format(&r, text, sizeof(text));
		assert_int_equal(drain_record_parse(text, size, &back), 0);
		assert_int_equal(back.hosts[0].leaves, i == 2);
		assert_non_null(strstr(text, states[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_third_is_lost, set_up),
		cmocka_unit_test_setup(test_third_stays_lost, set_up),
		cmocka_unit_test_setup(test_none_is_ended, set_up),
		cmocka_unit_test_setup(test_move_without_third, set_up),
		cmocka_unit_test_setup(test_spare_is_needed, set_up),
		cmocka_unit_test(test_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
