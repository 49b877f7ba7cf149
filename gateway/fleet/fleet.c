#include "fleet/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "probe/probes.h"
#include "fleet/evidence.h"
#include "session/session.h"

#define JOURNAL_SLOW_NS CLOCK_NS_PER_S /* report a disk that takes longer */

#define ROW(member) COUNTERS_ROW(struct fleet_counters, member)

#define WITNESS_ROW(name_, path, verdict)                                                          \
	{name_, offsetof(struct fleet_counters, witness[path][WITNESS_RX_##verdict])}
#define WITNESS_ROWS(prefix, path)                                                                 \
	WITNESS_ROW(prefix "accepted", path, ACCEPTED),                                            \
	WITNESS_ROW(prefix "malformed", path, MALFORMED),                                          \
	WITNESS_ROW(prefix "wrong_path", path, WRONG_PATH),                                        \
	WITNESS_ROW(prefix "unknown_key", path, UNKNOWN_KEY),                                      \
	WITNESS_ROW(prefix "wrong_address", path, WRONG_ADDRESS),                                  \
	WITNESS_ROW(prefix "replayed", path, REPLAYED),                                            \
	WITNESS_ROW(prefix "over_limit", path, OVER_LIMIT),                                        \
	WITNESS_ROW(prefix "bad_mac", path, BAD_MAC)

const struct counters_row fleet_counter_rows[] = {
	ROW(sessions_now), ROW(sessions_opened), ROW(sessions_closed), ROW(handshakes_now), ROW(closing_now),
	ROW(bytes_in), ROW(bytes_out), ROW(frames_in), ROW(frames_out), ROW(beats), ROW(leases), ROW(reports),
	ROW(orders_sent), ROW(orders_done), ROW(resumes), ROW(commits), ROW(epoch_acks),
	ROW(epoch_acks_stale), ROW(relay_frames), ROW(relay_bytes), ROW(relay_dropped),
	ROW(relay_blocked), ROW(relay_errors), ROW(journal_writes), ROW(journal_errors),
	ROW(events), ROW(events_suppressed), ROW(promotions), ROW(probes_sent), ROW(probes_answered), ROW(probe_replies),
	ROW(probes_lost), ROW(probes_malformed), ROW(probes_stray), ROW(witness_keys),
	WITNESS_ROWS("witness_", WIRE_WITNESS_BACKUP), WITNESS_ROWS("witness_client_", WIRE_WITNESS_CLIENT),
	ROW(udp_unwanted), ROW(shield_dropped), ROW(refused_version),
	ROW(refused_feature), ROW(refused_duplicate), ROW(refused_stale_term), ROW(refused_unknown_vm),
	ROW(refused_identity), ROW(refused_bad_frame), ROW(refused_bad_checksum),
	ROW(refused_not_asked), ROW(refused_busy), ROW(refused_evicted), ROW(refused_timeout), ROW(refused_slow), ROW(refused_old_gateway),
	ROW(refused_wrong_role), ROW(refused_tls_expired), ROW(refused_tls_not_yet_valid),
	ROW(refused_tls_self_signed), ROW(refused_tls_unknown_ca), ROW(refused_tls_revoked),
	ROW(refused_tls_bad_identity), ROW(refused_tls_no_certificate),
	ROW(refused_tls_bad_certificate), ROW(refused_tls_old_version),
	ROW(refused_tls_peer_refused), ROW(refused_tls_protocol),
};
const size_t fleet_n_counter_rows = sizeof(fleet_counter_rows) / sizeof(fleet_counter_rows[0]);

int fleet_new(const struct fleet_config *config, struct fleet **ret_fleet)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (!fleet)
		return -ENOMEM;
	fleet->config = *config;
	if (!fleet->config.clock_ns)
		fleet->config.clock_ns = clock_mono_ns;
	admission_init(&fleet->admission, 0);
	if (witness_rx_new(&fleet->witness) < 0) {
		free(fleet);
		return -ENOMEM;
	}
	*ret_fleet = fleet;
	return 0;
}

struct fleet *fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return NULL;
	for (size_t i = 0; i < fleet->n_vms; i++)
		free(fleet->vms[i]);
	witness_rx_free(fleet->witness);
	free(fleet);
	return NULL;
}

struct fleet_vm *fleet_find_vm(struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_vms; i++) {
		if (strcmp(fleet->vms[i]->config.name, name) == 0)
			return fleet->vms[i];
	}
	return NULL;
}

