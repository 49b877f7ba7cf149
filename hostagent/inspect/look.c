#include "inspect/look.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "inspect/option.h"
#include "net/hold_check.h"
#include "net/nl.h"
#include "vmm/rx_filter.h"
#include "vmm/track.h"

#define OPEN_NS	      (5 * CLOCK_NS_PER_S)
#define CMDLINE_MAX   (256u << 10)
#define TAPS_ATTEMPTS 5

static inline void cleanup_close_qmp(struct qmp **q)
{
	qmp_close(*q);
}

void look_done(struct look *look)
{
	free(look->cmdline);
	free(look->words);
	*look = (struct look){0};
}

__attribute__((format(printf, 2, 3))) static void refuse(struct vmm_obstacles *obstacles,
							 const char *format, ...)
{
	struct error error;
	va_list args;

	va_start(args, format);
	(void)text_vput(error.text, sizeof(error.text), format, args);
	va_end(args);
	vmm_obstacles_add(obstacles, &error);
}

/* ---- pure */

static void judge_run_state(const struct vmm_info *info, struct vmm_obstacles *obstacles)
{
	if (info->running)
		return;
	if (strcmp(info->runstate, "shutdown") == 0)
		refuse(obstacles, "the guest has shut itself down and its QEMU stays "
				  "(-no-shutdown): start it again (QMP `system_reset`, `cont`)");
	else
		refuse(obstacles,
		       "the guest does not run (QEMU calls its state %s): let it run "
		       "(QMP `cont`)",
		       info->runstate);
}

void look_judge(const struct look *look, struct vmm_obstacles *obstacles)
{
	judge_run_state(&look->info, obstacles);
	if (look->info.n_nics == 0)
		refuse(obstacles, "the guest has no network card: start it with a -device and a "
				  "-netdev tap");
	else if (look->taps.n > 0 && look->info.n_nics != look->taps.n)
		refuse(obstacles,
		       "the guest has %u network card%s, and QEMU has %u tap%s open: each card "
		       "must have a tap of its own",
		       look->info.n_nics, look->info.n_nics == 1 ? "" : "s", look->taps.n,
		       look->taps.n == 1 ? "" : "s");
	for (uint32_t i = 0; i < look->disks.n; i++) {
		const struct vmm_disk *disk = &look->disks.disks[i];

		if (disk->has_job)
			refuse(obstacles,
			       "disk %s (%s) is used by a block job (backup, mirror, commit): let "
			       "it "
			       "end",
			       disk->name, disk->file);
	}
}

/* ---- what the kernel says */

static int read_link(pid_t pid, const char *name, char *text, size_t size, struct error *ret_error)
{
	char path[64];
	ssize_t n;
	char *deleted;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	n = readlink(path, text, size - 1);
	if (n < 0)
		return error_set(ret_error, -errno,
				 "%s: %s; run this as root, in the host's own pid namespace", path,
				 strerror(errno));
	text[n] = '\0';
	deleted = strstr(text, " (deleted)"); /* somebody replaced the file while QEMU ran, for
					       * example by an upgrade */
	if (deleted)
		*deleted = '\0';
	return 0;
}

static int read_words(pid_t pid, struct look *look, struct error *ret_error)
{
	char path[64];
	size_t size, n = 0;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	r = fd_read_file(path, CMDLINE_MAX, &look->cmdline, &size);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	look->words = calloc(size + 1, sizeof(*look->words));
	if (!look->words)
		return error_set(ret_error, -ENOMEM, "no memory");
	for (size_t at = 0; at < size; at += strlen(look->cmdline + at) + 1)
		look->words[n++] = look->cmdline + at;
	look->n_words = n;
	return n > 0 ? 0 : error_set(ret_error, -EPROTO, "%s is empty", path);
}

/* Get the guest's name from -name, and forget QEMU's working directory if QEMU has left it. */
static void read_options(struct look *look)
{
	for (size_t i = 1; i < look->n_words; i++) {
		struct option_list list;
		const char *name;

		if (strcmp(look->words[i], "-daemonize") == 0)
			look->cwd[0] = '\0';
		if (strcmp(look->words[i], "-name") != 0 || i + 1 == look->n_words ||
		    option_parse(look->words[i + 1], "guest", &list) < 0)
			continue;
		name = option_get(&list, "guest");
		if (name)
			(void)snprintf(look->name, sizeof(look->name), "%s", name);
		option_done(&list);
	}
}

/* Find out which files are in QEMU's sets of descriptors. If QEMU does not answer, these files stay
 * unknown. */
static int look_at_fdsets(struct qmp *q, struct look *look, struct error *ret_error)
{
	json_t *fdsets = NULL;
	int r = descriptors_read(look->info.pid, &look->descriptors, ret_error);

	if (r == 0 && qmp_execute(q, "query-fdsets", NULL, OPEN_NS, &fdsets) == 0)
		descriptors_note_fdsets(&look->descriptors, fdsets);
	json_decref(fdsets);
	return r;
}

static int look_at_process(struct look *look, struct error *ret_error)
{
	pid_t pid = look->info.pid;
	int r = read_words(pid, look, ret_error);

	if (r == 0)
		r = read_link(pid, "exe", look->program, sizeof(look->program), ret_error);
	if (r == 0)
		r = read_link(pid, "cwd", look->cwd, sizeof(look->cwd), ret_error);
	if (r == 0)
		read_options(look);
	return r;
}

