/* redial.h - how soon to dial again after an established connection was lost.
 *
 * Why: a gateway that is replaced by its next program is away for less than a second, and clients
 * wait until the streams are up again. A SYN that was sent too early is lost, and the kernel sends
 * the next one a second later. So for REDIAL_EAGER_NS an attempt may take REDIAL_TRY_NS only to
 * reach the gateway's TCP, and the next one follows then. That costs the network a SYN.
 * An attempt that reaches the gateway and fails is another matter: it costs the gateway a TLS
 * handshake, and is followed by the caller's own back-off.
 *
 *	lost ─► SYN ─60 ms─ SYN ─60 ms─ SYN ... for 3 s ─► the caller's back-off
 *	                      └─ an answer: TLS, HELLO; then up, or the caller's back-off
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

struct redial {
	uint64_t until_ns; /* when to be eager no longer; 0: nothing was lost */
	uint64_t next_ns;  /* when the next attempt may begin: one may be refused at once */
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

/* Until when may an attempt that begins now try to reach the other end's TCP? For link_config. 0:
 * as long as the handshake. */
static inline uint64_t redial_connect_by_ns(struct redial *redial, uint64_t now_ns)
{
	redial->next_ns = now_ns + REDIAL_TRY_NS;
	return now_ns < redial->until_ns ? redial->next_ns : 0;
}

/* An attempt has failed. Returns true if the next one is to follow at redial->next_ns; false: the
 * caller's back-off counts. @was_reached: link_was_reached(). */
static inline bool redial_is_eager(const struct redial *redial, bool was_reached, uint64_t now_ns)
{
	return !was_reached && now_ns < redial->until_ns;
}

#endif