void fleet_add_fault(struct fleet *fleet, const char *name, const char *text)
{
	struct fleet_fault *fault;

	if (fleet->n_faults == FLEET_VMS_MAX)
		return;
	fault = &fleet->faults[fleet->n_faults++];
	(void)snprintf(fault->name, sizeof(fault->name), "%s", name);
	(void)snprintf(fault->text, sizeof(fault->text), "%s", text);
}

const char *fleet_find_fault(const struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_faults; i++) {
		if (strcmp(fleet->faults[i].name, name) == 0)
			return fleet->faults[i].text;
	}
	return NULL;
}

struct fleet_host *fleet_find_host(struct fleet *fleet, const char *name)
{
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (strcmp(fleet->hosts[i].name, name) == 0)
			return &fleet->hosts[i];
	}
	return NULL;
}

static struct fleet_host *add_host(struct fleet *fleet, const char *name)
{
	struct fleet_host *host = fleet_find_host(fleet, name);

	if (host || fleet->n_hosts == FLEET_HOSTS_MAX)
		return host;
	host = &fleet->hosts[fleet->n_hosts++];
	(void)snprintf(host->name, sizeof(host->name), "%s", name);
	return host;
}

int fleet_vm_host(const struct fleet_vm *vm, const struct fleet_host *host)
{
	if (vm->host[0] == host)
		return 0;
	return vm->host[1] == host ? 1 : -ENOENT;
}

/* The journal's record of a VM, with its owner's name turned into a host index. */
static int find_record(struct fleet *fleet, const struct vm_config *config,
		       struct vm_record *ret_record, struct error *ret_error)
{
	const struct vm_journal_entry *entry = vm_journal_find(fleet->config.journal, config->name);
	int owner;

	*ret_record = (struct vm_record){0};
	if (vm_journal_doubt(fleet->config.journal, config->name, ret_error)) {
		ret_record->in_doubt = true;
		log_error("vm=%s is in conflict: %s", config->name, ret_error->text);
	}
	if (!entry)
		return 0;
	for (owner = 0; owner < 2; owner++) {
		if (strcmp(config->host[owner], entry->owner) == 0)
			break;
	}
	if (owner == 2)
		return error_set(
			ret_error, -EINVAL,
			"%s: the journal's owner in term %" PRIu64
			" is %s, but the VM's file names %s and %s; put %s back as one of them",
			config->name, entry->term, entry->owner, config->host[0], config->host[1],
			entry->owner);
	ret_record->term = entry->term;
	ret_record->owner = (uint8_t)owner;
	ret_record->state = entry->state;
	return 0;
}

int fleet_add_vm(struct fleet *fleet, const struct vm_config *config, uint64_t now_ns,
		   struct error *ret_error)
{
	struct vm_record record;
	struct fleet_vm *vm;
	int r;

	if (fleet_find_vm(fleet, config->name))
		return -EEXIST;
	if (fleet->n_vms == FLEET_VMS_MAX)
		return -ENOSPC;
	r = find_record(fleet, config, &record, ret_error);
	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->config = *config;
	for (int h = 0; h < 2; h++)
		vm->host[h] = add_host(fleet, config->host[h]);
	vm_fsm_init(&vm->fsm, &vm->config, &record, fleet->config.first_order_id, now_ns);
	vm->index = fleet->n_vms;
	fleet->vms[fleet->n_vms++] = vm;
	return 0;
}

void fleet_event(struct fleet *fleet, const char *vm, const char *kind, const char *text)
{
	counters_add(&fleet->counters.events, 1);
	if (fleet->sinks.event && !fleet->sinks.event(fleet->sinks.arg, vm, kind, "", "", text))
		counters_add(&fleet->counters.events_suppressed, 1);
}

