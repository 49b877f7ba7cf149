/* ring.h - a log of what a guest writes to one disk, in memory that two processes share.
 *
 * Why: QEMU copies each write of the guest to an NBD server, a child process of the agent. The
 * agent must send the writes in their order, and must know which of them belong to an epoch. A
 * position in the ring is all that a seal needs for that: everything before it belongs to the
 * epoch. Neither side ever waits for the other to wake up, except a writer that finds the ring
 * full.
 *
 *	            tail                  cut of epoch 7         head
 *	             ▼                          ▼                 ▼
 *	 ... free    │ record  record  record   │ record  record  │   free ...
 *	             └ released when epoch 7 is committed         └ next append
 *
 * Positions are counts of bytes that only grow; they are multiples of 8. A record is
 *
 *	8 bytes: op | bytes << 32	8 bytes: offset		data (WRITE only), padded to 8
 *
 * in the byte order of the host. A WRITE lies within one block of 64 KiB of the disk, so a large
 * write becomes several records. A record never wraps: both processes map the data twice, one copy
 * behind the other.
 *
 *	memfd  [ header 4 KiB ][ hashes: 16 bytes for each block ][ data: soft size + reserve ]
 *
 * Full ring. An append waits until the reader releases records, 1 s at most. While the reader has
 * set `sealing`, the guest is being stopped, and QEMU waits for all its writes: an append then does
 * not wait, and may use the reserve. If there is still no room, the ring overflows: the record is
 * dropped, `overflows` grows, and the disk must be synchronised again. The append does not fail,
 * since QEMU would end its job. Until an append finds room again, no append waits: the disk must be
 * synchronised in any case, and the guest shall not stand still for each of its writes.
 *
 * Hashes. To synchronise a disk, QEMU writes all of it. The hash of each block's last content in
 * the ring is kept, so that a block which the standby has already is dropped (`same_bytes`). This
 * only works as long as the standby gets each record. If it does not get one, because records were
 * released that no standby has applied, or because the standby has another image, call
 * disk_ring_forget_hashes(). A partial write, a discard and a dropped record make a block unknown.
 *
 * Where: the agent's engine reads; plugin.c, within nbdkit, writes. Neither trusts the other: a
 * reader checks each record and every position, so a broken writer cannot crash it. The bytes at
 * disk_record.data may change as long as such a writer lives, so compute no checksum of them but of
 * a copy.
 *
 * Threads: one reader, one writer. A writer with several threads serialises its calls.
 */
#ifndef DISK_RING_H
#define DISK_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DISK_RING_BLOCK_BYTES	65536u		  /* a WRITE has at most these, and one hash */
#define DISK_RING_HEADER_BYTES	16u		  /* of a record */
#define DISK_RING_RESERVE_BYTES (32u << 20)	  /* beyond the soft size, while sealing */
#define DISK_RING_SOFT_MIN	(1u << 20)	  /* limits of the soft size */
#define DISK_RING_SOFT_MAX	(UINT64_C(4) << 30)
#define DISK_RING_DISK_MAX	(UINT64_C(1) << 46) /* 64 TiB: 16 GiB of hashes, if all are used */
#define DISK_RING_RECORD_MAX	(UINT32_C(1) << 31) /* bytes of a ZERO or DISCARD */
#define DISK_RING_WAIT_NS	UINT64_C(1000000000)

struct disk_ring;

enum disk_op {
	DISK_WRITE   = 1,
	DISK_ZERO    = 2, /* the bytes become zero */
	DISK_DISCARD = 3, /* the guest does not need the bytes any more */
};

struct disk_record {
	enum disk_op op;
	uint32_t bytes;	     /* > 0 */
	uint64_t offset;     /* offset + bytes <= size of the disk */
	const uint8_t *data; /* WRITE: @bytes bytes, borrowed until they are released; else NULL */
};

/* All grow from disk_ring_new() on, whatever writers come and go. */
struct disk_ring_counts {
	uint64_t connections, disconnections; /* of QEMU, at the NBD server */
	uint64_t writes, zeroes, discards;    /* requests, each may give several records or none */
	uint64_t flushes, reads;	      /* requests; a read is refused */
	uint64_t bytes;			      /* bytes of the disk that records in the ring name */
	uint64_t same_bytes;		      /* bytes that were dropped: the standby has them */
	uint64_t overflows;		      /* records dropped: the disk must be synchronised */
	uint64_t waits, waits_ns;	      /* appends that waited for room, and how long */
};

