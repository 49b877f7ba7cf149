/* ring_private.h - how the ring's memory is laid out, and declarations that the ring*.c files
 * share. See ring.h.
 *
 *	             bytes                    mapped by the reader   by the writer
 *	header       4096                     read, write            read, write
 *	hashes       16 for each block        -                      read, write
 *	data         soft size + reserve      read, twice            read, write, twice
 *
 * Each part is rounded up to RING_ALIGN. Reader and writer each copy the sizes into a struct
 * disk_ring of their own, and never read them from the header again. The reader's own struct also
 * has the tail.
 *
 * Threads: see ring.h. The comments in struct ring_header say which side writes each member.
 */
#ifndef DISK_RING_PRIVATE_H
#define DISK_RING_PRIVATE_H

#include <stdatomic.h>

#include "disk/ring.h"

#define RING_MAGIC   UINT64_C(0x686664736b726e67) /* "hfdskrng" */
#define RING_VERSION 2u
#define RING_ALIGN   65536u /* a multiple of every page size */
#define RING_OWNER_BYTES 192u
#define RING_BOOT_BYTES	 40u

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
	/* Written only by disk_ring_new() and disk_ring_open(). The magic is written last. */
	uint64_t magic;
	uint64_t version;
	uint64_t disk_bytes;
	uint64_t soft_bytes;
	/* random seed of the hashes, so that a guest cannot make two blocks with the same hash */
	uint64_t seed;
	char owner[RING_OWNER_BYTES]; /* "vm/disk"; "" in a ring without a name */
	char boot[RING_BOOT_BYTES];   /* the kernel's boot_id */

	/* Written by the writer. */
	_Alignas(64) _Atomic uint64_t head;
	_Atomic uint64_t counters[RING_N_COUNTERS];
	/* the value of table_wish for which the table was last emptied */
	_Atomic uint64_t table_done;
	_Atomic uint32_t is_waiting; /* 1: the writer waits for room, so wake it after a release */
	/* 1: the last append found no room, so the next one does not wait */
	_Atomic uint32_t is_full;

	/* Written by the reader. */
	_Alignas(64) _Atomic uint64_t tail;
	/* Grows each time that the reader asks for an empty table of hashes. Its lowest bit says
	 * what an empty entry means. 1 (odd): the block is zero. 0 (even): the block's content is
	 * not known. */
	_Atomic uint64_t table_wish;
	/* the word on which the writer waits (futex); grows at each wake-up */
	_Atomic uint32_t wakes;
	_Atomic uint32_t is_sealing;
	_Atomic uint64_t term;
	_Atomic uint64_t notes[DISK_RING_N_NOTES];
};
_Static_assert(sizeof(struct ring_header) <= 4096, "the header fits its page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
	       "two processes can share the header");

struct ring_hash {
	/* the two halves of the hash. In an empty entry both are 0. If the content is not known,
	 * both are RING_HASH_UNKNOWN */
	uint64_t low, high;
};
#define RING_HASH_UNKNOWN {~UINT64_C(0), ~UINT64_C(0)}
_Static_assert(sizeof(struct ring_hash) == 16, "ring.h says so");

struct disk_ring {
	struct ring_header *header;
	struct ring_hash *table; /* used by the writer only */
	uint8_t *data;		 /* the ring's data_bytes bytes, mapped twice in a row */
	uint64_t disk_bytes;
	uint64_t soft_bytes;
	uint64_t data_bytes;
	size_t table_at, table_bytes; /* offset and size of the table in the file */
	size_t map_bytes;	      /* size of the whole mapping, which begins at the header */
	uint64_t tail;		      /* used by the reader only */
	int fd;
	/* why no earlier ring was continued; NULL: one was */
	const char *why_new;
	/* Used by the writer only: the hash of a zero block of full size, and of a zero block of
	 * the last block's size. */
	struct ring_hash zero_hash, last_zero_hash;
	/* Used by the writer only: how long appends have waited in the ring's last quarter since
	 * the tail moved to slow_tail. */
	uint64_t slow_tail, slow_ns;
};

/* Compute the sizes of a ring's parts. Returns 0, or -EINVAL if a size is beyond the limits in
 * ring.h. */
int ring_layout(struct disk_ring *ring, uint64_t soft_bytes, uint64_t disk_bytes);
uint64_t ring_file_bytes(const struct disk_ring *ring);

/* Read the header of the file @fd without mapping the file, and set the sizes in *ring. Returns 0;
 * -EINVAL: the file is not a ring of this version, or its size is not the one in its header. */
int ring_read_header(int fd, struct disk_ring *ring);

/* Map the file ring->fd with the sizes that ring_layout() has set. Returns 0 or -errno; on error
 * nothing is mapped. */
int ring_map(struct disk_ring *ring, bool is_writer);

/* ---- ring.c, for the reader only */

/* Allocate a ring and set its sizes, but make no file. Returns the same as disk_ring_new(). */
int ring_alloc(uint64_t soft_bytes, uint64_t disk_bytes, struct disk_ring **ret,
	       struct error *ret_error);

/* Write the header of a new ring, whose file is mapped and full of zeros. Returns 0, or -EIO if the
 * kernel gave no random numbers. */
int ring_write_header(struct disk_ring *ring, const char *owner, const char *boot, uint64_t term);

static inline void ring_add(struct disk_ring *ring, enum ring_counter counter, uint64_t n)
{
	atomic_fetch_add_explicit(&ring->header->counters[counter], n, memory_order_relaxed);
}

/* Returns how many bytes the disk's block @block has; only the last block can have fewer than
 * DISK_RING_BLOCK_BYTES. */
static inline uint64_t ring_block_bytes(const struct disk_ring *ring, uint64_t block)
{
	uint64_t left = ring->disk_bytes - block * DISK_RING_BLOCK_BYTES;

	return left < DISK_RING_BLOCK_BYTES ? left : DISK_RING_BLOCK_BYTES;
}

/* ---- ring_hash.c, for the writer only */

void ring_hash_open(struct disk_ring *ring); /* set zero_hash and last_zero_hash */

/* If the reader has asked for an empty table, empty it. Call this before each append. */
void ring_hash_follow_wish(struct disk_ring *ring);

bool ring_hash_is_equal(struct ring_hash a, struct ring_hash b);
struct ring_hash ring_hash_of(const struct disk_ring *ring, const void *data, size_t bytes);
struct ring_hash ring_hash_of_zero(const struct disk_ring *ring, uint64_t block);

bool ring_hash_is_known(const struct disk_ring *ring, uint64_t block, struct ring_hash hash);

/* Mark the block's content as unknown. Call this before you put a record that changes the block
 * into the ring. If the writer is killed before it calls ring_hash_set(), the content stays
 * unknown, which is safe. */
void ring_hash_forget(struct disk_ring *ring, uint64_t block);
/* Store the hash of the block's new content. Call this when the reader can read the record. */
void ring_hash_set(struct disk_ring *ring, uint64_t block, struct ring_hash hash);

#endif
