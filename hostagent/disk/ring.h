/* ring.h - a log of what a guest writes to one disk. Two processes share its memory, and this
 * memory can outlive both.
 *
 * QEMU copies each write of the guest to an NBD server, a child process of the agent. This server,
 * the writer, appends the data to the ring. The agent, the reader, sends the ring's records to the
 * standby in their order. At the end of an epoch (the seal), the agent notes a position in the
 * ring, the epoch's cut: all records before it belong to the epoch. If the ring is full, the writer
 * waits for the reader. The reader never waits.
 *
 *	            tail                  cut of epoch 7         head
 *	             ▼                          ▼                 ▼
 *	 ... free    │ record  record  record   │ record  record  │   free ...
 *	             └ released when epoch 7 is committed         └ next append
 *
 * A position is the number of bytes that were put into the ring before it, since the ring was made.
 * So positions never decrease. They are multiples of 8. A record, in the byte order of the host:
 *
 *      8 bytes: op | bytes << 32       8 bytes: offset         data (WRITE only), padded to 8
 *
 * All bytes of a WRITE record lie in one 64 KiB block of the disk. So a large write becomes several
 * records. Both processes map the ring's data twice, one mapping directly after the other. So even
 * a record that begins near the end of the ring is contiguous in memory.
 *
 *      file   [ header 4 KiB ][ hashes: 16 bytes for each block ][ data: soft size + reserve ]
 *
 * Full ring. What an append does depends on how many bytes are in use:
 * - Up to 3/4 of the soft size: it does not wait.
 * - More than 3/4: it waits, then appends. For a record that takes 64 KiB of the ring, the wait is
 *   at most 10 ms (DISK_RING_SLOW_NS); for a shorter record, less. This slows down QEMU's copy of
 *   the disk, and a guest that writes much, before the ring is full. When such waits have taken 3 s
 *   together (DISK_RING_SLOW_SUM_NS) and the reader has released nothing meanwhile, there are no
 *   more of them until the reader releases records.
 * - The soft size: it waits for up to 1 s (DISK_RING_WAIT_NS) for the reader to release records. If
 *   there is still no room, the ring overflows: the record is dropped, `overflows` grows, and the
 *   disk must be synchronised again. The append still succeeds, because QEMU would end its mirror
 *   job after an error. After an overflow, appends to a full ring do not wait, since the disk must
 *   be synchronised anyway. This ends when an append has found room.
 * While the reader has set `sealing`, an append does not wait, but may also use the reserve,
 * because QEMU is stopping the guest and waits for the end of all writes. The server handles one
 * request at a time, so each wait delays all later requests too.
 *
 * Hashes. To synchronise a disk, QEMU writes the whole disk again, although the standby has most of
 * it. So for each block the writer stores a hash of the content that was put into the ring last. If
 * QEMU writes the same content again, no record is made, and the bytes are counted as `same_bytes`.
 * This is correct only if the standby has applied every released record. If the standby has not, or
 * has another image now, call disk_ring_forget_hashes(). After a write of a part of a block, a
 * discard or a dropped record, the block's content is unknown: the block's next write makes a
 * record.
 *
 * After the agent's death. disk_ring_open() keeps the ring in a file, so that the next agent finds
 * the unreleased records and the hashes. The next agent sends these records once more. This does no
 * harm if all of them arrive within one epoch, because each byte gets the value of its last record.
 * Even if the writer is killed, all records before the head are whole. While there is no writer,
 * the guest's writes do not reach the ring. To find them, the disk is synchronised again.
 *
 * Where: the agent's engine is the reader; plugin.c, in nbdkit's process, is the writer. The reader
 * does not trust the writer. It checks each record and every position, so a broken writer cannot
 * crash the reader. A broken writer can change the bytes at disk_record.data while they are read.
 * So the reader must copy the bytes first, and compute checksums from the copy. A hostile writer
 * that shrinks the file of disk_ring_open() can end the agent by SIGBUS. The file of
 * disk_ring_new() cannot be shrunk.
 *
 * Threads: one reader, one writer. A writer with several threads must make its calls one at a time.
 */
