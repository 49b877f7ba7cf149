/* The table of hashes: one for the last content of each block. See "Hashes" in ring.h. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "disk/ring_private.h"

static const uint8_t zeroes[DISK_RING_BLOCK_BYTES];
static const struct ring_hash empty = {0, 0}, unknown = RING_HASH_UNKNOWN;

bool ring_hash_is_equal(struct ring_hash a, struct ring_hash b)
{
	return a.low == b.low && a.high == b.high;
}

struct ring_hash ring_hash_of(const struct disk_ring *ring, const void *data, size_t bytes)
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, ring->header->seed);

	return (struct ring_hash){hash.low64, hash.high64};
}

void ring_hash_open(struct disk_ring *ring)
{
	uint64_t last = (ring->disk_bytes - 1) / DISK_RING_BLOCK_BYTES;

	ring->zero_hash = ring_hash_of(ring, zeroes, sizeof(zeroes));
	ring->last_zero_hash = ring_hash_of(ring, zeroes, ring_block_bytes(ring, last));
}

struct ring_hash ring_hash_of_zero(const struct disk_ring *ring, uint64_t block)
{
	return block == (ring->disk_bytes - 1) / DISK_RING_BLOCK_BYTES ? ring->last_zero_hash
								       : ring->zero_hash;
}

void ring_hash_follow_wish(struct disk_ring *ring)
{
	uint64_t wish = atomic_load_explicit(&ring->header->table_wish, memory_order_acquire);

	if (wish == atomic_load_explicit(&ring->header->table_done, memory_order_relaxed))
		return;
	/* Punch a hole: this frees the table's pages, and they then read as zeros. */
	if (fallocate(ring->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)ring->table_at,
		      (off_t)ring->table_bytes) < 0)
		memset(ring->table, 0, ring->table_bytes);
	atomic_store_explicit(&ring->header->table_done, wish, memory_order_release);
}

static bool empty_means_zero(const struct disk_ring *ring)
{
	return atomic_load_explicit(&ring->header->table_done, memory_order_relaxed) & 1;
}

/* Does the entry @known of the table mean that @block has the content whose hash is @hash? */
static bool says(const struct disk_ring *ring, struct ring_hash known, uint64_t block,
		 struct ring_hash hash)
{
	if (ring_hash_is_equal(known, empty))
		return empty_means_zero(ring) &&
		       ring_hash_is_equal(hash, ring_hash_of_zero(ring, block));
	return ring_hash_is_equal(known, hash) && !ring_hash_is_equal(known, unknown);
}

bool ring_hash_is_known(const struct disk_ring *ring, uint64_t block, struct ring_hash hash)
{
	return says(ring, ring->table[block], block, hash);
}

enum disk_ring_match disk_ring_match(const struct disk_ring *ring, uint64_t block,
				     const void *data)
{
	struct disk_ring with_zeroes = *ring;
	struct ring_hash known;

	/* Read the entry from the file, because the reader has not mapped the table. */
	if (block * DISK_RING_BLOCK_BYTES >= ring->disk_bytes ||
	    atomic_load(&ring->header->table_wish) != atomic_load(&ring->header->table_done) ||
	    pread(ring->fd, &known, sizeof(known),
		  (off_t)(ring->table_at + block * sizeof(known))) != (ssize_t)sizeof(known))
		return DISK_RING_OTHER;
	if (ring_hash_is_equal(known, unknown))
		return DISK_RING_UNKNOWN;
	ring_hash_open(&with_zeroes);
	return says(&with_zeroes, known, block,
		    ring_hash_of(ring, data, ring_block_bytes(ring, block)))
		       ? DISK_RING_LATEST
		       : DISK_RING_OTHER;
}

/* The fences keep the compiler from moving a store to the table past the store of `head`. The CPU
 * needs no fence: if this writer is killed, the next writer sees all of its stores in program
 * order. */
void ring_hash_forget(struct disk_ring *ring, uint64_t block)
{
	ring->table[block] = unknown;
	atomic_signal_fence(memory_order_seq_cst);
}

void ring_hash_set(struct disk_ring *ring, uint64_t block, struct ring_hash hash)
{
	atomic_signal_fence(memory_order_seq_cst);
	ring->table[block] = hash;
}
