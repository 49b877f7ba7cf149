#include "standby/drill_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "codec/zero.h"
#include "standby/inherit.h"

/* on the disk, 1/MARGIN_SHARE more than the size of the second copies must be free */
#define MARGIN_SHARE 8u
/* after writing this many bytes, wait until the disk has them */
#define SYNC_BYTES   (UINT64_C(4) << 20)

/* ---- begin, on the standby's thread */

static int map_file(int dir_fd, const char *name, uint64_t bytes, uint8_t **ret_data)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	void *data;

	*ret_data = NULL;
	if (bytes == 0)
		return 0;
	if (fd < 0)
		return -errno;
	data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return -errno;
	*ret_data = data;
	return 0;
}

/* Map the copy's files for the drill alone: if the standby drops the copy during the drill, it
 * unmaps the files of @rf.
 */
static int map_copy(struct drill_files *f, const struct ramfile *rf)
{
	int r;

	f->from.has_geometry = true;
	f->from.geometry = rf->geometry;
	f->from.n_pages = rf->n_pages;
	r = map_file(rf->dir_fd, "ram", rf->ram_bytes, &f->from.ram);
	if (r < 0)
		return r;
	f->from.ram_bytes = rf->ram_bytes;
	r = map_file(rf->dir_fd, "rom", rf->rom_bytes, &f->from.rom);
	if (r < 0)
		return r;
	f->from.rom_bytes = rf->rom_bytes;
	f->pages = touched_new(rf->n_pages);
	return f->pages ? 0 : -ENOMEM;
}

