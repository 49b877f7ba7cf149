#include "liveness/detector.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

const char *detector_state_name(enum detector_state state)
{
	static const char *const names[DETECTOR_N_STATES] = {"PROTECTED", "SUSPECT", "DEGRADED",
							     "FAILED"};

	return (unsigned int)state < DETECTOR_N_STATES ? names[state] : "UNKNOWN";
}

void detector_init(struct detector *d, bool is_open, uint64_t now_ns)
{
	*d = (struct detector){.clock_ns = 1, .looked_ns = now_ns, .is_open = is_open};
}

static void advance(struct detector *d, uint64_t now_ns)
{
	uint64_t passed_ns = now_ns > d->looked_ns ? now_ns - d->looked_ns : 0;

	d->clock_ns += passed_ns < DETECTOR_STEP_MAX_NS ? passed_ns : DETECTOR_STEP_MAX_NS;
	d->looked_ns = now_ns;
}

/* Returns the time since @source was last seen, or since the start if it was never seen. */
static uint64_t age_ns(const struct detector *d, enum detector_source source)
{
	return d->clock_ns - d->seen_ns[source];
}

/* Returns when, in watched time, replication last made progress: by an epoch, or by a copy of the
 * disks for which the epochs wait. */
static uint64_t progress_ns(const struct detector *d)
{
	uint64_t epoch_ns = d->seen_ns[DETECTOR_PROGRESS], copied_ns = d->seen_ns[DETECTOR_COPIED];

	return copied_ns > epoch_ns ? copied_ns : epoch_ns;
}

static struct jitter *jitter_of(struct detector *d, enum detector_source source)
{
	if (source == DETECTOR_BEAT)
		return &d->beat;
	return source == DETECTOR_PROGRESS ? &d->progress : NULL;
}

/* Called when @source is seen. Returns true if the wait for patience_ns must begin again. This is
 * so in DEGRADED, if @source is a sign that replication can recover and if this sign was absent for
 * at least DETECTOR_RETURN_NS. */
static bool is_return(const struct detector *d, enum detector_source source)
{
	return d->state == DETECTOR_DEGRADED && age_ns(d, source) >= DETECTOR_RETURN_NS &&
	       (source == DETECTOR_BEAT || source == DETECTOR_PROGRESS ||
		source == DETECTOR_WITNESS || source == DETECTOR_HOST_BACKUP);
}

static void saw(struct detector *d, enum detector_source source)
{
	struct jitter *jitter = jitter_of(d, source);

	if (is_return(d, source))
		d->patience_ns = d->clock_ns;
	/* Learn only in PROTECTED, because gaps during a fault are not the usual gaps. */
	if (jitter && d->seen_ns[source] && d->state == DETECTOR_PROTECTED)
		jitter_learn(jitter, age_ns(d, source));
	d->seen_ns[source] = d->clock_ns;
}

void detector_saw(struct detector *d, enum detector_source source, uint64_t now_ns)
{
	advance(d, now_ns);
	saw(d, source);
}

void detector_connection(struct detector *d, bool is_open, uint64_t now_ns)
{
	advance(d, now_ns);
	d->is_open = is_open;
}

/* Begin to count unanswered probes through the client network from zero. */
static void ask_client_anew(struct detector *d, const struct detector_evidence *e)
{
	d->sent_at_answer = e->host_client.sent;
	d->unanswered_ns = 0;
}

static bool is_client_silent(const struct detector *d)
{
	return d->last.host_client.sent >= d->sent_at_answer + DETECTOR_UNANSWERED;
}

/* If the primary lives but does not answer probes on the client network, mark the client path as
 * broken. A beat or an answer on the backup network shows that the primary lives. A later answer on
 * the client network removes the mark (take()). */
static void look_at_client_path(struct detector *d)
{
	if (!is_client_silent(d))
		return;
	if (d->unanswered_ns == 0)
		d->unanswered_ns = d->clock_ns;
	if (d->seen_ns[DETECTOR_BEAT] > d->unanswered_ns ||
	    d->seen_ns[DETECTOR_HOST_BACKUP] > d->unanswered_ns)
		d->is_client_broken = true;
}

/* Take the evidence of this tick: for each count that has grown since the last tick, note a sign of
 * life. The first tick has nothing to compare with, so it notes none. */
