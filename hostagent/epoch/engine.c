#include "epoch/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "epoch/engine_private.h"
#include "epoch/shutdown.h"

/* The shortest and the longest wait after a failed epoch. The wait doubles with each failure in a
 * row, because the cause (such as a debugger attached to QEMU) can disappear at once or never. */
#define EPOCH_RETRY_MIN_NS (20 * CLOCK_NS_PER_MS)
#define EPOCH_RETRY_MAX_NS (2 * CLOCK_NS_PER_S)

void engine_set_state(struct engine *e, uint8_t state, const char *format, ...)
{
	char text[WIRE_TEXT_MAX + 1];
	uint8_t old;
	va_list args;

	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args); /* a long text is truncated */
	va_end(args);
	pthread_mutex_lock(&e->status_lock);
	old = e->status.state;
	e->status.state = state;
	/* Do not report failures that follow the end of the guest. */
	if (e->status.verdict != WIRE_VERDICT_SHUTDOWN && e->status.verdict != WIRE_VERDICT_EXITED)
		wire_text_format(e->status.text, "%s", text);
	e->status.sealed_epoch = e->epochs.next - 1;
	e->status.committed_epoch = e->epochs.committed;
	e->status.is_holding = engine_is_holding(e);
	e->status.is_outvoted = e->lease.voice == VOICE_OUTVOTED;
	pthread_mutex_unlock(&e->status_lock);
	if (old != state)
		log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " state %s -> %s %s", e->config.vm,
			 e->term, e->epochs.next,
			 wire_state_name(old), wire_state_name(state), text);
	e->config.changed(e->config.changed_arg);
}

void engine_set_verdict(struct engine *e, uint8_t verdict, const char *text)
{
	pthread_mutex_lock(&e->status_lock);
	e->status.verdict = verdict;
	wire_text_format(e->status.text, "%s", text);
	pthread_mutex_unlock(&e->status_lock);
	log_warn("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " verdict=%s %s", e->config.vm,
		 e->term, e->epochs.next,
		 wire_verdict_name(verdict), text);
	e->config.changed(e->config.changed_arg);
}

/* Handle QEMU's SHUTDOWN event. If the guest wanted the shutdown, report the verdict SHUTDOWN now.
 * If somebody else wanted it, only this QEMU ends, and the standby takes the guest over. So only
 * keep the text; guest_lost() reports the end of QEMU. */
static void note_shutdown(struct engine *e, const json_t *data)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));

	if (shutdown_is_guests(reason, json_is_true(json_object_get(data, "guest"))))
		engine_set_verdict(e, WIRE_VERDICT_SHUTDOWN, shutdown_text(reason));
	else
		e->guest.end_text = shutdown_text(reason);
}

/* Handle QEMU's STOP event. While this host may speak for the guest, a STOP outside of our pauses
 * means that somebody else has stopped the guest. While it may not, this host itself stops the
 * guest, so such a STOP means nothing. */
static void on_stop(struct engine *e)
{
	if (e->guest.condition == GUEST_SEALING)
		engine_set_guest(e, GUEST_SEALING_PAUSED, "");
	else if (e->guest.condition == GUEST_STOPPING_RESUMED)
		engine_set_guest(e, GUEST_STOPPING, "");
	else if (e->lease.voice == VOICE_SPEAKS)
		engine_paused_by_other(e);
}

static void on_resume(struct engine *e)
{
	/* QEMU has not ended (-no-shutdown), and the guest runs again */
	e->guest.end_text = NULL;
	switch (e->guest.condition) {
	case GUEST_SEALING_PAUSED:
		engine_set_guest(e, GUEST_SEALING, "");
		break;
	case GUEST_PAUSED_NEWLY:
	case GUEST_PAUSED:
		engine_set_guest(e, GUEST_RUNS, "it was resumed");
		engine_set_verdict(e, WIRE_VERDICT_NONE, "");
		break;
	case GUEST_STOPPING: /* QEMU's answer to our `stop` will show whether the guest runs */
		engine_set_guest(e, GUEST_STOPPING_RESUMED, "");
		break;
	case GUEST_STOPPED: /* if this host still must not speak, engine_lease_tick() stops the
			     * guest again */
		engine_set_guest(e, GUEST_RUNS, "it was resumed");
		break;
	default:
		break;
	}
}

void engine_on_qmp_event(void *arg, const char *event, const json_t *data)
{
	struct engine *e = arg;

	for (uint32_t i = 0; i < e->disks.n; i++)
		(void)mirror_take_event(&e->disks.disk[i].mirror, event, data);
	if (strcmp(event, "DEVICE_DELETED") == 0 || strcmp(event, "DEVICE_TRAY_MOVED") == 0)
		watch_saw_device(&e->watch.plan);
	else if (strcmp(event, "SHUTDOWN") == 0)
		note_shutdown(e, data);
	else if (strcmp(event, "STOP") == 0)
		on_stop(e);
	else if (strcmp(event, "RESUME") == 0)
		on_resume(e);
}

