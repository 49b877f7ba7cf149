/* Stops the guest so that the VM's other host can run it, without losing anything: a move.
 *
 *	asked ──► WANTED ──► STOPPED ───────► YIELDED ──► the other host is promoted, and this one
 *	   no epoch is on      COMMIT of the    │                fenced: engine_fence()
 *	   its way: `stop`,    last epoch, its  │ engine_move_end()
 *	   then the last seal  output has left  ▼
 *	                          └─────────► ENDING ──► NONE: the guest goes on here
 *
 * An ordinary seal lets the guest run again. So the guest is first stopped by `stop`, as when a
 * lease has expired. The seal finds the guest stopped, and leaves it stopped.
 *
 * In YIELDED this host must not speak for the guest, as if its lease had expired
 * (engine_may_speak()). A new lease does not change that. From here on the gateway may promote the
 * other host without waiting for the end of the lease. So YIELDED must end only when the agent asks
 * for it (engine_move_end()).
 *
 * Threads: the engine's; functions of engine.h: any. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/text.h"

/* How long to wait for the commits of earlier epochs before the guest is stopped. The last epoch is
 * sent after the earlier ones, so this wait makes the pause shorter. */
#define DRAIN_NS (200 * CLOCK_NS_PER_MS)
#define LOOK_NS	 (5 * CLOCK_NS_PER_MS)

static void wake(struct engine *e)
{
	uint64_t one = 1;

	if (write(e->wake_fd, &one, sizeof(one)) < 0)
		log_debug("vm=%s wake: %s, ignoring: it was awake", e->config.vm, strerror(errno));
}

int engine_move(struct engine *engine, uint64_t number)
{
	uint64_t before = atomic_load(&engine->move.asked);

	do {
		if (before != 0 && before != number && ((before | number) & ENGINE_MOVE_HANDS_ON))
			return -EBUSY;
	} while (!atomic_compare_exchange_weak(&engine->move.asked, &before, number));
	wake(engine);
	return 0;
}

bool engine_is_moving(struct engine *engine)
{
	bool is_moving;

	pthread_mutex_lock(&engine->status_lock);
	is_moving = engine->status.yielded_move || engine->status.move_stopped_ns;
	pthread_mutex_unlock(&engine->status_lock);
	return is_moving || atomic_load(&engine->move.asked) != 0;
}

void engine_move_end(struct engine *engine)
{
	atomic_store(&engine->move.asked, 0);
	wake(engine);
}

/* Write to the engine's status how far the move has come. */
static void publish(struct engine *e)
{
	const enum move_condition condition = e->move.condition;
	const bool is_stopped = condition == MOVE_STOPPED || condition == MOVE_YIELDED ||
				condition == MOVE_ENDING;

	pthread_mutex_lock(&e->status_lock);
	e->status.move_stopped_ns = is_stopped ? e->move.stopped_ns : 0;
	e->status.yielded_move = condition == MOVE_YIELDED ? e->move.number : 0;
	e->status.yielded_epoch = e->move.epoch;
	pthread_mutex_unlock(&e->status_lock);
	e->config.changed(e->config.changed_arg);
}

static void give_up(struct engine *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void give_up(struct engine *e, const char *format, ...)
{
	char text[WIRE_TEXT_MAX + 1];
	va_list args;

	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args); /* a long text is truncated */
	va_end(args);
	engine_set_move(e,
			e->move.condition == MOVE_WANTED && e->guest.condition != GUEST_STOPPED &&
					e->guest.condition != GUEST_STOPPING &&
					e->guest.condition != GUEST_STOPPING_RESUMED
				? MOVE_NONE
				: MOVE_ENDING,
			text);
	pthread_mutex_lock(&e->status_lock);
	e->status.failed_move = e->move.number;
	wire_text_format(e->status.move_text, "%s", text);
	pthread_mutex_unlock(&e->status_lock);
	publish(e);
}

static void begin(struct engine *e, uint64_t number)
{
	e->move.number = number;
	e->move.since_ns = clock_mono_ns();
	engine_set_move(e, MOVE_WANTED,
			number & ENGINE_MOVE_HANDS_ON ? "this program is to be replaced"
						      : "the gateway asks for it");
}