static void take(struct detector *d, const struct detector_evidence *e)
{
	if (!d->has_last) {
		d->last = d->at_witness = *e;
		ask_client_anew(d, e); /* earlier probes belong to an earlier doubt */
	}
	d->has_last = true;
	const struct {
		enum detector_source source;
		bool grew;
	} rows[] = {
		{DETECTOR_WITNESS, e->witness > d->last.witness},
		{DETECTOR_GUEST_SPOKE, e->from_guest > d->last.from_guest},
		{DETECTOR_COPIED, e->is_copying && e->copied > d->last.copied},
		{DETECTOR_HOST_CLIENT, e->host_client.answered > d->last.host_client.answered},
		{DETECTOR_HOST_BACKUP, e->host_backup.answered > d->last.host_backup.answered},
		{DETECTOR_GUEST_ANSWERED, e->guest.answered > d->last.guest.answered},
		{DETECTOR_REFERENCE, e->reference.answered > d->last.reference.answered},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].grew)
			saw(d, rows[i].source);
	}
	if (e->is_paused)
		/* the wait for patience_ns begins when the pause ends */
		d->degraded_ns = d->patience_ns = d->clock_ns;
	if (!e->expects_progress)
		/* no epochs are expected, so their absence is not the host's fault */
		d->seen_ns[DETECTOR_PROGRESS] = d->clock_ns;
	if (e->host_client.answered > d->last.host_client.answered) {
		ask_client_anew(d, e);
		d->is_client_broken = false;
	}
	if (e->witness > d->last.witness)
		d->at_witness = *e;
	d->last = *e;
	look_at_client_path(d);
}

static uint64_t beat_limit_ns(const struct detector *d, const struct detector_config *config)
{
	if (d->seen_ns[DETECTOR_BEAT] == 0)
		return config->restart_grace_ns;
	return jitter_limit_ns(&d->beat, config->suspect_min_ns, config->beat_timeout_ns);
}

static uint64_t progress_limit_ns(const struct detector *d, const struct detector_config *config)
{
	if (progress_ns(d) == 0)
		return config->restart_grace_ns;
	if (d->last.is_copying) /* reports about a copy come at other intervals than epochs */
		return config->patience_ns / 2;
	return jitter_limit_ns(&d->progress, config->progress_min_ns, config->patience_ns / 2);
}

/* Returns what is late, or DETECTOR_WELL if nothing is. */
static enum detector_reason what_is_late(const struct detector *d,
					 const struct detector_config *config)
{
	if (age_ns(d, DETECTOR_BEAT) >= beat_limit_ns(d, config))
		return DETECTOR_NO_BEAT;
	/* Doubt only a connection that was open once. After a start of the gateway, agents need
	 * some time to connect again. */
	if (!d->is_open && d->seen_ns[DETECTOR_BEAT])
		return DETECTOR_CLOSED;
	if (d->clock_ns - progress_ns(d) >= progress_limit_ns(d, config))
		return DETECTOR_NO_PROGRESS;
	return DETECTOR_WELL;
}

/* Returns when, in watched time, the latest sign of life came from the primary's host. */
static uint64_t life_ns(const struct detector *d)
{
	static const enum detector_source signs[] = {
		DETECTOR_BEAT, DETECTOR_PROGRESS, DETECTOR_WITNESS,
		DETECTOR_HOST_CLIENT, DETECTOR_HOST_BACKUP, DETECTOR_GUEST_ANSWERED,
	};
	uint64_t latest_ns = 0;

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		/* Unexpected progress does not count as a sign of life. */
		if (signs[i] == DETECTOR_PROGRESS && !d->last.expects_progress)
			continue;
		if (d->seen_ns[signs[i]] > latest_ns)
			latest_ns = d->seen_ns[signs[i]];
	}
	return latest_ns;
}

static bool path_sees(const struct detector *d)
{
	/* If the standby's host is not probed, there is nothing to compare with: assume that the
	 * path works. */
	return d->last.reference.sent == d->at_doubt.reference.sent ||
	       d->seen_ns[DETECTOR_REFERENCE] > d->doubt_ns;
}

/* Has the primary's host been silent on every path for too long? */
static bool is_silent(const struct detector *d, const struct detector_config *config)
{
	uint64_t since_ns = life_ns(d);
	uint64_t asked_ns = since_ns > d->doubt_ns ? since_ns : d->doubt_ns;

	if (d->last.has_client_path && path_sees(d) && !d->is_client_broken)
		return d->clock_ns - asked_ns >=
		       (is_client_silent(d) ? config->confirm_ns : config->beat_timeout_ns);
	/* A host that was never seen counts as silent since the gateway's start. */
	return d->clock_ns - since_ns >= config->beat_timeout_ns;
}

