#include "epoch/condition.h"

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct change {
	uint8_t from, to;
	enum log_level level;
};

struct condition {
	const char *name;
	const char *const *values; /* names of the values */
	size_t n_values;
	const struct change *changes;
	size_t n_changes;
};

#define INFO  LOG_LEVEL_INFO
#define DEBUG LOG_LEVEL_DEBUG

static const char *const guest_values[GUEST_N_CONDITIONS] = {
	[GUEST_RUNS] = "runs",
	[GUEST_SEALING] = "sealing",
	[GUEST_SEALING_PAUSED] = "sealing-paused",
	[GUEST_PAUSED_NEWLY] = "paused-newly",
	[GUEST_PAUSED] = "paused",
	[GUEST_STOPPING] = "stopping",
	[GUEST_STOPPING_RESUMED] = "stopping-resumed",
	[GUEST_STOPPED] = "stopped",
	[GUEST_LOST] = "lost",
};

static const struct change guest_changes[] = {
	/* Changes by our own pauses. A FULL epoch is sealed even if somebody has paused the guest,
	 * so the guest can be paused before our pause begins. */
	{GUEST_RUNS, GUEST_SEALING, DEBUG},
	{GUEST_PAUSED_NEWLY, GUEST_SEALING_PAUSED, DEBUG},
	{GUEST_PAUSED, GUEST_SEALING_PAUSED, DEBUG},
	{GUEST_SEALING, GUEST_SEALING_PAUSED, DEBUG},
	{GUEST_SEALING_PAUSED, GUEST_SEALING, DEBUG},
	{GUEST_SEALING, GUEST_RUNS, DEBUG},
	{GUEST_SEALING_PAUSED, GUEST_RUNS, DEBUG}, /* the seal has ended; engine_paused_by_other()
						    * may be called next */
	{GUEST_SEALING_PAUSED, GUEST_PAUSED_NEWLY, DEBUG},
	{GUEST_SEALING_PAUSED, GUEST_PAUSED, DEBUG},
	/* Changes by somebody else's pauses. QEMU's reason for the pause is logged as a verdict. */
	{GUEST_RUNS, GUEST_PAUSED_NEWLY, INFO},
	{GUEST_PAUSED_NEWLY, GUEST_PAUSED, DEBUG},
	{GUEST_PAUSED_NEWLY, GUEST_RUNS, INFO},
	{GUEST_PAUSED, GUEST_RUNS, INFO},
	/* Changes when we stop the guest: for a move, or because this host must not speak for the
	 * guest (the lease has expired, or the host was outvoted). */
	{GUEST_RUNS, GUEST_STOPPING, INFO},
	{GUEST_STOPPING, GUEST_STOPPED, INFO},
	{GUEST_STOPPING, GUEST_RUNS, INFO}, /* QEMU refused `stop`, or the guest was resumed */
	/* Changes by STOP and RESUME events that arrive with or before QEMU's answer to `stop`. The
	 * last event says whether the guest runs. */
	{GUEST_STOPPING, GUEST_STOPPING_RESUMED, INFO},
	{GUEST_STOPPING_RESUMED, GUEST_STOPPING, INFO},
	{GUEST_STOPPING_RESUMED, GUEST_RUNS, INFO},
	{GUEST_RUNS, GUEST_STOPPED, INFO},  /* the agent's previous program has stopped it */
	{GUEST_STOPPED, GUEST_RUNS, INFO},  /* resumed by us or by somebody else */
	/* The last epoch of a move is sealed while the guest is stopped. */
	{GUEST_STOPPED, GUEST_SEALING_PAUSED, DEBUG},
	{GUEST_SEALING_PAUSED, GUEST_STOPPED, DEBUG},
	/* Changes when QEMU has ended, which is noticed only between two pauses of ours. */
	{GUEST_RUNS, GUEST_LOST, INFO},
	{GUEST_PAUSED_NEWLY, GUEST_LOST, INFO},
	{GUEST_PAUSED, GUEST_LOST, INFO},
	{GUEST_STOPPING, GUEST_LOST, INFO},
	{GUEST_STOPPING_RESUMED, GUEST_LOST, INFO},
	{GUEST_STOPPED, GUEST_LOST, INFO},
};

