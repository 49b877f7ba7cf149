/* pump.h - moves bytes between a session and the connection beneath it, which a shell provides.
 *
 * A connection is over lwIP (shell_stack.c) or over a kernel socket (shell_kernel.c). The two
 * differ only in a few calls, struct pump_ops. The pump does the rest. It passes received bytes to
 * the session, and stores the bytes that the session does not accept yet. It also writes the
 * session's output, and closes the connection at the end.
 *
 * Where: each shell embeds struct pump_conn as the first member of its connection.
 * Threads: the gateway's loop. Memory: the buffer for received bytes is allocated when it is first
 * needed. It has at most PUMP_PENDING_MAX bytes; a peer that keeps to our receive window cannot
 * fill it.
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
	/* Queue bytes to send. Returns how many bytes were queued. If some were not queued, the
	 * shell must call pump_kick() when there is room again. */
	size_t (*write)(struct pump_conn *c, const uint8_t *data, size_t size);
	/* Open the receive window by @size bytes, because the session has consumed that many. */
	void (*consumed)(struct pump_conn *c, size_t size);
	/* Send the remaining output, close the connection in an orderly way, and free @c. The pump
	 * has already freed the session. */
	void (*close)(struct pump_conn *c);
};

struct pump_conn {
	const struct pump_ops *ops;
	struct session *session;
	uint8_t *pending; /* bytes received but not yet accepted by the session */
	size_t pending_at, pending_end, pending_size;
};

/* Initialise @c and make its session. Returns 0, or an error of session_new(). After an error the
 * caller must close the connection. */
int pump_open(struct pump_conn *c, const struct pump_ops *ops, struct sessions *sessions,
	      const char *peer, uint64_t now_ns) __attribute__((warn_unused_result));

/* Free the session of @c, because the connection broke. The shell then frees @c. */
void pump_lost(struct pump_conn *c, uint64_t now_ns);

/* Accept the @size bytes that arrived: pass them to the session, and store those that it does not
 * accept yet. Calls consumed() for those that the session has accepted. Call pump_run() afterwards.
 * Returns 0. Returns -ENOBUFS if more than PUMP_PENDING_MAX bytes would be stored, or if memory is
 * short; the caller must then drop the connection. */
int pump_receive(struct pump_conn *c, const void *data, size_t size, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Put the session of @c on the dirty list (session.h), because there is room to write again.
 * Call pump_run() afterwards. */
void pump_kick(struct pump_conn *c);

/* Serve all sessions on the dirty list (session.h). Call this after each batch of events. Can close
 * any connection. */
void pump_run(struct sessions *sessions, uint64_t now_ns);

/* Does the session of @c have output that is not written yet? */
bool pump_has_output(struct pump_conn *c);

#endif
