#include "session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* Log lines that a host can cause at will: a burst, then one per interval. */
#define LOG_BURST    50
#define LOG_EVERY_NS UINT64_C(200000000)

#define JUDGE_EVERY_NS UINT64_C(500000000) /* certificates of open sessions
					    * are checked this often */

/* ---- life ---- */

/* The address of "ADDRESS:PORT". */
static void copy_source(char source[SESSION_PEER_TEXT_SIZE], const char *peer)
{
	size_t size = strcspn(peer, ":");

	if (size >= SESSION_PEER_TEXT_SIZE)
		size = SESSION_PEER_TEXT_SIZE - 1;
	memcpy(source, peer, size);
	source[size] = '\0';
}

int session_new(struct fleet *fleet, const char *peer, void *conn, uint64_t now_ns,
		struct session **ret_session)
{
	char source[SESSION_PEER_TEXT_SIZE];
	struct session *s;
	int r;

	fleet->now_ns = now_ns;
	copy_source(source, peer);
	if (admission_make_room(fleet, source) < 0) {
		counters_add(&fleet->counters.refused_busy, 1);
		log_limited(LOG_LEVEL_WARN, "peer=%s refused: %llu sessions, %llu handshakes", peer,
			    (unsigned long long)fleet->counters.sessions_now,
			    (unsigned long long)fleet->counters.handshakes_now);
		return -EBUSY;
	}
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	memset(s, 0, offsetof(struct session, plain));
	r = wire_tls_new(fleet->config.tls, WIRE_PEER_HOST, fleet->config.relay_bytes_max, &s->tls);
	if (r < 0) {
		free(s);
		return r;
	}
	s->fleet = fleet;
	s->conn = conn;
	s->opened_ns = s->seen_ns = now_ns;
	(void)snprintf(s->peer, sizeof(s->peer), "%s", peer);
	memcpy(s->source, source, sizeof(s->source));
	s->next = fleet->sessions;
	if (s->next)
		s->next->prev = s;
	fleet->sessions = s;
	counters_add(&fleet->counters.sessions_opened, 1);
	s->number = fleet->counters.sessions_opened;
	fleet->counters.sessions_now++;
	fleet->counters.handshakes_now++;
	*ret_session = s;
	return 0;
}

static void unlist(struct session *s)
{
	struct session **at = &s->fleet->dirty;

	if (s->prev)
		s->prev->next = s->next;
	else
		s->fleet->sessions = s->next;
	if (s->next)
		s->next->prev = s->prev;
	while (s->dirty && *at && *at != s)
		at = &(*at)->next_dirty;
	if (s->dirty && *at == s)
		*at = s->next_dirty;
}

static void leave_handshake(struct session *s)
{
	if (s->phase == SESSION_HANDSHAKE || s->phase == SESSION_HELLO)
		s->fleet->counters.handshakes_now--;
	admission_forget(s);
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	session_detach(s);
	leave_handshake(s);
	unlist(s);
	if (s->phase == SESSION_CLOSING)
		s->fleet->counters.closing_now--;
	counters_add(&s->fleet->counters.sessions_closed, 1);
	s->fleet->counters.sessions_now--;
	wire_tls_free(s->tls);
	free(s);
	return NULL;
}

void session_mark_dirty(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	s->next_dirty = s->fleet->dirty;
	s->fleet->dirty = s;
}

struct session *session_take_dirty(struct fleet *fleet)
{
	struct session *s = fleet->dirty;

	if (!s)
		return NULL;
	fleet->dirty = s->next_dirty;
	s->next_dirty = NULL;
	s->dirty = false;
	return s;
}

