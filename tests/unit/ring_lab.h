/* ring_lab.h - a ring between a writer and a reader, with a model of the guest's disk and the
 * standby's image, for the tests of the ring. */
#ifndef RING_LAB_H
#define RING_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "disk/ring.h"
#include "disk/ring_private.h"
#include "disk_image.h"

#define BLOCK	   DISK_RING_BLOCK_BYTES
#define SOFT	   (4u << 20) /* the ring's soft size; more than the disk's size */
#define N_BLOCKS   40u
#define DISK_BYTES (N_BLOCKS * BLOCK + 1000) /* the last block is short */

struct fixture {
	struct disk_ring *ring;	  /* the reader's end */
	/* the writer's end, in the same memory; NULL: change only the model */
	struct disk_ring *writer;
	uint8_t *image;		  /* content of the standby's disk */
	uint8_t *model;		  /* content of the guest's disk */
	uint8_t *data;		  /* scratch, as large as the disk */
};

static uint64_t random_state = 1;

static inline uint32_t next_random(uint32_t below)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % below;
}

static inline void fill(uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)next_random(256);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error error;

	assert_int_equal(disk_ring_new(SOFT, DISK_BYTES, &f->ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(f->ring), &f->writer), 0);
	f->image = calloc(1, DISK_BYTES);
	f->model = calloc(1, DISK_BYTES);
	f->data = malloc(DISK_BYTES);
	fill(f->data, DISK_BYTES);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	assert_null(disk_ring_free(f->writer));
	assert_null(disk_ring_free(f->ring));
	free(f->image);
	free(f->model);
	free(f->data);
	free(f);
	return 0;
}

static inline struct disk_ring_counts counts_of(const struct fixture *f)
{
	struct disk_ring_counts counts;

	disk_ring_get_counts(f->ring, &counts);
	return counts;
}

/* Append a change that the guest makes to its disk, and make the same change in the model. */
static inline void append(struct fixture *f, enum disk_op op, uint64_t offset, uint64_t bytes,
		   const uint8_t *data)
{
	if (f->writer)
		assert_int_equal(disk_ring_append(f->writer, op, offset, bytes, data), 0);
	if (op == DISK_WRITE)
		memcpy(f->model + offset, data, bytes);
	else
		memset(f->model + offset, 0, bytes);
}

static inline void expect_record(struct fixture *f, uint64_t *pos, enum disk_op op, uint64_t offset,
			  uint32_t bytes)
{
	struct disk_record record;

	assert_int_equal(disk_ring_read(f->ring, pos, disk_ring_head(f->ring), &record), 1);
	assert_int_equal(record.op, op);
	assert_int_equal(record.offset, offset);
	assert_int_equal(record.bytes, bytes);
	if (op == DISK_WRITE)
		assert_memory_equal(record.data, f->model + offset, bytes);
	else
		assert_null(record.data);
}

/* Let the guest make a random change of its disk. */
static inline void act_at_random(struct fixture *f)
{
	uint32_t offset = next_random(DISK_BYTES), bytes = 1 + next_random(3 * BLOCK);
	uint32_t what = next_random(8), at;

	if (what & 1) { /* whole blocks */
		offset -= offset % BLOCK;
		bytes = (1 + next_random(3)) * BLOCK;
	}
	if (bytes > DISK_BYTES - offset)
		bytes = DISK_BYTES - offset;
	at = next_random(DISK_BYTES - bytes + 1);
	if (what < 6) {
		f->data[at] = (uint8_t)next_random(256);
		/* In one of three writes, write the bytes that are on the disk already. */
		append(f, DISK_WRITE, offset, bytes,
		       what < 2 ? memcpy(f->data, f->model + offset, bytes) : f->data + at);
	} else {
		append(f, what == 6 ? DISK_ZERO : DISK_DISCARD, offset, bytes, NULL);
	}
}

#endif
