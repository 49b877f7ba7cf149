#include "vm/vm_hold_private.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "net/holds.h"
#include "vmm/flushes.h"
#include "vmm/qmp.h"
#include "wire/msg.h"

AUTO_DEFINE(json_t *, json_decref)

#define QMP_NS (5 * CLOCK_NS_PER_S)

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED;
}

/* Resume the guest if an agent left it stopped: because the agent died during a pause or without a
 * lease, or kept the guest stopped on purpose. Do nothing if the guest is stopped for another
 * reason (it shut down, or was migrated away). */
static int let_run(struct qmp *qmp)
{
	AUTO(json_decref) json_t *answer = NULL;
	const char *status;
	int r = qmp_execute(qmp, "query-status", NULL, QMP_NS, &answer);

	if (r < 0)
		return r;
	status = json_string_value(json_object_get(answer, "status"));
	if (!status)
		return -EPROTO;
	if (strcmp(status, "paused") != 0 && strcmp(status, "save-vm") != 0)
		return 0;
	return qmp_execute(qmp, "cont", NULL, QMP_NS, NULL);
}

int vm_hold_settle(const struct agent_vm_config *config, const char *monitor, const char *pin_dir,
		   struct error *ret_error)
{
	struct qmp *qmp;
	int r;

	r = *monitor ? qmp_open(monitor, QMP_NS, &qmp) : -ENOENT;
	if (is_gone(r)) /* there is no guest, so only remove the hold */
		return vm_hold_remove_left(config, pin_dir, ret_error);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", monitor, qmp_open_error(r));
	/* QEMU must obey the guest's flushes again before the guest's output passes. */
	r = flushes_on_again(qmp, qmp_pid(qmp), ret_error);
	if (r >= 0) {
		r = let_run(qmp);
		if (r < 0)
			(void)error_set(ret_error, r, "the guest does not go on: %s", strerror(-r));
	}
	qmp_close(qmp);
	return r < 0 ? r : vm_hold_remove_left(config, pin_dir, ret_error);
}

int vm_hold_close(const struct agent_vm_config *config, const char *pin_dir,
		  struct error *ret_error)
{
	struct holds_config holds = {
		.vm = config->name,
		.taps = &config->taps,
		.pin_dir = pin_dir,
		.frames_max = config->held_frames_max,
		.bytes_max = config->held_bytes_max,
	};

	return holds_shut(&holds, ret_error);
}

int vm_hold_remove_left(const struct agent_vm_config *config, const char *pin_dir,
			struct error *ret_error)
{
	int r = holds_remove_left(config->name, pin_dir);

	if (r < 0)
		(void)error_set(
			ret_error, r,
			"what an earlier agent left of the hold in %s cannot be removed: %s%s",
			pin_dir, strerror(-r), r == -EBUSY ? "; is a second agent running?" : "");
	return r;
}

int vm_hold_need_no_guest(const struct agent_vm_config *config, struct error *ret_error)
{
	struct qmp *qmp = NULL;
	int r;

	if (!*config->qmp)
		return 0;
	r = qmp_open(config->qmp, QMP_NS, &qmp);
	qmp_close(qmp);
	if (is_gone(r))
		return 0;
	return error_set(ret_error, -EBUSY,
			 "the guest that was fenced here is still there, stopped; end its QEMU "
			 "(monitor %s) and try again",
			 config->qmp);
}
