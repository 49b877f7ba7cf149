#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent_certificates.h"
#include "agent_check.h"
#include "agent_replace.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "guard/guard.h"
#include "supervision/gateway_view.h"
#include "link/link.h"
#include "link/redial.h"
#include "supervision/obeyed.h"
#include "peer/server.h"
#include "vm/vm.h"
#include "wire/msg.h"
#include "wire/tls.h"

#define REPORT_NS    (200 * CLOCK_NS_PER_MS)
#define HANDSHAKE_NS (2 * CLOCK_NS_PER_S)
#define RETRY_MIN_NS (100 * CLOCK_NS_PER_MS)
#define RETRY_MAX_NS (1600 * CLOCK_NS_PER_MS)
#define FRAME_BUFFER (WIRE_HEADER_SIZE + 16384) /* fits a REPORT, the longest frame that we send */

struct agent {
	const struct agent_config *config;
	struct wire_tls_context *tls;
	uint64_t tls_looked_ns; /* when the certificates' files were last checked */
	struct wire_tls_context *peer_tls; /* TLS context for connections from other hosts; NULL:
					    * peer_listen is not set */
	struct peer_server *peers;	   /* NULL: peer_listen is not set */
	struct gateway_view view;
	struct vm *vms[AGENT_VMS_MAX];
	uint32_t n_vms;
	struct guard *guard; /* NULL: the guard could not be opened */
	struct link *link; /* NULL: not connected */
	bool is_up;	      /* the gateway has answered our HELLO on `link` with WELCOME */
	struct redial redial; /* how soon to connect again after the link was lost */
	uint64_t connect_at_ns, retry_ns, beat_at_ns, report_at_ns;
	/* clock_boot_ns() of the newest BEAT on any connection; 0: none yet */
	uint64_t beat_sent_ns;
	/* the highest incarnation of all gateways that this host has obeyed; it is written to a
	 * file before the host obeys */
	uint64_t obeyed;
	uint32_t seq;  /* sequence number of the next control frame */
	int wake_fd;   /* eventfd, written when a VM has a report or an answer to send */
	int signal_fd; /* made by signals_open() */
	bool must_stop;
	struct agent_replace replace;
	struct onward *onward; /* what the agent's last program handed on; NULL: nothing */
	uint8_t buffer[FRAME_BUFFER];
};

static void wake(void *arg)
{
	const struct agent *a = arg;
	uint64_t one = 1;

	/* Do not log EAGAIN: it means that the counter is full, so the loop will wake up anyway. */
	if (write(a->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_debug("wake: %s, ignoring", strerror(errno));
}

static void disconnect(struct agent *a, const char *why)
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
	a->retry_ns = a->retry_ns * 2 > RETRY_MAX_NS ? RETRY_MAX_NS : a->retry_ns * 2;
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
		disconnect(a, "an older gateway than this host has obeyed");
		return false;
	}
	if (welcome->incarnation > a->obeyed)
		r = obeyed_store(a->config->role_dir, welcome->incarnation);
	if (r < 0) {
		wire_text_format(text, "its incarnation cannot be recorded in role_dir %s: %s",
				 a->config->role_dir, strerror(-r));
		disconnect(a, text);
		return false;
	}
	a->obeyed = welcome->incarnation;
	gateway_view_obey(&a->view, a->obeyed);
	return true;
}

static void connect_gateway(struct agent *a)
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
		disconnect(a, strerror(-r));
		return;
	}
	wire_hello_init(&hello, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, "");
	r = link_handshake(a->link, &hello, a->obeyed, 0, clock_mono_ns() + HANDSHAKE_NS, &welcome);
	if (r < 0) {
		disconnect(a, *link_error(a->link) ? link_error(a->link) : strerror(-r));
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
	a->retry_ns = RETRY_MIN_NS;
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
		disconnect(a, *link_error(a->link) ? link_error(a->link)
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

static struct vm *find_vm(const struct agent *a, const char *name)
{
	for (uint32_t i = 0; i < a->n_vms; i++) {
		if (strcmp(vm_name(a->vms[i]), name) == 0)
			return a->vms[i];
	}
	return NULL;
}

static void take_order(struct agent *a, const struct wire_frame *frame)
{
	struct wire_order order;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];
	struct vm *vm;

	if (wire_order_decode(frame, &order, &error) < 0) {
		disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	if (order.incarnation != a->obeyed) {
		disconnect(a, "sent an ORDER of another incarnation than its WELCOME");
		return;
	}
	vm = find_vm(a, order.vm);
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
		disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	vm = find_vm(a, key.vm);
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
		disconnect(a, wire_error_text(&error, text, sizeof(text)));
		return;
	}
	if (lease.incarnation != a->obeyed) {
		disconnect(a, "sent a LEASE of another incarnation than its WELCOME");
		return;
	}
	vm = find_vm(a, lease.vm);
	if (vm)
		vm_lease(vm, &lease, frame->h.term, a->beat_sent_ns);
}

static void receive(struct agent *a)
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
				disconnect(a, "sent a wrong DRAIN_STATE");
			break;
		default:
			disconnect(a, "sent something unexpected");
			break;
		}
	}
	if (a->link && r != -EAGAIN)
		disconnect(a, *link_error(a->link) ? link_error(a->link) : "closed");
}

