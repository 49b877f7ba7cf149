/* session_control.c - messages of a host's control connection. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/session.h"

#define HINDRANCE_NS CLOCK_NS_PER_S /* at most one event in this time reports a host's hindrance */

/* Let the owner's guest run for a while longer; see docs/wire-format.md 5.6.2. Other states need no
 * lease: nobody could be promoted in the owner's place. */
static void send_lease(struct session *s, struct fleet_vm *vm, int host, uint64_t beat_ns)
{
	const struct vm_record *record = &vm->fsm.record;
	struct wire_header h = {.type = WIRE_LEASE, .term = record->term};
	struct wire_lease lease = {.beat_ns = beat_ns, .lease_ms = s->fleet->config.lease_ms,
				   .release_ms = s->fleet->config.release_ms,
				   .incarnation = session_incarnation(s)};

	if (!(s->features & WIRE_FEATURE_LEASE) || !lease.lease_ms || host != record->owner ||
	    record->in_doubt || (record->state != VM_SYNCING && record->state != VM_PROTECTED) ||
	    !fleet_is_durable(vm))
		return;
	h.seq = s->tx_seq++;
	memcpy(lease.vm, vm->config.name, sizeof(lease.vm));
	counters_add(&s->fleet->counters.leases, 1);
	vm_fsm_granted(&vm->fsm, s->fleet->now_ns); /* before it is sent: the
						  * owner may use it at once */
	if (vm->pending.waiting)
		vm_fsm_granted(&vm->pending.before, s->fleet->now_ns); /* this copy may be restored */
	SESSION_SEND(s, &h, wire_lease_encode, &lease);
}

int session_on_beat(struct session *s, const struct wire_frame *frame)
{
	struct fleet *fleet = s->fleet;
	struct wire_header h = {.type = WIRE_BEAT_ACK, .seq = s->tx_seq++};
	struct wire_beat beat;
	struct wire_error error;

	if (wire_beat_decode(frame, &beat, &error) < 0)
		return session_bad_frame(s, &error);
	counters_add(&fleet->counters.beats, 1);
	SESSION_SEND(s, &h, wire_beat_encode, &beat);
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct vm_input in = {.kind = VM_IN_SEEN};
		int index = fleet_vm_host(fleet->vms[i], s->host);

		if (index < 0)
			continue;
		in.host = (uint8_t)index;
		(void)fleet_step(fleet, fleet->vms[i], &in); /* a beat causes nothing that can fail */
		if (index == fleet->vms[i]->fsm.record.owner)
			witness_rx_clock(fleet->witness, i, beat.mono_ns, fleet->now_ns);
		send_lease(s, fleet->vms[i], index, beat.mono_ns);
	}
	return 0;
}

/* The VM that a control message names, and the index of this host in it. */
static struct fleet_vm *named_vm(struct session *s, const char *name, uint8_t *ret_host)
{
	struct fleet_vm *vm = fleet_find_vm(s->fleet, name);
	int h = vm ? fleet_vm_host(vm, s->host) : -ENOENT;

	if (h < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s host=%s %s, ignoring", name, s->host->name,
			    vm ? "reports a VM that it is no host of"
			       : "reports a VM that has no file here");
		return NULL;
	}
	*ret_host = (uint8_t)h;
	return vm;
}

/* A promoted guest's host reports on the guest. A missing key: the host does not know. */
static void find_guest(const char *key, const char *value, struct vm_guest_report *guest)
{
	uint64_t number = strtoull(value, NULL, 10);

	if (strcmp(key, "promoted_term") == 0) {
		guest->is_valid = true;
		guest->term = number;
	} else if (strcmp(key, "promoted_running") == 0) {
		guest->was_running = number != 0;
	} else if (strcmp(key, "promoted_vcpu_us") == 0) {
		guest->vcpu_us = number;
	} else if (strcmp(key, "promoted_frames") == 0) {
		guest->knows_frames = true;
		guest->frames = number;
	}
}

static uint8_t percent_of(const char *value)
{
	unsigned long percent = strtoul(value, NULL, 10);

	return percent < 100 ? (uint8_t)percent : 100;
}

/* Storage for the strings that a report's vm_input points to. */
struct report_words {
	char throttle_why[WIRE_STATS_VALUE_MAX + 1];
	char clock_why[WIRE_STATS_VALUE_MAX + 1];
	char way[WIRE_STATS_VALUE_MAX + 1];
	char step[WIRE_STATS_VALUE_MAX + 1];
};

