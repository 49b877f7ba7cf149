/* Collects the engine's figures and formats them for the gateway; see engine_private.h. */
#include "epoch/engine_private.h"

#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "codec/page.h"

/* Record the parts of a pause, and how many pages were dirty. */
static void record_pause(struct engine_figures *f, const struct seal_result *result,
			 uint32_t n_stale)
{
	const struct seal_times *t = &result->times;

	hist_record(&f->pause_ns, t->resumed_ns - t->paused_ns);
	hist_record(&f->stop_ns, t->stop_ns);
	hist_record(&f->scan_ns, t->scan_ns);
	hist_record(&f->copy_ns, t->copy_ns);
	hist_record(&f->device_ns, t->device_ns);
	hist_record(&f->cont_ns, t->cont_ns);
	hist_record(&f->dirty_pages, result->n_dirty_pages - n_stale);
	if (f->last_resumed_ns)
		hist_record(&f->interval_ns, t->resumed_ns - f->last_resumed_ns);
	f->last_resumed_ns = t->resumed_ns;
}

void engine_figures_sealed(struct engine_figures *f, const struct seal_result *result,
			   enum seal_kind kind, uint32_t n_stale, bool is_held)
{
	const struct seal_times *t = &result->times;

	if (is_held)
		record_pause(f, result, n_stale);
	else
		hist_record(&f->unheld_pause_ns, t->resumed_ns - t->paused_ns);
	f->n_epochs++;
	f->n_kept += kind == SEAL_KEEP;
	f->last_kind = kind;
	f->n_dirty_pages += result->n_dirty_pages - n_stale;
	f->n_stale_pages += n_stale;
	f->n_precopied_pages += result->n_dirty_pages - result->stopped.n_pages;
	f->paused_ns += t->resumed_ns - t->paused_ns;
}

void engine_figures_full(struct engine_figures *f, const struct encoder *encoder,
			 const struct encoder_counts *before)
{
	struct encoder_counts *full = &f->full, now;

	encoder_get_counts(encoder, &now);
	full->n_unchanged += now.n_unchanged - before->n_unchanged;
	full->n_zero += now.n_zero - before->n_zero;
	full->n_xrle += now.n_xrle - before->n_xrle;
	full->n_bitmap += now.n_bitmap - before->n_bitmap;
	full->n_raw += now.n_raw - before->n_raw;
	full->n_dup += now.n_dup - before->n_dup;
}

void engine_ordinary_counts(const struct engine_figures *f, const struct encoder *encoder,
			    struct encoder_counts *ret_counts)
{
	const struct encoder_counts *full = &f->full;

	encoder_get_counts(encoder, ret_counts);
	ret_counts->n_unchanged -= full->n_unchanged;
	ret_counts->n_zero -= full->n_zero;
	ret_counts->n_xrle -= full->n_xrle;
	ret_counts->n_bitmap -= full->n_bitmap;
	ret_counts->n_raw -= full->n_raw;
	ret_counts->n_dup -= full->n_dup;
}

/* Add @ns in the form "name=1.234", in milliseconds. */
static int add_ms(char *stats, const char *name, uint64_t ns)
{
	return wire_stats_add(stats, name, "%.3f", (double)ns / 1e6);
}

static int add_u64(char *stats, const char *name, uint64_t value)
{
	return wire_stats_add(stats, name, "%" PRIu64, value);
}

