/* The writer's side of a ring: waits for room, splits requests into records, and leaves out blocks
 * whose content is not new. See ring.h. */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "disk/ring_private.h"

/* ---- room */

static bool is_sealing(const struct disk_ring *ring)
{
	return atomic_load(&ring->header->is_sealing);
}

/* Is there room for @size more bytes if the ring may have @limit bytes in use? */
static bool has_room(const struct disk_ring *ring, uint64_t size, uint64_t limit)
{
	uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
	uint64_t used = head - atomic_load(&ring->header->tail);

	return used <= limit && size <= limit - used;
}

/* Sleep until the ring has room for @size more bytes within @limit; or the reader has begun a seal;
 * or @wait_ns have passed. */
static void wait_for_room(struct disk_ring *ring, uint64_t size, uint64_t limit, uint64_t wait_ns)
{
	struct ring_header *h = ring->header;
	uint64_t start_ns = clock_mono_ns(), waited_ns = 0;
	struct timespec left;
	uint32_t wakes;

	for (;;) {
		wakes = atomic_load(&h->wakes);
		atomic_store(&h->is_waiting, 1);
		if (has_room(ring, size, limit) || is_sealing(ring) || waited_ns >= wait_ns)
			break;
		left.tv_sec = (time_t)((wait_ns - waited_ns) / CLOCK_NS_PER_S);
		left.tv_nsec = (long)((wait_ns - waited_ns) % CLOCK_NS_PER_S);
		/* The result does not matter: whatever has ended the wait, the loop checks its
		 * conditions again. */
		(void)syscall(SYS_futex, &h->wakes, FUTEX_WAIT, wakes, &left, NULL, 0);
		waited_ns = clock_mono_ns() - start_ns;
	}
	atomic_store(&h->is_waiting, 0);
	ring_add(ring, RING_WAITS_NS, waited_ns);
}

/* Wait before a record of @size bytes is put into the ring's last quarter (above @slow_bytes). */
static void wait_slowly(struct disk_ring *ring, uint64_t size, uint64_t slow_bytes)
{
	uint64_t tail = atomic_load(&ring->header->tail), start_ns = clock_mono_ns();

	if (tail != ring->slow_tail) {
		ring->slow_tail = tail;
		ring->slow_ns = 0;
	}
	if (ring->slow_ns >= DISK_RING_SLOW_SUM_NS)
		return;
	wait_for_room(ring, size, slow_bytes, DISK_RING_SLOW_NS * size / DISK_RING_BLOCK_BYTES);
	ring->slow_ns += clock_mono_ns() - start_ns;
}

/* Get room for a record of @size bytes; wait for it if that is allowed. Returns false if there is
 * no room: the caller must drop the record. */
static bool get_room(struct disk_ring *ring, uint64_t size)
{
	struct ring_header *h = ring->header;
	const uint64_t slow_bytes = ring->soft_bytes / 4 * 3;
	bool found;

	if (is_sealing(ring)) {
		found = has_room(ring, size, ring->data_bytes);
	} else if (has_room(ring, size, slow_bytes)) {
		found = true;
	} else if (has_room(ring, size, ring->soft_bytes)) {
		wait_slowly(ring, size, slow_bytes);
		found = true;
	} else {
		if (!atomic_load(&h->is_full)) {
			wait_for_room(ring, size, ring->soft_bytes, DISK_RING_WAIT_NS);
			ring_add(ring, RING_WAITS, 1);
		}
		found = has_room(ring, size, is_sealing(ring) ? ring->data_bytes
							      : ring->soft_bytes);
	}
	atomic_store(&h->is_full, !found);
	return found;
}

/* ---- records */

/* Put one record into the ring. Returns false if the ring is full, so that the record was
 * dropped. */
static bool put(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint32_t bytes,
		const void *data)
{
	uint64_t size = DISK_RING_HEADER_BYTES + (data ? (bytes + UINT64_C(7)) / 8 * 8 : 0);
	uint64_t head, *words;

	if (!get_room(ring, size)) {
		ring_add(ring, RING_OVERFLOWS, 1);
		return false;
	}
	head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
	words = (uint64_t *)(ring->data + head % ring->data_bytes);
	words[0] = (uint64_t)op | (uint64_t)bytes << 32;
	words[1] = offset;
	if (data)
		memcpy(words + 2, data, bytes);
	ring_add(ring, RING_BYTES, bytes);
	atomic_store_explicit(&ring->header->head, head + size, memory_order_release);
	return true;
}

/* Returns how many of the @bytes bytes at @offset are in the block that contains @offset. */
static uint32_t bytes_in_block(uint64_t offset, uint64_t bytes)
{
	uint64_t room = DISK_RING_BLOCK_BYTES - offset % DISK_RING_BLOCK_BYTES;

	return (uint32_t)(bytes < room ? bytes : room);
}

