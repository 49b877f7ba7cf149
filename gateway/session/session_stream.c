/* session_stream.c - handles the messages of streams: relayed frames, acknowledgements, errors. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "session/session_private.h"

static void send_stream_error(struct session *to, uint64_t term, uint64_t epoch,
			      const struct wire_failure *failure)
{
	struct wire_header h = {.type = WIRE_STREAM_ERROR, .term = term, .epoch = epoch};

	session_send(to, &h, wire_failure_encode(failure, session_begin(to)));
}

/* Report a stream's failure to the state machine, which gives an event. If the stream is a
 * standby's, the state machine also remembers the reason. */
static void tell_failure(struct session *s, enum vm_input_kind kind,
			 const struct wire_failure *failure, uint64_t now_ns)
{
	struct vm_input in = {.kind = kind, .host = s->host_index, .role = s->role,
			      .text = failure->text};

	/* If the step cannot be journaled, it is undone, and the peer reports the failure again. */
	(void)fleet_step(s->sessions->fleet, s->vm, &in, now_ns);
}

/* Handle a frame that breaks the primary's stream: send the reason to the primary, and close the
 * connection. The primary connects again, and RESUME says where it must continue. */
static int stream_broken(struct session *s, const struct wire_frame *frame,
			 const struct wire_failure *failure, uint64_t now_ns)
{
	counters_add(&s->sessions->fleet->counters.relay_errors, 1);
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " stream of %s: %s",
		    s->vm->config.name, frame->h.epoch, s->host->name, failure->text);
	tell_failure(s, VM_IN_STREAM_FAILED, failure, now_ns);
	send_stream_error(s, frame->h.term, frame->h.epoch, failure);
	session_end(s, now_ns);
	return -EPROTO;
}

int session_on_relay(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct fleet_vm *vm = s->vm;
	struct session *standby = session_of(vm->stream[VM_STREAM_STANDBY]);
	size_t size = wire_frame_size(frame);
	struct wire_failure failure;
	enum vm_relay_verdict verdict;
	struct error why;

	/* Check for room before vm_relay_frame() is called, which must get each frame only once. */
	if (standby && !session_is_over(standby) &&
	    wire_tls_write_room(standby->tls) < size) {
		s->link.is_blocked = true;
		counters_add(&s->sessions->fleet->counters.relay_blocked, 1);
		session_mark_dirty(standby);
		return -EAGAIN;
	}
	if (vm_relay_frame(&vm->relay, frame, now_ns, &verdict, &failure.code, &why) < 0) {
		wire_text_format(failure.text, "%s", why.text);
		return stream_broken(s, frame, &failure, now_ns);
	}
	if (verdict == VM_RELAY_DROP || !standby || session_is_over(standby))
		return 0;
	if (wire_tls_write(standby->tls, wire_frame_start(frame), size) != (int)size) {
		log_limited(LOG_LEVEL_WARN, "vm=%s standby's TLS failed: %s", vm->config.name,
			    wire_tls_error(standby->tls));
		session_end(standby, now_ns);
		return 0;
	}
	counters_add(&s->sessions->fleet->counters.frames_out, 1);
	session_mark_dirty(standby);
	return 0;
}

