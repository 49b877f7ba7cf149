#include "base/clock.h"
#include "session/session_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

/* Limits the log lines that a host can cause at will: at most LOG_BURST lines at once, then one
 * line per interval. */
#define LOG_BURST    50
#define LOG_EVERY_NS (200 * CLOCK_NS_PER_MS)

static struct fleet_counters *counters_of(const struct session *s)
{
	return &s->sessions->fleet->counters;
}

/* ---- ends ---- */

bool session_is_attached(const struct session *s)
{
	if (s->kind == WIRE_KIND_STREAM)
		return s->vm && s->vm->stream[session_slot(s)] == &s->link;
	return s->host && s->host->control == &s->link;
}

void session_detach(struct session *s, uint64_t now_ns)
{
	struct fleet *fleet = s->sessions->fleet;

	if (!session_is_attached(s))
		return;
	if (s->kind == WIRE_KIND_CONTROL) {
		fleet_control_down(fleet, s->host, &s->link, now_ns);
		return;
	}
	fleet_stream_down(fleet, s->vm, &s->link, s->host_index, s->role, now_ns);
	session_unblock_primary(s->vm);
}

void session_leave_handshake(struct session *s)
{
	if (s->phase == SESSION_HANDSHAKE || s->phase == SESSION_HELLO)
		counters_of(s)->handshakes_now--;
	admission_forget(s);
}

void session_end(struct session *s, uint64_t now_ns)
{
	if (s->phase == SESSION_CLOSING)
		return;
	if (s->must_end == SESSION_ENDS_SLOW) {
		counters_add(&counters_of(s)->refused[FLEET_REFUSED_SLOW], 1);
		log_limited(LOG_LEVEL_WARN, "peer=%s does not read what it is sent, closing",
			    s->link.peer);
	}
	session_leave_handshake(s);
	s->phase = SESSION_CLOSING;
	counters_of(s)->closing_now++;
	s->closing_ns = now_ns;
	session_detach(s, now_ns);
	wire_tls_close(s->tls);
	session_mark_dirty(s);
}

void session_mark_ended(struct session *s, enum session_end why)
{
	if (session_is_over(s))
		return;
	s->must_end = why;
	session_mark_dirty(s);
}

bool session_may_log(struct session *s, uint64_t now_ns)
{
	return s->host && rate_pass(&s->host->log_rate, LOG_EVERY_NS, LOG_BURST, now_ns);
}

/* Count a refusal, log it and give an event. Anyone can connect, so the log line and the event come
 * at most once a second for each reason. */
static void tell_refusal(struct session *s, uint64_t now_ns, enum fleet_refusal reason,
			 const char *text)
{
	static struct log_limit limits[FLEET_N_REFUSALS];
	const struct wire_peer *who = wire_tls_peer(s->tls);
	uint64_t suppressed;

	counters_add(&counters_of(s)->refused[reason], 1);
	if (!log_limit_pass(&limits[reason], &suppressed))
		return;
	log_warn("peer=%s host=%s refused: %s (suppressed=%" PRIu64 ")", s->link.peer,
		 who ? who->name : "-", text, suppressed);
	fleet_event(s->sessions->fleet, now_ns, s->vm ? s->vm->config.name : "", "refused", text);
}

void session_refuse(struct session *s, uint64_t now_ns, uint16_t code, enum fleet_refusal reason,
		    const char *format, ...)
{
	struct wire_failure failure = {.code = code};
	struct wire_header h = {.type = WIRE_REFUSED};
	char text[WIRE_TEXT_MAX + 1];
	va_list args;

	if (session_is_over(s))
		return;
	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args);
	va_end(args);
	wire_text_format(failure.text, "%s", text);
	tell_refusal(s, now_ns, reason, failure.text);
	if (wire_tls_is_established(s->tls))
		session_send(s, &h, wire_failure_encode(&failure, session_begin(s)));
	session_end(s, now_ns);
}

void session_evict(struct session *s, uint64_t now_ns)
{
	tell_refusal(s, now_ns, FLEET_REFUSED_EVICTED,
		     "no HELLO yet, and a newer connection needs its place");
	session_end(s, now_ns);
	s->ended = true;
}

void session_tls_failed(struct session *s, uint64_t now_ns)
{
	char text[WIRE_TLS_ERROR_SIZE + 64];

	(void)snprintf(text, sizeof(text), "TLS: %s", wire_tls_error(s->tls));
	tell_refusal(s, now_ns, fleet_tls_refusal(wire_tls_failure(s->tls)), text);
	session_end(s, now_ns);
}

/* ---- output ---- */

struct bytes_writer *session_begin(struct session *s)
{
	struct sessions *all = s->sessions;

	if (wire_frame_begin(all->scratch, sizeof(all->scratch), &all->writer) < 0)
		/* session_send() will report the failure */
		all->writer = (struct bytes_writer){.bad = true};
	return &all->writer;
}

void session_send(struct session *s, const struct wire_header *header, int encoded)
{
	struct sessions *all = s->sessions;
	size_t size;

	if (session_is_over(s))
		return;
	if (encoded < 0 || wire_frame_finish(all->scratch, &all->writer, header, &size) < 0) {
		log_error("peer=%s cannot encode %s", s->link.peer, wire_type_name(header->type));
		return;
	}
	if (wire_tls_write_room(s->tls) < size ||
	    wire_tls_write(s->tls, all->scratch, size) != (int)size) {
		session_mark_ended(s, SESSION_ENDS_SLOW);
		return;
	}
	counters_add(&counters_of(s)->frames_out, 1);
	session_mark_dirty(s);
}