static void guest_lost(struct engine *e, int error)
{
	if (e->status.verdict != WIRE_VERDICT_SHUTDOWN)
		engine_set_verdict(e, WIRE_VERDICT_EXITED,
				   e->guest.end_text ? e->guest.end_text
				   : error == -ECONNRESET
					   ? "QEMU closed its monitor: the process ended"
					   : "QEMU's monitor is lost");
	/* the monitor's client stays open until engine_free(), because other objects use it too */
	engine_set_guest(e, GUEST_LOST, "");
}

/* If committed frames cannot leave, clients get no answers. So do not report the guest as
 * PROTECTED. The hold itself tries again to send them. */
static void watch_release(struct engine *e)
{
	const char *trouble = holds_trouble(e->output.holds);

	if (*trouble && e->status.state == WIRE_STATE_PROTECTED)
		engine_set_state(e, WIRE_STATE_SYNCING, "held frames cannot leave: %s", trouble);
}

static void serve(struct engine *e)
{
	int r = 0;

	engine_lease_tick(e);
	engine_watch_tick(e);
	engine_direct_tick(e);
	engine_stream_receive(e);
	/* holds_receive() also continues a release that the kernel interrupted. So while released
	 * frames still wait, call it only if frames may be released now. */
	if (e->lease.voice == VOICE_SPEAKS &&
	    (!holds_is_sending(e->output.holds) || engine_may_release(e)))
		r = holds_receive(e->output.holds);
	if (r > 0)
		pacer_demand(&e->epochs.pacer, clock_mono_ns(), holds_needs_seal(e->output.holds));
	watch_release(e);
	engine_stream_send(e);
	engine_stream_watch(e);
	engine_stream_measure(e);
	engine_throttle_tick(e);
	engine_watch_runstate(e);
	if (clock_mono_ns() >= e->publish_at_ns)
		engine_publish(e);
}

int engine_service(struct engine *e)
{
	serve(e);
	if (atomic_load(&e->must_stop))
		return -EINTR;
	if (e->watch.cover != COVER_WHOLE || e->epochs.sync == SYNC_LOST)
		return -ESTALE;
	if (e->epochs.sync == SYNC_FULL && (!engine_stream_is_resumed(&e->stream) ||
					    e->stream.generation != e->epochs.full_generation))
		return -ESTALE;
	return 0;
}

static bool may_seal(const struct engine *e)
{
	return e->guest.condition == GUEST_RUNS && !e->guest.end_text &&
	       e->lease.voice == VOICE_SPEAKS && engine_stream_is_resumed(&e->stream) &&
	       e->watch.cover == COVER_WHOLE && clock_mono_ns() >= e->epochs.retry_ns &&
	       engine_disks_may_stream(e);
}

static uint64_t next_wake_ns(struct engine *e, uint64_t now_ns)
{
	uint64_t wake_ns = e->publish_at_ns, due_ns = engine_throttle_wake_ns(&e->throttle, now_ns);

	if (engine_sheds(e))
		return now_ns;
	if (engine_move_wake_ns(e) < wake_ns)
		wake_ns = engine_move_wake_ns(e);

	if (due_ns < wake_ns)
		wake_ns = due_ns;
	due_ns = engine_lease_wake_ns(e, now_ns);
	if (due_ns < wake_ns)
		wake_ns = due_ns;
	due_ns = engine_direct_wake_ns(e);
	if (due_ns < wake_ns)
		wake_ns = due_ns;
	due_ns = engine_disks_wake_ns(e, now_ns);
	if (due_ns < wake_ns)
		wake_ns = due_ns;
	due_ns = engine_watch_wake_ns(&e->watch);
	if (due_ns < wake_ns && e->guest.condition != GUEST_LOST) /* a lost guest is not watched */
		wake_ns = due_ns;
	if (!e->stream.link && e->stream.connect_at_ns < wake_ns)
		wake_ns = e->stream.connect_at_ns;
	if (e->lease.voice == VOICE_SPEAKS && holds_is_sending(e->output.holds) &&
	    now_ns + CLOCK_NS_PER_MS < wake_ns)
		wake_ns = now_ns + CLOCK_NS_PER_MS;
	if (now_ns < e->epochs.retry_ns && e->epochs.retry_ns < wake_ns)
		wake_ns = e->epochs.retry_ns;
	if (!may_seal(e) || engine_move_waits(e))
		return wake_ns;
	due_ns = e->epochs.sync == SYNC_LOST ? now_ns : pacer_due_ns(&e->epochs.pacer);
	return due_ns < wake_ns ? due_ns : wake_ns;
}

