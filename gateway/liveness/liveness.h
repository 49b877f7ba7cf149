/* liveness.h - is a host silent? Pure: sightings and time in, a judgement out.
 *
 * Why: for the standby's host, beats are enough evidence, because the consequences of its silence
 * can wait. The shadow, which reports when beats alone would make the gateway promote, uses this
 * too. detector.h judges the primary itself.
 *
 * Where: vm/fsm calls it at every tick and report. Threads: any (no state of its own).
 *
 * Two guards against judging time that was not watched:
 * - after the gateway's start, and after the gateway itself stalled (SIGSTOP, a starved machine),
 *   no host is judged until it was seen once or grace_ns has passed;
 * - a host is judged only by time during which this process was watching.
 */
#ifndef LIVENESS_LIVENESS_H
#define LIVENESS_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct liveness_config {
	uint64_t beat_timeout_ns; /* a silence this long means that the host is gone */
	uint64_t restart_grace_ns; /* how long to wait for a host after the gateway's start */
};

/* Signs of life of one host, kept by one VM. */
struct liveness {
	uint64_t seen_ns;     /* when the last authentic frame came; 0: never */
	uint64_t watching_ns; /* when this process last began to watch */
	uint64_t grace_ns;    /* for this long after watching_ns, do not
			       * judge the host unless it was seen */
};

enum liveness_judgement {
	LIVENESS_UNKNOWN, /* not seen yet, but the grace has not expired */
	LIVENESS_ALIVE,
	LIVENESS_SILENT, /* no frame for beat_timeout, or not seen before the grace expired */
};

/* Begin to watch at @now_ns, with the grace of a start. */
void liveness_init(struct liveness *l, const struct liveness_config *config, uint64_t now_ns);

/* Note that an authentic frame of the host arrived. */
void liveness_seen(struct liveness *l, uint64_t now_ns);

/* Note that this process did not watch for @gap_ns until @now_ns: give the host a grace of @gap_ns,
 * but at least the beat timeout and at most the grace of a start. */
void liveness_stalled(struct liveness *l, const struct liveness_config *config, uint64_t gap_ns,
		      uint64_t now_ns);

/* Judge the host at @now_ns. */
enum liveness_judgement liveness_judge(const struct liveness *l,
				       const struct liveness_config *config, uint64_t now_ns);

/* Was the host silent for at least @limit_ns of watched time? Use it for limits other than
 * beat_timeout. Never true within the grace. */
bool liveness_silent_for(const struct liveness *l, uint64_t limit_ns, uint64_t now_ns);

/* Returns the nanoseconds since the host was last seen; UINT64_MAX: never seen. */
uint64_t liveness_age_ns(const struct liveness *l, uint64_t now_ns);

#endif
