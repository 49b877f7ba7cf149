/* Tests the hashes of the ring between nbdkit's plugin and the agent: blocks that have not changed
 * are dropped. */
#include "disk/ring.h"

#include <errno.h>
#include <xxhash.h>

#include "ring_lab.h"

/* Append one change. Returns how many records the ring made of it. */
static int records_of(struct fixture *f, enum disk_op op, uint64_t offset, uint64_t bytes,
		      const uint8_t *data)
{
	int n;

	append(f, op, offset, bytes, data);
	n = disk_image_apply(f->ring, f->image);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	return n;
}

static void test_same_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint64_t last = N_BLOCKS * BLOCK;

	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), N_BLOCKS + 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 0);
	assert_int_equal(counts_of(f).same_bytes, DISK_BYTES);
	assert_int_equal(counts_of(f).bytes, DISK_BYTES);
	/* A write of all 1000 bytes of the short last block counts as a write of a whole block. */
	assert_int_equal(records_of(f, DISK_WRITE, last, 1000, f->data + last), 0);
	/* Block 0 gets the content of block 1. For block 0 that is a change. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data + BLOCK), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 0);
	/* After a write, a discard or zeroes for only a part of block 0, the ring no longer knows
	 * the block's content. So the next write of the whole block makes a record. */
	assert_int_equal(records_of(f, DISK_WRITE, 9, 1, f->data + 9), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_DISCARD, 9, 1, NULL), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 9, 1, NULL), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 0);
	assert_int_equal(disk_ring_match(f->ring, 1, f->data + BLOCK), DISK_RING_LATEST);
	disk_ring_forget_block(f->ring, 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 1);
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), N_BLOCKS + 1);
}

/* A whole block of zeros makes a ZERO record, even if it comes as data. */
static void test_zeroes_carry_no_data(void **state)
{
	struct fixture *f = *state;
	uint8_t *zeroes = calloc(1, DISK_BYTES);
	uint64_t pos = disk_ring_tail(f->ring);

	append(f, DISK_WRITE, 0, 2 * BLOCK - 1, zeroes);
	append(f, DISK_WRITE, N_BLOCKS * BLOCK, 1000, zeroes);
	expect_record(f, &pos, DISK_ZERO, 0, BLOCK);
	expect_record(f, &pos, DISK_WRITE, BLOCK, BLOCK - 1);
	expect_record(f, &pos, DISK_ZERO, N_BLOCKS * BLOCK, 1000);
	free(zeroes);
}

/* Neighbouring blocks of zeros that come as one write make one ZERO record. */
static void test_zeroes_are_joined(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = calloc(1, DISK_BYTES);
	uint64_t pos = disk_ring_tail(f->ring);

	data[5 * BLOCK] = 1;
	append(f, DISK_WRITE, BLOCK, BLOCK, data);
	append(f, DISK_WRITE, 7 * BLOCK, BLOCK, data);
	expect_record(f, &pos, DISK_ZERO, BLOCK, BLOCK);
	expect_record(f, &pos, DISK_ZERO, 7 * BLOCK, BLOCK);
	append(f, DISK_WRITE, 512, DISK_BYTES - 512, data + 512);
	expect_record(f, &pos, DISK_WRITE, 512, BLOCK - 512);
	/* block 1 is not in the record: the ring knows that it is zero */
	expect_record(f, &pos, DISK_ZERO, 2 * BLOCK, 3 * BLOCK);
	expect_record(f, &pos, DISK_WRITE, 5 * BLOCK, BLOCK);
	expect_record(f, &pos, DISK_ZERO, 6 * BLOCK, BLOCK);
	expect_record(f, &pos, DISK_ZERO, 8 * BLOCK, DISK_BYTES - 8 * BLOCK);
	assert_int_equal(pos, disk_ring_head(f->ring));
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	assert_memory_equal(f->image, f->model, DISK_BYTES);
	/* The ring knows the content of each block of a run. */
	assert_int_equal(records_of(f, DISK_WRITE, 2 * BLOCK, DISK_BYTES - 2 * BLOCK,
				    data + 2 * BLOCK), 0);
	free(data);
}

