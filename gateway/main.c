/* main.c - holdfast-gateway: reads the configuration, opens ports and services, runs the loop.
 *
 * One thread, the loop, does nearly everything (design: run to completion). It receives frames,
 * runs TCP, TLS and the state machines, and sends frames. Between bursts it serves operators'
 * sockets. Work that can block, such as writing the journal (vm/journal_thread.h), runs on other
 * threads.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "arguments.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/hurry.h"
#include "base/log.h"
#include "base/program.h"
#include "base/signals.h"
#include "certificates.h"
#include "reloading.h"
#include "replacing.h"
#include "networks/claiming.h"
#include "config/config.h"
#include "control/control.h"
#include "fence/fence.h"
#include "fleet/drains.h"
#include "incarnating.h"
#include "networks/networks.h"
#include "port/idler.h"
#include "port/port.h"
#include "loop/ports.h"
#include "networks/probing.h"
#include "session/pump.h"
#include "session/shell_kernel.h"
#include "session/shell_stack.h"
#include "loop/source.h"
#include "stack/stack.h"
#include "tally.h"
#include "vms.h"
#include "networks/witnessing.h"

#define BURST		32
/* how many bursts one turn receives from one port at most; see receive_port() */
#define BURSTS_MAX	8
/* One turn serves at most this many descriptors, so that they do not starve the ports. The ports'
 * own descriptors do not count. */
#define SOURCES_PER_TURN 16

struct daemon {
	struct gw_config config;
	struct wire_tls_context *tls; /* TLS context for agents and operators */
	uint64_t tls_looked_ns; /* when the certificates' files were last checked */
	struct vm_journal *journal;
	struct journal_thread *journal_thread;
	struct source journal_done; /* journal_thread's descriptor, not owned */
	struct gw_vm_config vms[FLEET_VMS_MAX]; /* configurations of the VMs, in
						 * the order of fleet->vms */
	struct fence *fence;
	struct fleet *fleet;
	struct sessions *sessions;
	struct control *control;
	struct shell_kernel *kernel;
	struct ports ports; /* indexed by enum prober_net; empty if the file says port = kernel */
	struct probes *probes;
	struct stack *stack;
	struct witnessing witnessing[PROBER_N_NETS];
	struct incarnating incarnating;
	struct claiming claiming;
	struct claiming_ask asking;
	struct source signals;
	struct idler idler;
	struct replacing replacing;
	/* when this program, or the program that it replaces, made its last turn of the loop */
	uint64_t since_ns;
	struct arguments arguments;
	int epoll_fd;
	bool stop, reload;
	bool starts_again; /* the next program has died, so this program must start again */
};

/* static, because signal_ready() and journal_ready() are passed no pointer to it */
static struct daemon daemon_state;

/* ---- start ---- */

static void signal_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	const char *name;

	(void)events;
	switch (signals_take(source->fd, &name)) {
	case SIGNALS_END:
		log_info("signal %s: closing", name);
		daemon_state.stop = true;
		break;
	case SIGNALS_RELOAD: /* read the certificates and the VMs' files again */
		daemon_state.tls_looked_ns = 0;
		daemon_state.reload = true;
		break;
	case SIGNALS_REPLACE:
		replacing_ask(&daemon_state.replacing, now_ns);
		break;
	case SIGNALS_NONE:
		if (*name)
			log_info("SIG%s: going on; this signal asks the gateway for nothing", name);
		break;
	}
}

static int open_loop(struct daemon *d)
{
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->epoll_fd < 0)
		return -errno;
	d->signals.ready = signal_ready;
	ports_init(&d->ports, d->epoll_fd);
	replacing_init(&d->replacing, d->arguments.config_path, d->config.state_dir, d->epoll_fd);
	return source_add(d->epoll_fd, &d->signals, EPOLLIN);
}

static void start_fence(void *arg, const struct fleet_vm *vm, uint8_t host, uint64_t term,
			uint64_t now_ns)
{
	struct daemon *d = arg;

	for (size_t i = 0; i < d->fleet->n_vms; i++) {
		if (d->fleet->vms[i] == vm)
			fence_start(d->fence, d->vms[i].fence_command, vm->config.name,
				    vm->config.host[host], term, d->vms[i].fence_timeout_ns,
				    now_ns);
	}
}

