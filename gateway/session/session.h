/* session.h - handles one agent's connection: ciphertext in, ciphertext out, no I/O.
 *
 * A session works over lwIP, over kernel sockets and in a fuzzer. So only bytes cross this
 * interface.
 *
 *	HANDSHAKE ─TLS up─► HELLO ─accepted─► OPEN (control | primary's stream | standby's stream)
 *	     └────────── any refusal: REFUSED frame, log, counter ─────────┴─► CLOSING ─► freed by shell
 *
 * Where: the shells (shell_stack.c and shell_kernel.c, through pump.h) move bytes. The handlers in
 * session_hello.c, session_control.c and session_stream.c call fleet/fleet.h. session_link.c
 * provides the operations with which the fleet reaches a session (fleet/link.h).
 *
 * Back-pressure: while the standby's output ring is full, the primary's session is blocked
 * (link.is_blocked) and accepts no input. The pump stores the bytes that come meanwhile.
 *
 * The dirty list: code that queues output for a session, unblocks it or ends it must put the
 * session on sessions->dirty. pump_run() serves this list after each batch of events, in the order
 * in which the sessions were put on it. So the last message of an old connection is handled before
 * the HELLO that replaces it, even if both came in one batch.
 *
 * Ends: a step of the fleet cannot end a session at once. It only marks the session (must_end) and
 * puts it on the dirty list. session_input() ends the session later. Until then, the marked session
 * handles no more frames and sends none.
 *
 * Time: @now_ns is the monotonic time at which this iteration of the gateway's loop began.
 *
 * Threads: the gateway's loop. Memory is allocated only by session_new(), and by OpenSSL during the
 * handshake.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "fleet/fleet.h"
#include "session/admission.h"
#include "wire/frame.h"
#include "wire/msg.h"
#include "wire/tls.h"

enum session_phase {
	SESSION_HANDSHAKE, /* TLS handshake */
	SESSION_HELLO,	   /* waiting for HELLO */
	SESSION_OPEN,
	SESSION_CLOSING, /* sends the remaining output and discards input */
};

#define SESSION_PLAIN_SIZE     (2 * WIRE_FRAME_MAX)
#define SESSION_READ_MIN       16384 /* free space needed to read one TLS record */
#define SESSION_CLOSING_NS     (2 * CLOCK_NS_PER_S) /* how long a closing session may
						     * take to send its last output */

struct session_config {
	struct wire_tls_context *tls;  /* TLS context for the server side; borrowed */
	uint64_t relay_bytes_max;      /* limit of the ciphertext queued for one peer */
	/* a connection that has been silent for this long may be replaced by the host's new
	 * connection */
	uint64_t beat_timeout_ns;
	/* how long a connection may take until its HELLO is accepted */
	uint64_t handshake_timeout_ns;
	uint64_t idle_timeout_ns;      /* end a control connection that is silent this long */
	/* n_sessions_max: limit of all sessions. n_handshakes_max: limit of the sessions that have
	 * not said HELLO. admission_settle() replaces a limit of 0 */
	uint32_t n_sessions_max;
	uint32_t n_handshakes_max;
	uint64_t (*clock_ns)(void); /* clock that measures handshakes; NULL: clock_mono_ns */
};

/* The list of all agents' connections, and what they share. */
struct sessions {
	struct session_config config;
	struct fleet *fleet; /* borrowed */
	struct session *all; /* all sessions, the newest first */
	struct session *dirty, *last_dirty; /* the ends of the dirty list; NULL: it is empty */
	struct admission admission;
	uint64_t ticked_ns;
	struct bytes_writer writer;
	uint8_t scratch[WIRE_FRAME_MAX]; /* the frame that `writer` is building */
};

/* Whether and why a session is marked to end. */
enum session_end {
	SESSION_GOES_ON,
	SESSION_ENDS_QUIETLY, /* the fleet ended the connection */
	SESSION_ENDS_SLOW,    /* the peer does not read what we send */
};

