/* verbs.c - carries out the requests of the management protocol: one function for each verb. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "control/control_private.h"
#include "control/describe.h"
#include "fleet/drains.h"
#include "probe/prober.h"
#include "vm/fsm_look.h"

#define PROBE_NS (CLOCK_NS_PER_S) /* how long a `probe` request sends probes */
#define DRAIN_S 600 /* time limit of a drain, if the request gives none */
#define READERS (WIRE_PEER_OPERATOR | WIRE_PEER_VIEWER)

struct request {
	const char *verb;
	struct fleet_vm *vm; /* NULL: no VM was named */
	const char *host;      /* "": no host was named */
	/* protect: the host that the operator wants to keep the copy; "": the present standby */
	const char *with;
	/* start, failover: the host that the operator declares switched off; "": none */
	const char *off;
	bool follow;
	bool no_wait;
	/* start, failover, unprotect, owner: the operator accepts that replies which clients have
	 * seen are lost */
	bool may_lose;
	bool may_be_torn; /* start: the operator accepts disks that are an unfinished copy */
	bool waits, leaves, unprotected_ok; /* drain: as in struct drain_input */
	int timeout_s;		    /* drain: its time limit; 0: DRAIN_S */
	uint64_t now_ns;
};

void control_put_json(struct control_conn *c, json_t *json)
{
	AUTO_FREE char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (line)
		control_put_line(c, line);
	else
		control_put_line(c, "{\"ok\":false,\"code\":\"memory\",\"error\":\"the gateway is "
				    "out of memory\"}");
}

void control_put_error(struct control_conn *c, const char *code, const char *format, ...)
{
	char raw[WIRE_TEXT_MAX + 1], text[WIRE_TEXT_MAX + 1];
	va_list args;

	va_start(args, format);
	(void)text_vput(raw, sizeof(raw), format, args);
	va_end(args);
	wire_text_format(text, "%s", raw);
	control_put_json(c, json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code, "error", text));
	c->phase = CONTROL_CLOSING;
}

static void verb_status(struct control_conn *c, const struct request *r)
{
	const char *name = wire_tls_context_self(c->control->tls)->name;

	control_put_json(c, describe_status(c->control->fleet, name, r->now_ns));
	c->phase = CONTROL_CLOSING;
}

static void verb_vm_show(struct control_conn *c, const struct request *r)
{
	control_put_json(c, json_pack("{s:b, s:o}", "ok", 1, "vm",
				      describe_vm(c->control->fleet, r->vm, r->now_ns)));
	c->phase = CONTROL_CLOSING;
}

static void verb_stats(struct control_conn *c, const struct request *r)
{
	(void)r;
	control_put_json(c, describe_counters(c->control->fleet));
	c->phase = CONTROL_CLOSING;
}

void control_put_events(struct control_conn *c)
{
	const struct events *events = c->control->events;
	const struct event *e;

	while (!c->broken && (e = events_from(events, c->follow_seq)) != NULL) {
		AUTO_FREE char *line = events_format(e);

		if (!line)
			return; /* out of memory: try again at the next event */
		control_put_line(c, line);
		c->follow_seq = e->seq + 1;
	}
}

static void verb_events(struct control_conn *c, const struct request *r)
{
	const struct events *events = c->control->events;

	control_put_json(c, json_pack("{s:b, s:I, s:b}", "ok", 1, "events",
				      (json_int_t)events_count(events), "follow", (int)r->follow));
	c->follow_seq = 0;
	control_put_events(c);
	c->phase = r->follow ? CONTROL_FOLLOWING : CONTROL_CLOSING;
}

/* Returns the peer's name, or a constant in tests, which have no TLS connection. */
static const char *asker(const struct control_conn *c)
{
	return c->tls ? wire_tls_peer(c->tls)->name : "-";
}

/* Returns true if the request names a host, in `protect` (r->with) or `start` (r->host). Only these
 * two commands have an optional host. */
static bool is_host_named(const struct request *r, enum vm_command what)
{
	return what == VM_COMMAND_PROTECT ? r->with[0] : what == VM_COMMAND_START && r->host[0];
}

static void refuse_host(struct control_conn *c, const struct request *r, const char *name)
{
	const struct vm_config *config = &r->vm->config;

	control_put_error(c, "bad-request", "'%s' is no host of %s: it has %s and %s%s%s", name,
			  config->name, config->host[VM_HOST_FIRST], config->host[VM_HOST_SECOND],
			  config->host[VM_HOST_THIRD][0] ? ", and the spare " : "",
			  config->host[VM_HOST_THIRD]);
}

/* Find the host @name of the request's VM. If the VM has no such host, refuses the request and
 * returns false. */
