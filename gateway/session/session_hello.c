/* session_hello.c - finds the function for a frame, and handles HELLO, the first frame of a
 * connection. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "session/session_private.h"

/* The function that handles each message. wire_type_allowed() says who may send it. */
static const struct {
	uint8_t type;
	int (*handle)(struct session *s, const struct wire_frame *frame, uint64_t now_ns);
} handlers[] = {
	{WIRE_BEAT, session_on_beat},
	{WIRE_REPORT, session_on_report},
	{WIRE_ORDER_DONE, session_on_order_done},
	{WIRE_DRAIN, session_on_drain},
	{WIRE_GEOMETRY, session_on_relay},
	{WIRE_MACHINE, session_on_relay},
	{WIRE_EPOCH_BEGIN, session_on_relay},
	{WIRE_PAGES, session_on_relay},
	{WIRE_DEVICE, session_on_relay},
	{WIRE_EPOCH_END, session_on_relay},
	{WIRE_CLOCK, session_on_relay},
	{WIRE_DISK, session_on_relay},
	{WIRE_RAM_HASH, session_on_relay},
	{WIRE_EPOCH_ACK, session_on_epoch_ack},
	{WIRE_DISK_CHECKED, session_on_disk_checked},
	{WIRE_HASHES_WANT, session_on_relay},
	{WIRE_HASHES, session_on_hashes},
	{WIRE_RAM_CHECKED, session_on_ram_checked},
	{WIRE_STREAM_ERROR, session_on_stream_error},
};

static unsigned int sender_of(const struct session *s)
{
	if (s->kind == WIRE_KIND_CONTROL)
		return WIRE_SENDER_AGENT_CONTROL;
	return s->role == WIRE_VM_ROLE_STANDBY ? WIRE_SENDER_STANDBY : WIRE_SENDER_PRIMARY;
}

int session_dispatch(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	if (s->phase == SESSION_HELLO && frame->h.type == WIRE_HELLO)
		return session_on_hello(s, frame, now_ns);
	if (s->phase == SESSION_OPEN && wire_type_allowed(frame->h.type, sender_of(s))) {
		for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
			if (handlers[i].type == frame->h.type)
				return handlers[i].handle(s, frame, now_ns);
		}
	}
	session_refuse(s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_BAD_FRAME,
		       "%s may not be sent here%s", wire_type_name(frame->h.type),
		       s->phase == SESSION_HELLO ? ", HELLO was due" : "");
	return -EPROTO;
}

static enum fleet_refusal refusal_of(uint16_t code)
{
	switch (code) {
	case WIRE_REFUSED_VERSION:
		return FLEET_REFUSED_VERSION;
	case WIRE_REFUSED_FEATURE:
		return FLEET_REFUSED_FEATURE;
	case WIRE_REFUSED_STALE_TERM:
		return FLEET_REFUSED_STALE_TERM;
	case WIRE_REFUSED_NOT_ASKED:
		return FLEET_REFUSED_NOT_ASKED;
	default:
		return FLEET_REFUSED_BAD_FRAME;
	}
}

/* Decide between @s, which has just said HELLO, and the older connection @link. Both are the
 * control connection of the same host, or the same stream of a VM; @what names it in texts. If
 * @link is ending, or was silent for beat_timeout, ends @link and returns true. If not, refuses @s
 * and returns false. */
static bool replace_silent(struct session *s, struct fleet_link *link, const char *what,
			   uint64_t now_ns)
{
	struct session *old = session_of(link);
	uint64_t silent_ns = now_ns - link->seen_ns;

	if (!session_is_over(old) && silent_ns < s->sessions->config.beat_timeout_ns) {
		session_refuse(s, now_ns, WIRE_REFUSED_DUPLICATE, FLEET_REFUSED_DUPLICATE,
			       "%s is connected already from %s; is a second agent running?", what,
			       link->peer);
		return false;
	}
	if (session_may_log(s, now_ns))
		log_info("peer=%s %s: replaces the connection from %s, silent for %" PRIu64 " ms",
			 s->link.peer, what, link->peer, silent_ns / CLOCK_NS_PER_MS);
	session_end(old, now_ns);
	return true;
}

static void welcome(struct session *s)
{
	struct wire_welcome welcome = {.version = s->version, .features = s->link.features,
				       .incarnation = session_incarnation(s)};
	struct wire_header h = {.type = WIRE_WELCOME};

	(void)snprintf(welcome.gateway, sizeof(welcome.gateway), "%s",
		       wire_tls_context_self(s->sessions->config.tls)->name);
	session_leave_handshake(s);
	s->phase = SESSION_OPEN;
	(void)snprintf(s->host->source, sizeof(s->host->source), "%.15s", s->source);
	session_send(s, &h, wire_welcome_encode(&welcome, session_begin(s)));
}

static int open_control(struct session *s, uint64_t features, uint64_t obeyed, uint64_t now_ns)
{
	struct fleet *fleet = s->sessions->fleet;
	char what[WIRE_NAME_MAX + 32];
	struct error younger;

	if ((features & WIRE_FEATURE_INCARNATION) && obeyed > fleet->config.incarnation) {
		fleet_obeys_younger(fleet, s->host, obeyed, now_ns, &younger);
		session_refuse(s, now_ns, WIRE_REFUSED_OLD_GATEWAY, FLEET_REFUSED_OLD_GATEWAY,
			       "%s", younger.text);
		return -EPROTO;
	}
	(void)snprintf(what, sizeof(what), "control of %s", s->host->name);
	if (s->host->control && !replace_silent(s, s->host->control, what, now_ns))
		return -EPROTO;
	s->link.features = features;
	welcome(s);
	if (fleet_control_up(fleet, s->host, &s->link, now_ns) < 0)
		session_end(s, now_ns);
	return 0;
}