uint64_t *fleet_tls_counter(struct fleet *fleet, enum wire_tls_failure failure)
{
	struct fleet_counters *c = &fleet->counters;

	switch (failure) {
	case WIRE_TLS_EXPIRED:
		return &c->refused_tls_expired;
	case WIRE_TLS_NOT_YET_VALID:
		return &c->refused_tls_not_yet_valid;
	case WIRE_TLS_SELF_SIGNED:
		return &c->refused_tls_self_signed;
	case WIRE_TLS_UNKNOWN_CA:
		return &c->refused_tls_unknown_ca;
	case WIRE_TLS_REVOKED:
		return &c->refused_tls_revoked;
	case WIRE_TLS_BAD_IDENTITY:
		return &c->refused_tls_bad_identity;
	case WIRE_TLS_WRONG_ROLE:
		return &c->refused_wrong_role;
	case WIRE_TLS_NO_CERTIFICATE:
		return &c->refused_tls_no_certificate;
	case WIRE_TLS_BAD_CERTIFICATE:
		return &c->refused_tls_bad_certificate;
	case WIRE_TLS_OLD_VERSION:
		return &c->refused_tls_old_version;
	case WIRE_TLS_PEER_REFUSED:
		return &c->refused_tls_peer_refused;
	case WIRE_TLS_OK:
	case WIRE_TLS_PROTOCOL:
	case WIRE_TLS_FAILURE_COUNT:
	default:
		return &c->refused_tls_protocol;
	}
}

/* ---- actions ---- */

/* Begin to write a record. 0: it is on disk; 1: it is being
 * written; -errno: it could not be written. */
static int act_journal(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	const char *owner = vm->config.host[a->record.owner];
	int r;

	if (fleet->config.journal_thread) {
		r = journal_thread_append(fleet->config.journal_thread, vm->index, vm->config.name,
					  owner, a->record.term, a->record.state);
		return r < 0 ? r : 1;
	}
	return vm_journal_append(fleet->config.journal, vm->config.name, owner, a->record.term,
				 a->record.state);
}

static void count_journal(struct fleet *fleet, const struct vm_action *a, int r)
{
	counters_add(r < 0 ? &fleet->counters.journal_errors : &fleet->counters.journal_writes, 1);
	if (r == 0 && a->record.state == VM_PROMOTING) {
		counters_add(&fleet->counters.promotions, 1);
		FAULT_POINT(FAULT_GATEWAY_PROMOTING);
	}
}

static void act_event(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	counters_add(&fleet->counters.events, 1);
	if (fleet->sinks.event &&
	    !fleet->sinks.event(fleet->sinks.arg, vm->config.name, a->event, a->from, a->to, a->text)) {
		counters_add(&fleet->counters.events_suppressed, 1);
		return; /* a suppressed event is not logged either */
	}
	log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " %s%s%s%s%s: %s", vm->config.name,
		 vm->fsm.record.term, vm->fsm.protection.committed, a->event, a->from[0] ? " " : "",
		 a->from, a->to[0] ? " -> " : "", a->to, a->text);
}

static void act_close(struct fleet_vm *vm)
{
	vm_relay_close(&vm->relay);
	for (size_t i = 0; i < 2; i++) {
		struct session *s = vm->stream[i];

		if (!s)
			continue;
		vm->stream[i] = NULL;
		s->attached = false; /* the machine asked for this, so do not report the end */
		session_end(s);
	}
}

/* Carry out one action. 0; for a journal record as act_journal(). */
static int act(struct fleet *fleet, struct fleet_vm *vm, const struct vm_action *a)
{
	switch (a->kind) {
	case VM_ACT_JOURNAL:
		return act_journal(fleet, vm, a);
	case VM_ACT_ORDER:
		if (vm->host[a->host]->control)
			session_send_order(vm->host[a->host]->control, vm, a);
		break;
	case VM_ACT_RESUME:
		if (vm->stream[0])
			session_send_resume(vm->stream[0], a);
		break;
	case VM_ACT_COMMIT:
		FAULT_POINT(FAULT_GATEWAY_BEFORE_COMMIT);
		if (vm->stream[0])
			session_send_commit(vm->stream[0], a);
		break;
	case VM_ACT_EVENT:
		act_event(fleet, vm, a);
		break;
	case VM_ACT_REPLY:
		if (fleet->sinks.reply)
			fleet->sinks.reply(fleet->sinks.arg, a->op_id, a->ok, a->code, a->text);
		break;
	case VM_ACT_CLOSE:
		act_close(vm);
		break;
	case VM_ACT_FENCE:
		if (fleet->config.fence)
			fleet->config.fence(fleet->config.fence_arg, vm, a->host, a->term);
		break;
	}
	return 0;
}

static void journal_failed(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
			   int r)
{
	char text[VM_TEXT_MAX];

	(void)snprintf(text, sizeof(text), "cannot write the journal: %s; free space in state_dir",
		       strerror(-r));
	log_limited(LOG_LEVEL_ERROR, "vm=%s %s", vm->config.name, text);
	if (in->kind == VM_IN_COMMAND && fleet->sinks.reply)
		fleet->sinks.reply(fleet->sinks.arg, in->op_id, false, "journal", text);
}

