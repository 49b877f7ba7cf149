/* Tests when written pages are write-protected again, with simulated guests. */
#include "epoch/protect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define FAULT_NS 20000u
#define COPY_NS	 500u /* ns to copy one page */

/* What run_guest() measures. It simulates a guest that, in each of @n_epochs epochs, changes the
 * same @n_hot pages, and @n_new pages that it never changes again. `ns` is the time for copying,
 * encoding and faults. */
struct cost {
	uint64_t ns;
	uint32_t n_protected;
	uint64_t longest_copy_ns;
};

enum how { BY_RULE, ALWAYS, NEVER };

static struct cost run_guest(enum how how, uint32_t fault_ns, uint32_t n_hot, uint32_t n_new,
			     uint32_t n_epochs)
{
	struct protect protect;
	struct cost cost = {0};
	uint32_t n_written = 0; /* pages that are writable when the epoch begins */

	protect_init(&protect, fault_ns);
	for (uint32_t i = 0; i < n_epochs; i++) {
		uint32_t n_faults = n_written ? n_new : n_hot + n_new;
		uint32_t n_copied = n_written + n_faults, n_stale = n_copied - n_hot - n_new;
		bool protects = how == ALWAYS || (how == BY_RULE && protect_is_due(&protect));
		uint64_t copy_ns = (uint64_t)n_copied * COPY_NS;

		cost.ns += (uint64_t)n_faults * fault_ns + 2 * copy_ns;
		cost.n_protected += protects;
		if (copy_ns > cost.longest_copy_ns)
			cost.longest_copy_ns = copy_ns;
		protect_sealed(&protect, protects, n_copied, protects ? 0 : n_stale, copy_ns);
		n_written = protects ? 0 : n_copied;
	}
	return cost;
}

static void same_pages_each_epoch_stay_writable(void **state)
{
	struct cost cost = run_guest(BY_RULE, FAULT_NS, 80, 0, 1000);

	(void)state;
	assert_int_equal(cost.n_protected, 0);
	assert_true(cost.ns < run_guest(ALWAYS, FAULT_NS, 80, 0, 1000).ns / 10);
}

static void stale_pages_end_it(void **state)
{
	struct cost cost = run_guest(BY_RULE, FAULT_NS, 80, 4, 1000);

	(void)state;
	assert_in_range(cost.n_protected, 10, 500);
}

static void dear_faults_protect_less_often(void **state)
{
	(void)state;
	assert_true(run_guest(BY_RULE, 20000, 80, 8, 1000).n_protected <
		    run_guest(BY_RULE, 1000, 80, 8, 1000).n_protected);
}

/* Apart from a constant, the rule costs at most twice as much as the better of two fixed choices:
 * always protect, or never. This is the bound of the ski rental problem. The test checks it for
 * many guests and costs. */
static void never_twice_the_better_choice(void **state)
{
	static const uint32_t faults_ns[] = {500, 2000, 20000}, hot[] = {0, 10, 300, 1500};
	static const uint32_t fresh[] = {0, 1, 20, 200};

	(void)state;
	for (int f = 0; f < 3; f++) {
		for (int h = 0; h < 4; h++) {
			for (int n = 0; n < 4; n++) {
				uint64_t ours =
					run_guest(BY_RULE, faults_ns[f], hot[h], fresh[n], 500).ns;
				uint64_t always =
					run_guest(ALWAYS, faults_ns[f], hot[h], fresh[n], 500).ns;
				uint64_t never =
					run_guest(NEVER, faults_ns[f], hot[h], fresh[n], 500).ns;
				uint64_t best = always < never ? always : never;

				assert_true(ours <= 2 * best + 1000000);
			}
		}
	}
}

static void stale_copies_are_bounded_in_a_pause(void **state)
{
	/* A fault is expensive here. By cost alone, the rule would not protect any page
	 * within the run. */
	struct cost cost = run_guest(BY_RULE, 10000000, 80, 50, 1000);

	(void)state;
	assert_true(cost.n_protected > 0);
	assert_true(cost.longest_copy_ns < PROTECT_STALE_NS_MAX + 500 * COPY_NS);
}

static void many_changed_pages_are_protected_to_be_copied_ahead(void **state)
{
	struct protect protect;

	(void)state;
	protect_init(&protect, FAULT_NS);
	for (int i = 0; i < 20; i++)
		protect_sealed(&protect, false, 16384, 0, 16384 * COPY_NS);
	assert_true(protect_is_due(&protect));
}

static void nothing_written_is_nothing_to_protect(void **state)
{
	struct protect protect;

	(void)state;
	protect_init(&protect, FAULT_NS);
	assert_false(protect_is_due(&protect));
	protect_sealed(&protect, false, 0, 0, 0);
	assert_false(protect_is_due(&protect));
}

/* After a seal that left pages writable, the next seal can copy pages that did not change. They are
 * counted even if the next seal protects pages. */
static void stale_behind_kept(void **state)
{
	(void)state;
	assert_int_equal(protect_stale(true, false, 7), 7);
	assert_int_equal(protect_stale(true, true, 7), 7);
	assert_int_equal(protect_stale(false, true, 7), 7);
	assert_int_equal(protect_stale(false, false, 7), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_pages_each_epoch_stay_writable),
		cmocka_unit_test(stale_pages_end_it),
		cmocka_unit_test(stale_behind_kept),
		cmocka_unit_test(dear_faults_protect_less_often),
		cmocka_unit_test(never_twice_the_better_choice),
		cmocka_unit_test(stale_copies_are_bounded_in_a_pause),
		cmocka_unit_test(many_changed_pages_are_protected_to_be_copied_ahead),
		cmocka_unit_test(nothing_written_is_nothing_to_protect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
