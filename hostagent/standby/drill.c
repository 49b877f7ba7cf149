#include "standby/drill.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "standby/drill_files.h"
#include "standby/drill_guest.h"
#include "standby/drill_world.h"
#include "standby/rehearse.h"
#include "standby/standby_private.h"
#include "vmm/disks.h"
#include "vmm/vcpus.h"

/* the cut (make_cut()) copies at most this many bytes, which takes some ms */
#define CUT_BYTES    (INT64_C(16) << 20)
#define PASSES_MAX   20
#define CUTS_MAX     5 /* how often the cut is tried, if too much is written after the last pass */
#define IOPRIO_IDLE  (3 << 13) /* IOPRIO_CLASS_IDLE of ioprio_set(2) */
#define MAPS_BYTES_MAX (4u << 20)
#define NICE	     10
#define LOOK_MS	     200
#define PATH_ROOM    128

enum phase {
	PHASE_COPYING,
	PHASE_CUT,   /* the drill's thread waits for the cut: see make_cut() */
	PHASE_WORLD, /* the cut was made, or has failed (cut_result) */
	PHASE_ENDED,
};

struct drill {
	/* the drill's thread uses only members of *sb that never change: config, paths, wake_fd */
	struct standby *sb;
	struct drill_files files;
	struct qemu qemu;
	bool has_qemu;
	uint64_t number, begun_ns;
	char seen[ERROR_TEXT_BYTES]; /* what was seen of the guest so far, for the result's text */
	_Atomic bool cancel;
	pthread_t thread;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t cut_done;
	enum phase phase;
	int cut_result;
	struct standby_drilled result; /* valid in PHASE_ENDED */
};

/* ---- the drill's thread */

static void wake(const struct drill *d)
{
	uint64_t one = 1;

	/* ignore an error: a full eventfd has woken the thread already */
	(void)!write(d->sb->wake_fd, &one, sizeof(one));
}

static int copy_until_little_is_left(struct drill *d, struct error *ret_error)
{
	int64_t left = INT64_MAX;

	for (int i = 0; i < PASSES_MAX && left > CUT_BYTES; i++) {
		left = drill_files_pass(&d->files, &d->cancel, ret_error);
		if (left < 0)
			return (int)left;
	}
	if (left > CUT_BYTES)
		return error_set(ret_error, -EAGAIN,
				 "the guest writes faster than this host copies: %" PRId64
				 " MiB are left after %d passes; try when it writes less",
				 left >> 20, PASSES_MAX);
	return 0;
}

/* Let the standby's thread copy what is left, between two epochs. */
static int cut(struct drill *d, struct error *ret_error)
{
	int r;

	pthread_mutex_lock(&d->lock);
	d->phase = PHASE_CUT;
	wake(d);
	while (d->phase == PHASE_CUT)
		pthread_cond_wait(&d->cut_done, &d->lock);
	r = d->cut_result;
	*ret_error = d->result.text;
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int make_copy(struct drill *d, struct error *ret_error)
{
	int r = drill_files_prepare(&d->files, &d->cancel, ret_error);

	for (int i = 0; r == 0 && i < CUTS_MAX; i++) {
		r = copy_until_little_is_left(d, ret_error);
		if (r == 0)
			r = cut(d, ret_error);
		if (r != -EAGAIN)
			break;
	}
	return r;
}

/* Does QEMU use the second copy of memory? Returns 0 if it does, else an error. */
static int check_ram(const struct drill *d, struct error *ret_error)
{
	char path[64], id[64];
	AUTO_FREE char *maps = NULL;
	struct stat st;
	size_t size;
	int r = fstatat(d->files.to.dir_fd, "ram", &st, 0) < 0 ? -errno : 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)d->qemu.pid);
	if (r == 0)
		r = fd_read_file(path, MAPS_BYTES_MAX, &maps, &size);
	if (r < 0)
		return error_set(ret_error, r, "%s: %s", path, strerror(-r));
	(void)snprintf(id, sizeof(id), " %02x:%02x %" PRIu64 " ", major(st.st_dev),
		       minor(st.st_dev), (uint64_t)st.st_ino);
	if (strstr(maps, id))
		return 0;
	return error_set(ret_error, -ENOTSUP, "QEMU does not use the drill's copy of memory: the "
			 "guest is not started");
}