const uint8_t *session_output(struct session *s, size_t *ret_size)
{
	return wire_tls_output(s->tls, ret_size);
}

void session_output_consume(struct session *s, size_t size)
{
	wire_tls_output_consume(s->tls, size);
	counters_add(&counters_of(s)->bytes_out, size);
	if (s->role == WIRE_VM_ROLE_STANDBY && session_is_attached(s) &&
	    wire_tls_write_room(s->tls) >= WIRE_FRAME_MAX)
		session_unblock_primary(s->vm);
}

bool session_is_done(const struct session *s)
{
	return s->phase == SESSION_CLOSING;
}

void session_unblock_primary(struct fleet_vm *vm)
{
	struct session *primary = session_of(vm->stream[VM_STREAM_PRIMARY]);

	if (!primary || !primary->link.is_blocked)
		return;
	primary->link.is_blocked = false;
	session_mark_dirty(primary);
}

/* ---- input ---- */

int session_bad_frame(struct session *s, uint64_t now_ns, const struct wire_error *error)
{
	char text[WIRE_ERROR_TEXT_SIZE];

	session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_BAD_FRAME, "%s",
		       wire_error_text(error, text, sizeof(text)));
	return -EPROTO;
}

/* Handle the whole frames in the plaintext buffer. */
static void run_frames(struct session *s, uint64_t now_ns)
{
	while (!s->link.is_blocked && !session_is_over(s)) {
		const uint8_t *at = s->plain + s->plain_at;
		struct wire_frame frame;
		struct wire_error error;
		int r = wire_frame_decode(&at, s->plain + s->plain_end, &frame, &error);

		if (r == -EAGAIN)
			break;
		if (r == -EBADMSG) {
			session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL,
				       FLEET_REFUSED_BAD_CHECKSUM, "%s: wrong checksum",
				       wire_type_name(error.type));
			break;
		}
		if (r < 0) {
			(void)session_bad_frame(s, now_ns, &error);
			break;
		}
		r = session_dispatch(s, &frame, now_ns);
		if (r == -EAGAIN)
			break;
		counters_add(&counters_of(s)->frames_in, 1);
		s->plain_at = (size_t)(at - s->plain);
	}
	if (s->plain_at == s->plain_end)
		s->plain_at = s->plain_end = 0;
}

/* If the room behind the buffered bytes is too small for a TLS record, move these bytes to the
 * front of the buffer. */
static void make_room(struct session *s)
{
	if (sizeof(s->plain) - s->plain_end >= SESSION_READ_MIN || s->plain_at == 0)
		return;
	memmove(s->plain, s->plain + s->plain_at, s->plain_end - s->plain_at);
	s->plain_end -= s->plain_at;
	s->plain_at = 0;
}

static void note_seen(struct session *s, uint64_t now_ns)
{
	s->link.seen_ns = now_ns;
	if (s->kind == WIRE_KIND_STREAM && session_is_attached(s))
		fleet_seen(s->vm, s->host_index, now_ns);
}

/* Decrypt input and handle its frames until there is no more input. */
static void drive_open(struct session *s, uint64_t now_ns)
{
	run_frames(s, now_ns); /* a frame may have waited for room in the standby's ring */
	while (!s->link.is_blocked && !session_is_over(s)) {
		int r;

		make_room(s);
		r = wire_tls_read(s->tls, s->plain + s->plain_end, sizeof(s->plain) - s->plain_end);
		if (s->phase == SESSION_HANDSHAKE && wire_tls_is_established(s->tls))
			s->phase = SESSION_HELLO;
		if (r == -EAGAIN)
			break;
		if (r == -EPIPE) {
			session_end(s, now_ns);
			break;
		}
		if (r < 0) {
			session_tls_failed(s, now_ns);
			break;
		}
		s->plain_end += (size_t)r;
		note_seen(s, now_ns);
		run_frames(s, now_ns);
	}
}

static void drive(struct session *s, uint64_t now_ns)
{
	uint64_t (*clock_ns)(void) = s->sessions->config.clock_ns;
	uint64_t began_ns;

	if (s->phase != SESSION_HANDSHAKE) {
		drive_open(s, now_ns);
		return;
	}
	began_ns = clock_ns();
	drive_open(s, now_ns);
	admission_charge(s, clock_ns() - began_ns);
}

size_t session_buffer(struct session *s, const uint8_t *data, size_t size)
{
	size_t n;

	if (s->phase == SESSION_HANDSHAKE || s->link.is_blocked ||
	    s->must_end != SESSION_GOES_ON || session_is_over(s))
		return 0;
	n = wire_tls_input(s->tls, data, size);
	counters_add(&counters_of(s)->bytes_in, n);
	return n;
}

size_t session_input(struct session *s, const uint8_t *data, size_t size, uint64_t now_ns)
{
	size_t taken = 0;

	if (s->must_end != SESSION_GOES_ON)
		session_end(s, now_ns);
	if (s->phase == SESSION_HANDSHAKE && size > 0 && !admission_may_run(s, now_ns))
		return 0;
	/* First make room in the TLS buffer: handle the input that was stored there by
	 * session_buffer(), or before the session was blocked. */
	drive(s, now_ns);
	while (taken < size) {
		size_t n;

		if (session_is_over(s))
			break;
		n = wire_tls_input(s->tls, data + taken, size - taken);
		taken += n;
		counters_add(&counters_of(s)->bytes_in, n);
		drive(s, now_ns);
		if (s->link.is_blocked || n == 0)
			break;
	}
	/* in CLOSING, all input is discarded, so it counts as accepted */
	return s->phase == SESSION_CLOSING ? size : taken;
}