static int fence_ended(void *arg, const char *name, const char *host, uint64_t term, bool ok,
		       const char *text)
{
	struct daemon *d = arg;
	struct vm_input in = {.kind = VM_IN_FENCED, .term = term, .text = text,
			      .status = ok ? WIRE_ORDER_OK : WIRE_ORDER_FAILED};
	struct fleet_vm *vm = fleet_find_vm(d->fleet, name);

	(void)host;
	/* If the step cannot be journaled, fence/ reports the result again later. */
	return vm ? fleet_step(d->fleet, vm, &in, clock_mono_ns()) : 0;
}

static void journal_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	(void)source;
	(void)events;
	fleet_journal_done(daemon_state.fleet, now_ns);
}

/* Start the journal's thread. Afterwards only that thread uses the journal. */
static int open_journal_thread(struct daemon *d)
{
	int r = journal_thread_open(d->journal, &d->journal_thread);

	if (r == 0) {
		d->fleet->config.journal_thread = d->journal_thread;
		(void)snprintf(d->fleet->disk.path, sizeof(d->fleet->disk.path), "%s/probe",
			       d->config.state_dir);
		d->incarnating.thread = d->journal_thread;
		d->journal_done.fd = journal_thread_fd(d->journal_thread);
		d->journal_done.ready = journal_ready;
		r = source_add(d->epoll_fd, &d->journal_done, EPOLLIN);
	}
	if (r < 0)
		log_error("cannot start the journal's thread: %s", strerror(-r));
	return r;
}

static int open_sessions(struct daemon *d)
{
	const struct session_config config = {
		.tls = d->tls,
		.relay_bytes_max = d->config.relay_bytes_max,
		.beat_timeout_ns = d->config.beat_timeout_ns,
		.handshake_timeout_ns = d->config.handshake_timeout_ns,
		.idle_timeout_ns = d->config.idle_timeout_ns,
		.n_sessions_max = d->config.n_sessions_max,
		.n_handshakes_max = d->config.n_handshakes_max,
	};

	return sessions_new(&config, d->fleet, clock_mono_ns(), &d->sessions);
}

static int open_gateway(struct daemon *d)
{
	struct fleet_config config = {
		.lease_ms = (uint32_t)(d->config.lease_ns / CLOCK_NS_PER_MS),
		.release_ms = (uint32_t)(d->config.release_ns / CLOCK_NS_PER_MS),
		.first_order_id = clock_wall_ns(),
		.fence = start_fence,
		.fence_arg = d,
		.witness_rekey_ns = d->config.witness_rekey_s * CLOCK_NS_PER_S,
	};
	struct error error;
	/* Open the journal first: its lock stops a second gateway that uses the same state_dir. */
	int r = vm_journal_open(d->config.state_dir, &d->journal, &error);

	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	if (!d->arguments.replaces) /* if this process replaces another, get_ready() did this */
		networks_begin(&d->config, &d->asking);
	r = incarnating_begin(&d->incarnating, d->config.state_dir, &config, clock_mono_ns());
	if (r < 0)
		return r;
	r = fence_open(d->epoll_fd, d->config.state_dir, fence_ended, d, &d->fence);
	if (r < 0) {
		log_error("fence commands: %s", strerror(-r));
		return r;
	}
	if (strcmp(d->config.port, GATEWAY_PORT_KERNEL) != 0)
		config.witness_port = (uint16_t)d->config.witness_port;
	config.journal = d->journal;
	r = fleet_new(&config, &d->fleet);
	if (r == 0)
		r = vms_open(&d->config, d->fleet, &d->incarnating, d->vms, &d->probes);
	if (r == 0)
		fleet_drains_open(d->fleet, d->config.state_dir, clock_mono_ns());
	if (r == 0)
		r = open_sessions(d);
	return r < 0 ? r : open_journal_thread(d);
}

/* Prepare everything that a next program (replacing.h) can prepare, then wait until the running
 * program has closed everything. Returns 0 if this process is to be the gateway now, or -errno. */
static int get_ready(struct daemon *d)
{
	int r = replacing_check(&d->config, d->arguments.replaces);

	if (r == 0 && strcmp(d->config.port, GATEWAY_PORT_KERNEL) != 0) {
		networks_begin(&d->config, &d->asking);
		r = networks_prepare(&d->config, &d->asking);
	}
	if (r < 0)
		return r;
	hurry_all_threads(true); /* so that GO wakes us at once */
	return replacing_wait(d->signals.fd, &d->since_ns);
}

