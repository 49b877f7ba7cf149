/* Tests what time the guest's clock is set to when the guest is promoted. The two hosts' clocks
 * differ, and the link between the hosts delays epochs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "standby/clockview.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

/* Returns the clocks that the primary reports when its own clock shows @mono_ns. The guest's clock
 * began to count when the primary's clock showed 1000 s. */
static struct wire_clock told(uint64_t mono_ns)
{
	return (struct wire_clock){.mono_ns = mono_ns, .ns = mono_ns - 1000 * S,
				   .ticks = (mono_ns - 1000 * S) * 3, .ticks_per_s = 3 * S};
}

static void epoch(struct clockview *view, uint64_t mono_ns, uint64_t now_ns)
{
	struct wire_clock clock = told(mono_ns);

	clockview_begin(view);
	clockview_take(view, &clock, now_ns);
	clockview_complete(view);
}

/* Let the guest continue when the primary's clock shows @at_ns. The standby's clock is
 * @difference_ns ahead of it. Returns by how many microseconds the guest's clock is then behind
 * real time. */
static int64_t behind_us(const struct clockview *view, uint64_t at_ns, int64_t difference_ns)
{
	struct clock_words wanted;

	assert_true(clockview_wanted(view, at_ns + (uint64_t)difference_ns, &wanted));
	assert_in_range(wanted.ticks - wanted.clock * 3 + 3000, 0, 6000);
	return (int64_t)(at_ns - 1000 * S - wanted.clock) / 1000;
}

static void the_shortest_way_counts(void **state)
{
	const int64_t differences[] = {0, -900 * (int64_t)S, 5000 * (int64_t)S};

	(void)state;
	for (int d = 0; d < 3; d++) {
		struct clockview view;

		clockview_reset(&view);
		for (uint64_t i = 0; i < 100; i++)
			epoch(&view, 2000 * S + i * 20 * MS,
			      2000 * S + i * 20 * MS + (3 + i % 7) * MS + (uint64_t)differences[d]);
		assert_in_range(behind_us(&view, 2005 * S, differences[d]), 3000, 3100);
	}
}

/* Epochs arrive seconds late, and the last epoch never becomes complete. The guest's clock must
 * still be right. */
static void what_queues_is_seen_through(void **state)
{
	struct wire_clock clock = told(2010 * S);
	struct clockview view;

	(void)state;
	clockview_reset(&view);
	for (uint64_t i = 0; i < 100; i++)
		epoch(&view, 2000 * S + i * 20 * MS, 2000 * S + i * 20 * MS + 3 * MS);
	for (uint64_t i = 100; i < 1100; i++)
		epoch(&view, 2000 * S + i * 20 * MS, 2000 * S + i * 20 * MS + 4 * S);
	clockview_begin(&view);
	clock.ns += S;
	clockview_take(&view, &clock, 2026 * S);
	assert_in_range(behind_us(&view, 2030 * S, 0), 3000, 9000);
}

/* The primary's clock runs 100 ppm slow for an hour. The smallest delay measured an hour ago must
 * not put the guest's clock ahead. */
static void clocks_that_drift_apart_are_followed(void **state)
{
	struct clockview view;
	uint64_t mono_ns = 0;

	(void)state;
	clockview_reset(&view);
	for (uint64_t i = 0; i < 36000; i++) {
		mono_ns = 2000 * S + i * 100 * MS;
		epoch(&view, mono_ns, mono_ns + i * 100 * MS / 10000 + 3 * MS);
	}
	assert_in_range(behind_us(&view, mono_ns, (int64_t)(35999 * 100 * MS / 10000)) + 1000, 3000,
			4100);
}

static void an_epoch_that_tells_nothing_has_no_clock(void **state)
{
	struct clock_words wanted;
	struct clockview view;

	(void)state;
	clockview_reset(&view);
	assert_false(clockview_wanted(&view, 5 * S, &wanted));
	epoch(&view, 2000 * S, 2000 * S + 3 * MS);
	assert_true(clockview_wanted(&view, 2001 * S, &wanted));
	clockview_begin(&view);
	/* No CLOCK came for this epoch. The CLOCK of the earlier epoch does not fit this epoch's
	 * state. */
	clockview_complete(&view);
	assert_false(clockview_wanted(&view, 2001 * S, &wanted));
	clockview_reset(&view);
	assert_false(view.has_offset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_shortest_way_counts),
		cmocka_unit_test(what_queues_is_seen_through),
		cmocka_unit_test(clocks_that_drift_apart_are_followed),
		cmocka_unit_test(an_epoch_that_tells_nothing_has_no_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
