/* clock_rules.h - decides when, and by how much, to set a guest's clock forward in a pause.
 *
 * Why: QEMU's virtual clock stands still while the guest is stopped. 86 pauses of 4.6 ms per second
 * cost the guest 40 % of its time, and nothing gives it back. QEMU keeps its clock as two offsets
 * (struct clock_words):
 *
 *	the guest runs     clock = offset + the host's CLOCK_MONOTONIC      ticks = offset + the host's TSC
 *	it is stopped      clock = offset                                   ticks = offset
 *
 * So the running guest's offset is constant, and each pause makes it smaller by the pause's length.
 * To give the pause back, we set the stopped guest's offset to the value that the clock would have
 * at the start, had the guest never stopped:
 *
 *	            stop                          the words are set          start
 *	guest's     ─────┐ stands at C                     ┌──────────────────────
 *	clock            └─────────────────────────────────┘ target + now + cost
 *	                 C = running + time of the stop       cost: from here to QEMU's start, as learnt
 *
 * The aim is always the running offset at the beginning (`target`), so that errors do not add up.
 * Ticks are treated in the same way; two stops give their rate per nanosecond.
 *
 * The words are memory of a program that does not know of us. So we write nothing before they have
 * passed these checks at CLOCK_PROOFS seals:
 *  - they did not change while the guest ran;
 *  - the time of the stop, computed from them, lies between our order and QEMU's report of the
 * stop;
 *  - the ticks grew at the same rate as before;
 *  - the saved device state holds exactly the same words (so they also stood still in the pause).
 * A pause that fails a check is not corrected; a saved state that differs ends correction for good.
 *
 * A pause by somebody else is meant to stop the clock and is not given back: the running offset
 * then differs from the one after our last pause, and the target moves with it. A pause that is
 * partly ours and partly somebody else's is not given back either.
 *
 *	PROVING ──3 proofs──► CORRECTED ──► OFF (for good, `why` says it)
 *	   └────────────────────────────────►┘
 *
 * A jump is at most step_max: a guest whose clock jumps by 20 s believes that a processor hung. The
 * rest is given back at the next pauses.
 *
 * Where: guestclock.h owns one and carries it out. Threads: one. Pure: no I/O, no clock of its own.
 */
#ifndef VMM_CLOCK_RULES_H
#define VMM_CLOCK_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define CLOCK_PROOFS	  3u
#define CLOCK_MISSES_MAX  20u /* this many failed pauses in a row turn correction off */
#define CLOCK_COST_MAX_NS (100 * CLOCK_NS_PER_MS) /* a slower start predicts nothing */
#define CLOCK_LOSS_SLOTS  64u
#define CLOCK_LOSS_SPAN_S 60u

/* QEMU's two offsets; numbers wrap as its int64_t do. */
struct clock_words {
	uint64_t ticks;
	uint64_t clock;	 /* ns */
	bool is_running; /* QEMU's flag: which of the two meanings the offsets have */
};

enum clock_state {
	CLOCK_PROVING	= 0,
	CLOCK_CORRECTED = 1,
	CLOCK_OFF	= 2,
};

/* Lost guest time, second by second. */
struct clock_loss {
	bool is_alarm; /* the loss is too high */
	uint64_t second[CLOCK_LOSS_SLOTS];  /* the slot's second; 0: empty */
	uint64_t lost_ns[CLOCK_LOSS_SLOTS]; /* total loss when that second began */
};

struct clock_rules {
	enum clock_state state;
	const char *why; /* OFF: the reason, static text; else "" */
	uint64_t step_max_ns;

	/* between pauses */
	bool has_running;
	struct clock_words running; /* as last read while the guest ran; valid if has_running */
	struct clock_words target;  /* what they should be; valid if has_running */
	bool is_steady;		    /* they did not change between the last pause and this one */

	/* of the current pause */
	bool is_ours; /* it passed the checks: stopped, written and set_ns are valid */
	struct clock_words stopped, written;
	uint64_t set_ns;
	uint64_t stop_ns, stop_ticks; /* the host's clock and tick counter at the stop */

	/* learnt */
	uint32_t n_stops;	      /* 0: none; 1: first stop known; 2: rate known */
	uint64_t first_ns, first_ticks; /* of the host, at the first stop */
	double rate;		      /* ticks per nanosecond */
	bool is_rate_same;	      /* the last two rates agree */
	uint64_t cost_ns;	      /* from setting the words to QEMU's start */
	uint32_t n_proofs, n_misses;
	uint64_t n_set; /* pauses given back */

	/* figures */
	uint64_t forgotten_ns; /* lost before the target was last reset */
	uint64_t lost_ns;      /* guest time that our pauses took and nobody gave back */
};

/* @step_max_ns: the longest jump. */
void clock_rules_init(struct clock_rules *rules, uint64_t step_max_ns);

/* Turn correction off; @why is static text. The first reason stays. */
void clock_rules_off(struct clock_rules *rules, const char *why);

/* Take the words of the running guest, read just before a pause of ours. */
void clock_rules_running(struct clock_rules *rules, const struct clock_words *words);

/* Take the words of the stopped guest, read at @now_ns, just before it is started. QEMU was told to
 * stop at @sent_ns and had stopped by @seen_ns. True: the caller must write *ret_words (ticks and
 * clock). */
bool clock_rules_stopped(struct clock_rules *rules, const struct clock_words *words,
			 uint64_t sent_ns, uint64_t seen_ns, uint64_t now_ns,
			 struct clock_words *ret_words);

/* Take the words of the running guest, read after the pause. */
void clock_rules_resumed(struct clock_rules *rules, const struct clock_words *words);

/* Take the words in the device state that was saved in this pause. */
void clock_rules_saved(struct clock_rules *rules, const struct clock_words *words);

/* Compute what the guest's clock and ticks should be when the host's clock says @at_ns. Works in
 * state CORRECTED, after clock_rules_saved() of a pause that passed the checks; else false. */
bool clock_rules_forecast(const struct clock_rules *rules, uint64_t at_ns,
			  struct clock_words *ret_words);

/* Returns the words to write to a stopped guest that was loaded with @words and should go on with
 * @wanted: never backwards, and forward by at most @step_max_ns and the same time in ticks (a
 * second has @ticks_per_s). */
struct clock_words clock_step(const struct clock_words *words, const struct clock_words *wanted,
			      uint64_t step_max_ns, uint64_t ticks_per_s);

/* In state OFF, where no words can be trusted: note that a pause of ours took @paused_ns. */
void clock_rules_paused(struct clock_rules *rules, uint64_t paused_ns);

/* Are pauses given back? "yes", "no" or "not yet". */
const char *clock_rules_word(const struct clock_rules *rules);

/* Note that at @now_ns the total loss is @lost_ns. */
void clock_loss_note(struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* How many percent of the last CLOCK_LOSS_SPAN_S seconds (or of the time since the first note) were
 * lost. */
double clock_loss_percent(const struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* Is @percent too much? Yes from @limit on, and then until it falls below half of @limit. */
bool clock_loss_alarm(struct clock_loss *loss, double percent, uint32_t limit);

#endif
