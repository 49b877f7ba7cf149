/* promote.h - load the copy into the warm QEMU and let the guest run.
 *
 * Why: this is the failover; in each of its milliseconds no client is served.
 *
 *	apply what is complete ─ write ROM blocks ─ getfd + migrate-incoming ─ event completed
 *	  (epochlog_apply)        (process memory)        (device blob)
 *	 ─ meta: term, phase=promoted ─ guest's clock ─ cont ─ meta: phase=running ─ announce-self
 *
 * Why this order (a kill -9 of the agent between any two steps):
 *  P1 up to `meta: promoted` nothing durable has changed: the copy is still epoch N, and the order
 *     can be carried out again with a fresh QEMU (loading writes no guest RAM).
 *  P2 the new term is on file before the first instruction runs here. So no later agent can mistake
 *     this copy for one of the old term.
 *  P3 between `promoted` and `running` the guest may or may not have run. The same order, repeated,
 *     continues the same QEMU if it still waits; a QEMU that is gone is never replaced: the RAM file
 *     may no longer fit the device blob.
 *
 * Where: standby.c, on its thread. Threads: one. Blocks as long as there is progress: it fails when
 * a step makes no progress, or QEMU does not answer, for the given timeout.
 */
#ifndef STANDBY_PROMOTE_H
#define STANDBY_PROMOTE_H

#include <stdint.h>

#include "base/error.h"
#include "standby/clockview.h"
#include "standby/epochlog.h"
#include "standby/qemu.h"
#include "standby/ramfile.h"

/* How long each step took; all 0 until a promotion succeeded. */
struct promote_times {
	uint64_t apply_ns, rom_ns, load_ns, record_ns, clock_ns, cont_ns, total_ns;
	bool is_running; /* QEMU reported it after `cont` */
};

/* The guest's clock at a promotion. */
struct promote_clock {
	uint64_t step_max_ns; /* in: largest step; 0: leave it alone */
	uint64_t step_ns;     /* out: how far it was set forward; 0: it was not */
	const char *why;      /* out: why it was not; static text, else "" */
};

/* Would an order to promote into @term with an epoch of at least @min_epoch be obeyed? Changes
 * nothing.
 * 0: yes; -EALREADY: the guest runs here in @term (or was about to: promote_guest() finishes that);
 * -ESTALE: @term is not newer than the held one; -ENODATA: no complete epoch, or one older than
 * @min_epoch. On error *ret_error says why. */
int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Promote the guest, and set its clock forward by @view where that is provably right.
 * promote_check() must have said yes; @q is warm (phase COPY) or found again (phase PROMOTED). 0:
 * the guest runs, phase is RUNNING, the monitor is released; -EIO: QEMU refused the state or died,
 * phase is COPY: start a fresh one and try again; -ETIMEDOUT: no progress for @timeout_ns, try
 * again likewise; -ESRCH: phase PROMOTED, but QEMU is gone or does not wait: only the operator can
 * decide; -errno of the files. On error *ret_error says why. */
int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  struct promote_times *ret_times, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Apply a complete epoch, and load the copy into @q, which waits as a warm QEMU does. The guest
 * does not run, and @q cannot be used again. 0; -EIO: QEMU refused the state or died; -ETIMEDOUT;
 * -errno of the files. On error *ret_error says why. */
int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns,
		     struct error *ret_error) __attribute__((warn_unused_result));

#endif
