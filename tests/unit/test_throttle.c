/* Tests the throttle, which slows down a guest, together with the real pacer. Guests and links have
 * known speeds, and the clock is virtual. */
#include "epoch/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "epoch/pacer.h"

#define MS   UINT64_C(1000000)
#define SEC  UINT64_C(1000000000)
#define MB_S 1e-3 /* 1 MB/s, in bytes per ns */
#define MB   1e6

static const struct pacer_config pacer_config = {.epoch_min_ns = 2 * MS,
						 .epoch_max_ns = 100 * MS,
						 .pause_share_max = 20,
						 .wall_share_max = 90,
						 .in_flight_max = 4};
static const struct throttle_config config = {
	.commit_max_ns = 500 * MS, .copy_max_ns = 100 * MS, .percent_max = 80};

/* A link, and a guest that keeps rewriting its working set. Sizes are in bytes as sent. */
struct world {
	struct throttle throttle;
	struct pacer pacer;
	double guest;	/* bytes that the guest writes per ns while it runs */
	double set;	/* working set, bytes */
	double link;	/* bytes that the link carries per ns */
	double copy_ns; /* ns to copy one byte in the pause */
	bool is_asked;	/* a client waits for a reply at all times */
	/* true: the timetable stops the guest; false: the guest runs at an even, lower speed */
	bool is_timed;

	uint64_t now_ns, resumed_ns, run_ns;
	double dirty, waiting;
	uint64_t longest_ns, n_changes, n_turns; /* counted since the last forget() */
	int direction;
};

static struct world world(double guest, double set, double link)
{
	struct world w = {.guest = guest, .set = set, .link = link, .copy_ns = 0.2, .now_ns = SEC,
			  .resumed_ns = SEC, .is_asked = true};

	throttle_init(&w.throttle, &config);
	pacer_init(&w.pacer, &pacer_config, w.now_ns);
	return w;
}

static void forget(struct world *w)
{
	w->longest_ns = w->n_changes = w->n_turns = 0;
}

static void seal(struct world *w)
{
	struct throttle_epoch epoch = {
		.run_ns = w->now_ns - w->resumed_ns,
		.copy_ns = (uint64_t)(w->dirty * w->copy_ns),
		.commit_ns = (uint64_t)((w->waiting + w->dirty) / w->link),
		.transfer_ns = (uint64_t)(w->dirty / w->link),
		.bytes = (uint64_t)w->dirty,
	};
	uint32_t before = w->throttle.percent;
	int direction;

	w->waiting += w->dirty;
	w->dirty = 0;
	w->now_ns += epoch.copy_ns;
	w->resumed_ns = w->now_ns;
	pacer_sealed(&w->pacer, w->now_ns - epoch.copy_ns, w->now_ns, UINT64_MAX);
	if (epoch.commit_ns > w->longest_ns)
		w->longest_ns = epoch.commit_ns;
	if (!throttle_sealed(&w->throttle, w->now_ns, &epoch)) {
		assert_int_equal(w->throttle.percent, before);
		return;
	}
	assert_int_not_equal(w->throttle.percent, before);
	assert_true(w->throttle.percent <= w->throttle.config.percent_max);
	direction = w->throttle.percent > before ? 1 : -1;
	w->n_changes++;
	w->n_turns += w->direction && direction != w->direction;
	w->direction = direction;
}

static void run(struct world *w, uint64_t ns)
{
	for (uint64_t end_ns = w->now_ns + ns; w->now_ns < end_ns; w->now_ns += MS) {
		double share = 1 - w->throttle.percent / 100.0, sent = w->link * (double)MS;

		if (w->is_timed)
			share = throttle_wants_stop(&w->throttle, w->now_ns) ? 0 : 1;
		w->run_ns += (uint64_t)(share * (double)MS);
		w->dirty += w->guest * share * (double)MS;
		if (w->dirty > w->set)
			w->dirty = w->set;
		w->waiting = w->waiting > sent ? w->waiting - sent : 0;
		if (w->is_asked)
			pacer_demand(&w->pacer, w->now_ns, false);
		pacer_link(&w->pacer, w->now_ns, (uint64_t)w->waiting, w->link);
		if (pacer_due_ns(&w->pacer) <= w->now_ns)
			seal(w);
	}
}

static void a_guest_that_the_link_carries_is_left_alone(void **state)
{
	struct world w = world(60 * MB_S, 500 * MB, 100 * MB_S);

	(void)state;
	run(&w, 30 * SEC);
	assert_int_equal(w.n_changes, 0);
	w.is_asked = false;
	run(&w, 30 * SEC);
	assert_int_equal(w.n_changes, 0);
}

/* The link can carry the guest's whole working set within the time limit. So the guest is not
 * throttled, however fast it writes. */
static void a_small_working_set_is_left_alone(void **state)
{
	struct world w = world(5000 * MB_S, 40 * MB, 100 * MB_S);

	(void)state;
	run(&w, 30 * SEC);
	assert_int_equal(w.throttle.percent, 0);
}