static int enter_world(struct drill *d, struct error *ret_error)
{
	char ram[PATH_ROOM + 16];
	int r = drill_world_enter(ret_error);

	(void)snprintf(ram, sizeof(ram), "%s/ram", d->files.dir);
	if (r == 0)
		r = drill_world_cover(ram, d->sb->ram_path, ret_error);
	for (uint32_t i = 0; r == 0 && i < d->files.n_disks; i++)
		r = drill_world_cover(d->files.disk[i].path, d->files.disk[i].image, ret_error);
	return r;
}

static bool is_our_copy(const struct drill *d, const struct vmm_disk *disk)
{
	char path[VMM_DISK_FILE_BYTES + 64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s%s", (int)d->qemu.pid,
		       *disk->file == '/' ? "root" : "cwd/", disk->file);
	if (stat(path, &st) < 0)
		return false;
	for (uint32_t i = 0; i < d->files.n_disks; i++)
		if (st.st_dev == d->files.disk[i].device && st.st_ino == d->files.disk[i].inode)
			return true;
	return false;
}

/* Check that QEMU has opened only the second copies as disks. The guest of a drill must not write
 * to anything else. */
static int check_disks(const struct drill *d, struct error *ret_error)
{
	struct vmm_disks disks;
	int r = vmm_disks_list(d->qemu.qmp, &disks, ret_error);

	for (uint32_t i = 0; r == 0 && i < disks.n; i++)
		if (!is_our_copy(d, &disks.disks[i]))
			r = error_set(ret_error, -ENOTSUP,
				      "disk %s: QEMU opens %.200s, which is not the copy of "
				      "the image for the drill: the guest is not started",
				      disks.disks[i].name, disks.disks[i].file);
	return r;
}

/* End the QEMU that a killed agent has left of a drill. */
static void end_left_qemu(struct qemu *q, const char *vm)
{
	if (qemu_find(q) == 0 && qemu_kill(q) < 0)
		log_warn("vm=%s QEMU pid %d of an earlier drill does not end, ignoring", vm,
			 (int)q->pid);
}

static int start_qemu(struct drill *d, struct error *ret_error)
{
	int r;

	/* never adopt such a QEMU: it uses an older copy of memory */
	end_left_qemu(&d->qemu, d->sb->config.vm);
	r = qemu_start(&d->qemu, d->sb->config.start_timeout_ms, ret_error);
	if (r == 0)
		r = check_ram(d, ret_error);
	if (r == 0)
		r = check_disks(d, ret_error);
	return r;
}

static void add_seen(struct drill *d, const char *text)
{
	size_t at = strlen(d->seen);

	(void)snprintf(d->seen + at, sizeof(d->seen) - at, "%s%s", at > 0 ? ", " : "", text);
}

static int look(struct drill *d, struct error *ret_error)
{
	const struct standby_config *config = &d->sb->config;
	uint64_t timeout_ns = config->drill_timeout_ns, ms;
	char log_path[QEMU_PATH_MAX + 16], text[128];
	int r = 0;

	if (*config->drill_probe) {
		r = drill_world_probe(config->drill_probe, timeout_ns, &d->cancel, &ms, ret_error);
		(void)snprintf(text, sizeof(text), "%.60s answers after %" PRIu64 " ms",
			       config->drill_probe, ms);
		if (r == 0)
			add_seen(d, text);
	}
	if (r < 0 || !*config->drill_script)
		return r;
	(void)snprintf(log_path, sizeof(log_path), "%s.script", d->qemu.log_path);
	r = drill_world_script(config->drill_script, config->vm, d->qemu.qmp_path, log_path,
			       timeout_ns, &d->cancel, ret_error);
	if (r == 0)
		add_seen(d, "drill_script is content");
	return r;
}

