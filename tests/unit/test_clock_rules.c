/* Tests the rules for the guest's clock on a virtual host. A model of QEMU keeps time as QEMU
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "vmm/clock_rules.h"

#define US	   UINT64_C(1000)
#define MS	   UINT64_C(1000000)
#define S	   UINT64_C(1000000000)
#define TICK_RATE  3 /* ticks per nanosecond */
#define BOOT_TICKS UINT64_C(7777777777)

struct world {
	uint64_t now_ns;
	struct clock_words words; /* QEMU's clock and tick offsets */
	struct clock_words saved; /* the offsets that the last seal saved */
	struct clock_rules rules;
	uint64_t alive_ns;	  /* nanoseconds that the guest's clock should have counted */
	uint64_t cost_ns;	  /* ns that each start of the guest takes */
	uint64_t random;
};

static uint64_t host_ticks(const struct world *w)
{
	return BOOT_TICKS + w->now_ns * TICK_RATE;
}

static uint64_t guest_ns(const struct world *w)
{
	return w->words.clock + (w->words.is_running ? w->now_ns : 0);
}

static uint64_t guest_ticks(const struct world *w)
{
	return w->words.ticks + (w->words.is_running ? host_ticks(w) : 0);
}

static void pass(struct world *w, uint64_t ns)
{
	w->now_ns += ns;
}

static void vm_stop(struct world *w)
{
	assert_true(w->words.is_running);
	w->words = (struct clock_words){guest_ticks(w), guest_ns(w), false};
}

static void vm_start(struct world *w)
{
	assert_false(w->words.is_running);
	w->words =
		(struct clock_words){guest_ticks(w) - host_ticks(w), guest_ns(w) - w->now_ns, true};
}

/* Start a world in which the guest has run for 5 s, and its host for 1000 s. */
static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now_ns = 1000 * S;
	w->words = (struct clock_words){5 * S * TICK_RATE, 5 * S, false};
	w->cost_ns = 300 * US;
	w->random = 1;
	vm_start(w);
	clock_rules_init(&w->rules, 10 * S);
}

static uint64_t random_ns(struct world *w, uint64_t max_ns)
{
	w->random = w->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (w->random >> 33) % max_ns;
}

static void set(struct world *w, uint64_t sent_ns, uint64_t seen_ns)
{
	struct clock_words written;
	uint64_t before_ns = guest_ns(w), before_ticks = guest_ticks(w);

	if (!clock_rules_stopped(&w->rules, &w->words, sent_ns, seen_ns, w->now_ns, &written))
		return;
	w->words.clock = written.clock;
	w->words.ticks = written.ticks;
	assert_true(guest_ns(w) >= before_ns);
	assert_true(guest_ticks(w) >= before_ticks);
}

/* Make one seal, that is, one pause of the guest. @length_ns pass between the moment when the stop
 * was seen and the setting of the clock. */
static void seal(struct world *w, uint64_t length_ns)
{
	uint64_t sent_ns, seen_ns;

	clock_rules_running(&w->rules, &w->words);
	sent_ns = w->now_ns;
	pass(w, 100 * US);
	vm_stop(w);
	pass(w, 200 * US);
	seen_ns = w->now_ns;
	w->saved = w->words;
	pass(w, length_ns);
	set(w, sent_ns, seen_ns);
	pass(w, w->cost_ns);
	vm_start(w);
	pass(w, 50 * US);
	clock_rules_resumed(&w->rules, &w->words);
	clock_rules_saved(&w->rules, &w->saved);
}

static void prove(struct world *w)
{
	/* the last of these seals gives back the time that the earlier pauses took */
	for (int i = 0; i < 6; i++) {
		pass(w, 100 * MS);
		seal(w, 4 * MS);
	}
	assert_int_equal(w->rules.state, CLOCK_CORRECTED);
}

/* Returns how many nanoseconds the guest's clock is behind a clock that was never stopped. */
static int64_t lag_ns(const struct world *w)
{
	return (int64_t)(5 * S + (w->now_ns - 1000 * S)) - (int64_t)guest_ns(w);
}

static int64_t lag_ticks(const struct world *w)
{
	return (int64_t)((5 * S + (w->now_ns - 1000 * S)) * TICK_RATE) - (int64_t)guest_ticks(w);
}

