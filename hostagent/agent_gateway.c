/* The control connection to the gateway; see agent_private.h. */
#include "agent_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/obeyed.h"
#include "wire/msg.h"

#define REPORT_NS    (200 * CLOCK_NS_PER_MS)
#define HANDSHAKE_NS (2 * CLOCK_NS_PER_S)

void agent_gateway_disconnect(struct agent *a, const char *why)
{
	uint64_t now_ns = clock_mono_ns();
	bool was_reached = a->link && link_was_reached(a->link);

	log_limited(LOG_LEVEL_WARN, "gateway %s:%u: %s; trying again", a->config->gateway_text,
		    a->config->gateway.port, why);
	a->link = link_free(a->link);
	if (a->is_up)
		redial_lost(&a->redial, now_ns);
	a->is_up = false;
	if (redial_is_eager(&a->redial, was_reached, now_ns)) {
		a->connect_at_ns = a->redial.next_ns;
		return;
	}
	a->connect_at_ns = now_ns + a->retry_ns;
	a->retry_ns = a->retry_ns * 2 > AGENT_RETRY_MAX_NS ? AGENT_RETRY_MAX_NS : a->retry_ns * 2;
}

/* Begin to obey the gateway that sent @welcome. Returns true on success. If this host has obeyed a
 * gateway with a higher incarnation, or cannot record the new incarnation, disconnects and returns
 * false. */
static bool obey(struct agent *a, const struct wire_welcome *welcome)
{
	char text[WIRE_TEXT_MAX + 1];
	int r = 0;

	if (welcome->incarnation < a->obeyed) {
		wire_text_format(
			text,
			"gateway %s is incarnation %" PRIu64 ", this host has obeyed %" PRIu64
			": an older gateway (a restored backup, a clone) orders nothing here; if "
			"the younger one is gone for good, `holdfastctl takeover` at this one",
			welcome->gateway, welcome->incarnation, a->obeyed);
		log_limited(LOG_LEVEL_ERROR, "%s", text);
		agent_gateway_disconnect(a, "an older gateway than this host has obeyed");
		return false;
	}
	if (welcome->incarnation > a->obeyed)
		r = obeyed_store(a->config->role_dir, welcome->incarnation);
	if (r < 0) {
		wire_text_format(text, "its incarnation cannot be recorded in role_dir %s: %s",
				 a->config->role_dir, strerror(-r));
		agent_gateway_disconnect(a, text);
		return false;
	}
	a->obeyed = welcome->incarnation;
	gateway_view_obey(&a->view, a->obeyed);
	return true;
}

void agent_gateway_connect(struct agent *a)
{
	struct link_config config = {
		.address = a->config->gateway_text,
		.port = a->config->gateway.port,
		.tls = a->tls,
		.connect_by_ns = redial_connect_by_ns(&a->redial, clock_mono_ns()),
	};
	struct wire_hello hello;
	struct wire_welcome welcome;
	int r = link_open(&config, &a->link);

	if (r < 0) {
		agent_gateway_disconnect(a, strerror(-r));
		return;
	}
	wire_hello_init(&hello, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, "");
	r = link_handshake(a->link, &hello, a->obeyed, 0, clock_mono_ns() + HANDSHAKE_NS, &welcome);
	if (r < 0) {
		agent_gateway_disconnect(a, *link_error(a->link) ? link_error(a->link)
								 : strerror(-r));
		return;
	}
	if (!obey(a, &welcome))
		return;
	for (uint32_t i = 0; i < a->n_vms; i++)
		vm_leases(a->vms[i], welcome.features & WIRE_FEATURE_LEASE);
	log_info("connected to gateway %s at %s:%u", welcome.gateway, config.address, config.port);
	guard_connected(a->guard, welcome.features);
	a->is_up = true;
	redial_end(&a->redial);
	a->retry_ns = AGENT_RETRY_MIN_NS;
	a->beat_at_ns = 0;
	a->report_at_ns = 0;
	a->seq = 0;
}

/* Finish the frame whose payload was written with @w, and send it. If the link does not take the
 * frame, disconnect. */
static void send_built(struct agent *a, struct wire_header *header, struct bytes_writer *w)
{
	size_t size;
	int r;

	header->seq = a->seq++;
	r = wire_frame_finish(a->buffer, w, header, &size);
	if (r == 0)
		r = link_send_frame(a->link, a->buffer, size);
	if (r < 0)
		agent_gateway_disconnect(a, *link_error(a->link) ? link_error(a->link)
								 : "does not take what is sent");
}

static void send_beat(struct agent *a)
{
	struct wire_header header = {.type = WIRE_BEAT};
	struct wire_beat beat = {.mono_ns = clock_boot_ns()};
	struct bytes_writer w;

	if (wire_frame_begin(a->buffer, sizeof(a->buffer), &w) < 0 ||
	    wire_beat_encode(&beat, &w) < 0)
		return; /* cannot happen: the buffer is large enough */
	a->beat_sent_ns = beat.mono_ns;
	send_built(a, &header, &w);
}

static void send_report(struct agent *a, struct vm *vm)
{
	struct wire_header header = {.type = WIRE_REPORT};
	struct wire_report report;
	struct bytes_writer w;

	vm_report(vm, &report, &header.term, &header.epoch);
	if (wire_frame_begin(a->buffer, sizeof(a->buffer), &w) < 0 ||
	    wire_report_encode(&report, &w) < 0) {
		log_limited(LOG_LEVEL_ERROR, "vm=%s its report breaks the wire format: a bug",
			    vm_name(vm));
		return;
	}
	send_built(a, &header, &w);
}