struct session {
	struct fleet_link link; /* must be first */
	struct sessions *sessions;
	struct wire_tls *tls;
	void *conn; /* the shell's connection beneath this session */
	enum session_phase phase;
	enum session_end must_end;
	char source[FLEET_LINK_PEER_SIZE]; /* the peer's address alone, for admission.h */
	/* For admission.h. waiting: the handshake must wait. picked: admission_run() has picked
	 * this handshake to continue */
	bool waiting, picked;
	uint64_t opened_ns;
	uint64_t closing_ns; /* when CLOSING began; valid in CLOSING */
	uint64_t judged_ns;  /* when the peer's certificate was last checked */

	/* The following members are valid in OPEN and CLOSING. */
	uint8_t kind;		  /* enum wire_kind; 0 before HELLO */
	uint8_t role;		  /* enum wire_vm_role of a stream */
	struct fleet_host *host; /* the peer's host; NULL before HELLO */
	struct fleet_vm *vm;	  /* the VM of a stream */
	uint8_t host_index;	  /* index of `host` in `vm` */
	uint16_t version;
	uint32_t tx_seq;
	/* for a stream: the features that its HELLO named and this gateway knows */
	uint64_t understands;
	bool dirty;
	bool ended; /* true if the shell may close the connection even if output is left */

	struct session *next, *prev; /* neighbours in the list sessions->all */
	struct session *next_dirty;

	size_t plain_at, plain_end;
	uint8_t plain[SESSION_PLAIN_SIZE];
};

/* Make the list of @fleet's connections. Call after all VMs were added to @fleet. Returns 0 or
 * -ENOMEM. */
int sessions_new(const struct session_config *config, struct fleet *fleet, uint64_t now_ns,
		 struct sessions **ret_sessions) __attribute__((warn_unused_result));
/* Free the list. Free all sessions first. NULL is fine. Returns NULL. */
struct sessions *sessions_free(struct sessions *sessions);

/* Handle the timeouts of all sessions, and let waiting handshakes continue. Call this no later than
 * sessions_deadline_ns(). */
void sessions_tick(struct sessions *sessions, uint64_t now_ns);
uint64_t sessions_deadline_ns(const struct sessions *sessions);

/* Make a session for an accepted connection. @peer is "ADDRESS:PORT". If the limit of sessions or
 * handshakes is reached, end an older session that has not said HELLO (admission.h). Returns 0 and
 * sets *ret_session, which the shell owns until session_free(). Errors:
 *      -EBUSY   the limit is reached, but there is no session to end; this is counted
 *      -ENOMEM  memory is short */
int session_new(struct sessions *sessions, const char *peer, void *conn, uint64_t now_ns,
		struct session **ret_session) __attribute__((warn_unused_result));

/* Tell the fleet that the connection is gone, and free @s. NULL is fine. Returns NULL. */
struct session *session_free(struct session *s, uint64_t now_ns);

/* Store ciphertext from the peer in @s without handling it; the next session_input() handles it.
 * The caller must call session_input() soon, with more bytes or none. Why: a TLS record arrives in
 * a dozen TCP segments, and calling TLS after each of them costs more than the decryption. Returns
 * how many bytes were stored. Returns 0 if the session cannot store bytes now. */
size_t session_buffer(struct session *s, const uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* Give @s ciphertext from the peer. Returns how many bytes @s accepted. The caller must store the
 * other bytes, and give them again when @s is on the dirty list. */
size_t session_input(struct session *s, const uint8_t *data, size_t size, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Returns the ciphertext that is to be sent, and its size in *ret_size. After sending, call
 * session_output_consume() with the number of bytes sent. */
const uint8_t *session_output(struct session *s, size_t *ret_size);
void session_output_consume(struct session *s, size_t size);

/* Is @s in CLOSING? If so, the caller must close the connection when session_output() is empty. */
bool session_is_done(const struct session *s);

/* Put @s at the end of the dirty list, if it is not on the list yet. */
void session_mark_dirty(struct session *s);
/* Take the first session off the dirty list. Returns NULL if the list is empty. */
struct session *session_take_dirty(struct sessions *sessions);

#endif
