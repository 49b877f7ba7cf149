/* newcomers.h - limits the connections to the management port that have not sent a request yet:
 * their number, and the time that their handshakes take. Chooses which connection is ended when
 * there are too many, and which handshake continues next.
 *
 * Anyone who reaches the management port can open connections. The gateway then computes
 * signatures, in the loop that also serves the agents. session/admission.h does the same for the
 * agents' port, and also has budgets for known addresses.
 *
 *  slots   a connection takes one of CONTROL_UNPROVEN_MAX slots until its request has come, and
 *          again while it only sends the rest of its answer. When all slots are taken, each new
 *          connection ends an older one: the address with the most slots loses its oldest
 *          connection. The new connection is counted for its own address.
 *  time    all handshakes together may use NEWCOMERS_PERCENT of the loop's time.
 *          When this time is spent, handshakes wait, and nothing is read from their connections.
 *          When there is time again, one handshake continues: the oldest waiting handshake of the
 *          address with the fewest slots.
 *
 * Where: control.c calls it. Threads: the gateway's loop.
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

/* Returns the connection that must end before a new connection from @address_be32 can be accepted,
 * or NULL if a slot is free. */
struct control_conn *newcomers_victim(const struct control *control, uint32_t address_be32);

/* Returns true if @c can be read now; this is always so after the handshake. Returns false if the
 * handshake must wait: marks @c as waiting, and newcomers_next() returns @c later. */
bool newcomers_may_run(struct control_conn *c, uint64_t now_ns);

/* Charge the @ns that the loop spent on @c's handshake to the time that all handshakes may use. */
void newcomers_charge(struct control_conn *c, uint64_t ns);

/* Returns a waiting connection that can be read now, and ends its wait. Returns NULL if there is
 * none. */
struct control_conn *newcomers_next(struct control *control, uint64_t now_ns);

/* Returns when newcomers_next() will return a connection, or UINT64_MAX if none waits. */
uint64_t newcomers_deadline_ns(const struct control *control);

#endif