static void send_done(struct agent *a, const struct wire_order_done *done, uint64_t term,
		      uint64_t epoch)
{
	struct wire_header header = {.type = WIRE_ORDER_DONE, .term = term, .epoch = epoch};
	struct bytes_writer w;

	if (wire_frame_begin(a->buffer, sizeof(a->buffer), &w) < 0 ||
	    wire_order_done_encode(done, &w) < 0) {
		log_error("vm=%s an order's answer breaks the wire format: a bug", done->vm);
		return;
	}
	send_built(a, &header, &w);
}

static void send_drain(struct agent *a)
{
	struct bytes_writer w;

	if (wire_frame_begin(a->buffer, sizeof(a->buffer), &w) == 0 && guard_take(a->guard, &w))
		send_built(a, &(struct wire_header){.type = WIRE_DRAIN}, &w);
}

static void refuse_order(struct agent *a, const struct wire_order *order,
			 const struct wire_header *header, const char *why)
{
	struct wire_order_done done = {
		.order_id = order->order_id, .status = WIRE_ORDER_REFUSED};

	strcpy(done.vm, order->vm);
	wire_text_format(done.text, "%s", why);
	send_done(a, &done, header->term, header->epoch);
}

static void take_order(struct agent *a, const struct wire_frame *frame)
{
	struct wire_order order;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];
	struct vm *vm;

	if (wire_order_decode(frame, &order, &error) < 0) {
		agent_gateway_disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	if (order.incarnation != a->obeyed) {
		agent_gateway_disconnect(
			a, "sent an ORDER of another incarnation than its WELCOME");
		return;
	}
	vm = agent_find_vm(a, order.vm);
	if (!vm)
		refuse_order(a, &order, &frame->h,
			     "this host has no file for that VM in its vm_dir; "
			     "add one and `systemctl reload holdfast-agent`");
	else if (vm_order(vm, &order, frame->h.term, frame->h.epoch) < 0)
		refuse_order(a, &order, &frame->h, "too many orders are waiting");
}

static void take_witness_key(struct agent *a, const struct wire_frame *frame)
{
	struct wire_witness_key key;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];
	struct vm *vm;

	if (wire_witness_key_decode(frame, &key, &error) < 0) {
		agent_gateway_disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	vm = agent_find_vm(a, key.vm);
	if (vm)
		vm_witness_key(vm, &key, frame->h.term);
	else
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s a witness key for a VM without a file here, ignoring", key.vm);
	explicit_bzero(&key, sizeof(key));
}

static void take_lease(struct agent *a, const struct wire_frame *frame)
{
	struct wire_lease lease;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];
	struct vm *vm;

	if (wire_lease_decode(frame, &lease, &error) < 0) {
		agent_gateway_disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	if (lease.incarnation != a->obeyed) {
		agent_gateway_disconnect(a, "sent a LEASE of another incarnation than its WELCOME");
		return;
	}
	vm = agent_find_vm(a, lease.vm);
	if (vm)
		vm_lease(vm, &lease, frame->h.term, a->beat_sent_ns);
}

void agent_gateway_receive(struct agent *a)
{
	struct wire_frame frame;
	int r = -EAGAIN;

	while (a->link && (r = link_receive(a->link, &frame)) == 0) {
		gateway_view_seen(&a->view, clock_mono_ns());
		switch (frame.h.type) {
		case WIRE_BEAT_ACK:
			break;
		case WIRE_ORDER:
			take_order(a, &frame);
			break;
		case WIRE_WITNESS_KEY:
			take_witness_key(a, &frame);
			break;
		case WIRE_LEASE:
			take_lease(a, &frame);
			break;
		case WIRE_DRAIN_STATE:
			if (guard_state(a->guard, &frame) < 0)
				agent_gateway_disconnect(a, "sent a wrong DRAIN_STATE");
			break;
		default:
			agent_gateway_disconnect(a, "sent something unexpected");
			break;
		}
	}
	if (a->link && r != -EAGAIN)
		agent_gateway_disconnect(a, *link_error(a->link) ? link_error(a->link) : "closed");
}

void agent_gateway_say(struct agent *a, uint64_t now_ns, bool is_woken)
{
	struct wire_order_done done;
	uint64_t term, epoch;

	send_drain(a);
	if (a->link && now_ns >= a->beat_at_ns) {
		send_beat(a);
		a->beat_at_ns = now_ns + a->config->beat_ns;
	}
	for (uint32_t i = 0; i < a->n_vms && a->link; i++) {
		while (a->link && vm_take_done(a->vms[i], &done, &term, &epoch) == 0) {
			/* Send the report first, so that the gateway knows the new state when it
			 * reads the answer. */
			send_report(a, a->vms[i]);
			if (a->link)
				send_done(a, &done, term, epoch);
		}
	}
	if (!is_woken && now_ns < a->report_at_ns)
		return;
	for (uint32_t i = 0; i < a->n_vms && a->link; i++)
		send_report(a, a->vms[i]);
	a->report_at_ns = now_ns + REPORT_NS;
}
