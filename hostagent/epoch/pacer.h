/* pacer.h - when the next epoch is sealed.
 *
 * Why: sealing costs the guest a pause, not sealing costs its clients latency. Epochs are demand
 * driven: while nothing is held an epoch may last epoch_max; the first held frame asks for a seal
 * as soon as epoch_min and the pause budget allow. Two budgets bound two different shares. Each
 * grows while the guest runs and pays for pauses:
 *
 *	budget (ns of pause)  grows by share/(1-share) per ns of running, capped at PACER_BURST_NS
 *	  +20 ms ┤■■■■■■■■            ← idle guest: a burst of seals may follow at once
 *	       0 ┤        ■■■■■■
 *	  -5 ms ┤              ▼      ← a seal may overdraw once; the next waits until >= 0
 *
 * pause_share_max: the share of what the guest would have computed. A guest that waits for its
 * clients loses little by a pause (and most guests do wait while their replies are held). So a
 * pause is charged by how busy the guest was in the epoch before it, but with at least
 * PACER_IDLE_CHARGE_PERCENT, which bounds what sealing costs the host. A guest that mostly waits
 * may thus be paused for up to half of all time:
 *
 *	busy 100 %   a pause of 2.5 ms needs 10 ms of running (share 20 %)
 *	busy   0 %   a pause of 2.5 ms needs 2.5 ms of running
 *
 * wall_share_max: the share of all time, whatever the guest does. It counts only where the guest's
 * clock is not corrected (vmm/clock_rules.h): there the guest's clock loses the time of each pause.
 *
 * The debt of one pause is paid back within at most PACER_DEBT_RUN_NS of running. If the whole host
 * stood still for seconds in a pause, that is not the cost of sealing; it must not hold the guest's
 * output for many times as long.
 *
 * A guest that makes bytes faster than the link carries them gets longer epochs: the longer the
 * epoch, the more pages are written twice and sent once. Three rules stretch an epoch, even if a
 * seal is wanted:
 *
 *	backlog	   no seal while there is no room to encode an epoch; a commit makes room
 *	in flight  at most epochs_in_flight epochs are uncommitted; then the pacer waits for a commit
 *	link	   no seal while encoded data would keep the link busy for over PACER_BACKLOG_NS:
 *		   it would not commit sooner, and pages written again would be sent twice
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
#define PACER_BACKLOG_NS	  (25 * CLOCK_NS_PER_MS) /* more than a pause */
#define PACER_LOOK_NS		  (5 * CLOCK_NS_PER_MS) /* a forecast is valid this long */
#define PACER_STRETCH_MIN_NS	  (5 * CLOCK_NS_PER_MS) /* shorter delays do not count */

struct pacer_config {
	uint64_t epoch_min_ns;	  /* shortest run time between two seals */
	uint64_t epoch_max_ns;	  /* longest epoch while nothing is held; >= epoch_min_ns */
	uint32_t pause_share_max; /* percent of what the guest would have computed, 1..90 */
	uint32_t wall_share_max;  /* percent of all time, while its clock is not corrected, 1..90 */
	uint32_t in_flight_max;	  /* uncommitted epochs, >= 1 */
};

struct pacer_budget {
	uint32_t share; /* percent */
	uint64_t at_ns; /* time up to which it has been credited */
	int64_t ns;	/* pause time in hand; negative after an overdraft */
};

struct pacer {
	struct pacer_config config;
	uint64_t resumed_ns; /* when the guest last resumed (start of the running epoch) */
	struct pacer_budget computed, wall;
	bool is_clock_corrected; /* the wall budget does not count */
	uint32_t in_flight;    /* sealed, not committed */
	bool is_backlog_full;  /* nothing more can be encoded before a commit */
	bool demand;	       /* a frame is held in the running epoch */
	bool full;	       /* the hold is at its limit: seal regardless of the budget */
	uint64_t demand_ns;    /* when demand became true */
	uint64_t link_free_ns; /* the link is busy until then: no seal before; 0: it is not busy */
	uint64_t n_stretched;  /* epochs that link, commits or encoding made longer than wanted */
	uint64_t stretched_ns; /* by how much, in all */
};

/* Start at @now_ns with the guest running and an empty budget. */
void pacer_init(struct pacer *pacer, const struct pacer_config *config, uint64_t now_ns);

/* Report the link: @waiting_bytes are encoded and not yet acknowledged by the other end, and the
 * link takes @bytes_per_ns (0: not known, only the in-flight rule counts). Call it often while
 * bytes wait. */
void pacer_link(struct pacer *pacer, uint64_t now_ns, uint64_t waiting_bytes, double bytes_per_ns);

/* A frame of the running epoch is held at @now_ns; @full: the hold reached its limit. */
void pacer_demand(struct pacer *pacer, uint64_t now_ns, bool full);

/* The running epoch is about to be sealed: add to the stretch counters. */
void pacer_sealing(struct pacer *pacer, uint64_t now_ns);

/* An epoch was sealed: the guest was paused for [@paused_ns, @resumed_ns]. @busy_ns: CPU time that
 * the guest's busiest vCPU took while the epoch ran (more than the epoch's length counts as
 * that). */
void pacer_sealed(struct pacer *pacer, uint64_t paused_ns, uint64_t resumed_ns, uint64_t busy_ns);

/* Whether the guest's clock is corrected for pauses from now on; false after pacer_init(). */
void pacer_clock(struct pacer *pacer, bool is_corrected);

/* @n_in_flight epochs are uncommitted now; @is_backlog_full: no more can be encoded before a
 * commit. */
void pacer_in_flight(struct pacer *pacer, uint32_t n_in_flight, bool is_backlog_full);

/* When to seal the running epoch. A time that is over means now, UINT64_MAX "not before a commit
 * arrives". While the link is busy, this is when to call pacer_link() again. */
uint64_t pacer_due_ns(const struct pacer *pacer);

/* What pacer_due_ns() waits for, for people: "demand", "epoch_max", "pause budget", "clock budget"
 * (wall_share_max), "hold full", and while the epoch is stretched "backlog", "in flight" or
 * "link". */
const char *pacer_reason(const struct pacer *pacer, uint64_t now_ns);

#endif
