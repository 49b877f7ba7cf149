#include "control/describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fleet/drains.h"
#include "probe/prober.h"
#include "vm/fsm_look.h"
#include "wire/text.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

json_t *describe_text(const char *text)
{
	char clean[WIRE_TEXT_MAX + 1];

	wire_text_format(clean, "%s", text);
	return json_string(clean);
}

/* Append @item to *array. If this fails, or if @item is NULL, sets *array to NULL. The whole answer
 * then becomes NULL too, because an answer without the item would look complete. */
static void append(json_t **array, json_t *item)
{
	if (json_array_append_new(*array, item) == 0)
		return;
	json_decref(*array);
	*array = NULL;
}

static json_t *age_ms(uint64_t then_ns, uint64_t now_ns)
{
	if (then_ns == 0)
		return json_null();
	return number(now_ns > then_ns ? (now_ns - then_ns) / CLOCK_NS_PER_MS : 0);
}

static json_t *milliseconds(uint64_t ns)
{
	return json_real((double)ns / (double)CLOCK_NS_PER_MS);
}

/* Describe an agent's statistics. Numeric values become JSON numbers. wire/ has checked the keys
 * and values. */
static json_t *describe_stats(const char *stats)
{
	json_t *object = json_object();
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];

	while (object && wire_stats_next(&stats, key, value)) {
		char *end;
		long long integer = strtoll(value, &end, 10);
		json_t *item;

		if (value[0] && !*end) {
			item = json_integer(integer);
		} else {
			double real = strtod(value, &end);

			item = value[0] && !*end ? json_real(real) : NULL;
			if (!item) /* no number, or a number that JSON cannot express */
				item = json_string(value);
		}
		(void)json_object_set_new(object, key, item); /* if memory is short,
							       * this key is missing */
	}
	return object;
}

/* Describe the probes of one target. Returns JSON null if the target is not probed. */
static json_t *describe_probes(const struct fleet_vm *vm, enum prober_kind kind, uint8_t h,
			       uint64_t now_ns)
{
	static const char *const names[PROBER_N_METHODS] = {
		[PROBER_ARP] = "arp", [PROBER_ICMP] = "icmp", [PROBER_TCP] = "tcp"};
	struct prober_figures f;
	json_t *object;

	prober_get(vm->prober, kind, h, &f);
	if (!f.configured)
		return json_null();
	object = json_pack("{s:o, s:o, s:o, s:o}", "round_sent", number(f.all.round_sent),
			   "round_answered", number(f.all.round_answered), "unanswered",
			   number(f.all.unanswered), "answer_age_ms",
			   age_ms(f.all.last_answer_ns, now_ns));
	for (size_t m = 0; object && m < PROBER_N_METHODS; m++) {
		const struct prober_count *count = &f.by[m];

		if (m == PROBER_TCP && kind != PROBER_GUEST)
			continue;
		(void)json_object_set_new(
			object, names[m],
			json_pack("{s:o, s:o, s:o}", "sent", number(count->sent), "answered",
				  number(count->answered), "answer_age_ms",
				  age_ms(count->last_answer_ns, now_ns)));
	}
	if (kind == PROBER_GUEST)
		(void)json_object_set_new(json_object_get(object, "tcp"), "refused",
					  number(f.refused));
	return object;
}

static json_t *describe_host(const struct fleet_vm *vm, uint8_t h, uint64_t now_ns)
{
	const struct vm_host *host = &vm->fsm.host[h];
	const struct fleet_report *report = &vm->report[h];
	bool owner = h == vm->fsm.record.owner;

	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o}}",
			 "name", vm->config.host[h], "role",
			 h == vm_fsm_spare(&vm->fsm) ? "spare" : owner ? "owner" : "standby",
			 "connected", (int)host->up, "beat_age_ms",
			 age_ms(host->live.seen_ns, now_ns), "report_age_ms",
			 age_ms(report->at_ns, now_ns), "agent_state",
			 report->at_ns ? wire_state_name(report->state) : "unknown", "verdict",
			 report->at_ns ? wire_verdict_name(report->verdict) : "none", "term",
			 number(report->term), "epoch", number(report->epoch), "text",
			 describe_text(report->text), "stats", describe_stats(report->stats),
			 "probes", "client", describe_probes(vm, PROBER_HOST, h, now_ns), "backup",
			 describe_probes(vm, PROBER_HOST_BACKUP, h, now_ns));
}

