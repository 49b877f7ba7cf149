#include "standby/epochlog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "standby/apply.h"

#define NAME_ROOM	48
/* without a reserve, a file up to this size becomes `spare`, and a larger file is removed */
#define SPARE_BYTES_MAX (UINT64_C(16) << 20)

static const char *file_name(uint64_t epoch, const char *suffix, char name[NAME_ROOM])
{
	snprintf(name, NAME_ROOM, "epoch-%" PRIu64 ".%s", epoch, suffix);
	return name;
}

/* ---- the file being written */

static void drop_part(struct epochlog *log)
{
	char name[NAME_ROOM];
	int r = -1;

	/* a complete file (pending) is not a .part */
	if (log->fd < 0 || log->pending)
		return;
	file_name(log->epoch, "part", name);
	if (log->reserve_bytes && (log->bytes <= log->reserve_bytes ||
				   ftruncate(log->fd, (off_t)log->reserve_bytes) == 0))
		r = renameat(log->rf->dir_fd, name, log->rf->dir_fd, "spare");
	log->fd = fd_close(log->fd);
	if (r < 0)
		/* if this fails, the next open removes the file */
		(void)unlinkat(log->rf->dir_fd, name, 0);
	log->stats.epochs_discarded++;
}

static int append(struct epochlog *log, const void *data, size_t size)
{
	int r = fd_write_all(log->fd, data, size);

	if (r == 0)
		log->bytes += size;
	return r;
}

