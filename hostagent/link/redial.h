/* redial.h - how soon to dial again after an established connection was lost.
 *
 * Why: a gateway that is replaced by its next program is away for less than a second, and clients
 * wait until the streams are up again. A SYN that was sent too early is lost, and the kernel sends
 * the next one a second later. So during REDIAL_EAGER_NS, each attempt has only REDIAL_TRY_NS to
 * reach the gateway's TCP, and then the next attempt follows. Each attempt costs only one SYN.
 * A gateway whose program was replaced is back after some 40 ms. So the first attempts, during
 * REDIAL_QUICK_FOR_NS, are shorter: REDIAL_QUICK_NS. If the way to the gateway takes longer than
 * that, the later attempts reach it.
 * If an attempt reaches the gateway's TCP and then fails, it has cost the gateway a TLS handshake.
 * So after such an attempt the caller's own back-off counts.
 *
 *	lost -> a SYN each 15 ms for 150 ms -> each 60 ms for 3 s -> the caller's back-off
 *	an answer -> TLS, HELLO -> up, or the caller's back-off
 *
 * Where: agent.c, epoch/ and standby/, one for each connection. Threads: one. Pure: the time is
 * passed in.
 */
#ifndef LINK_REDIAL_H
#define LINK_REDIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define REDIAL_EAGER_NS (3 * CLOCK_NS_PER_S)
#define REDIAL_TRY_NS	(60 * CLOCK_NS_PER_MS)
#define REDIAL_QUICK_FOR_NS (150 * CLOCK_NS_PER_MS)
#define REDIAL_QUICK_NS	(15 * CLOCK_NS_PER_MS)

struct redial {
	uint64_t until_ns; /* until when attempts follow each other fast; 0: no connection was
			    * lost */
	uint64_t next_ns;  /* when the next attempt may begin; without this limit, attempts that are
			    * refused at once would follow each other without a pause */
};

/* An established connection was lost. */
static inline void redial_lost(struct redial *redial, uint64_t now_ns)
{
	redial->until_ns = now_ns + REDIAL_EAGER_NS;
}

/* The connection is up again, or is not wanted any more. */
static inline void redial_end(struct redial *redial)
{
	redial->until_ns = 0;
}

/* Returns the value of link_config.connect_by_ns for an attempt that begins now: the time by which
 * the attempt must reach the other end's TCP. 0: only the deadline of the handshake counts. Also
 * sets redial->next_ns. */
static inline uint64_t redial_connect_by_ns(struct redial *redial, uint64_t now_ns)
{
	bool is_quick = now_ns + REDIAL_EAGER_NS < redial->until_ns + REDIAL_QUICK_FOR_NS;

	redial->next_ns = now_ns + (is_quick ? REDIAL_QUICK_NS : REDIAL_TRY_NS);
	return now_ns < redial->until_ns ? redial->next_ns : 0;
}

/* Call this when an attempt has failed. Returns true if the next attempt should begin at
 * redial->next_ns, or false if the caller should use its own back-off. @was_reached:
 * link_was_reached(). */
static inline bool redial_is_eager(const struct redial *redial, bool was_reached, uint64_t now_ns)
{
	return !was_reached && now_ns < redial->until_ns;
}

#endif