static void assert_near(int64_t value, int64_t want, uint64_t tolerance)
{
	assert_in_range((uint64_t)(value - want) + tolerance, 0, 2 * tolerance);
}

/* Pauses take 40 % of all time. The guest's clock must lose no time, and no error may build up. */
static void what_pauses_take_is_given_back(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	prove(&w);
	for (int i = 0; i < 20000; i++) {
		pass(&w, 4 * MS + random_ns(&w, 4 * MS));
		w.cost_ns = 200 * US + random_ns(&w, 200 * US);
		seal(&w, 3 * MS + random_ns(&w, 2 * MS));
	}
	assert_near(lag_ns(&w), 0, 400 * US);
	assert_near(lag_ticks(&w), 0, 400 * US * TICK_RATE);
	assert_true(w.rules.lost_ns < MS);
	assert_int_equal(w.rules.n_set, 20001);
}

/* The rules look for the guest's clock in QEMU's memory. They write nothing there until several
 * seals have proved that what was found is the clock. After the proof, the clock is also given back
 * the time of the pauses before the proof. */
static void nothing_is_written_before_three_proofs(void **state)
{
	struct clock_words words;
	struct world w;

	(void)state;
	begin(&w);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(w.rules.state, CLOCK_PROVING);
		assert_string_equal(clock_rules_word(&w.rules), "not yet");
		words = w.words;
		pass(&w, 100 * MS);
		seal(&w, 4 * MS);
		assert_int_equal(w.rules.n_set, 0);
		assert_true(w.words.clock < words.clock); /* the clock lost the time of the pause */
	}
	prove(&w);
	assert_string_equal(clock_rules_word(&w.rules), "yes");
	pass(&w, 100 * MS);
	seal(&w, 4 * MS);
	assert_near(lag_ns(&w), 0, 100 * US);
}

static void a_saved_state_that_differs_ends_it(void **state)
{
	struct world w;
	uint64_t n_set;

	(void)state;
	for (int after = 0; after < 2; after++) {
		begin(&w);
		if (after)
			prove(&w);
		for (int i = 0; i < 5 && w.rules.state != CLOCK_OFF; i++) {
			pass(&w, 100 * MS);
			seal(&w, 4 * MS);
			w.saved.clock++;
			clock_rules_saved(&w.rules, &w.saved);
		}
		assert_int_equal(w.rules.state, CLOCK_OFF);
		assert_string_equal(clock_rules_word(&w.rules), "no");
		assert_string_equal(w.rules.why,
				    "QEMU's saved state has another clock than its memory");
		n_set = w.rules.n_set;
		assert_int_equal(n_set, after ? 2 : 0);
		pass(&w, 100 * MS);
		seal(&w, 4 * MS);
		assert_int_equal(w.rules.n_set, n_set);
	}
}

/* QEMU can save the device state after the rules have set the clock. Such a state holds the clock
 * that the rules have written. The rules must not take this for a contradiction between the saved
 * state and QEMU's memory. */
static void a_state_saved_late_is_no_contradiction(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	prove(&w);
	pass(&w, 10 * MS);
	seal(&w, 4 * MS);
	w.saved = w.rules.written;
	clock_rules_saved(&w.rules, &w.saved);
	assert_int_equal(w.rules.state, CLOCK_CORRECTED);
}

/* A move is given up: the guest is stopped, sealed while it stands still, and goes on only later.
 * The rules set the clock twice in this pause. The guest's clock gets back the whole time of the
 * pause. */
static void a_pause_that_goes_on_after_its_seal_is_given_back(void **state)
{
	struct world w;
	uint64_t sent_ns, seen_ns;

	(void)state;
	for (int is_proved = 0; is_proved < 2; is_proved++) {
		begin(&w);
		if (is_proved)
			prove(&w);
		for (int i = 0; i < 3; i++) {
			pass(&w, 100 * MS);
			clock_rules_running(&w.rules, &w.words);
			sent_ns = w.now_ns;
			pass(&w, 100 * US);
			vm_stop(&w);
			pass(&w, 200 * US);
			seen_ns = w.now_ns;
			w.saved = w.words;
			pass(&w, 4 * MS);
			set(&w, sent_ns, seen_ns);
			clock_rules_saved(&w.rules, &w.saved);
			pass(&w, 3 * S);
			set(&w, sent_ns, seen_ns);
			pass(&w, w.cost_ns);
			vm_start(&w);
			pass(&w, 50 * US);
			clock_rules_resumed(&w.rules, &w.words);
		}
		if (!is_proved) {
			/* set() was called twice in each pause, but one pause gives only one
			 * proof. */
			assert_int_equal(w.rules.n_set, 0);
			assert_true(w.rules.lost_ns > 9 * S);
			continue;
		}
		assert_near(lag_ns(&w), 0, 400 * US);
		assert_near(lag_ticks(&w), 0, 400 * US * TICK_RATE);
		assert_true(w.rules.lost_ns < MS);
		assert_int_equal(w.rules.n_misses, 0);
	}
}