static const char *const output_values[OUTPUT_N_CONDITIONS] = {
	[OUTPUT_PASSES] = "passes",
	[OUTPUT_BEGINS] = "begins",
	[OUTPUT_HELD] = "held",
	[OUTPUT_CLOSED] = "closed",
};

static const struct change output_changes[] = {
	{OUTPUT_PASSES, OUTPUT_BEGINS, DEBUG},
	{OUTPUT_BEGINS, OUTPUT_PASSES, DEBUG},
	{OUTPUT_BEGINS, OUTPUT_HELD, INFO},
	{OUTPUT_PASSES, OUTPUT_HELD, INFO}, /* when the engine starts, if an earlier agent has left
					     * a hold (the queue of held frames) */
	{OUTPUT_PASSES, OUTPUT_CLOSED, INFO},
	{OUTPUT_BEGINS, OUTPUT_CLOSED, INFO},
	{OUTPUT_HELD, OUTPUT_CLOSED, INFO},
};

static const char *const voice_values[VOICE_N_CONDITIONS] = {
	[VOICE_SPEAKS] = "speaks",
	[VOICE_SILENCED] = "silenced",
	[VOICE_OUTVOTED] = "outvoted",
};

static const struct change voice_changes[] = {
	{VOICE_SPEAKS, VOICE_SILENCED, LOG_LEVEL_WARN},
	{VOICE_SILENCED, VOICE_SPEAKS, INFO},
	{VOICE_SPEAKS, VOICE_OUTVOTED, LOG_LEVEL_ERROR},
	{VOICE_SILENCED, VOICE_OUTVOTED, LOG_LEVEL_ERROR},
};

static const char *const stream_values[STREAM_N_CONDITIONS] = {
	[STREAM_NONE] = "none",
	[STREAM_GATEWAY] = "gateway",
	[STREAM_GATEWAY_RESUMED] = "gateway-resumed",
	[STREAM_DIRECT] = "direct",
	[STREAM_DIRECT_RESUMED] = "direct-resumed",
};

/* All changes are logged at DEBUG, because another log line, with the peer's name or text, reports
 * each of them. */
static const struct change stream_changes[] = {
	{STREAM_NONE, STREAM_GATEWAY, DEBUG},
	{STREAM_NONE, STREAM_DIRECT, DEBUG},
	{STREAM_GATEWAY, STREAM_GATEWAY_RESUMED, DEBUG},
	{STREAM_DIRECT, STREAM_DIRECT_RESUMED, DEBUG},
	/* The standby has refused an epoch. */
	{STREAM_GATEWAY_RESUMED, STREAM_GATEWAY, DEBUG},
	{STREAM_DIRECT_RESUMED, STREAM_DIRECT, DEBUG},
	{STREAM_GATEWAY, STREAM_NONE, DEBUG},
	{STREAM_GATEWAY_RESUMED, STREAM_NONE, DEBUG},
	{STREAM_DIRECT, STREAM_NONE, DEBUG},
	{STREAM_DIRECT_RESUMED, STREAM_NONE, DEBUG},
};

static const char *const direct_values[DIRECT_N_CONDITIONS] = {
	[DIRECT_OFF] = "off",
	[DIRECT_PEER_NEXT] = "peer-next",
	[DIRECT_GATEWAY_NEXT] = "gateway-next",
};

/* All changes are logged at DEBUG. Another log line reports the changes from and to DIRECT_OFF. The
 * other changes occur at each attempt to connect. */
