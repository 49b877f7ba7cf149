/* test_figures.c - tests three things. The engine's page figures do not count FULL epochs, which
 * would distort them. The figures of pauses do not count epochs without held output. Old figures
 * are not published again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encoder_fixture.h"
#include "epoch/engine_private.h"

static struct engine_figures figures;

/* Encode all pages, as engine_full_epoch() does. If @is_given_up, the link fails before the end. */
static void full_epoch(struct fixture *f, uint64_t epoch, bool is_given_up)
{
	struct encoder_counts before;

	encoder_get_counts(f->encoder, &before);
	assert_int_equal(encoder_begin(f->encoder, epoch, 0, WIRE_FLAG_FULL), 0);
	fixture_offer_all(f);
	if (is_given_up)
		retain_drop_all(f->retain);
	else
		fixture_end(f);
	engine_figures_full(&figures, f->encoder, &before);
	if (!is_given_up)
		fixture_deliver(f);
}

/* Encode an epoch in which page 0 changes a little, page 1 becomes zero, page 2 stays the same, and
 * page 3 gets new content. */
static void ordinary_epoch(struct fixture *f, uint64_t epoch)
{
	f->pages[17]++;
	memset(f->pages + 4096, 0, 4096);
	for (uint32_t i = 0; i < 4096; i++)
		f->pages[3 * 4096 + i] = (uint8_t)rand();
	f->copy.n = 0;
	for (uint32_t page = 0; page < 4; page++)
		fixture_copy_page(f, &f->copy, page);
	assert_int_equal(encoder_begin(f->encoder, epoch, epoch - 1, 0), 0);
	assert_int_equal(fixture_offer(f, copy_cursor(&f->copy)), 0);
	fixture_end(f);
	fixture_deliver(f);
}

static void expect(const struct fixture *f, uint64_t n)
{
	struct encoder_counts counts;

	engine_ordinary_counts(&figures, f->encoder, &counts);
	assert_int_equal(counts.n_xrle + counts.n_bitmap, n);
	assert_int_equal(counts.n_zero, n);
	assert_int_equal(counts.n_unchanged, n);
	assert_int_equal(counts.n_raw, n);
	assert_int_equal(counts.n_dup, 0);
}

static void test_full_epochs_are_not_counted(void **state)
{
	struct fixture *f = *state;

	memset(&figures, 0, sizeof(figures));
	for (uint32_t i = 0; i < 4 * 4096; i++)
		f->pages[i] = (uint8_t)rand();
	full_epoch(f, 1, false);
	expect(f, 0);
	ordinary_epoch(f, 2);
	expect(f, 1);
	full_epoch(f, 3, true);
	expect(f, 1);
	for (uint32_t i = 4096; i < 2 * 4096; i++) /* ordinary_epoch() zeroes page 1 again */
		f->pages[i] = (uint8_t)rand();
	full_epoch(f, 4, false);
	expect(f, 1);
	ordinary_epoch(f, 5);
	expect(f, 2);
}

static void seal(uint64_t paused_ms, uint64_t resumed_ms, bool is_held)
{
	const struct seal_result result = {
		.times = {.paused_ns = paused_ms * CLOCK_NS_PER_MS,
			  .resumed_ns = resumed_ms * CLOCK_NS_PER_MS,
			  .device_ns = (resumed_ms - paused_ms) * CLOCK_NS_PER_MS},
		.n_dirty_pages = (uint32_t)(resumed_ms - paused_ms)};

	engine_figures_sealed(&figures, &result, SEAL_KEEP, 0, is_held);
}

/* The long pauses of the disks' first copy, in which no output is held, do not count as pauses of a
 * protected guest. */