static int run_guest(struct drill *d, struct error *ret_error)
{
	const struct standby_config *config = &d->sb->config;
	struct vcpus *vcpus = NULL;
	int r = vcpus_open(d->qemu.qmp, d->qemu.pid, &vcpus, ret_error);

	if (r < 0)
		return r;
	r = drill_world_connect(config->drill_address, ret_error);
	if (r == 0)
		r = promote_drill(&d->files.to, &d->qemu,
				  config->promote_timeout_ms * CLOCK_NS_PER_MS, ret_error);
	if (r == 0)
		r = drill_guest_runs(&d->qemu, vcpus, config->drill_timeout_ns, ret_error);
	if (r == 0) {
		add_seen(d, "its vCPUs run");
		r = look(d, ret_error);
	}
	if (r == 0) /* does the guest still run? */
		r = drill_guest_runs(&d->qemu, vcpus, config->drill_timeout_ns, ret_error);
	vcpus_close(vcpus);
	return r;
}

static int drill(struct drill *d, struct error *ret_error)
{
	int r = make_copy(d, ret_error);

	if (r == 0)
		r = enter_world(d, ret_error);
	if (r == 0 && !d->cancel)
		r = start_qemu(d, ret_error);
	if (r == 0)
		r = d->cancel ? -ECANCELED : run_guest(d, ret_error);
	if (d->qemu.pid > 0 && qemu_kill(&d->qemu) < 0)
		log_error("vm=%s QEMU pid %d, of a drill, cannot be killed", d->sb->config.vm,
			  (int)d->qemu.pid);
	d->result.epoch = d->files.epoch;
	drill_files_remove(&d->files); /* on this thread, because it takes long */
	return r;
}

static void *run(void *arg)
{
	struct drill *d = arg;
	struct error error = {""};
	int r;

	/* both settings are for this thread and for the processes that it starts */
	(void)setpriority(PRIO_PROCESS, 0, NICE);
	(void)syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, IOPRIO_IDLE);
	r = drill(d, &error);
	/* report the result */
	pthread_mutex_lock(&d->lock);
	d->result.number = d->number;
	d->result.result = r;
	d->result.ms = (clock_mono_ns() - d->begun_ns) / CLOCK_NS_PER_MS;
	if (r == -ECANCELED)
		(void)error_set(&d->result.text, r,
				"the drill was cancelled: the copy was needed, or is not wanted");
	else if (r < 0)
		(void)error_set(&d->result.text, r, "%s%s%.700s", d->seen, *d->seen ? ", but " : "",
				error.text);
	else
		(void)error_set(&d->result.text, 0, "epoch %" PRIu64 ": %s; it took %" PRIu64 " ms",
				d->result.epoch, d->seen, d->result.ms);
	d->phase = PHASE_ENDED;
	wake(d);
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* ---- the standby's thread */

static int make_words(struct drill *d, struct error *ret_error)
{
	struct standby *sb = d->sb;
	int r = qemu_init(&d->qemu, sb->config.vm, "drill", sb->config.run_dir, sb->ram_path,
			  ret_error);

	if (r < 0)
		return r;
	d->has_qemu = true;
	d->qemu.is_rehearsal = true;
	d->qemu.cancel = &d->cancel;
	r = rehearse_words(&sb->qemu.cmdline, d->qemu.qmp_path, d->qemu.pid_path,
			   REHEARSE_SAME_RAM, &d->qemu.cmdline);
	return r < 0 ? error_set(ret_error, r, "the drill's command: %s", strerror(-r)) : 0;
}

