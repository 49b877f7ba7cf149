/* Computes the sizes of a ring's parts, and maps the parts, for the reader and the writer. See
 * ring_private.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/ring_private.h"

static uint64_t aligned(uint64_t bytes)
{
	return (bytes + RING_ALIGN - 1) / RING_ALIGN * RING_ALIGN;
}

int ring_layout(struct disk_ring *ring, uint64_t soft_bytes, uint64_t disk_bytes)
{
	uint64_t n_blocks;

	if (soft_bytes < DISK_RING_SOFT_MIN || soft_bytes > DISK_RING_SOFT_MAX ||
	    disk_bytes == 0 || disk_bytes > DISK_RING_DISK_MAX)
		return -EINVAL;
	n_blocks = (disk_bytes + DISK_RING_BLOCK_BYTES - 1) / DISK_RING_BLOCK_BYTES;
	ring->disk_bytes = disk_bytes;
	ring->soft_bytes = aligned(soft_bytes);
	ring->data_bytes = ring->soft_bytes + DISK_RING_RESERVE_BYTES;
	ring->table_at = RING_ALIGN;
	ring->table_bytes = aligned(n_blocks * sizeof(struct ring_hash));
	ring->map_bytes = ring->table_at + ring->table_bytes + 2 * ring->data_bytes;
	return 0;
}

uint64_t ring_file_bytes(const struct disk_ring *ring)
{
	return ring->table_at + ring->table_bytes + ring->data_bytes;
}

/* Map @bytes bytes of the file, from offset @from in the file, at offset @to in the mapping. */
static bool map_part(struct disk_ring *ring, size_t to, size_t bytes, size_t from, int prot)
{
	return mmap((uint8_t *)ring->header + to, bytes, prot, MAP_SHARED | MAP_FIXED, ring->fd,
		    (off_t)from) != MAP_FAILED;
}

int ring_map(struct disk_ring *ring, bool is_writer)
{
	size_t data_at = ring->table_at + ring->table_bytes;
	int prot = is_writer ? PROT_READ | PROT_WRITE : PROT_READ;
	void *place = mmap(NULL, ring->map_bytes, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int error;

	if (place == MAP_FAILED)
		return -errno;
	ring->header = place;
	if (map_part(ring, 0, RING_ALIGN, 0, PROT_READ | PROT_WRITE) &&
	    (!is_writer ||
	     map_part(ring, ring->table_at, ring->table_bytes, ring->table_at, prot)) &&
	    map_part(ring, data_at, ring->data_bytes, data_at, prot) &&
	    map_part(ring, data_at + ring->data_bytes, ring->data_bytes, data_at, prot)) {
		ring->table = is_writer ? (void *)((uint8_t *)place + ring->table_at) : NULL;
		ring->data = (uint8_t *)place + data_at;
		return 0;
	}
	error = errno;
	(void)munmap(place, ring->map_bytes); /* cannot fail for a mapping that we made */
	ring->header = NULL;
	return -error;
}

uint64_t disk_ring_disk_bytes(const struct disk_ring *ring)
{
	return ring->disk_bytes;
}

struct disk_ring *disk_ring_free(struct disk_ring *ring)
{
	if (!ring)
		return NULL;
	if (ring->header)
		/* cannot fail for a mapping that we made */
		(void)munmap(ring->header, ring->map_bytes);
	if (ring->fd >= 0)
		(void)close(ring->fd);
	free(ring);
	return NULL;
}

int ring_read_header(int fd, struct disk_ring *ring)
{
	struct ring_header header;
	struct stat st;
	int r;

	if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    header.magic != RING_MAGIC || header.version != RING_VERSION)
		return -EINVAL;
	r = ring_layout(ring, header.soft_bytes, header.disk_bytes);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != ring_file_bytes(ring))
		return -EINVAL;
	return 0;
}

int disk_ring_map(int fd, struct disk_ring **ret)
{
	struct disk_ring *ring = calloc(1, sizeof(*ring));
	uint64_t used;
	int r;

	if (!ring)
		return -ENOMEM;
	ring->fd = -1;
	r = ring_read_header(fd, ring);
	/* take the descriptor and map the file */
	if (r == 0) {
		ring->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		r = ring->fd < 0 ? -errno : ring_map(ring, true);
	}
	/* the header's positions must be possible ones */
	if (r == 0) {
		used = atomic_load(&ring->header->head) - atomic_load(&ring->header->tail);
		if (used > ring->data_bytes || used % 8)
			r = -EINVAL;
	}
	if (r < 0) {
		disk_ring_free(ring);
		return r;
	}
	ring_hash_open(ring);
	*ret = ring;
	return 0;
}
