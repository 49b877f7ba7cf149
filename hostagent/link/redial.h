/* redial.h - how soon to dial again after an established connection was lost.
 *
 * Why: when the gateway's program is replaced by its next version, the gateway is away for less
 * than a second, and clients wait until the streams are up again. A SYN that is sent while the
 * gateway is away is lost, and the kernel does not repeat it until a second later. So during
 * REDIAL_EAGER_NS, each attempt has only REDIAL_TRY_NS to reach the gateway's TCP. Then the next
 * attempt follows. Each attempt costs only one SYN.
 *
 * In most cases the new program is there after some 40 ms. So the first attempts, during
 * REDIAL_QUICK_FOR_NS, have only REDIAL_QUICK_NS each. If the round trip to the gateway takes
 * longer than that, one of the later attempts succeeds.
 *
 * If an attempt reaches the gateway's TCP and then fails, it may have cost the gateway a TLS
 * handshake. So after such an attempt the caller uses its own back-off.
 *
 *	lost -> a SYN each 15 ms for 150 ms -> each 60 ms for 3 s -> the caller's back-off
 *	an answer -> TLS, HELLO -> up, or the caller's back-off
 *
 * Where: agent_gateway.c, epoch/ and standby/, one for each connection. Threads: one. Pure: the
 * time is passed in.
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
	uint64_t until_ns; /* attempts follow each other fast until this time; 0: no connection was
			    * lost */
	uint64_t next_ns;  /* when the next attempt may begin; so attempts that are refused at once
			    * do not follow each other without a pause */
};

/* Report that an established connection was lost. */
static inline void redial_lost(struct redial *redial, uint64_t now_ns)
{
	redial->until_ns = now_ns + REDIAL_EAGER_NS;
}

/* Report that the connection is up again, or is no longer wanted. */
static inline void redial_end(struct redial *redial)
{
	redial->until_ns = 0;
}

/* Call this when an attempt begins. Returns the value for link_config.connect_by_ns: the time by
 * which the attempt must reach the other end's TCP; 0: only the deadline of link_handshake()
 * counts. Also sets redial->next_ns. */
static inline uint64_t redial_connect_by_ns(struct redial *redial, uint64_t now_ns)
{
	bool is_quick = now_ns + REDIAL_EAGER_NS < redial->until_ns + REDIAL_QUICK_FOR_NS;

	redial->next_ns = now_ns + (is_quick ? REDIAL_QUICK_NS : REDIAL_TRY_NS);
	return now_ns < redial->until_ns ? redial->next_ns : 0;
}

/* Call this when an attempt has failed. @was_reached: link_was_reached(). Returns true if the next
 * attempt should begin at redial->next_ns; false if the caller should use its own back-off. */
static inline bool redial_is_eager(const struct redial *redial, bool was_reached, uint64_t now_ns)
{
	return !was_reached && now_ns < redial->until_ns;
}

#endif
