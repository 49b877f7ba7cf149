/* guard.h - the agent's side of the shutdown guard: a socket in run_dir, by which a process of this
 * host (guard_command.h) says that the host goes down. The agent passes that on to the gateway, and
 * what the gateway says back to the process.
 *
 *	systemd ─ ExecStop ─► shutdown-guard ─ "down 60" ─► agent ─ DRAIN ──────► gateway
 *	   waits for its end ◄── prints ◄──── "state 1 2 web1 was moved" ◄ DRAIN_STATE ◄─┘
 *
 * The socket has mode 0600, so only root can ask. One process is served at a time: a newer one
 * takes the place of the older.
 *
 * The agent also says at each connection in which boot this host is: with another boot than that in
 * which the guard asked, the gateway takes the host back.
 *
 * Where: agent.c. Threads: the agent's main thread. Nothing blocks.
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

/* Write the socket's path to @path. Returns 0, or -ENAMETOOLONG if no socket can have it. */
int guard_path(const char *run_dir, char *path, size_t size) __attribute__((warn_unused_result));

/* Make the socket in @run_dir. Returns the guard, which the caller owns. If it fails, logs why and
 * returns NULL: the host can then not ask to be drained. */
struct guard *guard_open(const char *run_dir);
/* NULL is fine. Returns NULL. */
struct guard *guard_close(struct guard *guard);

/* Fill @fds (GUARD_N_FDS) for poll(); then pass them to guard_serve(). All these functions do
 * nothing if @guard is NULL. */
void guard_poll(const struct guard *guard, struct pollfd *fds);
void guard_serve(struct guard *guard, const struct pollfd *fds);

/* A connection to a gateway begins; @features are those of its WELCOME. */
void guard_connected(struct guard *guard, uint64_t features);

/* Is there a DRAIN to be sent? If so, writes its payload to @w and returns true. */
bool guard_take(struct guard *guard, struct bytes_writer *w);

/* Handle a frame DRAIN_STATE. Returns 0, or -EPROTO after it has logged what is wrong. */
int guard_state(struct guard *guard, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

#endif
