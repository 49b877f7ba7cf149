/* Stops the guest and releases nothing while there is no valid lease; see lease.h and
 * engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define QMP_NS	   (2 * CLOCK_NS_PER_S)
#define RETRY_NS   (500 * CLOCK_NS_PER_MS) /* how long to wait before a retry if QEMU did
					    * not obey */
#define LOOK_NS    (10 * CLOCK_NS_PER_MS) /* how often to check for a renewed lease, which does not
					   * wake this thread */
#define RELEASE_LOOK_NS (2 * CLOCK_NS_PER_MS) /* how often to check while the guest runs and only a
					       * release waits for a renewed lease */
#define CONNECT_NS (500 * CLOCK_NS_PER_MS)

/* Before the hold has begun, no standby can be promoted. So the guest may run without a lease until
 * then. */
bool engine_may_speak(const struct engine *e)
{
	return e->lease.voice != VOICE_OUTVOTED && e->move.condition != MOVE_YIELDED &&
	       (!engine_is_holding(e) ||
		(!lease_is_over(&e->lease.lease, clock_boot_ns()) && e->watch.cover != COVER_NET));
}

bool engine_may_release(const struct engine *e)
{
	return engine_may_speak(e) &&
	       (!engine_is_holding(e) || lease_may_release(&e->lease.lease, clock_boot_ns()));
}

static bool is_release_waiting(const struct engine *e)
{
	return e->lease.commit_waiting > e->epochs.committed;
}

static int order(struct engine *e, const char *verb)
{
	int r = engine_throttle_release(e);

	if (r == 0)
		r = qmp_execute(e->guest.qmp, verb, NULL, QMP_NS, NULL);
	if (r < 0) {
		e->lease.retry_ns = clock_mono_ns() + RETRY_NS;
		log_limited(LOG_LEVEL_ERROR,
			    "vm=%s term=%" PRIu64
			    " QEMU does not take `%s`: %s; its frames are held, "
			    "trying again",
			    e->config.vm, e->term, verb,
			    *qmp_error(e->guest.qmp) ? qmp_error(e->guest.qmp) : strerror(-r));
	}
	return r;
}

static void silence(struct engine *e)
{
	e->lease.retry_ns = 0;
	if (e->move.condition == MOVE_YIELDED) {
		engine_set_voice(e, VOICE_SILENCED, "the guest is to run on the other host");
		return;
	}
	if (e->watch.cover == COVER_NET) {
		engine_set_voice(e, VOICE_SILENCED, "frames could leave unheld");
		return;
	}
	engine_set_voice(e, VOICE_SILENCED,
			 "the lease is over: the guest is stopped and nothing leaves until the "
			 "gateway renews it");
	e->figures.n_lease_ended++;
	engine_set_state(e, e->status.state,
			 "no lease: guest stopped, output held until the gateway "
			 "renews it");
}

static bool is_stopping(const struct engine *e)
{
	return e->guest.condition == GUEST_STOPPING ||
	       e->guest.condition == GUEST_STOPPING_RESUMED;
}

int engine_lease_let_run(struct engine *e)
{
	uint64_t began_ns = e->lease.stop_sent_ns;
	int r;

	if (e->guest.condition != GUEST_STOPPED && !is_stopping(e))
		return 0;
	/* We stopped the guest, so its clock is corrected for the time of the stop, as for any
	 * pause of ours. */
	if (e->lease.stop_seen_ns)
		guestclock_stopped(e->guest.clock, e->lease.stop_sent_ns, e->lease.stop_seen_ns);
	r = order(e, "cont"); /* if a `stop` of ours still waits in QEMU, QEMU carries it out before
			       * this `cont` */
	if (r < 0)
		return r;
	if (e->lease.stop_seen_ns)
		guestclock_resumed(e->guest.clock, clock_mono_ns() - began_ns);
	engine_set_guest(e, GUEST_RUNS, "");
	return 0;
}

static void renewed(struct engine *e)
{
	if (engine_lease_let_run(e) < 0)
		return;
	engine_set_voice(e, VOICE_SPEAKS, "it may speak again: the guest goes on");
	e->figures.last_resumed_ns = 0; /* do not count the time since the last seal as
					 * an interval */
	/* By now TCP has retransmitted for some time on the stream's connection, and waits long
	 * between retransmissions. So a lost packet may be repeated only seconds later, and until
	 * then this host cannot replicate. A new connection does not have this wait. */
	engine_stream_close(e, "unheard while the guest stood still; beginning anew");
	e->stream.connect_at_ns = 0;
	e->stream.backoff = 0;
	engine_set_state(e, e->status.state, "%s", "");
	engine_committed(e, e->lease.commit_waiting);
}

