/* guard.h - the agent's side of the shutdown guard: a socket in run_dir. Through this socket, a
 * process of this host (guard_command.h) tells the agent that the host is going down. The agent
 * passes this on to the gateway, and passes the gateway's answers back to the process.
 *
 *	systemd ─ ExecStop ─► shutdown-guard ─ "down 60" ─► agent ─ DRAIN ──────► gateway
 *	   waits for its end ◄── prints ◄──── "state 1 2 web1 was moved" ◄ DRAIN_STATE ◄─┘
 *
 * The socket has mode 0600, so only root can ask. One process is served at a time: a newer one
 * takes the place of an older one.
 *
 * On each connection to the gateway, the agent also sends the id of this host's current boot. If
 * the guard asked for the drain in an earlier boot, the host has rebooted since, and the gateway
 * ends the drain.
 *
 * Where: agent.c, agent_gateway.c. Threads: the agent's main thread. Nothing blocks.
 */
#ifndef GUARD_GUARD_H
#define GUARD_GUARD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "wire/msg.h"

#define GUARD_N_FDS    2
#define GUARD_LINE_MAX (WIRE_TEXT_MAX + 64)

struct guard; /* opaque */

/* Write the socket's path to @path (@size bytes). Returns 0, or -ENAMETOOLONG if @path is too
 * small. */
int guard_path(const char *run_dir, char *path, size_t size) __attribute__((warn_unused_result));

/* Make the socket in @run_dir. Returns the guard, which the caller owns; NULL after a failure,
 * which was logged. Without a guard this host cannot ask to be drained. */
struct guard *guard_open(const char *run_dir);
/* Remove the socket and free @guard. Accepts NULL; returns NULL. */
struct guard *guard_close(struct guard *guard);

/* All functions below accept NULL as @guard.
 *
 * Fill @fds (GUARD_N_FDS elements) for poll(). */
void guard_poll(const struct guard *guard, struct pollfd *fds);
/* Call this after poll(), with the same @fds: accept a client, and read its request. */
void guard_serve(struct guard *guard, const struct pollfd *fds);

/* Call this when a connection to a gateway begins. @features: the features in the gateway's
 * WELCOME. */
void guard_connected(struct guard *guard, uint64_t features);

/* If a DRAIN must be sent, write its payload to @w and return true. */
bool guard_take(struct guard *guard, struct bytes_writer *w);

/* Handle a DRAIN_STATE frame. Returns 0, or -EPROTO if the frame is malformed (which was
 * logged). */
int guard_state(struct guard *guard, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

#endif