#ifndef DISK_RING_H
#define DISK_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

/* size of a block: a WRITE has at most this many bytes; there is one hash per block */
#define DISK_RING_BLOCK_BYTES	65536u
#define DISK_RING_HEADER_BYTES	16u		  /* bytes of a record before its data */
/* room beyond the soft size, used only during a seal */
#define DISK_RING_RESERVE_BYTES (32u << 20)
#define DISK_RING_SOFT_MIN	(1u << 20)	  /* the smallest soft size */
#define DISK_RING_SOFT_MAX	(UINT64_C(4) << 30)
/* largest disk: 64 TiB, with 16 GiB of hashes */
#define DISK_RING_DISK_MAX	(UINT64_C(1) << 46)
/* one ZERO or DISCARD covers at most this many bytes of the disk */
#define DISK_RING_RECORD_MAX	(UINT32_C(1) << 31)
#define DISK_RING_WAIT_NS	CLOCK_NS_PER_S
/* Limits of the waits in the ring's last quarter: DISK_RING_SLOW_NS of one wait, for a record of 64
 * KiB; DISK_RING_SLOW_SUM_NS of all waits together while the reader releases nothing. With such
 * waits, filling the last quarter of a ring of 64 MiB takes about 3 s. So a slow link has time to
 * commit an epoch. */
#define DISK_RING_SLOW_NS	(10 * CLOCK_NS_PER_MS)
#define DISK_RING_SLOW_SUM_NS	(3 * CLOCK_NS_PER_S)

struct disk_ring;

enum disk_op {
	DISK_WRITE   = 1,
	DISK_ZERO    = 2, /* the bytes become zero */
	DISK_DISCARD = 3, /* the guest does not need the bytes any more */
};

struct disk_record {
	enum disk_op op;
	uint32_t bytes;	     /* length of the range on the disk; at least 1 */
	uint64_t offset;     /* start of the range on the disk; the range ends within the disk */
	/* in a WRITE, the data (@bytes bytes), valid until the record is released; else NULL */
	const uint8_t *data;
};

/* Counters since the ring was made. They continue when another reader or writer maps the ring. */
struct disk_ring_counts {
	uint64_t connections, disconnections; /* how often QEMU connected and disconnected */
	/* requests of QEMU; one request makes no record, one or several */
	uint64_t writes, zeroes, discards;
	uint64_t flushes, reads;	      /* number of QEMU's requests; reads are refused */
	uint64_t bytes;                       /* total number of the disk's bytes that the records
					       * cover */
	/* bytes for which no record was made, because the ring's last content of the block was the
	 * same */
	uint64_t same_bytes;
	/* records dropped for lack of room; after one, the disk must be synchronised again */
	uint64_t overflows;
	/* waits: how often an append found the ring full and waited. waits_ns: the time that
	 * appends waited in total, also in the ring's last quarter */
	uint64_t waits, waits_ns;
};

/* ---- the reader's functions */

/* Make a ring in anonymous memory for a disk of @disk_bytes, with room for @soft_bytes (rounded up
 * to whole pages) and for the reserve. At first no block's content is known. A page of the ring
 * uses memory only after it was written for the first time. The ring's file can neither grow nor
 * shrink.
 * Returns 0: the caller must free *ret with disk_ring_free(). On error *ret_error says why:
 *      -EINVAL                       a size is out of its limits
 *      -ENOMEM, -EMFILE, other       from memfd_create(2) or mmap(2) */
int disk_ring_new(uint64_t soft_bytes, uint64_t disk_bytes, struct disk_ring **ret,
		  struct error *ret_error) __attribute__((warn_unused_result));

/* The VM, the disk and the term to which a ring's file belongs. */
struct disk_ring_id {
	const char *vm, *disk;
	uint64_t term; /* see disk_ring_set_term() */
};