static json_t *describe_stream(const struct fleet_vm *vm, size_t slot, uint64_t now_ns)
{
	const struct vm_stream *stream = &vm->fsm.stream[slot];

	return json_pack("{s:b, s:o, s:b}", "up", (int)stream->up, "since_ms",
			 age_ms(stream->changed_ns, now_ns), "blocked",
			 (int)(vm->stream[slot] && vm->stream[slot]->is_blocked));
}

static json_t *describe_relay(const struct vm_relay *relay)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "epochs",
			 number(relay->epochs_total), "full_epochs", number(relay->full_total),
			 "acks", number(relay->acks_total), "bytes", number(relay->bytes_total),
			 "frames", number(relay->frames_total), "dropped_frames",
			 number(relay->dropped_total), "last_epoch_bytes",
			 number(relay->last_epoch_bytes), "epoch_bytes_p50",
			 number(hist_quantile(&relay->epoch_bytes, 0.5)), "ack_ms_p50",
			 milliseconds(hist_quantile(&relay->ack_ns, 0.5)), "ack_ms_p99",
			 milliseconds(hist_quantile(&relay->ack_ns, 0.99)), "last_ack_ms",
			 milliseconds(relay->last_ack_ns));
}

/* Describe how the primary's host is judged, and on what evidence. */
static json_t *describe_liveness(const struct vm_fsm *fsm)
{
	char evidence[DETECTOR_TEXT_MAX];

	if (fsm->record.state != VM_PROTECTED)
		return json_null();
	return json_pack("{s:s, s:o}", "state", detector_state_name(fsm->detector.state),
			 "evidence", describe_text(detector_describe(&fsm->detector, evidence,
								     sizeof(evidence))));
}

static json_t *describe_path(const struct witness_view *view, enum wire_witness_path path,
			     uint64_t now_ns)
{
	return json_pack("{s:o, s:o}", "age_ms", age_ms(view->paths[path].made_at_ns, now_ns),
			 "accepted", number(view->paths[path].n_accepted));
}

/* Describe what the owner's kernel says about the guest in its witness datagrams. */
static json_t *describe_witness(const struct fleet *fleet, const struct fleet_vm *vm,
				uint64_t now_ns)
{
	const struct witness_view *view = fleet_witness_view(fleet, vm);
	bool by_client = vm->witness_sources[vm->fsm.record.owner] != 0;

	return json_pack(
		"{s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}}", "keyed",
		(int)(vm->witness.term != 0), "age_ms", age_ms(view->made_at_ns, now_ns),
		"arrived_age_ms", age_ms(view->arrived_at_ns, now_ns), "answered_age_ms",
		age_ms(view->answered_at_ns, now_ns), "unanswered", number(view->n_unanswered),
		"asked_age_ms", age_ms(view->asked_at_ns, now_ns), "to_guest",
		number(view->to_guest), "from_guest", number(view->from_guest), "accepted",
		number(view->n_accepted), "bad_mac", number(view->n_bad_mac), "paths", "backup",
		describe_path(view, WIRE_WITNESS_BACKUP, now_ns), "client",
		by_client ? describe_path(view, WIRE_WITNESS_CLIENT, now_ns) : json_null());
}

/* Describe whether a promoted guest serves, and what was seen of the guest. Returns JSON null if no
 * guest was promoted in this term. */
static json_t *describe_promoted(const struct vm_fsm *fsm, uint64_t now_ns)
{
	static const char *const names[] = {
		[VM_PROMOTED_WATCHED] = "watched", [VM_PROMOTED_SERVES] = "serves",
		[VM_PROMOTED_SILENT] = "silent"};
	const struct vm_promoted *w = &fsm->protection.promoted;
	char text[VM_TEXT_MAX];

	if (w->state == VM_PROMOTED_NONE)
		return json_null();
	return json_pack("{s:s, s:o, s:o}", "state", names[w->state], "age_ms",
			 age_ms(w->since_ns, now_ns), "evidence",
			 describe_text(vm_promoted_describe(fsm, text, sizeof(text))));
}

/* Describe the move that is under way, or else the last move. Returns JSON null if there was no
 * move since this gateway's start. */
