/* pacer.h - decides when the next epoch is sealed.
 *
 * Why: each seal pauses the guest, and each delay of a seal makes the guest's clients wait. While
 * no frame is held, an epoch can last up to epoch_max. When the first frame is held, the seal comes
 * as soon as epoch_min and two budgets allow. The budgets limit the share of time that pauses take.
 * A budget is an amount of time: how long pauses may still take. It grows while the guest runs, and
 * each pause is charged to it:
 *
 *      budget (ns of pause)  grows by share/(1-share) per ns of running, at most PACER_BURST_NS
 *        +20 ms ┤■■■■■■■■            ← after a long run: several seals can follow at once
 *	       0 ┤        ■■■■■■
 *        -5 ms ┤              ▼      ← one seal can overdraw the budget; the next seal waits
 *	                                until the budget is back at 0
 *
 * The first budget (pause_share_max) limits how much computing time the guest loses by pauses. A
 * guest that waits for its clients loses little by a pause. So a pause is charged in proportion to
 * how busy the guest was in the epoch that the pause ends. But at least PACER_IDLE_CHARGE_PERCENT
 * of the pause is charged, because a seal also costs the host CPU time. An example with a share of
 * 20 %:
 *
 *      busy 100 %   a pause of 2.5 ms needs 10 ms of running
 *      busy   0 %   a pause of 2.5 ms needs 2.5 ms of running
 *
 * The second budget (wall_share_max) limits the share of all time that pauses take, however busy
 * the guest is. It applies only while the guest's clock is not corrected (vmm/clock_rules.h),
 * because such a clock loses the time of each pause.
 *
 * If the whole host stands still, a pause can last for seconds. With a budget that had to make up
 * for all of it, the next seal, and with it the guest's output, would be delayed for many times as
 * long. So a budget never falls lower than what a run of PACER_DEBT_RUN_NS brings back to 0.
 *
 * If a guest changes memory faster than the link carries the changes, its epochs are made longer.
 * In a longer epoch, more pages are written several times but sent only once. Three rules delay a
 * seal further:
 *
 *      backlog    If there is no room to encode an epoch, wait for a commit, which makes room.
 *      in flight  If epochs_in_flight epochs are not committed, wait for a commit.
 *      link       If encoded data will keep the link busy for over PACER_BACKLOG_NS, wait. A seal
 *                 now would not make the commit come sooner, and more pages would be sent twice.
 *
 * Where: owned by the epoch engine's thread; pure, time is passed in; never blocks or allocates.
 */
#ifndef EPOCH_PACER_H
#define EPOCH_PACER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PACER_BURST_NS		  (20 * CLOCK_NS_PER_MS)
#define PACER_IDLE_CHARGE_PERCENT 25u
#define PACER_DEBT_RUN_NS	  CLOCK_NS_PER_S
/* The link rule allows a seal if the encoded data keep the link busy for at most this time. This
 * time is longer than a usual pause, so the link always has data to send in a pause. */
#define PACER_BACKLOG_NS	  (25 * CLOCK_NS_PER_MS)
/* pacer_link() forecasts how long the link will be busy, but at most this far ahead */
#define PACER_LOOK_NS		  (5 * CLOCK_NS_PER_MS)
/* an epoch that is delayed by less than this does not count as stretched */
#define PACER_STRETCH_MIN_NS	  (5 * CLOCK_NS_PER_MS)

struct pacer_config {
	uint64_t epoch_min_ns;	  /* shortest time for which the guest runs between two seals */
	uint64_t epoch_max_ns;	  /* longest epoch while nothing is held; >= epoch_min_ns */
	uint32_t pause_share_max; /* percent of the guest's computing time that pauses may take,
				   * 1..90 */
	uint32_t wall_share_max;  /* percent of all time that pauses may take while the guest's
				   * clock is not corrected, 1..90 */
	uint32_t in_flight_max;	  /* largest number of uncommitted epochs, >= 1 */
};

struct pacer_budget {
	uint32_t share; /* share of the time that pauses may take, in percent */
	uint64_t at_ns; /* the guest's running time up to this time is credited to the budget */
	int64_t ns; /* how long pauses may still take; negative: overdrawn */
};

struct pacer {
	struct pacer_config config;
	uint64_t resumed_ns; /* when the guest last resumed, which began the running epoch */
	struct pacer_budget computed, wall;
	bool is_clock_corrected; /* true: the wall budget does not apply */
	uint32_t in_flight;    /* number of epochs that are sealed but not committed */
	bool is_backlog_full;  /* no more can be encoded before a commit makes room */
	bool demand;	       /* a frame is held in the running epoch, or another reason calls for
				* a seal */
	bool full;	       /* the hold or a disk's ring is filling, so the seal does not wait
				* for the budgets */
	uint64_t demand_ns;    /* when `demand` became true */
	uint64_t link_free_ns; /* no seal is made before this time, because the link is busy; 0: the
				* link is not busy */
	/* number of stretched epochs: their seal came later than the budgets required, because it
	 * waited for the link, for a commit or for the encoder */
	uint64_t n_stretched;
	uint64_t stretched_ns; /* total time by which these seals came late */
};

/* Start at @now_ns, with a running guest and both budgets at 0. */
void pacer_init(struct pacer *pacer, const struct pacer_config *config, uint64_t now_ns);

/* Report the state of the link. @waiting_bytes: bytes that are encoded, but not yet acknowledged by
 * the other end. @bytes_per_ns: the link's rate; 0: not known, so the link rule delays no seal.
 * Call this often while bytes wait. */
void pacer_link(struct pacer *pacer, uint64_t now_ns, uint64_t waiting_bytes, double bytes_per_ns);

/* Report that since @now_ns a frame of the running epoch is held, or that another reason calls for
 * a seal. @full: the hold or a disk's ring is filling, so the seal must not wait for the
 * budgets. */
void pacer_demand(struct pacer *pacer, uint64_t now_ns, bool full);

/* Count by how much the running epoch was stretched. Call this right before its seal. */
void pacer_sealing(struct pacer *pacer, uint64_t now_ns);

/* Report a seal that paused the guest from @paused_ns to @resumed_ns. @busy_ns: CPU time of the
 * guest's busiest vCPU in the epoch that ended; at most the epoch's length counts. */
void pacer_sealed(struct pacer *pacer, uint64_t paused_ns, uint64_t resumed_ns, uint64_t busy_ns);

/* Report whether from now on the guest's clock is corrected for pauses. After pacer_init() it
 * counts as not corrected. */
void pacer_clock(struct pacer *pacer, bool is_corrected);

/* Report that @n_in_flight epochs are uncommitted. @is_backlog_full: no more can be encoded before
 * a commit makes room. */
void pacer_in_flight(struct pacer *pacer, uint32_t n_in_flight, bool is_backlog_full);

/* Return the time at which to seal the running epoch. A time in the past: seal now. UINT64_MAX: not
 * before a commit arrives. If the link delays the seal, call pacer_link() again before the returned
 * time; the result can then change. */
uint64_t pacer_due_ns(const struct pacer *pacer);

/* Return what the next seal waits for, as a text for the operator: "demand" (a frame is held, so
 * the seal waits only for epoch_min), "epoch_max", "pause budget", "clock budget" (wall_share_max)
 * or "hold full". While the epoch is stretched: "backlog", "in flight" or "link". */
const char *pacer_reason(const struct pacer *pacer, uint64_t now_ns);

#endif
