/* Tests the pacer, which decides when the next epoch is sealed, on a virtual clock. */
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
	.wall_share_max = 90,
	.in_flight_max = 4,
};

static void idle_epoch_lasts_epoch_max(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 1000 * MS);
	assert_int_equal(pacer_due_ns(&pacer), 1100 * MS);
	assert_string_equal(pacer_reason(&pacer, 1000 * MS), "epoch_max");
}

static void demand_seals_at_epoch_min(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, 0, false);
	assert_int_equal(pacer_due_ns(&pacer), 2 * MS);
	assert_string_equal(pacer_reason(&pacer, 1 * MS), "demand");
}

static void demand_ends_with_the_seal(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, 0, false);
	pacer_sealed(&pacer, 90 * MS, 91 * MS, 90 * MS);
	assert_int_equal(pacer_due_ns(&pacer), 191 * MS);
}

/* QEMU or its host stood still for 3 s during a pause. At a pause share of 20 %, the next seal is
 * due 12 s later. But the pacer never makes held output wait longer than 1 s. */
static void a_stall_in_a_pause_is_paid_back_soon(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_sealed(&pacer, 100 * MS, 3100 * MS, 100 * MS);
	pacer_demand(&pacer, 3101 * MS, false);
	assert_int_equal(pacer_due_ns(&pacer), 4100 * MS);
	assert_string_equal(pacer_reason(&pacer, 3101 * MS), "pause budget");
}

/* Under constant demand, the share of time spent in pauses converges to pause_share_max and does
 * not exceed it. */
static void paused_share_is_bounded(void **state)
{
	struct pacer pacer;
	uint64_t now_ns = 0, paused_ns = 0;

	(void)state;
	pacer_init(&pacer, &config, now_ns);
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ns;

		pacer_demand(&pacer, 0, false);
		due_ns = pacer_due_ns(&pacer);
		assert_true(due_ns >= now_ns + config.epoch_min_ns);
		now_ns = due_ns + 5 * MS;
		paused_ns += 5 * MS;
		pacer_sealed(&pacer, due_ns, now_ns, UINT64_MAX);
	}
	assert_in_range(paused_ns * 1000 / now_ns, 195, 202);
}

/* While a guest only waits for its clients, pauses may take up to half of the time. */
static void idle_guests_pauses_cost_less(void **state)
{
	struct pacer pacer;
	uint64_t now_ns = 0, paused_ns = 0;

	(void)state;
	pacer_init(&pacer, &config, now_ns);
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ns;

		pacer_demand(&pacer, 0, false);
		due_ns = pacer_due_ns(&pacer);
		paused_ns += 5 * MS;
		pacer_sealed(&pacer, due_ns, due_ns + 5 * MS, (due_ns - now_ns) / 10);
		now_ns = due_ns + 5 * MS;
	}
	assert_in_range(paused_ns * 1000 / now_ns, 490, 510);
}

/* The guest only waits for its clients, and its clock loses the time of each pause. As long as the
 * clock is not corrected, pauses may take at most wall_share_max of the time. After the clock is
 * corrected, they may take up to half of the time. */
static void pauses_that_the_clock_loses_are_bounded_by_all_time(void **state)
{
	struct pacer_config bounded = config;
	struct pacer pacer;

	(void)state;
	bounded.wall_share_max = 20;
	for (int is_corrected = 0; is_corrected < 2; is_corrected++) {
		uint64_t now_ns = 0, paused_ns = 0;
		const char *reason = "";

		pacer_init(&pacer, &bounded, now_ns);
		pacer_clock(&pacer, is_corrected);
		for (int i = 0; i < 1000; i++) {
			uint64_t due_ns;

			pacer_demand(&pacer, 0, false);
			due_ns = pacer_due_ns(&pacer);
			reason = pacer_reason(&pacer, now_ns);
			paused_ns += 5 * MS;
			pacer_sealed(&pacer, due_ns, due_ns + 5 * MS, (due_ns - now_ns) / 10);
			now_ns = due_ns + 5 * MS;
		}
		if (is_corrected)
			assert_in_range(paused_ns * 1000 / now_ns, 490, 510);
		else
			assert_in_range(paused_ns * 1000 / now_ns, 195, 202);
		assert_string_equal(reason, is_corrected ? "pause budget" : "clock budget");
	}
}

