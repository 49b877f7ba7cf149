/* session.h - one agent connection: ciphertext in, ciphertext out. Sans-I/O.
 *
 * Why: TLS, frame decoding, HELLO checks and message handlers are the same over lwIP, over kernel
 * sockets and in a fuzzer; only bytes cross this interface.
 *
 *	HANDSHAKE ─TLS up─► HELLO ─accepted─► OPEN (control | primary's stream | standby's stream)
 *	     └────────── any refusal: REFUSED frame, log, counter ─────────┴─► CLOSING ─► freed by shell
 *
 * Where: shells (shell_stack.c, shell_kernel.c through pump.h) move bytes; handlers in
 * session_hello.c, session_control.c, session_stream.c call gateway.h.
 *
 * Back-pressure: while the standby's ring is full, the primary's session is `blocked`: it takes no
 * more input until some of the standby's output was consumed. Bytes not taken stay with the shell.
 *
 * The dirty list: code that gives a session output, room or an end puts it on fleet->dirty. A
 * shell serves the list after each batch (pump.h).
 *
 * Threads: the gateway's loop. Memory is taken in session_new() (and by OpenSSL's handshake).
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fleet/fleet.h"
#include "wire/frame.h"
#include "wire/msg.h"
#include "wire/tls.h"

enum session_phase {
	SESSION_HANDSHAKE, /* TLS */
	SESSION_HELLO,	   /* waiting for HELLO */
	SESSION_OPEN,
	SESSION_CLOSING, /* output is being sent, input is discarded */
};

#define SESSION_PEER_TEXT_SIZE 64
#define SESSION_PLAIN_SIZE     (2 * WIRE_FRAME_MAX)
#define SESSION_READ_MIN       16384 /* room kept for one TLS record */
#define SESSION_CLOSING_NS     UINT64_C(2000000000) /* time to send the last output */

struct session {
	struct fleet *fleet;
	struct wire_tls *tls;
	void *conn; /* the shell's connection */
	uint64_t number; /* from 1, never reused */
	enum session_phase phase;
	char peer[SESSION_PEER_TEXT_SIZE]; /* address and port, for logs */
	char source[SESSION_PEER_TEXT_SIZE]; /* the address alone, for admission.h */
	bool waiting, picked; /* for admission.h: waits for its handshake's turn */
	uint64_t opened_ns;
	uint64_t seen_ns;    /* last bytes from the peer */
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
	uint64_t features;    /* what WELCOME allowed */

	bool attached; /* is host->control or vm->stream[]: report its end */
	bool blocked;  /* a frame waits for room at the standby */
	bool given_up; /* the peer does not read: end it */
	bool dirty;
	bool ended;    /* the shell may close it once the output is sent */

	struct session *next, *prev; /* fleet->sessions */
	struct session *next_dirty;

	size_t plain_at, plain_end;
	uint8_t plain[SESSION_PLAIN_SIZE];
};

/* A connection was accepted. @peer: "ADDRESS:PORT". At the limit of sessions or handshakes this
 * ends an older session that has not said HELLO (admission.h). 0: *ret_session, owned by the shell
 * until session_free(); -EBUSY: no session could be ended (counted); -ENOMEM. */
int session_new(struct fleet *fleet, const char *peer, void *conn, uint64_t now_ns,
		struct session **ret_session) __attribute__((warn_unused_result));

/* The connection is gone: tell the gateway and free @s. NULL is fine. Returns NULL. */
struct session *session_free(struct session *s);

/* Give ciphertext from the peer. Returns how many bytes were taken. Offer the rest again when the
 * session is next on the dirty list. */
size_t session_input(struct session *s, const uint8_t *data, size_t size, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Ciphertext to send, in place. */
const uint8_t *session_output(struct session *s, size_t *ret_size);
void session_output_consume(struct session *s, size_t size);

/* True: nothing more will come; close once session_output() is empty. */
bool session_is_done(const struct session *s);

/* Serve the session's timeouts. */
void session_tick(struct session *s, uint64_t now_ns);

/* ---- inside the room ---- */

void session_mark_dirty(struct session *s);
/* Take the first of the dirty list, or NULL. */
struct session *session_take_dirty(struct fleet *fleet);

/* Send one frame. @encode: one of wire's payload encoders with its struct @msg, or NULL: empty.
 * A peer that does not read (no room for a small frame) is closed. */
typedef int (*session_encode_fn)(const void *msg, struct bytes_writer *w);
void session_send(struct session *s, const struct wire_header *header, session_encode_fn encode,
		  const void *msg);
#define SESSION_SEND(s, header, encode, msg)                                                       \
	session_send(s, header, (session_encode_fn)(void (*)(void))(encode), msg)

/* Refuse: REFUSED frame when TLS is up, log (limited), then CLOSING. Counted at @counter. */
void session_refuse(struct session *s, uint16_t code, uint64_t *counter, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* May a log line that @s's host can cause at will be written? False: too many, counted. */
bool session_may_log(struct session *s);

/* End without a message: detach, send what is queued, close. */
void session_end(struct session *s);

/* For admission.c: end @s, which has not said HELLO, to make room. Counted. */
void session_evict(struct session *s);

/* Detach @s from its host and VM, and tell the state machines. */
void session_detach(struct session *s);

/* Handle one frame. 0: done; -EAGAIN: keep it, the session is blocked; other: it is CLOSING. */
int session_dispatch(struct session *s, const struct wire_frame *frame);
int session_on_hello(struct session *s, const struct wire_frame *frame);
int session_on_beat(struct session *s, const struct wire_frame *frame);
int session_on_report(struct session *s, const struct wire_frame *frame);
int session_on_order_done(struct session *s, const struct wire_frame *frame);
int session_on_relay(struct session *s, const struct wire_frame *frame);
int session_on_epoch_ack(struct session *s, const struct wire_frame *frame);
int session_on_stream_error(struct session *s, const struct wire_frame *frame);
int session_bad_frame(struct session *s, const struct wire_error *error);

/* From gateway.c: what the state machine ordered. */
void session_send_order(struct session *s, struct fleet_vm *vm, const struct vm_action *a);
void session_send_resume(struct session *s, const struct vm_action *a);
void session_send_commit(struct session *s, const struct vm_action *a);

/* From gateway.c: wipe the VM's witness key if its term or owner changed. */
void witness_keys_follow(struct fleet *fleet, struct fleet_vm *vm);
/* From gateway.c: send keys that are due, wipe ended ones, report forgeries. */
void witness_keys_tick(struct fleet *fleet);
/* From gateway.c: copy the receiver's counters into the gateway's. */
void witness_keys_count(struct fleet *fleet);
/* @vm's owner has just reported: send it a key if one is due. */
void witness_keys_offer(struct fleet *fleet, struct fleet_vm *vm);

/* The standby's ring has room again. */
void session_unblock_primary(struct fleet_vm *vm);

/* The incarnation to put into messages to @s; 0: the agent does not know that feature. */
static inline uint64_t session_incarnation(const struct session *s)
{
	return s->features & WIRE_FEATURE_INCARNATION ? s->fleet->config.incarnation : 0;
}

#endif
