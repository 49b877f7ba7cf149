#include "vm/relay.h"

#include <errno.h>
#include <inttypes.h>

void vm_relay_resume(struct vm_relay *relay, uint64_t term, uint64_t epoch, uint32_t generation)
{
	if (relay->term != term)
		relay->sent_epoch = relay->unheld_epoch = 0;
	relay->phase = VM_RELAY_WANT_GEOMETRY;
	relay->term = term;
	relay->generation = generation;
	relay->epoch = epoch;
	relay->n_frames = 0;
	relay->payload_bytes = 0;
	relay->n_machine = 0;
	relay->machine_is_over = false;
	/* Keep a larger sent_epoch: acknowledgements of the last generation's epochs may still be
	 * on their way. */
	if (relay->sent_epoch < epoch)
		relay->sent_epoch = epoch;
}

void vm_relay_standby_reset(struct vm_relay *relay, uint64_t epoch)
{
	relay->sent_epoch = epoch;
}

void vm_relay_close(struct vm_relay *relay)
{
	relay->phase = VM_RELAY_CLOSED;
}

static int broken(struct vm_relay *relay, uint16_t *ret_code, uint16_t code)
{
	relay->phase = VM_RELAY_CLOSED;
	relay->errors_total++;
	*ret_code = code;
	return -EPROTO;
}

static int on_geometry(struct vm_relay *relay, const struct wire_frame *frame, uint16_t *ret_code,
		       struct error *ret_error)
{
	struct wire_error error;
	/* static because it has 25 KB; only one thread uses it */
	static struct wire_geometry scratch;

	if (relay->phase != VM_RELAY_WANT_GEOMETRY) {
		(void)error_set(ret_error, -EPROTO, "GEOMETRY in the middle of generation %" PRIu32,
				relay->generation);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	if (wire_geometry_decode(frame, &scratch, &error) < 0) {
		(void)wire_error_text(&error, ret_error->text, sizeof(ret_error->text));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_FORMAT);
	}
	relay->phase = VM_RELAY_WANT_BEGIN;
	return 0;
}

/* Check only a MACHINE's size and its place in the stream. The standby checks its content. */
static int on_machine(struct vm_relay *relay, const struct wire_frame *frame, uint16_t *ret_code,
		      struct error *ret_error)
{
	struct wire_error error;
	bool is_last;

	if (relay->phase != VM_RELAY_WANT_BEGIN || relay->machine_is_over) {
		(void)error_set(ret_error, -EPROTO, "MACHINE in the middle of generation %" PRIu32,
				relay->generation);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	if (wire_machine_check(frame, &is_last, &error) < 0) {
		(void)wire_error_text(&error, ret_error->text, sizeof(ret_error->text));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_FORMAT);
	}
	if (++relay->n_machine > WIRE_MACHINE_FRAMES_MAX) {
		(void)error_set(ret_error, -EPROTO, "more than %d MACHINE frames",
				WIRE_MACHINE_FRAMES_MAX);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_LIMIT);
	}
	relay->machine_is_over = is_last;
	return 0;
}

/* HASHES_WANT belongs to no epoch, so it may come between any two frames. */
static int on_hashes_want(struct vm_relay *relay, const struct wire_frame *frame,
			  uint16_t *ret_code, struct error *ret_error)
{
	struct wire_hashes_want want;
	struct wire_error error;

	if (relay->phase == VM_RELAY_WANT_GEOMETRY) {
		(void)error_set(ret_error, -EPROTO, "HASHES_WANT before GEOMETRY");
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	if (wire_hashes_want_decode(frame, &want, &error) < 0) {
		(void)wire_error_text(&error, ret_error->text, sizeof(ret_error->text));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_FORMAT);
	}
	return 0;
}