/* Pick from the agent's figures what the machine must know. Strings go into @words. */
static void find_signs(const char *stats, struct vm_input *in, struct report_words *words)
{
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];

	while (wire_stats_next(&stats, key, value)) {
		if (strcmp(key, "throttle_percent") == 0) {
			in->throttle_percent = percent_of(value);
		} else if (strcmp(key, "throttle_why") == 0) {
			memcpy(words->throttle_why, value, sizeof(value));
			in->throttle_why = words->throttle_why;
		} else if (strcmp(key, "uncovered") == 0) {
			in->is_uncovered = true;
		} else if (strcmp(key, "covered_again") == 0) {
			in->is_covered_again = true;
		} else if (strcmp(key, "way") == 0) {
			memcpy(words->way, value, sizeof(value));
			in->way = words->way;
		} else if (strcmp(key, "release_mended") == 0) {
			in->n_mended = strtoull(value, NULL, 10);
		} else if (strcmp(key, "clock_alarm_percent") == 0) {
			in->clock_alarm_percent = percent_of(value);
		} else if (strcmp(key, "clock_why") == 0) {
			memcpy(words->clock_why, value, sizeof(value));
			in->clock_why = words->clock_why;
		} else if (strcmp(key, "step") == 0) {
			memcpy(words->step, value, sizeof(value));
			in->step = words->step;
		} else if (strcmp(key, "step_moves") == 0) {
			in->n_moves = strtoull(value, NULL, 10);
		} else {
			find_guest(key, value, &in->guest);
		}
	}
}

/* A host that cannot take part says why, for example a wrong file. Give an event once, and again
 * when the reason changes. */
static void tell_hindrance(struct session *s, const struct fleet_vm *vm, uint8_t host,
			   struct fleet_report *report)
{
	char text[VM_TEXT_MAX];

	if (report->state != WIRE_STATE_IDLE && report->state != WIRE_STATE_FENCED && report->state != WIRE_STATE_LOST)
		return;
	if (strcmp(report->text, report->told_text) == 0 ||
	    (report->told_ns && s->fleet->now_ns - report->told_ns < HINDRANCE_NS))
		return;
	strcpy(report->told_text, report->text);
	report->told_ns = s->fleet->now_ns;
	if (!*report->text)
		return;
	(void)snprintf(text, sizeof(text), "%s: %s", vm->config.host[host], report->text);
	fleet_event(s->fleet, vm->config.name, "host", text);
}

int session_on_report(struct session *s, const struct wire_frame *frame)
{
	static struct wire_report msg; /* 9 KB; one thread */
	struct wire_error error;
	struct fleet_report *report;
	struct fleet_vm *vm;
	struct vm_input in;
	struct report_words words;
	uint8_t host;

	if (wire_report_decode(frame, &msg, &error) < 0)
		return session_bad_frame(s, &error);
	counters_add(&s->fleet->counters.reports, 1);
	vm = named_vm(s, msg.vm, &host);
	if (!vm)
		return 0; /* the agent may know more VMs than this gateway */
	report = &vm->report[host];
	report->at_ns = s->fleet->now_ns;
	report->term = frame->h.term;
	report->epoch = frame->h.epoch;
	report->role = msg.role;
	report->state = msg.state;
	report->verdict = msg.verdict;
	memcpy(report->text, msg.text, sizeof(report->text));
	memcpy(report->stats, msg.stats, sizeof(report->stats));
	in = (struct vm_input){
		.kind = VM_IN_REPORT, .host = host, .role = msg.role, .agent_state = msg.state,
		.verdict = msg.verdict, .term = frame->h.term, .epoch = frame->h.epoch,
		.text = msg.text,
	};
	find_signs(msg.stats, &in, &words);
	tell_hindrance(s, vm, host, report);
	(void)fleet_step(s->fleet, vm, &in); /* if this had no effect, the next report repeats it */
	witness_keys_offer(s->fleet, vm);
	return 0;
}

int session_on_order_done(struct session *s, const struct wire_frame *frame)
{
	struct wire_order_done done;
	struct wire_error error;
	struct fleet_vm *vm;
	struct vm_input in;
	uint8_t host;

	if (wire_order_done_decode(frame, &done, &error) < 0)
		return session_bad_frame(s, &error);
	counters_add(&s->fleet->counters.orders_done, 1);
	vm = named_vm(s, done.vm, &host);
	if (!vm)
		return 0;
	if (session_may_log(s))
		log_info("vm=%s host=%s order=%llu done status=%u %s (suppressed=%llu)", done.vm,
			 s->host->name, (unsigned long long)done.order_id, done.status, done.text,
			 (unsigned long long)rate_take_suppressed(&s->host->log_rate));
	in = (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = host, .order_id = done.order_id,
		.status = done.status, .term = frame->h.term, .text = done.text,
	};
	if (fleet_step(s->fleet, vm, &in) < 0)
		session_end(s); /* the host connects again, and the order is given again */
	return 0;
}

void session_send_order(struct session *s, struct fleet_vm *vm, const struct vm_action *a)
{
	struct wire_header h = {.type = WIRE_ORDER, .term = a->term, .epoch = a->epoch,
				.seq = s->tx_seq++};
	struct wire_order order = {.order_id = a->order_id, .verb = a->verb,
				   .incarnation = session_incarnation(s)};

	memcpy(order.vm, vm->config.name, sizeof(order.vm));
	log_info("vm=%s host=%s order=%llu %s term=%llu epoch=%llu", order.vm, s->host->name,
		 (unsigned long long)a->order_id, wire_verb_name(a->verb),
		 (unsigned long long)a->term, (unsigned long long)a->epoch);
	counters_add(&s->fleet->counters.orders_sent, 1);
	SESSION_SEND(s, &h, wire_order_encode, &order);
}
