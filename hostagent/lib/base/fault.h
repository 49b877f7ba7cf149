/* fault.h - named points of an epoch at which a test may kill, stop, end or delay the process.
 *
 * Why: wherever a failure happens, it must never leave a torn epoch. So tests cause a failure at
 * every step of an epoch. A test chooses one point by an environment variable:
 *
 *      HOLDFAST_FAULT=NAME[:NTH][:ACTION]
 *              NTH      act when the point is passed for the NTH time (default: 1)
 *              ACTION   kill        SIGKILL to ourselves (default): no handler, no clean-up runs
 *                       stop        SIGSTOP to ourselves: hung, with open descriptors
 *                       exit        _exit(70)
 *                       delay=MS    sleep MS milliseconds, at the NTH pass and every later pass
 *
 * With HOLDFAST_FAULT_GATE=PATH, passes are counted only while a file exists at PATH. So a test can
 * start the daemon with HOLDFAST_FAULT, and create the file later.
 *
 * Where: daemons call fault_init() first. A line FAULT_POINT(FAULT_X) marks each point in their
 * code. Only the programs holdfast-agent-fault and holdfast-gateway-fault have the points: they
 * compile the files in meson.build's fault lists with HOLDFAST_FAULT_POINTS. In other programs
 * FAULT_POINT() does nothing, and fault_init() fails if HOLDFAST_FAULT is set.
 * Threads: call fault_init() before any thread is created; FAULT_POINT works in any thread.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stddef.h>

#include "base/error.h"

enum fault_point {
	FAULT_BEFORE_STOP	    = 0,  /* primary: the seal is decided, the guest still runs */
	/* primary: the guest is stopped, its pages are being copied */
	FAULT_WHILE_STOPPED	    = 1,
	FAULT_MID_SEND		    = 2,  /* primary: some frames of the epoch are sent */
	FAULT_AFTER_SEND	    = 3,  /* primary: EPOCH_END is sent, the epoch not committed */
	FAULT_BEFORE_RELEASE	    = 4,  /* primary: COMMIT received, nothing released */
	FAULT_MID_RELEASE	    = 5,  /* primary: some of the epoch's frames are released */
	FAULT_STANDBY_BUFFERING     = 6,  /* standby: some frames of the epoch are buffered */
	FAULT_STANDBY_BEFORE_ACK    = 7,  /* standby: the epoch is whole, not yet acknowledged */
	FAULT_STANDBY_APPLYING	    = 8,  /* standby: some pages of the epoch are written */
	FAULT_STANDBY_PROMOTING     = 9,  /* standby: PROMOTE accepted, the guest not yet running */
	FAULT_GATEWAY_BEFORE_COMMIT = 10, /* gateway: EPOCH_ACK received, COMMIT not sent */
	FAULT_GATEWAY_PROMOTING     = 11, /* gateway: the new term is journaled, PROMOTE not sent */
	FAULT_GATEWAY_JOURNAL	    = 12, /* gateway: a record is written, not yet durable */
	FAULT_BEFORE_OPENING        = 13, /* primary: the protection ends, the hold is not removed
					   * yet */
	FAULT_LET_GO = 14, /* primary: this host has let go of the guest, and has told nobody yet */
	FAULT_HANDED_ON = 15, /* primary: everything is handed on, the next program does not run
			       * yet */
	FAULT_N_POINTS
};

/* Read HOLDFAST_FAULT. Returns
 * 0: the variable is unset, or it is valid and its point is now armed;
 * -EINVAL: it is malformed or names an unknown point or action (*ret_error lists the valid names);
 * -ENOTSUP: it is set, but this program has no fault points.
 * On error the process should end: the test that set the variable would prove nothing. */
int fault_init(struct error *ret_error) __attribute__((warn_unused_result));

/* Returns the name of @point as used in HOLDFAST_FAULT. */
const char *fault_name(enum fault_point point);

/* Count a pass of @point. If the armed action is due at this pass, carry it out. Call this only
 * through FAULT_POINT(). */
void fault_pass(enum fault_point point);

#ifdef HOLDFAST_FAULT_POINTS
#define FAULT_POINT(point) fault_pass(point)
#else
#define FAULT_POINT(point) ((void)0)
#endif

#endif
