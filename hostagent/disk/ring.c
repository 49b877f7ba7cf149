#include "disk/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk/ring_private.h"

#define MIB (UINT64_C(1) << 20)

/* ---- open */

static int make_file(struct disk_ring *ring)
{
	ring->fd = memfd_create("holdfast-disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Fix the file's size for good. If the writer could shrink the file, our next access beyond
	 * the new end would cause a SIGBUS. */
	if (ring->fd < 0 || ftruncate(ring->fd, (off_t)ring_file_bytes(ring)) < 0 ||
	    fcntl(ring->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return ring_map(ring, false);
}

int ring_alloc(uint64_t soft_bytes, uint64_t disk_bytes, struct disk_ring **ret,
	       struct error *ret_error)
{
	struct disk_ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return error_set(ret_error, -ENOMEM, "no memory for a disk's ring");
	ring->fd = -1;
	r = ring_layout(ring, soft_bytes, disk_bytes);
	if (r < 0) {
		disk_ring_free(ring);
		return error_set(ret_error, r,
				 "no ring of %" PRIu64 " bytes for a disk of %" PRIu64
				 " bytes: the ring may have 1 to %" PRIu64
				 " MiB, the disk 1 byte to %" PRIu64 " GiB",
				 soft_bytes, disk_bytes, DISK_RING_SOFT_MAX / MIB,
				 DISK_RING_DISK_MAX / MIB / 1024);
	}
	*ret = ring;
	return 0;
}

int ring_write_header(struct disk_ring *ring, const char *owner, const char *boot, uint64_t term)
{
	struct ring_header *h = ring->header;

	if (getrandom(&h->seed, sizeof(h->seed), 0) != (ssize_t)sizeof(h->seed))
		return -EIO;
	h->version = RING_VERSION;
	h->disk_bytes = ring->disk_bytes;
	h->soft_bytes = ring->soft_bytes;
	(void)snprintf(h->owner, sizeof(h->owner), "%s", owner);
	(void)snprintf(h->boot, sizeof(h->boot), "%s", boot);
	atomic_store(&h->term, term);
	/* Only the next store makes the file a valid ring. If the agent is killed before it, no
	 * half-made ring is used. */
	atomic_signal_fence(memory_order_seq_cst);
	h->magic = RING_MAGIC;
	return 0;
}

int disk_ring_new(uint64_t soft_bytes, uint64_t disk_bytes, struct disk_ring **ret,
		  struct error *ret_error)
{
	struct disk_ring *ring;
	int r = ring_alloc(soft_bytes, disk_bytes, &ring, ret_error);

	if (r < 0)
		return r;
	r = make_file(ring);
	if (r == 0)
		r = ring_write_header(ring, "", "", 0);
	if (r < 0) {
		(void)error_set(ret_error, r, "a disk's ring of %" PRIu64 " MiB: %s",
				ring_file_bytes(ring) / MIB, strerror(-r));
		disk_ring_free(ring);
		return r;
	}
	ring->why_new = "it has no file";
	*ret = ring;
	return 0;
}

/* ---- read */

int disk_ring_fd(const struct disk_ring *ring)
{
	return ring->fd;
}

uint64_t disk_ring_head(const struct disk_ring *ring)
{
	return atomic_load_explicit(&ring->header->head, memory_order_acquire);
}

uint64_t disk_ring_tail(const struct disk_ring *ring)
{
	return ring->tail;
}

uint64_t disk_ring_waiting(const struct disk_ring *ring)
{
	uint64_t waiting = disk_ring_head(ring) - ring->tail;

	return waiting < ring->data_bytes ? waiting : ring->data_bytes;
}

/* Can @pos be a position in the ring? It must be a multiple of 8, not before the tail, and not
 * further beyond the tail than the ring's size. */
static bool is_position(const struct disk_ring *ring, uint64_t pos)
{
	return pos % 8 == 0 && pos - ring->tail <= ring->data_bytes;
}

/* Decode a record's header: @word contains op and bytes, @offset is the offset. Returns false if
 * any of these is out of bounds. */
static bool decode(const struct disk_ring *ring, uint64_t word, uint64_t offset,
		   struct disk_record *ret)
{
	uint32_t op = (uint32_t)word;
	uint32_t bytes = (uint32_t)(word >> 32);

	if (op < DISK_WRITE || op > DISK_DISCARD || bytes == 0 || offset > ring->disk_bytes ||
	    bytes > ring->disk_bytes - offset)
		return false;
	if (op == DISK_WRITE ? bytes > DISK_RING_BLOCK_BYTES - offset % DISK_RING_BLOCK_BYTES
			     : bytes > DISK_RING_RECORD_MAX)
		return false;
	*ret = (struct disk_record){.op = (enum disk_op)op, .bytes = bytes, .offset = offset};
	return true;
}

int disk_ring_read(const struct disk_ring *ring, uint64_t *pos, uint64_t end,
		   struct disk_record *ret_record)
{
	const uint8_t *at = ring->data + *pos % ring->data_bytes;
	const volatile uint64_t *words = (const volatile uint64_t *)at;
	struct disk_record record;
	uint64_t size = DISK_RING_HEADER_BYTES;

	if (!is_position(ring, *pos) || !is_position(ring, end) || end - *pos > ring->data_bytes)
		return -EBADMSG;
	if (*pos == end)
		return 0;
	/* Read each word of the header only once: a hostile writer could change it after our
	 * check. */
	if (end - *pos < size || !decode(ring, words[0], words[1], &record))
		return -EBADMSG;
	if (record.op == DISK_WRITE) {
		record.data = at + size;
		size += (record.bytes + 7) / 8 * 8;
	}
	if (end - *pos < size)
		return -EBADMSG;
	*ret_record = record;
	*pos += size;
	return 1;
}

int disk_ring_read_run(const struct disk_ring *ring, uint64_t *pos, uint64_t end,
		       struct disk_record *ret_record)
{
	struct disk_record next;
	uint64_t at;
	int r = disk_ring_read(ring, pos, end, ret_record);

	if (r <= 0 || ret_record->op == DISK_WRITE)
		return r;
	at = *pos;
	/* if the next record is not valid, a later call says so */
	while (disk_ring_read(ring, &at, end, &next) == 1 && next.op == ret_record->op &&
	       next.offset == ret_record->offset + ret_record->bytes &&
	       next.bytes <= DISK_RING_RECORD_MAX - ret_record->bytes) {
		ret_record->bytes += next.bytes;
		*pos = at;
	}
	return 1;
}

/* ---- control the writer */

static void wake_writer(struct disk_ring *ring)
{
	struct ring_header *h = ring->header;

	/* The writer sets is_waiting and then looks for room. We make room and then read
	 * is_waiting. So either the writer sees the room, or we see is_waiting and wake the
	 * writer. */
	if (!atomic_load(&h->is_waiting))
		return;
	atomic_fetch_add(&h->wakes, 1);
	(void)syscall(SYS_futex, &h->wakes, FUTEX_WAKE, 1, NULL, NULL, 0); /* cannot fail */
}

void disk_ring_release(struct disk_ring *ring, uint64_t pos)
{
	if (pos == ring->tail || !is_position(ring, pos))
		return;
	ring->tail = pos;
	atomic_store(&ring->header->tail, pos);
	wake_writer(ring);
}

void disk_ring_set_sealing(struct disk_ring *ring, bool is_sealing)
{
	atomic_store(&ring->header->is_sealing, is_sealing);
	if (is_sealing)
		wake_writer(ring);
}

/* Ask the writer to empty its table of hashes. An empty entry then means "the block is zero" if
 * @is_zero, otherwise "the block's content is not known". */
static void wish(struct disk_ring *ring, bool is_zero)
{
	uint64_t old = atomic_load_explicit(&ring->header->table_wish, memory_order_relaxed);

	atomic_store_explicit(&ring->header->table_wish, ((old | 1) + 1) | is_zero,
			      memory_order_release);
}

void disk_ring_forget_hashes(struct disk_ring *ring)
{
	wish(ring, false);
}

void disk_ring_forget_block(struct disk_ring *ring, uint64_t block)
{
	static const struct ring_hash unknown = RING_HASH_UNKNOWN;
	off_t at = (off_t)(ring->table_at + block * sizeof(unknown));

	if (block * DISK_RING_BLOCK_BYTES < ring->disk_bytes &&
	    pwrite(ring->fd, &unknown, sizeof(unknown), at) != (ssize_t)sizeof(unknown))
		wish(ring, false);
}

void disk_ring_assume_zero(struct disk_ring *ring)
{
	wish(ring, true);
}

/* ---- for the next agent */

uint64_t disk_ring_note(const struct disk_ring *ring, enum disk_ring_note note)
{
	return atomic_load(&ring->header->notes[note]);
}

void disk_ring_set_note(struct disk_ring *ring, enum disk_ring_note note, uint64_t value)
{
	atomic_store(&ring->header->notes[note], value);
}

void disk_ring_set_term(struct disk_ring *ring, uint64_t term)
{
	atomic_store(&ring->header->term, term);
}

const char *disk_ring_why_new(const struct disk_ring *ring)
{
	return ring->why_new;
}

/* ---- counters */

static uint64_t count_of(const struct disk_ring *ring, enum ring_counter counter)
{
	return atomic_load_explicit(&ring->header->counters[counter], memory_order_relaxed);
}

void disk_ring_get_counts(const struct disk_ring *ring, struct disk_ring_counts *ret_counts)
{
	*ret_counts = (struct disk_ring_counts){
		.connections = count_of(ring, RING_CONNECTIONS),
		.disconnections = count_of(ring, RING_DISCONNECTIONS),
		.writes = count_of(ring, RING_WRITES),
		.zeroes = count_of(ring, RING_ZEROES),
		.discards = count_of(ring, RING_DISCARDS),
		.flushes = count_of(ring, RING_FLUSHES),
		.reads = count_of(ring, RING_READS),
		.bytes = count_of(ring, RING_BYTES),
		.same_bytes = count_of(ring, RING_SAME_BYTES),
		.overflows = count_of(ring, RING_OVERFLOWS),
		.waits = count_of(ring, RING_WAITS),
		.waits_ns = count_of(ring, RING_WAITS_NS),
	};
}
