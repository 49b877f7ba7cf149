/* admission.h - limits slots and time for connections that have not yet said who they are.
 *
 * Why: anyone on the backup network can open connections and stay silent, or make the gateway
 * compute signatures. Neither may keep an agent out, or take the loop's time from open sessions.
 *
 *  slots   until its HELLO, a connection needs one of n_handshakes_max slots. When all are taken, a
 *          newcomer ends the oldest such connection of the source that has the most. If a source is
 *          a known address, its connections up to a quarter of all slots do not count for this. An
 *          OPEN session is never ended. But if it has been silent for beat_timeout_ms, it does not
 *          count towards sessions_max for newcomers from its own address: they may come from the
 *          same host, and replace it at their HELLO.
 *  time    the measured time of handshakes is charged to one of two budgets: that of known
 *          addresses or that of all others. A session whose budget is spent takes no input until
 *          admission_run() picks it: known addresses first, then the source with the fewest
 *          connections that have not said HELLO, then the oldest.
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

/* Each budget's percentage of the loop's time, and how much unused time it may save up. A handshake
 * costs about 1.3 ms. */
#define ADMISSION_STRANGERS_PERCENT 20
#define ADMISSION_STRANGERS_MAX_NS  (20 * CLOCK_NS_PER_MS)
#define ADMISSION_KNOWN_PERCENT	    50
#define ADMISSION_KNOWN_MAX_NS	    (50 * CLOCK_NS_PER_MS)

/* Lower bounds for the limits that are computed if sessions_max or handshakes_max is 0. */
#define ADMISSION_SESSIONS_LEAST   128
#define ADMISSION_HANDSHAKES_LEAST 32

struct admission {
	struct budget budget[2]; /* [1]: for known addresses; [0]: for all others */
	unsigned int n_waiting;	 /* sessions that take no input because their budget is spent */
};

/* Initialise @a with full budgets at @now_ns. */
void admission_init(struct admission *a, uint64_t now_ns);

/* Replace limits of 0 in @sessions->config by what the fleet needs. Call after all VMs were added.
 * handshakes_max becomes one connection for each host and two for each VM, because all may connect
 * at once; sessions_max becomes that number plus handshakes_max. */
void admission_settle(struct sessions *sessions);

/* Make room for a newcomer from @source. May end one session (the pump frees it). Returns 0;
 * -EBUSY: there is no room, and @source may not push out any present connection. */
int admission_make_room(struct sessions *sessions, const char *source, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* May the handshake of @s continue? If false, it waits; @s is put on the dirty list when the
 * handshake may continue. */
bool admission_may_run(struct session *s, uint64_t now_ns);

/* Charge the @ns that the loop spent on the handshake of @s to the budget of its address. */
void admission_charge(struct session *s, uint64_t ns);

/* Note that @s has left its handshake or is gone, so it no longer waits. */
void admission_forget(struct session *s);

/* Let the next waiting session continue if its budget allows. */
void admission_run(struct sessions *sessions, uint64_t now_ns);

/* Returns when admission_run() can next let a session continue; UINT64_MAX: none waits. */
uint64_t admission_deadline_ns(const struct sessions *sessions);

#endif
