/* session.h - one agent connection: ciphertext in, ciphertext out. Sans-I/O.
 *
 * Why: TLS, frame decoding, HELLO checks and message handlers are the same over lwIP, over kernel
 * sockets and in a fuzzer; only bytes cross this interface.
 *
 *	HANDSHAKE ─TLS up─► HELLO ─accepted─► OPEN (control | primary's stream | standby's stream)
 *	     └────────── any refusal: REFUSED frame, log, counter ─────────┴─► CLOSING ─► freed by shell
 *
 * Where: shells (shell_stack.c, shell_kernel.c through pump.h) move bytes; handlers in
 * session_hello.c, session_control.c, session_stream.c call fleet/fleet.h. session_link.c
 * gives the fleet its way back (fleet/link.h).
 *
 * Back-pressure: while the standby's ring is full, the primary's session is `blocked`: it takes no
 * more input until some of the standby's output was consumed. Bytes not taken stay with the shell.
 *
 * The dirty list: code that gives a session output, room or an end puts it on sessions->dirty. A
 * shell serves the list after each batch (pump.h).
 *
 * Ends: a step of the fleet never ends a session. It only marks it (must_end) and puts it on the
 * dirty list. A marked session takes no more frames and sends none; session_input() ends it.
 *
 * Time: @now_ns is the monotonic time of the loop's turn.
 *
 * Threads: the gateway's loop. Memory is taken in session_new() (and by OpenSSL's handshake).
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
	SESSION_HANDSHAKE, /* TLS */
	SESSION_HELLO,	   /* waiting for HELLO */
	SESSION_OPEN,
	SESSION_CLOSING, /* output is being sent, input is discarded */
};

#define SESSION_PLAIN_SIZE     (2 * WIRE_FRAME_MAX)
#define SESSION_READ_MIN       16384 /* room kept for one TLS record */
#define SESSION_CLOSING_NS     (2 * CLOCK_NS_PER_S) /* time to send the last output */

struct session_config {
	struct wire_tls_context *tls;  /* server side; borrowed */
	uint64_t relay_bytes_max;      /* ciphertext queued towards one peer */
	uint64_t beat_timeout_ns;      /* a connection silent this long may be replaced */
	uint64_t handshake_timeout_ns; /* until HELLO was accepted */
	uint64_t idle_timeout_ns;      /* of a control connection */
	uint32_t n_sessions_max;       /* both: 0: what the fleet's hosts and VMs need */
	uint32_t n_handshakes_max;
	uint64_t (*clock_ns)(void); /* measures handshakes; NULL: clock_mono_ns */
};

/* All agents' connections. */
struct sessions {
	struct session_config config;
	struct fleet *fleet; /* borrowed */
	struct session *all; /* newest first */
	struct session *dirty;
	struct admission admission;
	uint64_t ticked_ns;
	struct bytes_writer writer;
	uint8_t scratch[WIRE_FRAME_MAX]; /* one frame being built, by writer */
};

/* Why a marked session ends. */
enum session_end {
	SESSION_GOES_ON,
	SESSION_ENDS_QUIETLY, /* the fleet wants it */
	SESSION_ENDS_SLOW,    /* the peer does not read what it is sent */
};

struct session {
	struct fleet_link link; /* must be first */
	struct sessions *sessions;
	struct wire_tls *tls;
	void *conn; /* the shell's connection */
	enum session_phase phase;
	enum session_end must_end;
	char source[FLEET_LINK_PEER_SIZE]; /* the peer's address alone, for admission.h */
	bool waiting, picked; /* for admission.h: waits for its handshake's turn */
	uint64_t opened_ns;
	uint64_t closing_ns; /* valid in CLOSING */
	uint64_t judged_ns;  /* when its certificate was last checked */

	/* valid in OPEN and CLOSING */
	uint8_t kind;		  /* enum wire_kind; 0 before HELLO */
	uint8_t role;		  /* enum wire_vm_role of a stream */
	struct fleet_host *host; /* the peer; NULL before HELLO */
	struct fleet_vm *vm;	  /* of a stream */
	uint8_t host_index;	  /* in vm */
	uint16_t version;
	uint32_t tx_seq;
	uint64_t understands; /* of a stream: features that its HELLO
			       * named and this gateway knows */
	bool dirty;
	bool ended; /* the shell may close it once the output is sent */

	struct session *next, *prev; /* sessions->all */
	struct session *next_dirty;

	size_t plain_at, plain_end;
	uint8_t plain[SESSION_PLAIN_SIZE];
};

/* Become @fleet's connections, once all of its VMs are added. 0; -ENOMEM. */
int sessions_new(const struct session_config *config, struct fleet *fleet, uint64_t now_ns,
		 struct sessions **ret_sessions) __attribute__((warn_unused_result));
/* All sessions must have been freed. NULL is fine. Returns NULL. */
struct sessions *sessions_free(struct sessions *sessions);

/* Serve the timeouts of all sessions, and handshakes that wait for their share of time. Call at
 * sessions_deadline_ns() at the latest. */
void sessions_tick(struct sessions *sessions, uint64_t now_ns);
uint64_t sessions_deadline_ns(const struct sessions *sessions);

/* A connection was accepted. @peer: "ADDRESS:PORT". At the limit of sessions or handshakes this
 * ends an older session that has not said HELLO (admission.h). 0: *ret_session, owned by the shell
 * until session_free(); -EBUSY: no session could be ended (counted); -ENOMEM. */
int session_new(struct sessions *sessions, const char *peer, void *conn, uint64_t now_ns,
		struct session **ret_session) __attribute__((warn_unused_result));

/* The connection is gone: tell the fleet and free @s. NULL is fine. Returns NULL. */
struct session *session_free(struct session *s, uint64_t now_ns);

/* Give ciphertext from the peer. Returns how many bytes were taken. Offer the rest again when the
 * session is next on the dirty list. */
size_t session_input(struct session *s, const uint8_t *data, size_t size, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Ciphertext to send, in place. */
const uint8_t *session_output(struct session *s, size_t *ret_size);
void session_output_consume(struct session *s, size_t size);

/* True: nothing more will come; close once session_output() is empty. */
bool session_is_done(const struct session *s);

/* Put @s on the dirty list. */
void session_mark_dirty(struct session *s);
/* Take the first of the dirty list, or NULL. */
struct session *session_take_dirty(struct sessions *sessions);

#endif