void session_detach(struct session *s)
{
	struct fleet *fleet = s->fleet;
	struct vm_input in = {.role = s->role};

	if (!s->attached)
		return;
	s->attached = false;
	if (s->kind == WIRE_KIND_STREAM) {
		size_t slot = s->role == WIRE_VM_ROLE_STANDBY ? 1 : 0;

		if (s->vm->stream[slot] != s)
			return;
		s->vm->stream[slot] = NULL;
		vm_relay_close(&s->vm->relay);
		session_unblock_primary(s->vm);
		in.kind = VM_IN_STREAM_DOWN;
		in.host = s->host_index;
		(void)fleet_step(fleet, s->vm, &in); /* the connection is gone, so
						     * there is nothing to undo */
		return;
	}
	if (s->host->control != s)
		return;
	s->host->control = NULL;
	in.kind = VM_IN_CONTROL_DOWN;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		int h = fleet_vm_host(fleet->vms[i], s->host);

		if (h < 0)
			continue;
		in.host = (uint8_t)h;
		(void)fleet_step(fleet, fleet->vms[i], &in);
	}
}

void session_end(struct session *s)
{
	if (s->phase == SESSION_CLOSING)
		return;
	leave_handshake(s);
	s->phase = SESSION_CLOSING;
	s->fleet->counters.closing_now++;
	s->closing_ns = s->fleet->now_ns;
	session_detach(s);
	wire_tls_close(s->tls);
	session_mark_dirty(s);
}

bool session_may_log(struct session *s)
{
	return s->host && rate_pass(&s->host->log_rate, LOG_EVERY_NS, LOG_BURST, s->fleet->now_ns);
}

/* Log a refusal and give an event. Anyone may connect, so at most once a second for each counter;
 * the counters count all. */
static void tell_refusal(struct session *s, const uint64_t *counter, const char *text)
{
	static struct log_limit limits[sizeof(struct fleet_counters) / sizeof(uint64_t)];
	const struct wire_peer *who = wire_tls_peer(s->tls);
	size_t which = (size_t)(counter - (const uint64_t *)&s->fleet->counters);
	uint64_t suppressed;

	if (!log_limit_pass(&limits[which], &suppressed))
		return;
	log_warn("peer=%s host=%s refused: %s (suppressed=%" PRIu64 ")", s->peer,
		 who ? who->name : "-", text, suppressed);
	fleet_event(s->fleet, s->vm ? s->vm->config.name : "", "refused", text);
}

void session_refuse(struct session *s, uint16_t code, uint64_t *counter, const char *format, ...)
{
	struct wire_failure failure = {.code = code};
	struct wire_header h = {.type = WIRE_REFUSED};
	char text[WIRE_TEXT_MAX + 1];
	va_list args;

	if (s->phase == SESSION_CLOSING)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	wire_text_format(failure.text, "%s", text);
	counters_add(counter, 1);
	tell_refusal(s, counter, failure.text);
	if (wire_tls_is_established(s->tls))
		SESSION_SEND(s, &h, wire_failure_encode, &failure);
	session_end(s);
}

void session_evict(struct session *s)
{
	counters_add(&s->fleet->counters.refused_evicted, 1);
	tell_refusal(s, &s->fleet->counters.refused_evicted,
		     "no HELLO yet, and a newer connection needs its place");
	session_end(s);
	s->ended = true;
}

/* ---- output ---- */

void session_send(struct session *s, const struct wire_header *header, session_encode_fn encode,
		  const void *msg)
{
	struct fleet *fleet = s->fleet;
	struct bytes_writer w;
	size_t size;

	if (s->phase == SESSION_CLOSING)
		return;
	if (wire_frame_begin(fleet->scratch, sizeof(fleet->scratch), &w) < 0 ||
	    (encode && encode(msg, &w) < 0) ||
	    wire_frame_finish(fleet->scratch, &w, header, &size) < 0) {
		log_error("peer=%s cannot encode %s", s->peer, wire_type_name(header->type));
		return;
	}
	if (wire_tls_write_room(s->tls) < size ||
	    wire_tls_write(s->tls, fleet->scratch, size) != (int)size) {
		/* Ended later, by the pump: a state machine may be in the middle of a step. */
		s->given_up = true;
		session_mark_dirty(s);
		return;
	}
	counters_add(&fleet->counters.frames_out, 1);
	session_mark_dirty(s);
}

