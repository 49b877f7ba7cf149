/* ring_private.h - the ring's memory, and what its files share; see ring.h for both.
 *
 *	             bytes                    mapped by the reader   by the writer
 *	header       4096                     read, write            read, write
 *	hashes       16 for each block        -                      read, write
 *	data         soft size + reserve      read, twice            read, write, twice
 *
 * Each part is rounded up to RING_ALIGN. Each side keeps the sizes in its own struct disk_ring and
 * never reads them from the header again; the reader also keeps the tail.
 *
 * Threads: as ring.h says. Each member of the header names its writer.
 */
#ifndef DISK_RING_PRIVATE_H
#define DISK_RING_PRIVATE_H

#include <stdatomic.h>

#include "disk/ring.h"

#define RING_MAGIC   UINT64_C(0x686664736b726e67) /* "hfdskrng" */
#define RING_VERSION 1u
#define RING_ALIGN   65536u /* a multiple of every page size */

enum ring_counter {
	RING_CONNECTIONS,
	RING_DISCONNECTIONS,
	RING_WRITES,
	RING_ZEROES,
	RING_DISCARDS,
	RING_FLUSHES,
	RING_READS,
	RING_BYTES,
	RING_SAME_BYTES,
	RING_OVERFLOWS,
	RING_WAITS,
	RING_WAITS_NS,
	RING_N_COUNTERS,
};

struct ring_header {
	/* Set by disk_ring_new(), then constant. */
	uint64_t magic;
	uint64_t version;
	uint64_t disk_bytes;
	uint64_t soft_bytes;
	uint64_t seed; /* of the hashes, random: a guest cannot make two blocks look the same */

	/* Set by the writer. */
	_Alignas(64) _Atomic uint64_t head;
	_Atomic uint64_t counters[RING_N_COUNTERS];
	_Atomic uint64_t table_done; /* the table_wish that was fulfilled last */
	_Atomic uint32_t is_waiting; /* 1: wake the writer after a release */
	_Atomic uint32_t is_full;    /* 1: the last append found no room: do not wait again */

	/* Set by the reader. */
	_Alignas(64) _Atomic uint64_t tail;
	/* Grows by 2 with each wish to empty the table of hashes. Odd: an empty entry means zero;
	 * even: it means not known. */
	_Atomic uint64_t table_wish;
	_Atomic uint32_t wakes; /* the futex word */
	_Atomic uint32_t is_sealing;
};
_Static_assert(sizeof(struct ring_header) <= 4096, "the header fits its page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	       "two processes can share the header");

struct ring_hash {
	uint64_t low, high; /* both 0: empty; both ~0: not known; else the halves of the hash */
};
_Static_assert(sizeof(struct ring_hash) == 16, "ring.h says so");

struct disk_ring {
	struct ring_header *header;
	struct ring_hash *table; /* the writer's */
	uint8_t *data;		 /* data_bytes, and the same bytes again */
	uint64_t disk_bytes;
	uint64_t soft_bytes;
	uint64_t data_bytes;
	size_t table_at, table_bytes; /* within the file */
	size_t map_bytes;	      /* of the whole mapping, which begins at the header */
	uint64_t tail;		      /* the reader's */
	int fd;
	/* The writer's: hashes of a block of zeroes, and of the last one, which may be shorter. */
	struct ring_hash zero_hash, last_zero_hash;
};

/* Compute the sizes of a ring. -EINVAL: beyond the limits of ring.h. */
int ring_layout(struct disk_ring *ring, uint64_t soft_bytes, uint64_t disk_bytes);
uint64_t ring_file_bytes(const struct disk_ring *ring);

/* Map the file ring->fd by the layout. 0 or -errno; after an error nothing is mapped. */
int ring_map(struct disk_ring *ring, bool is_writer);

static inline void ring_add(struct disk_ring *ring, enum ring_counter counter, uint64_t n)
{
	atomic_fetch_add_explicit(&ring->header->counters[counter], n, memory_order_relaxed);
}

/* Where the disk's block @block ends, and how many bytes it has. */
static inline uint64_t ring_block_bytes(const struct disk_ring *ring, uint64_t block)
{
	uint64_t left = ring->disk_bytes - block * DISK_RING_BLOCK_BYTES;

	return left < DISK_RING_BLOCK_BYTES ? left : DISK_RING_BLOCK_BYTES;
}

/* ---- ring_hash.c, for the writer only */

void ring_hash_open(struct disk_ring *ring); /* set zero_hash and last_zero_hash */

/* Empty the table if the reader wishes that. Call this before each append. */
void ring_hash_follow_wish(struct disk_ring *ring);

struct ring_hash ring_hash_of(const struct disk_ring *ring, const void *data, size_t bytes);
struct ring_hash ring_hash_of_zero(const struct disk_ring *ring, uint64_t block);

bool ring_hash_is_known(const struct disk_ring *ring, uint64_t block, struct ring_hash hash);

/* A block is forgotten before a record that changes it is put, and its new hash is set only after
 * the record can be read. So a writer that is killed in between leaves no hash without a record. */
void ring_hash_forget(struct disk_ring *ring, uint64_t block);
void ring_hash_set(struct disk_ring *ring, uint64_t block, struct ring_hash hash);

#endif
