/* The pacer on a virtual clock. */
#include "epoch/pacer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)

static const struct pacer_config config = {
	.epoch_min_ns = 2 * MS,
	.epoch_max_ns = 100 * MS,
	.pause_share_max = 20,
	.in_flight_max = 4,
};

static void idle_epoch_lasts_epoch_max(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 1000 * MS);
	assert_int_equal(pacer_due_ns(&pacer, 1000 * MS), 1100 * MS);
	assert_string_equal(pacer_reason(&pacer, 1000 * MS), "epoch_max");
}

static void demand_seals_at_epoch_min(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, false);
	assert_int_equal(pacer_due_ns(&pacer, 1 * MS), 2 * MS);
	assert_string_equal(pacer_reason(&pacer, 1 * MS), "demand");
}

static void demand_ends_with_the_seal(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, false);
	pacer_sealed(&pacer, 90 * MS, 91 * MS, 90 * MS);
	assert_int_equal(pacer_due_ns(&pacer, 91 * MS), 191 * MS);
}

/* Under unbroken demand the paused share converges to pause_share_max, not above. */
static void paused_share_is_bounded(void **state)
{
	struct pacer pacer;
	uint64_t now_ns = 0, paused_ns = 0;

	(void)state;
	pacer_init(&pacer, &config, now_ns);
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ns;

		pacer_demand(&pacer, false);
		due_ns = pacer_due_ns(&pacer, now_ns);
		assert_true(due_ns >= now_ns + config.epoch_min_ns);
		now_ns = due_ns + 5 * MS;
		paused_ns += 5 * MS;
		pacer_sealed(&pacer, due_ns, now_ns, UINT64_MAX);
	}
	assert_in_range(paused_ns * 1000 / now_ns, 195, 202);
}

/* A guest that waits for its clients may be sealed as often as half of the time goes to pauses. */
static void idle_guests_pauses_cost_less(void **state)
{
	struct pacer pacer;
	uint64_t now_ns = 0, paused_ns = 0;

	(void)state;
	pacer_init(&pacer, &config, now_ns);
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ns;

		pacer_demand(&pacer, false);
		due_ns = pacer_due_ns(&pacer, now_ns);
		paused_ns += 5 * MS;
		pacer_sealed(&pacer, due_ns, due_ns + 5 * MS, (due_ns - now_ns) / 10);
		now_ns = due_ns + 5 * MS;
	}
	assert_in_range(paused_ns * 1000 / now_ns, 490, 510);
}

static void in_flight_limit_waits_for_a_commit(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, true);
	pacer_in_flight(&pacer, 4);
	assert_true(pacer_due_ns(&pacer, 50 * MS) == UINT64_MAX);
	assert_string_equal(pacer_reason(&pacer, 50 * MS), "in flight");
	pacer_in_flight(&pacer, 3);
	assert_int_equal(pacer_due_ns(&pacer, 50 * MS), 2 * MS);
}

static void full_hold_overrides_the_budget(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_sealed(&pacer, 10 * MS, 60 * MS, 10 * MS); /* a 50 ms pause: deep in debt */
	pacer_demand(&pacer, false);
	assert_true(pacer_due_ns(&pacer, 61 * MS) > 200 * MS);
	assert_string_equal(pacer_reason(&pacer, 61 * MS), "pause budget");
	pacer_demand(&pacer, true);
	assert_int_equal(pacer_due_ns(&pacer, 61 * MS), 62 * MS);
}

static void a_burst_is_bounded_after_long_idleness(void **state)
{
	struct pacer pacer;
	uint64_t now_ns = 3600000 * MS;
	int n_at_min = 0;

	(void)state;
	pacer_init(&pacer, &config, 0);
	for (int i = 0; i < 50; i++) {
		uint64_t due_ns;

		pacer_demand(&pacer, false);
		due_ns = pacer_due_ns(&pacer, now_ns);
		if (due_ns <= now_ns + config.epoch_min_ns)
			n_at_min++;
		due_ns = due_ns > now_ns ? due_ns : now_ns;
		now_ns = due_ns + 5 * MS;
		pacer_sealed(&pacer, due_ns, now_ns, UINT64_MAX);
	}
	assert_in_range(n_at_min, 4, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_epoch_lasts_epoch_max),
		cmocka_unit_test(demand_seals_at_epoch_min),
		cmocka_unit_test(demand_ends_with_the_seal),
		cmocka_unit_test(paused_share_is_bounded),
		cmocka_unit_test(idle_guests_pauses_cost_less),
		cmocka_unit_test(in_flight_limit_waits_for_a_commit),
		cmocka_unit_test(full_hold_overrides_the_budget),
		cmocka_unit_test(a_burst_is_bounded_after_long_idleness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