/* Returns the protocol features that @s can use as the primary's stream of @vm. The gateway passes
 * the stream's frames on to the standby, so the standby must understand the features too. The
 * feature INCARNATION changes none of these frames, so @s can use it in any case. Until a standby
 * has connected, @s can use all features that it understands. */
static uint64_t primary_features(const struct session *s, const struct fleet_vm *vm)
{
	return s->understands & ((vm->knows_standby ? vm->standby_features : WIRE_FEATURES) |
				 WIRE_FEATURE_INCARNATION);
}

/* Remember which features the standby on @s understands. A stream's features cannot change. If the
 * primary's stream has other features than primary_features() now allows, ends that stream before a
 * RESUME is sent on it. The primary then connects again and gets the right features. */
static void remember_standby(struct session *s, uint64_t now_ns)
{
	struct session *primary = session_of(s->vm->stream[VM_STREAM_PRIMARY]);

	s->vm->knows_standby = true;
	s->vm->standby_features = s->understands;
	if (!primary || primary_features(primary, s->vm) == primary->link.features)
		return;
	log_info("vm=%s standby %s understands 0x%" PRIx64 ", the primary's stream uses 0x%" PRIx64
		 ": closing it, to begin anew",
		 s->vm->config.name, s->host->name, s->understands, primary->link.features);
	session_end(primary, now_ns);
}

/* Find the VM that a stream's HELLO names, and the index of the session's host among the VM's
 * hosts. Returns 0, or -EPROTO if @s was refused. */
static int find_vm(struct session *s, const struct wire_hello *hello, uint64_t now_ns)
{
	int h;

	s->vm = fleet_find_vm(s->sessions->fleet, hello->vm);
	if (!s->vm) {
		session_refuse(s, now_ns, WIRE_REFUSED_UNKNOWN_VM, FLEET_REFUSED_UNKNOWN_VM,
			       "no VM %s here; is its file in the gateway's vm_dir?", hello->vm);
		return -EPROTO;
	}
	h = fleet_vm_host(s->vm, s->host);
	if (h < 0) {
		session_refuse(s, now_ns, WIRE_REFUSED_IDENTITY, FLEET_REFUSED_IDENTITY,
			       "%s is neither primary nor standby of %s", s->host->name, hello->vm);
		return -EPROTO;
	}
	s->host_index = (uint8_t)h;
	s->role = hello->role;
	return 0;
}

/* Make sure that @s is the only stream of its VM in its role. Returns true if there is no older
 * stream, or if the older one was silent and has been ended. If the older stream is not silent,
 * refuses @s and returns false. */
static bool take_slot(struct session *s, uint64_t now_ns)
{
	struct fleet_link *old = s->vm->stream[session_slot(s)];
	char what[2 * WIRE_NAME_MAX + 32];

	if (!old)
		return true;
	(void)snprintf(what, sizeof(what), "%s stream of %s", wire_vm_role_name(s->role),
		       s->vm->config.name);
	return replace_silent(s, old, what, now_ns);
}

static int open_stream(struct session *s, const struct wire_frame *frame,
		       const struct wire_hello *hello, uint64_t features, uint64_t now_ns)
{
	struct error why;
	struct vm_input in;
	uint16_t code;

	if (find_vm(s, hello, now_ns) < 0)
		return -EPROTO;
	in = (struct vm_input){.kind = VM_IN_STREAM_UP, .host = s->host_index, .role = s->role,
			       .term = frame->h.term, .epoch = frame->h.epoch};
	code = vm_fsm_check_stream(&s->vm->fsm, s->host_index, s->role, in.term, &why);
	if (code != 0) {
		session_refuse(s, now_ns, code, refusal_of(code), "%s", why.text);
		return -EPROTO;
	}
	if (!take_slot(s, now_ns))
		return -EPROTO;
	s->understands = features;
	s->link.features =
		session_slot(s) == VM_STREAM_PRIMARY ? primary_features(s, s->vm) : features;
	welcome(s);
	if (session_slot(s) == VM_STREAM_STANDBY)
		remember_standby(s, now_ns);
	if (fleet_stream_up(s->sessions->fleet, s->vm, &s->link, &in, now_ns) < 0)
		session_end(s, now_ns);
	return 0;
}

int session_on_hello(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	const struct wire_peer *who = wire_tls_peer(s->tls);
	struct wire_hello hello;
	struct wire_error error;
	struct error why;
	uint64_t features;
	uint16_t code;

	if (wire_hello_decode(frame, &hello, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	if (hello.kind == WIRE_KIND_PEER) {
		session_refuse(
			s, now_ns, WIRE_REFUSED_PROTOCOL, FLEET_REFUSED_BAD_FRAME,
			"a peer connection is between two agents: `peer` in %s's file names a "
			"gateway",
			hello.vm);
		return -EPROTO;
	}
	if (wire_hello_negotiate(&hello, &s->version, &features, &code, &why) < 0) {
		session_refuse(s, now_ns, code, refusal_of(code), "%s", why.text);
		return -EPROTO;
	}
	/* the host is the one that its certificate names, whatever HELLO says */
	s->host = fleet_find_host(s->sessions->fleet, who->name);
	if (!s->host) {
		session_refuse(s, now_ns, WIRE_REFUSED_IDENTITY, FLEET_REFUSED_IDENTITY,
			       "host %s is in no VM's file of this gateway", who->name);
		return -EPROTO;
	}
	s->kind = hello.kind;
	if (hello.kind == WIRE_KIND_CONTROL)
		return open_control(s, features, frame->h.term, now_ns);
	return open_stream(s, frame, &hello, features, now_ns);
}
