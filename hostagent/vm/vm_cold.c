#include "vm/vm_cold_private.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vm/vm_hold_private.h"
#include "vmm/qmp.h"

#define QMP_NS (5 * CLOCK_NS_PER_S)
#define START_RECORD_NS (20 * CLOCK_NS_PER_S)

/* Makes the path ROLE_DIR/NAME.noflush. This file exists if the guest's last protection here began
 * with disk_flushes = outside. It outlives a power failure. */
static int note_path(const struct vm *vm, char ret_path[PATH_MAX])
{
	int n = snprintf(ret_path, PATH_MAX, "%s/%s.noflush", vm->environment.config->role_dir,
			 vm->config->name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int vm_cold_note(struct vm *vm, struct error *ret_error)
{
	char path[PATH_MAX];
	int r = note_path(vm, path);

	if (r == 0 && vm->config->disk_flushes)
		r = fd_write_file_atomic(path, "", 0);
	else if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = -errno;
	return r < 0 ? error_set(ret_error, r, "cannot record in %s that flushes are ignored: %s",
				 path, strerror(-r))
		     : 0;
}

/* The record of a role that is being written. A thread of its own writes the record, because the
 * disk may hang, and the caller waits only for a limited time. */
struct vm_recording {
	struct vm *vm;
	uint64_t term;
	pthread_t thread;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t ended;
	bool has_ended;
	int result;
};

static void *record(void *arg)
{
	struct vm_recording *rec = arg;
	int r = vm_role_store(NULL, rec->vm->environment.config->role_dir, rec->vm->config->name,
			      VM_ROLE_RUNNING, rec->term);

	pthread_mutex_lock(&rec->lock);
	rec->result = r;
	rec->has_ended = true;
	pthread_cond_signal(&rec->ended);
	pthread_mutex_unlock(&rec->lock);
	return NULL;
}

void vm_cold_settle(struct vm *vm)
{
	struct vm_recording *rec = vm->recording;

	if (!rec)
		return;
	(void)pthread_join(rec->thread, NULL);
	pthread_cond_destroy(&rec->ended);
	pthread_mutex_destroy(&rec->lock);
	free(rec);
	vm->recording = NULL;
}

static int begin_recording(struct vm *vm, uint64_t term)
{
	struct vm_recording *rec = calloc(1, sizeof(*rec));
	int r;

	if (!rec)
		return -ENOMEM;
	rec->vm = vm;
	rec->term = term;
	pthread_mutex_init(&rec->lock, NULL);
	pthread_cond_init(&rec->ended, NULL);
	r = -pthread_create(&rec->thread, NULL, record, rec);
	if (r < 0)
		free(rec);
	else
		vm->recording = rec;
	return r;
}

/* Wait for up to @limit_ns until the thread has written the record. Returns the thread's result;
 * -ETIMEDOUT: the thread still writes. */
static int await_recording(struct vm_recording *rec, uint64_t limit_ns)
{
	struct timespec until;
	int r = 0;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	limit_ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(limit_ns / CLOCK_NS_PER_S);
	until.tv_nsec = (long)(limit_ns % CLOCK_NS_PER_S);
	pthread_mutex_lock(&rec->lock);
	while (!rec->has_ended && r == 0)
		r = pthread_cond_timedwait(&rec->ended, &rec->lock, &until);
	r = rec->has_ended ? rec->result : -ETIMEDOUT;
	pthread_mutex_unlock(&rec->lock);
	return r;
}

int vm_cold_may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
{
	struct vm *vm = arg;
	int r;

	vm_cold_settle(vm);
	r = begin_recording(vm, term);
	if (r == 0)
		r = await_recording(vm->recording, limit_ns);
	if (r != -ETIMEDOUT)
		vm_cold_settle(vm);
	return r < 0 ? error_set(ret_error, r, "cannot record the role in role_dir %s: %s",
				 vm->environment.config->role_dir, strerror(-r))
		     : 0;
}

/* Is there a QEMU at the monitor [vm] qmp (even one that does not answer)? If so, somebody started
 * this QEMU, and this agent stopped its guest. */
static bool has_own_qemu(const struct vm *vm)
{
	struct qmp *qmp = NULL;
	int r = *vm->config->qmp ? qmp_open(vm->config->qmp, QMP_NS, &qmp) : -ENOENT;

	qmp_close(qmp);
	return r != -ENOENT && r != -ECONNREFUSED;
}

int vm_cold_start(struct vm *vm, const struct queued_order *q, uint64_t *ret_epoch,
		  struct error *ret_error)
{
	bool is_owners = vm->role == VM_ROLE_PRIMARY || vm->role == VM_ROLE_RUNNING;
	bool has_qemu = has_own_qemu(vm);
	int r = 0;

	(void)ret_epoch;
	/* If this host did not own the guest, somebody started this QEMU on images that are only a
	 * standby's copy. Refuse: the images may be old, or lack writes that are still in the disk
	 * log, and this log must end before a guest writes to the images. */
	if (has_qemu && !is_owners)
		return error_set(ret_error, -EBUSY,
				 "somebody started a QEMU of this VM here (monitor %s), where "
				 "another host owned the guest: end it, restart this agent and try "
				 "again", vm->config->qmp);
	if (vm->engine)
		return error_set(ret_error, -EBUSY, "the guest is protected here in term %" PRIu64,
				 vm->term);
	if (vm->role == VM_ROLE_RUNNING && vm->term == q->term && !vm->is_unfound)
		return 0;
	/* Start the guest: resume it in its QEMU, or boot a new QEMU. */
	vm_guest_promoting(&vm->guest, &vm->config->taps, q->term);
	if (has_qemu) {
		r = vm_cold_may_run(vm, q->term, START_RECORD_NS, ret_error);
		if (r == 0)
			r = vm_hold_settle(vm->config, vm->config->qmp, vm->pin_dir, ret_error);
	} else if (vm->standby) {
		r = vm_hold_remove_left(vm->config, vm->pin_dir, ret_error);
		if (r == 0)
			r = standby_boot(vm->standby, q->term, ret_error);
	} else {
		r = error_set(ret_error, -EINVAL,
			      "%s has no [standby] section on this host, so its agent cannot start "
			      "it: start it as you always do, or set state_dir and command_file",
			      vm->config->name);
	}
	if (r < 0)
		return r;
	pthread_mutex_lock(&vm->lock);
	vm->is_unfound = false; /* so that vm_set_role() writes to run_dir, too */
	pthread_mutex_unlock(&vm->lock);
	return vm_set_role(vm, VM_ROLE_RUNNING, q->term, ret_error);
}

/* Returns the recorded role if this host has neither the guest nor a copy of its memory; else
 * NULL. */
static const char *cold_role(const struct vm *vm, const struct standby_status *status)
{
	bool is_idle = !status || status->state == STANDBY_STATE_IDLE ||
		       (status->state == STANDBY_STATE_FAILED && !status->guest_ended);

	if (vm->engine || !is_idle || *vm->fault || vm->is_fence_unsure)
		return NULL;
	switch (vm->role) {
	case VM_ROLE_PRIMARY:
		return vm->is_unsure ? "primary" : NULL;
	case VM_ROLE_RUNNING:
		return vm->is_unfound ? "running" : NULL;
	case VM_ROLE_STANDBY:
		return !status || status->complete_epoch == 0 ? "standby" : NULL;
	case VM_ROLE_FENCED:
		return "fenced";
	case VM_ROLE_NONE:
	default:
		return "none";
	}
}

/* Returns what the guest's images on this host are: the value of cold_disk (vm_cold_private.h). */
static const char *disk_of(const struct vm *vm, const struct standby_status *status)
{
	char path[PATH_MAX];

	if (vm->config->n_disks == 0)
		return "none";
	if (vm->role == VM_ROLE_RUNNING)
		return "own";
	if (vm->role == VM_ROLE_PRIMARY)
		return note_path(vm, path) == 0 && access(path, F_OK) < 0 ? "own" : "unsound";
	if (status && status->disks_epoch > 0)
		return "copy";
	return status && status->is_torn ? "torn" : "none";
}

void vm_cold_report(const struct vm *vm, const struct standby_status *status,
		    struct wire_report *report)
{
	const char *role = cold_role(vm, status), *disk;

	/* Report torn disks also while this host keeps a copy: without a whole epoch in that copy,
	 * an operator may want to start the guest from these disks. */
	if (!role && vm->role == VM_ROLE_STANDBY && status && status->is_torn)
		(void)!wire_stats_add(report->stats, "cold_disk", "torn");
	if (!role)
		return;
	disk = disk_of(vm, status);
	(void)!wire_stats_add(report->stats, "cold", "%s", role);
	(void)!wire_stats_add(report->stats, "cold_disk", "%s", disk);
	(void)!wire_stats_add(report->stats, "cold_ran", "%" PRIu64, vm->term);
	if (strcmp(disk, "copy") == 0) {
		(void)!wire_stats_add(report->stats, "cold_term", "%" PRIu64, status->disks_term);
		(void)!wire_stats_add(report->stats, "cold_epoch", "%" PRIu64,
				      status->disks_epoch);
	}
	if (*vm->fenced_text) /* the text is set only while such a QEMU exists */
		(void)!wire_stats_add(report->stats, "cold_qemu", "1");
}
