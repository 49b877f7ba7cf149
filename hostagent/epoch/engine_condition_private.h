/* engine_condition_private.h - the engine's conditions, and the functions that change them.
 * engine_private.h includes this file.
 *
 * These conditions say what the engine is doing. condition.h has their values and the allowed
 * changes. Only the function engine_set_X() changes condition X. It is called on the engine's
 * thread, or while that thread does not exist. The right column names its callers. (When a guest
 * was handed on, engine_handed.c also sets some conditions.)
 *
 *	guest	who keeps the guest from running	engine.c (QEMU's events, its end),
 *							engine_epoch.c (our pauses),
 *							engine_lease.c (our stop and cont),
 *							engine_watch.c (somebody else's pause)
 *	output	where its frames go			engine_open.c, engine_epoch.c,
 *							engine_lease.c (closed)
 *	voice	may this host speak for it		engine_lease.c
 *	stream	to whom it streams, did RESUME come	engine_stream.c
 *	direct	did the other host agree to go on	engine_direct.c
 *		without a gateway
 *	sync	are standby and reference in step	engine_full.c; engine_lose_sync()
 *	cover	is the guest still what it was		engine_watch.c
 *	disks	does the standby get their writes	engine_mirrors.c, engine_disks.c
 *	move	how far has a move come			engine_move.c
 *	verify	how far has a pass over the disks come	engine_verify.c
 *	ram	how far has a pass over RAM come	engine_verify_ram.c
 *	ram-finding	what is known of the standby's	engine_verify_ram.c
 *		copy of RAM
 *	disk-finding	and of its copy of the disks	engine_verify.c
 *	asked	which parts of a pass that an operator	engine_verify_asked.c
 *		asked for are left
 *	base	is there a question about what the	engine_base.c
 *		standby has already
 *	tracking	is the guest's memory tracked	engine_epoch.c, engine_full.c,
 *							engine_handed.c
 *	flush	does QEMU obey flushes of a disk's	engine_flushes.c
 *		image; each disk has this condition
 *
 * The conditions are independent, but some combinations never occur:
 * - GUEST_STOPPING* and GUEST_STOPPED occur only while this host must not speak for the guest, or
 *   during a move (from engine_move_seal() until MOVE_ENDING ends).
 * - MOVE_YIELDED never occurs with VOICE_SPEAKS after engine_move_tick().
 * - OUTPUT_CLOSED occurs only with VOICE_OUTVOTED.
 * - STREAM_DIRECT* never occurs with DIRECT_OFF.
 * - VERIFY_REREADING, VERIFY_REREAD and VERIFY_COPY never occur while disk-finding is FINDING_NONE.
 * The conditions alone do not decide whether held frames can leave: engine_may_release() also
 * checks the lease.
 *
 * Threads: the engine's.
 */
#ifndef EPOCH_ENGINE_CONDITION_PRIVATE_H
#define EPOCH_ENGINE_CONDITION_PRIVATE_H

#include <stdbool.h>

#include "epoch/condition.h"

struct engine;
struct engine_disk;
struct engine_stream;

/* Change a condition to @to, and log the change with the reason @why ("": no reason). Only these
 * functions change a condition. If the condition is already @to, they do nothing. If condition.h
 * does not allow the change, that is a bug: they log an error and do not change the condition. None
 * of these functions opens a hold, so such a bug cannot release a frame early. */
void engine_set_guest(struct engine *e, enum guest_condition to, const char *why);
void engine_set_output(struct engine *e, enum output_condition to, const char *why);
void engine_set_voice(struct engine *e, enum voice_condition to, const char *why);
void engine_set_stream(struct engine *e, enum stream_condition to, const char *why);
void engine_set_direct(struct engine *e, enum direct_condition to, const char *why);
void engine_set_sync(struct engine *e, enum sync_condition to, const char *why);
void engine_set_cover(struct engine *e, enum cover_condition to, const char *why);
void engine_set_disks(struct engine *e, enum disks_condition to, const char *why);
void engine_set_move(struct engine *e, enum move_condition to, const char *why);
void engine_set_verify(struct engine *e, enum verify_condition to, const char *why);
void engine_set_ram(struct engine *e, enum ram_condition to, const char *why);
void engine_set_ram_finding(struct engine *e, enum finding_condition to, const char *why);
void engine_set_disk_finding(struct engine *e, enum finding_condition to, const char *why);
void engine_set_asked(struct engine *e, enum asked_condition to, const char *why);
void engine_set_base(struct engine *e, enum base_condition to, const char *why);
void engine_set_tracking(struct engine *e, enum tracking_condition to, const char *why);
void engine_set_flush(struct engine *e, struct engine_disk *disk, enum flush_condition to);
/* Is output held? (Then frames leave only after the commit of their epoch, or not at all.) */
bool engine_is_holding(const struct engine *e);
/* Has RESUME arrived on the stream? (Before it, no frame of an epoch may be sent.) */
bool engine_stream_is_resumed(const struct engine_stream *stream);
/* Is the stream connected to the VM's other host, not to a gateway? */
bool engine_stream_is_direct(const struct engine_stream *stream);
/* Record that only a FULL epoch can follow. A FULL epoch that is being made now stays valid; if it
 * fails, another FULL epoch follows anyway. */
void engine_lose_sync(struct engine *e, const char *why);

#endif