/* ---- steps, and waiting for the disk ---- */

/* The step of vm->pending could not be journaled: restore the machine as if it never happened. */
static void put_back(struct fleet *fleet, struct fleet_vm *vm, int r)
{
	vm->fsm = vm->pending.before;
	vm->fsm.stepped_ns = vm->fsm.ticked_ns = fleet->now_ns;
	vm->pending.in_step = false;
	journal_failed(fleet, vm, &vm->pending.in.in, r);
}

/* Carry out the remaining actions of the step in vm->pending. 0: all are done, or wait for the
 * disk; -errno: the journal failed and the machine was restored. */
static int carry_out(struct fleet *fleet, struct fleet_vm *vm)
{
	struct fleet_pending *p = &vm->pending;

	p->in_step = true;
	for (; p->at < p->actions.n && !p->waiting; p->at++) {
		const struct vm_action *a = &p->actions.list[p->at];
		int r = act(fleet, vm, a);

		if (a->kind != VM_ACT_JOURNAL)
			continue;
		if (r <= 0)
			count_journal(fleet, a, r);
		if (r > 0) {
			p->waiting = true;
			p->said = false;
			p->since_ns = fleet->now_ns;
		} else if (r < 0) {
			put_back(fleet, vm, r);
			return r;
		}
	}
	p->in_step = p->waiting;
	witness_keys_follow(fleet, vm);
	return 0;
}

static int step(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in)
{
	struct fleet_pending *p = &vm->pending;

	p->before = vm->fsm;
	inbox_copy(&p->in, in);
	vm_fsm_step(&vm->fsm, in, &p->actions);
	if (p->actions.overflow)
		log_error("vm=%s more actions than fit a step: a bug", vm->config.name);
	p->at = 0;
	return carry_out(fleet, vm);
}

/* The step of @in was undone because the disk failed: make sure that the input is given again. */
static void undo(struct fleet_vm *vm, const struct inbox_entry *e, uint64_t now_ns)
{
	const struct vm_input *in = &e->in;
	struct session *s = NULL;

	switch (in->kind) {
	case VM_IN_CONTROL_UP:
	case VM_IN_ORDER_DONE:
		s = vm->host[in->host]->control;
		break;
	case VM_IN_STREAM_UP:
	case VM_IN_EPOCH_ACK:
		s = vm->stream[in->kind == VM_IN_EPOCH_ACK || in->role == WIRE_VM_ROLE_STANDBY];
		break;
	case VM_IN_FENCED: /* nobody repeats this one */
		inbox_copy(&vm->pending.retry, in);
		vm->pending.retry_ns = now_ns + CLOCK_NS_PER_S;
		break;
	default:
		break; /* repeated by itself, or answered */
	}
	if (s)
		session_end(s);
}

/* Take the inputs that came meanwhile, until one of their steps waits for the disk in turn. */
static void drain(struct fleet *fleet, struct fleet_vm *vm)
{
	struct inbox_entry e;

	while (!vm->pending.in_step && inbox_take(&vm->pending.inbox, &e)) {
		e.in.now_ns = fleet->now_ns; /* time never goes back for a machine; it stood still */
		if (step(fleet, vm, &e.in) < 0)
			undo(vm, &e, fleet->now_ns);
	}
}

int fleet_step(struct fleet *fleet, struct fleet_vm *vm, struct vm_input *in)
{
	int r;

	in->now_ns = fleet->now_ns;
	if (!vm->pending.in_step) {
		r = step(fleet, vm, in);
		drain(fleet, vm);
		return r;
	}
	r = inbox_put(&vm->pending.inbox, in);
	if (r < 0 && in->kind == VM_IN_COMMAND && fleet->sinks.reply)
		fleet->sinks.reply(fleet->sinks.arg, in->op_id, false, "busy",
				"too much waits for the journal's disk already; ask again");
	return r;
}

static void journal_done(struct fleet *fleet, struct fleet_vm *vm, int r)
{
	struct fleet_pending *p = &vm->pending;
	struct inbox_entry in;

	count_journal(fleet, &p->actions.list[p->at - 1], r);
	p->waiting = false;
	if (p->said)
		log_warn("vm=%s the journal's disk answered after %" PRIu64 " ms", vm->config.name,
			 (fleet->now_ns - p->since_ns) / CLOCK_NS_PER_MS);
	if (r == 0)
		r = carry_out(fleet, vm);
	else
		put_back(fleet, vm, r);
	if (r < 0) {
		in = p->in;
		undo(vm, &in, fleet->now_ns);
	}
	drain(fleet, vm);
}