static void say(struct agent *a, uint64_t now_ns, bool is_woken)
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

static void take_signal(struct agent *a)
{
	const char *name;

	switch (signals_take(a->signal_fd, &name)) {
	case SIGNALS_END:
		a->must_stop = true;
		break;
	case SIGNALS_RELOAD:
		log_info(
			"SIG%s: going on; files are read at the start and at SIGUSR2 (`systemctl "
			"reload holdfast-agent`): send that for what has changed",
			name);
		break;
	case SIGNALS_REPLACE:
		agent_replace_ask(&a->replace, a->vms, a->n_vms);
		break;
	case SIGNALS_NONE:
		if (*name)
			log_info("SIG%s: going on; this signal asks the agent for nothing", name);
		break;
	}
}

static bool wait_for_events(struct agent *a)
{
	struct pollfd fds[3 + GUARD_N_FDS] = {
		{.fd = a->wake_fd, .events = POLLIN},
		{.fd = a->signal_fd, .events = POLLIN},
		{.fd = a->link ? link_fd(a->link) : -1,
		 .events = a->link ? (short)link_events(a->link) : 0},
	};
	uint64_t at_ns = a->connect_at_ns, now_ns = clock_mono_ns();
	uint64_t count, replace_ns = agent_replace_due_ns(&a->replace, now_ns);

	guard_poll(a->guard, &fds[3]);
	if (a->link)
		at_ns = a->beat_at_ns < a->report_at_ns ? a->beat_at_ns : a->report_at_ns;
	if (replace_ns < at_ns)
		at_ns = replace_ns;
	if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(now_ns, at_ns)) <= 0)
		return false;
	guard_serve(a->guard, &fds[3]);
	if (fds[1].revents)
		take_signal(a);
	return fds[0].revents != 0 && read(a->wake_fd, &count, sizeof(count)) > 0;
}

/* Run the loop until the agent must end. Returns true if the caller must run the next program. */
static bool loop(struct agent *a)
{
	bool is_woken = false;

	while (!a->must_stop) {
		uint64_t now_ns = clock_mono_ns();

		if (now_ns - a->tls_looked_ns >= CLOCK_NS_PER_S) {
			a->tls_looked_ns = now_ns;
			agent_certificates_tick(a->tls, a->peer_tls);
		}
		if (plan_is_pressing(&a->replace.plan) && a->connect_at_ns <= now_ns)
			a->connect_at_ns = now_ns + AGENT_REPLACE_LOOK_NS; /* connecting blocks */
		if (!a->link && now_ns >= a->connect_at_ns)
			connect_gateway(a);
		if (a->link) {
			int r = link_flush(a->link);

			if (r < 0 && r != -EAGAIN)
				disconnect(a, link_error(a->link));
		}
		receive(a);
		if (a->link)
			say(a, clock_mono_ns(), is_woken);
		if (agent_replace_turn(&a->replace, a->vms, a->n_vms))
			return true;
		is_woken = wait_for_events(a);
	}
	return false;
}

/* Open all VMs, even those whose file is wrong. Returns 0, or the first error of vm_open(). */
static int open_vms(struct agent *a)
{
	struct vm_environment environment = {
		.config = a->config, .tls = a->tls, .view = &a->view, .wake = wake, .wake_arg = a};

	for (uint32_t i = 0; i < a->config->n_vms; i++) {
		const struct agent_vm_config *config = &a->config->vms[i];
		int r;

		if (!*config->name) { /* without a name, the VM can get no order */
			log_error("%s; no VM is served by this file", config->fault);
			continue;
		}
		r = vm_open(&environment, config, onward_find(a->onward, config->name),
			    &a->vms[a->n_vms]);
		if (r < 0) {
			log_error("vm=%s %s", config->name, strerror(-r));
			return r;
		}
		a->n_vms++;
	}
	agent_replace_drop(a->onward, a->vms, a->n_vms);
	return 0;
}