static int on_begin(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		    uint16_t *ret_code, struct error *ret_error)
{
	const struct wire_header *h = &frame->h;
	bool full = h->flags & WIRE_FLAG_FULL;
	struct wire_epoch_begin begin;
	struct wire_error error;

	if (relay->phase != VM_RELAY_WANT_BEGIN ||
	    (relay->n_machine > 0 && !relay->machine_is_over)) {
		(void)error_set(ret_error, -EPROTO, "EPOCH_BEGIN %" PRIu64 " where %s was due",
				h->epoch,
				relay->phase == VM_RELAY_IN_EPOCH     ? "EPOCH_END"
				: relay->phase == VM_RELAY_WANT_BEGIN ? "MACHINE"
								      : "GEOMETRY");
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	if (wire_epoch_begin_decode(frame, &begin, &error) < 0) {
		(void)wire_error_text(&error, ret_error->text, sizeof(ret_error->text));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_FORMAT);
	}
	/* A FULL epoch needs no earlier epoch and can skip numbers. Any other epoch must follow the
	 * previous one. */
	if (h->epoch <= relay->epoch ||
	    (!full && (h->epoch != relay->epoch + 1 || begin.previous_epoch != relay->epoch))) {
		(void)error_set(ret_error, -EPROTO,
				"epoch %" PRIu64 " (on %" PRIu64
				"%s) does not follow epoch %" PRIu64,
				h->epoch, begin.previous_epoch, full ? ", full" : "", relay->epoch);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_EPOCH);
	}
	if (h->seq != 0) {
		(void)error_set(ret_error, -EPROTO, "EPOCH_BEGIN with frame number %" PRIu32,
				h->seq);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	relay->machine_is_over = true;
	relay->phase = VM_RELAY_IN_EPOCH;
	relay->epoch = h->epoch;
	if (h->flags & WIRE_FLAG_UNHELD)
		relay->unheld_epoch = h->epoch;
	relay->n_frames = 1;
	relay->payload_bytes = h->payload_size;
	relay->begin_ns = now_ns;
	relay->full_total += full;
	return 0;
}

static int on_data(struct vm_relay *relay, const struct wire_frame *frame, uint16_t *ret_code,
		   struct error *ret_error)
{
	const struct wire_header *h = &frame->h;

