/* liveness.h - judges from a host's messages alone whether the host has fallen silent. Pure: signs
 * of life and time in, a judgement out.
 *
 * The gateway judges the standby's host with this file, because nothing urgent follows from that
 * host's silence. It judges the primary from more evidence (detector.h). A second user is the
 * "shadow" in vm/fsm.c. For comparison, the shadow reports when a gateway that judges by beats
 * alone would have promoted the standby.
 *
 * Where: the VM's state machine (vm/fsm.c) calls it at every tick and report. Threads: any (no
 * state of its own).
 *
 * The gateway can stall (SIGSTOP, a starved machine). No host is blamed for silence during a stall.
 * So silence counts only from the gateway's start or from the end of its last stall, whichever is
 * later. From then on, a host is not judged until it was seen once or grace_ns has passed.
 */
#ifndef LIVENESS_LIVENESS_H
#define LIVENESS_LIVENESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct liveness_config {
	uint64_t beat_timeout_ns; /* length of silence after which the host counts as gone */
	uint64_t restart_grace_ns; /* how long to wait for a host after the gateway's start */
};

/* What one VM's state machine knows about the signs of life of one host. */
struct liveness {
	uint64_t seen_ns;     /* when the last authentic frame came; 0: never */
	uint64_t watching_ns; /* when this process last began to watch */
	/* for this long after watching_ns, no judgement is given unless the host is seen */
	uint64_t grace_ns;
	uint64_t back_ns; /* when the host was heard again after its last long silence; 0: never */
	uint64_t away_ns; /* how long that last long silence was */
};

enum liveness_judgement {
	LIVENESS_UNKNOWN, /* not seen yet, and the grace has not expired */
	LIVENESS_ALIVE,
	LIVENESS_SILENT, /* no frame for beat_timeout, or not seen before the grace expired */
};

/* Begin to watch at @now_ns, with a grace of restart_grace_ns. */
void liveness_init(struct liveness *l, const struct liveness_config *config, uint64_t now_ns);

/* Note that an authentic frame of the host arrived. If it ends a silence of half the beat timeout
 * or more, remember that silence for liveness_may_follow(). */
void liveness_seen(struct liveness *l, const struct liveness_config *config, uint64_t now_ns);

/* Note that this process stalled during the @gap_ns before @now_ns. Begins to watch anew, with a
 * grace of @gap_ns, but at least beat_timeout_ns and at most restart_grace_ns. If the host was not
 * seen since the start and the grace of the start ends later, that grace stays. */
void liveness_stalled(struct liveness *l, const struct liveness_config *config, uint64_t gap_ns,
		      uint64_t now_ns);

/* Judge the host at @now_ns. */
enum liveness_judgement liveness_judge(const struct liveness *l,
				       const struct liveness_config *config, uint64_t now_ns);

/* Returns true if the host was silent for at least @limit_ns while this process was watching. For a
 * host that was not seen since the watching began, the limit is at least the grace. Use this for
 * limits other than beat_timeout. */
bool liveness_silent_for(const struct liveness *l, uint64_t limit_ns, uint64_t now_ns);

/* Suppose that two hosts fell silent together, and that only @first was heard again. Then perhaps
 * the gateway's own link was cut, and the two hosts need different times to come back (TCP sends
 * again at growing intervals). Returns true if @second may still come back: since the return of
 * @first, less time has passed than @first was silent, and less than restart_grace_ns. Returns
 * false if @second was heard after the return of @first, or fell silent clearly earlier than
 * @first. */
bool liveness_may_follow(const struct liveness *first, const struct liveness *second,
			 const struct liveness_config *config, uint64_t now_ns);

/* Returns the nanoseconds since the host was last seen, or UINT64_MAX if it was never seen. */
uint64_t liveness_age_ns(const struct liveness *l, uint64_t now_ns);

#endif
