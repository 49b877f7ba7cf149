/* throttle.h - slows down a guest that changes memory faster than the link carries the changes.
 * Decides for what share of the time the guest must stand still, and when. Pure: it turns the
 * measured costs of epochs into a percentage and a timetable.
 *
 * Why: without a throttle, each epoch of such a guest gets longer than the one before (pacer.h).
 * In the end each epoch contains all pages that the guest uses for writing, and clients wait for
 * seconds. So the throttle gives the guest's vCPUs less time, in steps, as QEMU's auto-converge
 * does for a migration.
 *
 * Up. An epoch is slow in two cases:
 * - Copying in the pause took longer than copy_max.
 * - The transfer to the standby takes longer than commit_max, and nearly as long as the guest ran
 *   in the epoch. (If the guest ran for much longer, the next epochs get shorter by themselves.)
 * Small epochs never count as slow: if a small epoch is late, the link stands still. The first slow
 * epoch changes nothing. Each slow epoch directly after a slow epoch raises the throttle by one
 * step, or by as many steps as an epoch like this one needs to stay within the limits.
 *
 * Down. After THROTTLE_WINDOW_NS without a change, the throttle goes down by at most
 * THROTTLE_DOWN_STEPS steps. For each step, the measurements of this time (the window) are scaled
 * to the guest's longer running time. The throttle goes down only if each epoch would then stay
 * within the limits, and the epochs together would use at most THROTTLE_LOAD_MAX_PERCENT of the
 * link.
 *
 * The rules assume that the bytes of an epoch grow in proportion to the guest's running time. If a
 * guest writes the same pages over and over, the bytes grow more slowly. For such a guest the
 * throttle goes down later than necessary, but never too early.
 *
 * The timetable: 5 ms run, then stand still for 5 ms x percent / (100 - percent):
 *
 *	0 %    run run run run run run run run run
 *	50 %   run ─── run ─── run ─── run ─── run     each stop ("───") takes 5 ms
 *	80 %   run ─────────────────── run ───────     each stop takes 20 ms
 *
 * Where: used by the epoch engine; engine_throttle.c stops and resumes the vCPUs. Threads: the
 * engine's.
 */
#ifndef EPOCH_THROTTLE_H
#define EPOCH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define THROTTLE_STEP_PERCENT	  10u
#define THROTTLE_DOWN_STEPS	  4u /* most steps down at a time */
#define THROTTLE_PERCENT_LIMIT	  90u
#define THROTTLE_LOAD_MAX_PERCENT 90u
#define THROTTLE_LOAD_PERCENT	  80u /* load that the throttle aims at when it is raised */
#define THROTTLE_WINDOW_NS	  CLOCK_NS_PER_S
#define THROTTLE_BYTES_MIN	  UINT64_C(262144) /* smaller epochs never count as slow */
#define THROTTLE_RUN_NS		  (5 * CLOCK_NS_PER_MS)

struct throttle_config {
	uint64_t commit_max_ns; /* limit of the time to transfer an epoch to the standby */
	uint64_t copy_max_ns;	/* limit of the time to copy pages in an epoch's pause */
	uint32_t percent_max;   /* largest throttle, 0..THROTTLE_PERCENT_LIMIT; 0: never throttle */
};

/* What an epoch cost. */
struct throttle_epoch {
	uint64_t run_ns;      /* length of the epoch without its pause; includes the time for which
			       * the throttle stopped the guest */
	uint64_t copy_ns;     /* time to copy the epoch's pages while the guest was stopped */
	uint64_t commit_ns;   /* estimated time from the end of the epoch's pause to its commit */
	uint64_t transfer_ns; /* time to send the epoch's bytes at the link's rate; 0: the rate is
			       * not known */
	uint64_t bytes;	      /* size of the epoch's frames */
};

struct throttle {
	struct throttle_config config;
	uint32_t percent; /* the throttle: for what percentage of the time the guest stands still */
	uint32_t n_slow;  /* number of slow epochs in a row */
	/* measured since `percent` last changed, or since the last check for a step down */
	struct {
		uint64_t start_ns;
		uint64_t transfer_ns; /* sum of the transfer times of the window's epochs */
		uint64_t commit_ns;   /* longest commit time of the window's epochs */
		uint64_t copy_ns;     /* longest copy time of the window's epochs */
	} window;
	bool is_stop;	       /* true: the timetable has a stop now; false: a run */
	uint64_t slice_end_ns; /* when the current stop or run ends */
	uint64_t n_begun; /* how many times `percent` rose from 0 */
};

void throttle_init(struct throttle *throttle, const struct throttle_config *config);

/* Report an ordinary epoch that was encoded. Returns true if `percent` changed. */
bool throttle_sealed(struct throttle *throttle, uint64_t now_ns,
		     const struct throttle_epoch *epoch);

/* Report a round of a FULL epoch. The round found @n_pages pages, and sending them takes @round_ns.
 * The previous round found @n_before pages. @is_awaited: clients wait for the end of this epoch.
 * Returns true if another round is worth it.
 * If rounds get shorter, returns true. If they do not, but are short, returns false. If they are
 * long and do not get shorter, raises `percent`, which makes later rounds and epochs shorter;
 * returns true if that was possible and nobody waits. */
bool throttle_full_round(struct throttle *throttle, uint64_t now_ns, uint32_t n_pages,
			 uint32_t n_before, uint64_t round_ns, bool is_awaited);

/* Set `percent` to 0. Call this when the stream is gone: nothing is sent then, so the guest need
 * not be slowed down. */
void throttle_reset(struct throttle *throttle, uint64_t now_ns);

/* Should the guest stand still at @now_ns? */
bool throttle_wants_stop(struct throttle *throttle, uint64_t now_ns);

/* Return when the result of the last throttle_wants_stop() changes. UINT64_MAX: it does not change
 * with time. */
uint64_t throttle_slice_end_ns(const struct throttle *throttle);

#endif
