/* Makes ordinary epochs, and what FULL epochs share with them; see engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

/* If at least this many dirty pages are expected, copy them before the pause. With fewer pages, the
 * extra scan and the second copies cost more than the shorter pause saves. */
#define PRECOPY_MIN_PAGES 512u

/* While encoding, call engine_service() each time after this many batches. */
#define SERVICE_EVERY_BATCHES 2u

/* The hold begins with a short epoch. After this many epochs that were too long, it begins with the
 * next epoch, however long that is. */
#define UNHELD_MAX 16u

#define PIPE_RETRY_MIN_NS (5 * CLOCK_NS_PER_S)
#define PIPE_RETRY_FACTOR 4
#define PIPE_RETRY_MAX_NS (3600 * CLOCK_NS_PER_S)

int engine_new_seal(struct engine *e, struct error *ret_error)
{
	struct engine_capture *c = &e->capture;
	int r = seal_new(e->guest.qmp, c->track, c->mem, c->device, e->guest.info.n_pages,
			 &c->seal);

	if (r < 0)
		return error_set(ret_error, r, "the copy buffer: %s", strerror(-r));
	if (engine_disks_are_direct(e))
		seal_drain_first(c->seal);
	return 0;
}

int engine_restart_tracking(struct engine *e, struct error *ret_error)
{
	const struct vmm_info *info = &e->guest.info;
	struct engine_capture *c = &e->capture;
	int r;

	engine_set_tracking(e, TRACKING_LOST, "it begins anew");
	c->seal = seal_free(c->seal);
	c->track = track_close(c->track); /* close the old tracker first: two trackers cannot watch
					   * the same memory */
	r = track_open(info->pid, info->blocks, info->n_blocks, &c->track, ret_error);
	if (r < 0)
		return r;
	r = engine_new_seal(e, ret_error);
	if (r < 0) {
		c->track = track_close(c->track);
		return r;
	}
	engine_set_tracking(e, TRACKING_FRESH, "");
	return 0;
}

static int encode_and_serve(struct engine *e, struct encoder_cursor *cursor)
{
	uint32_t n_batches = 0;
	int r;

	while ((r = encoder_pages(e->epochs.encoder, cursor)) != 0) {
		if (r == -ENOBUFS)
			r = engine_stream_wait(e);
		else if (r == -EAGAIN)
			r = engine_encoder_wait(e);
		else if (r > 0)
			r = ++n_batches % SERVICE_EVERY_BATCHES == 0 ? engine_service(e) : 0;
		/* On error, stop: engine_service() may have dropped the frames of this epoch. */
		if (r < 0)
			return r;
	}
	return 0;
}

int engine_encode_pages(struct engine *e, struct encoder_cursor cursor)
{
	int r = encode_and_serve(e, &cursor);

	/* From here on no thread may read the pages: the caller may reuse their buffer. */
	if (r < 0)
		encoder_abandon(e->epochs.encoder);
	return r;
}

static struct encoder_cursor cursor_over(const struct seal_pages *p, const uint64_t *skip)
{
	return (struct encoder_cursor){
		.ranges = p->ranges, .n_ranges = p->n_ranges, .pages = p->pages, .skip = skip};
}

