/* Implements the functions that change the engine's conditions, one function for each condition;
 * see condition.h and engine_condition_private.h. */
#include "epoch/engine_private.h"

#include <inttypes.h>

#include "base/log.h"

/* Is @condition allowed to change from @from to @to? If so, logs the change with the reason @why
 * ("": no reason) and returns true. If not, logs an error and returns false. If @to is @from,
 * returns false without a log line. */
static bool may_change(const struct engine *e, const struct condition *condition, unsigned int from,
		       unsigned int to, const char *why)
{
	enum log_level level;

	if (from == to)
		return false;
	if (!condition_allows(condition, from, to, &level)) {
		log_limited(LOG_LEVEL_ERROR,
			    "vm=%s term=%" PRIu64 " epoch=%" PRIu64
			    " a bug of this agent: %s %s -> %s is not allowed, ignoring it: %s",
			    e->config.vm, e->term, e->epochs.next, condition_name(condition),
			    condition_value(condition, from), condition_value(condition, to), why);
		return false;
	}
	if (level <= log_get_level())
		log_write(level, __FILE__,
			  "vm=%s term=%" PRIu64 " epoch=%" PRIu64 " %s %s -> %s%s%s", e->config.vm,
			  e->term, e->epochs.next, condition_name(condition),
			  condition_value(condition, from), condition_value(condition, to),
			  *why ? ": " : "", why);
	return true;
}

void engine_set_guest(struct engine *e, enum guest_condition to, const char *why)
{
	if (may_change(e, &condition_guest, e->guest.condition, to, why))
		e->guest.condition = to;
}

void engine_set_output(struct engine *e, enum output_condition to, const char *why)
{
	if (may_change(e, &condition_output, e->output.condition, to, why))
		e->output.condition = to;
}

void engine_set_voice(struct engine *e, enum voice_condition to, const char *why)
{
	if (may_change(e, &condition_voice, e->lease.voice, to, why))
		e->lease.voice = to;
}

void engine_set_stream(struct engine *e, enum stream_condition to, const char *why)
{
	if (may_change(e, &condition_stream, e->stream.condition, to, why))
		e->stream.condition = to;
}

void engine_set_move(struct engine *e, enum move_condition to, const char *why)
{
	if (may_change(e, &condition_move, e->move.condition, to, why))
		e->move.condition = to;
}

void engine_set_direct(struct engine *e, enum direct_condition to, const char *why)
{
	if (may_change(e, &condition_direct, e->direct.condition, to, why))
		e->direct.condition = to;
}

void engine_set_sync(struct engine *e, enum sync_condition to, const char *why)
{
	if (may_change(e, &condition_sync, e->epochs.sync, to, why))
		e->epochs.sync = to;
}

void engine_set_cover(struct engine *e, enum cover_condition to, const char *why)
{
	if (may_change(e, &condition_cover, e->watch.cover, to, why))
		e->watch.cover = to;
}

void engine_set_disks(struct engine *e, enum disks_condition to, const char *why)
{
	if (may_change(e, &condition_disks, e->disks.condition, to, why))
		e->disks.condition = to;
}

void engine_set_verify(struct engine *e, enum verify_condition to, const char *why)
{
	if (may_change(e, &condition_verify, e->verify.condition, to, why))
		e->verify.condition = to;
}

void engine_set_ram(struct engine *e, enum ram_condition to, const char *why)
{
	if (may_change(e, &condition_ram, e->ram.condition, to, why))
		e->ram.condition = to;
}

void engine_set_ram_finding(struct engine *e, enum finding_condition to, const char *why)
{
	if (may_change(e, &condition_ram_finding, e->ram.finding, to, why))
		e->ram.finding = to;
}

void engine_set_disk_finding(struct engine *e, enum finding_condition to, const char *why)
{
	if (may_change(e, &condition_disk_finding, e->verify.finding, to, why))
		e->verify.finding = to;
}

void engine_set_asked(struct engine *e, enum asked_condition to, const char *why)
{
	if (may_change(e, &condition_asked, e->asked.condition, to, why))
		e->asked.condition = to;
}

void engine_set_base(struct engine *e, enum base_condition to, const char *why)
{
	if (may_change(e, &condition_base, e->base.condition, to, why))
		e->base.condition = to;
}

void engine_set_tracking(struct engine *e, enum tracking_condition to, const char *why)
{
	if (may_change(e, &condition_tracking, e->capture.tracking, to, why))
		e->capture.tracking = to;
}

void engine_set_flush(struct engine *e, struct engine_disk *disk, enum flush_condition to)
{
	if (may_change(e, &condition_flush, disk->flush, to, disk->found.name))
		disk->flush = to;
}

bool engine_is_holding(const struct engine *e)
{
	return e->output.condition == OUTPUT_HELD || e->output.condition == OUTPUT_CLOSED;
}

bool engine_stream_is_resumed(const struct engine_stream *stream)
{
	return stream->condition == STREAM_GATEWAY_RESUMED ||
	       stream->condition == STREAM_DIRECT_RESUMED;
}

bool engine_stream_is_direct(const struct engine_stream *stream)
{
	return stream->condition == STREAM_DIRECT || stream->condition == STREAM_DIRECT_RESUMED;
}

void engine_lose_sync(struct engine *e, const char *why)
{
	if (e->epochs.sync == SYNC_KEPT)
		engine_set_sync(e, SYNC_LOST, why);
}
