/* condition.h - the conditions of an engine, and which changes of each condition are allowed. Pure.
 *
 * An engine has conditions that change independently of each other: what the guest does,
 * where the guest's frames go, and so on. Each condition is one enum with a table of the allowed
 * changes. engine_condition_private.h explains the conditions.
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
 *	verify  IDLE ─► READING ─► READ ─► SENT ─► IDLE		IDLE ─► REREADING ─► REREAD ─► IDLE
 *	        IDLE ◄─► COPY		IDLE ◄─► PASSED		READING, READ, REREADING ─► IDLE
 *	ram     IDLE ─► READ ─► SENT ─► IDLE			IDLE ◄─► PASSED		READ ─► IDLE
 *	ram-finding, disk-finding
 *	        NONE ─► DIFFERS ─► COPIED ─► FAILED ─► DIFFERS	DIFFERS ─► FAILED
 *	        DIFFERS, COPIED ─► NONE				COPIED ─► DIFFERS
 *	asked   NONE ─► BOTH ◄─► RAM ─► NONE			BOTH ◄─► DISKS ─► NONE
 *	base    NONE ─► WANTED ◄─► SENT ─► NONE			WANTED ─► NONE
 *	tracking
 *	        LOST ◄─► FRESH ─► USED ─► LOST
 *	flush   OBEYED ◄─► IGNORED	OBEYED ─► KEPT		OBEYED ─► BETWEEN ─► KEPT
 *
 * An engine that takes over a guest from the agent's previous program begins with four changes that
 * are not drawn: guest RUNS ─► STOPPED, sync LOST ─► KEPT, disks NONE ─► IN_STEP and tracking
 * LOST ─► USED (handed.h).
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
	/* this host must not speak now: the lease has expired, frames could bypass the hold, or the
	 * guest was let go of in a move */
	VOICE_SILENCED,
	VOICE_OUTVOTED, /* this host must never speak again: another host owns the guest */
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
	DIRECT_OFF,	     /* the stream leads, or will lead, to a gateway */
	DIRECT_PEER_NEXT,    /* the other host has agreed: connect to it next */
	/* the other host has agreed: connect to the gateway next if it has sent a frame lately,
	 * otherwise to the other host */
	DIRECT_GATEWAY_NEXT,
	DIRECT_N_CONDITIONS,
};

/* Does our reference (the pages as the standby has them) match the standby's copy? */
enum sync_condition {
	SYNC_LOST, /* reference and copy do not match: only a FULL epoch may follow */
	SYNC_FULL, /* a FULL epoch is being made; reference and copy match after it */
	SYNC_KEPT, /* reference and copy match */
	SYNC_N_CONDITIONS,
};

/* Are the guest's devices and taps still as they were when the engine attached? */
enum cover_condition {
	COVER_WHOLE,
	COVER_DEVICES, /* the guest's devices have changed: no seals are made */
	/* the guest's frames could bypass the hold: no seals are made, and the guest must not
	 * run */
	COVER_NET,
	COVER_N_CONDITIONS,
};

/* Does the standby get what the guest writes to its disks? */
enum disks_condition {
	DISKS_NONE,    /* the guest has no disk that is replicated */
	DISKS_APART,   /* QEMU does not mirror the disks, or a write did not arrive */
	DISKS_COPYING, /* QEMU copies the disks, and mirrors what the guest writes meanwhile */
	DISKS_IN_STEP, /* each write of the guest ends only after QEMU has mirrored it */
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

/* How far has a pass over the disks come, with its current batch of blocks? See
 * engine_verify.c. */
enum verify_condition {
	VERIFY_IDLE,	/* there is no batch */
	VERIFY_READING, /* a thread reads the blocks */
	VERIFY_READ,	/* the blocks' hashes will be put into the epoch that was just sealed */
	VERIFY_SENT,	/* the blocks' hashes are in an epoch; the standby has not answered */
	VERIFY_REREADING, /* a thread reads one block, which differed and must be sent again */
	/* the block was read again, and will be put into the epoch that was just sealed */
	VERIFY_REREAD,
	VERIFY_COPY,	/* there is no batch; the disk must be copied again */
	/* the pass has ended; its figures count the blocks that it could not prove equal */
	VERIFY_PASSED,
	VERIFY_N_CONDITIONS,
};

/* How far has a pass over RAM come, with its current batch of pages? See engine_verify_ram.c. */
enum ram_condition {
	RAM_IDLE, /* there is no batch */
	RAM_READ, /* the pages are read and hashed; their hashes will be put into the running
		   * epoch */
	RAM_SENT, /* the hashes are in an epoch; the standby has not answered */
	RAM_PASSED, /* the pass has ended; its pages were equal in the end, except those that could
		     * not be read */
	RAM_N_CONDITIONS,
};

/* What is known of the standby's copy of RAM, or of the disks? */
enum finding_condition {
	FINDING_NONE,	 /* no difference */
	FINDING_DIFFERS, /* something differed, and no whole pass has ended since */
	/* like FINDING_DIFFERS, and because of it, all of RAM or the disk is, or was, copied
	 * again */
	FINDING_COPIED,
	/* neither a repair nor a copy helped; nothing is verified until an operator begins a
	 * pass */
	FINDING_FAILED,
	FINDING_N_CONDITIONS,
};

/* If an operator asked for a pass: which parts of it are not compared yet? */
enum asked_condition {
	ASKED_NONE, /* no pass was asked for, or it has ended */
	ASKED_BOTH,
	ASKED_RAM,   /* RAM is not compared yet; the disks' part has ended */
	ASKED_DISKS, /* the disks are not compared yet; RAM's part has ended */
	ASKED_N_CONDITIONS,
};

/* Do we ask the standby which pages or blocks it already has? See engine_base.c. */
enum base_condition {
	BASE_NONE,
	BASE_WANTED, /* there is a question, which is not sent yet */
	BASE_SENT,   /* there is a question, which is sent and not answered */
	BASE_N_CONDITIONS,
};

/* Is the guest's memory tracked? */
enum tracking_condition {
	TRACKING_LOST,	/* memory is not tracked */
	TRACKING_FRESH, /* memory is tracked; no scan was made since the tracker was opened */
	TRACKING_USED,	/* memory is tracked, and was scanned */
	TRACKING_N_CONDITIONS,
};

/* Does QEMU obey flushes of a disk's image? Each disk has this condition. See engine_flushes.c. */
enum flush_condition {
	FLUSH_OBEYED,
	FLUSH_IGNORED, /* we made QEMU ignore flushes */
	/* an attempt to make QEMU ignore flushes failed, so flushes still make pauses longer */
	FLUSH_KEPT,
	FLUSH_BETWEEN, /* an attempt to make QEMU ignore flushes failed halfway */
	FLUSH_N_CONDITIONS,
};

/* The table of one condition: its values, and the changes that are allowed. */
struct condition;
extern const struct condition condition_guest, condition_output, condition_voice, condition_stream,
	condition_direct, condition_sync, condition_cover, condition_disks, condition_move,
	condition_verify, condition_ram, condition_ram_finding, condition_disk_finding,
	condition_asked, condition_base, condition_tracking, condition_flush;

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
