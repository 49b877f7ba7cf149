/* session_hello.c - who may say what, and the first frame of a connection. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "session/session.h"

/* One handler per message. */
static const struct {
	uint8_t type;
	unsigned int from; /* enum wire_sender */
	int (*handle)(struct session *s, const struct wire_frame *frame);
} handlers[] = {
	{WIRE_BEAT, WIRE_SENDER_AGENT_CONTROL, session_on_beat},
	{WIRE_REPORT, WIRE_SENDER_AGENT_CONTROL, session_on_report},
	{WIRE_ORDER_DONE, WIRE_SENDER_AGENT_CONTROL, session_on_order_done},
	{WIRE_GEOMETRY, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_MACHINE, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_EPOCH_BEGIN, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_PAGES, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_DEVICE, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_EPOCH_END, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_CLOCK, WIRE_SENDER_PRIMARY, session_on_relay},
	{WIRE_EPOCH_ACK, WIRE_SENDER_STANDBY, session_on_epoch_ack},
	{WIRE_STREAM_ERROR, WIRE_SENDER_PRIMARY | WIRE_SENDER_STANDBY, session_on_stream_error},
};

static unsigned int sender_of(const struct session *s)
{
	if (s->kind == WIRE_KIND_CONTROL)
		return WIRE_SENDER_AGENT_CONTROL;
	return s->role == WIRE_VM_ROLE_STANDBY ? WIRE_SENDER_STANDBY : WIRE_SENDER_PRIMARY;
}

int session_dispatch(struct session *s, const struct wire_frame *frame)
{
	if (s->phase == SESSION_HELLO && frame->h.type == WIRE_HELLO)
		return session_on_hello(s, frame);
	for (size_t i = 0; s->phase == SESSION_OPEN && i < sizeof(handlers) / sizeof(handlers[0]);
	     i++) {
		if (handlers[i].type == frame->h.type && (handlers[i].from & sender_of(s)))
			return handlers[i].handle(s, frame);
	}
	session_refuse(s, WIRE_REFUSED_PROTOCOL, &s->fleet->counters.refused_bad_frame,
		       "%s may not be sent here%s", wire_type_name(frame->h.type),
		       s->phase == SESSION_HELLO ? ", HELLO was due" : "");
	return -EPROTO;
}

static uint64_t *refused_counter(struct fleet_counters *c, uint16_t code)
{
	switch (code) {
	case WIRE_REFUSED_VERSION:
		return &c->refused_version;
	case WIRE_REFUSED_FEATURE:
		return &c->refused_feature;
	case WIRE_REFUSED_STALE_TERM:
		return &c->refused_stale_term;
	case WIRE_REFUSED_NOT_ASKED:
		return &c->refused_not_asked;
	default:
		return &c->refused_bad_frame;
	}
}

/* @old occupies the place that @s needs: refuse @s, unless @old has been silent for too long. */
static bool replace_silent(struct session *s, struct session *old, const char *what)
{
	uint64_t silent_ns = s->fleet->now_ns - old->seen_ns;

	if (old->phase != SESSION_CLOSING && silent_ns < s->fleet->config.beat_timeout_ns) {
		session_refuse(s, WIRE_REFUSED_DUPLICATE, &s->fleet->counters.refused_duplicate,
			       "%s is connected already from %s; is a second agent running?", what,
			       old->peer);
		return false;
	}
	if (session_may_log(s))
		log_info("peer=%s %s: replaces the connection from %s, silent for %" PRIu64 " ms", s->peer,
		 what, old->peer, silent_ns / 1000000);
	session_end(old);
	return true;
}

static void welcome(struct session *s, uint64_t features)
{
	struct wire_welcome welcome = {.version = s->version, .features = features,
				       .incarnation = session_incarnation(s)};
	struct wire_header h = {.type = WIRE_WELCOME};

	(void)snprintf(welcome.gateway, sizeof(welcome.gateway), "%s",
		       wire_tls_context_self(s->fleet->config.tls)->name);
	s->phase = SESSION_OPEN;
	s->fleet->counters.handshakes_now--;
	(void)snprintf(s->host->source, sizeof(s->host->source), "%.15s", s->source);
	SESSION_SEND(s, &h, wire_welcome_encode, &welcome);
}

/* The host has obeyed a gateway that was started after this one. */
static int refuse_as_older(struct session *s, uint64_t obeyed)
{
	struct fleet *fleet = s->fleet;
	char text[VM_TEXT_MAX];

	(void)snprintf(text, sizeof(text),
		       "%s has obeyed a gateway of incarnation %" PRIu64 ", younger than this one (%" PRIu64
		       "): this one orders nothing there. Stop the one that is too many; if this one is to "
		       "stay, `holdfastctl takeover`", s->host->name, obeyed, fleet->config.incarnation);
	if (obeyed > fleet->younger) {
		fleet->younger = obeyed;
		fleet_event(fleet, "", "conflict", text);
		log_error("%s", text);
	}
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct vm_input in = {.kind = VM_IN_OBEYS_ANOTHER};
		int h = fleet_vm_host(fleet->vms[i], s->host);

		in.host = (uint8_t)h;
		if (h >= 0)
			(void)fleet_step(fleet, fleet->vms[i], &in); /* repeated at the next HELLO */
	}
	session_refuse(s, WIRE_REFUSED_OLD_GATEWAY, &fleet->counters.refused_old_gateway, "%s", text);
	return -EPROTO;
}