static json_t *describe_move(const struct fleet_vm *vm, uint64_t now_ns)
{
	const struct vm_move *move = &vm->fsm.move;
	uint64_t pause_ns = vm_move_pause_ns(&vm->fsm);

	if (move->state == VM_MOVE_NONE)
		return json_null();
	return json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "state",
		vm_move_state_name(move->state), "from", vm->config.host[move->from], "to",
		vm->config.host[move->to], "epoch", number(move->epoch), "age_ms",
		age_ms(move->began_ns, now_ns), "pause_ms",
		pause_ns ? milliseconds(pause_ns) : json_null(), "let_go_ms",
		move->stopped_ns && move->yielded_ns
			? milliseconds(move->yielded_ns - move->stopped_ns)
			: json_null(),
		"protected_after_ms",
		move->protected_ns ? number((move->protected_ns - move->runs_ns) / CLOCK_NS_PER_MS)
				   : json_null());
}

/* Returns the age in ms of the order of kind @kind that an operator asked for. Returns JSON null if
 * no such order is under way. */
static json_t *describe_asked(const struct vm_fsm *fsm, enum vm_asked_kind kind, uint64_t now_ns)
{
	const struct vm_asked *asked = &fsm->asked[kind];

	return asked->order_id ? age_ms(asked->since_ns, now_ns) : json_null();
}

/* Describe the VM's health word, what is missing and what happens next. */
static json_t *describe_health(const struct fleet_vm *vm, uint64_t now_ns)
{
	struct health health;

	fleet_health(vm, now_ns, &health);
	return json_pack("{s:s, s:o, s:o, s:o}", "word", health_word_name(health.word), "missing",
			 describe_text(health.missing), "next", describe_text(health.next),
			 "since_ms", age_ms(health.since_ns, now_ns));
}

/* Describe the spare host: the one that is neither the owner nor the standby. Returns JSON null if
 * the VM has no spare host. */
static json_t *describe_spare(const struct vm_fsm *fsm)
{
	uint8_t h = vm_fsm_spare(fsm);
	char text[VM_TEXT_MAX];

	if (!vm_fsm_has_spare(fsm))
		return json_null();
	return json_pack("{s:s, s:b, s:o}", "name", fsm->config->host[h], "connected",
			 (int)fsm->host[h].up, "text",
			 describe_text(vm_spare_describe(fsm, text, sizeof(text))));
}

static json_t *describe_hosts(const struct fleet_vm *vm, uint64_t now_ns)
{
	json_t *hosts = json_array();

	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		if (vm->host[h])
			append(&hosts, describe_host(vm, h, now_ns));
	}
	return hosts;
}

/* Describe what both `status` and `vm show` tell about a VM. */
static json_t *describe_brief(const struct fleet_vm *vm, uint64_t now_ns)
{
	const struct vm_fsm *fsm = &vm->fsm;
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);

	return json_pack(
		"{s:s, s:o, s:o, s:b, s:o, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:b}",
		"name",
		vm->config.name, "health", describe_health(vm, now_ns), "fence_fault",
		vm->fence_fault[0] ? describe_text(vm->fence_fault) : json_null(), "conflict",
		(int)vm_fsm_in_conflict(fsm), "promoted", describe_promoted(fsm, now_ns), "state",
		vm_state_name(fsm->record.state), "term", number(fsm->record.term), "owner",
		vm->config.host[owner], "standby", vm->config.host[other],
		"spare", describe_spare(fsm), "committed_epoch",
		number(fsm->protection.committed), "complete_epoch",
		number(fsm->protection.complete), "committed_age_ms",
		age_ms(fsm->protection.committed_ns, now_ns), "owner_connected",
		(int)fsm->host[owner].up, "standby_connected", (int)fsm->host[other].up);
}

json_t *describe_vm(const struct fleet *fleet, const struct fleet_vm *vm, uint64_t now_ns)
{
	json_t *object = describe_brief(vm, now_ns);
	json_t *more = json_pack(
		"{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}, s:o, s:o, s:o, "
		"s:b, s:o}",
		"initial_primary", vm->config.host[VM_HOST_FIRST],
		"initial_standby", vm->config.host[VM_HOST_SECOND],
		"reprotect", vm->config.reprotect_auto ? "auto" : "ask", "wanted",
		(int)vm->fsm.record.is_wanted, "move", describe_move(vm, now_ns),
		"verify_ms", describe_asked(&vm->fsm, VM_ASKED_VERIFY, now_ns),
		"drill_ms", describe_asked(&vm->fsm, VM_ASKED_DRILL, now_ns),
		"state_age_ms", age_ms(vm->fsm.entered_ns, now_ns), "liveness",
		describe_liveness(&vm->fsm), "hosts", describe_hosts(vm, now_ns),
		"streams", "primary", describe_stream(vm, 0, now_ns),
		"standby", describe_stream(vm, 1, now_ns), "relay", describe_relay(&vm->relay),
		"witness", describe_witness(fleet, vm, now_ns), "stats",
		describe_stats(vm->report[vm->fsm.record.owner].stats), "probing",
		(int)prober_is_active(vm->prober), "guest_probes",
		describe_probes(vm, PROBER_GUEST, 0, now_ns));

	if (!object || !more || json_object_update(object, more) < 0) {
		json_decref(object);
		object = NULL;
	}
	json_decref(more);
	return object;
}