static int add_times(char *stats, const struct engine_figures *f)
{
	const struct {
		const char *name;
		const struct hist *hist;
		double quantile;
	} rows[] = {
		{"pause_ms_p50", &f->pause_ns, 0.5},
		{"pause_ms_p99", &f->pause_ns, 0.99},
		{"unheld_pause_ms_p50", &f->unheld_pause_ns, 0.5},
		{"unheld_pause_ms_p99", &f->unheld_pause_ns, 0.99},
		{"stop_ms_p50", &f->stop_ns, 0.5},
		{"scan_ms_p50", &f->scan_ns, 0.5},
		{"copy_ms_p50", &f->copy_ns, 0.5},
		{"device_ms_p50", &f->device_ns, 0.5},
		{"cont_ms_p50", &f->cont_ns, 0.5},
		{"commit_ms_p50", &f->commit_ns, 0.5},
		{"commit_ms_p99", &f->commit_ns, 0.99},
		{"interval_ms_p50", &f->interval_ns, 0.5},
		{"interval_ms_p99", &f->interval_ns, 0.99},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
		r = add_ms(stats, rows[i].name, hist_quantile(rows[i].hist, rows[i].quantile));
	return r;
}

static int add_counts(char *stats, struct engine *e)
{
	const struct engine_figures *f = &e->figures;
	struct encoder_counts counts;
	struct hold_stats held;

	engine_ordinary_counts(f, e->epochs.encoder, &counts);
	if (holds_stats(e->output.holds, &held) < 0)
		memset(&held, 0,
		       sizeof(held)); /* show zeros if the kernel does not answer */
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"epochs", f->n_epochs},
		{"full_epochs", f->n_full},
		{"full_rounds", f->full_rounds},
		{"running_epoch", e->epochs.next},
		{"committed_epoch", e->epochs.committed},
		{"in_flight", retain_n_epochs(e->epochs.retain)},
		{"backlog_bytes", retain_bytes(e->epochs.retain)},
		{"epochs_let_go", e->figures.n_let_go},
		{"stretched_epochs", e->epochs.pacer.n_stretched},
		{"stretched_ms", e->epochs.pacer.stretched_ns / CLOCK_NS_PER_MS},
		{"throttle_percent", e->throttle.plan.percent},
		{"throttle_peak_percent", f->throttle_peak},
		{"throttled_ms", f->throttled_ns / CLOCK_NS_PER_MS},
		{"throttle_begun", e->throttle.plan.n_begun},
		{"dirty_pages_p50", hist_quantile(&f->dirty_pages, 0.5)},
		{"dirty_pages_p99", hist_quantile(&f->dirty_pages, 0.99)},
		{"dirty_pages", f->n_dirty_pages},
		{"precopied_pages", f->n_precopied_pages},
		{"stale_pages", f->n_stale_pages},
		{"epochs_kept_writable", f->n_kept},
		{"fault_ns", e->capture.track ? track_fault_ns(e->capture.track) : 0},
		{"kept_pages", counts.n_kept},
		{"pages_unchanged", counts.n_unchanged},
		{"pages_zero", counts.n_zero},
		{"pages_delta", counts.n_xrle + counts.n_bitmap},
		{"pages_xrle", counts.n_xrle},
		{"pages_bitmap", counts.n_bitmap},
		{"pages_raw", counts.n_raw},
		{"pages_dup", counts.n_dup},
		{"reference_pages", counts.reference.n_used},
		{"reference_pages_max", counts.reference.n_slots},
		{"reference_hits", counts.reference.n_hits + counts.reference.n_zero_hits},
		{"reference_misses", counts.reference.n_misses},
		{"encode_threads", counts.n_threads},
		{"bytes_sent", f->bytes_sent},
		{"bytes_full", f->bytes_full},
		{"bytes_plain", counts.packing.plain_bytes},
		{"stage_bytes_in", counts.packing.in_bytes},
		{"stage_bytes_out", counts.packing.out_bytes},
		{"stage_us", counts.packing.spent_ns / 1000},
		{"stage_switches", e->stream.stage.n_switches},
		{"link_full_bytes_per_s", (uint64_t)(e->stream.stage.rate * 1e9)},
		{"reconnects", f->n_reconnects},
		{"lease_ms_left",
		 lease_left_ns(&e->lease.lease, clock_boot_ns()) / CLOCK_NS_PER_MS},
		{"lease_ended", f->n_lease_ended},
		{"machine_looks", f->n_looks},
		{"holding", engine_is_holding(e)},
		{"direct", e->direct.condition != DIRECT_OFF},
		{"cards", e->config.taps->n},
		{"held_frames", held.frames},
		{"held_bytes", held.bytes},
		{"held_frames_peak", held.frames_peak},
		{"released_frames", held.released},
		{"release_mended", held.n_mended},
		{"dropped_frames", hold_dropped(&held)},
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
		r = add_u64(stats, rows[i].name, rows[i].value);
	return r;
}

static const char *codec_name(uint64_t features)
{
	switch (features & (PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP)) {
	case PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP:
		return "xrle+bitmap";
	case PAGE_FEATURE_XRLE:
		return "xrle";
	case PAGE_FEATURE_BITMAP:
		return "bitmap";
	default:
		return "none";
	}
}