/* Memory that does not hold the clock must never be written. Instead of the clock, the test puts
 * there a wrong offset, a counter that stands still, or a counter of instructions. */
static void what_is_no_clock_is_never_written(void **state)
{
	struct world w;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		begin(&w);
		for (int i = 0; i < 200; i++) {
			struct clock_words before;

			pass(&w, 100 * MS);
			clock_rules_running(&w.rules, &w.words);
			before = w.words;
			pass(&w, 100 * US);
			vm_stop(&w);
			if (kind == 0)
				/* as if the clock had stopped in the future */
				w.words.clock += 20 * MS;
			else if (kind == 1)
				w.words.ticks = before.ticks;
			else
				w.words.ticks = before.ticks + random_ns(&w, S);
			w.saved = w.words;
			pass(&w, 4 * MS);
			set(&w, w.now_ns - 4 * MS - 100 * US, w.now_ns - 4 * MS);
			vm_start(&w);
			clock_rules_resumed(&w.rules, &w.words);
			clock_rules_saved(&w.rules, &w.saved);
		}
		assert_int_equal(w.rules.n_set, 0);
		assert_int_equal(w.rules.state, CLOCK_OFF);
		assert_string_equal(w.rules.why, "QEMU's clock does not follow the host's");
	}
}

/* When another party pauses the guest, the guest's clock loses the time of this pause, as it does
 * for an unprotected guest. Only the time of our own pauses is given back. */
static void a_pause_by_somebody_else_is_not_given_back(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	prove(&w);
	pass(&w, 10 * MS);
	seal(&w, 4 * MS);
	vm_stop(&w);
	pass(&w, 3 * S);
	vm_start(&w);
	for (int i = 0; i < 10; i++) {
		pass(&w, 10 * MS);
		seal(&w, 4 * MS);
	}
	assert_near(lag_ns(&w), 3 * S, 100 * US);
	assert_near(lag_ticks(&w), 3 * (int64_t)S * TICK_RATE, 100 * US * TICK_RATE);
	assert_true(w.rules.lost_ns < MS);
}

/* Another party has already stopped the guest when we order our pause. The rules see this, because
 * the guest's clock stopped before the order was sent. They do not give back the time of this
 * pause. */
static void a_pause_that_was_there_before_ours_is_not_given_back(void **state)
{
	uint64_t sent_ns;
	struct world w;

	(void)state;
	begin(&w);
	prove(&w);
	clock_rules_running(&w.rules, &w.words);
	vm_stop(&w); /* another party stops the guest */
	pass(&w, 2 * S);
	sent_ns = w.now_ns;
	pass(&w, 4 * MS);
	set(&w, sent_ns, w.now_ns);
	clock_rules_resumed(&w.rules, &w.words); /* the guest stays stopped, as we found it */
	pass(&w, S);
	vm_start(&w);
	for (int i = 0; i < 10; i++) {
		pass(&w, 10 * MS);
		seal(&w, 4 * MS);
	}
	assert_int_equal(w.rules.state, CLOCK_CORRECTED);
	assert_near(lag_ns(&w), 3 * (int64_t)S, 5 * MS); /* includes the 4 ms of our own pause */
}

/* The guest takes longer to start than expected. The next pause makes up for this, and the clock
 * stays correct afterwards. */
