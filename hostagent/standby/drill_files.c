#include "standby/drill_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
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

/* how much of the disk's free space is left to others */
#define MARGIN_SHARE 20u

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

/* Map the copy's files once more: the standby may drop the copy, and its own mappings, meanwhile.
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
		d->from_fd = fcntl(image->fd, F_DUPFD_CLOEXEC, 3);
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

void drill_files_detach(struct drill_files *f, struct ramfile *rf, struct images *images)
{
	(void)f;
	rf->touched = NULL;
	for (uint32_t i = 0; i < images->n; i++)
		images->item[i].touched = NULL;
}

/* ---- prepare and copy, on the drill's thread */

static int claim_memory(struct drill_files *f, struct error *ret_error)
{
	uint64_t bytes = f->from.ram_bytes + f->from.rom_bytes, free_bytes = 0;
	int r = inherit_check_memory(bytes, ret_error);

	if (r < 0)
		return r;
	r = room_claim(&f->room, f->dir, bytes, &free_bytes);
	return r < 0 ? error_set(ret_error, r,
				 "a drill needs %" PRIu64 " MiB more in %s, where %" PRIu64
				 " MiB are free", bytes >> 20, f->dir, free_bytes >> 20)
		     : 0;
}

static int make_memory(struct drill_files *f, struct error *ret_error)
{
	int r = ramfile_open(f->dir, &f->to);

	if (r == 0)
		r = claim_memory(f, ret_error);
	else
		return error_set(ret_error, r, "%s: %s", f->dir, strerror(-r));
	if (r < 0)
		return r;
	r = ramfile_reserve(&f->to, f->from.ram_bytes);
	if (r == 0)
		r = ramfile_layout(&f->to, &f->from.geometry);
	room_release(&f->room); /* what was claimed is allocated now */
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
			 PRIu64 " MiB and a twentieth more", dir, free_bytes >> 20, needed >> 20);
}

/* Let the file system share the image's blocks, if it can. Forget the flags first: what is written
 * from now on is noted again. */
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

	(void)unlink(d->path); /* an earlier drill's */
	d->fd = open(d->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return error_set(ret_error, -errno, "%s: %m", d->path);
	clone_image(d);
	if (ftruncate(d->fd, (off_t)d->bytes) < 0 || fstat(d->fd, &st) < 0)
		return error_set(ret_error, -errno, "%s: %m", d->path);
	d->device = st.st_dev;
	d->inode = st.st_ino;
	return 0;
}

int drill_files_prepare(struct drill_files *f, struct error *ret_error)
{
	char dir[DRILL_PATH_MAX];
	int r = make_memory(f, ret_error);

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

/* Copy one block of a disk. A block of zeros that was never written stays a hole. */
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

int64_t drill_files_pass(struct drill_files *f, const _Atomic bool *cancel,
			 struct error *ret_error)
{
	int r = copy_changed(f, cancel, ret_error);
	uint64_t left;

	if (r < 0)
		return r;
	left = touched_count(f->pages) * WIRE_PAGE_SIZE;
	for (uint32_t d = 0; d < f->n_disks; d++)
		left += touched_count(f->disk[d].blocks) * TOUCHED_BLOCK_BYTES;
	return (int64_t)left;
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

/* The directory has no other files than a copy's. */
static void remove_memory(struct ramfile *to, const char *dir)
{
	if (to->dir_fd < 0)
		return;
	(void)!ramfile_purge(to); /* what stays is removed by the next drill, or by a boot */
	(void)unlinkat(to->dir_fd, "meta", 0);
	(void)unlinkat(to->dir_fd, "room", 0);
	(void)unlinkat(to->dir_fd, "lock", 0);
	ramfile_close(to);
	(void)rmdir(dir);
}

void drill_files_end(struct drill_files *f)
{
	remove_memory(&f->to, f->dir);
	if (f->from.ram)
		(void)munmap(f->from.ram, f->from.ram_bytes);
	if (f->from.rom)
		(void)munmap(f->from.rom, f->from.rom_bytes);
	free(f->pages);
	room_release(&f->room);
	for (uint32_t i = 0; i < f->n_disks; i++) {
		if (f->disk[i].fd >= 0)
			(void)unlink(f->disk[i].path);
		fd_close(f->disk[i].fd);
		fd_close(f->disk[i].from_fd);
		free(f->disk[i].blocks);
	}
	memset(f, 0, sizeof(*f));
	f->to.dir_fd = f->to.lock_fd = -1;
}

void drill_files_sweep(const struct ramfile *rf, const struct images *images, const char *dir,
		       const char *vm)
{
	char path[DRILL_PATH_MAX];
	struct ramfile left;

	for (uint32_t i = 0; i < images->n; i++)
		if (name_disk(dir, vm, images->item[i].name, path) == 0)
			(void)unlink(path); /* usually there is none */
	if (snprintf(path, sizeof(path), "%s/drill", rf->dir) >= (int)sizeof(path) ||
	    access(path, F_OK) < 0)
		return;
	if (ramfile_open(path, &left) == 0)
		remove_memory(&left, path);
	else
		ramfile_close(&left);
}