static bool find_host(struct control_conn *c, const struct request *r, const char *name,
		      uint8_t *ret_host)
{
	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		if (*name && strcmp(r->vm->config.host[h], name) == 0) {
			*ret_host = h;
			return true;
		}
	}
	refuse_host(c, r, name);
	return false;
}

static void command(struct control_conn *c, const struct request *r, enum vm_command what,
		    uint8_t host)
{
	struct vm_input in = {.kind = VM_IN_COMMAND, .command = what, .no_wait = r->no_wait,
			      .host = host, .is_host_named = is_host_named(r, what),
			      .may_lose = r->may_lose, .may_be_torn = r->may_be_torn,
			      .is_off_named = r->off[0] != '\0'};
	char text[4 * WIRE_NAME_MAX + 64];

	if (in.is_off_named && !find_host(c, r, r->off, &in.off))
		return;

	in.op_id = c->op_id = ++c->control->next_op_id;
	c->phase = CONTROL_WAITING;
	log_info("vm=%s operator=%s verb=%s %s", r->vm->config.name, asker(c), r->verb, r->host);
	(void)snprintf(text, sizeof(text), "%s asks: %s%s%s%s%s%s%s%s%s", asker(c), r->verb,
		       r->host[0] ? " " : "", r->host, r->with[0] ? " with " : "", r->with,
		       r->may_lose ? ", whatever is lost" : "",
		       r->may_be_torn ? ", an unfinished copy too" : "",
		       in.is_off_named ? ", and says that this host is off: " : "", r->off);
	fleet_event(c->control->fleet, r->now_ns, r->vm->config.name, "operator", text);
	(void)fleet_step(c->control->fleet, r->vm, &in,
			 r->now_ns); /* if this fails, the operator already has a reply */
}

static void verb_protect(struct control_conn *c, const struct request *r)
{
	uint8_t host = VM_HOST_FIRST;

	if (!*r->with || find_host(c, r, r->with, &host))
		command(c, r, VM_COMMAND_PROTECT, host);
}

static void verb_unprotect(struct control_conn *c, const struct request *r)
{
	command(c, r, VM_COMMAND_UNPROTECT, 0);
}

static void verb_failover(struct control_conn *c, const struct request *r)
{
	command(c, r, VM_COMMAND_FAILOVER, 0);
}

/* Refuse to move a protected guest that is not SAFE, because a move stops the only running guest.
 * Returns true if the request was refused. */
static bool refuse_unsafe(struct control_conn *c, const struct request *r)
{
	struct health health;

	fleet_health(r->vm, r->now_ns, &health);
	if (r->vm->fsm.record.state != VM_PROTECTED || health.word == HEALTH_SAFE)
		return false; /* the state machine itself refuses for any other reason */
	control_put_error(c, "not-safe", "%s is not SAFE but %s, so it is not moved: %s; %s",
			  r->vm->config.name, health_word_name(health.word), health.missing,
			  health.next);
	return true;
}

static void verb_move(struct control_conn *c, const struct request *r)
{
	uint8_t to = vm_fsm_other(&r->vm->fsm);

	if (*r->host && !find_host(c, r, r->host, &to))
		return;
	if (to != vm_fsm_other(&r->vm->fsm) || !refuse_unsafe(c, r))
		command(c, r, VM_COMMAND_MOVE, to);
}

static void verb_verify(struct control_conn *c, const struct request *r)
{
	const struct fleet_host *owner = r->vm->host[r->vm->fsm.record.owner];

	if (owner->control && !(owner->control->features & WIRE_FEATURE_VERIFY)) {
		control_put_error(c, "not-possible",
				  "the agent of %s is older than this gateway and cannot compare "
				  "the standby's copy when it is asked; update it",
				  owner->name);
		return;
	}
	command(c, r, VM_COMMAND_VERIFY, 0);
}

static void verb_drill(struct control_conn *c, const struct request *r)
{
	const struct fleet_host *standby = r->vm->host[vm_fsm_other(&r->vm->fsm)];

	if (standby->control && !(standby->control->features & WIRE_FEATURE_DRILL)) {
		control_put_error(c, "not-possible",
				  "the agent of %s is older than this gateway and knows no drills; "
				  "update it", standby->name);
		return;
	}
	command(c, r, VM_COMMAND_DRILL, 0);
}

static void verb_owner(struct control_conn *c, const struct request *r)
{
	uint8_t host;

	if (find_host(c, r, r->host, &host))
		command(c, r, VM_COMMAND_OWNER, host);
}

static void verb_start(struct control_conn *c, const struct request *r)
{
	uint8_t host = VM_HOST_FIRST;

	if (!*r->host || find_host(c, r, r->host, &host))
		command(c, r, VM_COMMAND_START, host);
}