static void say_no_port(const char *key, const struct config_address *at, int error)
{
	char ip[INET_ADDRSTRLEN];

	(void)inet_ntop(AF_INET, &(struct in_addr){at->ip_be32}, ip, sizeof(ip));
	log_error("%s = %s:%u: %s%s", key, ip, at->port, strerror(-error),
		  error == -EADDRINUSE      ? "; is another gateway running?"
		  : error == -EADDRNOTAVAIL ? "; no interface of this machine has the address"
					    : "");
}

static int open_services(struct daemon *d)
{
	const struct control_config control = {
		.tls = d->tls,
		.ip_be32 = d->config.management.ip_be32,
		.port = d->config.management.port,
		.state_dir = d->config.state_dir,
		.events_bytes_max = d->config.events_bytes_max,
	};
	int r = control_open(d->fleet, d->epoll_fd, &control, &d->control);

	if (r < 0) {
		say_no_port("management", &d->config.management, r);
		return r;
	}
	if (strcmp(d->config.port, GATEWAY_PORT_KERNEL) != 0)
		return networks_open(&d->config, d->fleet, d->sessions, &d->ports, &d->stack,
				     d->witnessing, &d->claiming, &d->asking);
	r = shell_kernel_open(d->sessions, d->epoll_fd, d->config.listen.ip_be32,
			      d->config.listen.port, &d->kernel);
	if (r < 0)
		say_no_port("listen", &d->config.listen, r);
	else
		log_warn("port = kernel: the test shell, not the data path");
	return r;
}

/* ---- the loop ---- */

/* Returns how many ports, from the first, can wake the loop. The port of the client network, the
 * second, can do so only while probes are active. */
static size_t n_watched(const struct daemon *d)
{
	return probes_active(d->probes) ? PROBER_N_NETS : PROBER_NET_CLIENT;
}

/* Pass the frame to the part that handles it, which is lwIP if no other part wants it. Returns true
 * if it was lwIP. */
static bool input_frame(struct daemon *d, size_t net, struct port_frame *f, uint64_t now_ns)
{
	if (witnessing_input(&d->witnessing[net], f->data, f->size, now_ns) ||
	    probes_input(d->probes, (enum prober_net)net, f->data, f->size, now_ns) ||
	    net != PROBER_NET_BACKUP) {
		port_frame_free(f->handle);
		return false;
	}
	claiming_look(&d->claiming, f->data, f->size, now_ns);
	stack_input(d->stack, f->data, f->size, port_frame_free, f->handle);
	return true;
}

/* Receive a burst of frames from the port of @net. On a port that accepts witness datagrams, a full
 * burst without a frame for lwIP can be part of a flood. So receive another burst then, up to
 * BURSTS_MAX bursts, so that the flood does not fill the port's ring. Returns true if there were
 * frames. */
static bool receive_port(struct daemon *d, size_t net, uint64_t now_ns)
{
	struct port_frame frames[BURST];
	size_t n = 0, n_stack = 0, n_bursts = 0;
	bool worked = false;

	do {
		n = port_receive(d->ports.slots[net].port, frames, BURST);
		for (size_t i = 0; i < n; i++)
			n_stack += input_frame(d, net, &frames[i], now_ns);
		worked |= n > 0;
	} while (d->witnessing[net].fleet && n == BURST && n_stack == 0 && ++n_bursts < BURSTS_MAX);
	return worked;
}

/* Receive and send frames on all ports, and serve the sessions. If frames came on a port that can
 * wake the loop (n_watched()), returns true: the loop must stay awake. */
static bool turn_ports(struct daemon *d)
{
	uint64_t now_ns = clock_mono_ns();
	bool worked = false;

	for (size_t net = 0; net < d->ports.n; net++)
		worked |= receive_port(d, net, now_ns) && net < n_watched(d);
	pump_run(d->sessions, clock_mono_ns());
	stack_poll(d->stack, clock_mono_ns());
	pump_run(d->sessions, clock_mono_ns());
	probes_tick(d->probes, clock_mono_ns());
	for (size_t net = 0; net < d->ports.n; net++) {
		witnessing_shield(&d->witnessing[net], clock_mono_ns());
		port_flush(d->ports.slots[net].port);
	}
	return worked;
}

/* Serve up to SOURCES_PER_TURN descriptors that are ready. Waits at most @timeout_ns for the first
 * of them. If a frame arrives on a port, stops early. Returns 0 or -errno. */
