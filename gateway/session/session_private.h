/* session_private.h - what the files of session/ share. */
#ifndef SESSION_SESSION_PRIVATE_H
#define SESSION_SESSION_PRIVATE_H

#include "session/session.h"

/* No more frames are taken from @s, and none are sent. */
static inline bool session_is_over(const struct session *s)
{
	return s->phase == SESSION_CLOSING || s->must_end != SESSION_GOES_ON;
}

/* Of a stream: which of its VM's two. */
static inline enum vm_stream_index session_slot(const struct session *s)
{
	return s->role == WIRE_VM_ROLE_STANDBY ? VM_STREAM_STANDBY : VM_STREAM_PRIMARY;
}

/* Is @s the control connection of its host, or the stream of its VM? */
bool session_is_attached(const struct session *s);

/* Send one frame, as in
 *
 *	session_send(s, &header, wire_beat_encode(&beat, session_begin(s)));
 *
 * session_begin() returns the writer for the payload, valid until the next call for any session.
 * @encoded: what the encoder returned; 0 for an empty payload. A peer that does not read (no room
 * for a small frame) is ended. */
struct bytes_writer *session_begin(struct session *s);
void session_send(struct session *s, const struct wire_header *header, int encoded);

/* Refuse: REFUSED frame when TLS is up, log (limited), then CLOSING. Counted. */
void session_refuse(struct session *s, uint64_t now_ns, uint16_t code, enum fleet_refusal reason,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* May a log line that @s's host can cause at will be written? False: too many, counted. */
bool session_may_log(struct session *s, uint64_t now_ns);

/* End without a message: detach, send what is queued, close. */
void session_end(struct session *s, uint64_t now_ns);

/* Detach @s from its host or VM, and tell the fleet. */
void session_detach(struct session *s, uint64_t now_ns);

/* @s said HELLO, or ends: it does not count as a handshake any more. */
void session_leave_handshake(struct session *s);

/* TLS has failed: log, count, end. */
void session_tls_failed(struct session *s, uint64_t now_ns);

/* For admission.c: end @s, which has not said HELLO, to make room. Counted. */
void session_evict(struct session *s, uint64_t now_ns);

/* Let the loop end @s; see "Ends" in session.h. */
void session_mark_ended(struct session *s, enum session_end why);

/* Handle one frame. 0: done; -EAGAIN: keep it, the session is blocked; other: it is CLOSING. */
int session_dispatch(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_hello(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_beat(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_report(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_order_done(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_relay(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_epoch_ack(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_stream_error(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_bad_frame(struct session *s, uint64_t now_ns, const struct wire_error *error);

/* session_link.c: what the fleet may ask of a session. */
extern const struct fleet_link_ops session_link_ops;

/* The session of a link; NULL: no link. */
static inline struct session *session_of(struct fleet_link *link)
{
	return (struct session *)link;
}

/* The standby's ring has room again. */
void session_unblock_primary(struct fleet_vm *vm);

/* The incarnation to put into messages to @s; 0: the agent does not know that feature. */
static inline uint64_t session_incarnation(const struct session *s)
{
	return s->link.features & WIRE_FEATURE_INCARNATION ?
		       s->sessions->fleet->config.incarnation : 0;
}

#endif
