/* Fills the table of hashes from the content of the standby's image; see ring.h. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/ring_private.h"

#define BATCH 256u /* hashes that are written in one call */

uint64_t disk_ring_base_seed(const struct disk_ring *ring)
{
	return ring->header->seed;
}

int disk_ring_base_begin(struct disk_ring *ring)
{
	uint64_t wish = (atomic_load(&ring->header->table_wish) | 1) + 1;

	/* If this process is killed before the last store below, the next writer empties the table,
	 * because table_wish and table_done differ. */
	atomic_store(&ring->header->table_wish, wish);
	if (fallocate(ring->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)ring->table_at,
		      (off_t)ring->table_bytes) < 0)
		return -errno;
	atomic_store(&ring->header->table_done, wish);
	return 0;
}

int disk_ring_base_put(struct disk_ring *ring, uint64_t first, uint32_t n, const uint8_t *hash)
{
	const uint64_t n_blocks =
		(ring->disk_bytes + DISK_RING_BLOCK_BYTES - 1) / DISK_RING_BLOCK_BYTES;
	struct ring_hash batch[BATCH];

	if (first > n_blocks || n > n_blocks - first)
		return -EINVAL;
	for (uint32_t done = 0; done < n;) {
		uint32_t k = n - done < BATCH ? n - done : BATCH;
		off_t at = (off_t)(ring->table_at + (first + done) * sizeof(batch[0]));

		for (uint32_t i = 0; i < k; i++, hash += sizeof(batch[0]))
			batch[i] = (struct ring_hash){.low = bytes_get_be64(hash + 8),
						      .high = bytes_get_be64(hash)};
		if (pwrite(ring->fd, batch, k * sizeof(batch[0]), at) !=
		    (ssize_t)(k * sizeof(batch[0])))
			return -EIO;
		done += k;
	}
	return 0;
}

void disk_ring_base_end(struct disk_ring *ring)
{
	uint64_t wish = atomic_load(&ring->header->table_wish);

	/* If the writer has not emptied the table yet, it will do so, and the entries do not
	 * count. */
	if (wish != atomic_load(&ring->header->table_done))
		return;
	/* If the writer sees the first store but not the second, it empties the table, which does
	 * no harm. */
	atomic_store(&ring->header->table_wish, wish | 1);
	atomic_store(&ring->header->table_done, wish | 1);
}
