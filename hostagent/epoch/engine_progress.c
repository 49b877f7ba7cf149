/* Reports the state of the disks and of their copies, for `vm show` and events. See
 * engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/progress.h"
#include "wire/msg.h"

#define LOOK_NS CLOCK_NS_PER_S
/* While clients wait for the copy, the gateway must see soon that it makes progress
 * (gateway/vm/fsm_copy.c). */
#define HELD_LOOK_NS (250 * CLOCK_NS_PER_MS)
#define COPY_FAST (UINT64_C(1) << 32) /* a limit of this much (in bytes/s) is removed instead of
				       * doubled */
#define MIB(bytes) ((bytes) >> 20)

/* ---- the copy */

static void say_news(struct engine *e)
{
	log_info("vm=%s epoch=%" PRIu64 " %s", e->config.vm, e->epochs.next, e->disks.copy_news);
	e->config.changed(e->config.changed_arg);
}

/* Return the bytes that QEMU reads each second, on average since the copy began. */
static uint64_t copy_rate(const struct engine_disks *d)
{
	uint64_t ms = (clock_mono_ns() - d->begun_ns) / CLOCK_NS_PER_MS;

	return d->copied_bytes / (ms ? ms : 1) * 1000;
}

static uint64_t seconds_left(const struct engine_disks *d)
{
	uint64_t rate = copy_rate(d);

	return rate ? (d->copy_bytes - d->copied_bytes) / rate : 0;
}

static uint64_t look_every_ns(const struct engine *e)
{
	return engine_is_holding(e) ? HELD_LOOK_NS : LOOK_NS;
}

void engine_copy_begun(struct engine *e)
{
	struct engine_disks *d = &e->disks;

	d->copied_bytes = d->copy_bytes = 0;
	d->copy_sent_ns = 0;
	for (uint32_t i = 0; i < d->n; i++)
		d->copy_bytes += d->disk[i].found.size_bytes;
	d->copy_look_ns = clock_mono_ns() + look_every_ns(e);
	d->copy_tenths = 0;
	if (engine_is_holding(e))
		progress_begin(e->config.progress, "copied", "of its disks", d->copy_bytes);
	snprintf(d->copy_news, sizeof(d->copy_news),
		 "the copy of %" PRIu32 " disks begins: %" PRIu64 " MiB", d->n, MIB(d->copy_bytes));
	say_news(e);
}

static void report_tenth(struct engine *e)
{
	struct engine_disks *d = &e->disks;
	uint32_t tenths = d->copy_bytes ? (uint32_t)(10 * d->copied_bytes / d->copy_bytes) : 0;

	if (tenths <= d->copy_tenths || tenths >= 10)
		return;
	d->copy_tenths = tenths;
	snprintf(d->copy_news, sizeof(d->copy_news),
		 "copied %" PRIu32 "0 %% of the disks, %" PRIu64 " of %" PRIu64 " MiB; %" PRIu64
		 " MiB/s, %" PRIu64 " s left", tenths, MIB(d->copied_bytes), MIB(d->copy_bytes),
		 MIB(copy_rate(d)), seconds_left(d));
	say_news(e);
}

void engine_copy_slow_down(struct engine *e, const struct engine_disk *disk)
{
	uint64_t ms = (clock_mono_ns() - e->disks.begun_ns) / CLOCK_NS_PER_MS;
	struct disk_ring_counts counts;

	disk_ring_get_counts(disk->ring, &counts);
	e->disks.copy_bytes_per_s =
		(counts.bytes - disk->counts.bytes) * 1000 / (2 * (ms ? ms : 1));
	if (e->disks.copy_bytes_per_s < ENGINE_COPY_BYTES_PER_S_MIN)
		e->disks.copy_bytes_per_s = ENGINE_COPY_BYTES_PER_S_MIN;
}

uint64_t engine_copy_limit(const struct engine *e)
{
	uint64_t ours = e->disks.copy_bytes_per_s, users = e->config.disk_copy_bytes_per_s;

	if (engine_is_holding(e)) /* clients wait for the end of the copy */
		return ours;
	return ours == 0 || (users > 0 && users < ours) ? users : ours;
}

/* A copy that began anew because a ring was full is slow at first. Make it faster while the rings
 * have room. (A ring that is filling slows the copy down by itself: disk/ring.h.) */
