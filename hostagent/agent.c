/* Opens what the agent needs, runs its loop, and ends it; see agent_private.h. */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent_certificates.h"
#include "agent_check.h"
#include "agent_private.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "supervision/obeyed.h"

static void wake(void *arg)
{
	const struct agent *a = arg;
	uint64_t one = 1;

	/* Do not log EAGAIN: it means that the counter is full, so the loop will wake up anyway. */
	if (write(a->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_debug("wake: %s, ignoring", strerror(errno));
}

struct vm *agent_find_vm(const struct agent *a, const char *name)
{
	for (uint32_t i = 0; i < a->n_vms; i++) {
		if (strcmp(vm_name(a->vms[i]), name) == 0)
			return a->vms[i];
	}
	return NULL;
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
			agent_gateway_connect(a);
		if (a->link) {
			int r = link_flush(a->link);

			if (r < 0 && r != -EAGAIN)
				agent_gateway_disconnect(a, link_error(a->link));
		}
		agent_gateway_receive(a);
		if (a->link)
			agent_gateway_say(a, clock_mono_ns(), is_woken);
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
	struct vm *vm = agent_find_vm(arg, offer->vm);

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
	a->retry_ns = AGENT_RETRY_MIN_NS;
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
