/* session_private.h - functions that only the files of session/ call. */
#ifndef SESSION_SESSION_PRIVATE_H
#define SESSION_SESSION_PRIVATE_H

#include "session/session.h"

/* Is @s closing or marked to end? If so, it handles no more frames and sends none. */
static inline bool session_is_over(const struct session *s)
{
	return s->phase == SESSION_CLOSING || s->must_end != SESSION_GOES_ON;
}

/* Returns which stream of the VM @s is: the primary's or the standby's. Call this only if @s is a
 * stream. */
static inline enum vm_stream_index session_slot(const struct session *s)
{
	return s->role == WIRE_VM_ROLE_STANDBY ? VM_STREAM_STANDBY : VM_STREAM_PRIMARY;
}

/* Is @s still attached to the fleet, as the control connection of its host or a stream of its
 * VM? */
bool session_is_attached(const struct session *s);

/* Begin a frame. Returns the writer for its payload, valid until the next session_begin() for any
 * session. */
struct bytes_writer *session_begin(struct session *s);
/* Send the frame that session_begin() has begun, with @header. @encoded is the result of the
 * payload's encoder, or 0 for an empty payload. If there is no room for the frame, because the peer
 * does not read, marks @s to end. For example:
 *
 *	session_send(s, &header, wire_beat_encode(&beat, session_begin(s))); */
void session_send(struct session *s, const struct wire_header *header, int encoded);

/* Refuse @s: send a REFUSED frame if TLS is up, log the refusal (at a limited rate), count it, and
 * begin CLOSING. */
void session_refuse(struct session *s, uint64_t now_ns, uint16_t code, enum fleet_refusal reason,
		    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Call this before a log line that the host of @s can cause at will. Returns true if the line may
 * be logged. Returns false, and counts the line, if there were too many such lines lately. */
bool session_may_log(struct session *s, uint64_t now_ns);

/* End @s without a message: detach it, send its queued output, and close. */
void session_end(struct session *s, uint64_t now_ns);

/* Detach @s from its host or VM, and tell the fleet. */
void session_detach(struct session *s, uint64_t now_ns);

/* Stop counting @s as a handshake, because the peer has said HELLO or @s ends. */
void session_leave_handshake(struct session *s);

/* Log and count that the TLS of @s failed, and end @s. */
void session_tls_failed(struct session *s, uint64_t now_ns);

/* End @s, which has not said HELLO, to make room for a newer connection, and count it as evicted.
 * Only admission.c calls this. */
void session_evict(struct session *s, uint64_t now_ns);

/* Mark @s so that the loop ends it; see "Ends" in session.h. */
void session_mark_ended(struct session *s, enum session_end why);

/* Handle one frame: find its handler and call it. This function and the handlers below return
 * 0: the frame was handled;
 * -EAGAIN: the session is blocked; the caller must offer the frame again later;
 * another -errno: the session is now CLOSING. */
int session_dispatch(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_hello(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_beat(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_report(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_order_done(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_drain(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_relay(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_epoch_ack(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_disk_checked(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_hashes(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_ram_checked(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
int session_on_stream_error(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
/* Refuse @s because its frame could not be decoded; @error says why. Returns -EPROTO. */
int session_bad_frame(struct session *s, uint64_t now_ns, const struct wire_error *error);

/* In session_link.c: the operations that the fleet may use on a session. */
extern const struct fleet_link_ops session_link_ops;

/* Returns the session in which @link is embedded, or NULL if @link is NULL. */
static inline struct session *session_of(struct fleet_link *link)
{
	return (struct session *)link;
}

/* Let @vm's primary continue, because the standby's ring has room again. */
void session_unblock_primary(struct fleet_vm *vm);

/* Returns the incarnation to put into messages to @s, or 0 if the agent does not know the feature
 * INCARNATION. */
static inline uint64_t session_incarnation(const struct session *s)
{
	return s->link.features & WIRE_FEATURE_INCARNATION ?
		       s->sessions->fleet->config.incarnation : 0;
}

#endif