static void verb_takeover(struct control_conn *c, const struct request *r)
{
	int e;

	log_info("operator=%s verb=%s", asker(c), r->verb);
	c->op_id = ++c->control->next_op_id;
	c->phase = CONTROL_WAITING;
	e = fleet_take_over(c->control->fleet, c->op_id);
	if (e == 0)
		return; /* the reply follows when the incarnation is on disk */
	if (e == -ENOENT)
		control_put_error(c, "no-conflict",
				  "no connected host has obeyed a younger gateway than this one: "
				  "there is nothing to take over");
	else if (e == -EBUSY)
		control_put_error(c, "busy", "the disk of state_dir has not yet answered to the "
				  "last one; ask again");
	else
		control_put_error(c, "journal", "cannot record it in state_dir: %s", strerror(-e));
	c->phase = CONTROL_CLOSING;
}

/* Give the operator's request @in to the drain of the named host. The drain replies to the operator
 * later. */
static void drain_request(struct control_conn *c, const struct request *r, struct drain_input *in)
{
	struct fleet *fleet = c->control->fleet;
	const struct fleet_host *host = fleet_find_host(fleet, r->host);
	char text[2 * WIRE_NAME_MAX + 32];

	if (!host) {
		control_put_error(c, "unknown-host",
				  "no host '%s' in any VM's file; `holdfastctl status` lists them",
				  r->host);
		return;
	}
	in->op_id = c->op_id = ++c->control->next_op_id;
	c->phase = CONTROL_WAITING;
	log_info("operator=%s verb=%s host=%s", asker(c), r->verb, host->name);
	(void)snprintf(text, sizeof(text), "%s asks: %s %s", asker(c), r->verb, host->name);
	fleet_event(fleet, r->now_ns, "", "operator", text);
	fleet_drains_step(fleet, host, in, r->now_ns);
	if (r->no_wait && c->phase == CONTROL_WAITING) { /* no reply yet: it was not refused */
		control_put_json(c, json_pack("{s:b, s:s, s:s}", "ok", 1, "code", "accepted",
					      "text", "begun; `holdfastctl status` and `events` "
					      "have the rest"));
		c->phase = CONTROL_CLOSING;
	}
}

/* Warn the operator if there are VMs with unusable files. The drain does not move these VMs, even
 * if they run on the host. */
static void warn_of_faults(struct control_conn *c)
{
	char text[128];

	if (c->control->fleet->n_faults == 0)
		return;
	(void)snprintf(text, sizeof(text), "VMs that are not looked after, and not moved if they "
		       "run there: %zu; `holdfastctl status` names them",
		       c->control->fleet->n_faults + c->control->fleet->n_more_faults);
	control_put_json(c, json_pack("{s:s}", "progress", text));
}

static void verb_drain(struct control_conn *c, const struct request *r)
{
	struct drain_input in = {.kind = DRAIN_IN_ASKED, .unprotected_ok = r->unprotected_ok,
				 .waits = r->waits, .leaves = r->leaves};

	if (r->timeout_s < 0 || r->timeout_s > DRAIN_LIMIT_S_MAX) {
		control_put_error(c, "bad-request", "timeout_s is 1 to %d", DRAIN_LIMIT_S_MAX);
		return;
	}
	warn_of_faults(c);
	in.limit_ns = (uint64_t)(r->timeout_s ? r->timeout_s : DRAIN_S) * CLOCK_NS_PER_S;
	drain_request(c, r, &in);
}

static void verb_undrain(struct control_conn *c, const struct request *r)
{
	struct drain_input in = {.kind = DRAIN_IN_UNDRAIN};

	drain_request(c, r, &in);
}

static void verb_probe(struct control_conn *c, const struct request *r)
{
	const char *name = r->vm->config.name;
	char text[WIRE_TEXT_MAX + 1];

	if (!r->vm->prober) {
		control_put_error(c, "not-possible",
				  "%s has no address that may be probed; its file at "
				  "the gateway can name guest_address and others",
				  name);
		return;
	}
	log_info("vm=%s operator=%s verb=%s", name, asker(c), r->verb);
	prober_try(r->vm->prober, r->now_ns + PROBE_NS, r->now_ns);
	(void)snprintf(text, sizeof(text),
		       "%s: its hosts and its guest are being probed for a second; "
		       "holdfastctl vm show %s tells what they answer",
		       name, name);
	control_put_json(c, json_pack("{s:b, s:s, s:s}", "ok", 1, "code", "done", "text", text));
	c->phase = CONTROL_CLOSING;
}

