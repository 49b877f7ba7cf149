/* clock_rules.h - when, and by how much, a guest's clock is set forward in a pause.
 *
 * Why: QEMU's virtual clock stands while the guest is stopped. 86 pauses of 4.6 ms in a second take 40 % of
 * its time from it, and nothing gives them back. QEMU keeps its clock as two offsets (struct clock_words):
 *
 *	the guest runs     clock = offset + the host's CLOCK_MONOTONIC      ticks = offset + the host's TSC
 *	it is stopped      clock = offset                                   ticks = offset
 *
 * So the offset of the running guest is a constant, which each stop and start makes smaller by what the pause
 * took. To give the pause back, the offset of the stopped guest is set to what the clock would be when it
 * starts again, had it never stopped:
 *
 *	            stop                          the words are set          start
 *	guest's     ─────┐ stands at C                     ┌──────────────────────
 *	clock            └─────────────────────────────────┘ target + now + cost
 *	                 C = running + time of the stop       cost: from here to QEMU's start, as learnt
 *
 * The aim is always the running offset of the beginning (`target`), so that errors do not add up. Ticks are
 * treated in the same way; how many there are in a nanosecond comes from two stops.
 *
 * The words are memory of a program that does not know of us, so nothing is written before they have proved
 * themselves at CLOCK_PROOFS seals. At each one
 *  - they did not change while the guest ran;
 *  - the clock's stop, computed from them, lies between our order to stop and QEMU's word that it did;
 *  - the ticks grew at the same rate as before;
 *  - the saved device state has exactly them (so they also stood still in the pause).
 * What does not fit is not corrected; a saved state that differs ends correction for good.
 *
 * Pauses by somebody else are meant to stop the clock and are not given back: the running offset then differs
 * from the one after our last pause, and the target moves with it. A pause that is partly ours and partly
 * somebody's is not given back either.
 *
 *	PROVING ──3 proofs──► CORRECTED ──► OFF (for good, `why` says it)
 *	   └────────────────────────────────►┘
 *
 * A jump is at most step_max: a guest whose clock jumps by 20 s believes that a processor hung. What is left
 * is given at the next pauses.
 *
 * Where: guestclock.h owns one and does what it says. Threads: one. Pure: no I/O, no clock of its own.
 */
#ifndef VMM_CLOCK_RULES_H
#define VMM_CLOCK_RULES_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_PROOFS	  3u
#define CLOCK_MISSES_MAX  20u /* pauses in a row that do not fit: off */
#define CLOCK_COST_MAX_NS UINT64_C(100000000) /* a start that took longer says nothing of the next one */
#define CLOCK_LOSS_SLOTS  64u
#define CLOCK_LOSS_SPAN_S 60u

/* QEMU's two offsets; numbers wrap as its int64_t do. */
struct clock_words {
	uint64_t ticks;
	uint64_t clock;	 /* ns */
	bool is_running; /* QEMU's own word for which of the two meanings they have */
};

enum clock_state {
	CLOCK_PROVING	= 0,
	CLOCK_CORRECTED = 1,
	CLOCK_OFF	= 2,
};

/* What was lost, second by second. */
struct clock_loss {
	bool is_alarm; /* too much was lost, and is still */
	uint64_t second[CLOCK_LOSS_SLOTS];  /* that the slot is of, 0: empty */
	uint64_t lost_ns[CLOCK_LOSS_SLOTS]; /* in all, when that second began */
};

struct clock_rules {
	enum clock_state state;
	const char *why; /* OFF: the reason, static text; else "" */
	uint64_t step_max_ns;

	/* between pauses */
	bool has_running;
	struct clock_words running; /* as last read while the guest ran; valid if has_running */
	struct clock_words target;  /* what they are to be; the same */
	bool is_steady;		    /* they did not change between the last pause and this one */

	/* of the pause at hand */
	bool is_ours; /* it fits: stopped, written and set_ns are valid */
	struct clock_words stopped, written;
	uint64_t set_ns;
	uint64_t stop_ns, stop_ticks; /* the host's clock and counter at its stop */

	/* learnt */
	uint32_t n_stops;	      /* for the rate: 0: none, 1: the first one is known, 2: a rate */
	uint64_t first_ns, first_ticks; /* of the host, at the first stop */
	double rate;		      /* ticks in a nanosecond */
	bool is_rate_same;	      /* the last two rates agree */
	uint64_t cost_ns;	      /* from the setting to QEMU's start */
	uint32_t n_proofs, n_misses;
	uint64_t n_set; /* pauses given back */

	/* figures */
	uint64_t forgotten_ns; /* lost before the target was taken anew */
	uint64_t lost_ns;      /* of the guest's time by our pauses, and not given back */
};

/* @step_max_ns: the longest jump. */
void clock_rules_init(struct clock_rules *rules, uint64_t step_max_ns);

/* Off, with a static text that says why. The first reason stays. */
void clock_rules_off(struct clock_rules *rules, const char *why);

/* The words of the running guest, read just before a pause of ours. */
void clock_rules_running(struct clock_rules *rules, const struct clock_words *words);

/* The words of the stopped guest, read at @now_ns, just before it is started. QEMU was told to stop at
 * @sent_ns and had stopped by @seen_ns. True: write *ret_words (ticks and clock). */
bool clock_rules_stopped(struct clock_rules *rules, const struct clock_words *words, uint64_t sent_ns,
			 uint64_t seen_ns, uint64_t now_ns, struct clock_words *ret_words);

/* The words of the running guest, read after the pause. */
void clock_rules_resumed(struct clock_rules *rules, const struct clock_words *words);

/* The words that the state saved in this pause has. */
void clock_rules_saved(struct clock_rules *rules, const struct clock_words *words);

/* What the guest's clock and ticks are to be when the host's clock says @at_ns. After
 * clock_rules_saved() of a pause that fitted, in state CORRECTED; else false. */
bool clock_rules_forecast(const struct clock_rules *rules, uint64_t at_ns, struct clock_words *ret_words);

/* @words, of a stopped guest, are those of its saved state; it is to go on with @wanted. What to
 * write: forward, never backwards, at most @step_max_ns and as many of its ticks, of which a second
 * has
 * @ticks_per_s. */
struct clock_words clock_step(const struct clock_words *words, const struct clock_words *wanted,
			      uint64_t step_max_ns, uint64_t ticks_per_s);

/* Without words that can be trusted (OFF): a pause of ours took @paused_ns. */
void clock_rules_paused(struct clock_rules *rules, uint64_t paused_ns);

/* "yes", "no" or "not yet". */
const char *clock_rules_word(const struct clock_rules *rules);

/* At @now_ns, @lost_ns were lost in all. */
void clock_loss_note(struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* Percent of the last CLOCK_LOSS_SPAN_S seconds, or of the time since the first note, that was lost. */
double clock_loss_percent(const struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* Is @percent too much? From @limit on, until it is below half of it. */
bool clock_loss_alarm(struct clock_loss *loss, double percent, uint32_t limit);

#endif
