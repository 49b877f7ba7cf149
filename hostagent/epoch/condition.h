/* condition.h - the conditions of an engine, and which changes of each condition are allowed. Pure.
 *
 * An engine has nine conditions that change independently of each other: what the guest does,
 * where the guest's frames go, and so on. Each condition is one enum with a table of the allowed
 * changes. engine_private.h explains the conditions.
 *
 *	guest   RUNS ◄─► SEALING ◄─► SEALING_PAUSED ─► PAUSED_NEWLY ─► PAUSED ─► RUNS
 *	        RUNS ─► STOPPING ─► STOPPED ─► RUNS		all but SEALING* ─► LOST
 *	        STOPPING ◄─► STOPPING_RESUMED ─► RUNS
 *	output  PASSES ◄─► BEGINS ─► HELD			all ─► CLOSED
 *	voice   SPEAKS ◄─► SILENCED				all ─► OUTVOTED
 *	stream  NONE ─► GATEWAY ◄─► GATEWAY_RESUMED ─► NONE
 *	        NONE ─► DIRECT  ◄─► DIRECT_RESUMED  ─► NONE
 *	direct  OFF ─► PEER_NEXT ◄─► GATEWAY_NEXT ─► OFF
 *	sync    LOST ◄─► FULL ─► KEPT ─► LOST
 *	cover   WHOLE ◄─► DEVICES    WHOLE ◄─► NET    DEVICES ─► NET
 *	disks   NONE ─► APART ◄─► COPYING ─► IN_STEP ─► APART
 *	move    NONE ◄─► WANTED ─► STOPPED ─► YIELDED ─► ENDING ─► NONE	STOPPED ─► ENDING
 *
 * An engine that takes over a guest from the agent's previous program begins with three changes
 * that are not drawn: guest RUNS ─► STOPPED, sync LOST ─► KEPT and disks NONE ─► IN_STEP
 * (handed.h).
 *
 * The drawing leaves out a few more changes; the tables in condition.c have all of them.
 *
 * Where: engine_condition.c has one function for each condition, and only that function changes the
 * condition. Threads: any (no state).
 */
#ifndef EPOCH_CONDITION_H
#define EPOCH_CONDITION_H

#include <stdbool.h>

#include "base/log.h"

/* Does the guest run, and if not, who stopped it? This is what QEMU's monitor reports. The throttle
 * does not count, because it stops vCPU threads without QEMU's knowledge. */
enum guest_condition {
	GUEST_RUNS,           /* the guest runs (but our throttle may have stopped its vCPUs) */
	GUEST_SEALING,	      /* we have paused the guest for a short time, for example for a
			       * seal */
	GUEST_SEALING_PAUSED, /* like GUEST_SEALING, but QEMU's last event was STOP */
	GUEST_PAUSED_NEWLY,   /* somebody else paused the guest; we have not asked QEMU why */
	GUEST_PAUSED,	      /* somebody else paused the guest; we have asked QEMU why */
	GUEST_STOPPING,	      /* QEMU has not answered our `stop`, but can still obey it */
	GUEST_STOPPING_RESUMED, /* like GUEST_STOPPING, but QEMU's last event was RESUME */
	GUEST_STOPPED,        /* we stopped the guest: for a move, or because this host must not
			       * speak for it */
	GUEST_LOST,	      /* QEMU or its monitor is gone */
	GUEST_N_CONDITIONS,
};

/* Where the guest's frames go. */
enum output_condition {
	OUTPUT_PASSES, /* frames leave at once, also after the next seal */
	OUTPUT_BEGINS, /* frames leave at once; from the next seal on they will be held */
	OUTPUT_HELD,   /* frames wait in the hold until their epoch is committed */
	OUTPUT_CLOSED, /* frames are dropped: this host was outvoted */
	OUTPUT_N_CONDITIONS,
};