/* Returns true if the guest's QEMU process is gone. Then QEMU's tap is gone too, and the host's
 * kernel sends no more witness datagrams. So the test is: witness datagrams came before the
 * detector began to doubt the host, and have stopped since. After the last datagram, the guest was
 * probed, and the host answered on both networks.
 *
 * Datagrams can also be lost on the way. So the host must have answered DETECTOR_PATH_ANSWERS (16)
 * probes through the backup network since the last datagram. Even if half of all frames are lost,
 * 16 frames in a row are lost only once in 65,536 times.
 *
 * Returns false while the agent sends beats: the agent then reports itself whether QEMU exists. */
static bool is_guest_gone(const struct detector *d, const struct detector_config *config)
{
	const struct detector_evidence *from = &d->at_witness;

	return d->at_doubt.witness > 0 &&
	       d->clock_ns - d->doubt_ns >= config->confirm_ns &&
	       age_ns(d, DETECTOR_WITNESS) >= config->confirm_ns &&
	       age_ns(d, DETECTOR_PROGRESS) >= config->confirm_ns &&
	       age_ns(d, DETECTOR_BEAT) >= config->confirm_ns &&
	       d->last.guest.sent >= from->guest.sent + DETECTOR_GUEST_UNSEEN &&
	       d->last.host_client.answered >= from->host_client.answered + DETECTOR_UNANSWERED &&
	       d->last.host_backup.answered >= from->host_backup.answered + DETECTOR_PATH_ANSWERS;
}

/* Have both beats and progress come since the doubt began, and are both in time now? */
static bool is_well_again(const struct detector *d, const struct detector_config *config)
{
	return what_is_late(d, config) == DETECTOR_WELL &&
	       d->seen_ns[DETECTOR_BEAT] > d->doubt_ns &&
	       progress_ns(d) > d->doubt_ns;
}

static void enter(struct detector *d, enum detector_state state, enum detector_reason reason)
{
	if (d->state == DETECTOR_PROTECTED) {
		d->doubt_ns = d->clock_ns;
		d->at_doubt = d->at_witness = d->last;
		ask_client_anew(d, &d->last);
	}
	if (state == DETECTOR_DEGRADED)
		d->degraded_ns = d->patience_ns = d->clock_ns;
	d->state = state;
	d->reason = reason;
}

typedef void (*judge_fn)(struct detector *d, const struct detector_config *config);

static void judge_protected(struct detector *d, const struct detector_config *config)
{
	enum detector_reason late = what_is_late(d, config);

	if (late != DETECTOR_WELL)
		enter(d, DETECTOR_SUSPECT, late);
}

static void judge_suspect(struct detector *d, const struct detector_config *config)
{
	if (is_well_again(d, config))
		enter(d, DETECTOR_PROTECTED, DETECTOR_WELL);
	else if (life_ns(d) > d->doubt_ns)
		enter(d, DETECTOR_DEGRADED, DETECTOR_ALIVE);
	else if (is_silent(d, config))
		enter(d, DETECTOR_FAILED, DETECTOR_ALL_SILENT);
}

static void judge_degraded(struct detector *d, const struct detector_config *config)
{
	if (is_well_again(d, config))
		enter(d, DETECTOR_PROTECTED, DETECTOR_WELL);
	else if (is_silent(d, config))
		enter(d, DETECTOR_FAILED, DETECTOR_ALL_SILENT);
	else if (is_guest_gone(d, config))
		enter(d, DETECTOR_FAILED, DETECTOR_GUEST_GONE);
	else if (d->clock_ns - d->patience_ns >= config->patience_ns ||
		 d->clock_ns - d->degraded_ns >= DETECTOR_PATIENCES * config->patience_ns)
		enter(d, DETECTOR_FAILED, DETECTOR_OUT_OF_PATIENCE);
}

static void judge_failed(struct detector *d, const struct detector_config *config)
{
	if (is_well_again(d, config))
		enter(d, DETECTOR_PROTECTED, DETECTOR_WELL);
	else if (d->reason == DETECTOR_ALL_SILENT && !is_silent(d, config))
		/* the host lives after all, and the standby was not promoted yet */
		enter(d, DETECTOR_DEGRADED, DETECTOR_ALIVE);
}

