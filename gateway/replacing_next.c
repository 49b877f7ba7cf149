/* replacing_next.c - the next program's side of replacing.h: checks whether it can take over, and
 * waits for GO. */
#include "replacing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/signals.h"
#include "fleet/fleet.h"
#include "vm/incarnation.h"
#include "vm/journal.h"
#include "vms.h"

#define TRIAL_BYTES 65536 /* as large as the journal of many VMs */

int replacing_begin(void)
{
	struct pollfd running = {.fd = REPLACING_FD, .events = 0};
	struct ucred who = {0};
	socklen_t size = sizeof(who);

	/* If the running program dies while we load DPDK, the supervisor must not have to wait for
	 * us. So let the kernel kill us in this case. replacing_wait() takes this back. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getsockopt(REPLACING_FD, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
	    who.pid == getppid() && poll(&running, 1, 0) == 0 &&
	    fcntl(REPLACING_FD, F_SETFD, FD_CLOEXEC) == 0)
		return 0;
	(void)fprintf(stderr, "holdfast-gateway: --replaces is only for a gateway that starts its "
		      "next program: send it SIGUSR2\n");
	return -EINVAL;
}

/* ---- would this program be able to start? */

/* Check that this program would be able to look after each VM, by adding the VMs to a fleet that is
 * used for nothing else. Returns 0; or logs what is wrong, and returns -errno. */
static int check_vms(const struct gw_config *config)
{
	static struct gw_vm_config vms[FLEET_VMS_MAX];
	static struct vm_journal_table journal;
	const struct fleet_config nothing = {0};
	struct fleet *trial = NULL;
	struct error error;
	size_t n = 0;
	int r = gw_config_load_vms(config, vms, FLEET_VMS_MAX, &n, &error);

	if (r == 0)
		r = vm_journal_read(config->state_dir, &journal, &error);
	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	r = fleet_new(&nothing, &trial);
	for (size_t i = 0; i < n && trial; i++) {
		int wrong = vms_add(config, trial, &vms[i], &journal, &error);

		/* a VM that is in doubt would be in conflict after the replacement */
		if (wrong == 0 && vm_journal_table_doubt(&journal, vms[i].name, &error))
			wrong = -EINVAL;
		if (wrong < 0) {
			log_error("vm=%s would not be looked after: %s", vms[i].name, error.text);
			fleet_add_fault(trial, vms[i].name, error.text);
		}
		r = wrong < 0 ? wrong : r;
	}
	if (trial && vms_note_lost(config, trial, &journal) > 0)
		r = -ENOENT;
	fleet_free(trial);
	return r;
}

/* Check that the incarnation's file is good, and that the disk accepts what a start writes. A disk
 * that is too slow is an error, because guests' output would be held while a start waits for it.
 * Returns 0; or logs what is wrong, and returns -errno. */
static int check_state_dir(const struct gw_config *config)
{
	static const char zeros[TRIAL_BYTES];
	struct incarnation last;
	struct error error;
	char path[PATH_MAX];
	uint64_t begin_ns = clock_mono_ns(), took_ns;
	int r = incarnation_read(config->state_dir, &last, &error);

	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	(void)snprintf(path, sizeof(path), "%s/trial", config->state_dir);
	r = fd_write_file_atomic(path, zeros, sizeof(zeros));
	if (unlink(path) < 0 && r == 0)
		r = -errno;
	took_ns = clock_mono_ns() - begin_ns;
	if (r < 0)
		log_error("state_dir %s cannot be written: %s", config->state_dir, strerror(-r));
	else if (took_ns > config->lease_ns / 2)
		log_error("state_dir %s is too slow: %" PRIu64 " ms for %d bytes",
			  config->state_dir, took_ns / CLOCK_NS_PER_MS, TRIAL_BYTES);
	return r < 0 ? r : took_ns > config->lease_ns / 2 ? -ETIMEDOUT : 0;
}

/* Check that an interface of this machine has the management address. */
static int check_management(const struct config_address *management)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = management->ip_be32};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
	char ip[INET_ADDRSTRLEN];

	fd_close(fd);
	if (r < 0)
		log_error("management = %s:%u: %s",
			  inet_ntop(AF_INET, &at.sin_addr, ip, sizeof(ip)), management->port,
			  strerror(-r));
	return r;
}

int replacing_check(const struct gw_config *config, const char *state_dir)
{
	int r = 0;

	if (strcmp(config->state_dir, state_dir) != 0) {
		log_error("state_dir is %s in the file, and the running gateway uses %s: restart "
			  "the gateway", config->state_dir, state_dir);
		r = -EINVAL;
	}
	if (r == 0)
		r = check_vms(config);
	if (r == 0)
		r = check_state_dir(config);
	return r < 0 ? r : check_management(&config->management);
}

/* ---- READY and GO */

bool replacing_is_ended(int signal_fd, bool *ret_reload)
{
	const char *name;
	enum signals_wish wish;
	bool is_ended = false;

	do {
		wish = signals_take(signal_fd, &name);
		is_ended |= wish == SIGNALS_END;
		*ret_reload |= wish == SIGNALS_RELOAD;
	} while (*name);
	return is_ended;
}

int replacing_wait(int signal_fd, uint64_t *ret_since_ns)
{
	struct pollfd fds[] = {{.fd = REPLACING_FD, .events = POLLIN},
			       {.fd = signal_fd, .events = POLLIN}};
	const char ready = REPLACING_READY;
	uint8_t go[REPLACING_GO_BYTES] = {0};
	bool reload = false; /* all files are read after GO anyway */
	int r;

	/* The running program exits after GO, and that must not kill us. From here on, we see from
	 * the socket if the running program ends before GO. */
	(void)prctl(PR_SET_PDEATHSIG, 0);
	if (replacing_is_ended(signal_fd, &reload))
		r = -ECANCELED;
	else
		r = fd_write_all(REPLACING_FD, &ready, 1);
	while (r == 0 && go[0] != REPLACING_GO) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			r = -errno;
		else if (replacing_is_ended(signal_fd, &reload) ||
			 (fds[0].revents && read(REPLACING_FD, go, sizeof(go)) <= 0))
			r = -ECANCELED;
	}
	*ret_since_ns = bytes_get_be64(go + 1);
	if (r < 0)
		log_info("the gateway that was to be replaced is gone, or a signal came: closing");
	return r;
}

void replacing_serves(void)
{
	const char serves = REPLACING_SERVES;

	/* this fails harmlessly if the running program has ended */
	(void)!fd_write_all(REPLACING_FD, &serves, 1);
	fd_close(REPLACING_FD);
}
