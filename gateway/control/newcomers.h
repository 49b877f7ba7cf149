/* newcomers.h - limits the connections to the management port that have not sent a request yet:
 * their number, and the time that their handshakes take.
 *
 * Anyone who reaches the management port can open connections. Each TLS handshake costs the
 * gateway's loop signatures, and this loop also serves the agents. session/admission.h limits the
 * connections to the agents' port.
 *
 * Number: each such connection takes one of CONTROL_UNPROVEN_MAX slots. A connection gives its slot
 * back when its request has come, and takes a slot again when it only has to send the rest of its
 * answer. If a connection comes while all slots are taken, one of the connections that have a slot
 * is ended: the oldest one of the address that has the most slots, counting the new connection too.
 *
 * Time: all handshakes together can use NEWCOMERS_PERCENT of the loop's time. When this time is
 * spent, nothing is read from connections in a handshake. When there is time again, one handshake
 * that waits continues: the oldest one of the address that has the fewest slots.
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

/* Returns true if the loop may read from @c now. After the handshake this is always so. If the
 * handshake must wait, marks @c as waiting and returns false; newcomers_next() returns @c later. */
bool newcomers_may_run(struct control_conn *c, uint64_t now_ns);

/* Add @ns, which the loop spent on @c's handshake, to the time that handshakes have used. */
void newcomers_charge(struct control_conn *c, uint64_t ns);

/* Returns a waiting connection from which the loop may read now, and ends its wait. Returns NULL if
 * there is none. */
struct control_conn *newcomers_next(struct control *control, uint64_t now_ns);

/* Returns when newcomers_next() will return a connection, or UINT64_MAX if none waits. */
uint64_t newcomers_deadline_ns(const struct control *control);

#endif