static void wait_for_work(struct engine *e)
{
	struct pollfd fds[] = {
		{.fd = e->lease.voice != VOICE_SPEAKS ? -1 : holds_fd(e->output.holds),
		 .events = POLLIN},
		{.fd = e->wake_fd, .events = POLLIN},
		{.fd = e->watch.link_fd, .events = POLLIN},
		{.fd = e->guest.condition == GUEST_LOST ? -1 : qmp_fd(e->guest.qmp),
		 .events = POLLIN},
		{.fd = e->stream.link ? link_fd(e->stream.link) : -1,
		 .events = e->stream.link ? (short)link_events(e->stream.link) : 0},
	};
	uint64_t now_ns = clock_mono_ns(), wake_ns = next_wake_ns(e, now_ns);
	uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	struct timespec timeout = {.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S),
				   .tv_nsec = (long)(left_ns % CLOCK_NS_PER_S)};

	/* Ignore an error here: the next pass of the loop gets the same error and reports it. */
	(void)ppoll(fds, ARRAY_SIZE(fds), &timeout, NULL);
}

static void pump_qmp(struct engine *e)
{
	int r;

	if (e->guest.condition == GUEST_LOST)
		return;
	r = qmp_pump(e->guest.qmp);
	if (r < 0)
		guest_lost(e, r);
}

/* Handle the result @r of engine_epoch() or engine_full_epoch(). */
static void epoch_ended(struct engine *e, int r)
{
	/* Ask the monitor itself whether QEMU is gone, because other functions return -EPROTO,
	 * too. */
	int lost = r == -ECONNRESET || r == -EPROTO ? qmp_pump(e->guest.qmp) : 0;

	if (lost < 0) {
		guest_lost(e, lost);
	} else if (r == 0 && e->epochs.wait_ns > 0) {
		e->epochs.wait_ns = e->epochs.retry_ns = 0;
		engine_set_state(e, e->status.state, "%s", "");
	} else if (r < 0 && r != -EINTR && r != -ESTALE) {
		e->epochs.wait_ns = e->epochs.wait_ns ? e->epochs.wait_ns * 2 : EPOCH_RETRY_MIN_NS;
		if (e->epochs.wait_ns > EPOCH_RETRY_MAX_NS)
			e->epochs.wait_ns = EPOCH_RETRY_MAX_NS;
		e->epochs.retry_ns = clock_mono_ns() + e->epochs.wait_ns;
		if (e->capture.seal) /* without a seal object, tracking is lost, and the status says
				      * so already */
			engine_set_state(e, e->status.state, "an epoch failed, trying again: %s",
					 strerror(-r));
	}
}

/* Do one pass of the engine's loop: handle what has arrived, send what waits, and seal when it is
 * time. */
static void turn(struct engine *e)
{
	uint64_t now_ns;

	pump_qmp(e);
	serve(e);
	engine_watch_again(e);
	engine_disks_tick(e);
	engine_asked_tick(e);
	engine_verify_tick(e);
	engine_flushes_tick(e);
	now_ns = clock_mono_ns();
	if (!e->stream.link && now_ns >= e->stream.connect_at_ns)
		engine_stream_connect(e);
	engine_move_tick(e);
	engine_shed_tick(e);
	if (!may_seal(e))
		return;
	if (engine_move_waits(e)) {
		if (engine_move_is_due(e, now_ns))
			epoch_ended(e, engine_move_seal(e));
		return;
	}
	if (e->epochs.sync == SYNC_KEPT)
		engine_retry_pipe(e);
	if (!may_seal(e)) /* engine_retry_pipe() may have found the guest paused */
		return;
	if (e->epochs.sync == SYNC_LOST)
		epoch_ended(e, engine_full_epoch(e));
	else if (pacer_due_ns(&e->epochs.pacer) <= now_ns)
		epoch_ended(e, engine_epoch(e));
}

void *engine_main(void *arg)
{
	struct engine *e = arg;

	while (!atomic_load(&e->must_stop)) {
		turn(e);
		engine_ram_tick(e); /* right after a seal, this delays the next seal least */
		wait_for_work(e);
	}
	if (engine_throttle_end(e) < 0)
		log_warn(
			"vm=%s a vCPU waits in the kernel, ignoring: it is let go when this thread "
			"ends",
			e->config.vm);
	return NULL;
}

const struct vmm_inventory *engine_inventory(const struct engine *engine)
{
	return &engine->watch.inventory;
}

pid_t engine_guest_pid(const struct engine *engine)
{
	return engine->guest.info.pid;
}

void engine_status(struct engine *engine, struct engine_status *ret_status)
{
	pthread_mutex_lock(&engine->status_lock);
	*ret_status = engine->status;
	pthread_mutex_unlock(&engine->status_lock);
}