/* May this host speak for the guest, that is, let it run and release its frames? */
enum voice_condition {
	VOICE_SPEAKS,
	VOICE_SILENCED, /* not now: the lease has expired, frames could bypass the hold, or the
			 * guest was let go of in a move */
	VOICE_OUTVOTED, /* never again: another host owns the guest */
	VOICE_N_CONDITIONS,
};

/* Where does the stream of epochs lead, and has RESUME arrived on it? */
enum stream_condition {
	STREAM_NONE,
	STREAM_GATEWAY, /* connected to a gateway, which has not sent RESUME yet */
	STREAM_GATEWAY_RESUMED,
	STREAM_DIRECT, /* connected to the VM's other host, which has not sent RESUME yet */
	STREAM_DIRECT_RESUMED,
	STREAM_N_CONDITIONS,
};

/* Did the VM's other host agree that we continue in this term without a gateway? */
enum direct_condition {
	DIRECT_OFF,	     /* no: the stream leads, or will lead, to a gateway */
	DIRECT_PEER_NEXT,    /* yes; connect to the other host next */
	DIRECT_GATEWAY_NEXT, /* yes; connect to the gateway next, if a frame of it arrived lately,
			      * otherwise to the other host */
	DIRECT_N_CONDITIONS,
};

/* Does our reference (the pages as the standby has them) match the standby's copy? */
enum sync_condition {
	SYNC_LOST, /* no: only a FULL epoch may follow */
	SYNC_FULL, /* not yet: a FULL epoch is being made */
	SYNC_KEPT, /* yes */
	SYNC_N_CONDITIONS,
};

/* Are the guest's devices and taps still as they were when the engine attached? */
enum cover_condition {
	COVER_WHOLE,
	COVER_DEVICES, /* no: the guest's devices have changed. We make no seals */
	COVER_NET,     /* no: the guest's frames could bypass the hold. We make no seals, and the
			* guest must not run */
	COVER_N_CONDITIONS,
};

/* Does the standby get what the guest writes to its disks? */
enum disks_condition {
	DISKS_NONE,    /* the guest has no disk that is replicated */
	DISKS_APART,   /* no: QEMU does not mirror them, or a write did not arrive */
	DISKS_COPYING, /* not yet: QEMU copies them, and mirrors what the guest writes meanwhile */
	DISKS_IN_STEP, /* yes: each write of the guest ends only after QEMU has mirrored it */
	DISKS_N_CONDITIONS,
};

/* How far has a move of the guest to the VM's other host come? (A replacement of the agent's
 * program also begins as a move.) See engine_move.c. */
enum move_condition {
	MOVE_NONE,    /* no move is under way */
	MOVE_WANTED,  /* a move is wanted; earlier epochs are still on their way */
	MOVE_STOPPED, /* the guest is stopped and its last epoch sealed, but not committed */
	MOVE_YIELDED, /* the last epoch is committed and its output has left; this host has let go
		       * of the guest */
	MOVE_ENDING,  /* the move was given up: the guest will go on here */
	MOVE_N_CONDITIONS,
};

/* The table of one condition: its values, and the changes that are allowed. */
struct condition;
extern const struct condition condition_guest, condition_output, condition_voice, condition_stream,
	condition_direct, condition_sync, condition_cover, condition_disks, condition_move;

/* May @condition change from @from to @to? If so, returns true, and sets *ret_level to the level at
 * which to log the change: DEBUG if every seal makes this change, or if another log line reports
 * it. If not, returns false. It also returns false if @from is @to, or if one of the two is not a
 * value of @condition. */
bool condition_allows(const struct condition *condition, unsigned int from, unsigned int to,
		      enum log_level *ret_level);

/* Return a constant string for the log: the name of the condition (such as "guest"), or the name of
 * one of its values (such as "paused"). An invalid value has the name "unknown". */
const char *condition_name(const struct condition *condition);
const char *condition_value(const struct condition *condition, unsigned int value);

#endif
