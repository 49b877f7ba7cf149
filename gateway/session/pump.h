/* pump.h - moves bytes between a session and its shell's connection.
 *
 * Why: lwIP and kernel sockets differ in a handful of calls. The rest is the same: offer bytes,
 * keep those not taken, write the output, close at the end.
 *
 * Where: shell_stack.c and shell_kernel.c embed struct pump_conn first in their connection.
 * Threads: the gateway's loop. Memory: a buffer for bytes not taken, allocated when first needed,
 * at most PUMP_PENDING_MAX (a receive window: the peer cannot send more until some were consumed).
 */
#ifndef SESSION_PUMP_H
#define SESSION_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session/session.h"

#define PUMP_PENDING_MAX (1u << 20)

struct pump_conn;

struct pump_ops {
	/* Queue bytes to send; returns how many were taken. Fewer: the shell pumps again when there
	 * is room. */
	size_t (*write)(struct pump_conn *c, const uint8_t *data, size_t size);
	/* The session is done with @size bytes of pump_receive(): open the window. */
	void (*consumed)(struct pump_conn *c, size_t size);
	/* Send what was written, close in order, free @c. The session is gone already. */
	void (*close)(struct pump_conn *c);
};

struct pump_conn {
	const struct pump_ops *ops;
	struct session *session;
	uint8_t *pending; /* received, not yet taken by the session */
	size_t pending_at, pending_end, pending_size;
};

/* Begin. 0; -EBUSY, -ENOMEM as session_new(): close the connection. */
int pump_open(struct pump_conn *c, const struct pump_ops *ops, struct sessions *sessions,
	      const char *peer, uint64_t now_ns) __attribute__((warn_unused_result));

/* The connection broke: frees the session; the shell frees @c. */
void pump_lost(struct pump_conn *c, uint64_t now_ns);

/* Bytes arrived. Takes all of them, and calls consumed() for those that the session is done with.
 * Call pump_run() afterwards. 0; -ENOBUFS: more than PUMP_PENDING_MAX outstanding, drop the
 * connection. */
int pump_receive(struct pump_conn *c, const void *data, size_t size, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* There is room to write, or something else may have changed. Call pump_run() afterwards. */
void pump_kick(struct pump_conn *c);

/* Serve all sessions on the dirty list. Call after each batch of events. May close any
 * connection. */
void pump_run(struct sessions *sessions, uint64_t now_ns);

/* Does output wait for room? For shells that must ask for room. */
bool pump_has_output(struct pump_conn *c);

#endif
