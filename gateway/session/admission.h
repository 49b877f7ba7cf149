/* admission.h - limits the connections that have not said HELLO yet: their number, and the time
 * that their handshakes take.
 *
 * Anyone on the backup network can open connections and stay silent, or make the gateway compute
 * signatures. This must not keep an agent out, or take the loop's time away from open sessions.
 *
 * A connection is "unproven" until its HELLO is accepted. Its "source" is the peer's address. A
 * source is "known" if a host's last accepted HELLO came from this address, or if a VM's file names
 * the address.
 *
 * Number: each unproven connection takes one of n_handshakes_max slots. If a connection comes while
 * all slots are taken, one unproven connection is ended: the oldest one of the source that has the
 * most slots, counting the new connection too. For a known source, a quarter of all slots is
 * subtracted before this comparison.
 *
 * If a connection comes while there are n_sessions_max sessions, an unproven one is ended too. OPEN
 * sessions (those after HELLO) are never ended to make room. But if an OPEN session from the new
 * connection's source has been silent for beat_timeout, the new connection is probably the same
 * host's next attempt. So such a silent session does not count towards n_sessions_max.
 *
 * Time: known sources share one budget of the loop's time, and unknown sources share another. The
 * time that each handshake takes is measured and charged to the budget of its source. If this
 * budget is spent, or if other handshakes wait already, the session accepts no input until
 * admission_run() picks it.
 * Of the sessions whose budget is not spent, admission_run() prefers those of known sources, then
 * those of the source with the fewest unproven connections, then the oldest.
 *
 * Where: session.c and sessions.c call it; sessions_tick() lets waiting sessions continue. Threads:
 * the gateway's loop.
 */
#ifndef SESSION_ADMISSION_H
#define SESSION_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/clock.h"

struct sessions;
struct session;

/* The two budgets for handshakes: STRANGERS for unknown sources, KNOWN for known ones. PERCENT is
 * the budget's share of the loop's time, and MAX_NS is the most unused time that a budget can save
 * up. For comparison: one handshake takes about 1.3 ms. */
#define ADMISSION_STRANGERS_PERCENT 20
#define ADMISSION_STRANGERS_MAX_NS  (20 * CLOCK_NS_PER_MS)
#define ADMISSION_KNOWN_PERCENT	    50
#define ADMISSION_KNOWN_MAX_NS	    (50 * CLOCK_NS_PER_MS)

/* The smallest limits that admission_settle() computes for sessions_max and handshakes_max. A
 * configured sessions_max can make handshakes_max smaller than this. */
#define ADMISSION_SESSIONS_LEAST   128
#define ADMISSION_HANDSHAKES_LEAST 32

struct admission {
	struct budget budget[2]; /* [1]: for known addresses; [0]: for all others */
	/* number of sessions that accept no input until admission_run() picks them */
	unsigned int n_waiting;
};

/* Initialise @a with full budgets at @now_ns. */
void admission_init(struct admission *a, uint64_t now_ns);

/* Replace limits that are 0 in @sessions->config with what the fleet needs. Call this after all VMs
 * were added. The agents need N connections: one control connection for each host, and two streams
 * for each VM.
 * n_handshakes_max: N, because agents can open all connections at once, but at least
 * ADMISSION_HANDSHAKES_LEAST, and at most n_sessions_max if that is configured.
 * n_sessions_max: N + n_handshakes_max, but at least ADMISSION_SESSIONS_LEAST. */
void admission_settle(struct sessions *sessions);

/* Make room for a new connection from @source. May end one session, which pump_run() frees later.
 * Returns 0, or -EBUSY if there is no room and no session may be ended for @source. */
int admission_make_room(struct sessions *sessions, const char *source, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Returns true if the handshake of @s may continue now. If not, marks @s as waiting and returns
 * false; admission_run() later puts @s on the dirty list (session.h). */
bool admission_may_run(struct session *s, uint64_t now_ns);

/* Charge @ns, the time that the loop spent on the handshake of @s, to the budget of its source. */
void admission_charge(struct session *s, uint64_t ns);

/* End the wait of @s, because its handshake is done or the session is gone. */
void admission_forget(struct session *s);

/* Let one waiting session continue, if there is one whose budget is not spent. */
void admission_run(struct sessions *sessions, uint64_t now_ns);

/* Returns when admission_run() can next let a session continue, or UINT64_MAX if none waits. */
uint64_t admission_deadline_ns(const struct sessions *sessions);

#endif
