/* Tests the rule that turns the second stage (packing by LZ4) on and off. Guests and links have
 * known speeds, and the clock is virtual. */
#include "epoch/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)

/* A guest that makes records and a link that carries them, each at its own speed. */
struct world {
	struct stage stage;
	struct stage_sample total;
	double link;   /* bytes per ns that the link carries */
	double guest;  /* bytes of unpacked records per ns that the guest makes */
	double ratio;  /* packed size / unpacked size */
	double cost;   /* ns to pack one byte */
	double waiting;
};

static void step(struct world *w, uint64_t ns)
{
	double plain = w->guest * (double)ns, out = plain, sent;

	if (stage_is_on(&w->stage)) {
		out = plain * w->ratio;
		w->total.in_bytes += (uint64_t)plain;
		w->total.out_bytes += (uint64_t)out;
		w->total.spent_ns += (uint64_t)(plain * w->cost);
	}
	w->total.plain_bytes += (uint64_t)plain;
	w->waiting += out;
	sent = w->link * (double)ns < w->waiting ? w->link * (double)ns : w->waiting;
	w->waiting -= sent;
	if (w->waiting > 16e6)
		w->waiting = 16e6; /* the backlog is full, and the guest waits */
	w->total.drained_bytes += (uint64_t)sent;
	w->total.waiting_bytes = (uint64_t)w->waiting;
	w->total.now_ns += ns;
	if (stage_wants(&w->stage, w->total.now_ns))
		stage_update(&w->stage, &w->total);
}

static void run(struct world *w, uint64_t ns)
{
	for (uint64_t at = 0; at < ns; at += MS)
		step(w, MS);
}

static struct world world(enum stage_mode mode)
{
	struct world w = {.total.now_ns = SEC, .link = 0.0125, .guest = 0.02, .ratio = 0.6,
			  .cost = 1.5};

	stage_init(&w.stage, mode);
	stage_connected(&w.stage, true);
	return w;
}

static void a_slow_link_turns_it_on_at_once(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	assert_false(stage_is_on(&w.stage));
	run(&w, 20 * MS);
	assert_true(stage_is_on(&w.stage));
	assert_true(w.stage.rate > 0.011 && w.stage.rate < 0.014);
	/* The guest's packed records are 0.02 * 0.6 bytes per ns. The link can carry no more. So
	 * the stage stays on, even when nothing waits. */
	run(&w, 5 * SEC);
	assert_true(stage_is_on(&w.stage));
	assert_int_equal(w.stage.n_switches, 1);
}

static void a_fast_link_never_does(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	w.link = 1.2;
	w.guest = 0.5;
	run(&w, 5 * SEC);
	assert_false(stage_is_on(&w.stage));
	/* The link is full, but so fast that packing takes longer than sending. */
	w.guest = 1.3;
	run(&w, 5 * SEC);
	assert_true(w.stage.rate > 1);
	assert_false(stage_is_on(&w.stage));
	assert_int_equal(w.stage.n_switches, 0);
}

static void it_ends_when_the_link_has_room(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	run(&w, SEC);
	assert_true(stage_is_on(&w.stage));
	w.guest = 0.002;
	w.waiting = 0;
	run(&w, 3 * SEC);
	assert_false(stage_is_on(&w.stage));
	/* At 80 % of what the link can carry, the stage stays on. */
	w.guest = 0.02;
	run(&w, SEC);
	assert_true(stage_is_on(&w.stage));
	w.guest = 0.01;
	run(&w, 5 * SEC);
	assert_true(stage_is_on(&w.stage));
}

static void pages_that_do_not_pack_end_it(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	w.ratio = 1.0;
	run(&w, 2 * SEC);
	assert_false(stage_is_on(&w.stage));
	/* After a while, the stage tries packing again for a short time. */
	run(&w, 5 * SEC);
	assert_int_equal(w.stage.n_switches, 2);
	w.ratio = 0.5;
	run(&w, 10 * SEC);
	assert_true(stage_is_on(&w.stage));
}

/* The stage is on. Then the CPU becomes so slow or busy that packing takes more time than it saves.
 * The stage goes off. */
static void a_dear_cpu_ends_it(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	w.link = 0.11;
	w.guest = 0.15;
	w.cost = 1.5;
	run(&w, 2500 * MS);
	assert_true(stage_is_on(&w.stage));
	w.cost = 5;
	run(&w, 2500 * MS);
	assert_false(stage_is_on(&w.stage));
}

static void modes_and_negotiation(void **state)
{
	struct world w = world(STAGE_LZ4);

	(void)state;
	w.link = 10;
	run(&w, 2 * SEC);
	assert_true(stage_is_on(&w.stage));
	stage_connected(&w.stage, false);
	assert_false(stage_is_on(&w.stage));
	w = world(STAGE_OFF);
	run(&w, 2 * SEC);
	assert_false(stage_is_on(&w.stage));
	w = world(STAGE_AUTO);
	stage_connected(&w.stage, false);
	run(&w, 2 * SEC);
	assert_false(stage_is_on(&w.stage));
}

/* Measuring starts from zero on a new connection, whatever the previous connection was like. */
static void a_new_link_is_measured_anew(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	run(&w, SEC);
	assert_true(stage_is_on(&w.stage));
	w.total.drained_bytes = 0;
	w.waiting = 0;
	w.link = 1.2;
	stage_connected(&w.stage, true);
	assert_false(stage_is_on(&w.stage));
	run(&w, 3 * SEC);
	assert_false(stage_is_on(&w.stage));
}

/* A link carries nothing as long as there is no standby. That must not cause a division by zero. */
static void a_link_that_stands_still(void **state)
{
	struct world w = world(STAGE_AUTO);

	(void)state;
	w.link = 0;
	run(&w, 3 * SEC);
	assert_true(stage_is_on(&w.stage));
	w.link = 1.2;
	w.guest = 0.1;
	run(&w, 3 * SEC);
	assert_false(stage_is_on(&w.stage));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_link_turns_it_on_at_once),
		cmocka_unit_test(a_fast_link_never_does),
		cmocka_unit_test(it_ends_when_the_link_has_room),
		cmocka_unit_test(pages_that_do_not_pack_end_it),
		cmocka_unit_test(a_dear_cpu_ends_it),
		cmocka_unit_test(modes_and_negotiation),
		cmocka_unit_test(a_new_link_is_measured_anew),
		cmocka_unit_test(a_link_that_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