void fleet_journal_done(struct fleet *fleet)
{
	size_t ticket;
	int r;

	while (journal_thread_take(fleet->config.journal_thread, &ticket, &r)) {
		if (ticket == JOURNAL_THREAD_INCARNATION)
			fleet_recorded(fleet, r);
		else if (ticket < fleet->n_vms && fleet->vms[ticket]->pending.waiting)
			journal_done(fleet, fleet->vms[ticket], r);
	}
}

/* Deadlines of a VM whose step waits for the disk, or that has an input to give again. */
static void tick_pending(struct fleet *fleet, struct fleet_vm *vm)
{
	struct fleet_pending *p = &vm->pending;
	struct inbox_entry again;

	if (p->waiting && !p->said && fleet->now_ns - p->since_ns >= JOURNAL_SLOW_NS) {
		p->said = true;
		log_warn("vm=%s the journal's disk has not answered for %" PRIu64 " ms",
			 vm->config.name, (fleet->now_ns - p->since_ns) / CLOCK_NS_PER_MS);
		fleet_event(fleet, vm->config.name, "journal",
			      "the disk of state_dir does not answer; this VM stands still until it does");
	}
	if (p->in_step || p->retry_ns == 0 || fleet->now_ns < p->retry_ns)
		return;
	p->retry_ns = 0;
	inbox_copy(&again, &p->retry.in);
	again.in.now_ns = fleet->now_ns;
	if (step(fleet, vm, &again.in) < 0)
		undo(vm, &again, fleet->now_ns);
	drain(fleet, vm);
}

void fleet_tick(struct fleet *fleet, uint64_t now_ns)
{
	struct session *next;

	fleet->now_ns = now_ns;
	for (struct session *s = fleet->sessions; s; s = next) {
		next = s->next;
		session_tick(s, now_ns);
	}
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct fleet_vm *vm = fleet->vms[i];
		struct detector_evidence evidence;
		struct vm_input tick;

		tick_pending(fleet, vm);
		if (vm->pending.in_step || now_ns < vm_fsm_deadline_ns(&vm->fsm, now_ns))
			continue;
		evidence_gather(fleet, vm, &evidence, &tick);
		(void)fleet_step(fleet, vm, &tick); /* the next tick tries again */
		evidence_ask(vm, now_ns);
	}
	witness_keys_tick(fleet);
	admission_run(fleet);
}

uint64_t fleet_deadline_ns(const struct fleet *fleet, uint64_t now_ns)
{
	uint64_t deadline_ns = now_ns + CLOCK_NS_PER_S / 2;
	uint64_t admit_ns = admission_deadline_ns(fleet);

	if (admit_ns < deadline_ns)
		deadline_ns = admit_ns;

	for (size_t i = 0; i < fleet->n_vms; i++) {
		uint64_t at_ns = vm_fsm_deadline_ns(&fleet->vms[i]->fsm, now_ns);

		if (fleet->vms[i]->pending.waiting)
			continue; /* the end of the write wakes the loop */
		if (at_ns < deadline_ns)
			deadline_ns = at_ns;
	}
	return deadline_ns;
}

static void copy_probe_counters(struct fleet *fleet)
{
	struct probes_counters p;

	probes_get_counters(fleet->probes, &p);
	fleet->counters.probes_sent = p.sent;
	fleet->counters.probes_answered = p.answered;
	fleet->counters.probe_replies = p.replies;
	fleet->counters.probes_lost = p.lost;
	fleet->counters.probes_malformed = p.malformed;
	fleet->counters.probes_stray = p.stray;
}

void fleet_print_counters(struct fleet *fleet, struct bytes_writer *w)
{
	const void *all[1] = {&fleet->counters};
	struct fleet_counters *c = &fleet->counters;

	c->relay_frames = c->relay_bytes = c->relay_dropped = 0;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		c->relay_frames += fleet->vms[i]->relay.frames_total;
		c->relay_bytes += fleet->vms[i]->relay.bytes_total;
		c->relay_dropped += fleet->vms[i]->relay.dropped_total;
	}
	copy_probe_counters(fleet);
	witness_keys_count(fleet);
	counters_print(fleet_counter_rows, fleet_n_counter_rows, all, 1, w);
}
