/* Encodes and decodes the frames of the control connection: BEAT, REPORT, ORDER, ORDER_DONE,
 * WITNESS_KEY, LEASE. Also has the names of states, verdicts, verbs and roles. */
#include "wire/msg_control.h"

#include "wire/msg_cursor.h"
#include "wire/msg_open.h"

static const char *const state_names[WIRE_STATE_COUNT] = {
	[WIRE_STATE_IDLE]	      = "idle",
	[WIRE_STATE_ATTACHING]	      = "attaching",
	[WIRE_STATE_SYNCING]	      = "syncing",
	[WIRE_STATE_PROTECTED]	      = "protected",
	[WIRE_STATE_LOST]	      = "lost",
	[WIRE_STATE_FENCED]	      = "fenced",
	[WIRE_STATE_RUNNING]	      = "running",
	[WIRE_STATE_STANDBY_STARTING] = "standby-starting",
	[WIRE_STATE_STANDBY_WARM]     = "standby-warm",
	[WIRE_STATE_STANDBY_READY]    = "standby-ready",
	[WIRE_STATE_PROMOTING]	      = "promoting",
	[WIRE_STATE_FAILED]	      = "failed",
};

static const char *const verdict_names[WIRE_VERDICT_COUNT] = {
	[WIRE_VERDICT_NONE]	= "none",
	[WIRE_VERDICT_EXITED]	= "exited",
	[WIRE_VERDICT_PAUSED]	= "paused",
	[WIRE_VERDICT_SHUTDOWN] = "shutdown",
};

static const char *const verb_names[WIRE_VERB_COUNT] = {
	[0]			  = "unknown",
	[WIRE_VERB_STANDBY_START] = "standby-start",
	[WIRE_VERB_STANDBY_STOP]  = "standby-stop",
	[WIRE_VERB_PROTECT]	  = "protect",
	[WIRE_VERB_UNPROTECT]	  = "unprotect",
	[WIRE_VERB_PROMOTE]	  = "promote",
	[WIRE_VERB_FENCE]	  = "fence",
	[WIRE_VERB_VERIFY]	  = "verify",
	[WIRE_VERB_MOVE]	  = "move",
	[WIRE_VERB_START]	  = "start",
	[WIRE_VERB_DRILL]	  = "drill",
};

static const char *const role_names[WIRE_VM_ROLE_COUNT] = {
	[WIRE_VM_ROLE_NONE]    = "none",
	[WIRE_VM_ROLE_PRIMARY] = "primary",
	[WIRE_VM_ROLE_STANDBY] = "standby",
};

static const char *pick(const char *const *names, size_t n, uint8_t i)
{
	return i < n && names[i] ? names[i] : "unknown";
}

const char *wire_state_name(uint8_t state)
{
	return pick(state_names, WIRE_STATE_COUNT, state);
}

const char *wire_verdict_name(uint8_t verdict)
{
	return pick(verdict_names, WIRE_VERDICT_COUNT, verdict);
}

const char *wire_verb_name(uint8_t verb)
{
	return pick(verb_names, WIRE_VERB_COUNT, verb);
}

const char *wire_vm_role_name(uint8_t role)
{
	return pick(role_names, WIRE_VM_ROLE_COUNT, role);
}

int wire_beat_encode(const struct wire_beat *beat, struct bytes_writer *w)
{
	bytes_write_be64(w, beat->mono_ns);
	return write_result(w);
}

int wire_beat_decode(const struct wire_frame *frame, struct wire_beat *ret_beat,
		     struct wire_error *error)
{
	const uint8_t type    = frame->h.type == WIRE_BEAT_ACK ? WIRE_BEAT_ACK : WIRE_BEAT;
	struct cursor c	      = cursor_begin(frame, type, error);
	struct wire_beat beat = {.mono_ns = cursor_u64(&c, "mono_ns")};

	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_beat = beat;
	return 0;
}