static int open_control(struct session *s, uint64_t features, uint64_t obeyed)
{
	struct fleet *fleet = s->fleet;
	char what[WIRE_NAME_MAX + 32];

	if ((features & WIRE_FEATURE_INCARNATION) && obeyed > fleet->config.incarnation)
		return refuse_as_older(s, obeyed);

	(void)snprintf(what, sizeof(what), "control of %s", s->host->name);
	if (s->host->control && !replace_silent(s, s->host->control, what))
		return -EPROTO;
	s->host->control = s;
	s->attached = true;
	s->features = features;
	welcome(s, features);
	for (size_t i = 0; i < fleet->n_vms && s->phase == SESSION_OPEN; i++) {
		struct vm_input in = {.kind = VM_IN_CONTROL_UP};
		int h = fleet_vm_host(fleet->vms[i], s->host);

		if (h < 0)
			continue;
		in.host = (uint8_t)h;
		if (fleet_step(fleet, fleet->vms[i], &in) < 0)
			session_end(s);
	}
	return 0;
}

/* The features that @s may use on @vm's primary stream. For relayed frames the standby must
 * understand them too. */
static uint64_t primary_features(const struct session *s, const struct fleet_vm *vm)
{
	return s->understands & ((vm->knows_standby ? vm->standby_features : WIRE_FEATURES) |
				 WIRE_FEATURE_INCARNATION);
}

/* @s is now the standby's stream. The primary may have been told features that are now wrong, and a
 * stream's features cannot change. So end the primary's stream before its RESUME, so that it says
 * HELLO again. */
static void remember_standby(struct session *s)
{
	struct session *primary = s->vm->stream[0];

	s->vm->knows_standby = true;
	s->vm->standby_features = s->understands;
	if (!primary || primary_features(primary, s->vm) == primary->features)
		return;
	log_info("vm=%s standby %s understands 0x%" PRIx64 ", the primary's stream uses 0x%" PRIx64
		 ": closing it, to begin anew",
		 s->vm->config.name, s->host->name, s->understands, primary->features);
	session_end(primary);
}

static int open_stream(struct session *s, const struct wire_frame *frame,
		       const struct wire_hello *hello, uint64_t features)
{
	struct fleet_counters *c = &s->fleet->counters;
	size_t slot = hello->role == WIRE_VM_ROLE_STANDBY ? 1 : 0;
	struct error why;
	struct vm_input in;
	uint16_t code;
	int h;

	/* Find the VM, and this host's part in it. */
	s->vm = fleet_find_vm(s->fleet, hello->vm);
	if (!s->vm) {
		session_refuse(s, WIRE_REFUSED_UNKNOWN_VM, &c->refused_unknown_vm,
			       "no VM %s here; is its file in the gateway's vm_dir?", hello->vm);
		return -EPROTO;
	}
	h = fleet_vm_host(s->vm, s->host);
	if (h < 0) {
		session_refuse(s, WIRE_REFUSED_IDENTITY, &c->refused_identity,
			       "%s is neither primary nor standby of %s", s->host->name, hello->vm);
		return -EPROTO;
	}
	s->host_index = (uint8_t)h;
	s->role = hello->role;
	in = (struct vm_input){.kind = VM_IN_STREAM_UP, .host = s->host_index, .role = s->role,
			       .term = frame->h.term, .epoch = frame->h.epoch};
	code = vm_fsm_check_stream(&s->vm->fsm, s->host_index, s->role, in.term, &why);
	if (code != 0) {
		session_refuse(s, code, refused_counter(c, code), "%s", why.text);
		return -EPROTO;
	}
	/* An older stream of the same role gives way only if it is silent. */
	if (s->vm->stream[slot]) {
		char what[2 * WIRE_NAME_MAX + 32];

		(void)snprintf(what, sizeof(what), "%s stream of %s",
			       wire_vm_role_name(s->role), hello->vm);
		if (!replace_silent(s, s->vm->stream[slot], what))
			return -EPROTO;
	}
	s->vm->stream[slot] = s;
	s->attached = true;
	s->understands = features;
	s->features = slot == 0 ? primary_features(s, s->vm) : features;
	welcome(s, s->features);
	if (slot == 1) {
		remember_standby(s);
		vm_relay_standby_reset(&s->vm->relay, in.epoch);
	}
	if (fleet_step(s->fleet, s->vm, &in) < 0)
		session_end(s);
	return 0;
}

int session_on_hello(struct session *s, const struct wire_frame *frame)
{
	struct fleet_counters *c = &s->fleet->counters;
	const struct wire_peer *who = wire_tls_peer(s->tls);
	struct wire_hello hello;
	struct wire_error error;
	struct error why;
	uint64_t features;
	uint16_t code;

	if (wire_hello_decode(frame, &hello, &error) < 0)
		return session_bad_frame(s, &error);
	if (hello.kind == WIRE_KIND_PEER) {
		session_refuse(s, WIRE_REFUSED_PROTOCOL, &c->refused_bad_frame,
			       "a peer connection is between two agents: `peer` in %s's file names a "
			       "gateway", hello.vm);
		return -EPROTO;
	}
	if (wire_hello_negotiate(&hello, &s->version, &features, &code, &why) < 0) {
		session_refuse(s, code, refused_counter(c, code), "%s", why.text);
		return -EPROTO;
	}
	s->host = fleet_find_host(s->fleet, who->name);
	if (!s->host) {
		session_refuse(s, WIRE_REFUSED_IDENTITY, &c->refused_identity,
			       "host %s is in no VM's file of this gateway", who->name);
		return -EPROTO;
	}
	s->kind = hello.kind;
	if (hello.kind == WIRE_KIND_CONTROL)
		return open_control(s, features, frame->h.term);
	return open_stream(s, frame, &hello, features);
}