static int open_signals(struct agent *a)
{
	a->signal_fd = signals_open(); /* must be called before any thread starts */
	if (a->signal_fd < 0)
		return a->signal_fd;
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return a->wake_fd < 0 ? -errno : 0;
}

static int new_tls(struct agent *a, enum wire_tls_side side, struct wire_tls_context **ret_tls)
{
	struct error error;
	int r = agent_tls_new(a->config, side, ret_tls, &error);

	if (r < 0)
		log_error("%s", error.text);
	return r;
}

/* Pass a connection from another host to its VM. Runs on the peer server's thread, which starts
 * only after the list of VMs is complete. */
static uint16_t take_peer(void *arg, const struct peer_offer *offer, struct error *ret_error)
{
	struct vm *vm = find_vm(arg, offer->vm);

	if (vm)
		return vm_take_peer(vm, offer, ret_error);
	return error_set(ret_error, WIRE_REFUSED_UNKNOWN_VM,
			 "this host has no file for %s in its vm_dir", offer->vm);
}

static int open_peers(struct agent *a)
{
	struct peer_server_config config = {
		.ip_be32 = a->config->peer_listen_at.ip_be32,
		.port = a->config->peer_listen_at.port,
		.take = take_peer,
		.arg = a,
	};
	int r;

	if (config.port == 0)
		return 0;
	r = new_tls(a, WIRE_TLS_SERVER, &a->peer_tls);
	if (r < 0)
		return r;
	config.tls = a->peer_tls;
	r = peer_server_open(&config, &a->peers);
	if (r < 0)
		log_error("peer_listen %s: %s", a->config->peer_listen, strerror(-r));
	return r;
}

static int start(struct agent *a)
{
	struct error error;
	int r = new_tls(a, WIRE_TLS_CLIENT, &a->tls);

	if (r < 0)
		return r;
	/* Mode 0711: QEMU's user must reach the sockets of the disks' servers in this directory,
	 * but must not list it. */
	r = fd_mkdir_p(a->config->run_dir, 0711);
	if (r < 0) {
		log_error("run_dir %s: %s", a->config->run_dir, strerror(-r));
		return r;
	}
	r = fd_mkdir_p(a->config->role_dir, 0700);
	if (r < 0) {
		log_error("role_dir %s: %s", a->config->role_dir, strerror(-r));
		return r;
	}
	r = obeyed_load(a->config->role_dir, &a->obeyed, &error);
	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	r = open_signals(a);
	if (r < 0) {
		log_error("signals: %s", strerror(-r));
		return r;
	}
	atomic_init(&a->view.seen_ns, clock_mono_ns());
	atomic_init(&a->view.obeyed, a->obeyed);
	a->guard = guard_open(a->config->run_dir);
	r = open_vms(a);
	return r < 0 ? r : open_peers(a);
}

int agent_run(const struct agent_config *config, const char *config_path, struct onward *onward)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->config = config;
	a->onward = onward;
	agent_replace_init(&a->replace, config_path, onward);
	a->signal_fd = a->wake_fd = -1;
	a->retry_ns = RETRY_MIN_NS;
	r = start(a);
	if (r == 0) {
		log_info("host=%s agent %s, %u VMs", wire_tls_context_self(a->tls)->name,
			 HOLDFAST_VERSION, a->n_vms);
		if (loop(a))
			agent_replace_go(&a->replace, a->vms, a->n_vms);
		else
			agent_replace_end(&a->replace, a->vms, a->n_vms, a->wake_fd);
		log_info("ending: guests go on, holds stay closed");
		vm_print_figures(a->vms, a->n_vms);
	}
	link_free(a->link);
	/* close the peer server before the VMs: it passes connections to them */
	peer_server_close(a->peers);
	for (uint32_t i = 0; i < a->n_vms; i++)
		vm_close(a->vms[i]);
	guard_close(a->guard);
	wire_tls_context_free(a->tls);
	wire_tls_context_free(a->peer_tls);
	fd_close(a->signal_fd);
	fd_close(a->wake_fd);
	free(a);
	return r;
}
