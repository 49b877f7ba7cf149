/* Stops and resumes the vCPUs according to throttle.h's timetable, and reports why; see
 * engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define RELEASE_NAP_NS 20000 /* length of one wait for a vCPU to reach the requested stop */
#define RETRY_NS       CLOCK_NS_PER_MS

#define MB_PER_S(bytes, ns) ((double)(bytes) * 1e3 / (double)((ns) ? (ns) : 1))

static int let_go(struct engine *e)
{
	int r;

	if (e->throttle.held_at_ns == 0)
		return 0;
	r = vcpus_resume(e->guest.vcpus);
	if (r < 0)
		return r;
	e->figures.throttled_ns += clock_mono_ns() - e->throttle.held_at_ns;
	e->throttle.held_at_ns = 0;
	return 0;
}

static void hold_still(struct engine *e, uint64_t now_ns)
{
	int r = vcpus_stop(e->guest.vcpus);

	e->throttle.held_at_ns = now_ns; /* also on error: some vCPUs may be stopped, so let_go()
					  * must resume them */
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s epoch=%" PRIu64 " the guest cannot be throttled: %s "
			    "(a debugger at QEMU?)",
			    e->config.vm, e->epochs.next, strerror(-r));
		(void)let_go(e); /* the next pass of the loop tries again to stop them */
	}
}

void engine_throttle_tick(struct engine *e)
{
	uint64_t now_ns = clock_mono_ns();
	bool is_wanted = throttle_wants_stop(&e->throttle.plan, now_ns) && e->guest.vcpus &&
			 e->guest.condition == GUEST_RUNS && e->lease.voice == VOICE_SPEAKS;

	if (is_wanted && e->throttle.held_at_ns == 0)
		hold_still(e, now_ns);
	else if (!is_wanted)
		(void)let_go(e); /* if it fails, engine_throttle_wake_ns() makes the next tick
				  * try again */
}

uint64_t engine_throttle_wake_ns(const struct engine_throttle *t, uint64_t now_ns)
{
	if (t->held_at_ns > 0 && !t->plan.is_stop)
		return now_ns + RETRY_NS;
	return throttle_slice_end_ns(&t->plan);
}

int engine_throttle_release(struct engine *e)
{
	const struct timespec nap = {.tv_nsec = RELEASE_NAP_NS};
	uint64_t deadline_ns = clock_mono_ns() + SEAL_TIMEOUT_NS;
	int r;

	while ((r = let_go(e)) == -EAGAIN) {
		if (clock_mono_ns() > deadline_ns)
			return -ETIMEDOUT;
		(void)nanosleep(&nap, NULL);
	}
	return r;
}

static void say(struct engine *e)
{
	if (e->throttle.plan.percent > 0)
		log_info("vm=%s epoch=%" PRIu64 " throttle=%u%% %s", e->config.vm,
			 e->epochs.next, e->throttle.plan.percent,
			 e->throttle.why);
	else
		log_info("vm=%s epoch=%" PRIu64 " throttle=0%%", e->config.vm,
			 e->epochs.next);
	e->figures.throttle_peak = e->throttle.plan.percent > e->figures.throttle_peak
					   ? e->throttle.plan.percent
					   : e->figures.throttle_peak;
	e->publish_at_ns = 0; /* show the new throttle to the operator at once */
}

/* Are epochs large because of the disks' first copy? */
static bool is_copy(const struct engine *e)
{
	return e->disks.condition == DISKS_COPYING && !engine_is_holding(e);
}

void engine_throttle_sealed(struct engine *e, uint64_t run_ns, const struct seal_result *result,
			    uint64_t bytes)
{
	uint64_t now_ns = clock_mono_ns(), on_way_ns = now_ns - result->times.resumed_ns;
	double rate = e->stream.stage.rate;
	struct throttle_epoch epoch = {
		.run_ns = run_ns,
		.copy_ns = result->times.copy_ns,
		.commit_ns = on_way_ns,
		.bytes = bytes,
	};
	uint32_t before = e->throttle.plan.percent;

	/* Do not throttle while the disks are first copied. A slower guest would not make that copy
	 * smaller, a full ring already slows down the guest's writes to its disks, and nobody waits
	 * for these epochs. */
	if (is_copy(e)) {
		(void)!engine_throttle_end(e); /* if it fails, the next tick tries again */
		return;
	}
	if (rate > 0) {
		epoch.commit_ns += (uint64_t)((double)engine_stream_waiting(e) / rate);
		epoch.transfer_ns = (uint64_t)((double)bytes / rate);
	}
	if (!throttle_sealed(&e->throttle.plan, now_ns, &epoch))
		return;
	if (e->throttle.plan.percent > before)
		(void)snprintf(e->throttle.why, sizeof(e->throttle.why),
			       "writes %.0f MB/s, %.1f to send, the link takes %.1f; an epoch is "
			       "copied in %.0f ms, sent in %.0f",
			       MB_PER_S((uint64_t)result->n_dirty_pages * VMM_PAGE_BYTES, run_ns),
			       MB_PER_S(bytes, run_ns), rate * 1e3, (double)epoch.copy_ns / 1e6,
			       (double)epoch.commit_ns / 1e6);
	say(e);
}

bool engine_throttle_round(struct engine *e, uint32_t n_pages, uint32_t n_before, uint64_t began_ns)
{
	uint64_t now_ns = clock_mono_ns(), round_ns = now_ns - began_ns;
	uint32_t before = e->throttle.plan.percent;
	bool is_worth;

	if (e->stream.stage.rate > 0)
		round_ns += (uint64_t)((double)engine_stream_waiting(e) / e->stream.stage.rate);
	is_worth = throttle_full_round(&e->throttle.plan, now_ns, n_pages, n_before, round_ns,
				       engine_is_holding(e));
	if (e->throttle.plan.percent != before) {
		(void)snprintf(e->throttle.why, sizeof(e->throttle.why),
			       "a full copy: %u pages were written while %u were sent in %.1f s",
			       n_pages, n_before, (double)round_ns / 1e9);
		say(e);
	}
	return is_worth;
}

int engine_throttle_end(struct engine *e)
{
	bool was_on = e->throttle.plan.percent > 0;

	throttle_reset(&e->throttle.plan, clock_mono_ns());
	if (was_on)
		say(e);
	return engine_throttle_release(e);
}