/* ---- the taps */

/* Check tap @i of @look. Returns true if a hold can work on this tap. */
static bool judge_tap(struct look *look, uint32_t i, struct nl *nl,
		      struct vmm_obstacles *obstacles)
{
	const struct vmm_tap *found = &look->taps.taps[i];
	struct hold_config config = {.tap = found->name};
	struct nl_link tap, bridge;
	struct error error;

	if (found->place != VMM_TAP_HERE) {
		refuse(obstacles,
		       "QEMU's tap %s is %s: give the guest a tap in the network namespace of the "
		       "agent",
		       found->name,
		       found->place == VMM_TAP_MACVTAP ? "a macvtap, whose frames cannot be held"
						       : "in another network namespace");
		return false;
	}
	if (hold_check_tap(nl, &config, &tap, &error) < 0) {
		vmm_obstacles_add(obstacles, &error);
		return false;
	}
	if (nl_link_get(nl, NULL, tap.master, &bridge) == 0)
		(void)snprintf(look->bridge[i], sizeof(look->bridge[i]), "%s", bridge.name);
	return true;
}

static void judge_taps(struct look *look, struct vmm_obstacles *obstacles)
{
	bool are_sound = look->taps.n <= TAP_NAMES_MAX;
	struct nl nl = {0};
	int r = nl_open(&nl);

	if (r < 0) {
		refuse(obstacles, "no netlink socket to look at taps: %s", strerror(-r));
		return;
	}
	if (!are_sound)
		refuse(obstacles, "QEMU has %u taps open, and at most %u can be held",
		       look->taps.n, TAP_NAMES_MAX);
	for (uint32_t i = 0; i < look->taps.n; i++)
		are_sound &= judge_tap(look, i, &nl, obstacles);
	if (are_sound)
		look->held = look->taps;
	nl_close(&nl);
}

static int look_at_taps(struct look *look, struct vmm_obstacles *obstacles, struct error *ret_error)
{
	struct error error;
	int r = -EAGAIN;

	for (int i = 0; i < TAPS_ATTEMPTS && r == -EAGAIN; i++)
		r = vmm_taps_read(look->info.pid, &look->taps, &error);
	if (r == -E2BIG) {
		vmm_obstacles_add(obstacles, &error);
		return 0;
	}
	if (r < 0)
		return error_set(ret_error, r, "%s", error.text);
	if (look->taps.n_vhost > 0)
		refuse(obstacles, "%s", VMM_TAPS_VHOST);
	if (look->taps.n == 0) {
		refuse(obstacles,
		       look->taps.n_lost > 0
			       ? "QEMU's tap was deleted: restart the guest, or plug its card anew"
			       : "QEMU has no tap open: the guest's card needs one as its back end "
				 "(-netdev tap,ifname=TAP), in a bridge");
		return 0;
	}
	judge_taps(look, obstacles);
	return 0;
}

/* ---- all */

static int look_at_disks(struct qmp *q, struct look *look, struct vmm_obstacles *obstacles,
			 struct error *ret_error)
{
	struct error error;
	int r = vmm_disks_list(q, &look->disks, &error);

	if (r != -E2BIG && r != -EEXIST)
		return r < 0 ? error_set(ret_error, r, "%s", error.text) : 0;
	vmm_obstacles_add(obstacles, &error);
	look->disks.n = 0;
	return 0;
}

static int look_at_guest(struct qmp *q, struct look *look, struct vmm_obstacles *obstacles,
			 struct error *ret_error)
{
	struct error error;
	int r = vmm_inspect_all(q, &look->info, obstacles, ret_error);

	if (r == 0)
		r = look_at_disks(q, look, obstacles, ret_error);
	if (r == 0 && look->info.n_nics > 0) {
		r = vmm_check_rx_filter(q, &error);
		if (r == -ENOTSUP)
			vmm_obstacles_add(obstacles, &error);
		/* -ENOTSUP is an obstacle now. Ignore -EREMOTEIO too: it means that the card has no
		 * filter. */
		r = r == -ENOTSUP || r == -EREMOTEIO ? 0 : r;
		if (r < 0)
			(void)error_set(ret_error, r, "%s", error.text);
	}
	if (r == 0)
		r = look_at_process(look, ret_error);
	if (r == 0)
		r = look_at_fdsets(q, look, ret_error);
	if (r == 0)
		r = look_at_taps(look, obstacles, ret_error);
	return r;
}

int look_at(const char *qmp_path, struct look *ret_look, struct vmm_obstacles *obstacles,
	    struct error *ret_error)
{
	AUTO(close_qmp) struct qmp *q = NULL;
	struct look look = {0};
	struct error error;
	int r = qmp_open(qmp_path, OPEN_NS, &q);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", qmp_path, qmp_open_error(r));
	r = look_at_guest(q, &look, obstacles, ret_error);
	if (r < 0) {
		look_done(&look);
		return r;
	}
	look_judge(&look, obstacles);
	if (track_probe(&error) < 0)
		vmm_obstacles_add(obstacles, &error);
	*ret_look = look;
	return 0;
}