static const struct change direct_changes[] = {
	{DIRECT_OFF, DIRECT_PEER_NEXT, DEBUG},
	{DIRECT_PEER_NEXT, DIRECT_GATEWAY_NEXT, DEBUG},
	{DIRECT_GATEWAY_NEXT, DIRECT_PEER_NEXT, DEBUG},
	{DIRECT_GATEWAY_NEXT, DIRECT_OFF, DEBUG},
};

static const char *const sync_values[SYNC_N_CONDITIONS] = {
	[SYNC_LOST] = "lost",
	[SYNC_FULL] = "full",
	[SYNC_KEPT] = "kept",
};

static const struct change sync_changes[] = {
	{SYNC_LOST, SYNC_FULL, DEBUG},
	{SYNC_LOST, SYNC_KEPT, INFO}, /* handed on by the agent's previous program */
	{SYNC_FULL, SYNC_LOST, DEBUG},
	{SYNC_FULL, SYNC_KEPT, INFO},
	{SYNC_KEPT, SYNC_LOST, INFO},
};

static const char *const cover_values[COVER_N_CONDITIONS] = {
	[COVER_WHOLE] = "whole",
	[COVER_DEVICES] = "devices",
	[COVER_NET] = "net",
};

/* All changes are logged at DEBUG, because another log line reports each of them and says what
 * changed. */
static const struct change cover_changes[] = {
	{COVER_WHOLE, COVER_DEVICES, DEBUG},
	{COVER_WHOLE, COVER_NET, DEBUG},
	{COVER_DEVICES, COVER_WHOLE, DEBUG},
	{COVER_NET, COVER_WHOLE, DEBUG},
	{COVER_DEVICES, COVER_NET, DEBUG},
};

static const char *const disks_values[DISKS_N_CONDITIONS] = {
	[DISKS_NONE] = "none",
	[DISKS_APART] = "apart",
	[DISKS_COPYING] = "copying",
	[DISKS_IN_STEP] = "in-step",
};

static const struct change disks_changes[] = {
	{DISKS_NONE, DISKS_APART, DEBUG},
	{DISKS_NONE, DISKS_IN_STEP, INFO}, /* handed on by the agent's previous program */
	{DISKS_APART, DISKS_COPYING, INFO},
	{DISKS_COPYING, DISKS_IN_STEP, INFO},
	/* Another log line, a warning, names the disk and the reason. */
	{DISKS_COPYING, DISKS_APART, INFO},
	{DISKS_IN_STEP, DISKS_APART, INFO},
};

static const char *const move_values[MOVE_N_CONDITIONS] = {
	[MOVE_NONE] = "none",	    [MOVE_WANTED] = "wanted", [MOVE_STOPPED] = "stopped",
	[MOVE_YIELDED] = "yielded", [MOVE_ENDING] = "ending",
};

static const struct change move_changes[] = {
	{MOVE_NONE, MOVE_WANTED, INFO},
	{MOVE_WANTED, MOVE_NONE, INFO}, /* given up before the guest was stopped */
	{MOVE_WANTED, MOVE_STOPPED, INFO},
	{MOVE_WANTED, MOVE_ENDING, INFO}, /* the last epoch could not be made */
	{MOVE_STOPPED, MOVE_YIELDED, INFO},
	{MOVE_STOPPED, MOVE_ENDING, INFO},
	{MOVE_YIELDED, MOVE_ENDING, INFO},
	{MOVE_ENDING, MOVE_NONE, INFO},
};

static const char *const verify_values[VERIFY_N_CONDITIONS] = {
	[VERIFY_IDLE] = "idle",
	[VERIFY_READING] = "reading",
	[VERIFY_READ] = "read",
	[VERIFY_SENT] = "sent",
	[VERIFY_REREADING] = "rereading",
	[VERIFY_REREAD] = "reread",
	[VERIFY_COPY] = "copy",
	[VERIFY_PASSED] = "passed",
};

/* All changes are logged at DEBUG: the first four occur in each batch, and another log line reports
 * a copy and the end of a pass. */