/* ---- the reader's functions */

/* Make a ring for a disk of @disk_bytes, with room for @soft_bytes (rounded up to whole pages) and
 * the reserve. No block's content is known. Memory is used only as far as it is written, and the
 * file can neither grow nor shrink.
 * 0: the caller frees *ret with disk_ring_free(); -EINVAL: a size is out of its limits; -ENOMEM,
 * -EMFILE and other -errno of memfd_create and mmap. *ret_error says why. */
int disk_ring_new(uint64_t soft_bytes, uint64_t disk_bytes, struct disk_ring **ret,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* Unmap the ring and close its descriptor. For both sides. Accepts NULL, returns NULL. */
struct disk_ring *disk_ring_free(struct disk_ring *ring);

/* The memfd, close-on-exec, for a writer's disk_ring_map(). The ring owns it. */
int disk_ring_fd(const struct disk_ring *ring);

uint64_t disk_ring_disk_bytes(const struct disk_ring *ring); /* for both sides */

/* Where the next record begins: the cut of an epoch, if the guest is stopped and its writes are
 * drained. Whether it is a sound position is checked by disk_ring_read(). Never blocks. */
uint64_t disk_ring_head(const struct disk_ring *ring);

/* Where the oldest record begins that was not released. */
uint64_t disk_ring_tail(const struct disk_ring *ring);

/* Bytes between tail and head, at most the ring's size. */
uint64_t disk_ring_waiting(const struct disk_ring *ring);

/* Read the record at *@pos, which lies before @end, and move *@pos behind it. Begin at
 * disk_ring_tail(), or where an earlier read ended; @end is a value of disk_ring_head(). Records
 * that are not released can be read again. Never blocks.
 * 1: *ret_record is set; 0: *@pos is @end; -EBADMSG: the memory is not as we and a sound writer
 * leave it, or @end is no position in the ring: *@pos is unchanged, give up this ring and its
 * writer. */
int disk_ring_read(const struct disk_ring *ring, uint64_t *pos, uint64_t end,
		   struct disk_record *ret_record) __attribute__((warn_unused_result));

/* Free the records before @pos, and wake a writer that waits for room. Does nothing if @pos is not
 * beyond the tail, or is no position in the ring. */
void disk_ring_release(struct disk_ring *ring, uint64_t pos);

/* Set this before you stop the guest, and clear it when the guest may run again. Meanwhile appends
 * do not wait, and may use the reserve. */
void disk_ring_set_sealing(struct disk_ring *ring, bool is_sealing);

/* The writer forgets what it knows of all blocks before it appends the next record. */
void disk_ring_forget_hashes(struct disk_ring *ring);

/* The same, but afterwards each block is known to be zero. Call this for a fresh image on the
 * standby, before the writer appends its first record for it. */
void disk_ring_assume_zero(struct disk_ring *ring);

/* A broken writer may have counted anything. */
void disk_ring_get_counts(const struct disk_ring *ring, struct disk_ring_counts *ret_counts);

/* ---- the writer's functions */

/* Map the ring in the memfd @fd, which stays the caller's. 0: the caller frees *ret with
 * disk_ring_free(); -EINVAL: @fd is no ring, or one of another version; -ENOMEM, other -errno. */
int disk_ring_map(int fd, struct disk_ring **ret) __attribute__((warn_unused_result));

/* Append what QEMU asks for: @bytes at @offset of the disk, with @data for DISK_WRITE. Splits large
 * ones, drops blocks that are known to be the same. Waits while the ring is full, as said above.
 * 0, also if records were dropped because the ring is full; -EINVAL: beyond the disk's end. */
int disk_ring_append(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint64_t bytes,
		     const void *data) __attribute__((warn_unused_result));

enum disk_ring_event {
	DISK_RING_CONNECTED,
	DISK_RING_DISCONNECTED,
	DISK_RING_FLUSHED,
	DISK_RING_READ, /* and refused */
};
void disk_ring_count(struct disk_ring *ring, enum disk_ring_event event);

#endif
