/* admission.h - limits how many connections may be open without having said HELLO, and how much
 * time their handshakes take.
 *
 * Why: anyone on the backup network can open connections and stay silent, or make the gateway
 * compute signatures. This must not keep an agent out, or take the loop's time away from open
 * sessions.
 *
 *  slots   until its HELLO, a connection needs one of n_handshakes_max slots. When all are taken, a
 *          newcomer ends the oldest such connection of the source that has the most. For a source
 *          that is a known address, only its connections above a quarter of all slots are counted.
 *          An OPEN session is never ended. But a session that has been silent for beat_timeout_ms
 *          is not counted towards sessions_max for a newcomer from its own address: the newcomer
 *          may be from the same host, and then replaces the old session at its HELLO.
 *  time    there are two budgets, one for known addresses and one for all others. The measured time
 *          of each handshake is charged to one of them. A session whose budget is spent takes no
 *          input until admission_run() picks it. It picks known addresses first, then the source
 *          with the fewest connections that have not said HELLO, then the oldest session.
 *
 * An address is known if a host has said HELLO from it, or if a VM's file names it.
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

/* Each budget's share of the loop's time in percent, and how much unused time it may save up. A
 * handshake takes about 1.3 ms. */
#define ADMISSION_STRANGERS_PERCENT 20
#define ADMISSION_STRANGERS_MAX_NS  (20 * CLOCK_NS_PER_MS)
#define ADMISSION_KNOWN_PERCENT	    50
#define ADMISSION_KNOWN_MAX_NS	    (50 * CLOCK_NS_PER_MS)

/* If sessions_max or handshakes_max is 0, the limit is computed (admission_settle()), but is never
 * below these values. */
#define ADMISSION_SESSIONS_LEAST   128
#define ADMISSION_HANDSHAKES_LEAST 32

struct admission {
	struct budget budget[2]; /* [1]: for known addresses; [0]: for all others */
	/* number of sessions that take no input because their budget is spent */
	unsigned int n_waiting;
};

/* Initialise @a with full budgets at @now_ns. */
void admission_init(struct admission *a, uint64_t now_ns);

/* Replace limits of 0 in @sessions->config by what the fleet needs. Call this after all VMs were
 * added. All agents may connect at once: one control connection for each host and two streams for
 * each VM. handshakes_max becomes this number; sessions_max becomes this number plus
 * handshakes_max. */
void admission_settle(struct sessions *sessions);

/* Make room for a newcomer from @source. May end one session, which the pump frees later. Returns
 * 0, or -EBUSY if there is no room and no session may be ended for @source. */
int admission_make_room(struct sessions *sessions, const char *source, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* May the handshake of @s continue? If not, marks @s as waiting; admission_run() later puts @s on
 * the dirty list. */
bool admission_may_run(struct session *s, uint64_t now_ns);

/* Charge the @ns that the loop spent on the handshake of @s to the budget of its address. */
void admission_charge(struct session *s, uint64_t ns);

/* End the wait of @s, because its handshake is done or the session is gone. */
void admission_forget(struct session *s);

/* Let the next waiting session continue if its budget allows. */
void admission_run(struct sessions *sessions, uint64_t now_ns);

/* Returns when admission_run() can next let a session continue, or UINT64_MAX if none waits. */
uint64_t admission_deadline_ns(const struct sessions *sessions);

#endif
