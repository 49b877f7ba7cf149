/* session_control.c - handles the messages of a host's control connection. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/drain_record.h"
#include "fleet/drains.h"
#include "session/session_private.h"

#define DRAIN_BURST 10 /* how many DRAIN messages are obeyed at once; after that, one per second */

/* Send the owner a lease, which lets it release output for a while longer; see docs/wire-format.md
 * 5.6.2. */
static void send_lease(struct session *s, struct fleet_vm *vm, uint64_t beat_ns)
{
	const struct fleet_config *config = &s->sessions->fleet->config;
	struct wire_header h = {.type = WIRE_LEASE, .term = vm->fsm.record.term,
				.seq = s->tx_seq++};
	struct wire_lease lease = {.beat_ns = beat_ns, .lease_ms = config->lease_ms,
				   .release_ms = config->release_ms,
				   .incarnation = session_incarnation(s)};

	memcpy(lease.vm, vm->config.name, sizeof(lease.vm));
	session_send(s, &h, wire_lease_encode(&lease, session_begin(s)));
}

int session_on_beat(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct fleet *fleet = s->sessions->fleet;
	struct wire_header h = {.type = WIRE_BEAT_ACK, .seq = s->tx_seq++};
	struct wire_beat beat;
	struct wire_error error;

	if (wire_beat_decode(frame, &beat, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	counters_add(&fleet->counters.beats, 1);
	session_send(s, &h, wire_beat_encode(&beat, session_begin(s)));
	for (size_t i = 0; i < fleet->n_vms; i++) {
		struct fleet_vm *vm = fleet->vms[i];
		int host = fleet_vm_host(vm, s->host);

		if (host < 0)
			continue;
		fleet_beat(fleet, vm, (uint8_t)host, beat.mono_ns, now_ns);
		if ((s->link.features & WIRE_FEATURE_LEASE) &&
		    fleet_grant(fleet, vm, (uint8_t)host, now_ns))
			send_lease(s, vm, beat.mono_ns);
	}
	return 0;
}

/* Find the VM that a control message names, and set *ret_host to the index of the session's host
 * among the VM's hosts. Returns NULL if there is no such VM, or if the session's host is not among
 * the VM's hosts. */
static struct fleet_vm *named_vm(struct session *s, const char *name, uint8_t *ret_host)
{
	struct fleet_vm *vm = fleet_find_vm(s->sessions->fleet, name);
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

int session_on_report(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	static struct wire_report msg; /* static because it has 9 KB; only one thread uses it */
	struct fleet *fleet = s->sessions->fleet;
	struct wire_error error;
	struct fleet_vm *vm;
	uint8_t host;

	if (wire_report_decode(frame, &msg, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	counters_add(&fleet->counters.reports, 1);
	vm = named_vm(s, msg.vm, &host);
	if (vm) /* the agent may know more VMs than this gateway */
		fleet_take_report(fleet, vm, host, frame->h.term, frame->h.epoch, &msg, now_ns);
	return 0;
}

int session_on_order_done(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct fleet *fleet = s->sessions->fleet;
	struct wire_order_done done;
	struct wire_error error;
	struct fleet_vm *vm;
	struct vm_input in;
	uint8_t host;

	if (wire_order_done_decode(frame, &done, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	counters_add(&fleet->counters.orders_done, 1);
	vm = named_vm(s, done.vm, &host);
	if (!vm)
		return 0;
	if (session_may_log(s, now_ns))
		log_info("vm=%s host=%s order=%" PRIu64 " done status=%u %s (suppressed=%" PRIu64
			 ")", done.vm, s->host->name, done.order_id, done.status, done.text,
			 rate_take_suppressed(&s->host->log_rate));
	in = (struct vm_input){
		.kind = VM_IN_ORDER_DONE, .host = host, .order_id = done.order_id,
		.status = done.status, .term = frame->h.term, .epoch = frame->h.epoch,
		.text = done.text,
	};
	if (fleet_step(fleet, vm, &in, now_ns) < 0)
		/* end the connection: when the host connects again, it gets the order again */
		session_end(s, now_ns);
	return 0;
}

/* Handle DRAIN, by which a host's guard names the host's boot, and says if the host is going down.
 * The message concerns only the host that sent it, whose name comes from its certificate. The rate
 * of these messages is limited, because each can cause a write to the disk. */
int session_on_drain(struct session *s, const struct wire_frame *frame, uint64_t now_ns)
{
	struct drain_input in = {.kind = DRAIN_IN_BOOT};
	char boot[DRAIN_BOOT_MAX + 1];
	struct wire_drain drain;
	struct wire_error error;

	if (wire_drain_decode(frame, &drain, &error) < 0)
		return session_bad_frame(s, now_ns, &error);
	if (!rate_pass(&s->host->drain_rate, CLOCK_NS_PER_S, DRAIN_BURST, now_ns)) {
		log_limited(LOG_LEVEL_WARN, "host=%s sends DRAIN too often, ignoring",
			    s->host->name);
		return 0;
	}
	drain_boot_format(drain.boot, boot);
	in.boot = boot;
	fleet_drains_step(s->sessions->fleet, s->host, &in, now_ns);
	if (drain.what == WIRE_DRAIN_GOES_DOWN) {
		in.kind = DRAIN_IN_GUARD;
		in.limit_ns = drain.limit_s * CLOCK_NS_PER_S;
		fleet_drains_step(s->sessions->fleet, s->host, &in, now_ns);
	}
	return 0;
}
