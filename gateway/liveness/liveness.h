/* liveness.h - is a host silent? Pure: sightings and time in, a judgement out.
 *
 * Why: for the standby's host beats are enough, because what follows from its silence can wait. The
 * shadow uses the same: it reports what beats alone would say of a primary. The primary itself is
 * judged by detector.h.
 *
 * Where: vm/fsm asks at every tick and report. Threads: any (no state of its own).
 *
 * Two guards against judging time that was not watched:
 * - after start, and after the gateway itself stalled (SIGSTOP, a starved machine), nothing is
 *   judged until the host was seen once or grace_ns passed;
 * - a host is judged only by time during which this process was watching.
 */
#ifndef LIVENESS_LIVENESS_H
#define LIVENESS_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct liveness_config {
	uint64_t beat_timeout_ns; /* silence that means "gone" */
	uint64_t restart_grace_ns; /* patience after a start */
};

/* One host as seen by one VM. */
struct liveness {
	uint64_t seen_ns;     /* last authentic frame; 0: never */
	uint64_t watching_ns; /* when this process last began to watch */
	uint64_t grace_ns;    /* from watching_ns: until this is over,
			       * judge no host that was not seen */
};

enum liveness_judgement {
	LIVENESS_UNKNOWN, /* not seen yet, within the grace */
	LIVENESS_ALIVE,
	LIVENESS_SILENT, /* no frame for beat_timeout, or never seen and the grace is over */
};

/* Begin to watch at @now_ns, with the grace of a start. */
void liveness_init(struct liveness *l, const struct liveness_config *config, uint64_t now_ns);

/* An authentic frame of the host arrived. */
void liveness_seen(struct liveness *l, uint64_t now_ns);

/* This process did not watch for @gap_ns until @now_ns: give the host that much grace, at least the
 * beat timeout, at most the grace of a start. */
void liveness_stalled(struct liveness *l, const struct liveness_config *config, uint64_t gap_ns,
		      uint64_t now_ns);

/* The judgement at @now_ns. */
enum liveness_judgement liveness_judge(const struct liveness *l,
				       const struct liveness_config *config, uint64_t now_ns);

/* Was the host silent for at least @limit_ns of watched time? For limits other than beat_timeout.
 * Never true within the grace. */
bool liveness_silent_for(const struct liveness *l, uint64_t limit_ns, uint64_t now_ns);

/* Nanoseconds since the host was seen; UINT64_MAX: never. */
uint64_t liveness_age_ns(const struct liveness *l, uint64_t now_ns);

#endif