static void pace(struct engine *e)
{
	struct engine_disks *d = &e->disks;
	uint64_t waiting = 0, limit = d->copy_bytes_per_s;
	struct error error;

	for (uint32_t i = 0; i < d->n; i++) {
		uint64_t n = disk_ring_waiting(d->disk[i].ring);

		waiting = n > waiting ? n : waiting;
	}
	if (waiting < e->config.disk_ring_bytes / 4)
		limit = limit < COPY_FAST ? 2 * limit : 0;
	if (limit == d->copy_bytes_per_s)
		return;
	d->copy_bytes_per_s = limit;
	for (uint32_t i = 0; i < d->n; i++) {
		if (mirror_set_speed(&d->disk[i].mirror, e->guest.qmp, engine_copy_limit(e),
				     &error) < 0)
			log_limited(LOG_LEVEL_WARN, "vm=%s ignoring, the copy keeps its speed: %s",
				    e->config.vm, error.text);
	}
	log_debug("vm=%s the copy of the disks may have %" PRIu64 " bytes/s", e->config.vm,
		  engine_copy_limit(e));
}

void engine_copy_look(struct engine *e)
{
	struct engine_disks *d = &e->disks;
	uint64_t copied = 0, all = 0, every_ns = look_every_ns(e);
	struct error error;

	if (d->condition != DISKS_COPYING || clock_mono_ns() < d->copy_look_ns ||
	    engine_throttle_release(e) < 0)
		return;
	d->copy_look_ns = clock_mono_ns() + every_ns;
	for (uint32_t i = 0; i < d->n; i++) {
		struct mirror_progress progress = {0};
		int r = mirror_check(&d->disk[i].mirror, e->guest.qmp, &progress, &error);

		if (r < 0 && r != -EAGAIN)
			return; /* engine_disks_check() reports a broken mirror */
		copied += progress.done_bytes;
		all += progress.bytes;
	}
	pace(e);
	if (e->capture.seal)
		seal_arm(e->capture.seal); /* the commands above have used the monitor: prepare it
					    * for the next seal */
	d->copied_bytes = copied;
	d->copy_bytes = all;
	if (engine_is_holding(e))
		progress_to(e->config.progress, copied);
	report_tenth(e);
}

void engine_copy_ended(struct engine *e, const char *why)
{
	struct engine_disks *d = &e->disks;
	uint64_t ms = (clock_mono_ns() - d->begun_ns) / CLOCK_NS_PER_MS;

	if (why) {
		snprintf(d->copy_news, sizeof(d->copy_news),
			 "the copy of the disks is given up after %" PRIu64 " ms: %.60s", ms, why);
	} else {
		d->copied_bytes = d->copy_bytes;
		snprintf(d->copy_news, sizeof(d->copy_news),
			 "the disks are copied: %" PRIu64 " MiB in %" PRIu64 ".%" PRIu64 " s",
			 MIB(d->copy_bytes), ms / 1000, ms % 1000 / 100);
	}
	say_news(e);
}

void engine_copy_sent(struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++)
		e->disks.disk[i].copy_end = disk_ring_head(e->disks.disk[i].ring);
	e->disks.copy_sent_ns = clock_mono_ns();
}

void engine_copy_arrived(struct engine *e)
{
	struct engine_disks *d = &e->disks;

	if (d->copy_sent_ns == 0)
		return;
	for (uint32_t i = 0; i < d->n; i++) {
		if (disk_ring_tail(d->disk[i].ring) < d->disk[i].copy_end)
			return;
	}
	d->copy_sent_ns = 0;
	d->copy_ms = (clock_mono_ns() - d->begun_ns) / CLOCK_NS_PER_MS;
	log_info("vm=%s epoch=%" PRIu64 " the standby has the copy of the disks, %" PRIu64
		 " MiB after %" PRIu64 " ms", e->config.vm, e->epochs.committed,
		 MIB(d->copy_bytes), d->copy_ms);
}

