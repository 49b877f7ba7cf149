#include "vm/vm_cover_private.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vm/vm_private.h"
#include "vmm/qmp.h"
#include "vmm/taps.h"

#define LOOK_NS (2 * CLOCK_NS_PER_S)
#define QMP_NS	CLOCK_NS_PER_S

static void wake(struct vm *vm)
{
	vm->environment.wake(vm->environment.wake_arg);
}

void vm_cover_refused(struct vm *vm, int error, const char *text)
{
	if (vm->role != VM_ROLE_PRIMARY || (error != -ENOTSUP && error != -ESHUTDOWN))
		return;
	pthread_mutex_lock(&vm->lock);
	wire_text_format(vm->cover.text, "%s", text);
	vm->cover.verdict = error == -ESHUTDOWN ? WIRE_VERDICT_SHUTDOWN : WIRE_VERDICT_NONE;
	pthread_mutex_unlock(&vm->lock);
}

void vm_cover_keep(struct vm *vm, struct engine *engine, const char *qmp)
{
	struct engine_status status;

	engine_status(engine, &status);
	/* This protection ends before its first commit, and without a change of its own. So keep
	 * the older change, and continue to check whether it was undone. */
	if (!*status.uncovered && status.committed_epoch == 0)
		return;
	vm_cover_forget(vm);
	if (!*status.uncovered)
		return;
	pthread_mutex_lock(&vm->lock);
	vm->cover = (struct vm_cover){
		.is_suspended = true,
		.base = *engine_inventory(engine),
		.pid = engine_guest_pid(engine),
		.look_at_ns = clock_mono_ns() + LOOK_NS,
	};
	(void)snprintf(vm->cover.qmp, sizeof(vm->cover.qmp), "%s", qmp);
	wire_text_format(vm->cover.text, "%s", status.uncovered);
	pthread_mutex_unlock(&vm->lock);
}

void vm_cover_forget(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->cover.is_suspended = vm->cover.is_again = false;
	vm->cover.text[0] = '\0';
	vm->cover.verdict = WIRE_VERDICT_NONE;
	pthread_mutex_unlock(&vm->lock);
}

uint64_t vm_cover_due_ns(const struct vm *vm)
{
	return vm->cover.is_suspended && !vm->engine ? vm->cover.look_at_ns : UINT64_MAX;
}

/* Compare the guest with the guest before the change. Returns
 * 0: the guest is again as it was;
 * -ENOTSUP with *ret_error: the guest differs;
 * -ESRCH: the QEMU that was protected has ended, and another one is at its monitor;
 * other -errno: not known. */
static int compare(struct vm *vm, struct qmp *q, struct error *ret_error)
{
	struct vmm_covered disks = {vm->disk_names, vm->config->n_disks};
	struct vmm_inventory now;
	struct vmm_change change;
	struct vmm_taps taps;
	int r = qmp_pid(q) > 0 && qmp_pid(q) != vm->cover.pid ? -ESRCH : 0;

	if (r == 0)
		r = vmm_taps_read(vm->cover.pid, &taps, ret_error);
	if (r == 0)
		r = vmm_taps_judge(&taps, &vm->config->taps, ret_error);
	if (r == 0)
		r = vmm_inventory_take(q, disks, &now, ret_error);
	if (r < 0)
		return r;
	if (!vmm_inventory_differs(&vm->cover.base, &now, &change))
		return 0;
	return error_set(ret_error, -ENOTSUP, "the guest is not the one that was protected: %s",
			 change.text);
}

void vm_cover_look(struct vm *vm)
{
	struct error error = {""};
	struct qmp *q = NULL;
	int r = qmp_open(vm->cover.qmp, QMP_NS, &q);
	bool is_again;

	if (r < 0)
		(void)error_set(&error, r, "%s: %s", vm->cover.qmp, qmp_open_error(r));
	else
		r = compare(vm, q, &error);
	qmp_close(q);
	if (r == -ESRCH || (kill(vm->cover.pid, 0) < 0 && errno == ESRCH)) {
		log_info("vm=%s term=%" PRIu64 " the QEMU that was protected (pid %d) has ended: a "
			 "guest here is another one", vm->config->name, vm->term,
			 (int)vm->cover.pid);
		vm_cover_forget(vm);
		wake(vm);
		return;
	}
	is_again = r == 0;
	pthread_mutex_lock(&vm->lock);
	vm->cover.look_at_ns = clock_mono_ns() + LOOK_NS;
	if (r < 0)
		wire_text_format(vm->cover.text, "%s", error.text);
	if (is_again != vm->cover.is_again)
		log_info("vm=%s term=%" PRIu64 " %s", vm->config->name, vm->term,
			 is_again ? "what was not covered is gone: it can be protected again"
				  : "it is not covered again after all");
	vm->cover.is_again = is_again;
	pthread_mutex_unlock(&vm->lock);
	wake(vm);
}

static void add_stat(const struct vm *vm, struct wire_report *report, const char *key,
		     const char *value)
{
	if (wire_stats_add(report->stats, key, "%s", value) < 0)
		log_limited(LOG_LEVEL_WARN, "vm=%s no room for %s in the report, ignoring",
			    vm->config->name, key);
}

void vm_cover_report(const struct vm *vm, struct wire_report *report)
{
	const struct vm_cover *cover = &vm->cover;

	if (vm->role == VM_ROLE_NONE || vm->role == VM_ROLE_RUNNING)
		add_stat(vm, report, "suspended", cover->is_suspended ? "1" : "0");
	if (!*cover->text)
		return;
	if (vm->role == VM_ROLE_PRIMARY) { /* then vm_cover_refused() has set the text */
		wire_text_format(report->text, "%s", cover->text);
		report->verdict = cover->verdict;
		if (cover->verdict == WIRE_VERDICT_NONE)
			add_stat(vm, report, "uncovered", "1");
	} else if (cover->is_suspended && cover->is_again) {
		wire_text_format(report->text,
				 "protection was suspended; what was not covered is gone: it can "
				 "be protected again");
		add_stat(vm, report, "covered_again", "1");
	} else if (cover->is_suspended) {
		wire_text_format(report->text,
				 "protection is suspended: %s; it begins again by itself when "
				 "that is gone",
				 cover->text);
	}
}