const uint8_t *session_output(struct session *s, size_t *ret_size)
{
	return wire_tls_output(s->tls, ret_size);
}

void session_output_consume(struct session *s, size_t size)
{
	wire_tls_output_consume(s->tls, size);
	counters_add(&s->fleet->counters.bytes_out, size);
	if (s->attached && s->role == WIRE_VM_ROLE_STANDBY &&
	    wire_tls_write_room(s->tls) >= WIRE_FRAME_MAX)
		session_unblock_primary(s->vm);
}

bool session_is_done(const struct session *s)
{
	return s->phase == SESSION_CLOSING;
}

void session_unblock_primary(struct fleet_vm *vm)
{
	struct session *primary = vm->stream[0];

	if (!primary || !primary->blocked)
		return;
	primary->blocked = false;
	session_mark_dirty(primary);
}

/* ---- input ---- */

static void tls_failed(struct session *s)
{
	uint64_t *counter = fleet_tls_counter(s->fleet, wire_tls_failure(s->tls));
	char text[WIRE_TLS_ERROR_SIZE + 64];

	counters_add(counter, 1);
	(void)snprintf(text, sizeof(text), "TLS: %s", wire_tls_error(s->tls));
	tell_refusal(s, counter, text);
	session_end(s);
}

int session_bad_frame(struct session *s, const struct wire_error *error)
{
	char text[WIRE_ERROR_TEXT_SIZE];

	session_refuse(s, WIRE_REFUSED_PROTOCOL, &s->fleet->counters.refused_bad_frame, "%s",
		       wire_error_text(error, text, sizeof(text)));
	return -EPROTO;
}

/* Handle the whole frames in the plaintext buffer. */
static void run_frames(struct session *s)
{
	while (!s->blocked && s->phase != SESSION_CLOSING) {
		const uint8_t *at = s->plain + s->plain_at;
		struct wire_frame frame;
		struct wire_error error;
		int r = wire_frame_decode(&at, s->plain + s->plain_end, &frame, &error);

		if (r == -EAGAIN)
			break;
		if (r == -EBADMSG) {
			session_refuse(s, WIRE_REFUSED_PROTOCOL,
				       &s->fleet->counters.refused_bad_checksum, "%s: wrong checksum",
				       wire_type_name(error.type));
			break;
		}
		if (r < 0) {
			(void)session_bad_frame(s, &error);
			break;
		}
		r = session_dispatch(s, &frame);
		if (r == -EAGAIN)
			break;
		counters_add(&s->fleet->counters.frames_in, 1);
		s->plain_at = (size_t)(at - s->plain);
	}
	if (s->plain_at == s->plain_end)
		s->plain_at = s->plain_end = 0;
}

/* Room for at least one TLS record behind the buffered bytes. */
static void make_room(struct session *s)
{
	if (sizeof(s->plain) - s->plain_end >= SESSION_READ_MIN || s->plain_at == 0)
		return;
	memmove(s->plain, s->plain + s->plain_at, s->plain_end - s->plain_at);
	s->plain_end -= s->plain_at;
	s->plain_at = 0;
}

/* Any authentic byte of a host shows that it lives. */
static void note_seen(struct session *s)
{
	s->seen_ns = s->fleet->now_ns;
	if (!s->attached || !s->vm)
		return;
	liveness_seen(&s->vm->fsm.host[s->host_index].live, s->fleet->now_ns);
	if (s->vm->pending.waiting)
		liveness_seen(&s->vm->pending.before.host[s->host_index].live, s->fleet->now_ns);
}