static void a_fast_guest_converges(void **state)
{
	/* guests that write at 2, 3 and 4.5 times the link's speed, with small and large working
	 * sets */
	static const struct { double guest, set; uint32_t at_least; } rows[] = {
		{200, 100, 50}, {200, 2000, 50}, {300, 500, 60}, {450, 500, 70}, {450, 4000, 70},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world w = world(rows[i].guest * MB_S, rows[i].set * MB, 100 * MB_S);

		run(&w, 120 * SEC); /* not checked: the first epochs may take any time */
		forget(&w);
		run(&w, 120 * SEC);
		assert_true(w.longest_ns <= 2 * config.commit_max_ns);
		assert_in_range(w.throttle.percent, rows[i].at_least, config.percent_max);
	}
}

static void it_reacts_within_seconds(void **state)
{
	struct world w = world(300 * MB_S, 4000 * MB, 100 * MB_S);

	(void)state;
	run(&w, 8 * SEC);
	assert_true(w.throttle.percent >= 50);
	assert_int_equal(w.throttle.n_begun, 1);
}

/* For a guest that does not change, the throttle settles. Then it changes rarely, by a step or
 * two. */
static void a_steady_guest_gets_a_steady_throttle(void **state)
{
	(void)state;
	for (double guest = 110; guest < 480; guest += 7) {
		struct world w = world(guest * MB_S, 1000 * MB, 100 * MB_S);
		uint32_t low = 100, high = 0;

		run(&w, 120 * SEC);
		forget(&w);
		for (int i = 0; i < 120; i++) {
			run(&w, SEC);
			low = w.throttle.percent < low ? w.throttle.percent : low;
			high = w.throttle.percent > high ? w.throttle.percent : high;
		}
		assert_true(high - low <= 2 * THROTTLE_STEP_PERCENT);
		/* how often the throttle changed its direction in two minutes */
		assert_true(w.n_turns <= 12);
	}
}

static void it_ends_when_the_link_has_room(void **state)
{
	struct world w = world(400 * MB_S, 500 * MB, 100 * MB_S);

	(void)state;
	run(&w, 60 * SEC);
	assert_true(w.throttle.percent >= 60);
	w.link = 1000 * MB_S;
	run(&w, 6 * SEC);
	assert_int_equal(w.throttle.percent, 0);
	/* The throttle also ends when the guest writes little. */
	w.link = 100 * MB_S;
	run(&w, 60 * SEC);
	assert_true(w.throttle.percent >= 60);
	w.guest = 1 * MB_S;
	run(&w, 8 * SEC);
	assert_int_equal(w.throttle.percent, 0);
	assert_int_equal(w.throttle.n_begun, 2);
}

/* Now and then, a single epoch takes two seconds to send, for example after a large copy in the
 * guest. This does not throttle the guest. */
static void a_burst_is_stretched_not_throttled(void **state)
{
	struct world w = world(10 * MB_S, 500 * MB, 100 * MB_S);

	(void)state;
	for (int i = 0; i < 5; i++) {
		run(&w, 3 * SEC);
		w.dirty = 200 * MB;
	}
	run(&w, 3 * SEC);
	assert_true(w.longest_ns > 2 * SEC);
	assert_int_equal(w.n_changes, 0);
}

static void limits_hold(void **state)
{
	struct world w = world(5000 * MB_S, 500 * MB, 50 * MB_S);

	(void)state;
	run(&w, 120 * SEC);
	assert_int_equal(w.throttle.percent, config.percent_max);
	w.throttle.config.percent_max = 0;
	throttle_init(&w.throttle, &w.throttle.config);
	run(&w, 60 * SEC);
	assert_int_equal(w.throttle.percent, 0);
	/* A configured value above the timetable's maximum is cut to it. */
	throttle_init(&w.throttle, &(struct throttle_config){.percent_max = 100});
	assert_int_equal(w.throttle.config.percent_max, THROTTLE_PERCENT_LIMIT);
	/* A maximum that is not a multiple of the step is reached, and the throttle can return from
	 * it to 0. */
	w = world(5000 * MB_S, 500 * MB, 50 * MB_S);
	w.throttle.config.percent_max = 25;
	run(&w, 60 * SEC);
	assert_int_equal(w.throttle.percent, 25);
	w.guest = 0.1 * MB_S;
	run(&w, 25 * SEC); /* in the first 10 s, the link still sends what the guest wrote before */
	assert_int_equal(w.throttle.percent, 0);
}

/* The link is fast enough, but the copy in each pause takes too long. */
static void long_pauses_throttle_too(void **state)
{
	struct world w = world(400 * MB_S, 4000 * MB, 10000 * MB_S);

	(void)state;
	w.is_asked = false;
	w.copy_ns = 3;
	run(&w, 30 * SEC);
	assert_true(w.throttle.percent >= 10);
	w.guest = 10 * MB_S;
	run(&w, 10 * SEC);
	assert_int_equal(w.throttle.percent, 0);
}

/* Two kinds of epoch do not cause throttling. One is a small epoch that a stalled gateway commits
 * late. The other is an epoch that the pacer made long on purpose. */
