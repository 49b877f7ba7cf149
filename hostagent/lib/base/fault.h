/* fault.h - named points of an epoch at which a test may kill, stop, end or delay the process.
 *
 * Why: "never a torn epoch" is only worth something if it was tried at every step. A test picks
 * one point through the environment:
 *
 *	HOLDFAST_FAULT=NAME[:NTH][:ACTION]
 *		NTH      the pass at which it happens, from 1; default 1
 *		ACTION   kill        SIGKILL to ourselves (default): no handler, no clean-up runs
 *		         stop        SIGSTOP to ourselves: hung, but the descriptors stay open
 *		         exit        _exit(70)
 *		         delay=MS    sleep MS milliseconds, at the NTH pass and every later one
 *
 * kill, stop and exit happen at the NTH pass only. With HOLDFAST_FAULT_GATE=PATH, passes count only
 * while a file exists at PATH: a test arms the daemon at its start and opens the gate later.
 *
 * Where: daemons call fault_init() first and write FAULT_POINT(FAULT_X) at the point. Only builds
 * with -Dfault_points=true (HOLDFAST_FAULT_POINTS) contain the points; other builds compile them to
 * nothing, and their fault_init() refuses a HOLDFAST_FAULT that they could not carry out.
 * Threads: fault_init() before any thread is made; FAULT_POINT from any thread.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stddef.h>

#include "base/error.h"

enum fault_point {
	FAULT_BEFORE_STOP	    = 0,  /* primary: the seal is decided, the guest still runs */
	FAULT_WHILE_STOPPED	    = 1,  /* primary: the guest is stopped, pages being copied */
	FAULT_MID_SEND		    = 2,  /* primary: some frames of the epoch are sent */
	FAULT_AFTER_SEND	    = 3,  /* primary: EPOCH_END is sent, the epoch not committed */
	FAULT_BEFORE_RELEASE	    = 4,  /* primary: COMMIT received, nothing released */
	FAULT_MID_RELEASE	    = 5,  /* primary: some of the epoch's frames are released */
	FAULT_STANDBY_BUFFERING	    = 6,  /* standby: some frames of the epoch are buffered */
	FAULT_STANDBY_BEFORE_ACK    = 7,  /* standby: the epoch is whole, not yet acknowledged */
	FAULT_STANDBY_APPLYING	    = 8,  /* standby: some pages of the epoch are written */
	FAULT_STANDBY_PROMOTING	    = 9,  /* standby: PROMOTE accepted, the guest not yet running */
	FAULT_GATEWAY_BEFORE_COMMIT = 10, /* gateway: EPOCH_ACK received, COMMIT not sent */
	FAULT_GATEWAY_PROMOTING	    = 11, /* gateway: the new term is journaled, PROMOTE not sent */
	FAULT_GATEWAY_JOURNAL	    = 12, /* gateway: a record is written, not yet durable */
	FAULT_N_POINTS
};

/* Read HOLDFAST_FAULT. 0: unset, or understood and armed. -EINVAL: unknown point, unknown action,
 * or malformed; -ENOTSUP: this build has no fault points. On error *ret_error says
 * what is wrong and lists the names. The process should then end: its test would prove nothing. */
int fault_init(struct error *ret_error) __attribute__((warn_unused_result));

/* The name of @point, as written in HOLDFAST_FAULT. */
const char *fault_name(enum fault_point point);

/* Count a pass of @point; carry out the armed action if it is this pass's turn. Use
 * FAULT_POINT(). */
void fault_pass(enum fault_point point);

#ifdef HOLDFAST_FAULT_POINTS
#define FAULT_POINT(point) fault_pass(point)
#else
#define FAULT_POINT(point) ((void)0)
#endif

#endif
