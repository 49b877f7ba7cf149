/* test_liveness.c - tests, on a virtual clock, how long a host can be without a sign of life before
 * the gateway counts it as silent. This time depends on the grace period after the gateway's start
 * and on stalls of the gateway's own process. */
#include "liveness/liveness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)

static const struct liveness_config config = {500 * MS, 3000 * MS};
static struct liveness l;

static int start(void **state)
{
	(void)state;
	liveness_init(&l, &config, 1000 * MS);
	return 0;
}

static enum liveness_judgement at(uint64_t ms)
{
	return liveness_judge(&l, &config, ms * MS);
}

static void test_grace(void **state)
{
	(void)state;
	assert_int_equal(at(1000), LIVENESS_UNKNOWN);
	assert_int_equal(at(3999), LIVENESS_UNKNOWN);
	assert_int_equal(at(4000), LIVENESS_SILENT);
	assert_int_equal(liveness_age_ns(&l, 4000 * MS), UINT64_MAX);
}

static void test_seen(void **state)
{
	(void)state;
	liveness_seen(&l, &config, 1100 * MS);
	assert_int_equal(at(1599), LIVENESS_ALIVE);
	/* the host was seen once, so the grace period no longer applies */
	assert_int_equal(at(1600), LIVENESS_SILENT);
	assert_false(liveness_silent_for(&l, 5000 * MS, 6099 * MS));
	assert_true(liveness_silent_for(&l, 5000 * MS, 6100 * MS));
	assert_int_equal(liveness_age_ns(&l, 1600 * MS), 500 * MS);
}

static void test_stall(void **state)
{
	(void)state;
	liveness_seen(&l, &config, 1100 * MS);
	liveness_stalled(&l, &config, 300 * MS, 1500 * MS);
	/* after a stall of our process, a silent host gets at least the beat timeout to be heard
	 * again */
	assert_int_equal(at(1999), LIVENESS_UNKNOWN);
	assert_int_equal(at(2000), LIVENESS_SILENT);
	liveness_stalled(&l, &config, 60000 * MS, 70000 * MS);
	/* even after a long stall, a silent host gets no more than the grace period after a
	 * start */
	assert_int_equal(at(72999), LIVENESS_UNKNOWN);
	assert_int_equal(at(73000), LIVENESS_SILENT);
	liveness_seen(&l, &config, 73100 * MS);
	assert_int_equal(at(73100), LIVENESS_ALIVE);
}

static void test_stall_in_grace(void **state)
{
	(void)state;
	liveness_stalled(&l, &config, 300 * MS, 1400 * MS);
	assert_int_equal(at(3999), LIVENESS_UNKNOWN);
	assert_int_equal(at(4000), LIVENESS_SILENT);
}

static void test_the_other_may_follow(void **state)
{
	struct liveness owner;

	(void)state;
	liveness_init(&owner, &config, 1000 * MS);
	liveness_seen(&l, &config, 1100 * MS);
	liveness_seen(&owner, &config, 1150 * MS);
	assert_false(liveness_may_follow(&l, &owner, &config, 1900 * MS));
	/* one missing beat is no silence, so the other host gets no extra time */
	liveness_seen(&l, &config, 1349 * MS);
	assert_false(liveness_may_follow(&l, &owner, &config, 1349 * MS));
	/* a host is heard again after 2 s of silence: the other host gets 2 s too before it counts
	 * as silent */
	liveness_seen(&l, &config, 3349 * MS);
	liveness_seen(&l, &config, 3400 * MS);
	assert_true(liveness_may_follow(&l, &owner, &config, 5348 * MS));
	assert_false(liveness_may_follow(&l, &owner, &config, 5349 * MS));
	/* the other host was heard after that: if it is silent now, the gateway's link is not the
	 * cause */
	liveness_seen(&owner, &config, 3500 * MS);
	assert_false(liveness_may_follow(&l, &owner, &config, 3500 * MS));
	/* even after a long silence of one host, the other gets no more than the grace period after
	 * a start */
	liveness_seen(&l, &config, 60000 * MS);
	assert_true(liveness_may_follow(&l, &owner, &config, 62999 * MS));
	assert_false(liveness_may_follow(&l, &owner, &config, 63000 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_other_may_follow, start),
		cmocka_unit_test_setup(test_grace, start),
		cmocka_unit_test_setup(test_seen, start),
		cmocka_unit_test_setup(test_stall, start),
		cmocka_unit_test_setup(test_stall_in_grace, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
