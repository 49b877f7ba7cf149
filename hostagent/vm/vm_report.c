/* Makes a VM's reports; see vm_private.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "vm/vm_cold_private.h"
#include "vm/vm_private.h"

static void report_engine(struct engine *engine, bool is_handing_on,
			  struct wire_report *report, uint64_t *ret_epoch)
{
	struct engine_status status;

	engine_status(engine, &status);
	report->role = WIRE_VM_ROLE_PRIMARY;
	report->state = status.state;
	report->verdict = status.verdict;
	strcpy(report->text, status.text);
	strcpy(report->stats, status.stats);
	if (*status.uncovered) {
		strcpy(report->text, status.uncovered);
		(void)!wire_stats_add(report->stats, "uncovered",
				      "1"); /* fits: WIRE_STATS_MAX is twice the size of
					     * our figures */
	}
	/* If the guest stands still only because the agent's program is being replaced, do not
	 * report this as a move: the gateway would order that the guest goes on. */
	if (status.move_stopped_ns && !is_handing_on)
		(void)!wire_stats_add(report->stats, "move_stopped_us", "%" PRIu64,
				      (clock_mono_ns() - status.move_stopped_ns) / 1000 + 1);
	*ret_epoch = status.committed_epoch;
}

static void report_standby(struct standby *standby, struct wire_report *report,
			   uint64_t *ret_epoch)
{
	struct standby_status status;

	standby_status(standby, &status);
	report->role = status.state == STANDBY_STATE_RUNNING ? WIRE_VM_ROLE_PRIMARY
							     : WIRE_VM_ROLE_STANDBY;
	report->state = (uint8_t)status.state;
	report->verdict = status.guest_ended ? WIRE_VERDICT_EXITED : WIRE_VERDICT_NONE;
	wire_text_format(report->text, "%s", status.text);
	if (wire_stats_is_valid(status.stats))
		strcpy(report->stats, status.stats);
	*ret_epoch = status.complete_epoch;
}

/* If the guest should run here unprotected and no QEMU runs it, report a failure. */
static void report_guest(struct vm *vm, struct wire_report *report)
{
	pid_t pid;

	if (vm_guest_get(&vm->guest, &pid) != VM_GUEST_GONE)
		return;
	report->state = WIRE_STATE_FAILED;
	report->verdict = WIRE_VERDICT_EXITED;
	if (pid > 0)
		wire_text_format(
			report->text,
			"no QEMU runs it: pid %d has ended, and nobody is at its monitor %s",
			(int)pid, vm->config->qmp);
	else
		wire_text_format(report->text, "no QEMU runs it: nobody is at its monitor %s",
				 vm->config->qmp);
}

/* Report whether the guest that an earlier agent protected here was found again. */
static void report_found(const struct vm *vm, struct wire_report *report)
{
	if (vm->found == VM_GUEST_ALIVE)
		(void)!wire_stats_add(report->stats, "guest_found", "1");
	if (vm->found != VM_GUEST_GONE)
		return;
	report->verdict = WIRE_VERDICT_EXITED;
	wire_text_format(report->text, "QEMU pid %d has ended while no agent watched it",
			 (int)vm->found_pid);
}

/* Report how many frames a guest has sent since it was promoted here. */
static void report_frames(struct vm *vm, struct wire_report *report)
{
	uint64_t term, frames;

	if (vm_guest_frames(&vm->guest, &vm->config->taps, &term, &frames) == 0 &&
	    term == vm->term)
		(void)!wire_stats_add(report->stats, "promoted_frames", "%" PRIu64, frames);
}

