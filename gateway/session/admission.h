/* admission.h - limits slots and time for connections that have not yet said who they are.
 *
 * Why: anyone on the backup network can open connections and stay silent, or make the gateway
 * compute signatures. Neither may keep an agent out, or keep the loop from its sessions.
 *
 *  slots   a connection before its HELLO needs one of n_handshakes_max. When all are taken, the
 *          oldest one of the source with most of them is ended. For a known address, a quarter
 *          of all slots is not counted. An OPEN session is never ended. But one that was silent
 *          for beat_timeout_ms takes no slot from newcomers of its own address: they may be the
 *          same host, and replace it at their HELLO.
 *  time    handshakes are charged, as measured, to one of two budgets: known addresses and all
 *          others. A session whose budget is spent takes no input until admission_run() picks
 *          it: known addresses first, then the source with fewest waiting, then the oldest.
 *
 * An address is known once a host said HELLO from it, or when a VM's file names it.
 *
 * Where: session.c and sessions.c ask; sessions_tick() runs the waiting ones. Threads: the
 * gateway's loop.
 */
#ifndef SESSION_ADMISSION_H
#define SESSION_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/budget.h"
#include "base/clock.h"

struct sessions;
struct session;

/* Percent of the loop's time, and how much may be saved up. A handshake costs about 1.3 ms. */
#define ADMISSION_STRANGERS_PERCENT 20
#define ADMISSION_STRANGERS_MAX_NS  (20 * CLOCK_NS_PER_MS)
#define ADMISSION_KNOWN_PERCENT	    50
#define ADMISSION_KNOWN_MAX_NS	    (50 * CLOCK_NS_PER_MS)

/* Lower bounds where sessions_max = 0 and handshakes_max = 0. */
#define ADMISSION_SESSIONS_LEAST   128
#define ADMISSION_HANDSHAKES_LEAST 32

struct admission {
	struct budget budget[2]; /* [1] of known addresses */
	unsigned int n_waiting;	 /* sessions that take no input because their budget is spent */
};

/* Start with full budgets at @now_ns. */
void admission_init(struct admission *a, uint64_t now_ns);

/* All VMs are added: replaces limits of 0 in @sessions->config by what they need.
 * handshakes_max: one connection for each host and two for each VM, since all may come at once;
 * sessions_max: as many more. */
void admission_settle(struct sessions *sessions);

/* Make room for a newcomer from @source. May end one session (the pump frees it). 0; -EBUSY:
 * @source may not push out any of the present ones. */
int admission_make_room(struct sessions *sessions, const char *source, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* May the handshake of @s go on? False: it waits, and is put on the dirty list when it may. */
bool admission_may_run(struct session *s, uint64_t now_ns);

/* Charge @s for @ns of the loop's time, spent in its handshake. */
void admission_charge(struct session *s, uint64_t ns);

/* @s is out of its handshake, or gone: it does not wait any more. */
void admission_forget(struct session *s);

/* Let the next waiting session go on if its budget allows. */
void admission_run(struct sessions *sessions, uint64_t now_ns);

/* When admission_run() can let a session go on; UINT64_MAX: none waits. */
uint64_t admission_deadline_ns(const struct sessions *sessions);

#endif