int wire_report_encode(const struct wire_report *report, struct bytes_writer *w)
{
	if (report->role >= WIRE_VM_ROLE_COUNT || report->state >= WIRE_STATE_COUNT ||
	    report->verdict >= WIRE_VERDICT_COUNT)
		return write_invalid(w);
	if (write_string(w, 1, wire_name_bytes_are_valid, report->vm, WIRE_NAME_MAX) < 0)
		return -EINVAL;
	bytes_write_u8(w, report->role);
	bytes_write_u8(w, report->state);
	bytes_write_u8(w, report->verdict);
	if (write_string(w, 2, wire_text_bytes_are_valid, report->text, WIRE_TEXT_MAX) < 0 ||
	    write_string(w, 2, wire_stats_bytes_are_valid, report->stats, WIRE_STATS_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_report_decode(const struct wire_frame *frame, struct wire_report *ret_report,
		       struct wire_error *error)
{
	struct cursor c		  = cursor_begin(frame, WIRE_REPORT, error);
	struct wire_report report = {0};

	cursor_string(&c, "vm", 1, wire_name_bytes_are_valid, report.vm, sizeof(report.vm));
	report.role    = cursor_u8(&c, "role", 0, WIRE_VM_ROLE_COUNT - 1);
	report.state   = cursor_u8(&c, "state", 0, WIRE_STATE_COUNT - 1);
	report.verdict = cursor_u8(&c, "verdict", 0, WIRE_VERDICT_COUNT - 1);
	cursor_string(&c, "text", 2, wire_text_bytes_are_valid, report.text, sizeof(report.text));
	cursor_string(&c, "stats", 2, wire_stats_bytes_are_valid, report.stats,
		      sizeof(report.stats));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_report = report;
	return 0;
}

int wire_order_encode(const struct wire_order *order, struct bytes_writer *w)
{
	if (order->verb < WIRE_VERB_STANDBY_START || order->verb > WIRE_VERB_COUNT - 1 ||
	    order->incarnation > WIRE_INCARNATION_MAX)
		return write_invalid(w);
	bytes_write_be64(w, order->order_id);
	bytes_write_u8(w, order->verb);
	if (write_string(w, 1, wire_name_bytes_are_valid, order->vm, WIRE_NAME_MAX) < 0 ||
	    write_string(w, 2, wire_text_bytes_are_valid, order->argument, WIRE_TEXT_MAX) < 0)
		return -EINVAL;
	write_incarnation(w, order->incarnation);
	return write_result(w);
}

int wire_order_decode(const struct wire_frame *frame, struct wire_order *ret_order,
		      struct wire_error *error)
{
	struct cursor c		= cursor_begin(frame, WIRE_ORDER, error);
	struct wire_order order = {0};

	order.order_id = cursor_u64(&c, "order_id");
	order.verb     = cursor_u8(&c, "verb", WIRE_VERB_STANDBY_START, WIRE_VERB_COUNT - 1);
	cursor_string(&c, "vm", 1, wire_name_bytes_are_valid, order.vm, sizeof(order.vm));
	cursor_string(&c, "argument", 2, wire_text_bytes_are_valid, order.argument,
		      sizeof(order.argument));
	order.incarnation = cursor_incarnation(&c);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_order = order;
	return 0;
}

int wire_order_done_encode(const struct wire_order_done *done, struct bytes_writer *w)
{
	if (done->status > WIRE_ORDER_REFUSED)
		return write_invalid(w);
	bytes_write_be64(w, done->order_id);
	bytes_write_u8(w, done->status);
	if (write_string(w, 1, wire_name_bytes_are_valid, done->vm, WIRE_NAME_MAX) < 0 ||
	    write_string(w, 2, wire_text_bytes_are_valid, done->text, WIRE_TEXT_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_order_done_decode(const struct wire_frame *frame, struct wire_order_done *ret_done,
			   struct wire_error *error)
{
	struct cursor c		    = cursor_begin(frame, WIRE_ORDER_DONE, error);
	struct wire_order_done done = {0};

	done.order_id = cursor_u64(&c, "order_id");
	done.status   = cursor_u8(&c, "status", 0, WIRE_ORDER_REFUSED);
	cursor_string(&c, "vm", 1, wire_name_bytes_are_valid, done.vm, sizeof(done.vm));
	cursor_string(&c, "text", 2, wire_text_bytes_are_valid, done.text, sizeof(done.text));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_done = done;
	return 0;
}

bool wire_is_host_address(uint32_t address)
{
	uint32_t net = address >> 24;

	return net != 0 && net != 127 && net < 224;
}

int wire_witness_key_encode(const struct wire_witness_key *key, struct bytes_writer *w)
{
	if (key->key_id == 0 || key->port == 0 ||
	    (key->client_address != 0 && !wire_is_host_address(key->client_address)))
		return write_invalid(w);
	if (write_string(w, 1, wire_name_bytes_are_valid, key->vm, WIRE_NAME_MAX) < 0)
		return -EINVAL;
	bytes_write_be32(w, key->key_id);
	bytes_write_be16(w, key->port);
	bytes_write(w, key->key, sizeof(key->key));
	if (key->client_address != 0)
		bytes_write_be32(w, key->client_address);
	return write_result(w);
}

int wire_witness_key_decode(const struct wire_frame *frame, struct wire_witness_key *ret_key,
			    struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_WITNESS_KEY, error);
	struct wire_witness_key key = {0};
	const uint8_t *bytes;

	cursor_string(&c, "vm", 1, wire_name_bytes_are_valid, key.vm, sizeof(key.vm));
	key.key_id = cursor_u32(&c, "key_id", 1, UINT32_MAX);
	key.port = cursor_u16(&c, "port", 1, UINT16_MAX);
	bytes = cursor_take(&c, "key", sizeof(key.key));
	if (!c.failed && bytes_left(&c.r) > 0) {
		const size_t at = cursor_offset(&c);

		key.client_address = cursor_u32(&c, "client address", 1, UINT32_MAX);
		if (!c.failed && !wire_is_host_address(key.client_address))
			cursor_fail(&c, "client address", at, "not a host's");
	}
	if (cursor_end(&c) < 0)
		return -EPROTO;
	memcpy(key.key, bytes, sizeof(key.key));
	*ret_key = key;
	explicit_bzero(&key, sizeof(key));
	return 0;
}

int wire_lease_encode(const struct wire_lease *lease, struct bytes_writer *w)
{
	if (lease->lease_ms == 0 || lease->lease_ms > WIRE_LEASE_MS_MAX ||
	    lease->release_ms == 0 || lease->release_ms > lease->lease_ms ||
	    lease->incarnation > WIRE_INCARNATION_MAX)
		return write_invalid(w);
	if (write_string(w, 1, wire_name_bytes_are_valid, lease->vm, WIRE_NAME_MAX) < 0)
		return -EINVAL;
	bytes_write_be64(w, lease->beat_ns);
	bytes_write_be32(w, lease->lease_ms);
	bytes_write_be32(w, lease->release_ms);
	write_incarnation(w, lease->incarnation);
	return write_result(w);
}

int wire_lease_decode(const struct wire_frame *frame, struct wire_lease *ret_lease,
		      struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_LEASE, error);
	struct wire_lease lease = {0};

	cursor_string(&c, "vm", 1, wire_name_bytes_are_valid, lease.vm, sizeof(lease.vm));
	lease.beat_ns = cursor_u64(&c, "beat_ns");
	lease.lease_ms = cursor_u32(&c, "lease_ms", 1, WIRE_LEASE_MS_MAX);
	lease.release_ms = cursor_u32(&c, "release_ms", 1, lease.lease_ms);
	lease.incarnation = cursor_incarnation(&c);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_lease = lease;
	return 0;
}
