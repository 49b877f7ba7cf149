#include "standby/images.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syncing.h"
#include "standby/touched.h"

#define FLUSH_INTERVAL_NS CLOCK_NS_PER_S
/* how many zeros to write in one call, if the kernel cannot zero a range */
#define ZEROES_BYTES	  65536u

/* A QEMU that uses an image locks some bytes of the image's file: from byte 100 on, one byte for
 * each permission that it uses (RAW_LOCK_PERM_BASE in block/file-posix.c); from byte 200 on, one
 * byte for each permission that it does not share (RAW_LOCK_SHARED_BASE). */
#define QEMU_LOCK_FROM	100
#define QEMU_LOCK_BYTES 200

int images_init(struct images *images, const struct standby_disk *disks, uint32_t n,
		struct error *ret_error)
{
	memset(images, 0, sizeof(*images));
	if (n > IMAGES_MAX)
		return error_set(ret_error, -EINVAL, "%" PRIu32 " disks, at most %d are replicated",
				 n, IMAGES_MAX);
	for (uint32_t i = 0; i < n; i++) {
		struct image *image = &images->item[i];

		if (!wire_disk_name_is_valid(disks[i].name) || images_find(images, disks[i].name))
			return error_set(ret_error, -EINVAL,
					 "disk %s: not a name, or there twice",
					 disks[i].name);
		(void)snprintf(image->name, sizeof(image->name), "%s", disks[i].name);
		image->path = disks[i].path;
		image->is_qcow2 = disks[i].is_qcow2;
		image->view.pidfd = image->fd = image->below_fd = -1;
		images->n++;
	}
	return 0;
}

int images_name_views(struct images *images, const char *run_dir, const char *vm,
		      struct error *ret_error)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < images->n; i++)
		r = rawview_init(&images->item[i].view, run_dir, vm, images->item[i].name,
				 ret_error);
	return r;
}

struct image *images_find(struct images *images, const char *name)
{
	for (uint32_t i = 0; i < images->n; i++) {
		if (strcmp(images->item[i].name, name) == 0)
			return &images->item[i];
	}
	return NULL;
}

/* ---- open, close */

static int fault(const struct image *image, int r, const char *what, struct error *ret_error)
{
	return error_set(ret_error, r, "disk %s: image %s: %s", image->name, image->path, what);
}

static int open_failed(const struct image *image, int r, struct error *ret_error)
{
	if (r != -ENOENT)
		return fault(image, r, strerror(-r), ret_error);
	return error_set(ret_error, r,
			 "disk %s: there is no image %s; make it, as large as the disk on the "
			 "primary: %s %s%s",
			 image->name, image->path,
			 image->is_qcow2 ? "qemu-img create -f qcow2" : "truncate -s SIZE",
			 image->path, image->is_qcow2 ? " SIZE" : "");
}

/* Store in *image which file or device the image is. */
static int identify(struct image *image, struct stat *st, struct error *ret_error)
{
	if ((image->is_qcow2 ? stat(image->path, st) : fstat(image->fd, st)) < 0)
		return open_failed(image, -errno, ret_error);
	if (!S_ISBLK(st->st_mode) && !S_ISREG(st->st_mode))
		return fault(image, -EINVAL, "neither a regular file nor a block device",
			     ret_error);
	image->device = S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev;
	image->inode = S_ISBLK(st->st_mode) ? 0 : st->st_ino;
	return 0;
}

/* Does lseek(2) say where holes are? The answer of a file system in user space (FUSE) is not used:
 * it may not know of writes that are still in the page cache. */
static bool shows_holes(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type != FUSE_SUPER_MAGIC;
}

/* Store in *image the size of the disk, as the guest sees it. */
static int measure(struct image *image, const struct stat *st, struct error *ret_error)
{
	struct stat view;

	image->bytes = (uint64_t)st->st_size;
	if (image->is_qcow2) {
		if (fstat(image->fd, &view) < 0)
			return fault(image, -errno, strerror(errno), ret_error);
		image->bytes = (uint64_t)view.st_size;
	} else if (S_ISBLK(st->st_mode) && ioctl(image->fd, BLKGETSIZE64, &image->bytes) < 0) {
		return fault(image, -errno, strerror(errno), ret_error);
	}
	if (image->bytes == 0 || image->bytes % IMAGES_SECTOR != 0)
		return error_set(ret_error, -EINVAL,
				 "disk %s: image %s has %" PRIu64
				 " bytes, expected whole sectors of %u: make it as large as the "
				 "disk on the primary (%s %s)",
				 image->name, image->path, image->bytes, IMAGES_SECTOR,
				 image->is_qcow2 ? "qemu-img create" : "truncate -s SIZE",
				 image->path);
	image->shows_holes = shows_holes(image->fd);
	return 0;
}

