/* Makes FULL epochs; see engine_private.h. */
#include "epoch/engine_private.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/progress.h"

/* A FULL epoch copies the guest's dirty pages in rounds while the guest runs. The epoch is sealed
 * after one of these rounds:
 * - a round that finds at most FULL_LAST_ROUND_PAGES pages
 * - a round that is not shorter than the round before it, although the guest is throttled as far as
 *   allowed (throttle.h)
 * - round number FULL_ROUNDS_MAX
 * If many pages are still dirty, the seal copies them before it pauses the guest. */
#define FULL_LAST_ROUND_PAGES 1024u
#define FULL_ROUNDS_MAX	      8u

/* Make the first round of a FULL epoch obey the VM's limit (ram_copy_bytes_per_s). Later rounds are
 * not slowed down: the guest writes meanwhile, so a slow round makes the next round longer. Nothing
 * is slowed down while output is held, because clients wait. */
static int pace_copy(struct engine *e)
{
	const uint64_t limit = e->config.ram_copy_bytes_per_s, began_ns = e->epochs.copy_began_ns;
	struct encoder_counts counts;
	uint64_t due_ns, now_ns;
	int r = 0;

	if (limit == 0 || began_ns == 0 || engine_is_holding(e))
		return 0;
	encoder_get_counts(e->epochs.encoder, &counts);
	due_ns = began_ns + (uint64_t)((double)counts.epoch_bytes / (double)limit * 1e9);
	while (r == 0 && (now_ns = clock_mono_ns()) < due_ns)
		r = engine_wait_and_serve(e, -1, due_ns - now_ns);
	return r;
}

static int full_batch(void *arg, const struct page_range *ranges, uint32_t n_ranges,
		      uint32_t n_pages, const uint8_t *pages)
{
	struct engine *e = arg;
	int r = engine_encode_pages(
		e, (struct encoder_cursor){.ranges = ranges, .n_ranges = n_ranges, .pages = pages});

	progress_add(e->config.progress, (uint64_t)n_pages * VMM_PAGE_BYTES);
	if (r == 0)
		r = engine_disks_full_take(e);
	return r == 0 ? pace_copy(e) : r;
}

/* Scan for a round of copying. If QEMU opens the guest's disks with O_DIRECT, pause the guest
 * during the scan. */
static int scan_round(struct engine *e)
{
	enum guest_condition before;
	uint64_t start_ns;
	int r;

	if (!engine_disks_are_direct(e))
		return seal_scan_running(e->capture.seal);
	r = engine_throttle_release(e);
	if (r < 0)
		return r;
	before = engine_pause_begins(e);
	guestclock_running(e->guest.clock);
	start_ns = clock_mono_ns();
	engine_disks_sealing(e, true);
	r = seal_scan_running(e->capture.seal);
	engine_disks_sealing(e, false);
	guestclock_resumed(e->guest.clock, clock_mono_ns() - start_ns);
	if (engine_pause_ended(e, before))
		engine_paused_by_other(e);
	return r;
}

static int full_rounds(struct engine *e)
{
	uint32_t n_pages = 0, n_before, round = 0;
	uint64_t began_ns;
	bool is_last;
	int r;

	do {
		n_before = n_pages;
		began_ns = clock_mono_ns();
		e->epochs.copy_began_ns = round == 0 ? began_ns : 0;
		if (round == 0)
			progress_begin(e->config.progress, "copied", "of guest RAM",
				       (uint64_t)e->guest.info.n_pages * VMM_PAGE_BYTES);
		else
			progress_begin(e->config.progress, "copied again",
				       "that the guest wrote meanwhile", 0);
		r = scan_round(e);
		engine_set_tracking(e, TRACKING_USED, "");
		if (r == 0)
			r = seal_copy_running(e->capture.seal, full_batch, e, &n_pages);
		if (r < 0)
			return r;
		log_debug("vm=%s epoch=%" PRIu64 " round=%u pages=%u", e->config.vm,
			  e->epochs.next, round, n_pages);
		is_last = n_pages <= FULL_LAST_ROUND_PAGES || ++round == FULL_ROUNDS_MAX ||
			  (round > 1 && !engine_throttle_round(e, n_pages, n_before, began_ns));
	} while (!is_last);
	e->epochs.dirty_expected = n_pages;
	e->figures.full_rounds = round;
	return 0;
}

static int send_full(struct engine *e)
{
	struct seal_result result;
	int r;

	e->figures.last_kind = SEAL_PROTECT; /* the seal of a FULL epoch protects all pages */
	engine_choose_output(e, true);
	r = encoder_begin(e->epochs.encoder, e->epochs.next, e->stream.complete_at_peer,
			  WIRE_FLAG_FULL | engine_unheld_flag(e));
	if (r == 0)
		r = full_rounds(e);
	progress_begin(e->config.progress, "copied all of the guest's RAM and began to take",
		       "its state", 0);
	if (r == 0)
		r = engine_disks_full_take(e);
	if (r == 0)
		r = engine_disks_full_wait(e);
	if (r == 0)
		r = engine_lease_wait(e); /* wait for a lease, because the guest runs after a
					   * seal */
	if (r == 0)
		r = engine_run_seal(e, engine_choose_kind(e, true), &result);
	if (r < 0)
		return r;
	e->figures.full_pause_ns = result.times.resumed_ns - result.times.paused_ns;
	return engine_encode_sealed(e, &result);
}

int engine_full_epoch(struct engine *e)
{
	struct encoder_counts before, counts;
	struct error error;
	int r;

	r = engine_throttle_end(e);
	if (r == 0)
		r = engine_machine_check(e);
	if (r < 0)
		return r;
	if (e->capture.tracking != TRACKING_FRESH) {
		r = engine_restart_tracking(e, &error);
		if (r < 0) {
			log_limited(LOG_LEVEL_ERROR, "vm=%s tracking: %s", e->config.vm,
				    error.text);
			engine_set_state(e, e->status.state,
					 "the guest's memory cannot be tracked, "
					 "trying again: %s",
					 error.text);
			return r;
		}
	}
	if (e->epochs.next <= e->stream.complete_at_peer)
		e->epochs.next = e->stream.complete_at_peer + 1;
	if (engine_is_holding(e))
		holds_set_epoch(e->output.holds, e->epochs.next);
	retain_drop_all(e->epochs.retain);
	engine_disks_full_begins(e);
	engine_set_sync(e, SYNC_FULL, "");
	e->epochs.full_generation = e->stream.generation;
	encoder_get_counts(e->epochs.encoder, &before);
	r = engine_base_memory(e);
	if (r == 0)
		r = send_full(e);
	engine_base_used(e);
	progress_end(e->config.progress); /* from here on, the frames on the link show the
					   * progress */
	engine_figures_full(&e->figures, e->epochs.encoder, &before);
	engine_set_sync(e, r < 0 ? SYNC_LOST : SYNC_KEPT, "");
	if (r < 0)
		return r;
	engine_ram_copied(e);
	protect_init(&e->epochs.protect, track_fault_ns(e->capture.track));
	e->figures.last_resumed_ns = 0; /* do not count the time since the last seal as
					 * an interval */
	encoder_get_counts(e->epochs.encoder, &counts);
	e->figures.bytes_full += counts.epoch_bytes;
	e->figures.n_full++;
	engine_stream_pace(e);
	engine_stream_send(e);
	return 0;
}
