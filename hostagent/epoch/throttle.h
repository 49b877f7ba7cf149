/* throttle.h - how much of its time a guest that outruns the link must stand still. Pure: what epochs
 * cost goes in, a percentage and a timetable come out.
 *
 * Why: a guest that makes bytes faster than the link carries them makes each epoch longer than the one
 * before (pacer.h stretches it), until an epoch is all that the guest ever writes. Memory is bounded by
 * then, but clients wait for seconds. So its vCPUs are given less time, in steps, as QEMU's
 * auto-converge does for a migration.
 *
 *	up	an epoch was slow: the way to the standby takes longer than commit_max, and nearly as
 *		long as the guest ran for it (an epoch whose way is shorter than its run makes a shorter
 *		one: that gets better by itself); or copying in the pause took longer than copy_max. The
 *		first slow epoch on end is a burst and changes nothing; small ones are never slow, they
 *		are late only when the link stands still. One step, or as many as the two times say.
 *	down	after THROTTLE_WINDOW_NS without a change, as far as what was seen would still fit with
 *		that much more running: the link at THROTTLE_LOAD_MAX_PERCENT, each epoch within bounds.
 *		At most THROTTLE_DOWN_STEPS.
 *
 * It assumes that a guest writes in proportion to its running time. One that writes the same pages
 * over and over writes less than that: it is let run later than it could be, never sooner.
 *
 * The timetable: 5 ms run, then stand still for 5 ms x percent / (100 - percent):
 *
 *	0 %    run run run run run run run run run
 *	50 %   run ─── run ─── run ─── run ─── run     ─── 5 ms each
 *	80 %   run ─────────── ─────────── run ───     20 ms on end
 *
 * Where: the epoch engine; engine_throttle.c does what it says. Threads: the engine's.
 */
#ifndef EPOCH_THROTTLE_H
#define EPOCH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_STEP_PERCENT	  10u
#define THROTTLE_DOWN_STEPS	  4u /* at a time */
#define THROTTLE_PERCENT_LIMIT	  90u
#define THROTTLE_LOAD_MAX_PERCENT 90u
#define THROTTLE_LOAD_PERCENT	  80u /* what is aimed at */
#define THROTTLE_WINDOW_NS	  UINT64_C(1000000000)
#define THROTTLE_BYTES_MIN	  UINT64_C(262144) /* of an epoch that may count as slow */
#define THROTTLE_RUN_NS		  UINT64_C(5000000)

struct throttle_config {
	uint64_t commit_max_ns; /* an epoch's way to the standby */
	uint64_t copy_max_ns;	/* copying pages in its pause */
	uint32_t percent_max;	/* most that is taken from the guest, 0..THROTTLE_PERCENT_LIMIT; 0: never */
};

/* What an epoch cost. */
struct throttle_epoch {
	uint64_t run_ns;      /* the guest ran for it (standing still by us included) */
	uint64_t copy_ns;     /* its pages were copied with the guest stopped */
	uint64_t commit_ns;   /* from the end of its pause to its commit, as far as can be told */
	uint64_t transfer_ns; /* its bytes at the link's rate; 0: the rate is not known */
	uint64_t bytes;	      /* of its frames */
};

struct throttle {
	struct throttle_config config;
	uint32_t percent; /* what is taken now */
	uint32_t n_slow;  /* slow epochs on end */
	struct {	  /* since the last change, or the last look for one */
		uint64_t start_ns;
		uint64_t transfer_ns; /* of all its epochs */
		uint64_t commit_ns;   /* longest */
		uint64_t copy_ns;     /* longest */
	} window;
	bool is_stop;	       /* timetable: the slice that ends at ... */
	uint64_t slice_end_ns;
	uint64_t n_begun; /* times that percent left 0 */
};

void throttle_init(struct throttle *throttle, const struct throttle_config *config);

/* An epoch was encoded. True: `percent` changed. */
bool throttle_sealed(struct throttle *throttle, uint64_t now_ns, const struct throttle_epoch *epoch);

/* A round of a FULL epoch found @n_pages, the one before @n_before, and sending them takes @round_ns.
 * True: another round is worth it. Rounds that take long and do not get shorter raise `percent`; when
 * clients wait for the end of this epoch (@is_awaited) that helps those after it, else the next round. */
bool throttle_full_round(struct throttle *throttle, uint64_t now_ns, uint32_t n_pages,
			 uint32_t n_before, uint64_t round_ns, bool is_awaited);

/* The stream is gone: nothing that the guest writes has to be carried. */
void throttle_reset(struct throttle *throttle, uint64_t now_ns);

/* Is the guest to stand still at @now_ns? */
bool throttle_wants_stop(struct throttle *throttle, uint64_t now_ns);

/* When the answer of the last throttle_wants_stop() changes; UINT64_MAX: not by time. */
uint64_t throttle_slice_end_ns(const struct throttle *throttle);

#endif