/* Check that no other disk before @image in the list has the same file or device. */
static int check_own(const struct images *images, const struct image *image,
		     struct error *ret_error)
{
	for (const struct image *other = images->item; other < image; other++) {
		if (other->device == image->device && other->inode == image->inode)
			return error_set(ret_error, -EINVAL,
					 "disks %s and %s have the same image, %s", other->name,
					 image->name, image->path);
	}
	return 0;
}

static int open_qcow2(struct image *image, struct error *ret_error)
{
	struct error why;

	image->fd = rawview_open(&image->view, image->path, &why);
	if (image->fd < 0)
		return error_set(ret_error, image->fd, "disk %s: image %s (qcow2): %.700s",
				 image->name, image->path, why.text);
	image->below_fd = open(image->path, O_RDONLY | O_CLOEXEC);
	return 0;
}

static int open_one(struct images *images, struct image *image, struct error *ret_error)
{
	struct stat st;
	int r;

	if (!image->is_qcow2) {
		image->fd = open(image->path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (image->fd < 0)
			return open_failed(image, -errno, ret_error);
	}
	r = identify(image, &st, ret_error);
	if (r == 0)
		r = check_own(images, image, ret_error);
	if (r == 0 && image->is_qcow2)
		r = open_qcow2(image, ret_error);
	return r < 0 ? r : measure(image, &st, ret_error);
}

int images_open(struct images *images, struct error *ret_error)
{
	int r = 0;

	if (images->is_open)
		return 0;
	images->is_open = true;
	for (uint32_t i = 0; r == 0 && i < images->n; i++)
		r = open_one(images, &images->item[i], ret_error);
	if (r < 0)
		images_close(images);
	return r;
}

/* Open the file of a qcow2 image itself. Before that, end its daemon, so that all writes have
 * reached the file. */
static int open_file(struct image *image, struct error *ret_error)
{
	struct error why;
	int r = rawview_end_earlier(&image->view, &why);

	if (r < 0)
		return error_set(ret_error, r, "disk %s: image %s (qcow2): %.700s", image->name,
				 image->path, why.text);
	image->fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return image->fd < 0 ? open_failed(image, -errno, ret_error) : 0;
}

int images_open_to_sync(struct images *images, struct error *ret_error)
{
	int r = 0;

	if (images->is_open)
		return 0;
	images->is_open = true;
	for (uint32_t i = 0; r == 0 && i < images->n; i++) {
		struct image *image = &images->item[i];

		r = image->is_qcow2 ? open_file(image, ret_error)
				    : open_one(images, image, ret_error);
	}
	if (r < 0)
		images_close(images);
	return r;
}

int images_hand_over(struct images *images, struct error *ret_error)
{
	int result = 0;

	for (uint32_t i = 0; i < images->n; i++) {
		struct image *image = &images->item[i];
		bool is_whole = image->fd >= 0 && !image->is_changed && !image->is_lost;
		struct error why;
		int r;

		image->fd = fd_close(image->fd);
		image->below_fd = fd_close(image->below_fd);
		r = rawview_end(&image->view, is_whole, &why);
		if (r < 0)
			result = error_set(ret_error, r, "disk %s: image %s (qcow2): %.700s",
					   image->name, image->path, why.text);
	}
	images->is_open = false;
	return result;
}

void images_close(struct images *images)
{
	struct error error;

	if (images_hand_over(images, &error) < 0)
		log_error("%s", error.text);
}

bool images_have_died(const struct images *images, struct error *ret_error)
{
	for (uint32_t i = 0; i < images->n; i++) {
		const struct image *image = &images->item[i];

		if (!rawview_has_died(&image->view))
			continue;
		(void)fault(image, 0, "the program that writes it (qemu-storage-daemon) has ended",
			    ret_error);
		return true;
	}
	return false;
}

uint32_t images_watch(const struct images *images, struct pollfd ret_fds[IMAGES_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < images->n; i++) {
		if (images->item[i].view.pid > 0)
			ret_fds[n++] = (struct pollfd){.fd = images->item[i].view.pidfd,
						       .events = POLLIN};
	}
	return n;
}

bool images_have_lost(const struct images *images, struct error *ret_error)
{
	for (uint32_t i = 0; i < images->n; i++) {
		const struct image *image = &images->item[i];

		if (!image->is_qcow2 || !rawview_has_lost(&image->view))
			continue;
		(void)fault(image, 0,
			    "the program that writes it (qemu-storage-daemon) ended without "
			    "writing what it had, so it has lost writes",
			    ret_error);
		return true;
	}
	return false;
}

void images_forget_loss(struct images *images)
{
	for (uint32_t i = 0; i < images->n; i++) {
		if (images->item[i].is_qcow2)
			rawview_forget_loss(&images->item[i].view);
	}
}

int images_check_free(const struct images *images, struct error *ret_error)
{
	for (uint32_t i = 0; images->is_open && i < images->n; i++) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET,
				     .l_start = QEMU_LOCK_FROM, .l_len = QEMU_LOCK_BYTES};
		const struct image *image = &images->item[i];

		if (image->is_qcow2)
			continue; /* our daemon has locked it */
		/* Ignore an error of fcntl(): if the file system has no locks, no QEMU can have
		 * locked the image. */
		if (fcntl(image->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
			return fault(image, -EBUSY,
				     "another QEMU on this host uses it (fuser -v shows which): "
				     "end that first",
				     ret_error);
	}
	return 0;
}

/* ---- records */

int images_check(const struct image *image, const struct wire_disk_record *record)
{
	return record->bytes > image->bytes || record->offset > image->bytes - record->bytes
		       ? -ERANGE
		       : 0;
}

static int write_zeroes(int fd, uint64_t bytes, uint64_t offset)
{
	static const uint8_t zeroes[ZEROES_BYTES];
	int r = 0;

	while (r == 0 && bytes > 0) {
		uint64_t n = bytes < sizeof(zeroes) ? bytes : sizeof(zeroes);

		r = fd_write_at(fd, zeroes, n, offset);
		bytes -= n;
		offset += n;
	}
	return r;
}

static int allocate(int fd, int mode, uint64_t bytes, uint64_t offset)
{
	int r;

	do {
		r = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

/* Does the error @r mean that fallocate() cannot zero this range? (Some file systems cannot zero
 * any range. A block device can zero only whole sectors.) */
static bool is_unable(int r)
{
	return r == -EOPNOTSUPP || r == -EINVAL || r == -ENODEV || r == -ENOSYS;
}

/* Make a range read as zeros. If possible, a DISCARD frees the range's space on the disk, and a
 * ZERO keeps it. In a qcow2 image a DISCARD keeps it too: for PUNCH_HOLE, QEMU 7.2's daemon only
 * passes a discard on, after which the range need not read as zeros. */
static int zero_range(struct image *image, uint8_t op, uint64_t bytes, uint64_t offset)
{
	static const int zero_first[] = {FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE};
	static const int punch_first[] = {FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
	const int *modes = op == WIRE_DISK_DISCARD && !image->is_qcow2 ? punch_first : zero_first;
	unsigned n_modes = image->is_qcow2 ? 1 : 2;

	for (unsigned i = image->cannot_zero ? n_modes : 0; i < n_modes; i++) {
		int r = allocate(image->fd, modes[i], bytes, offset);

		if (!is_unable(r))
			return r;
		if (i == n_modes - 1 && r == -EOPNOTSUPP)
			image->cannot_zero = true;
	}
	return write_zeroes(image->fd, bytes, offset);
}

uint64_t images_next_data(const struct image *image, uint64_t at, uint64_t end, uint64_t *ret_end)
{
	off_t data = image->shows_holes ? lseek(image->fd, (off_t)at, SEEK_DATA) : (off_t)at, hole;

	*ret_end = end;
	if (!image->shows_holes)
		return at;
	if (data < 0)
		return errno == ENXIO ? end : at;
	if ((uint64_t)data >= end)
		return end;
	hole = lseek(image->fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < end)
		*ret_end = (uint64_t)hole;
	return (uint64_t)data;
}

/* Make the record's range read as zeros. A ZERO leaves holes alone: they read as zeros already, and
 * so the copy of a sparse disk stays sparse. */
static int zero(struct image *image, const struct wire_disk_record *record)
{
	const uint64_t end = record->offset + record->bytes;
	uint64_t at = record->offset, data_end;
	int r = 0;

	if (record->op == WIRE_DISK_DISCARD || !image->shows_holes)
		return zero_range(image, record->op, record->bytes, record->offset);
	while (r == 0 && (at = images_next_data(image, at, end, &data_end)) < end) {
		r = zero_range(image, record->op, data_end - at, at);
		at = data_end;
	}
	return r;
}

static const char *what_failed(uint8_t op)
{
	return op == WIRE_DISK_WRITE ? "write" : op == WIRE_DISK_ZERO ? "zero" : "discard";
}

/* If a drill copies the image, note which blocks @record has written (touched.h). */
static void touch(struct image *image, const struct wire_disk_record *record)
{
	uint64_t first = record->offset / TOUCHED_BLOCK_BYTES;

	for (uint64_t i = first; i * TOUCHED_BLOCK_BYTES < record->offset + record->bytes; i++)
		touched_set(image->touched, i);
}

int images_apply(struct images *images, struct image *image, const struct wire_disk_record *record,
		 struct error *ret_error)
{
	int r = images->is_open ? images_check(image, record) : -EBADF;

	if (r == 0) {
		image->is_changed = true;
		r = record->op == WIRE_DISK_WRITE
			    ? fd_write_at(image->fd, record->data, record->bytes, record->offset)
			    : zero(image, record);
	}
	if (r < 0)
		return error_set(ret_error, r,
				 "disk %s: image %s: cannot %s %" PRIu32
				 " bytes at offset %" PRIu64 ": %s",
				 image->name, image->path, what_failed(record->op), record->bytes,
				 record->offset, strerror(-r));
	if (image->touched)
		touch(image, record);
	images->n_records++;
	images->bytes_written += record->op == WIRE_DISK_WRITE ? record->bytes : 0;
	return 0;
}

/* ---- comparing */

void images_begin_checks(struct images *images)
{
	for (uint32_t i = 0; i < images->n; i++) {
		struct image *image = &images->item[i];

		image->checked = (struct wire_disk_checked){0};
		memcpy(image->checked.name, image->name, sizeof(image->checked.name));
	}
}

int images_settle(const struct image *image, uint64_t offset, uint64_t bytes)
{
	const int fd = image->fd;

	/* A write to the view of a qcow2 image changes other offsets of the file below the view. So
	 * sync that whole file. */
	if (image->is_qcow2 ? syncing_fdatasync(fd) < 0
			    : syncing_range(fd, (off_t)offset, (off_t)bytes) < 0)
		return -errno;
	/* These are hints, so errors do not matter. */
	(void)posix_fadvise(fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
	if (image->is_qcow2)
		(void)posix_fadvise(image->below_fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int images_read(const struct image *image, uint8_t *data, size_t bytes, uint64_t offset)
{
	return fd_read_at(image->fd, data, bytes, offset);
}

void images_compare(struct images *images, struct image *image,
		    const struct wire_disk_record *record)
{
	struct wire_disk_checked *checked = &image->checked;
	uint8_t block[WIRE_DISK_HASHED_MAX], hash[WIRE_DISK_HASH_SIZE];
	int r = images_check(image, record);

	if (r == 0)
		r = images_read(image, block, record->bytes, record->offset);
	checked->n_checked++;
	images->n_checked++;
	if (r == 0) {
		wire_disk_hash(wire_disk_hash_seed(record->data), block, record->bytes, hash);
		if (memcmp(hash, record->data, sizeof(hash)) == 0)
			return;
	}
	if (checked->n_differ < WIRE_DISK_DIFFER_MAX)
		checked->offset[checked->n_differ] = record->offset;
	checked->n_differ++;
	images->n_differ++;
	log_limited(LOG_LEVEL_ERROR,
		    "disk %s: the %" PRIu32 " bytes of image %s at offset %" PRIu64 " %s%s",
		    image->name, record->bytes, image->path, record->offset,
		    r < 0 ? "cannot be read: " : "are not the primary's: it sends them again",
		    r < 0 ? strerror(-r) : "");
}

/* ---- to the disk */

void images_flush_soon(struct images *images, uint64_t now_ns)
{
	if (!images->is_open || now_ns - images->flushed_ns < FLUSH_INTERVAL_NS)
		return;
	images->flushed_ns = now_ns;
	for (uint32_t i = 0; i < images->n; i++) {
		const struct image *image = &images->item[i];

		if (image->is_changed)
			/* ignore an error: images_sync() gets it too, and reports it */
			(void)sync_file_range(image->is_qcow2 ? image->below_fd : image->fd, 0, 0,
					      SYNC_FILE_RANGE_WRITE);
	}
}

void images_renew(struct images *images)
{
	for (uint32_t i = 0; i < images->n; i++)
		images->item[i].is_lost = false;
}

int images_sync(struct images *images, struct error *ret_error)
{
	for (uint32_t i = 0; images->is_open && i < images->n; i++) {
		struct image *image = &images->item[i];

		/* The kernel reports lost writes only once. So remember them in is_lost. */
		if (!image->is_lost && syncing_fdatasync(image->fd) < 0) {
			image->is_lost = true;
			return error_set(ret_error, -EIO,
					 "disk %s: image %s: what was written to it did not reach "
					 "the disk: %s",
					 image->name, image->path, strerror(errno));
		}
		if (image->is_lost)
			return fault(image, -EIO,
				     "what was written to it earlier did not reach the disk; "
				     "restart the agent to promote the guest all the same",
				     ret_error);
		image->is_changed = false;
	}
	return 0;
}