/* Return why the guest cannot be moved now, as a text, or NULL if it can. */
static const char *obstacle(const struct engine *e)
{
	if (e->status.state != WIRE_STATE_PROTECTED || e->epochs.sync != SYNC_KEPT)
		return "it is not protected at the moment";
	if (e->stream.condition != STREAM_GATEWAY_RESUMED)
		return "there is no stream to the gateway at the moment";
	if (e->lease.voice != VOICE_SPEAKS)
		return "this host has no lease at the moment";
	if (e->guest.condition != GUEST_RUNS)
		return "somebody else has paused it";
	if (e->watch.cover != COVER_WHOLE)
		return "it is no longer what is protected";
	return e->move.number & ENGINE_MOVE_HANDS_ON ? engine_hand_obstacle(e) : NULL;
}

bool engine_move_waits(const struct engine *e)
{
	return e->move.condition == MOVE_WANTED;
}

bool engine_move_is_due(const struct engine *e, uint64_t now_ns)
{
	return e->move.condition == MOVE_WANTED &&
	       (retain_n_epochs(e->epochs.retain) == 0 || now_ns - e->move.since_ns >= DRAIN_NS);
}

int engine_move_seal(struct engine *e)
{
	int r;

	e->move.stopped_ns = clock_mono_ns();
	e->move.epoch = e->epochs.next;
	engine_lease_stop(e);
	if (e->guest.condition != GUEST_STOPPED) {
		give_up(e, "QEMU does not stop the guest");
		return 0;
	}
	r = engine_epoch(e);
	if (r < 0) {
		give_up(e, "the guest's last epoch could not be made: %s", strerror(-r));
		return r;
	}
	engine_set_move(e, MOVE_STOPPED, "");
	publish(e);
	return 0;
}

/* Called in STOPPED: if the last epoch is committed and its output has left, let go of the
 * guest. */
static void try_to_yield(struct engine *e)
{
	if (e->lease.voice != VOICE_SPEAKS) {
		give_up(e, "the lease was over before the last epoch was committed");
	} else if (e->guest.condition != GUEST_STOPPED) {
		give_up(e, "somebody let the guest run before its last epoch was committed");
	} else if (e->epochs.sync != SYNC_KEPT) {
		give_up(e, "the standby lost step before the last epoch was committed");
	} else if (e->epochs.committed >= e->move.epoch && !holds_is_sending(e->output.holds)) {
		engine_set_move(e, MOVE_YIELDED, "");
		engine_lease_tick(e); /* from here on nothing is released */
		FAULT_POINT(FAULT_LET_GO);
		publish(e);
	}
}

/* Called in ENDING: let the guest go on. If this host must not speak for the guest,
 * engine_lease_tick() lets it go on when there is a lease. */
static void let_run(struct engine *e)
{
	if (e->lease.voice == VOICE_SPEAKS && clock_mono_ns() >= e->lease.retry_ns &&
	    engine_lease_let_run(e) == 0)
		e->figures.last_resumed_ns = 0; /* do not count the time since the last seal as an
						 * interval */
	if (e->guest.condition == GUEST_STOPPED || e->guest.condition == GUEST_STOPPING ||
	    e->guest.condition == GUEST_STOPPING_RESUMED)
		return;
	engine_set_move(e, MOVE_NONE, "");
	publish(e);
}

void engine_move_tick(struct engine *e)
{
	uint64_t asked = atomic_load(&e->move.asked), count;
	const char *why;

	/* If this read has consumed the wake-up for must_stop, write it again, so that the next
	 * wait of this thread ends at once. */
	if (read(e->wake_fd, &count, sizeof(count)) > 0 && atomic_load(&e->must_stop))
		wake(e);
	if (e->move.condition != MOVE_NONE && e->move.condition != MOVE_ENDING &&
	    asked != e->move.number)
		give_up(e, "it was called off");
	if (e->move.condition == MOVE_NONE && asked != 0 && asked != e->move.number)
		begin(e, asked);
	if (e->move.condition == MOVE_WANTED && (why = obstacle(e)))
		give_up(e, "the guest cannot be moved: %s", why);
	if (e->move.condition == MOVE_STOPPED)
		try_to_yield(e);
	if (e->move.condition == MOVE_ENDING)
		let_run(e);
}

uint64_t engine_move_wake_ns(const struct engine *e)
{
	switch (e->move.condition) {
	case MOVE_WANTED:
		return e->move.since_ns + DRAIN_NS;
	case MOVE_STOPPED:
	case MOVE_ENDING:
		return clock_mono_ns() + LOOK_NS;
	default:
		return UINT64_MAX;
	}
}