static int name_disk(const char *dir, const char *vm, const char *disk, char path[DRILL_PATH_MAX])
{
	int n = snprintf(path, DRILL_PATH_MAX, "%s/%s.%s.drill", dir, vm, disk);

	return n < DRILL_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int begin_disk(struct drill_disk *d, const struct image *image, const char *dir,
		      const char *vm, struct error *ret_error)
{
	int r = name_disk(dir, vm, image->name, d->path);

	d->from_fd = d->fd = -1;
	if (image->is_qcow2)
		return error_set(ret_error, -ENOTSUP,
				 "disk %s is a qcow2 image on this host: a drill can copy only raw "
				 "files and block devices", image->name);
	if (r == 0 && snprintf(d->image, sizeof(d->image), "%s", image->path) >=
			      (int)sizeof(d->image))
		r = -ENAMETOOLONG;
	if (r == 0) {
		char path[64];

		/* open it for reading only: after a promotion nobody here may write to the
		 * images */
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", image->fd);
		d->from_fd = open(path, O_RDONLY | O_CLOEXEC);
		r = d->from_fd < 0 ? -errno : 0;
	}
	d->bytes = image->bytes;
	d->blocks = r == 0 ? touched_new((d->bytes + TOUCHED_BLOCK_BYTES - 1) / TOUCHED_BLOCK_BYTES)
			   : NULL;
	if (r == 0 && !d->blocks)
		r = -ENOMEM;
	return r < 0 ? error_set(ret_error, r, "disk %s, %s: %s", image->name, d->path,
				 strerror(-r))
		     : 0;
}

int drill_files_begin(struct drill_files *f, struct ramfile *rf, struct images *images,
		      const char *dir, const char *vm, struct error *ret_error)
{
	int r = 0;

	memset(f, 0, sizeof(*f));
	f->to.dir_fd = f->to.lock_fd = -1;
	if (rf->meta.phase != RAMFILE_COPY || rf->meta.applied_epoch == 0 || !rf->has_geometry ||
	    (images->n > 0 && !images->is_open))
		return error_set(ret_error, -ENODATA, "this host has no copy of the guest now");
	if (snprintf(f->dir, sizeof(f->dir), "%s/drill", rf->dir) >= (int)sizeof(f->dir))
		return error_set(ret_error, -ENAMETOOLONG, "state_dir %s is too long for a drill",
				 rf->dir);
	f->term = rf->meta.term;
	r = map_copy(f, rf);
	if (r < 0)
		(void)error_set(ret_error, r, "%s: %s", rf->dir, strerror(-r));
	for (; r == 0 && f->n_disks < images->n; f->n_disks++)
		r = begin_disk(&f->disk[f->n_disks], &images->item[f->n_disks], dir, vm, ret_error);
	if (r < 0) {
		drill_files_end(f);
		return r;
	}
	rf->touched = f->pages;
	for (uint32_t i = 0; i < f->n_disks; i++)
		images->item[i].touched = f->disk[i].blocks;
	return 0;
}

void drill_files_detach(struct ramfile *rf, struct images *images)
{
	rf->touched = NULL;
	for (uint32_t i = 0; i < images->n; i++)
		images->item[i].touched = NULL;
}

/* ---- prepare and copy, on the drill's thread */

static int claim_room(struct drill_files *f, struct error *ret_error)
{
	uint64_t bytes = f->from.ram_bytes + f->from.rom_bytes, free_bytes = 0;
	int r = room_claim(&f->room, f->dir, bytes, &free_bytes);

	return r < 0 ? error_set(ret_error, r,
				 "a drill needs %" PRIu64 " MiB more in %s, where %" PRIu64
				 " MiB are free", bytes >> 20, f->dir, free_bytes >> 20)
		     : 0;
}

static int make_memory(struct drill_files *f, const _Atomic bool *cancel, struct error *ret_error)
{
	int r = ramfile_open(f->dir, &f->to);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", f->dir, strerror(-r));
	r = claim_room(f, ret_error);
	if (r == 0)
		r = inherit_reserve(&f->to, f->from.ram_bytes, cancel, ret_error);
	room_release(&f->room); /* what was claimed is allocated now */
	if (r < 0)
		return r;
	r = ramfile_layout(&f->to, &f->from.geometry);
	return r < 0 ? error_set(ret_error, r, "%s: %s", f->dir, strerror(-r)) : 0;
}

static int check_space(const struct drill_files *f, const char *dir, struct error *ret_error)
{
	uint64_t needed = 0, free_bytes;
	struct statvfs fs;
	struct stat st;

	for (uint32_t i = 0; i < f->n_disks; i++) {
		if (fstat(f->disk[i].from_fd, &st) < 0)
			return error_set(ret_error, -errno, "%s: %m", f->disk[i].image);
		needed += S_ISREG(st.st_mode) ? (uint64_t)st.st_blocks * 512 : f->disk[i].bytes;
	}
	if (statvfs(dir, &fs) < 0)
		return error_set(ret_error, -errno, "drill_dir %s: %m", dir);
	free_bytes = fs.f_bavail * fs.f_frsize;
	if (free_bytes / (MARGIN_SHARE + 1) * MARGIN_SHARE >= needed)
		return 0;
	return error_set(ret_error, -ENOSPC,
			 "drill_dir %s has %" PRIu64 " MiB free, copies of the guest's disks need %"
			 PRIu64 " MiB and an eighth more", dir, free_bytes >> 20, needed >> 20);
}

/* Let the file system share the image's blocks with the second copy, if it can. Before that, clear
 * the flags of all blocks. So a flag that is set afterwards means that an epoch has written the
 * block since. */
static void clone_image(struct drill_disk *d)
{
	for (uint64_t i = 0; i < d->blocks->n; i++)
		(void)touched_take(d->blocks, i);
	if (ioctl(d->fd, FICLONE, d->from_fd) == 0)
		return;
	for (uint64_t i = 0; i < d->blocks->n; i++)
		touched_set(d->blocks, i);
}

static int make_disk(struct drill_disk *d, struct error *ret_error)
{
	struct stat st;

	(void)unlink(d->path); /* remove the file of an earlier drill */
	d->fd = open(d->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return error_set(ret_error, -errno, "%s: %m", d->path);
	clone_image(d);
	/* Give the second copy the image's owner and mode: QEMU may drop its rights (-runas) before
	 * it opens its disks for writing. */
	if (fstat(d->from_fd, &st) < 0 || fchown(d->fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(d->fd, st.st_mode & 0660) < 0 || ftruncate(d->fd, (off_t)d->bytes) < 0 ||
	    fstat(d->fd, &st) < 0)
		return error_set(ret_error, -errno, "%s: %m", d->path);
	d->device = st.st_dev;
	d->inode = st.st_ino;
	return 0;
}

int drill_files_prepare(struct drill_files *f, const _Atomic bool *cancel,
			struct error *ret_error)
{
	char dir[DRILL_PATH_MAX];
	int r = make_memory(f, cancel, ret_error);

	if (r < 0 || f->n_disks == 0)
		return r;
	(void)snprintf(dir, sizeof(dir), "%s", f->disk[0].path);
	*strrchr(dir, '/') = '\0';
	r = fd_mkdir_p(*dir ? dir : "/", 0700);
	if (r < 0)
		return error_set(ret_error, r, "drill_dir %s: %s", dir, strerror(-r));
	r = check_space(f, *dir ? dir : "/", ret_error);
	for (uint32_t i = 0; r == 0 && i < f->n_disks; i++)
		r = make_disk(&f->disk[i], ret_error);
	return r;
}

static bool is_zero(const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (at + PAGE_BYTES <= size && zero_is_page(data + at))
		at += PAGE_BYTES;
	return at == size;
}

/* Wait until the disk has the drill's writes, then free their page cache. Otherwise the kernel
 * might slow down the protection's writes because of the drill's writes. */
static void let_go(struct drill_disk *d)
{
	const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			     SYNC_FILE_RANGE_WAIT_AFTER;

	/* Ignore an error: if the disk takes no writes, the guest of the drill will notice. */
	(void)sync_file_range(d->fd, 0, 0, all);
	(void)posix_fadvise(d->fd, 0, 0, POSIX_FADV_DONTNEED);
	d->unsynced = 0;
}

/* Copy one block of a disk. If the block is all zeros and was never written in the second copy, it
 * stays a hole there. */
static int copy_block(struct drill_disk *d, uint64_t i, struct error *ret_error)
{
	uint8_t data[TOUCHED_BLOCK_BYTES], old[TOUCHED_BLOCK_BYTES];
	uint64_t at = i * TOUCHED_BLOCK_BYTES;
	size_t size = d->bytes - at < sizeof(data) ? d->bytes - at : sizeof(data);

	if (pread(d->from_fd, data, size, (off_t)at) != (ssize_t)size)
		return error_set(ret_error, -EIO, "%s cannot be read at %" PRIu64 ": %m", d->image,
				 at);
	if (is_zero(data, size) && pread(d->fd, old, size, (off_t)at) == (ssize_t)size &&
	    is_zero(old, size))
		return 0;
	if (pwrite(d->fd, data, size, (off_t)at) != (ssize_t)size)
		return error_set(ret_error, -EIO, "%s cannot be written at %" PRIu64 ": %m",
				 d->path, at);
	d->unsynced += size;
	if (d->unsynced >= SYNC_BYTES)
		let_go(d);
	return 0;
}

static int copy_changed(struct drill_files *f, const _Atomic bool *cancel, struct error *ret_error)
{
	int r = 0;

	for (uint64_t i = 0; i < f->pages->n; i++) {
		if (cancel && *cancel)
			return -ECANCELED;
		if (touched_take(f->pages, i))
			memcpy(ramfile_page(&f->to, i), ramfile_page(&f->from, i), WIRE_PAGE_SIZE);
	}
	for (uint32_t d = 0; d < f->n_disks; d++) {
		for (uint64_t i = 0; r == 0 && i < f->disk[d].blocks->n; i++) {
			if (cancel && *cancel)
				return -ECANCELED;
			if (touched_take(f->disk[d].blocks, i))
				r = copy_block(&f->disk[d], i, ret_error);
		}
	}
	return r;
}

int64_t drill_files_left(const struct drill_files *f)
{
	uint64_t left = touched_count(f->pages) * WIRE_PAGE_SIZE;

	for (uint32_t d = 0; d < f->n_disks; d++)
		left += touched_count(f->disk[d].blocks) * TOUCHED_BLOCK_BYTES;
	return (int64_t)left;
}

int64_t drill_files_pass(struct drill_files *f, const _Atomic bool *cancel,
			 struct error *ret_error)
{
	int r = copy_changed(f, cancel, ret_error);

	return r < 0 ? r : drill_files_left(f);
}

/* ---- the cut, on the standby's thread */

int drill_files_finish(struct drill_files *f, struct ramfile *rf, struct error *ret_error)
{
	int r;

	if (rf->meta.phase != RAMFILE_COPY || rf->meta.term != f->term ||
	    rf->meta.applied_epoch == 0 || !ramfile_has_layout(rf, &f->from.geometry))
		return error_set(ret_error, -ESTALE,
				 "the copy of the guest that was to be tried is no longer there");
	r = copy_changed(f, NULL, ret_error);
	if (r < 0)
		return r;
	memcpy(f->to.blob, rf->blob, rf->blob_bytes);
	r = ramfile_store_blob(&f->to, rf->blob_bytes);
	f->epoch = rf->meta.applied_epoch;
	return r < 0 ? error_set(ret_error, r, "%s: %s", f->dir, strerror(-r)) : 0;
}

/* ---- the end */

/* Remove a second copy of memory, and its directory, which has no other files. */
static void remove_memory(struct ramfile *to, const char *dir)
{
	if (to->dir_fd < 0)
		return;
	(void)!ramfile_purge(to); /* what is left is removed by the next drill, or by a boot */
	(void)unlinkat(to->dir_fd, "meta", 0);
	(void)unlinkat(to->dir_fd, "room", 0);
	(void)unlinkat(to->dir_fd, "lock", 0);
	ramfile_close(to);
	(void)rmdir(dir);
}

static void unmap(uint8_t **data, uint64_t bytes)
{
	if (*data)
		(void)munmap(*data, bytes);
	*data = NULL;
}

void drill_files_remove(struct drill_files *f)
{
	remove_memory(&f->to, f->dir);
	unmap(&f->from.ram, f->from.ram_bytes);
	unmap(&f->from.rom, f->from.rom_bytes);
	room_release(&f->room);
	for (uint32_t i = 0; i < f->n_disks; i++) {
		if (f->disk[i].fd >= 0)
			(void)unlink(f->disk[i].path);
		f->disk[i].fd = fd_close(f->disk[i].fd);
		f->disk[i].from_fd = fd_close(f->disk[i].from_fd);
	}
}

void drill_files_end(struct drill_files *f)
{
	drill_files_remove(f);
	free(f->pages);
	for (uint32_t i = 0; i < f->n_disks; i++)
		free(f->disk[i].blocks);
	memset(f, 0, sizeof(*f));
	f->to.dir_fd = f->to.lock_fd = -1;
}

/* The files that a killed agent has left of a drill. */
struct left {
	char dir[DRILL_PATH_MAX];
	char disk[IMAGES_MAX][DRILL_PATH_MAX];
	uint32_t n_disks;
};

static void *remove_left(void *arg)
{
	struct left *left = arg;
	struct ramfile rf;

	for (uint32_t i = 0; i < left->n_disks; i++)
		(void)unlink(left->disk[i]); /* usually there is no such file */
	/* If a new drill uses the directory already, ramfile_open() fails, because the drill has
	 * the lock. The drill has emptied the directory, so nothing is left to remove. */
	if (access(left->dir, F_OK) == 0 && ramfile_open(left->dir, &rf) == 0)
		remove_memory(&rf, left->dir);
	free(left);
	return NULL;
}

void drill_files_sweep(const struct ramfile *rf, const struct images *images, const char *dir,
		       const char *vm)
{
	struct left *left = calloc(1, sizeof(*left));
	pthread_t thread;

	if (!left)
		return;
	(void)snprintf(left->dir, sizeof(left->dir), "%s/drill", rf->dir);
	for (uint32_t i = 0; i < images->n; i++)
		if (name_disk(dir, vm, images->item[i].name, left->disk[left->n_disks]) == 0)
			left->n_disks++;
	if (pthread_create(&thread, NULL, remove_left, left) == 0)
		(void)pthread_detach(thread);
	else
		free(left); /* the next drill removes the files */
}