static const struct change verify_changes[] = {
	{VERIFY_IDLE, VERIFY_READING, DEBUG},
	{VERIFY_READING, VERIFY_READ, DEBUG},
	{VERIFY_READ, VERIFY_SENT, DEBUG},
	{VERIFY_SENT, VERIFY_IDLE, DEBUG},
	/* The batch was given up, or no hash of it could be sent. */
	{VERIFY_READING, VERIFY_IDLE, DEBUG},
	{VERIFY_READ, VERIFY_IDLE, DEBUG},
	/* A repair: a block that differed is read and sent once more. */
	{VERIFY_IDLE, VERIFY_REREADING, DEBUG},
	{VERIFY_REREADING, VERIFY_REREAD, DEBUG},
	{VERIFY_REREADING, VERIFY_IDLE, DEBUG},
	{VERIFY_REREAD, VERIFY_IDLE, DEBUG},
	{VERIFY_IDLE, VERIFY_COPY, DEBUG},
	{VERIFY_COPY, VERIFY_IDLE, DEBUG},
	{VERIFY_IDLE, VERIFY_PASSED, DEBUG},
	{VERIFY_PASSED, VERIFY_IDLE, DEBUG},
};

static const char *const ram_values[RAM_N_CONDITIONS] = {
	[RAM_IDLE] = "idle",
	[RAM_READ] = "read",
	[RAM_SENT] = "sent",
	[RAM_PASSED] = "passed",
};

/* All changes are logged at DEBUG: the first three occur in each batch, and another log line
 * reports the end of a pass. */
static const struct change ram_changes[] = {
	{RAM_IDLE, RAM_READ, DEBUG},
	{RAM_READ, RAM_SENT, DEBUG},
	{RAM_SENT, RAM_IDLE, DEBUG},
	{RAM_READ, RAM_IDLE, DEBUG}, /* the batch was given up */
	{RAM_IDLE, RAM_PASSED, DEBUG},
	{RAM_PASSED, RAM_IDLE, DEBUG},
};

static const char *const finding_values[FINDING_N_CONDITIONS] = {
	[FINDING_NONE] = "none",
	[FINDING_DIFFERS] = "differs",
	[FINDING_COPIED] = "copied",
	[FINDING_FAILED] = "failed",
};

/* Changes are logged at DEBUG if another log line reports the difference, the end of the pass, or
 * the operator's command that begins a pass. */
static const struct change finding_changes[] = {
	{FINDING_NONE, FINDING_DIFFERS, DEBUG},
	{FINDING_DIFFERS, FINDING_COPIED, INFO},
	{FINDING_COPIED, FINDING_FAILED, LOG_LEVEL_ERROR},
	{FINDING_DIFFERS, FINDING_FAILED, LOG_LEVEL_ERROR}, /* only disks */
	{FINDING_DIFFERS, FINDING_NONE, DEBUG},
	{FINDING_COPIED, FINDING_NONE, DEBUG},
	/* An operator begins a pass, or a pass could not read all pages of RAM. */
	{FINDING_COPIED, FINDING_DIFFERS, DEBUG},
	{FINDING_FAILED, FINDING_DIFFERS, DEBUG},
};

static const char *const asked_values[ASKED_N_CONDITIONS] = {
	[ASKED_NONE] = "none",
	[ASKED_BOTH] = "both",
	[ASKED_RAM] = "ram",
	[ASKED_DISKS] = "disks",
};

/* All changes are logged at DEBUG, because other log lines report when an asked pass begins and
 * ends. */
static const struct change asked_changes[] = {
	{ASKED_NONE, ASKED_BOTH, DEBUG},
	{ASKED_BOTH, ASKED_RAM, DEBUG},
	{ASKED_BOTH, ASKED_DISKS, DEBUG},
	{ASKED_RAM, ASKED_NONE, DEBUG},
	{ASKED_DISKS, ASKED_NONE, DEBUG},
	/* An operator asks again before the pass has ended. */
	{ASKED_RAM, ASKED_BOTH, DEBUG},
	{ASKED_DISKS, ASKED_BOTH, DEBUG},
};