static void in_flight_limit_waits_for_a_commit(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, 0, true);
	pacer_in_flight(&pacer, 4, false);
	assert_true(pacer_due_ns(&pacer) == UINT64_MAX);
	assert_string_equal(pacer_reason(&pacer, 50 * MS), "in flight");
	pacer_in_flight(&pacer, 3, true);
	assert_true(pacer_due_ns(&pacer) == UINT64_MAX);
	assert_string_equal(pacer_reason(&pacer, 50 * MS), "backlog");
	pacer_in_flight(&pacer, 3, false);
	assert_int_equal(pacer_due_ns(&pacer), 2 * MS);
}

static void full_hold_overrides_the_budget(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_sealed(&pacer, 10 * MS, 60 * MS, 10 * MS); /* a 50 ms pause: far over budget */
	pacer_demand(&pacer, 0, false);
	assert_true(pacer_due_ns(&pacer) > 200 * MS);
	assert_string_equal(pacer_reason(&pacer, 61 * MS), "pause budget");
	pacer_demand(&pacer, 0, true);
	assert_int_equal(pacer_due_ns(&pacer), 62 * MS);
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

		pacer_demand(&pacer, 0, false);
		due_ns = pacer_due_ns(&pacer);
		if (due_ns <= now_ns + config.epoch_min_ns)
			n_at_min++;
		due_ns = due_ns > now_ns ? due_ns : now_ns;
		now_ns = due_ns + 5 * MS;
		pacer_sealed(&pacer, due_ns, now_ns, UINT64_MAX);
	}
	assert_in_range(n_at_min, 4, 8);
}

static void a_busy_link_stretches_the_epoch(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	pacer_demand(&pacer, 1 * MS, false);
	/* the link has 100 ms of work: the pacer checks again in 5 ms */
	pacer_link(&pacer, 1 * MS, 10000000, 0.1);
	assert_int_equal(pacer_due_ns(&pacer), 6 * MS);
	assert_string_equal(pacer_reason(&pacer, 2 * MS), "link");
	pacer_link(&pacer, 6 * MS, 2700000, 0.1); /* 27 ms of work, which is 2 ms too much */
	assert_int_equal(pacer_due_ns(&pacer), 8 * MS);
	pacer_link(&pacer, 8 * MS, 2500000, 0.1);
	assert_int_equal(pacer_due_ns(&pacer), 2 * MS);
	assert_string_equal(pacer_reason(&pacer, 8 * MS), "demand");
	/* If the link's rate is unknown (0), the pacer does not wait for the link. If it is known,
	 * the pacer waits for the link even when the hold is full. */
	pacer_link(&pacer, 8 * MS, 10000000, 0);
	assert_int_equal(pacer_due_ns(&pacer), 2 * MS);
	pacer_demand(&pacer, 8 * MS, true);
	pacer_link(&pacer, 8 * MS, 10000000, 0.1);
	assert_int_equal(pacer_due_ns(&pacer), 13 * MS);
}

static void stretching_is_counted(void **state)
{
	struct pacer pacer;

	(void)state;
	pacer_init(&pacer, &config, 0);
	/* The guest sent nothing for the first 60 ms. The time by which an epoch is stretched
	 * counts from the guest's first frame. */
	pacer_demand(&pacer, 60 * MS, false);
	pacer_sealing(&pacer, 64 * MS);
	assert_int_equal(pacer.n_stretched, 0);
	pacer_sealing(&pacer, 90 * MS);
	assert_int_equal(pacer.n_stretched, 1);
	assert_int_equal(pacer.stretched_ns, 30 * MS);
	pacer_sealed(&pacer, 90 * MS, 91 * MS, 0);
	pacer_sealing(&pacer, 192 * MS); /* as late as epoch_max and the clock's resolution allow */
	assert_int_equal(pacer.n_stretched, 1);
	pacer_sealing(&pacer, 291 * MS);
	assert_int_equal(pacer.n_stretched, 2);
	assert_int_equal(pacer.stretched_ns, 130 * MS);
}