void engine_lease_stop(struct engine *e)
{
	/* true: QEMU has answered all our earlier `stop` commands */
	bool is_first = e->guest.condition == GUEST_RUNS;
	int r;

	engine_set_guest(e, GUEST_STOPPING, "");
	guestclock_running(e->guest.clock);
	e->lease.stop_sent_ns = clock_mono_ns();
	e->lease.stop_seen_ns = 0;
	engine_disks_sealing(e, true);
	r = order(e, "stop");
	engine_disks_sealing(e, false);
	if (r == 0 && e->guest.condition == GUEST_STOPPING_RESUMED) {
		/* Somebody sent `cont` right after our `stop`. The next tick stops the
		 * guest again. */
		engine_set_guest(e, GUEST_RUNS, "it was resumed");
	} else if (r == 0) {
		e->lease.stop_seen_ns = clock_mono_ns();
		engine_set_guest(e, GUEST_STOPPED, "");
	} else if (r != -ETIMEDOUT && is_first) {
		/* QEMU has answered all our `stop` commands, so none of them can still take
		 * effect. */
		engine_set_guest(e, GUEST_RUNS, "QEMU did not take `stop`");
	}
	e->publish_at_ns = 0;
}

void engine_lease_tick(struct engine *e)
{
	bool may_speak = engine_may_speak(e);

	if (!may_speak && e->lease.voice == VOICE_SPEAKS)
		silence(e);
	if (e->lease.voice == VOICE_SPEAKS) {
		if (is_release_waiting(e) && engine_may_release(e))
			engine_committed(e, e->lease.commit_waiting);
		return;
	}
	if (clock_mono_ns() < e->lease.retry_ns)
		return;
	if (may_speak)
		renewed(e);
	else if (e->guest.condition == GUEST_RUNS || is_stopping(e))
		engine_lease_stop(e);
}

/* Return the end of the lease as a time of CLOCK_MONOTONIC, which the engine's waits use. @now_ns:
 * the time now, by that clock. */
static uint64_t lease_end_mono_ns(const struct engine *e, uint64_t now_ns)
{
	uint64_t end_ns = lease_end_ns(&e->lease.lease), boot_ns = clock_boot_ns();

	if (end_ns == UINT64_MAX)
		return UINT64_MAX;
	return end_ns > boot_ns ? now_ns + (end_ns - boot_ns) : now_ns;
}

uint64_t engine_lease_wake_ns(const struct engine *e, uint64_t now_ns)
{
	if (e->lease.voice != VOICE_SPEAKS)
		return now_ns + LOOK_NS;
	if (is_release_waiting(e))
		return now_ns + RELEASE_LOOK_NS;
	return engine_is_holding(e) ? lease_end_mono_ns(e, now_ns) : UINT64_MAX;
}

uint64_t engine_lease_bound_ns(const struct engine *e, uint64_t wanted_ns)
{
	uint64_t end_ns = UINT64_MAX;

	if (e->lease.voice != VOICE_SPEAKS)
		end_ns = clock_mono_ns() + CONNECT_NS;
	else if (engine_is_holding(e))
		end_ns = lease_end_mono_ns(e, clock_mono_ns());

	return wanted_ns < end_ns ? wanted_ns : end_ns;
}

int engine_lease_wait(struct engine *e)
{
	int r = engine_service(e);

	while (r == 0 && e->lease.voice != VOICE_SPEAKS)
		r = engine_wait_and_serve(e, -1, LOOK_NS);
	return r;
}

void engine_outvoted(struct engine *e, const char *why)
{
	char text[WIRE_TEXT_MAX + 64];

	if (e->lease.voice == VOICE_OUTVOTED)
		return;
	(void)snprintf(text, sizeof(text), "%s; the guest is stopped, nothing leaves any more",
		       why); /* a long text is truncated */
	engine_set_voice(e, VOICE_OUTVOTED, text);
	e->lease.retry_ns = 0;
	if (holds_set_mode(e->output.holds, HOLD_DROP) == 0)
		/* from here on, only a command of the gateway may open the hold */
		engine_set_output(e, OUTPUT_CLOSED, "");
	engine_lease_tick(e);
}

int engine_renew_lease(struct engine *engine, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		       uint32_t release_ms, uint64_t sent_ns)
{
	return lease_renew(&engine->lease.lease, term, beat_ns, lease_ms, release_ms, sent_ns);
}

void engine_void_lease(struct engine *engine)
{
	lease_void(&engine->lease.lease);
}