/* Describe the drain of a host. Returns JSON null if the host is neither drained nor being
 * drained. */
static json_t *describe_drain(const struct fleet *fleet, const struct fleet_host *host,
			      uint64_t now_ns)
{
	const struct drain *d = fleet_drains_of(fleet, host);
	char text[VM_TEXT_MAX];
	unsigned int n_guests;

	if (!drain_is_barred(d))
		return json_null();
	n_guests = fleet_drains_describe(fleet, host, now_ns, text, sizeof(text));
	return json_pack("{s:s, s:s, s:i, s:o}", "state", drain_phase_name(d->phase), "by",
			 d->by_guard ? "guard" : "operator", "guests", (int)n_guests, "text",
			 describe_text(text));
}

/* Describe the VMs that the gateway does not look after. If the list of faults had no room for all,
 * the last item says how many are left out. */
static json_t *describe_faults(const struct fleet *fleet)
{
	json_t *faults = json_array();
	char text[128];

	for (size_t i = 0; i < fleet->n_faults; i++)
		append(&faults, json_pack("{s:s, s:o}", "name", fleet->faults[i].name, "error",
					  describe_text(fleet->faults[i].text)));
	(void)snprintf(text, sizeof(text),
		       "%zu more VMs; the gateway's log or its events name them",
		       fleet->n_more_faults);
	if (fleet->n_more_faults)
		append(&faults, json_pack("{s:s, s:s}", "name", "(more)", "error", text));
	return faults;
}

/* If @end says that a certificate or revocation list of @of expires soon, append it to @ends. @of
 * is the host's name; "": the gateway. */
static void append_end(json_t **ends, const char *of, const struct fleet_end *end)
{
	if (end->at_s)
		append(ends, json_pack("{s:s, s:I, s:b, s:o}", "of", of, "ends_s",
				       (json_int_t)end->at_s, "alarm", (int)end->is_alarm,
				       "text", describe_text(end->text)));
}

json_t *describe_status(const struct fleet *fleet, const char *gateway, uint64_t now_ns)
{
	json_t *vms = json_array(), *hosts = json_array(), *ends = json_array();

	for (size_t i = 0; i < fleet->n_vms; i++)
		append(&vms, describe_brief(fleet->vms[i], now_ns));
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		const struct fleet_host *host = &fleet->hosts[i];
		const struct fleet_link *control = host->control;

		append(&hosts,
		       json_pack("{s:s, s:b, s:s, s:o, s:b, s:o}", "name", host->name,
				 "connected", control != NULL, "address",
				 control ? control->peer : "", "beat_age_ms",
				 control ? age_ms(control->seen_ns, now_ns) : json_null(),
				 "obeys_younger",
				 !control && host->obeyed > fleet->config.incarnation, "drain",
				 describe_drain(fleet, host, now_ns)));
		if (control)
			append_end(&ends, host->name, &host->end);
	}
	append_end(&ends, "", &fleet->end);
	return json_pack("{s:b, s:s, s:s, s:o, s:o, s:o, s:o}", "ok", 1, "gateway",
			 gateway, "version", HOLDFAST_VERSION,
			 "vms", vms, "faults", describe_faults(fleet), "hosts", hosts,
			 "certificates", ends);
}

json_t *describe_counters(struct fleet *fleet)
{
	static char text[16384];
	struct bytes_writer w = {(uint8_t *)text, (uint8_t *)text + sizeof(text) - 1, false};
	json_t *object = json_object();
	char *save, *line;

	fleet_print_counters(fleet, &w);
	*w.at = '\0';
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = '\0';
		(void)json_object_set_new(object, line, number(strtoull(value, NULL, 10)));
	}
	return json_pack("{s:b, s:o}", "ok", 1, "counters", object);
}
