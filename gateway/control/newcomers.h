/* newcomers.h - connections to the management port that have not asked for anything yet: which one
 * is ended when there are too many, and whose handshake goes on next.
 *
 * Why: anyone there can open connections, and make the gateway compute signatures in the loop that
 * serves the agents. A small version of session/admission.h, which does this for the agents' port.
 * It knows no addresses.
 *
 *  slots   CONTROL_UNPROVEN_MAX; beyond it the oldest of the address with most of them is ended
 *  time    handshakes get NEWCOMERS_PERCENT of the loop's time, as measured. When it is spent they
 *          wait unread. The address with fewest of them goes on first, its oldest first.
 *
 * Where: control.c. Threads: the gateway's loop.
 */
#ifndef CONTROL_NEWCOMERS_H
#define CONTROL_NEWCOMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define NEWCOMERS_PERCENT 20
#define NEWCOMERS_MAX_NS  (20 * CLOCK_NS_PER_MS)

struct control;
struct control_conn;

/* The connection to end before one from @address_be32 is accepted; NULL: none. */
struct control_conn *newcomers_victim(const struct control *control, uint32_t address_be32);

/* May @c be read now? False: it waits, and newcomers_next() returns it later. Always true once its
 * handshake is over. */
bool newcomers_may_run(struct control_conn *c, uint64_t now_ns);

/* Charge @c for @ns of the loop's time, spent in its handshake. */
void newcomers_charge(struct control_conn *c, uint64_t ns);

/* A connection that waited and may be read now; it is not waiting any more. NULL: none. */
struct control_conn *newcomers_next(struct control *control, uint64_t now_ns);

/* When newcomers_next() will return one; UINT64_MAX: none waits. */
uint64_t newcomers_deadline_ns(const struct control *control);

#endif