static void a_slow_start_is_made_up_for(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	prove(&w);
	w.cost_ns = 80 * MS;
	seal(&w, 4 * MS);
	assert_true(lag_ns(&w) > (int64_t)(70 * MS));
	assert_true(w.rules.lost_ns > 70 * MS);
	w.cost_ns = 300 * US;
	for (int i = 0; i < 30; i++) {
		pass(&w, 10 * MS);
		seal(&w, 4 * MS);
	}
	assert_near(lag_ns(&w), 0, 100 * US);
	assert_true(w.rules.lost_ns < MS);
}

/* After we have stopped the guest for a long time, its clock catches up in jumps of bounded
 * size. */
static void a_jump_is_bounded(void **state)
{
	struct world w;
	uint64_t before_ns;

	(void)state;
	begin(&w);
	prove(&w);
	before_ns = guest_ns(&w);
	seal(&w, 25 * S);
	assert_near((int64_t)(guest_ns(&w) - before_ns), 10 * (int64_t)S, 2 * MS);
	assert_near(lag_ns(&w), 15 * (int64_t)S, 5 * MS);
	seal(&w, 4 * MS);
	assert_near(lag_ns(&w), 5 * (int64_t)S, 10 * MS);
	seal(&w, 4 * MS);
	seal(&w, 4 * MS);
	assert_near(lag_ns(&w), 0, MS);
	assert_near(lag_ticks(&w), 0, MS * TICK_RATE);
}

static void what_is_off_counts_its_pauses(void **state)
{
	struct world w;

	(void)state;
	begin(&w);
	/* As long as the rules are on, they measure the pauses themselves and ignore the pause that
	 * the caller reports. */
	clock_rules_paused(&w.rules, 4 * MS);
	assert_int_equal(w.rules.lost_ns, 0);
	clock_rules_off(&w.rules, "a reason");
	clock_rules_off(&w.rules, "another");
	assert_string_equal(w.rules.why, "a reason");
	clock_rules_paused(&w.rules, 4 * MS);
	clock_rules_paused(&w.rules, 5 * MS);
	assert_int_equal(w.rules.lost_ns, 9 * MS);
}

static void the_last_minute_is_what_counts(void **state)
{
	struct clock_loss loss = {0};
	uint64_t lost_ns = 0;

	(void)state;
	assert_true(clock_loss_percent(&loss, 5 * S, 0) == 0);
	for (uint64_t ms = 0; ms <= 30000; ms += 10) { /* 30 s in which 40 % of the time is lost */
		clock_loss_note(&loss, 100 * S + ms * MS, lost_ns);
		lost_ns += 4 * MS;
	}
	assert_in_range((uint64_t)(clock_loss_percent(&loss, 130 * S, lost_ns) * 100), 3950, 4050);
	for (uint64_t ms = 30000; ms <= 75000; ms += 10) /* 45 s without loss */
		clock_loss_note(&loss, 100 * S + ms * MS, lost_ns);
	assert_in_range((uint64_t)(clock_loss_percent(&loss, 175 * S, lost_ns) * 100), 950, 1050);
	/* If most of the lost time has been given back to the clock since then, no loss is
	 * reported. */
	assert_true(clock_loss_percent(&loss, 175 * S, lost_ns / 4) == 0);
	/* The alarm is raised at the limit and ends below half of it. */
	assert_false(clock_loss_alarm(&loss, 4.9, 5));
	assert_true(clock_loss_alarm(&loss, 5, 5));
	assert_true(clock_loss_alarm(&loss, 2.6, 5));
	assert_false(clock_loss_alarm(&loss, 2.4, 5));
	assert_false(clock_loss_alarm(&loss, 4.9, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_pauses_take_is_given_back),
		cmocka_unit_test(nothing_is_written_before_three_proofs),
		cmocka_unit_test(a_saved_state_that_differs_ends_it),
		cmocka_unit_test(a_pause_that_goes_on_after_its_seal_is_given_back),
		cmocka_unit_test(a_state_saved_late_is_no_contradiction),
		cmocka_unit_test(what_is_no_clock_is_never_written),
		cmocka_unit_test(a_pause_by_somebody_else_is_not_given_back),
		cmocka_unit_test(a_pause_that_was_there_before_ours_is_not_given_back),
		cmocka_unit_test(a_slow_start_is_made_up_for),
		cmocka_unit_test(a_jump_is_bounded),
		cmocka_unit_test(what_is_off_counts_its_pauses),
		cmocka_unit_test(the_last_minute_is_what_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