static void test_unheld_pauses_are_apart(void **state)
{
	(void)state;
	memset(&figures, 0, sizeof(figures));
	seal(100, 250, false);
	seal(300, 420, false);
	seal(430, 433, true);
	seal(443, 447, true);
	assert_int_equal(hist_count(&figures.pause_ns), 2);
	assert_int_equal(hist_max(&figures.pause_ns), 4 * CLOCK_NS_PER_MS);
	assert_int_equal(hist_max(&figures.device_ns), 4 * CLOCK_NS_PER_MS);
	assert_int_equal(hist_max(&figures.dirty_pages), 4);
	assert_int_equal(hist_count(&figures.interval_ns), 1);
	assert_int_equal(hist_max(&figures.interval_ns), 14 * CLOCK_NS_PER_MS);
	assert_int_equal(hist_count(&figures.unheld_pause_ns), 2);
	assert_int_equal(hist_max(&figures.unheld_pause_ns), 150 * CLOCK_NS_PER_MS);
	assert_int_equal(figures.n_epochs, 4);
	assert_int_equal(figures.n_dirty_pages, 277);
	assert_int_equal(figures.paused_ns, 277 * CLOCK_NS_PER_MS);
}

/* If a figure cannot be formatted, the engine publishes no figures instead of the old ones. */
static void test_no_old_figures(void **state)
{
	/* memory that stands for holds without network cards, and for a clock */
	static uint64_t no_holds[1024], no_clock[512];
	static const struct tap_names no_taps;
	static struct engine e = {.config = {.vm = "web1", .taps = &no_taps}};
	struct fixture *f = *state;

	((struct clock_rules *)guestclock_rules((struct guestclock *)no_clock))->why = "";
	e.output.holds = (struct holds *)no_holds;
	e.output.condition = OUTPUT_HELD;
	e.guest.clock = (struct guestclock *)no_clock;
	e.epochs.encoder = f->encoder;
	e.epochs.retain = f->retain;
	pthread_mutex_init(&e.status_lock, NULL);
	engine_publish(&e);
	assert_non_null(strstr(e.status.stats, "holding=1\n"));
	assert_non_null(strstr(e.status.stats, "disks=none\n"));
	e.throttle.plan.percent = 1;
	strcpy(e.throttle.why, "no\ttext"); /* a value must not have a tab */
	engine_publish(&e);
	assert_string_equal(e.status.stats, "");
	*e.throttle.why = '\0';
	engine_publish(&e);
	assert_non_null(strstr(e.status.stats, "holding=1\n"));
	pthread_mutex_destroy(&e.status_lock);
}

/* Seal two slow epochs: encoding them took much longer than the guest ran. Returns by how many
 * percent the guest is throttled. */
static uint32_t throttle_after_slow_epochs(struct engine *e)
{
	const uint64_t resumed_ns = clock_mono_ns() - CLOCK_NS_PER_S;
	const struct seal_result result = {.times = {.resumed_ns = resumed_ns}};

	for (uint32_t i = 0; i < 2; i++)
		engine_throttle_sealed(e, 10 * CLOCK_NS_PER_MS, &result, 64 << 20);
	return e->throttle.plan.percent;
}

/* During the disks' first copy, the guest is not throttled. Most bytes are the copy's, so a slower
 * guest would not help. */
static void test_a_first_copy_throttles_nobody(void **state)
{
	static struct engine e = {.config = {.vm = "web1"}};
	const struct throttle_config config = {.percent_max = 80};
	struct fixture *f = *state;

	throttle_init(&e.throttle.plan, &config);
	e.epochs.retain = f->retain;
	e.output.condition = OUTPUT_PASSES;
	e.disks.condition = DISKS_IN_STEP;
	assert_int_equal(throttle_after_slow_epochs(&e), 80);
	e.disks.condition = DISKS_COPYING;
	assert_int_equal(throttle_after_slow_epochs(&e), 0);
	e.output.condition = OUTPUT_HELD; /* the disks are then copied in a FULL epoch */
	assert_int_equal(throttle_after_slow_epochs(&e), 80);
}

int main(void)
{
	static uint32_t n_threads = 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(test_full_epochs_are_not_counted,
							 fixture_setup, fixture_teardown,
							 &n_threads),
		cmocka_unit_test(test_unheld_pauses_are_apart),
		cmocka_unit_test_prestate_setup_teardown(test_no_old_figures, fixture_setup,
							 fixture_teardown, &n_threads),
		cmocka_unit_test_prestate_setup_teardown(test_a_first_copy_throttles_nobody,
							 fixture_setup, fixture_teardown,
							 &n_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