static void test_zeroes(void **state)
{
	struct fixture *f = *state;
	uint8_t *zeroes = calloc(1, DISK_BYTES);

	/* At first the ring does not know the content of any block, so zeroes make a record. */
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 0);
	/* Zeroes for a block that is known to be zero are dropped. They may come as data, or for
	 * only a part of the block. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	assert_int_equal(records_of(f, DISK_ZERO, 10, BLOCK, NULL), 0);
	/* Zeroes for the whole disk make records only for blocks that are not known to be zero.
	 * Here these are one record for block 7, and one for blocks 9 and 10. */
	assert_int_equal(records_of(f, DISK_WRITE, 7 * BLOCK, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 9 * BLOCK + 5, 3, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 10 * BLOCK, BLOCK, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 2);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	/* disk_ring_assume_zero() is for a fresh image. It tells the ring, without a record, that
	 * all blocks are zero. */
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	disk_ring_forget_hashes(f->ring);
	disk_ring_assume_zero(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, zeroes), 0);
	assert_int_equal(records_of(f, DISK_WRITE, 3, 1, f->data), 1);
	assert_int_equal(records_of(f, DISK_ZERO, 0, DISK_BYTES, NULL), 1);
	disk_ring_forget_hashes(f->ring);
	assert_int_equal(records_of(f, DISK_WRITE, BLOCK, BLOCK, zeroes), 1);
	free(zeroes);
}

/* The reader gives the ring the hashes of the blocks in the standby's image. After that, a write
 * makes no record for a block whose content the image already has. */
static void test_base(void **state)
{
	static uint8_t hash[(N_BLOCKS + 1) * 16];
	struct fixture *f = *state;
	uint64_t seed = disk_ring_base_seed(f->ring);

	/* Block 5 holds zeros. The hash given for block 7 is wrong. */
	memset(f->data + 5 * BLOCK, 0, BLOCK);
	memcpy(f->image, f->data, DISK_BYTES);
	memcpy(f->model, f->data, DISK_BYTES);
	for (size_t i = 0; i <= N_BLOCKS; i++) {
		size_t bytes = i == N_BLOCKS ? 1000 : BLOCK;
		XXH128_hash_t h = XXH3_128bits_withSeed(f->image + i * BLOCK, bytes, seed);

		for (size_t k = 0; k < 8; k++) {
			hash[i * 16 + k] = (uint8_t)(h.high64 >> (56 - 8 * k));
			hash[i * 16 + 8 + k] = (uint8_t)(h.low64 >> (56 - 8 * k));
		}
	}
	hash[7 * 16]++;
	disk_ring_forget_hashes(f->ring); /* done only when a writer appends the next record */
	assert_int_equal(disk_ring_base_begin(f->ring), 0);
	assert_int_equal(disk_ring_base_put(f->ring, 0, 5, hash), 0);
	assert_int_equal(disk_ring_base_put(f->ring, 6, N_BLOCKS - 5, hash + 6 * 16), 0);
	assert_int_equal(disk_ring_base_put(f->ring, N_BLOCKS, 2, hash), -EINVAL);
	assert_int_equal(disk_ring_base_put(f->ring, N_BLOCKS + 2, 0, hash), -EINVAL);
	/* Block 5 got no hash. Before disk_ring_base_end(), its content is not known. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, 7 * BLOCK, f->data), 1);
	assert_int_equal(disk_ring_base_begin(f->ring), 0);
	assert_int_equal(disk_ring_base_put(f->ring, 0, 5, hash), 0);
	assert_int_equal(disk_ring_base_put(f->ring, 6, N_BLOCKS - 5, hash + 6 * 16), 0);
	disk_ring_base_end(f->ring);
	/* After disk_ring_base_end(), block 5 counts as zero. Only block 7 differs. */
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 1);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), 0);
	assert_int_equal(disk_ring_base_begin(f->ring), 0);
	assert_int_equal(records_of(f, DISK_WRITE, 0, DISK_BYTES, f->data), N_BLOCKS + 1);
}

/* Each ring has its own random seed for the hashes. So a guest cannot know which two contents of a
 * block have the same hash. */
static void test_seed(void **state)
{
	struct fixture *f = *state;
	struct disk_ring *other;
	struct error error;

	assert_int_equal(disk_ring_new(SOFT, DISK_BYTES, &other, &error), 0);
	assert_int_not_equal(other->header->seed, f->ring->header->seed);
	disk_ring_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_same_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroes_carry_no_data, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroes_are_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_base, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
