/* A ring in a file, so that the next agent finds it; see ring.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "disk/ring_private.h"

/* how long to wait for an earlier server's lock; a server ends as soon as its agent has ended */
#define LOCK_WAIT_NS (2 * CLOCK_NS_PER_S)
#define LOCK_LOOK_NS CLOCK_NS_PER_MS
#define BOOT_ID	     "/proc/sys/kernel/random/boot_id"

/* What a file's header must have if the file is this disk's ring. */
struct identity {
	char owner[RING_OWNER_BYTES];
	char boot[RING_BOOT_BYTES];
	uint64_t term;
};

static int identify(const struct disk_ring_id *id, struct identity *ret)
{
	AUTO_CLOSE int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret->boot, sizeof(ret->boot) - 1);

	if (n < 0)
		return -errno;
	ret->boot[n] = '\0';
	(void)snprintf(ret->owner, sizeof(ret->owner), "%s/%s", id->vm, id->disk);
	ret->term = id->term;
	return 0;
}

/* Get the lock of the file @fd. The lock belongs to the open file, which the agent shares with its
 * server: it is held as long as one of them has a descriptor or a mapping of it. So after this has
 * returned true, neither an earlier agent nor its server can write to the ring. */
static bool lock(int fd)
{
	const struct timespec look = {.tv_nsec = LOCK_LOOK_NS};
	uint64_t until_ns = clock_mono_ns() + LOCK_WAIT_NS;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (clock_mono_ns() >= until_ns)
			return false;
		(void)nanosleep(&look, NULL);
	}
	return true;
}

/* Can all records between the tail and the head be read? */
static bool is_sound(struct disk_ring *ring)
{
	uint64_t head = disk_ring_head(ring), at;
	struct disk_record record;
	int r;

	ring->tail = at = atomic_load(&ring->header->tail);
	while ((r = disk_ring_read(ring, &at, head, &record)) > 0)
		;
	return r == 0;
}

/* Map the ring in the file @fd. Returns NULL on success, otherwise why the file cannot be used. */
static const char *take(struct disk_ring *ring, int fd, const struct identity *id)
{
	struct disk_ring found = {.fd = -1};
	struct ring_header *h;

	if (ring_read_header(fd, &found) < 0)
		return "its file is damaged, or of another version";
	if (found.disk_bytes != ring->disk_bytes || found.soft_bytes != ring->soft_bytes)
		return "the disk or disk_ring_bytes had another size";
	ring->fd = fd;
	if (ring_map(ring, false) < 0)
		return "its file cannot be mapped";
	h = ring->header;
	if (strncmp(h->owner, id->owner, sizeof(h->owner)) != 0)
		return "it is of another disk";
	if (strncmp(h->boot, id->boot, sizeof(h->boot)) != 0)
		return "it is older than this host's last start";
	if (atomic_load(&h->term) != id->term)
		return "it is of another term";
	return is_sound(ring) ? NULL : "its records are damaged";
}

/* Take over the ring in the file @fd, after its writer has ended. Returns NULL on success,
 * otherwise why the ring cannot be used. */
static const char *adopt(struct disk_ring *ring, int fd, const struct identity *id)
{
	const char *why = lock(fd) ? take(ring, fd, id) : "an earlier server may still write to it";
	struct ring_header *h = ring->header;

	if (why)
		return why;
	/* Clear what an earlier agent and its writer may have left set when they were killed. */
	atomic_store(&h->is_sealing, 0);
	atomic_store(&h->is_waiting, 0);
	atomic_store(&h->is_full, 0);
	return NULL;
}

/* Undo adopt(): unmap the file, and forget its descriptor. */
static void leave(struct disk_ring *ring)
{
	if (ring->header)
		(void)munmap(ring->header, ring->map_bytes); /* cannot fail for our mapping */
	ring->header = NULL;
	ring->data = NULL;
	ring->fd = -1;
	ring->tail = 0;
}

/* Make a new file. Reserve the memory for all parts except the hashes, so that a full file system
 * is noticed now. */
static int make(struct disk_ring *ring, const char *path, const struct identity *id)
{
	off_t data_at = (off_t)(ring->table_at + ring->table_bytes);
	int r;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	ring->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (ring->fd < 0 || flock(ring->fd, LOCK_EX | LOCK_NB) < 0 ||
	    ftruncate(ring->fd, (off_t)ring_file_bytes(ring)) < 0 ||
	    fallocate(ring->fd, 0, 0, (off_t)ring->table_at) < 0 ||
	    fallocate(ring->fd, 0, data_at, (off_t)ring->data_bytes) < 0)
		return -errno;
	r = ring_map(ring, false);
	return r < 0 ? r : ring_write_header(ring, id->owner, id->boot, id->term);
}

static int open_file(struct disk_ring *ring, const char *path, const struct disk_ring_id *id)
{
	struct identity identity;
	int fd, r = identify(id, &identity);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	ring->why_new = fd < 0 ? "there was none" : adopt(ring, fd, &identity);
	if (!ring->why_new)
		return 0;
	leave(ring);
	fd_close(fd);
	r = make(ring, path, &identity);
	if (r < 0)
		(void)unlink(path); /* an unusable file would only occupy memory */
	return r;
}

int disk_ring_open(const char *path, const struct disk_ring_id *id, uint64_t soft_bytes,
		   uint64_t disk_bytes, struct disk_ring **ret, struct error *ret_error)
{
	struct disk_ring *ring;
	int r = ring_alloc(soft_bytes, disk_bytes, &ring, ret_error);

	if (r < 0)
		return r;
	r = open_file(ring, path, id);
	if (r < 0) {
		(void)error_set(ret_error, r,
				"the file %s for a disk's ring of %" PRIu64 " MiB: %s", path,
				(ring->table_at + ring->data_bytes) >> 20, strerror(-r));
		disk_ring_free(ring);
		return r;
	}
	*ret = ring;
	return 0;
}

int disk_ring_hand_on(struct disk_ring *ring)
{
	int fd = ring->fd;

	ring->fd = -1;
	disk_ring_free(ring);
	return fd;
}

int disk_ring_resume(int fd, const struct disk_ring_id *id, uint64_t soft_bytes,
		     uint64_t disk_bytes, struct disk_ring **ret, struct error *ret_error)
{
	struct identity identity = {0};
	struct disk_ring *ring;
	const char *why;
	int r = ring_alloc(soft_bytes, disk_bytes, &ring, ret_error);

	if (r < 0)
		return r;
	why = identify(id, &identity) == 0 ? take(ring, fd, &identity) : "/proc cannot be read";
	if (!why) {
		*ret = ring;
		return 0;
	}
	leave(ring);
	disk_ring_free(ring);
	return error_set(ret_error, -ESTALE, "the log of writes to disk %s: %s", id->disk, why);
}