bool detector_tick(struct detector *d, const struct detector_config *config,
		   const struct detector_evidence *evidence, uint64_t now_ns)
{
	static const judge_fn judge[DETECTOR_N_STATES] = {
		[DETECTOR_PROTECTED] = judge_protected,
		[DETECTOR_SUSPECT] = judge_suspect,
		[DETECTOR_DEGRADED] = judge_degraded,
		[DETECTOR_FAILED] = judge_failed,
	};
	enum detector_state before = d->state;

	advance(d, now_ns);
	take(d, evidence);
	judge[d->state](d, config);
	return d->state != before;
}

/* ---- text for operators ---- */

struct words {
	char *text;
	size_t size, used;
};

static void say(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct words *w, const char *format, ...)
{
	va_list args;

	if (w->used + 1 >= w->size)
		return;
	if (w->used > 0)
		w->used += (size_t)snprintf(w->text + w->used, w->size - w->used, ", ");
	if (w->used + 1 >= w->size)
		return;
	va_start(args, format);
	(void)text_vput(w->text + w->used, w->size - w->used, format, args);
	va_end(args);
	w->used += strlen(w->text + w->used);
}

static uint64_t age_ms(const struct detector *d, enum detector_source source)
{
	return age_ns(d, source) / CLOCK_NS_PER_MS;
}

static void say_probe(struct words *w, const struct detector *d, const char *who,
		      enum detector_source source, const struct detector_probe *now,
		      const struct detector_probe *then)
{
	if (now->sent == then->sent)
		return;
	if (now->answered > then->answered)
		say(w, "%s answered %" PRIu64 " ms ago", who, age_ms(d, source));
	else
		say(w, "%s silent to %" PRIu64 " probes", who, now->sent - then->sent);
}

char *detector_describe(const struct detector *d, char *text, size_t size)
{
	struct words w = {text, size, 0};
	const struct detector_evidence *now = &d->last, *then = &d->at_doubt;
	uint64_t asked = now->to_guest - then->to_guest;

	text[0] = '\0';
	/* why the detector says FAILED, if only one piece of evidence decided it */
	if (d->reason == DETECTOR_GUEST_GONE)
		say(&w, "the guest's port sees no probe while its host answers");
	if (d->reason == DETECTOR_OUT_OF_PATIENCE)
		say(&w, "patience is over after %" PRIu64 " ms",
		    (d->clock_ns - d->doubt_ns) / CLOCK_NS_PER_MS);
	/* beats and replication */
	if (!d->seen_ns[DETECTOR_BEAT])
		say(&w, "never seen since start");
	else
		say(&w, d->reason == DETECTOR_NO_BEAT || d->reason == DETECTOR_ALL_SILENT
				? "no beat %" PRIu64 " ms" : "beat %" PRIu64 " ms ago",
		    age_ms(d, DETECTOR_BEAT));
	if (!d->is_open)
		say(&w, "its connection is closed");
	if (now->expects_progress && d->seen_ns[DETECTOR_PROGRESS])
		say(&w, "epoch %" PRIu64 " ms ago", age_ms(d, DETECTOR_PROGRESS));
	if (now->is_copying && d->seen_ns[DETECTOR_COPIED])
		say(&w, "its disks are copied, a step %" PRIu64 " ms ago",
		    age_ms(d, DETECTOR_COPIED));
	else if (now->is_copying)
		say(&w, "its disks are copied, without a step");
	/* the guest, as its host's kernel sees it */
	if (d->seen_ns[DETECTOR_WITNESS])
		say(&w, "witness %" PRIu64 " ms ago", age_ms(d, DETECTOR_WITNESS));
	if (d->seen_ns[DETECTOR_GUEST_SPOKE])
		say(&w, "guest answered %" PRIu64 " ms ago", age_ms(d, DETECTOR_GUEST_SPOKE));
	if (d->state != DETECTOR_PROTECTED && asked > 0 && now->from_guest == then->from_guest)
		say(&w, "guest silent to %" PRIu64 " frames", asked);
	/* answers to probes since the doubt began */
	say_probe(&w, d, "host (client network)", DETECTOR_HOST_CLIENT, &now->host_client,
		  &then->host_client);
	say_probe(&w, d, "host (backup network)", DETECTOR_HOST_BACKUP, &now->host_backup,
		  &then->host_backup);
	if (d->is_client_broken)
		say(&w, "its client network is broken");
	if (now->is_paused)
		say(&w, "somebody paused the guest");
	return text;
}
