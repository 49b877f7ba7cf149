/* sessions.c - makes, ticks and frees the sessions, and keeps the list of them. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/session_private.h"

#define TICK_NS        (250 * CLOCK_NS_PER_MS) /* how often all sessions are checked for timeouts */
/* how often each session's certificate is checked again */
#define JUDGE_EVERY_NS (500 * CLOCK_NS_PER_MS)
/* Allocations of this size or more get a memory mapping of their own. */
#define MMAP_BYTES     (128 << 10)

int sessions_new(const struct session_config *config, struct fleet *fleet, uint64_t now_ns,
		 struct sessions **ret_sessions)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));

	if (!sessions)
		return -ENOMEM;
	/* The buffers of a session are large. By default, when one is freed, glibc raises the size
	 * from which it uses mappings. Later buffers then come from the heap, and leave holes there
	 * when sessions end. glibc never raises a limit that the program has set. Ignore the
	 * result, which is 0 with another libc. */
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	sessions->config = *config;
	if (!sessions->config.clock_ns)
		sessions->config.clock_ns = clock_mono_ns;
	sessions->fleet = fleet;
	sessions->ticked_ns = now_ns;
	fleet->links = &session_link_ops;
	admission_init(&sessions->admission, now_ns);
	admission_settle(sessions);
	*ret_sessions = sessions;
	return 0;
}

struct sessions *sessions_free(struct sessions *sessions)
{
	free(sessions);
	return NULL;
}

/* ---- one session's life ---- */

/* Copy the address out of "ADDRESS:PORT". */
static void copy_source(char source[FLEET_LINK_PEER_SIZE], const char *peer)
{
	size_t size = strcspn(peer, ":");

	if (size >= FLEET_LINK_PEER_SIZE)
		size = FLEET_LINK_PEER_SIZE - 1;
	memcpy(source, peer, size);
	source[size] = '\0';
}

static void enlist(struct sessions *sessions, struct session *s)
{
	struct fleet_counters *c = &sessions->fleet->counters;

	s->next = sessions->all;
	if (s->next)
		s->next->prev = s;
	sessions->all = s;
	counters_add(&c->sessions_opened, 1);
	s->link.number = c->sessions_opened;
	c->sessions_now++;
	c->handshakes_now++;
}

int session_new(struct sessions *sessions, const char *peer, void *conn, uint64_t now_ns,
		struct session **ret_session)
{
	struct fleet_counters *c = &sessions->fleet->counters;
	char source[FLEET_LINK_PEER_SIZE];
	struct session *s;
	int r;

	copy_source(source, peer);
	if (admission_make_room(sessions, source, now_ns) < 0) {
		counters_add(&c->refused[FLEET_REFUSED_BUSY], 1);
		log_limited(LOG_LEVEL_WARN,
			    "peer=%s refused: %" PRIu64 " sessions, %" PRIu64 " handshakes", peer,
			    c->sessions_now, c->handshakes_now);
		return -EBUSY;
	}
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	/* `plain`, the last member, is large and need not be zero */
	memset(s, 0, offsetof(struct session, plain));
	r = wire_tls_new(sessions->config.tls, WIRE_PEER_HOST, sessions->config.relay_bytes_max,
			 &s->tls);
	if (r < 0) {
		free(s);
		return r;
	}
	s->sessions = sessions;
	s->conn = conn;
	s->opened_ns = s->link.seen_ns = now_ns;
	(void)snprintf(s->link.peer, sizeof(s->link.peer), "%s", peer);
	memcpy(s->source, source, sizeof(s->source));
	enlist(sessions, s);
	*ret_session = s;
	return 0;
}

/* Take @s off the dirty list, wherever in the list it is. */
static void unmark(struct session *s)
{
	struct session **at = &s->sessions->dirty, *before = NULL;

	while (*at != s) {
		before = *at;
		at = &before->next_dirty;
	}
	*at = s->next_dirty;
	if (!s->next_dirty)
		s->sessions->last_dirty = before;
	s->next_dirty = NULL;
	s->dirty = false;
}

static void unlist(struct session *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		s->sessions->all = s->next;
	if (s->next)
		s->next->prev = s->prev;
	if (s->dirty)
		unmark(s);
}

struct session *session_free(struct session *s, uint64_t now_ns)
{
	struct fleet_counters *c;