void vm_report_role(struct vm *vm, struct wire_report *report)
{
	static const struct {
		uint8_t role, state;
	} rows[] = {
		[VM_ROLE_NONE] = {WIRE_VM_ROLE_NONE, WIRE_STATE_IDLE},
		[VM_ROLE_PRIMARY] = {WIRE_VM_ROLE_PRIMARY, WIRE_STATE_LOST},
		[VM_ROLE_STANDBY] = {WIRE_VM_ROLE_STANDBY, WIRE_STATE_IDLE},
		[VM_ROLE_RUNNING] = {WIRE_VM_ROLE_PRIMARY, WIRE_STATE_RUNNING},
		[VM_ROLE_FENCED] = {WIRE_VM_ROLE_PRIMARY, WIRE_STATE_FENCED},
	};

	enum vm_role role = vm->is_unfound ? VM_ROLE_NONE : vm->role;

	report->role = rows[role].role;
	report->state = rows[role].state;
	if (vm->is_unfound && *vm->config->qmp)
		wire_text_format(report->text,
				 "this host was booted since it ran the guest, and no guest was "
				 "found running at its monitor %s yet: start it",
				 vm->config->qmp);
	if (role == VM_ROLE_RUNNING)
		report_guest(vm, report);
	if (role == VM_ROLE_PRIMARY)
		report_found(vm, report);
	if (*vm->fault || *vm->standby_fault)
		strcpy(report->text, *vm->fault ? vm->fault : vm->standby_fault);
	else if (vm->role == VM_ROLE_FENCED)
		strcpy(report->text, "outvoted; ready to be the standby");
	else if (role == VM_ROLE_PRIMARY && *vm->still)
		strcpy(report->text, vm->still);
}

void vm_report(struct vm *vm, struct wire_report *ret_report, uint64_t *ret_term,
	       uint64_t *ret_epoch)
{
	struct standby_status status;
	pid_t pid;

	memset(ret_report, 0, sizeof(*ret_report));
	strcpy(ret_report->vm, vm->config->name);
	*ret_epoch = 0;
	pthread_mutex_lock(&vm->lock);
	*ret_term = vm->term;
	if (vm->standby)
		standby_status(vm->standby, &status);
	if (vm->standby && status.term > vm->term)
		*ret_term = status.term; /* the standby voted for that term without an order */
	if (vm->engine) {
		report_engine(vm->engine, vm->yield != 0, ret_report, ret_epoch);
	} else {
		/* The guest was promoted here and then ended; an operator may have started it
		 * again since. */
		bool is_back = vm->standby && status.guest_ended && vm->role == VM_ROLE_RUNNING &&
			       vm_guest_get(&vm->guest, &pid) == VM_GUEST_ALIVE;

		/* If this host is the primary, the standby's state says nothing about the guest:
		 * the standby's epoch is that of an earlier promotion, numbered in an older
		 * term. */
		if (vm->standby && status.state != STANDBY_STATE_IDLE &&
		    vm->role != VM_ROLE_FENCED && vm->role != VM_ROLE_PRIMARY && !is_back)
			report_standby(vm->standby, ret_report, ret_epoch);
		else
			vm_report_role(vm, ret_report);
		if (vm->role == VM_ROLE_STANDBY)
			vm_tap_report(&vm->tap, &vm->config->taps, ret_report);
		vm_cover_report(vm, ret_report);
		/* The standby's text says, for example, why the standby could not start. */
		if (vm->standby && !*ret_report->text)
			wire_text_format(ret_report->text, "%s", status.text);
		if (vm->role == VM_ROLE_RUNNING)
			report_frames(vm, ret_report);
	}
	if (*vm->fenced_text) /* this text is the most urgent, so it replaces others */
		strcpy(ret_report->text, vm->fenced_text);
	vm_cold_report(vm, vm->standby ? &status : NULL, ret_report);
	progress_report(&vm->progress, ret_report->stats);
	if (ret_report->role == WIRE_VM_ROLE_PRIMARY)
		vm_witness_report(&vm->witness, ret_report->stats);
	pthread_mutex_unlock(&vm->lock);
}

int vm_take_done(struct vm *vm, struct wire_order_done *ret_done, uint64_t *ret_term,
		 uint64_t *ret_epoch)
{
	int r = -EAGAIN;

	pthread_mutex_lock(&vm->lock);
	vm_asked_look(vm);
	if (vm->n_done > 0) {
		*ret_done = vm->done[0].done;
		*ret_term = vm->done[0].term;
		*ret_epoch = vm->done[0].epoch;
		vm->n_done--;
		memmove(vm->done, vm->done + 1, vm->n_done * sizeof(vm->done[0]));
		r = 0;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void vm_print_figures(struct vm *const *vms, uint32_t n_vms)
{
	struct wire_report report;
	uint64_t term, epoch;

	for (uint32_t i = 0; i < n_vms; i++) {
		char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];
		const char *at = report.stats;

		vm_report(vms[i], &report, &term, &epoch);
		while (wire_stats_next(&at, key, value))
			printf("%s.%s=%s\n", report.vm, key, value);
	}
	(void)fflush(stdout); /* an error is ignored: the reader may be gone */
}