int session_on_epoch_ack(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct fleet_vm *vm = s->vm;
	struct wire_error error;
	struct vm_input in = {.kind = VM_IN_EPOCH_ACK, .host = s->host_index,
			      .term = frame->h.term, .epoch = frame->h.epoch,
			      .is_unheld = frame->h.epoch <= vm->relay.unheld_epoch};

	if (wire_empty_decode(frame, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	/* An acknowledgement of another term breaks the stream. Exception: while the record of a
	 * new term waits for the disk, the standby cannot know that term. In this case pass the
	 * acknowledgement on; the state machine ignores it. */
	if (frame->h.term != vm->fsm.record.term && fleet_is_durable(vm)) {
		counters_add(&s->sessions->fleet->counters.epoch_acks_stale, 1);
		session_refuse(s, now_ns, WIRE_REFUSED_STALE_TERM, FLEET_REFUSED_STALE_TERM,
			       "EPOCH_ACK of term %" PRIu64 ", %s is in term %" PRIu64,
			       frame->h.term, vm->config.name, vm->fsm.record.term);
		return -EPROTO;
	}
	if (vm_relay_ack(&vm->relay, frame->h.epoch, now_ns) < 0) {
		session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_BAD_FRAME,
			       "EPOCH_ACK of epoch %" PRIu64 ", but %" PRIu64
			       " is the last one sent",
			       frame->h.epoch, vm->relay.sent_epoch);
		return -EPROTO;
	}
	counters_add(&s->sessions->fleet->counters.epoch_acks, 1);
	if (fleet_step(s->sessions->fleet, vm, &in, now_ns) < 0)
		session_end(s, now_ns);
	return 0;
}

/* Pass @frame, an answer of the standby, to the primary unchanged. If the primary does not have the
 * feature @feature, or has no room for the frame, drop the frame: the primary asks again, or
 * continues without an answer. */
static int answer(struct session *s, const struct wire_frame *frame, uint64_t feature,
		  uint64_t now_ns)
{
	struct session *primary = session_of(s->vm->stream[VM_STREAM_PRIMARY]);
	size_t size = wire_frame_size(frame);

	if (frame->h.term != s->vm->fsm.record.term || !primary || session_is_over(primary) ||
	    !(primary->link.features & feature) || wire_tls_write_room(primary->tls) < size)
		return 0;
	if (wire_tls_write(primary->tls, wire_frame_start(frame), size) != (int)size) {
		log_limited(LOG_LEVEL_WARN, "vm=%s primary's TLS failed: %s", s->vm->config.name,
			    wire_tls_error(primary->tls));
		session_end(primary, now_ns);
		return 0;
	}
	counters_add(&s->sessions->fleet->counters.frames_out, 1);
	session_mark_dirty(primary);
	return 0;
}

int session_on_disk_checked(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct wire_disk_checked checked;
	struct wire_error error;

	if (wire_disk_checked_decode(frame, &checked, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	return answer(s, frame, WIRE_FEATURE_DISK_HASH, now_ns);
}

int session_on_ram_checked(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct wire_ram_checked checked;
	struct wire_error error;

	if (wire_ram_checked_decode(frame, &checked, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	return answer(s, frame, WIRE_FEATURE_VERIFY, now_ns);
}

int session_on_hashes(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct wire_hashes hashes;
	struct wire_error error;

	if (wire_hashes_decode(frame, &hashes, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	return answer(s, frame, WIRE_FEATURE_BASE, now_ns);
}

/* Handle a STREAM_ERROR, by which the primary or the standby says that it ends its stream. If the
 * standby ends its stream, send the reason to the primary. */
int session_on_stream_error(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	bool from_standby = s->role == WIRE_VM_ROLE_STANDBY;
	struct wire_failure failure;
	struct session *primary;
	struct wire_error error;

	if (wire_failure_decode(frame, &failure, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	counters_add(&s->sessions->fleet->counters.relay_errors, 1);
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " %s %s gives the stream up: %s",
		    s->vm->config.name, frame->h.epoch, wire_vm_role_name(s->role), s->host->name,
		    failure.text);
	tell_failure(s, from_standby && failure.code == WIRE_STREAM_ERROR_GEOMETRY
				? VM_IN_STREAM_REFUSED : VM_IN_STREAM_FAILED, &failure, now_ns);
	primary = session_of(s->vm->stream[VM_STREAM_PRIMARY]);
	if (from_standby && primary) {
		send_stream_error(primary, frame->h.term, frame->h.epoch, &failure);
		/* both hosts connect again and continue with a RESUME */
		session_end(primary, now_ns);
	}
	session_end(s, now_ns);
	return -EPROTO;
}
