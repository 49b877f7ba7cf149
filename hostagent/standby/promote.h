/* promote.h - load the copy into the warm QEMU and let the guest run.
 *
 * Why: this is the failover; every millisecond of it is one in which no client is served.
 *
 *	apply what is complete ─ write ROM blocks ─ getfd + migrate-incoming ─ event completed
 *	  (epochlog_apply)        (process memory)        (device blob)
 *	 ─ meta: term, phase=promoted ─ guest's clock ─ cont ─ meta: phase=running ─ announce-self
 *
 * Why this order (a kill -9 of the agent between any two steps):
 *  P1 up to `meta: promoted` nothing durable has changed: the copy is still epoch N, the order can be
 *     carried out again with a fresh QEMU (loading writes no guest RAM).
 *  P2 the new term is on file before the first instruction runs here. No agent can come back and take
 *     this copy for one of the old term.
 *  P3 between `promoted` and `running` the guest may or may not have run. The same order, repeated,
 *     continues the same QEMU if it still waits; a QEMU that is gone is never replaced: the RAM file
 *     may no longer fit the device blob.
 *
 * Where: standby.c, on its thread. Threads: one. Blocks as long as it moves on: a step in which
 * nothing does, an answer of QEMU's that does not come, ends it after the timeout given.
 */
#ifndef STANDBY_PROMOTE_H
#define STANDBY_PROMOTE_H

#include <stdint.h>

#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"

/* How long each step took; all 0 until a promotion succeeded. */
struct promote_times {
	uint64_t apply_ns, rom_ns, load_ns, record_ns, clock_ns, cont_ns, total_ns;
	bool is_running; /* QEMU said so behind `cont` */
};

/* The guest's clock at a promotion. */
struct promote_clock {
	uint64_t step_max_ns; /* in; 0: leave it alone */
	uint64_t step_ns;     /* out: set forward by that; 0: not */
	const char *why;      /* out: why not; static text, else "" */
};

/* Would an order to promote into @term with an epoch of at least @min_epoch be obeyed? Does nothing.
 * 0; -EALREADY: the guest runs here in @term (or was about to: promote_guest() finishes that);
 * -ESTALE: @term is not newer than the held one; -ENODATA: no complete epoch, or one older than
 * @min_epoch. On error @ret_text (QEMU_TEXT_MAX bytes) says why. */
int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch, char *ret_text)
	__attribute__((warn_unused_result));

/* Do it, with the guest's clock set forward by @view where that can be proved right;
 * promote_check() said yes, @q is warm (phase COPY) or found again (phase PROMOTED). 0: the guest
 * runs, phase is RUNNING, the monitor is released;
 * -EIO: QEMU refused the state or died, phase is COPY: start a fresh one and try again;
 * -ETIMEDOUT: nothing moved for @timeout_ns, the same; -ESRCH: phase PROMOTED, but QEMU is gone or
 * does not wait: only the operator can say; -errno of the files. On error @ret_text says why. */
int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  struct promote_times *ret_times, char *ret_text)
	__attribute__((warn_unused_result));

/* Apply what is complete, and load it into @q, which waits as a warm QEMU does and is of no more use then. Nothing
 * runs. 0; -EIO: QEMU refused the state or died; -ETIMEDOUT; -errno of the files. On error @ret_text says why. */
int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns, char *ret_text)
	__attribute__((warn_unused_result));

#endif