/* Simulate a guest that writes a working set of @set bytes at 0.4 bytes per ns and always waits for
 * a reply; the link carries 0.1 bytes per ns. @is_link_told: the pacer is told how much the link
 * still has to send. Returns the longest commit time of an epoch in the second half of the
 * simulated 60 s. */
static uint64_t longest_commit_ns(double set, bool is_link_told)
{
	struct {
		uint64_t resumed_ns;
		double end; /* number of bytes made up to the end of this epoch */
	} flight[4];
	double made = 0, sent = 0, dirty = 0;
	uint64_t worst_ns = 0;
	uint32_t n_flight = 0;
	struct pacer pacer;

	pacer_init(&pacer, &config, 0);
	for (uint64_t now_ns = 0; now_ns < 60000 * MS; now_ns += MS) {
		dirty = dirty + 0.4 * (double)MS < set ? dirty + 0.4 * (double)MS : set;
		sent = sent + 0.1 * (double)MS < made ? sent + 0.1 * (double)MS : made;
		while (n_flight > 0 && flight[0].end <= sent) {
			if (now_ns > 30000 * MS && now_ns - flight[0].resumed_ns > worst_ns)
				worst_ns = now_ns - flight[0].resumed_ns;
			for (uint32_t i = 1; i < n_flight; i++)
				flight[i - 1] = flight[i];
			pacer_in_flight(&pacer, --n_flight, false);
		}
		pacer_demand(&pacer, now_ns, false);
		if (is_link_told)
			pacer_link(&pacer, now_ns, (uint64_t)(made - sent), 0.1);
		if (pacer_due_ns(&pacer) > now_ns)
			continue;
		pacer_sealing(&pacer, now_ns);
		pacer_sealed(&pacer, now_ns, now_ns, 0);
		made += dirty;
		dirty = 0;
		flight[n_flight].resumed_ns = now_ns;
		flight[n_flight++].end = made;
		pacer_in_flight(&pacer, n_flight, false);
	}
	assert_true(pacer.n_stretched > 0);
	return worst_ns;
}

/* The pacer seals no epoch while the link is still sending the previous epoch. Without this rule,
 * four epochs would queue, each as large as the guest's working set. A commit would then take as
 * long as sending all four. With the rule, a commit takes little longer than sending one epoch. */
static void one_epoch_at_a_time_when_the_guest_outruns_the_link(void **state)
{
	uint64_t own_ns = 1000 * MS; /* time to send one working set: 100 MB at 0.1 bytes per ns */

	(void)state;
	assert_in_range(longest_commit_ns(100e6, false), 3 * own_ns, 4 * own_ns + 10 * MS);
	assert_in_range(longest_commit_ns(100e6, true), own_ns, own_ns + 40 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle_epoch_lasts_epoch_max),
		cmocka_unit_test(demand_seals_at_epoch_min),
		cmocka_unit_test(demand_ends_with_the_seal),
		cmocka_unit_test(a_stall_in_a_pause_is_paid_back_soon),
		cmocka_unit_test(paused_share_is_bounded),
		cmocka_unit_test(idle_guests_pauses_cost_less),
		cmocka_unit_test(pauses_that_the_clock_loses_are_bounded_by_all_time),
		cmocka_unit_test(in_flight_limit_waits_for_a_commit),
		cmocka_unit_test(full_hold_overrides_the_budget),
		cmocka_unit_test(a_burst_is_bounded_after_long_idleness),
		cmocka_unit_test(a_busy_link_stretches_the_epoch),
		cmocka_unit_test(stretching_is_counted),
		cmocka_unit_test(one_epoch_at_a_time_when_the_guest_outruns_the_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