	if (!s)
		return NULL;
	c = &s->sessions->fleet->counters;
	session_detach(s, now_ns);
	session_leave_handshake(s);
	unlist(s);
	if (s->phase == SESSION_CLOSING)
		c->closing_now--;
	counters_add(&c->sessions_closed, 1);
	c->sessions_now--;
	wire_tls_free(s->tls);
	free(s);
	return NULL;
}

/* ---- the dirty list ---- */

void session_mark_dirty(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	if (s->sessions->last_dirty)
		s->sessions->last_dirty->next_dirty = s;
	else
		s->sessions->dirty = s;
	s->sessions->last_dirty = s;
}

struct session *session_take_dirty(struct sessions *sessions)
{
	struct session *s = sessions->dirty;

	if (s)
		unmark(s);
	return s;
}

/* ---- timeouts ---- */

/* If a host's certificate expires soon, note this in the host, and tell operators once a day. */
static void tell_end_of_certificate(struct session *s, uint64_t now_ns)
{
	const int64_t now_s = (int64_t)time(NULL);
	struct error text = {""};
	int64_t at_s = 0;
	bool is_soon = wire_tls_peer_ends(s->tls, now_s, &at_s, &text);

	if (s->kind == WIRE_KIND_CONTROL)
		fleet_set_end(&s->host->end, at_s, now_s, text.text);
	if (!is_soon || now_s - s->host->end_told_s < WIRE_TLS_WARN_EVERY_S)
		return;
	s->host->end_told_s = now_s;
	log_warn("%s", text.text);
	fleet_event(s->sessions->fleet, now_ns, "", "certificate", text.text);
}

/* Check the peer's certificate again, because it can expire or be revoked while the connection is
 * open. */
static void look_at_certificate(struct session *s, uint64_t now_ns)
{
	char text[WIRE_TLS_ERROR_SIZE + 96];

	if (s->phase != SESSION_OPEN || now_ns - s->judged_ns < JUDGE_EVERY_NS)
		return;
	s->judged_ns = now_ns;
	if (wire_tls_recheck(s->tls) == 0) {
		tell_end_of_certificate(s, now_ns);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s of %s is closed: %s",
		       s->kind == WIRE_KIND_CONTROL ? "the control connection" : "a stream",
		       s->host->name, wire_tls_error(s->tls));
	fleet_event(s->sessions->fleet, now_ns, s->vm ? s->vm->config.name : "", "certificate",
		    text);
	session_tls_failed(s, now_ns);
}

static void tick(struct session *s, uint64_t now_ns)
{
	const struct session_config *config = &s->sessions->config;
	uint64_t silent_ns = now_ns - s->link.seen_ns;

	look_at_certificate(s, now_ns);
	if ((s->phase == SESSION_HANDSHAKE || s->phase == SESSION_HELLO) &&
	    now_ns - s->opened_ns >= config->handshake_timeout_ns) {
		session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_TIMEOUT,
			       "%s: no HELLO within %" PRIu64 " ms", s->link.peer,
			       config->handshake_timeout_ns / CLOCK_NS_PER_MS);
	} else if (s->phase == SESSION_OPEN && s->kind == WIRE_KIND_CONTROL &&
		   silent_ns >= config->idle_timeout_ns) {
		session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_TIMEOUT,
			       "control connection of %s silent for %" PRIu64 " ms", s->host->name,
			       silent_ns / CLOCK_NS_PER_MS);
	} else if (s->phase == SESSION_CLOSING && !s->ended &&
		   now_ns - s->closing_ns >= SESSION_CLOSING_NS) {
		s->ended = true; /* the peer has not received the last output in time */
		session_mark_dirty(s);
	}
}

void sessions_tick(struct sessions *sessions, uint64_t now_ns)
{
	struct session *next;

	sessions->ticked_ns = now_ns;
	for (struct session *s = sessions->all; s; s = next) {
		next = s->next;
		tick(s, now_ns);
	}
	admission_run(sessions, now_ns);
}

uint64_t sessions_deadline_ns(const struct sessions *sessions)
{
	uint64_t admit_ns = admission_deadline_ns(sessions);
	uint64_t tick_ns = sessions->all ? sessions->ticked_ns + TICK_NS : UINT64_MAX;

	return admit_ns < tick_ns ? admit_ns : tick_ns;
}