/* Like disk_ring_new(), but with the file @path, which should be on a tmpfs. The file stays until
 * the caller unlinks it. If an earlier agent left a usable ring there, continue with that ring. A
 * ring is usable if
 * - it has no writer any more
 * - all its records can be read
 * - it was made since the host's last boot
 * - it has the same @id and sizes.
 * If there is a file but its ring is not usable, replace the file; an earlier writer keeps the old
 * file. disk_ring_why_new() says why a new file was made. For a new file, reserves memory for all
 * parts except the hashes. Waits up to 2 s for an earlier writer to end. (A writer holds a lock,
 * flock(2), as long as it has a descriptor or a mapping of the file.)
 * Returns 0; an error of disk_ring_new(); -ENOSPC; or another -errno of open() or fallocate(). */
int disk_ring_open(const char *path, const struct disk_ring_id *id, uint64_t soft_bytes,
		   uint64_t disk_bytes, struct disk_ring **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Hand the ring on to the agent's next program (epoch/handed.h), while the writer continues. Unmaps
 * the ring and frees @ring. Returns the ring's descriptor, which the caller then owns. */
int disk_ring_hand_on(struct disk_ring *ring);
/* In the next program: continue with the ring at the descriptor @fd, which disk_ring_hand_on() has
 * returned. Returns 0, and the ring owns @fd. On error the caller still owns @fd:
 * -ENOMEM;
 * -ESTALE: the file is not the ring of @id with these sizes, or is damaged. */
int disk_ring_resume(int fd, const struct disk_ring_id *id, uint64_t soft_bytes,
		     uint64_t disk_bytes, struct disk_ring **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns why no earlier ring was continued, as a constant string; NULL if one was. */
const char *disk_ring_why_new(const struct disk_ring *ring);

/* Record that the ring is valid in @term too. (disk_ring_open() does not use a ring of an older
 * term.) Call this if the standby keeps its images in the new term. */
void disk_ring_set_term(struct disk_ring *ring, uint64_t term);

/* Numbers that the reader stores in the ring for its successor; 0 in a new ring. */
enum disk_ring_note {
	DISK_RING_NOTE_COMMITTED, /* epoch/ring_epochs.h says what these numbers mean */
	DISK_RING_NOTE_EARLY,
	DISK_RING_N_NOTES,
};
uint64_t disk_ring_note(const struct disk_ring *ring, enum disk_ring_note note);
void disk_ring_set_note(struct disk_ring *ring, enum disk_ring_note note, uint64_t value);

/* Unmap the ring and close its descriptor. For the reader and the writer. Accepts NULL, returns
 * NULL. */
struct disk_ring *disk_ring_free(struct disk_ring *ring);

/* Returns the descriptor of the ring's file (close-on-exec), which the ring owns. The writer calls
 * disk_ring_map() with it. The writer must inherit or dup() the descriptor: only then does it share
 * the reader's lock on the file. */
int disk_ring_fd(const struct disk_ring *ring);

uint64_t disk_ring_disk_bytes(const struct disk_ring *ring); /* may also be called by the writer */

/* Returns the position at which the next record will begin. Call this while the guest is stopped
 * and QEMU has completed its writes: then all records before the position belong to the epoch. A
 * broken writer can have set the position to any value; disk_ring_read() checks it. Never
 * blocks. */
uint64_t disk_ring_head(const struct disk_ring *ring);

/* Returns the position of the oldest record that is not released. */
uint64_t disk_ring_tail(const struct disk_ring *ring);

/* Returns the number of bytes between tail and head, at most the ring's size. */
uint64_t disk_ring_waiting(const struct disk_ring *ring);

/* Read the record at *@pos and move *@pos to the record's end. Start with disk_ring_tail(), or with
 * the *@pos after an earlier read. @end is a value that disk_ring_head() returned. Records can be
 * read again until they are released. Never blocks. Returns
 *      1         *ret_record is set
 *      0         *@pos has reached @end
 *      -EBADMSG  the ring's content is not valid, or @end is no position in the ring; *@pos is
 *                unchanged, and the caller must give up this ring and its writer */
int disk_ring_read(const struct disk_ring *ring, uint64_t *pos, uint64_t end,
		   struct disk_record *ret_record) __attribute__((warn_unused_result));

/* Like disk_ring_read(), but joins records without data: if the next records have the same op, and
 * each begins on the disk where the one before ends, they are returned as one record. */
int disk_ring_read_run(const struct disk_ring *ring, uint64_t *pos, uint64_t end,
		       struct disk_record *ret_record) __attribute__((warn_unused_result));

/* Release the records before @pos to make room for new ones. Wakes the writer if it waits for room.
 * Does nothing if @pos is the tail or is not in the ring. */
void disk_ring_release(struct disk_ring *ring, uint64_t pos);

/* Set `sealing` before you stop the guest, and clear it when the guest can run again. While it is
 * set, appends do not wait, and may use the reserve. */
void disk_ring_set_sealing(struct disk_ring *ring, bool is_sealing);

/* Make the writer forget the hashes of all blocks before it appends the next record. */
void disk_ring_forget_hashes(struct disk_ring *ring);

/* Forget the hash of block @block. Call this only while there is no writer. If the file cannot be
 * written, the next writer forgets all hashes. */
void disk_ring_forget_block(struct disk_ring *ring, uint64_t block);

enum disk_ring_match {
	DISK_RING_OTHER	 = 0, /* the content put into the ring last was another, or none was put */
	/* @data is the content that was put into the ring last */
	DISK_RING_LATEST = 1,
	/* The ring does not have the content of the whole block, for example because the last write
	 * changed only a part of the block. */
	DISK_RING_UNKNOWN = 2,
};

/* Compare @data (all bytes of block @block) with the content that was last put into the ring for
 * this block. A writer may run at the same time. But if it puts a record for this block into the
 * ring during the call, the result is not valid. */
enum disk_ring_match disk_ring_match(const struct disk_ring *ring, uint64_t block,
				     const void *data);

/* The four disk_ring_base_*() functions fill the table of hashes according to the content of the
 * standby's image, before QEMU copies the disk. Call them only while there is no writer and no
 * unreleased record (such a record would change the image later). If the agent ends in between, the
 * next agent can use what is in the table.
 *
 * Returns the seed that the hashes must have. */
uint64_t disk_ring_base_seed(const struct disk_ring *ring);
/* Forget all hashes. Returns 0 or -errno. */
int disk_ring_base_begin(struct disk_ring *ring) __attribute__((warn_unused_result));
/* Store the @n hashes at @hash (wire_hash()) for the blocks from @first on. Returns 0; -EINVAL if
 * the disk has fewer blocks; -EIO. */
int disk_ring_base_put(struct disk_ring *ring, uint64_t first, uint32_t n, const uint8_t *hash)
	__attribute__((warn_unused_result));
/* Declare that all blocks without a hash are zero. Without this call, their content counts as not
 * known. */
void disk_ring_base_end(struct disk_ring *ring);

/* Make the writer forget the hashes of all blocks, and assume that each block is zero. Call this
 * for a new, empty image on the standby, before the writer appends the first record. */
void disk_ring_assume_zero(struct disk_ring *ring);

/* Read the counters. Do not rely on them: a broken writer may have set them to any value. */
void disk_ring_get_counts(const struct disk_ring *ring, struct disk_ring_counts *ret_counts);

/* ---- the writer's functions */

/* Map the ring in the file @fd, which the caller still owns. Returns 0: the caller must free *ret
 * with disk_ring_free();
 * -EINVAL: @fd is not a ring, or is a ring of another version;
 * -ENOMEM; other -errno. */
int disk_ring_map(int fd, struct disk_ring **ret) __attribute__((warn_unused_result));

/* Append QEMU's request @op for @bytes at @offset of the disk. @data is the data of a DISK_WRITE.
 * Splits a large request into several records. Leaves out blocks that already have the new content.
 * Can wait if the ring is more than 3/4 full (see the top of this file). Returns 0, even if records
 * were dropped; -EINVAL if the bytes end past the disk's end. */
int disk_ring_append(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint64_t bytes,
		     const void *data) __attribute__((warn_unused_result));

enum disk_ring_event {
	DISK_RING_CONNECTED,
	DISK_RING_DISCONNECTED,
	DISK_RING_FLUSHED,
	DISK_RING_READ, /* a read, which was refused */
};
/* Count an event that makes no record. */
void disk_ring_count(struct disk_ring *ring, enum disk_ring_event event);

#endif