/* Put one record for a ZERO or DISCARD. The caller has forgotten the hashes of its blocks already.
 * After a ZERO, store the hash of a zero block for each block that the record covers as a whole. */
static void put_run(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint64_t bytes)
{
	if (bytes == 0 || !put(ring, op, offset, (uint32_t)bytes, NULL) || op != DISK_ZERO)
		return;
	while (bytes > 0) {
		uint64_t block = offset / DISK_RING_BLOCK_BYTES;
		uint32_t n = bytes_in_block(offset, bytes);

		if (n == ring_block_bytes(ring, block))
			ring_hash_set(ring, block, ring_hash_of_zero(ring, block));
		offset += n;
		bytes -= n;
	}
}

/* Append a write. Leave out blocks that have the content already. Make one ZERO record for each run
 * of neighbouring zero blocks: these bytes need not be sent, and the standby zeroes the run in one
 * call. */
static void append_write(struct disk_ring *ring, uint64_t offset, uint64_t bytes,
			 const uint8_t *data)
{
	uint64_t run = 0; /* number of bytes before @offset that are zero and not yet in a record */

	while (bytes > 0) {
		uint32_t n = bytes_in_block(offset, bytes);
		uint64_t block = offset / DISK_RING_BLOCK_BYTES;
		bool is_whole = n == ring_block_bytes(ring, block);
		struct ring_hash hash = is_whole ? ring_hash_of(ring, data, n)
						 : (struct ring_hash){0, 0};
		bool is_same = is_whole && ring_hash_is_known(ring, block, hash);
		bool is_zero = is_whole && !is_same &&
			       ring_hash_is_equal(hash, ring_hash_of_zero(ring, block));

		/* a block that ends the run of zeros: put the run's record first */
		if (!is_zero || run + n > DISK_RING_RECORD_MAX) {
			put_run(ring, DISK_ZERO, offset - run, run);
			run = 0;
		}
		if (is_same) {
			ring_add(ring, RING_SAME_BYTES, n);
		} else {
			ring_hash_forget(ring, block);
			if (is_zero)
				run += n;
			else if (put(ring, DISK_WRITE, offset, n, data) && is_whole)
				ring_hash_set(ring, block, hash);
		}
		offset += n;
		data += n;
		bytes -= n;
	}
	put_run(ring, DISK_ZERO, offset - run, run);
}

/* Append a ZERO or DISCARD. A ZERO leaves out blocks that are zero already. Make one record for
 * each run of neighbouring blocks that are not left out. */
static void append_run(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint64_t bytes)
{
	uint64_t run = 0; /* number of bytes before @offset that are not yet in a record */

	while (bytes > 0) {
		uint64_t block = offset / DISK_RING_BLOCK_BYTES;
		uint32_t n = bytes_in_block(offset, bytes);
		bool is_same = op == DISK_ZERO &&
			       ring_hash_is_known(ring, block, ring_hash_of_zero(ring, block));

		if (is_same || run + n > DISK_RING_RECORD_MAX) {
			put_run(ring, op, offset - run, run);
			run = 0;
		}
		if (is_same) {
			ring_add(ring, RING_SAME_BYTES, n);
		} else {
			ring_hash_forget(ring, block);
			run += n;
		}
		offset += n;
		bytes -= n;
	}
	put_run(ring, op, offset - run, run);
}

int disk_ring_append(struct disk_ring *ring, enum disk_op op, uint64_t offset, uint64_t bytes,
		     const void *data)
{
	static const enum ring_counter counter[] = {
		[DISK_WRITE] = RING_WRITES,
		[DISK_ZERO] = RING_ZEROES,
		[DISK_DISCARD] = RING_DISCARDS,
	};

	if (offset > ring->disk_bytes || bytes > ring->disk_bytes - offset)
		return -EINVAL;
	ring_hash_follow_wish(ring);
	ring_add(ring, counter[op], 1);
	if (op == DISK_WRITE)
		append_write(ring, offset, bytes, data);
	else
		append_run(ring, op, offset, bytes);
	return 0;
}

void disk_ring_count(struct disk_ring *ring, enum disk_ring_event event)
{
	static const enum ring_counter counter[] = {
		[DISK_RING_CONNECTED] = RING_CONNECTIONS,
		[DISK_RING_DISCONNECTED] = RING_DISCONNECTIONS,
		[DISK_RING_FLUSHED] = RING_FLUSHES,
		[DISK_RING_READ] = RING_READS,
	};

	ring_add(ring, counter[event], 1);
}