/* Encode the time that the guest's clock should show if the standby is promoted with this epoch. */
static int encode_clock(struct engine *e)
{
	struct clock_words saved, wanted;
	struct wire_clock clock = {.mono_ns = clock_mono_ns()};
	int r;

	if (!(e->stream.features & WIRE_FEATURE_CLOCK) ||
	    !guestclock_forecast(e->guest.clock, clock.mono_ns, &saved, &wanted,
				 &clock.ticks_per_s))
		return 0;
	if (clock.ticks_per_s < 1 || clock.ticks_per_s > WIRE_TICKS_PER_S_MAX)
		return 0; /* no processor's time stamp counter has such a rate */
	clock.saved_ticks = saved.ticks;
	clock.saved_ns = saved.clock;
	clock.ticks = wanted.ticks;
	clock.ns = wanted.clock;
	while ((r = encoder_clock(e->epochs.encoder, &clock)) == -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	return r;
}

int engine_encode_sealed(struct engine *e, const struct seal_result *result)
{
	struct encoder_cursor precopied = cursor_over(&result->precopied, result->superseded);
	struct encoder_cursor stopped = cursor_over(&result->stopped, NULL);
	struct encoder_cursor again = engine_ram_sealed(e, result);
	int r;

	encoder_expect(e->epochs.encoder, &precopied);
	encoder_expect(e->epochs.encoder, &stopped);
	encoder_expect(e->epochs.encoder, &again);
	r = engine_encode_pages(e, precopied);
	if (r == 0)
		r = engine_encode_pages(e, stopped);
	if (r == 0)
		r = engine_encode_pages(e, again);
	if (r < 0)
		return r;
	while ((r = encoder_device(e->epochs.encoder, result->device, result->device_size)) ==
	       -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	if (r == 0)
		r = encode_clock(e);
	if (r == 0)
		r = engine_disks_encode(e, e->epochs.next - 1);
	if (r == 0)
		r = engine_ram_encode(e);
	if (r < 0)
		return r;
	while ((r = encoder_end(e->epochs.encoder)) == -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	return r;
}

/* The seal's hook, called when the guest is stopped and its state was taken. From here on the
 * frames of the guest belong to the next epoch. The guest's clock is set last, just before the
 * guest resumes. */
static void end_epoch(void *arg, const struct seal_times *times)
{
	struct engine *e = arg;

	/* The hold's ring has frames of the epoch that ends here. Take them before the pacer knows
	 * of this seal, or the pacer would plan another seal for them. But holds_receive() also
	 * continues an unfinished release. So do not call it if a release is unfinished and frames
	 * must no longer be released. */
	if ((!holds_is_sending(e->output.holds) || engine_may_release(e)) &&
	    holds_receive(e->output.holds) < 0)
		log_debug("vm=%s held frames cannot leave, ignoring: serve() says so",
			  e->config.vm);
	engine_disks_cut(e, e->epochs.next);
	e->epochs.next++;
	holds_set_epoch(e->output.holds, e->epochs.next);
	if (e->output.condition == OUTPUT_BEGINS &&
	    holds_set_mode(e->output.holds, HOLD_HOLD) == 0) {
		engine_set_output(e, OUTPUT_HELD, "");
		e->output.held_from = e->epochs.next - 1;
	}
	if (e->guest.condition == GUEST_SEALING_PAUSED && e->move.condition == MOVE_WANTED)
		/* the guest was stopped before this seal, and stays stopped */
		guestclock_stopped(e->guest.clock, e->lease.stop_sent_ns, e->lease.stop_seen_ns);
	else
		guestclock_stopped(e->guest.clock, times->paused_ns,
				   times->paused_ns + times->stop_ns);
}

/* Should the hold begin with the seal of the epoch that is now being made? Every frame that left
 * unheld was sent before this seal, so this epoch's state includes having sent that frame, and the
 * standby can be promoted with this epoch. The hold begins only after the first copy is committed,
 * because the standby can take long to write and rehearse that copy. The epoch must also be short,
 * because output is held from its seal until its commit. */
static bool begins_hold(struct engine *e, bool is_full)
{
	uint64_t ran_ns = clock_mono_ns() - e->epochs.pacer.resumed_ns;

	if (!engine_disks_may_hold(e))
		return false;
	if (!(e->stream.features & WIRE_FEATURE_UNHELD))
		return true;
	if (is_full)
		e->output.n_unheld = 0;
	if (is_full || e->epochs.committed + 1 != e->epochs.next)
		return false;
	if (e->epochs.dirty_expected < PRECOPY_MIN_PAGES &&
	    ran_ns < 2 * e->epochs.pacer.config.epoch_max_ns)
		return true;
	return ++e->output.n_unheld > UNHELD_MAX;
}

void engine_choose_output(struct engine *e, bool is_full)
{
	if (!engine_is_holding(e))
		engine_set_output(e, begins_hold(e, is_full) ? OUTPUT_BEGINS : OUTPUT_PASSES, "");
}

uint8_t engine_unheld_flag(const struct engine *e)
{
	return e->stream.features & WIRE_FEATURE_UNHELD && !engine_is_holding(e) ? WIRE_FLAG_UNHELD
										 : 0;
}

enum seal_kind engine_choose_kind(const struct engine *e, bool is_full)
{
	if (!is_full && !protect_is_due(&e->epochs.protect))
		return SEAL_KEEP;
	return e->epochs.dirty_expected >= PRECOPY_MIN_PAGES ? SEAL_AHEAD : SEAL_PROTECT;
}

/* Called when a seal through the pipe has failed. Schedule another try, because the cause is
 * usually temporary (for example, somebody has stopped the QEMU process). Each failure costs a full
 * copy, so the wait grows with each failure. */
static void pipe_failed(struct engine *e)
{
	e->capture.pipe_wait_ns = e->capture.pipe_wait_ns
					  ? e->capture.pipe_wait_ns * PIPE_RETRY_FACTOR
					  : PIPE_RETRY_MIN_NS;
	if (e->capture.pipe_wait_ns > PIPE_RETRY_MAX_NS)
		e->capture.pipe_wait_ns = PIPE_RETRY_MAX_NS;
	e->capture.pipe_retry_ns = clock_mono_ns() + e->capture.pipe_wait_ns;
}

enum guest_condition engine_pause_begins(struct engine *e)
{
	enum guest_condition before = e->guest.condition;

	engine_set_guest(e, before == GUEST_RUNS ? GUEST_SEALING : GUEST_SEALING_PAUSED, "");
	return before;
}

/* Our pause leaves the guest as it was before. So if QEMU's last event was STOP although the guest
 * ran before, somebody else has paused the guest since engine_pause_begins(). */
bool engine_pause_ended(struct engine *e, enum guest_condition before)
{
	if (e->guest.condition == GUEST_SEALING_PAUSED) {
		engine_set_guest(e, before, "");
		return before == GUEST_RUNS;
	}
	engine_set_guest(e, GUEST_RUNS, "");
	if (before != GUEST_RUNS &&
	    e->status.verdict == WIRE_VERDICT_PAUSED) /* somebody resumed the guest */
		engine_set_verdict(e, WIRE_VERDICT_NONE, "");
	return false;
}

void engine_retry_pipe(struct engine *e)
{
	enum guest_condition before;

	if (e->capture.pipe_retry_ns == 0 || clock_mono_ns() < e->capture.pipe_retry_ns ||
	    engine_throttle_release(e) < 0)
		return;
	before = engine_pause_begins(e); /* testing the pipe pauses the guest briefly */
	engine_open_pipe(e);
	if (engine_pause_ended(e, before))
		engine_paused_by_other(e);
	if (!devstate_gate(e->capture.device)) {
		pipe_failed(e);
		return;
	}
	e->capture.pipe_retry_ns = 0;
	log_info("vm=%s epoch=%" PRIu64 " seals go through a pipe again", e->config.vm,
		 e->epochs.next);
}

void engine_open_pipe(struct engine *e)
{
	uint64_t start_ns = clock_mono_ns();
	bool is_running = e->guest.condition != GUEST_STOPPED;

	if (is_running)
		guestclock_running(e->guest.clock);
	devstate_open_gate(e->capture.device, e->guest.info.pid);
	if (is_running) /* a stopped guest's pause goes on */
		guestclock_resumed(e->guest.clock, clock_mono_ns() - start_ns);
}

/* After a seal, account for what the pause did to the guest's clock. */
static void see_to_clock(struct engine *e, const struct seal_result *result)
{
	const struct clock_rules *rules = guestclock_rules(e->guest.clock);

	/* A guest that was stopped for a move stays stopped: its pause goes on until
	 * engine_lease_let_run(), which sets its clock again. */
	if (e->guest.condition != GUEST_STOPPED)
		guestclock_resumed(e->guest.clock,
				   result->times.resumed_ns - result->times.paused_ns);
	guestclock_saved(e->guest.clock, result->device, result->device_size);
	clock_loss_note(&e->guest.clock_loss, result->times.resumed_ns, rules->lost_ns);
	pacer_clock(&e->epochs.pacer, rules->state == CLOCK_CORRECTED);
}

int engine_run_seal(struct engine *e, enum seal_kind kind, struct seal_result *ret_result)
{
	bool had_pipe = devstate_gate(e->capture.device) != NULL, is_paused;
	enum guest_condition before;
	int r;

	r = engine_throttle_release(e);
	if (r < 0) {
		engine_lose_sync(e, "a vCPU does not let the guest be sealed");
		return r;
	}
	if (had_pipe)
		gate_guard(devstate_gate(e->capture.device));
	before = engine_pause_begins(e);
	if (before != GUEST_STOPPED) /* for a stopped guest, this was called before its stop */
		guestclock_running(e->guest.clock);
	engine_disks_sealing(e, true);
	r = seal_run(e->capture.seal, kind, end_epoch, e, ret_result);
	engine_disks_sealing(e, false);
	is_paused = engine_pause_ended(e, before);
	engine_set_tracking(e, TRACKING_USED, "");
	if (r < 0) {
		log_error("vm=%s epoch=%" PRIu64 " seal failed: %s%s%s", e->config.vm,
			  e->epochs.next, strerror(-r),
			  *qmp_error(e->guest.qmp) ? ": " : "", qmp_error(e->guest.qmp));
		engine_lose_sync(e, "a seal failed");
		if (r == -ETIMEDOUT)
			engine_disks_hung(e);
		if (had_pipe && !devstate_gate(e->capture.device))
			pipe_failed(e);
		return r;
	}
	see_to_clock(e, ret_result);
	if (is_paused)
		engine_paused_by_other(e);
	/* The epoch just sealed is number epochs.next - 1 now. */
	e->epochs.sealed_at_ns[(e->epochs.next - 1) % ENGINE_SEALED_AT_SLOTS] =
		ret_result->times.resumed_ns;
	/* The vCPUs' CPU time until now belongs to the ended epoch: they did not run during the
	 * pause, and have hardly run since. */
	pacer_sealed(&e->epochs.pacer, ret_result->times.paused_ns, ret_result->times.resumed_ns,
		     vcpus_busy_ns(e->guest.vcpus));
	r = engine_watch_sealed(e, ret_result);
	/* While output passes, send even an epoch that lacks writes to a disk: no standby is
	 * promoted with it. */
	if (r == 0 && engine_disks_check(e) < 0 && engine_is_holding(e))
		r = -ESTALE;
	return r;
}

int engine_epoch(struct engine *e)
{
	enum seal_kind kind = engine_choose_kind(e, false);
	struct encoder_counts before, counts;
	struct seal_result result;
	uint64_t epoch = e->epochs.next, began_ns = e->epochs.pacer.resumed_ns;
	uint32_t n_stale, n_unchanged;
	bool kept_before;
	int r;

	engine_choose_output(e, false);
	pacer_sealing(&e->epochs.pacer, clock_mono_ns());
	r = engine_run_seal(e, kind, &result);
	if (r < 0)
		return r;
	encoder_get_counts(e->epochs.encoder, &before);
	/* From here on the reference changes. If the epoch is not encoded completely, a FULL epoch
	 * must follow. */
	r = encoder_begin(e->epochs.encoder, epoch, epoch - 1, engine_unheld_flag(e));
	if (r == 0)
		r = engine_encode_sealed(e, &result);
	if (r < 0) {
		engine_lose_sync(e, "an epoch was not encoded whole");
		return r;
	}
	encoder_get_counts(e->epochs.encoder, &counts);
	/* After a seal other than KEEP, each copied page was written by the guest, perhaps with the
	 * same bytes as before. */
	n_unchanged = (uint32_t)(counts.n_unchanged - before.n_unchanged);
	n_stale = kind == SEAL_KEEP ? n_unchanged : 0;
	protect_sealed(&e->epochs.protect, kind != SEAL_KEEP, result.n_dirty_pages, n_stale,
		       result.times.copy_ns);
	e->epochs.dirty_expected = (e->epochs.dirty_expected + result.n_dirty_pages - n_stale) / 2;
	kept_before = e->figures.last_kind == SEAL_KEEP;
	engine_figures_sealed(&e->figures, &result, kind,
			      protect_stale(kind == SEAL_KEEP, kept_before, n_unchanged),
			      engine_is_holding(e));
	e->figures.bytes_sent += counts.epoch_bytes;
	engine_stream_pace(e);
	engine_stream_send(e);
	engine_throttle_sealed(e, result.times.paused_ns - began_ns, &result, counts.epoch_bytes);
	FAULT_POINT(FAULT_AFTER_SEND);
	return 0;
}