static int serve_sources(struct daemon *d, uint64_t timeout_ns)
{
	for (int i = 0; i < SOURCES_PER_TURN && !d->ports.by_frame; i++) {
		int r = source_wait(d->epoll_fd, i == 0 ? timeout_ns : 0);

		if (r <= 0)
			return r;
	}
	return 0;
}

static uint64_t until_next_timer(const struct daemon *d, uint64_t now_ns)
{
	const uint64_t deadlines_ns[] = {
		fleet_deadline_ns(d->fleet, now_ns), sessions_deadline_ns(d->sessions),
		probes_deadline_ns(d->probes),	     fence_deadline_ns(d->fence),
		control_deadline_ns(d->control),     replacing_deadline_ns(&d->replacing),
	};
	uint64_t wait_ns = UINT64_MAX;
	uint64_t stack_ns = d->stack ? stack_next_timeout_ns() : UINT64_MAX;

	if (d->sessions->dirty)
		/* a tick has queued messages to agents, for example orders: send them before the
		 * loop sleeps */
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(deadlines_ns); i++) {
		uint64_t at_ns = deadlines_ns[i] > now_ns ? deadlines_ns[i] - now_ns : 0;

		wait_ns = at_ns < wait_ns ? at_ns : wait_ns;
	}
	if (!ports_can_wake(&d->ports, n_watched(d)) && wait_ns > CLOCK_NS_PER_MS)
		/* a port has no descriptor, so poll it every millisecond */
		wait_ns = CLOCK_NS_PER_MS;
	return wait_ns < stack_ns ? wait_ns : stack_ns;
}

static int sleep_on_ports(struct daemon *d, uint64_t now_ns)
{
	/* Call n_watched() only once: during the sleep, an operator's request can change its
	 * result. */
	size_t n = n_watched(d);
	int r = ports_before_sleep(&d->ports, n);

	if (r == 0)
		r = serve_sources(d, until_next_timer(d, now_ns));
	if (r >= 0)
		r = ports_after_sleep(&d->ports, n);
	idler_woke(&d->idler, clock_mono_ns(), d->ports.by_frame);
	d->ports.by_frame = false;
	return r;
}

static void reload(struct daemon *d)
{
	const struct reloading r = {.config = &d->config, .fleet = d->fleet,
				    .sessions = d->sessions, .vms = d->vms, .probes = d->probes,
				    .incarnating = &d->incarnating};

	reloading_run(&r, clock_mono_ns());
}

static int turn(struct daemon *d)
{
	bool worked = d->ports.n > 0 && turn_ports(d);
	uint64_t now_ns = clock_mono_ns();
	int r = 0;

	if (now_ns >= sessions_deadline_ns(d->sessions))
		sessions_tick(d->sessions, now_ns);
	if (now_ns >= fleet_deadline_ns(d->fleet, now_ns))
		fleet_tick(d->fleet, now_ns);
	if (d->ports.n == 0) {
		r = serve_sources(d, until_next_timer(d, now_ns));
	} else {
		switch (idler_turn(&d->idler, now_ns, worked)) {
		case IDLER_AGAIN:
			break;
		case IDLER_CHECK:
			r = serve_sources(d, 0);
			break;
		case IDLER_SLEEP:
			r = sleep_on_ports(d, now_ns);
			break;
		}
	}
	now_ns = clock_mono_ns();
	if (now_ns - d->tls_looked_ns >= CLOCK_NS_PER_S) {
		d->tls_looked_ns = now_ns;
		certificates_tick(d->tls, d->fleet, now_ns);
	}
	if (d->reload) {
		d->reload = false;
		reload(d);
	}
	fence_poll(d->fence, now_ns);
	/* Read the clock again, because fence_poll() may have given a VM an input with a time after
	 * now_ns, and a VM's time must not go back. */
	now_ns = clock_mono_ns();
	pump_run(d->sessions, now_ns);
	control_tick(d->control, now_ns);
	replacing_tick(&d->replacing, now_ns);
	incarnating_tick(&d->incarnating, &d->fleet->config, now_ns);
	return r;
}

/* Close everything. @tells_counters: true to print the counters. It is false if the daemon never
 * became ready, so that the error message is the last output. */