/* Add the figures of the guest's clock. */
static int add_clock(char *stats, struct engine *e, uint64_t now_ns)
{
	const struct clock_rules *rules = guestclock_rules(e->guest.clock);
	double percent = clock_loss_percent(&e->guest.clock_loss, now_ns, rules->lost_ns);
	int r = wire_stats_add(stats, "clock_corrected", "%s", clock_rules_word(rules));

	if (r == 0 && *rules->why)
		r = wire_stats_add(stats, "clock_why", "%s", rules->why);
	if (r == 0)
		r = add_u64(stats, "clock_set", rules->n_set);
	if (r == 0)
		r = add_ms(stats, "clock_lost_ms", rules->lost_ns);
	if (r == 0)
		r = wire_stats_add(stats, "clock_lost_percent", "%.2f", percent);
	if (r == 0) /* in whole percent; at least 1 while the loss is too high, otherwise 0 */
		r = add_u64(stats, "clock_alarm_percent",
			    clock_loss_alarm(&e->guest.clock_loss, percent,
					     e->config.clock_alarm_percent)
				    ? (uint64_t)percent + 1
				    : 0);
	return r;
}

static int add_all(char *stats, struct engine *e, uint64_t now_ns)
{
	const struct engine_figures *f = &e->figures;
	int r = add_counts(stats, e);

	if (r == 0)
		r = add_times(stats, f);
	if (r == 0)
		r = wire_stats_add(stats, "ratio", "%.4f",
				   f->n_dirty_pages ? (double)f->bytes_sent /
							      ((double)f->n_dirty_pages * 4096)
						    : 0.0);
	if (r == 0)
		r = add_ms(stats, "commit_ms_last", f->last_commit_ns);
	if (r == 0)
		r = engine_disks_stats(e, stats);
	if (r == 0)
		r = add_ms(stats, "full_pause_ms", f->full_pause_ns);
	if (r == 0)
		r = wire_stats_add(
			stats, "codec", "%s%s", codec_name(encoder_features(e->epochs.encoder)),
			encoder_features(e->epochs.encoder) & PAGE_FEATURE_DUP ? "+dup" : "");
	if (r == 0)
		r = wire_stats_add(stats, "stage", "%s",
				   stage_is_on(&e->stream.stage) ? "lz4" : "off");
	if (r == 0)
		r = add_clock(stats, e, now_ns);
	if (r == 0)
		r = wire_stats_add(stats, "pacer", "%s", pacer_reason(&e->epochs.pacer, now_ns));
	if (r == 0 && *holds_trouble(e->output.holds))
		r = wire_stats_add(stats, "way", "release-broken");
	if (r == 0 && e->throttle.plan.percent > 0)
		r = wire_stats_add(stats, "throttle_why", "%s", e->throttle.why);
	return r;
}

void engine_publish(struct engine *e)
{
	char stats[WIRE_STATS_MAX + 1] = "";
	uint64_t now_ns = clock_mono_ns();
	int r = add_all(stats, e, now_ns);

	if (r < 0) {
		/* Report no figures. Old figures would be taken for current ones, and a list that
		 * lacks some keys could hide a problem. */
		*stats = '\0';
		if (e->publish_error == 0)
			log_error("vm=%s cannot format the figures of its reports: %s",
				  e->config.vm, strerror(-r));
	}
	e->publish_error = r;
	pthread_mutex_lock(&e->status_lock);
	strcpy(e->status.stats, stats);
	if (e->guest.condition != GUEST_LOST) /* when QEMU is gone, keep the last known value */
		/* Also true while QEMU has not obeyed our `stop` yet. Otherwise a reader of the
		 * status could think that somebody else has paused the guest. */
		e->status.is_stopped_here = e->guest.condition == GUEST_STOPPED ||
					    e->guest.condition == GUEST_STOPPING ||
					    e->guest.condition == GUEST_STOPPING_RESUMED;
	e->status.is_holding = engine_is_holding(e);
	e->status.is_outvoted = e->lease.voice == VOICE_OUTVOTED;
	e->status.is_direct = e->direct.condition != DIRECT_OFF;
	e->status.sealed_epoch = e->epochs.next - 1;
	e->status.committed_epoch = e->epochs.committed;
	pthread_mutex_unlock(&e->status_lock);
	e->publish_at_ns = now_ns + ENGINE_PUBLISH_NS;
}
