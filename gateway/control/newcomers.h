/* newcomers.h - connections to the management port that have not asked for anything yet: who goes
 * when there are too many, and whose handshake is worked on next.
 *
 * Why: anyone there can open connections, and make the gateway compute signatures in the loop that
 * serves the agents. As session/admission.h for the agents' port, in small: no address is known
 * here.
 *
 *	slots   CONTROL_UNPROVEN_MAX; at one more the oldest of the address with most of them goes
 *	time    handshakes get NEWCOMERS_PERCENT of the loop's time, measured. When that is spent they wait
 *		unread: those of the address with fewest of them go on first, of these the oldest
 *
 * Where: control.c. Threads: the gateway's loop.
 */
#ifndef CONTROL_NEWCOMERS_H
#define CONTROL_NEWCOMERS_H

#include <stdbool.h>
#include <stdint.h>

#define NEWCOMERS_PERCENT 20
#define NEWCOMERS_MAX_NS  UINT64_C(20000000)

struct control;
struct control_conn;

/* Who has to go before one of @address_be32 is taken in; NULL: nobody. */
struct control_conn *newcomers_victim(const struct control *control, uint32_t address_be32);

/* May @c be read now? False: it waits, and newcomers_next() names it when it may. Always true once
 * its handshake is over. */
bool newcomers_may_run(struct control_conn *c, uint64_t now_ns);

/* @c took @ns of the loop's time in its handshake. */
void newcomers_charge(struct control_conn *c, uint64_t ns);

/* One that waited and may be read now: it waits no more. NULL: none. */
struct control_conn *newcomers_next(struct control *control, uint64_t now_ns);

/* When newcomers_next() will have one; UINT64_MAX: none waits. */
uint64_t newcomers_deadline_ns(const struct control *control);

#endif
