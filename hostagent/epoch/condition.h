/* condition.h - the conditions of an engine, and the changes of each that are allowed. Pure.
 *
 * Why: an engine has seven conditions that change on their own: what the guest does, where its
 * frames go, whether this host may speak for it, and so on. Each is one enum with one table of
 * allowed changes, so no combination of flags can arise that nobody thought of.
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
 *
 * The tables are in condition.c; these drawings leave out a few rows.
 *
 * Where: engine_condition.c has the one function per condition that changes it.
 * Threads: any (no state).
 */
#ifndef EPOCH_CONDITION_H
#define EPOCH_CONDITION_H

#include <stdbool.h>

#include "base/log.h"

/* Who keeps the guest from running, as seen on QEMU's monitor. The throttle is not part of it: it
 * stops vCPU threads behind QEMU's back, whatever the guest's condition. */
enum guest_condition {
	GUEST_RUNS,	      /* nobody that counts has stopped it */
	GUEST_SEALING,	      /* a pause of ours is under way; the guest goes on after it */
	GUEST_SEALING_PAUSED, /* the same, but QEMU's last event was STOP */
	GUEST_PAUSED_NEWLY,   /* somebody else stopped it; QEMU is still to be asked why */
	GUEST_PAUSED,	      /* the same; the reason was asked for */
	GUEST_STOPPING,	      /* our `stop` has no answer: QEMU may yet obey it */
	GUEST_STOPPING_RESUMED, /* the same, but QEMU's last event was RESUME */
	GUEST_STOPPED,	      /* our `stop` stopped it: this host may not speak */
	GUEST_LOST,	      /* QEMU or its monitor is gone */
	GUEST_N_CONDITIONS,
};

/* Where the guest's frames go. */
enum output_condition {
	OUTPUT_PASSES, /* out; the seal of the running epoch does not begin the hold */
	OUTPUT_BEGINS, /* out; the seal of the running epoch begins the hold */
	OUTPUT_HELD,   /* into the hold, until the commit of their epoch */
	OUTPUT_CLOSED, /* nowhere: this host was outvoted */
	OUTPUT_N_CONDITIONS,
};

/* May this host speak for the guest? */
enum voice_condition {
	VOICE_SPEAKS,
	VOICE_SILENCED, /* not now: the lease is over, or frames could leave unheld */
	VOICE_OUTVOTED, /* never again: another host owns the guest */
	VOICE_N_CONDITIONS,
};

/* The stream of epochs: to whom, and did RESUME come on it? */
enum stream_condition {
	STREAM_NONE,
	STREAM_GATEWAY, /* connected; RESUME is awaited */
	STREAM_GATEWAY_RESUMED,
	STREAM_DIRECT, /* connected to the VM's other host; RESUME is awaited */
	STREAM_DIRECT_RESUMED,
	STREAM_N_CONDITIONS,
};

/* Does this term belong to an agreement with the other host, without a gateway? */
enum direct_condition {
	DIRECT_OFF,	     /* no: a gateway has the stream, or is to have it */
	DIRECT_PEER_NEXT,    /* yes; the next connection goes to the other host */
	DIRECT_GATEWAY_NEXT, /* yes; the next one goes to the gateway, if that was heard lately */
	DIRECT_N_CONDITIONS,
};

/* Are the standby's copy and our reference in step? */
enum sync_condition {
	SYNC_LOST, /* no: only a FULL epoch may follow */
	SYNC_FULL, /* a FULL epoch is being made */
	SYNC_KEPT, /* yes */
	SYNC_N_CONDITIONS,
};

/* Is the guest still what it was when the engine attached? */
enum cover_condition {
	COVER_WHOLE,
	COVER_DEVICES, /* its devices have changed: no seals */
	COVER_NET,     /* frames could leave unheld: no seals, and the guest may not run */
	COVER_N_CONDITIONS,
};

/* The table of one condition. */
struct condition;
extern const struct condition condition_guest, condition_output, condition_voice, condition_stream,
	condition_direct, condition_sync, condition_cover;

/* Is the change from @from to another value, @to, allowed? If so, *ret_level is the level at which
 * it is logged: DEBUG for one that is part of every seal, or that another line tells of.
 * False also for a value that the condition does not have. */
bool condition_allows(const struct condition *condition, unsigned int from, unsigned int to,
		      enum log_level *ret_level);

/* Names for the log; constant. A value that the condition does not have is "unknown". */
const char *condition_name(const struct condition *condition); /* "guest" */
const char *condition_value(const struct condition *condition, unsigned int value); /* "paused" */

#endif