static const char *const base_values[BASE_N_CONDITIONS] = {
	[BASE_NONE] = "none",
	[BASE_WANTED] = "wanted",
	[BASE_SENT] = "sent",
};

/* All changes are logged at DEBUG, because the engine asks the standby many questions before a
 * copy. */
static const struct change base_changes[] = {
	{BASE_NONE, BASE_WANTED, DEBUG},
	{BASE_WANTED, BASE_SENT, DEBUG},
	{BASE_SENT, BASE_WANTED, DEBUG}, /* the next question */
	{BASE_SENT, BASE_NONE, DEBUG},
	{BASE_WANTED, BASE_NONE, DEBUG}, /* given up */
};

static const char *const tracking_values[TRACKING_N_CONDITIONS] = {
	[TRACKING_LOST] = "lost",
	[TRACKING_FRESH] = "fresh",
	[TRACKING_USED] = "used",
};

/* All changes are logged at DEBUG, because each FULL epoch makes them. Another log line reports
 * failures. */
static const struct change tracking_changes[] = {
	{TRACKING_LOST, TRACKING_FRESH, DEBUG},
	{TRACKING_LOST, TRACKING_USED, DEBUG}, /* handed on by the agent's previous program */
	{TRACKING_FRESH, TRACKING_USED, DEBUG},
	{TRACKING_FRESH, TRACKING_LOST, DEBUG},
	{TRACKING_USED, TRACKING_LOST, DEBUG},
};

static const char *const flush_values[FLUSH_N_CONDITIONS] = {
	[FLUSH_OBEYED] = "obeyed",
	[FLUSH_IGNORED] = "ignored",
	[FLUSH_KEPT] = "kept",
	[FLUSH_BETWEEN] = "between",
};

/* All changes are logged at DEBUG, because another log line (disk_flushes=) reports them. */
static const struct change flush_changes[] = {
	{FLUSH_OBEYED, FLUSH_IGNORED, DEBUG},
	{FLUSH_OBEYED, FLUSH_KEPT, DEBUG},
	{FLUSH_OBEYED, FLUSH_BETWEEN, DEBUG},
	{FLUSH_IGNORED, FLUSH_OBEYED, DEBUG},
	{FLUSH_BETWEEN, FLUSH_KEPT, DEBUG},
};

/* @table: the condition's values and changes, which several conditions can share */
#define CONDITION_OF(what, text, table)                                                            \
	const struct condition condition_##what = {                                                \
		.name = text,                                                                      \
		.values = table##_values,                                                          \
		.n_values = ARRAY_SIZE(table##_values),                                            \
		.changes = table##_changes,                                                        \
		.n_changes = ARRAY_SIZE(table##_changes),                                          \
	}
#define CONDITION(what) CONDITION_OF(what, #what, what)

CONDITION(guest);
CONDITION(output);
CONDITION(voice);
CONDITION(stream);
CONDITION(direct);
CONDITION(sync);
CONDITION(cover);
CONDITION(disks);
CONDITION(move);
CONDITION(verify);
CONDITION(ram);
CONDITION_OF(ram_finding, "ram-finding", finding);
CONDITION_OF(disk_finding, "disk-finding", finding);
CONDITION(asked);
CONDITION(base);
CONDITION(tracking);
CONDITION(flush);

bool condition_allows(const struct condition *condition, unsigned int from, unsigned int to,
		      enum log_level *ret_level)
{
	for (size_t i = 0; i < condition->n_changes; i++) {
		const struct change *change = &condition->changes[i];

		if (change->from == from && change->to == to) {
			*ret_level = change->level;
			return true;
		}
	}
	return false;
}

const char *condition_name(const struct condition *condition)
{
	return condition->name;
}

const char *condition_value(const struct condition *condition, unsigned int value)
{
	return value < condition->n_values ? condition->values[value] : "unknown";
}
