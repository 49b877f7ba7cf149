/* clock_rules.h - decides when, and by how much, to set a guest's clock forward in a pause.
 *
 * Why: QEMU's virtual clock stands still while the guest is stopped, and QEMU never makes up for
 * this. For example, with 86 pauses of 4.6 ms per second the guest's clock loses 40 %. QEMU stores
 * two offsets: one for the guest's clock, and one for its tick counter (struct clock_words). Below,
 * these two offsets are called the words:
 *
 *	the guest runs     clock = offset + the host's CLOCK_MONOTONIC      ticks = offset + the host's TSC
 *	it is stopped      clock = offset                                   ticks = offset
 *
 * While the guest runs, the offset is constant. Each pause makes the offset smaller by the pause's
 * length. To correct this, we set the stopped guest's offset just before the guest resumes. With
 * the new offset the guest's clock shows what it would show if the guest had never been stopped:
 *
 *	            stop at time T                the words are set at `now`  start
 *	guest's     ─────┐ stands at C                     ┌──────────────────────
 *	clock            └─────────────────────────────────┘ target + now + cost
 *                        C = running offset + T     cost: time from setting the words to the start,
 *	                                            as measured in earlier pauses
 *
 * Each correction restores the running offset as it was before the first pause (`target`). So the
 * errors of single corrections do not add up. Ticks are treated in the same way. Their rate per
 * nanosecond is computed from two stops.
 *
 * QEMU does not expect that another process writes to the words in its memory. So we write nothing
 * until the words have passed these checks at CLOCK_PROOFS seals:
 *  1. The words did not change while the guest ran.
 *  2. The words say when the guest stopped. This time is between our command `stop` and QEMU's
 *     report that the guest is stopped.
 *  3. The ticks grew at the rate measured so far.
 *  4. The saved device state has exactly the words in QEMU's memory. So the words did not change
 *     during the pause either.
 * If check 1 fails, that seal does not count as one of the CLOCK_PROOFS seals. If check 2 or 3
 * fails, during these seals or afterwards, the clock is not corrected in that pause. After
 * CLOCK_MISSES_MAX such pauses in a row, or if check 4 fails, correction is turned off for good.
 *
 * If somebody else pauses the guest (with `stop`), we do not correct that pause: the clock is meant
 * to stand still. Such a pause changes the running offset between two pauses of ours. The target
 * then moves by the same amount. If a part of a pause is somebody else's, no part of that pause is
 * corrected.
 *
 *	PROVING ──3 proofs──► CORRECTED ──► OFF (for good; `why` holds the reason)
 *	   └────────────────────────────────►┘
 *
 * A single step is limited to step_max, and the following pauses correct what is left. Without the
 * limit, a guest whose clock jumped by 20 s would believe that a processor hung.
 *
 * Where: guestclock.h owns a struct clock_rules and carries out its decisions. Threads: one. Pure:
 * no I/O, no clock of its own.
 */
#ifndef VMM_CLOCK_RULES_H
#define VMM_CLOCK_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define CLOCK_PROOFS	  3u
#define CLOCK_MISSES_MAX  20u /* correction is turned off after this many failed pauses in a row */
/* the average cost of a start leaves out every start that takes longer than this */
#define CLOCK_COST_MAX_NS (100 * CLOCK_NS_PER_MS)
#define CLOCK_LOSS_SLOTS  64u
#define CLOCK_LOSS_SPAN_S 60u

/* QEMU's two offsets. QEMU stores them as int64_t; our arithmetic wraps in the same way. */
struct clock_words {
	uint64_t ticks;
	uint64_t clock;	 /* offset of the guest's clock, in ns */
	/* QEMU's flag: true if these are the offsets of a running guest, false if of a stopped
	 * one */
	bool is_running;
};

enum clock_state {
	CLOCK_PROVING	= 0,
	CLOCK_CORRECTED = 1,
	CLOCK_OFF	= 2,
};

/* The total guest time lost: one value for each of the last seconds, in a ring of slots. */
struct clock_loss {
	bool is_alarm; /* true while the loss counts as too high (see clock_loss_alarm()) */
	/* the second to which the slot belongs; 0 if the slot is empty */
	uint64_t second[CLOCK_LOSS_SLOTS];
	uint64_t lost_ns[CLOCK_LOSS_SLOTS]; /* total loss when that second began */
};

struct clock_rules {
	enum clock_state state;
	const char *why; /* in state OFF, the reason (static text); else "" */
	uint64_t step_max_ns;