int engine_add_text(char *stats, const char *key, const char *text)
{
	char value[WIRE_STATS_VALUE_MAX + 1];
	size_t n = 0;

	for (; text[n] && n < sizeof(value) - 1; n++)
		value[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
	value[n] = '\0';
	return n ? wire_stats_add(stats, key, "%s", value) : 0;
}

static int copy_stats(const struct engine *e, char *stats)
{
	const struct engine_disks *d = &e->disks;
	int r = 0;

	if (d->copy_bytes > 0)
		r = wire_stats_add(stats, "disk_copy_percent", "%" PRIu64,
				   100 * d->copied_bytes / d->copy_bytes);
	if (r == 0)
		r = wire_stats_add(stats, "disk_copied_bytes", "%" PRIu64, d->copied_bytes);
	if (r == 0 && d->condition == DISKS_COPYING)
		r = wire_stats_add(stats, "disk_copy_bytes_per_s", "%" PRIu64, copy_rate(d));
	if (r == 0 && d->condition == DISKS_COPYING)
		r = wire_stats_add(stats, "disk_copy_s_left", "%" PRIu64, seconds_left(d));
	/* Output is held, and no epoch can be sent before this copy is complete, so clients wait.
	 * From these keys the gateway judges whether the copy makes progress (fsm_copy.c). */
	if (r == 0 && d->condition == DISKS_COPYING && engine_is_holding(e))
		r = wire_stats_add(stats, "held_copied_bytes", "%" PRIu64, d->copied_bytes);
	if (r == 0 && d->condition == DISKS_COPYING && engine_is_holding(e))
		r = wire_stats_add(stats, "held_copy_bytes", "%" PRIu64, d->copy_bytes);
	if (r == 0 && d->copy_ms > 0)
		r = wire_stats_add(stats, "disk_copy_ms", "%" PRIu64, d->copy_ms);
	if (r == 0)
		r = engine_add_text(stats, "disk_copy_news", d->copy_news);
	return r;
}

/* ---- figures */

int engine_disks_stats(const struct engine *e, char *stats)
{
	uint64_t waiting = 0, bytes = 0, same = 0, overflows = 0, waits = 0;
	int r;

	if (e->disks.n == 0)
		return wire_stats_add(stats, "disks", "none");
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct disk_ring_counts counts;

		disk_ring_get_counts(e->disks.disk[i].ring, &counts);
		waiting += disk_ring_waiting(e->disks.disk[i].ring);
		bytes += counts.bytes;
		same += counts.same_bytes;
		overflows += counts.overflows;
		waits += counts.waits_ns / CLOCK_NS_PER_MS;
	}
	r = wire_stats_add(stats, "disks", "%s",
			   condition_value(&condition_disks, e->disks.condition));
	if (r == 0)
		r = wire_stats_add(stats, "disk_flushes", "%s",
				   engine_flushes_are_off(e) ? "outside" : "in-pause");
	if (r == 0)
		r = wire_stats_add(stats, "disk_waiting_bytes", "%" PRIu64, waiting);
	if (r == 0)
		r = wire_stats_add(stats, "disk_bytes", "%" PRIu64, bytes);
	if (r == 0)
		r = wire_stats_add(stats, "disk_same_bytes", "%" PRIu64, same);
	if (r == 0)
		r = wire_stats_add(stats, "disk_overflows", "%" PRIu64, overflows);
	if (r == 0)
		r = wire_stats_add(stats, "disk_waits_ms", "%" PRIu64, waits);
	if (r == 0)
		r = copy_stats(e, stats);
	if (r == 0)
		r = engine_ram_stats(e, stats);
	return r < 0 ? r : engine_verify_stats(e, stats);
}

/* ---- the verification of the disks */

/* Returns what `vm show` prints for the verification of the disks. */
static const char *state_of(const struct engine *e)
{
	const struct engine_verify *v = &e->verify;

	if (e->config.disk_verify_bytes_per_s == 0)
		return "off";
	if (v->finding == FINDING_FAILED)
		return "failed";
	if (v->n_left_out == e->disks.n || (engine_stream_is_resumed(&e->stream) &&
					    !(e->stream.features & WIRE_FEATURE_DISK_HASH)))
		return "not-possible";
	if (v->condition == VERIFY_PASSED && v->n_checked == 0 && v->n_unread > 0)
		return "not-possible";
	if (v->condition == VERIFY_PASSED)
		return "done";
	return engine_verify_may_send(e) ? "running" : "waiting";
}

int engine_verify_stats(const struct engine *e, char *stats)
{
	const struct engine_verify *v = &e->verify;
	int r = wire_stats_add(stats, "disk_verify", "%s", state_of(e));

	if (r == 0)
		r = engine_add_text(stats, "disk_verify_why", v->why.text);
	if (r == 0)
		r = wire_stats_add(stats, "disk_verified_blocks", "%" PRIu64, v->n_checked);
	if (r == 0)
		r = wire_stats_add(stats, "disk_busy_blocks", "%" PRIu64, v->n_busy);
	if (r == 0)
		r = wire_stats_add(stats, "disk_unread_blocks", "%" PRIu64, v->n_unread);
	if (r == 0)
		r = wire_stats_add(stats, "disk_differing_blocks", "%" PRIu64, v->n_differ);
	if (r == 0) /* 1: blocks differed, and no later pass has ended without an unproven block */
		r = wire_stats_add(stats, "disk_differs", "%d", v->finding != FINDING_NONE);
	if (r == 0)
		r = engine_add_text(stats, "disk_verify_news", v->news);
	return r;
}

bool engine_verify_is_over(const struct engine *e)
{
	const char *state = state_of(e);

	return e->disks.n == 0 || (strcmp(state, "running") != 0 && strcmp(state, "waiting") != 0);
}