/* Decrypt and handle until input runs out. */
static void drive_open(struct session *s)
{
	run_frames(s); /* a frame may have waited for room */
	while (!s->blocked && s->phase != SESSION_CLOSING) {
		int r;

		make_room(s);
		r = wire_tls_read(s->tls, s->plain + s->plain_end, sizeof(s->plain) - s->plain_end);
		if (s->phase == SESSION_HANDSHAKE && wire_tls_is_established(s->tls))
			s->phase = SESSION_HELLO;
		if (r == -EAGAIN)
			break;
		if (r == -EPIPE) {
			session_end(s);
			break;
		}
		if (r < 0) {
			tls_failed(s);
			break;
		}
		s->plain_end += (size_t)r;
		note_seen(s);
		run_frames(s);
	}
}

static void drive(struct session *s)
{
	uint64_t began_ns;

	if (s->phase != SESSION_HANDSHAKE) {
		drive_open(s);
		return;
	}
	began_ns = s->fleet->config.clock_ns();
	drive_open(s);
	admission_charge(s, s->fleet->config.clock_ns() - began_ns);
}

static void end_given_up(struct session *s)
{
	if (!s->given_up || s->phase == SESSION_CLOSING)
		return;
	counters_add(&s->fleet->counters.refused_slow, 1);
	log_limited(LOG_LEVEL_WARN, "peer=%s does not read what it is sent, closing", s->peer);
	session_end(s);
}

size_t session_input(struct session *s, const uint8_t *data, size_t size, uint64_t now_ns)
{
	size_t taken = 0;

	s->fleet->now_ns = now_ns;
	end_given_up(s);
	if (s->phase == SESSION_HANDSHAKE && size > 0 && !admission_may_run(s))
		return 0;
	drive(s); /* first take what waited in the ring while
		   * the session was blocked, to make room */
	while (taken < size) {
		size_t n;

		if (s->phase == SESSION_CLOSING)
			break;
		n = wire_tls_input(s->tls, data + taken, size - taken);
		taken += n;
		counters_add(&s->fleet->counters.bytes_in, n);
		drive(s);
		if (s->blocked || n == 0)
			break;
	}
	return s->phase == SESSION_CLOSING ? size : taken; /* CLOSING: input is discarded */
}

/* A certificate can expire or be revoked while its
 * connection is open. The pump ends the session. */
static void look_at_certificate(struct session *s, uint64_t now_ns)
{
	char text[WIRE_TLS_ERROR_SIZE + 96];

	if (s->phase != SESSION_OPEN || now_ns - s->judged_ns < JUDGE_EVERY_NS)
		return;
	s->judged_ns = now_ns;
	if (wire_tls_recheck(s->tls) == 0)
		return;
	(void)snprintf(text, sizeof(text), "%s of %s is closed: %s",
		       s->kind == WIRE_KIND_CONTROL ? "the control connection" : "a stream", s->host->name,
		       wire_tls_error(s->tls));
	fleet_event(s->fleet, s->vm ? s->vm->config.name : "", "certificate", text);
	tls_failed(s);
}

void session_tick(struct session *s, uint64_t now_ns)
{
	const struct fleet_config *config = &s->fleet->config;

	look_at_certificate(s, now_ns);
	if ((s->phase == SESSION_HANDSHAKE || s->phase == SESSION_HELLO) &&
	    now_ns - s->opened_ns >= config->handshake_timeout_ns) {
		session_refuse(s, WIRE_REFUSED_PROTOCOL, &s->fleet->counters.refused_timeout,
			       "%s: no HELLO within %llu ms", s->peer,
			       (unsigned long long)(config->handshake_timeout_ns / 1000000));
	} else if (s->phase == SESSION_OPEN && s->kind == WIRE_KIND_CONTROL &&
		   now_ns - s->seen_ns >= config->idle_timeout_ns) {
		session_refuse(s, WIRE_REFUSED_PROTOCOL, &s->fleet->counters.refused_timeout,
			       "control connection of %s silent for %llu ms", s->host->name,
			       (unsigned long long)((now_ns - s->seen_ns) / 1000000));
	} else if (s->phase == SESSION_CLOSING && !s->ended &&
		   now_ns - s->closing_ns >= SESSION_CLOSING_NS) {
		s->ended = true; /* the peer does not take the last output */
		session_mark_dirty(s);
	}
}
