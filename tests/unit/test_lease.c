/* Tests the lease, which limits how long a guest may run here, on a virtual clock. Tests which
 * answers renew the lease, which do not, and when the lease ends. */
#include "supervision/lease.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS   UINT64_C(1000000)
#define TERM 7

static struct lease lease;

static int begin(void **state)
{
	(void)state;
	lease_init(&lease, TERM, false);
	return 0;
}

static void test_none_is_no_limit(void **state)
{
	(void)state;
	assert_false(lease_is_over(&lease, 0));
	assert_false(lease_is_over(&lease, UINT64_MAX - 1));
	assert_true(lease_end_ns(&lease) == UINT64_MAX);
	assert_int_equal(lease_left_ns(&lease, 5), 0);
}

static void test_counts_from_the_beat(void **state)
{
	(void)state;
	/* A lease counts from the time at which the beat was sent. So the 300 ms until the beat's
	 * answer are already used up. */
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 2000, 1300 * MS), 0);
	assert_int_equal(lease_end_ns(&lease), 3000 * MS);
	assert_int_equal(lease_left_ns(&lease, 1300 * MS), 1700 * MS);
	assert_false(lease_is_over(&lease, 3000 * MS - 1));
	assert_true(lease_is_over(&lease, 3000 * MS));
	assert_int_equal(lease_left_ns(&lease, 3000 * MS), 0);
}

/* The lease may end the right to release output earlier than the right to run. One answer renews
 * both. */
static void test_releases_shorter_than_it_runs(void **state)
{
	(void)state;
	/* no lease is required and none was given, so none has expired */
	assert_true(lease_may_release(&lease, UINT64_MAX - 1));
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 150, 1000 * MS), 0);
	assert_true(lease_may_release(&lease, 1150 * MS - 1));
	assert_false(lease_may_release(&lease, 1150 * MS));
	assert_false(lease_is_over(&lease, 1150 * MS));
	assert_int_equal(lease_renew(&lease, TERM, 1050 * MS, 2000, 150, 1100 * MS), 0);
	assert_true(lease_may_release(&lease, 1199 * MS));
	/* An answer to an earlier beat does not shorten the lease. */
	assert_int_equal(lease_renew(&lease, TERM, 1010 * MS, 2000, 150, 1100 * MS), 0);
	assert_true(lease_may_release(&lease, 1199 * MS));
	assert_int_equal(lease_renew(&lease, TERM, 1050 * MS, 100, 150, 1100 * MS), -EINVAL);
	assert_int_equal(lease_renew(&lease, TERM, 1050 * MS, 100, 0, 1100 * MS), -EINVAL);
	lease_void(&lease);
	assert_true(lease_may_release(&lease, 9000 * MS));
	/* A guest that needs leases holds its output until the first lease, but may run before
	 * it. */
	lease_init(&lease, TERM, true);
	assert_false(lease_may_release(&lease, 1000 * MS));
	assert_false(lease_is_over(&lease, 1000 * MS));
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 150, 1000 * MS), 0);
	assert_true(lease_may_release(&lease, 1100 * MS));
}

static void test_refused(void **state)
{
	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 2000, 1000 * MS), 0);
	assert_int_equal(lease_renew(&lease, TERM - 1, 2000 * MS, 2000, 2000, 2000 * MS), -ESTALE);
	assert_int_equal(lease_renew(&lease, TERM + 1, 2000 * MS, 2000, 2000, 2000 * MS), -ESTALE);
	assert_int_equal(lease_renew(&lease, TERM, 2000 * MS + 1, 2000, 2000, 2000 * MS), -EINVAL);
	assert_int_equal(lease_renew(&lease, TERM, UINT64_MAX, 2000, 2000, 2000 * MS), -EINVAL);
	assert_int_equal(lease_renew(&lease, TERM, 2000 * MS, 0, 0, 2000 * MS), -EINVAL);
	assert_int_equal(lease_end_ns(&lease), 3000 * MS);
}