static const struct {
	const char *name;
	unsigned int roles;
	bool needs_vm;
	void (*run)(struct control_conn *c, const struct request *r);
} verbs[] = {
	{"status", READERS, false, verb_status},
	{"vm-show", READERS, true, verb_vm_show},
	{"vm-probe", WIRE_PEER_OPERATOR, true, verb_probe},
	{"stats", READERS, false, verb_stats},
	{"events", READERS, false, verb_events},
	{"protect", WIRE_PEER_OPERATOR, true, verb_protect},
	{"unprotect", WIRE_PEER_OPERATOR, true, verb_unprotect},
	{"failover", WIRE_PEER_OPERATOR, true, verb_failover},
	{"move", WIRE_PEER_OPERATOR, true, verb_move},
	{"verify", WIRE_PEER_OPERATOR, true, verb_verify},
	{"drill", WIRE_PEER_OPERATOR, true, verb_drill},
	{"owner", WIRE_PEER_OPERATOR, true, verb_owner},
	{"start", WIRE_PEER_OPERATOR, true, verb_start},
	{"takeover", WIRE_PEER_OPERATOR, false, verb_takeover},
	{"drain", WIRE_PEER_OPERATOR, false, verb_drain},
	{"undrain", WIRE_PEER_OPERATOR, false, verb_undrain},
};

/* Returns true if this request can keep its connection open, to wait for a result or for events. */
static bool may_last(const struct request *r)
{
	return r->follow || strcmp(r->verb, "takeover") == 0 ||
	       strcmp(r->verb, "drain") == 0 || strcmp(r->verb, "undrain") == 0 ||
	       (r->vm && strcmp(r->verb, "vm-show") != 0);
}

static void run_verb(struct control_conn *c, struct request *r, const char *vm, unsigned int role)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, r->verb) != 0)
			continue;
		/* may this peer use the verb? */
		if (!(verbs[i].roles & role)) {
			log_limited(LOG_LEVEL_WARN,
				    "%s %s asked for %s: refused, it is no operator",
				    wire_peer_role_name(role), asker(c), r->verb);
			counters_add(&c->control->fleet->counters.refused[FLEET_REFUSED_WRONG_ROLE],
				     1);
			control_put_error(
				c, "not-allowed",
				"%s needs a certificate of role operator, this one is a %s",
				r->verb, wire_peer_role_name(role));
			return;
		}
		/* find the VM; a VM with an unusable file gets an answer of its own */
		if (verbs[i].needs_vm) {
			const char *fault = fleet_find_fault(c->control->fleet, vm);

			r->vm = fleet_find_vm(c->control->fleet, vm);
			if (!r->vm && fault) {
				control_put_error(
					c, "faulty-vm",
					"%s is not looked after: %s; correct it, then "
					"`systemctl reload holdfast-gateway`",
					vm, fault);
				return;
			}
			if (!r->vm) {
				control_put_error(
					c, "unknown-vm",
					"no VM '%s' here; `holdfastctl status` lists them", vm);
				return;
			}
		}
		if (may_last(r) && !control_has_room(c, role, asker(c), r->follow))
			return;
		verbs[i].run(c, r);
		return;
	}
	control_put_error(c, "bad-verb", "unknown verb '%s'", r->verb);
}

void control_request(struct control_conn *c, const char *line, unsigned int role, uint64_t now_ns)
{
	struct request r = {.now_ns = now_ns, .host = "", .with = "", .off = ""};
	const char *vm = "";
	int version = 0, follow = 0, no_wait = 0, waits = 0, leaves = 0;
	int unprotected_ok = 0, may_lose = 0, may_be_torn = 0;
	json_error_t error;
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, &error);

	if (!json) {
		control_put_error(c, "bad-request", "not a JSON object at column %d: %s",
				  error.column, error.text);
	} else if (json_unpack_ex(json, &error, JSON_STRICT,
				  "{s:i, s:s, s?s, s?s, s?s, s?s, s?b, s?b, s?b, s?b, s?b, s?i, "
				  "s?b, s?b}",
				  "version", &version, "verb", &r.verb, "vm", &vm, "host", &r.host,
				  "with", &r.with, "off", &r.off, "follow", &follow, "no_wait",
				  &no_wait, "wait", &waits, "leave", &leaves, "unprotected_ok",
				  &unprotected_ok,
				  "timeout_s", &r.timeout_s, "lose", &may_lose, "torn",
				  &may_be_torn) < 0) {
		control_put_error(c, "bad-request", "%s", error.text);
	} else if (version != CONTROL_VERSION) {
		control_put_error(c, "bad-version", "version %d is not spoken here, %d is", version,
				  CONTROL_VERSION);
	} else {
		/* jansson stores booleans as int */
		r.follow = follow;
		r.no_wait = no_wait;
		r.may_lose = may_lose;
		r.may_be_torn = may_be_torn;
		r.waits = waits;
		r.leaves = leaves;
		r.unprotected_ok = unprotected_ok;
		run_verb(c, &r, vm, role);
	}
	json_decref(json);
}