static void close_all(struct daemon *d, bool tells_counters)
{
	static char counters[16384];
	size_t size =
		tells_counters ? tally_format(d->fleet, &d->ports, counters, sizeof(counters)) : 0;

	claiming_ask_end(&d->asking);
	control_close(d->control);
	shell_kernel_close(d->kernel);
	if (d->stack) {
		shell_stack_close(d->sessions);
		stack_close(d->stack);
	}
	for (size_t net = 0; net < PROBER_N_NETS; net++)
		witnessing_close(&d->witnessing[net]);
	fence_close(d->fence);
	ports_leave(&d->ports);
	journal_thread_close(d->journal_thread);
	sessions_free(d->sessions);
	fleet_free(d->fleet);
	probes_free(d->probes);
	vm_journal_close(d->journal);
	wire_tls_context_free(d->tls);
	d->starts_again = replacing_go(&d->replacing, !d->stop, d->signals.fd, d->since_ns) < 0;
	hurry_all_threads(false);
	ports_close(&d->ports); /* only now, because it is slow: the next program serves already */
	fd_close(d->signals.fd);
	fd_close(d->epoll_fd);
	tally_print(counters, size);
}

static void say_started(const struct daemon *d)
{
	uint64_t now_ns = clock_mono_ns();
	char text[80] = "started";

	if (d->arguments.replaces && d->since_ns)
		(void)snprintf(text, sizeof(text), "took over: no gateway for %.1f ms",
			       (double)(now_ns - d->since_ns) / CLOCK_NS_PER_MS);
	else if (d->arguments.replaces)
		(void)snprintf(text, sizeof(text), "took over");
	log_info("gateway=%s version=%s vms=%zu ready, %s", wire_tls_context_self(d->tls)->name,
		 HOLDFAST_VERSION, d->fleet->n_vms, text);
	fleet_event(d->fleet, now_ns, "", "gateway", text);
	vms_tell(d->fleet, now_ns);
}

/* Returns true if the next program waits for GO, and no write to the journal and no fence command
 * is under way. If one were, the end of this process would have to wait for it, or cut it off. */
static bool gives_way(const struct daemon *d)
{
	return replacing_waits(&d->replacing) && journal_thread_is_idle(d->journal_thread) &&
	       fence_deadline_ns(d->fence) == UINT64_MAX;
}

static int run(struct daemon *d)
{
	int r;
	bool is_ready;

	if (!d->arguments.replaces)
		hurry_all_threads(true); /* while there is no gateway, guests' output is held */
	r = open_loop(d);
	if (r < 0)
		log_error("cannot make the loop: %s", strerror(-r));
	if (r == 0)
		r = certificates_open(&d->config, &d->tls);
	if (r == 0 && d->arguments.replaces)
		r = get_ready(d);
	if (r == 0)
		r = open_gateway(d);
	if (r == 0)
		r = open_services(d);
	is_ready = r == 0;
	hurry_all_threads(false);
	if (is_ready) {
		idler_init(&d->idler, &IDLER_LIMITS_DEFAULT, clock_mono_ns());
		say_started(d);
		if (d->arguments.replaces)
			replacing_serves();
	}
	while (r == 0 && !d->stop && !gives_way(d))
		r = turn(d);
	d->since_ns = clock_mono_ns();
	if (d->control && r == 0)
		fleet_event(d->fleet, clock_mono_ns(), "", "gateway",
			    d->stop ? "stopped by a signal" : "gives way to its next program");
	hurry_all_threads(true);
	close_all(d, is_ready);
	return r;
}

int main(int argc, char **argv)
{
	struct daemon *d = &daemon_state;
	struct error error;
	int r = arguments_parse(argc, argv, &d->arguments);

	if (r >= 0)
		return r;
	if (d->arguments.replaces && replacing_begin() < 0)
		return 1;
	program_started_as(argv[0]);
	d->epoll_fd = d->signals.fd = -1;
	if (gw_config_load(d->arguments.config_path, &d->config, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	if (d->arguments.is_check)
		return arguments_check(&d->config);
	log_set_level((enum log_level)d->config.log_level);
	if (log_init() < 0 || fault_init(&error) < 0) {
		log_error("%s",
			  log_init() < 0 ? "HOLDFAST_LOG is not error|warn|info|debug"
					 : error.text);
		return 2;
	}
	d->signals.fd = signals_open(); /* before any thread starts */
	r = d->signals.fd < 0 ? d->signals.fd : log_spool_start();
	if (r < 0) {
		log_error("cannot take signals, or start the log's thread: %s", strerror(-r));
		return 1;
	}
	r = run(d);
	log_spool_stop();
	if (d->starts_again)
		replacing_start_again(d->arguments.config_path);
	return r < 0 || d->starts_again ? 1 : 0;
}