	if (relay->phase != VM_RELAY_IN_EPOCH || h->epoch != relay->epoch ||
	    h->seq != relay->n_frames) {
		(void)error_set(ret_error, -EPROTO,
				"%s of epoch %" PRIu64 " frame %" PRIu32 ", but epoch %" PRIu64
				" frame %" PRIu32 " was due",
				wire_type_name(h->type), h->epoch, h->seq, relay->epoch,
				relay->phase == VM_RELAY_IN_EPOCH ? relay->n_frames : 0);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	relay->n_frames++;
	relay->payload_bytes += h->payload_size;
	return 0;
}

static int on_end(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		  uint16_t *ret_code, struct error *ret_error)
{
	uint32_t n_frames = relay->n_frames;
	uint64_t payload_bytes = relay->payload_bytes;
	size_t slot = relay->epoch % VM_RELAY_IN_FLIGHT_MAX;
	struct wire_epoch_end end;
	struct wire_error error;
	int r = on_data(relay, frame, ret_code, ret_error);

	if (r < 0)
		return r;
	if (wire_epoch_end_decode(frame, &end, &error) < 0) {
		(void)wire_error_text(&error, ret_error->text, sizeof(ret_error->text));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_FORMAT);
	}
	if (end.n_frames != n_frames || end.payload_bytes != payload_bytes) {
		(void)error_set(ret_error, -EPROTO,
				"epoch %" PRIu64 " ends with %" PRIu32 " frames, %" PRIu64
				" bytes; %" PRIu32 " frames, %" PRIu64 " bytes arrived",
				relay->epoch, end.n_frames, end.payload_bytes, n_frames,
				payload_bytes);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	relay->phase = VM_RELAY_WANT_BEGIN;
	relay->sent_epoch = relay->epoch;
	relay->epochs_total++;
	relay->in_flight[slot].epoch = relay->epoch;
	relay->in_flight[slot].bytes = payload_bytes;
	relay->in_flight[slot].begin_ns = relay->begin_ns;
	relay->in_flight[slot].end_ns = now_ns;
	return 0;
}

int vm_relay_frame(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		   enum vm_relay_verdict *ret_verdict, uint16_t *ret_code, struct error *ret_error)
{
	const struct wire_header *h = &frame->h;
	int r;

	/* Drop frames that the primary sent before our RESUME arrived. */
	if (relay->phase == VM_RELAY_CLOSED || h->generation < relay->generation) {
		relay->dropped_total++;
		*ret_verdict = VM_RELAY_DROP;
		return 0;
	}
	if (h->term != relay->term) {
		(void)error_set(ret_error, -EPROTO,
				"frame of term %" PRIu64 " in a stream of term %" PRIu64, h->term,
				relay->term);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_TERM);
	}
	if (h->generation > relay->generation) {
		(void)error_set(ret_error, -EPROTO,
				"generation %" PRIu32 " was never given, %" PRIu32 " is",
				h->generation, relay->generation);
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	switch (h->type) {
	case WIRE_GEOMETRY:
		r = on_geometry(relay, frame, ret_code, ret_error);
		break;
	case WIRE_MACHINE:
		r = on_machine(relay, frame, ret_code, ret_error);
		break;
	case WIRE_HASHES_WANT:
		r = on_hashes_want(relay, frame, ret_code, ret_error);
		break;
	case WIRE_EPOCH_BEGIN:
		r = on_begin(relay, frame, now_ns, ret_code, ret_error);
		break;
	case WIRE_PAGES:
	case WIRE_DEVICE:
	case WIRE_CLOCK:
	case WIRE_DISK:
	case WIRE_RAM_HASH:
		r = on_data(relay, frame, ret_code, ret_error);
		break;
	case WIRE_EPOCH_END:
		r = on_end(relay, frame, now_ns, ret_code, ret_error);
		break;
	default:
		(void)error_set(ret_error, -EPROTO, "%s is no stream frame",
				wire_type_name(h->type));
		return broken(relay, ret_code, WIRE_STREAM_ERROR_ORDER);
	}
	if (r < 0)
		return r;
	relay->frames_total++;
	relay->bytes_total += WIRE_HEADER_SIZE + (uint64_t)h->payload_size;
	*ret_verdict = VM_RELAY_FORWARD;
	return 0;
}

uint64_t vm_relay_unacknowledged_ns(const struct vm_relay *relay, uint64_t acknowledged,
				    uint64_t now_ns)
{
	uint64_t oldest_ns = now_ns;

	/* A FULL epoch may skip numbers, so look at all elements. */
	for (size_t i = 0; i < VM_RELAY_IN_FLIGHT_MAX; i++) {
		if (relay->in_flight[i].epoch > acknowledged &&
		    relay->in_flight[i].epoch <= relay->sent_epoch &&
		    relay->in_flight[i].end_ns < oldest_ns)
			oldest_ns = relay->in_flight[i].end_ns;
	}
	return now_ns - oldest_ns;
}

int vm_relay_ack(struct vm_relay *relay, uint64_t epoch, uint64_t now_ns)
{
	size_t slot = epoch % VM_RELAY_IN_FLIGHT_MAX;

	if (epoch == 0 || epoch > relay->sent_epoch)
		return -EPROTO;
	relay->acks_total++;
	if (relay->in_flight[slot].epoch != epoch)
		/* This epoch was acknowledged before, or its slot was reused. So in_flight has no
		 * times for it: count the acknowledgement, but measure nothing. */
		return 0;
	relay->last_epoch_bytes = relay->in_flight[slot].bytes;
	relay->last_ack_ns = now_ns - relay->in_flight[slot].end_ns;
	hist_record(&relay->ack_ns, relay->last_ack_ns);
	hist_record(&relay->epoch_bytes, relay->last_epoch_bytes);
	relay->in_flight[slot].epoch = 0;
	return 0;
}