	/* What is known between pauses. */
	bool has_running;
	/* QEMU's words as last read while the guest ran; valid if has_running */
	struct clock_words running;
	/* the value that `running` would have without any pause; valid if has_running */
	struct clock_words target;
	/* the clock words did not change while the guest ran before the current pause */
	bool is_steady;

	/* What is known about the current pause: the clock words that were read and then written,
	 * when they were written, and when the guest was stopped. */
	bool is_ours; /* the pause passed the checks; stopped, written and set_ns are valid */
	struct clock_words stopped, written;
	uint64_t set_ns;
	uint64_t stop_ns, stop_ticks; /* the host's clock and tick counter when QEMU stopped */

	/* What was measured at earlier pauses. */
	/* 0: no stop is known; 1: the first stop is known; 2: the rate is known, too */
	uint32_t n_stops;
	uint64_t first_ns, first_ticks; /* the host's clock and tick counter at the first stop */
	double rate;		      /* ticks per nanosecond */
	bool is_rate_same;	      /* the last two measured rates agree */
	/* average time from our writing the words until QEMU starts the guest */
	uint64_t cost_ns;
	uint32_t n_proofs, n_misses;
	uint64_t n_set; /* number of pauses after which the clock was set forward */

	/* Guest time lost. */
	uint64_t forgotten_ns; /* guest time lost before the target was last reset */
	/* guest time that our pauses have taken and that was not given back yet */
	uint64_t lost_ns;
};

/* Initialize @rules. @step_max_ns: the largest step forward at one pause. */
void clock_rules_init(struct clock_rules *rules, uint64_t step_max_ns);

/* Turn correction off for good. @why is static text; if correction is off already, the first reason
 * is kept. */
void clock_rules_off(struct clock_rules *rules, const char *why);

/* Pass in the clock words of the running guest, read just before a pause of ours. */
void clock_rules_running(struct clock_rules *rules, const struct clock_words *words);

/* Pass in the clock words of the stopped guest, read at @now_ns, just before QEMU starts the guest.
 * QEMU was told to stop at @sent_ns and had stopped by @seen_ns. If the guest then stays stopped
 * for longer, call this again just before QEMU starts it, with the same @sent_ns and @seen_ns. Call
 * clock_rules_resumed() only after the last of these calls. Returns true if the caller must set the
 * guest's ticks and clock to *ret_words. */
bool clock_rules_stopped(struct clock_rules *rules, const struct clock_words *words,
			 uint64_t sent_ns, uint64_t seen_ns, uint64_t now_ns,
			 struct clock_words *ret_words);

/* Pass in the clock words of the running guest, read after the pause. */
void clock_rules_resumed(struct clock_rules *rules, const struct clock_words *words);

/* Pass in the clock words found in the device state that was saved in this pause. */
void clock_rules_saved(struct clock_rules *rules, const struct clock_words *words);

/* Compute what the guest's clock and ticks should be when the host's clock says @at_ns. Returns
 * true and sets *ret_words if the state is CORRECTED, and the last pause and its saved state passed
 * the checks. Otherwise returns false. */
bool clock_rules_forecast(const struct clock_rules *rules, uint64_t at_ns,
			  struct clock_words *ret_words);

/* Returns the clock words to write to a stopped guest that has @words and should continue with
 * @wanted. The clock never goes backwards. It goes forward by at most @step_max_ns, and the ticks
 * go forward by at most the number of ticks in @step_max_ns. */
struct clock_words clock_step(const struct clock_words *words, const struct clock_words *wanted,
			      uint64_t step_max_ns, uint64_t ticks_per_s);

/* Note that a pause of ours took @paused_ns. This is counted only in state OFF, in which the lost
 * time cannot be computed from QEMU's words. */
void clock_rules_paused(struct clock_rules *rules, uint64_t paused_ns);

/* Does the guest get the time of pauses back? Returns "yes", "no" or "not yet". */
const char *clock_rules_word(const struct clock_rules *rules);

/* Note that at @now_ns the total loss is @lost_ns. */
void clock_loss_note(struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* Returns the percentage of guest time lost in the last CLOCK_LOSS_SPAN_S seconds. If the first
 * clock_loss_note() was less long ago, returns the percentage since then. */
double clock_loss_percent(const struct clock_loss *loss, uint64_t now_ns, uint64_t lost_ns);

/* Returns true if the loss of @percent is too high. The alarm starts at @limit and ends when
 * @percent falls below half of @limit. */
bool clock_loss_alarm(struct clock_loss *loss, double percent, uint32_t limit);

#endif