static void what_is_no_reason(void **state)
{
	struct throttle throttle;
	struct throttle_epoch small = {.run_ns = 10 * MS, .commit_ns = 3 * SEC, .bytes = 5000};
	struct throttle_epoch slow_by_choice = {
		.run_ns = 10 * SEC, .commit_ns = SEC, .transfer_ns = SEC, .bytes = 100000000};

	(void)state;
	throttle_init(&throttle, &config);
	for (uint64_t i = 1; i < 50; i++) {
		assert_false(throttle_sealed(&throttle, i * SEC, &small));
		assert_false(throttle_sealed(&throttle, i * SEC, &slow_by_choice));
	}
}

static void a_lost_stream_ends_it(void **state)
{
	struct world w = world(400 * MB_S, 500 * MB, 100 * MB_S);

	(void)state;
	run(&w, 60 * SEC);
	assert_true(w.throttle.percent > 0);
	throttle_reset(&w.throttle, w.now_ns);
	assert_int_equal(w.throttle.percent, 0);
	assert_false(throttle_wants_stop(&w.throttle, w.now_ns));
	assert_true(throttle_slice_end_ns(&w.throttle) == UINT64_MAX);
}

/* The timetable stops the guest for the given share of the time. No single stop is long. */
static void the_timetable_keeps_the_share(void **state)
{
	(void)state;
	for (uint32_t percent = 10; percent <= THROTTLE_PERCENT_LIMIT; percent += 10) {
		struct throttle throttle = {.config = config, .percent = percent};
		uint64_t stopped_ns = 0, on_end_ns = 0, step_ns = MS / 50;

		for (uint64_t now_ns = SEC; now_ns < 11 * SEC; now_ns += step_ns) {
			bool is_stop = throttle_wants_stop(&throttle, now_ns);

			assert_true(throttle_slice_end_ns(&throttle) > now_ns);
			stopped_ns += is_stop ? step_ns : 0;
			on_end_ns = is_stop ? on_end_ns + step_ns : 0;
			assert_true(on_end_ns <= 45 * MS);
		}
		assert_in_range(stopped_ns / (SEC / 10), percent - 1, percent + 1);
		throttle.percent = 0;
		assert_false(throttle_wants_stop(&throttle, 12 * SEC));
	}
}

static void the_timetable_converges_as_well(void **state)
{
	struct world w = world(300 * MB_S, 1000 * MB, 100 * MB_S);

	(void)state;
	w.is_timed = true;
	run(&w, 120 * SEC);
	forget(&w);
	run(&w, 60 * SEC);
	assert_true(w.longest_ns <= 2 * config.commit_max_ns);
	assert_true(w.throttle.percent >= 60);
}

static void rounds_of_a_full_copy(void **state)
{
	struct throttle throttle;

	(void)state;
	throttle_init(&throttle, &config);
	/* The rounds of a FULL epoch get smaller: continue with rounds, however long they take. */
	assert_true(throttle_full_round(&throttle, SEC, 7500, 10000, 10 * SEC, true));
	/* The rounds do not get smaller, but what is left can be sent quickly: no more rounds, no
	 * throttling. */
	assert_false(throttle_full_round(&throttle, SEC, 9000, 10000, 400 * MS, false));
	assert_int_equal(throttle.percent, 0);
	/* The rounds do not get smaller: throttle more, until the maximum is reached. */
	for (uint32_t percent = 20; percent <= 80; percent += 20) {
		assert_true(throttle_full_round(&throttle, SEC, 9000, 10000, SEC, false));
		assert_int_equal(throttle.percent, percent);
	}
	assert_false(throttle_full_round(&throttle, SEC, 9000, 10000, SEC, false));
	/* The rounds do not get smaller, and clients wait: throttle, and make no more rounds. */
	throttle_reset(&throttle, SEC);
	assert_false(throttle_full_round(&throttle, SEC, 9000, 10000, SEC, true));
	assert_int_equal(throttle.percent, 20);
	throttle.config.percent_max = 0;
	throttle_reset(&throttle, SEC);
	assert_false(throttle_full_round(&throttle, SEC, 9000, 10000, SEC, false));
	assert_int_equal(throttle.percent, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_that_the_link_carries_is_left_alone),
		cmocka_unit_test(a_small_working_set_is_left_alone),
		cmocka_unit_test(a_fast_guest_converges),
		cmocka_unit_test(it_reacts_within_seconds),
		cmocka_unit_test(a_steady_guest_gets_a_steady_throttle),
		cmocka_unit_test(it_ends_when_the_link_has_room),
		cmocka_unit_test(a_burst_is_stretched_not_throttled),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(long_pauses_throttle_too),
		cmocka_unit_test(what_is_no_reason),
		cmocka_unit_test(a_lost_stream_ends_it),
		cmocka_unit_test(the_timetable_keeps_the_share),
		cmocka_unit_test(the_timetable_converges_as_well),
		cmocka_unit_test(rounds_of_a_full_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