static int begin_part(struct epochlog *log, uint64_t epoch)
{
	char name[NAME_ROOM];

	file_name(epoch, "part", name);
	/* Use the file of an applied epoch again: its tmpfs pages are allocated already. */
	if (renameat(log->rf->dir_fd, "spare", log->rf->dir_fd, name) < 0 && errno != ENOENT)
		return -errno;
	log->fd = openat(log->rf->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (log->fd < 0)
		return -errno;
	log->epoch = epoch;
	log->bytes = 0;
	return append(log, log->geometry_frame, log->geometry_size);
}

static int complete_part(struct epochlog *log)
{
	char part[NAME_ROOM], complete[NAME_ROOM];

	if (log->durable) {
		int r = durable_complete(log->durable, log->fd, log->rf->meta.term, log->epoch,
					 log->rf->meta.applied_epoch, &log->why);

		if (r < 0)
			return r;
	}
	ramfile_step(log->rf);
	if (renameat(log->rf->dir_fd, file_name(log->epoch, "part", part), log->rf->dir_fd,
		     file_name(log->epoch, "complete", complete)) < 0)
		return -errno;
	ramfile_step(log->rf);
	log->pending = log->epoch;
	if (log->durable)
		durable_stored(log->durable, log->epoch);
	log->stats.epochs_complete++;
	log->stats.epochs_full += log->check.full;
	log->stats.bytes_buffered += log->bytes;
	return 0;
}

/* If the images are not open, open them, so that an epoch can be checked and applied. Refuse this
 * after a promotion, because then the guest's QEMU writes to the images. */
static int have_images(struct epochlog *log)
{
	if (!log->images || log->images->n == 0)
		return 0;
	if (log->rf->meta.phase != RAMFILE_COPY)
		return error_set(&log->why, -EBUSY,
				 "the guest was promoted and writes to its disks itself");
	return images_open(log->images, &log->why);
}

/* Tell the disk log (durable.h) that an epoch begins, or that a DISK frame will be appended to the
 * epoch's file at log->bytes. Does nothing for other frames. Returns 0 or -ENOMEM. */
static int note_disks(struct epochlog *log, const struct wire_frame *frame)
{
	if (!log->durable)
		return 0;
	if (frame->h.type == WIRE_EPOCH_BEGIN)
		durable_begin(log->durable, frame->h.flags & WIRE_FLAG_UNHELD);
	if (frame->h.type == WIRE_DISK)
		return durable_frame(log->durable, log->bytes, wire_frame_size(frame));
	return 0;
}

static int store(struct epochlog *log, const struct wire_frame *frame, int verdict)
{
	int r;

	switch (verdict) {
	case EPOCHCHECK_GEOMETRY:
		drop_part(log);
		log->geometry_size = wire_frame_size(frame);
		memcpy(log->geometry_frame, wire_frame_start(frame), log->geometry_size);
		return 0;
	case EPOCHCHECK_BEGIN:
		r = epochlog_apply(log);
		if (r == 0)
			r = begin_part(log, frame->h.epoch);
		if (r < 0)
			return r;
		break;
	case EPOCHCHECK_INSIDE:
	case EPOCHCHECK_COMPLETE:
		break;
	default:
		log->stats.frames_dropped++;
		return 0;
	}
	r = note_disks(log, frame);
	if (r == 0)
		r = append(log, wire_frame_start(frame), wire_frame_size(frame));
	FAULT_POINT(FAULT_STANDBY_BUFFERING);
	if (r == 0 && verdict == EPOCHCHECK_COMPLETE)
		r = complete_part(log);
	return r;
}

/* Say in *ret_error, for the operator: where the epoch could not be stored, how much of it is
 * written, how much space is free, and what to do. Call this before the .part is removed. If
 * log->why has a text, the disk log has failed: pass the text on. */
static void describe_failure(const struct epochlog *log, uint64_t epoch, int error,
			     struct error *ret_error)
{
	struct statvfs fs;

	if (log->why.text[0]) {
		(void)error_set(ret_error, error,
				"the standby cannot log the disk writes of epoch %" PRIu64
				": %.800s", epoch, log->why.text);
		return;
	}
	if (error != -ENOSPC || statvfs(log->rf->dir, &fs) < 0) {
		(void)error_set(ret_error, error,
				"the standby cannot store epoch %" PRIu64 " in %s: %s", epoch,
				log->rf->dir, strerror(-error));
		return;
	}
	(void)error_set(ret_error, error,
			"the standby cannot store epoch %" PRIu64 " in %s: %s: %" PRIu64
			" MiB of it are written, of %" PRIu64 " MiB %" PRIu64
			" are free; it may need up to %" PRIu64
			" MiB: remove what else is there, or enlarge that tmpfs (mount -o "
			"remount,size=...)",
			epoch, log->rf->dir, strerror(-error), log->bytes >> 20,
			((uint64_t)fs.f_blocks * fs.f_frsize) >> 20,
			((uint64_t)fs.f_bavail * fs.f_frsize) >> 20, log->bytes_max >> 20);
}

static void describe_unapplied(const struct epochlog *log, int error, struct error *ret_error)
{
	(void)error_set(ret_error, error,
			"the standby cannot apply epoch %" PRIu64
			" and takes no other before it: %.800s",
			log->pending, log->why.text);
}

/* Before the first frame of an epoch is checked, open the images. If they cannot be opened, refuse
 * the epoch: it cannot be checked without them. */
static int need_images(struct epochlog *log, const struct wire_frame *frame,
		       struct epochcheck_error *ret_error)
{
	int r = frame->h.type == WIRE_EPOCH_BEGIN ? have_images(log) : 0;

	if (r == 0)
		return 0;
	epochcheck_reset(&log->check);
	log->stats.epochs_refused++;
	ret_error->code = WIRE_STREAM_ERROR_APPLY;
	ret_error->why = log->why;
	return r;
}

int epochlog_frame(struct epochlog *log, const struct wire_frame *frame,
		   const struct wire_geometry *ours, struct epochcheck_error *ret_error)
{
	uint64_t last = log->check.last_epoch;
	int r = need_images(log, frame, ret_error), verdict;

	if (r < 0)
		return r;
	log->why.text[0] = '\0';
	verdict = epochcheck_frame(&log->check, frame, ours, ret_error);
	if (verdict < 0) {
		drop_part(log);
		log->stats.epochs_refused++;
		return verdict;
	}
	/* if the frame cannot be stored, forget its epoch */
	r = store(log, frame, verdict);
	if (r < 0) {
		log->check.last_epoch = last;
		if (log->durable)
			durable_forget(log->durable);
		epochcheck_reset(&log->check);
		log->stats.epochs_refused++;
		ret_error->code = WIRE_STREAM_ERROR_APPLY;
		if (log->pending)
			describe_unapplied(log, r, &ret_error->why);
		else
			describe_failure(log, frame->h.epoch, r, &ret_error->why);
		drop_part(log);
		return r;
	}
	return verdict == EPOCHCHECK_COMPLETE;
}

/* ---- the complete file */

static void remove_complete(struct epochlog *log)
{
	uint64_t keep = log->reserve_bytes ? log->reserve_bytes : SPARE_BYTES_MAX;
	char name[NAME_ROOM];
	int r = -1;

	file_name(log->pending, "complete", name);
	ramfile_step(log->rf);
	/* With a reserve, a file that is too large is cut, not removed, so that there always is a
	 * `spare`. It is cut before the rename, so that `spare` is never larger than the
	 * reserve. */
	if (log->bytes <= keep || (log->reserve_bytes && ftruncate(log->fd, (off_t)keep) == 0))
		r = renameat(log->rf->dir_fd, name, log->rf->dir_fd, "spare");
	if (r < 0)
		/* if this fails, the next open removes the file: its epoch is not newer than the
		 * one in `meta` */
		(void)unlinkat(log->rf->dir_fd, name, 0);
}

static int apply_mapped(struct epochlog *log, const uint8_t *data, size_t size)
{
	struct ramfile_meta meta = log->rf->meta;
	uint64_t n_pages = 0;
	int r;

	r = apply_epoch(log->rf, log->images, data, size, &n_pages, &log->why);
	if (r < 0)
		return r;
	meta.applied_epoch = log->pending;
	r = ramfile_store_meta(log->rf, &meta);
	if (r < 0)
		return error_set(&log->why, r, "%s/meta: %s", log->rf->dir, strerror(-r));
	log->stats.pages_applied += n_pages;
	return 0;
}

static void note_time(struct epochlog_stats *stats, uint64_t took_ns)
{
	stats->n_applied++;
	stats->apply_last_ns = took_ns;
	stats->apply_total_ns += took_ns;
	if (took_ns > stats->apply_max_ns)
		stats->apply_max_ns = took_ns;
}

int epochlog_apply(struct epochlog *log)
{
	uint64_t begin_ns = clock_mono_ns(), epoch;
	void *data;
	int r;

	if (!log->pending)
		return 0;
	if (log->rf->meta.phase != RAMFILE_COPY)
		return error_set(&log->why, -EBUSY, "the guest was promoted from the copy");
	r = have_images(log);
	if (r < 0)
		return r;
	/* The whole file will be read, most of it twice. So map all its pages now, to avoid page
	 * faults. */
	data = mmap(NULL, log->bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, log->fd, 0);
	if (data == MAP_FAILED)
		return error_set(&log->why, -errno, "its file: %s", strerror(errno));
	r = apply_mapped(log, data, log->bytes);
	(void)munmap(data, log->bytes); /* fails only for bad arguments */
	if (r < 0)
		return r;
	remove_complete(log);
	log->fd = fd_close(log->fd);
	epoch = log->pending;
	log->pending = 0;
	note_time(&log->stats, clock_mono_ns() - begin_ns);
	if (log->images)
		images_flush_soon(log->images, clock_mono_ns());
	if (log->durable &&
	    durable_applied(log->durable, log->rf->meta.term, epoch, &log->why) < 0)
		/* the next held epoch causes another try; if that fails too, that epoch is
		 * refused */
		log_warn("epoch=%" PRIu64 " the disks are not safe from a power failure yet: %s",
			 epoch, log->why.text);
	return 0;
}

/* ---- open */

/* Is @name "epoch-N.SUFFIX", exactly as file_name() would write it? */
static bool parse_name(const char *name, const char *suffix, uint64_t *ret_epoch)
{
	char again[NAME_ROOM];
	uint64_t epoch;

	if (sscanf(name, "epoch-%" SCNu64, &epoch) != 1)
		return false;
	if (strcmp(file_name(epoch, suffix, again), name) != 0)
		return false;
	*ret_epoch = epoch;
	return true;
}

/* Does the complete epoch in @fd continue the copy? Returns 1 if it does; 0 if it is of an older
 * epoch or term, or does not build on the copy; -errno if it cannot be read, or is not valid. */
static int inspect_complete(struct epochlog *log, int fd, uint64_t size)
{
	const struct ramfile_meta *meta = &log->rf->meta;
	struct apply_info info;
	void *data;
	int r;

	if (size == 0)
		return -EBADMSG;
	data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	r = apply_check(data, size, meta->term, log->images, &info);
	(void)munmap(data, size); /* fails only for bad arguments */
	if (r == -ESTALE)
		return 0;
	if (r < 0)
		return r;
	if (info.epoch <= meta->applied_epoch)
		return 0;
	return info.full || (meta->applied_epoch && info.previous_epoch == meta->applied_epoch);
}

static int adopt_complete(struct epochlog *log, const char *name, uint64_t epoch)
{
	int fd = openat(log->rf->dir_fd, name, O_RDWR | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	r = fstat(fd, &st) < 0 ? -errno : have_images(log);
	if (r == 0)
		r = inspect_complete(log, fd, (uint64_t)st.st_size);
	if (r <= 0) {
		fd_close(fd);
		if (r == 0 && unlinkat(log->rf->dir_fd, name, 0) < 0)
			r = -errno;
		return r;
	}
	log->fd = fd;
	log->pending = epoch;
	log->bytes = (uint64_t)st.st_size;
	return epochlog_apply(log);
}

static int scan(struct epochlog *log, bool (*wanted)(const char *name, uint64_t *ret_epoch),
		int (*handle)(struct epochlog *log, const char *name, uint64_t epoch))
{
	DIR *dir = opendir(log->rf->dir);
	struct dirent *entry;
	uint64_t epoch;
	int r = 0;

	if (!dir)
		return -errno;
	while (r == 0 && (entry = readdir(dir))) {
		if (wanted(entry->d_name, &epoch))
			r = handle(log, entry->d_name, epoch);
	}
	closedir(dir);
	return r;
}

static bool is_complete(const char *name, uint64_t *ret_epoch)
{
	return parse_name(name, "complete", ret_epoch);
}

/* Is @name a .part that a killed agent has left? (`spare` is no leftover: it must stay, because the
 * file system may have no other free pages.) */
static bool is_leftover(const char *name, uint64_t *ret_epoch)
{
	return parse_name(name, "part", ret_epoch);
}

static bool is_epoch_file(const char *name, uint64_t *ret_epoch)
{
	return is_leftover(name, ret_epoch) || is_complete(name, ret_epoch);
}

static int remove_file(struct epochlog *log, const char *name, uint64_t epoch)
{
	(void)epoch;
	return unlinkat(log->rf->dir_fd, name, 0) < 0 ? -errno : 0;
}

/* Rename the .part @name to `spare`, because it may be the file with the reserved pages. If there
 * is a `spare` already, remove the .part. */
static int make_spare(struct epochlog *log, const char *name, uint64_t epoch)
{
	if (renameat2(log->rf->dir_fd, name, log->rf->dir_fd, "spare", RENAME_NOREPLACE) == 0)
		return 0;
	return remove_file(log, name, epoch);
}

static void init_check(struct epochlog *log)
{
	epochcheck_init(&log->check, log->rf->meta.term, log->rf->meta.applied_epoch,
			log->bytes_max);
	log->check.images = log->images;
}

int epochlog_open(struct ramfile *rf, struct images *images, uint64_t bytes_max,
		  struct epochlog *log)
{
	int r;

	memset(log, 0, sizeof(*log));
	log->rf = rf;
	log->images = images;
	log->fd = -1;
	log->bytes_max = bytes_max;
	r = scan(log, is_leftover, make_spare);
	if (r == 0 && rf->meta.phase == RAMFILE_COPY)
		r = scan(log, is_complete, adopt_complete);
	if (r < 0) {
		log->fd = fd_close(log->fd);
		if (!log->why.text[0])
			(void)error_set(&log->why, r, "%s", strerror(-r));
		return r;
	}
	init_check(log);
	return 0;
}

int epochlog_reserve(struct epochlog *log, uint64_t bytes)
{
	AUTO_CLOSE int fd = openat(log->rf->dir_fd, "spare", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > bytes && ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) < 0 && errno != EOPNOTSUPP)
		return -errno;
	log->reserve_bytes = bytes;
	return 0;
}

void epochlog_give_back(struct epochlog *log)
{
	log->reserve_bytes = 0;
	(void)unlinkat(log->rf->dir_fd, "spare", 0); /* ignore an error: the file may not exist */
}

void epochlog_reset(struct epochlog *log)
{
	drop_part(log);
	epochcheck_reset(&log->check);
}

void epochlog_close(struct epochlog *log)
{
	if (!log->rf)
		return;
	drop_part(log);
	log->fd = fd_close(log->fd);
	epochcheck_done(&log->check);
	log->rf = NULL;
}

/* Store @meta, which has the new term and the applied epoch, and drop the buffered epochs. Returns
 * 0 or -errno; on error nothing has changed. */
static int change_term(struct epochlog *log, const struct ramfile_meta *meta)
{
	int r = ramfile_store_meta(log->rf, meta);

	if (r < 0)
		return r;
	drop_part(log);
	log->fd = fd_close(log->fd);
	log->pending = 0;
	epochcheck_done(&log->check);
	init_check(log);
	if (log->durable)
		durable_forget(log->durable);
	/* Ignore errors: after a change of the term, a file that is left is never used, because its
	 * frames have the old term. */
	(void)scan(log, is_epoch_file, remove_file);
	return 0;
}

int epochlog_drop_copy(struct epochlog *log)
{
	return change_term(log, &(struct ramfile_meta){.term = log->rf->meta.term,
						       .vote = log->rf->meta.vote,
						       .phase = RAMFILE_COPY});
}

int epochlog_discard(struct ramfile *rf)
{
	struct ramfile_meta meta = {.term = rf->meta.term, .vote = rf->meta.vote,
				    .phase = RAMFILE_COPY};
	struct epochlog log = {.rf = rf};
	int r = ramfile_store_meta(rf, &meta);

	return r < 0 ? r : scan(&log, is_epoch_file, remove_file);
}

int epochlog_set_term(struct epochlog *log, uint64_t term)
{
	int r = change_term(log, &(struct ramfile_meta){.term = term, .phase = RAMFILE_COPY});

	if (r == 0 && log->images)
		images_renew(log->images);
	return r;
}

int epochlog_vote(struct epochlog *log, uint64_t term, enum ramfile_vote vote)
{
	struct ramfile_meta meta = {.term = term, .phase = RAMFILE_COPY, .vote = vote};
	int r;

	if (vote == RAMFILE_VOTE_DIRECT) {
		r = epochlog_apply(log);
		if (r < 0)
			return r;
		meta.applied_epoch = log->rf->meta.applied_epoch;
		meta.disks_lost = log->rf->meta.disks_lost;
	}
	return change_term(log, &meta);
}

uint64_t epochlog_complete(const struct epochlog *log)
{
	return log->check.last_epoch;
}