static void test_late_answer_shortens_nothing(void **state)
{
	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 2000, 1000 * MS), 0);
	assert_int_equal(lease_renew(&lease, TERM, 900 * MS, 2000, 2000, 1000 * MS), 0);
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 500, 500, 1000 * MS), 0);
	assert_int_equal(lease_end_ns(&lease), 3000 * MS);
}

static void test_renewed_after_its_end(void **state)
{
	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 2000, 1000 * MS), 0);
	assert_true(lease_is_over(&lease, 9000 * MS));
	/* A late answer to a very old beat is authentic, but the lease in it has already
	 * expired. */
	assert_int_equal(lease_renew(&lease, TERM, 1100 * MS, 2000, 2000, 9000 * MS), 0);
	assert_true(lease_is_over(&lease, 9000 * MS));
	assert_int_equal(lease_renew(&lease, TERM, 9000 * MS, 2000, 2000, 9000 * MS), 0);
	assert_false(lease_is_over(&lease, 9001 * MS));
	assert_true(lease_is_over(&lease, 11000 * MS));
}

static void test_newer_term(void **state)
{
	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 9000, 9000, 1000 * MS), 0);
	lease_enter(&lease, TERM + 1, 5000 * MS, 2000);
	/* the old lease has ended with its term; the time that was given with the vote counts */
	assert_int_equal(lease_end_ns(&lease), 7000 * MS);
	assert_false(lease_is_over(&lease, 5001 * MS));
	/* a vote does not allow output to be released */
	assert_false(lease_may_release(&lease, 5001 * MS));
	assert_int_equal(lease_renew(&lease, TERM, 6000 * MS, 2000, 2000, 6000 * MS), -ESTALE);
	assert_int_equal(lease_renew(&lease, TERM + 1, 6000 * MS, 2000, 300, 6000 * MS), 0);
	assert_int_equal(lease_end_ns(&lease), 8000 * MS);
	assert_true(lease_may_release(&lease, 6300 * MS - 1));
	assert_false(lease_may_release(&lease, 6300 * MS));
}

static void test_void_ends_the_limit(void **state)
{
	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 2000, 1000 * MS), 0);
	lease_void(&lease);
	assert_false(lease_is_over(&lease, 9000 * MS));
}

/* The agent's next program takes over the lease unchanged, in each state of the lease. */
static void test_resumed(void **state)
{
	uint64_t until_ns, release_ns;
	struct lease next;

	(void)state;
	assert_int_equal(lease_renew(&lease, TERM, 1000 * MS, 2000, 150, 1000 * MS), 0);
	lease_get(&lease, &until_ns, &release_ns);
	lease_resume(&next, TERM, until_ns, release_ns);
	assert_int_equal(lease_end_ns(&next), 3000 * MS);
	assert_false(lease_may_release(&next, 1150 * MS));
	assert_true(lease_may_release(&next, 1149 * MS));
	assert_int_equal(lease_renew(&next, TERM + 1, 1100 * MS, 2000, 150, 1100 * MS), -ESTALE);
	assert_int_equal(lease_renew(&next, TERM, 1100 * MS, 2000, 150, 1100 * MS), 0);
	assert_true(lease_may_release(&next, 1249 * MS));
	lease_init(&lease, TERM, true); /* a lease is needed, and none was given yet */
	lease_get(&lease, &until_ns, &release_ns);
	lease_resume(&next, TERM, until_ns, release_ns);
	assert_false(lease_may_release(&next, 1000 * MS));
	assert_false(lease_is_over(&next, 1000 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_none_is_no_limit, begin),
		cmocka_unit_test_setup(test_counts_from_the_beat, begin),
		cmocka_unit_test_setup(test_refused, begin),
		cmocka_unit_test_setup(test_releases_shorter_than_it_runs, begin),
		cmocka_unit_test_setup(test_late_answer_shortens_nothing, begin),
		cmocka_unit_test_setup(test_renewed_after_its_end, begin),
		cmocka_unit_test_setup(test_newer_term, begin),
		cmocka_unit_test_setup(test_resumed, begin),
		cmocka_unit_test_setup(test_void_ends_the_limit, begin),
	};

	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