static void free_drill(struct drill *d)
{
	drill_files_end(&d->files);
	if (d->has_qemu) {
		(void)unlink(d->qemu.qmp_path);
		qemu_done(&d->qemu);
	}
	pthread_cond_destroy(&d->cut_done);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

int drill_begin(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
{
	struct drill *d;
	int r;

	if (sb->drill) { /* a second caller gets the result of the same drill */
		*ret_number = sb->drill->number;
		return 0;
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		return error_set(ret_error, -ENOMEM, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->cut_done, NULL);
	d->sb = sb;
	d->number = sb->n_drills + 1;
	d->begun_ns = clock_mono_ns();
	d->qemu.pid = d->qemu.pidfd = -1;
	r = drill_files_begin(&d->files, &sb->rf, &sb->images, sb->config.drill_dir, sb->config.vm,
			      ret_error);
	if (r == 0)
		r = make_words(d, ret_error);
	if (r == 0) {
		r = -pthread_create(&d->thread, NULL, run, d);
		if (r < 0)
			(void)error_set(ret_error, r, "no thread for a drill: %s", strerror(-r));
	}
	if (r < 0) {
		drill_files_detach(&sb->rf, &sb->images);
		free_drill(d);
		return r;
	}
	sb->drill = d;
	*ret_number = ++sb->n_drills;
	log_info("vm=%s drill %" PRIu64 " begins", sb->config.vm, d->number);
	return 0;
}

/* Make the cut: apply the complete epoch, then copy what is left. No epoch is applied during the
 * copy, because this thread does both. If too much is left, let the drill's thread make more
 * passes. */
static void make_cut(struct drill *d)
{
	struct standby *sb = d->sb;
	uint64_t begin_ns = clock_mono_ns();
	int r = d->cancel ? -ECANCELED : epochlog_apply(&sb->log);

	d->phase = PHASE_WORLD;
	pthread_cond_signal(&d->cut_done);
	if (r < 0 && r != -ECANCELED)
		(void)error_set(&d->result.text, r, "%.600s", sb->log.why.text);
	if (r == 0 && drill_files_left(&d->files) > CUT_BYTES)
		r = error_set(&d->result.text, -EAGAIN, "the guest writes too much at once: try "
			      "when it writes less");
	d->cut_result = r;
	if (r == -EAGAIN)
		return;
	if (r == 0)
		d->cut_result = drill_files_finish(&d->files, &sb->rf, &d->result.text);
	drill_files_detach(&sb->rf, &sb->images);
	log_info("vm=%s drill %" PRIu64 ": the copy of epoch %" PRIu64 " was cut in %" PRIu64 " us",
		 sb->config.vm, d->number, d->files.epoch,
		 (clock_mono_ns() - begin_ns) / CLOCK_NS_PER_US);
}

void drill_step(struct standby *sb)
{
	struct drill *d = sb->drill;
	bool has_ended;

	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	if (d->phase == PHASE_CUT)
		make_cut(d);
	has_ended = d->phase == PHASE_ENDED;
	pthread_mutex_unlock(&d->lock);
	if (!has_ended)
		return;
	(void)pthread_join(d->thread, NULL);
	drill_files_detach(&sb->rf, &sb->images);
	sb->drilled = d->result;
	sb->drill = NULL;
	sb->dirty = true;
	log_info("vm=%s drill %" PRIu64 " %s: %s", sb->config.vm, sb->drilled.number,
		 sb->drilled.result < 0 ? "failed" : "passed", sb->drilled.text.text);
	free_drill(d);
}

void drill_cancel(struct standby *sb)
{
	if (sb->drill)
		sb->drill->cancel = true;
}

void drill_close(struct standby *sb)
{
	struct drill *d = sb->drill;

	if (!d)
		return;
	d->cancel = true;
	while (sb->drill) {
		struct pollfd woken = {.fd = sb->wake_fd, .events = POLLIN};
		uint64_t count;

		drill_step(sb);
		if (sb->drill && poll(&woken, 1, LOOK_MS) > 0)
			/* the count is not needed: the eventfd only wakes us */
			(void)!read(sb->wake_fd, &count, sizeof(count));
	}
}

void drill_sweep(struct standby *sb)
{
	struct error error;
	struct qemu q;

	if (qemu_init(&q, sb->config.vm, "drill", sb->config.run_dir, sb->ram_path, &error) == 0) {
		end_left_qemu(&q, sb->config.vm);
		qemu_done(&q);
	}
	drill_files_sweep(&sb->rf, &sb->images, sb->config.drill_dir, sb->config.vm);
}
