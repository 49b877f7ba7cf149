/* Tests what a standby reports that it already has: hashes of its copy's pages and of its images'
 * blocks. */
#include "standby/base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "standby_fixture.h"

#define BLOCK	 WIRE_HASH_BLOCK_SIZE
#define N_BLOCKS 300u
#define BYTES	 (N_BLOCKS * BLOCK + 512) /* the last block is short */
#define SEED	 UINT64_C(0x1122334455667788)

static uint8_t room[WIRE_HASHES_MAX * WIRE_HASH_SIZE];
static struct wire_hashes hashes;

static void is_hash_of(uint32_t i, const void *data, size_t bytes)
{
	uint8_t hash[WIRE_HASH_SIZE];

	wire_hash(SEED, data, bytes, hash);
	assert_true(i < hashes.n);
	assert_memory_equal(hashes.hash + (size_t)i * WIRE_HASH_SIZE, hash, sizeof(hash));
}

static void of_memory(struct fixture *x, uint64_t first, uint32_t n)
{
	const struct wire_hashes_want want = {.seed = SEED, .first = first, .n = n};

	base_of_memory(&x->rf, &want, room, &hashes);
	assert_int_equal(hashes.first, first);
	assert_int_equal(hashes.seed, SEED);
	assert_string_equal(hashes.disk, "");
}

static void test_memory(void **state)
{
	struct fixture *x = *state;

	of_memory(x, 0, N_PAGES); /* there is no copy yet */
	assert_int_equal(hashes.n_zero + hashes.n, 0);
	fixture_hold_one(x);
	for (uint64_t i = 0; i < N_PAGES; i++)
		memset(ramfile_page(&x->rf, i), i < 3 ? 0 : (int)i, WIRE_PAGE_SIZE);
	of_memory(x, 0, N_PAGES + 5); /* more pages than there are */
	assert_int_equal(hashes.n_zero, 3);
	assert_int_equal(hashes.n, N_PAGES - 3);
	for (uint32_t i = 3; i < N_PAGES; i++) /* the last pages are in a second RAM block */
		is_hash_of(i - 3, ramfile_page(&x->rf, i), WIRE_PAGE_SIZE);
	of_memory(x, 2, 4);
	assert_int_equal(hashes.n_zero, 1);
	assert_int_equal(hashes.n, 3);
	of_memory(x, 1, 2); /* only zeros */
	assert_int_equal(hashes.n_zero, 2);
	assert_int_equal(hashes.n, 0);
	ramfile_page(&x->rf, 2)[WIRE_PAGE_SIZE - 1] = 1;
	of_memory(x, 1, 2);
	assert_int_equal(hashes.n_zero, 1);
	is_hash_of(0, ramfile_page(&x->rf, 2), WIRE_PAGE_SIZE);
	of_memory(x, N_PAGES, 9); /* after the last page */
	assert_int_equal(hashes.n_zero + hashes.n, 0);
}

/* ---- images */

static char path[] = "/tmp/holdfast-base-XXXXXX";
static struct images images;
static uint8_t *content;

static int image_setup(void **state)
{
	struct standby_disk disk = {.name = "vda", .path = path};
	struct error error;
	int fd;

	(void)state;
	strcpy(path, "/tmp/holdfast-base-XXXXXX");
	fd = mkstemp(path);
	content = calloc(1, BYTES);
	for (size_t i = 260 * BLOCK; i < BYTES; i++)
		content[i] = (uint8_t)(i / 512 + i);
	content[4 * BLOCK + 17] = 9;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	/* blocks 0..3 and 5..259 are a hole */
	assert_int_equal(pwrite(fd, content + 4 * BLOCK, BLOCK, 4 * BLOCK), BLOCK);
	assert_int_equal(pwrite(fd, content + 260 * BLOCK, BYTES - 260 * BLOCK, 260 * BLOCK),
			 BYTES - 260 * BLOCK);
	assert_int_equal(close(fd), 0);
	assert_int_equal(images_init(&images, &disk, 1, &error), 0);
	assert_int_equal(images_open(&images, &error), 0);
	return 0;
}

static int image_teardown(void **state)
{
	(void)state;
	images_close(&images);
	free(content);
	return unlink(path);
}

static void of_image(uint64_t first, uint32_t n)
{
	const struct wire_hashes_want want = {.disk = "vda", .seed = SEED, .first = first, .n = n};

	base_of_image(&images.item[0], &want, room, &hashes);
	assert_string_equal(hashes.disk, "vda");
}

/* Ask for all blocks as a primary does, and compare each answer. Returns the number of answers. */
static unsigned ask_for_all(void)
{
	unsigned n_answers = 0;
	uint64_t at = 0;

	while (at < N_BLOCKS + 1) {
		of_image(at, (uint32_t)(N_BLOCKS + 1 - at));
		assert_true(hashes.n_zero + hashes.n > 0);
		assert_true((uint64_t)hashes.n * BLOCK <= BASE_ANSWER_BYTES);
		for (uint64_t i = at; i < at + hashes.n_zero; i++)
			assert_true(content[i * BLOCK] == 0 &&
				    memcmp(content + i * BLOCK, content + i * BLOCK + 1,
					   (i == N_BLOCKS ? 512 : BLOCK) - 1) == 0);
		at += hashes.n_zero;
		for (uint32_t i = 0; i < hashes.n; i++, at++)
			is_hash_of(i, content + at * BLOCK, at == N_BLOCKS ? 512 : BLOCK);
		n_answers++;
	}
	assert_int_equal(at, N_BLOCKS + 1);
	return n_answers;
}

static void test_image(void **state)
{
	(void)state;
	assert_true(ask_for_all() > 1);
	of_image(1, 2);
	/* either hashed or counted as zero: some file systems do not show holes */
	assert_true(hashes.n_zero + hashes.n == 2);
	of_image(N_BLOCKS + 1, 1);
	assert_int_equal(hashes.n_zero + hashes.n, 0);
	images.item[0].shows_holes = false; /* like a block device: all blocks are read */
	assert_true(ask_for_all() > 1);
}

/* A short last block that is a hole counts as zero. */
static void test_hole_at_the_end(void **state)
{
	(void)state;
	assert_int_equal(truncate(path, 260 * BLOCK), 0);
	assert_int_equal(truncate(path, BYTES), 0);
	memset(content + 260 * BLOCK, 0, BYTES - 260 * BLOCK);
	(void)ask_for_all();
	of_image(290, 11);
	if (images.item[0].shows_holes)
		assert_int_equal(hashes.n_zero, 11);
}

/* The answer says nothing about blocks that cannot be read. */
static void test_short_image(void **state)
{
	(void)state;
	assert_int_equal(truncate(path, 262 * BLOCK), 0);
	of_image(260, 10);
	assert_int_equal(hashes.n, 2);
	of_image(262, 10);
	assert_int_equal(hashes.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_image, image_setup, image_teardown),
		cmocka_unit_test_setup_teardown(test_hole_at_the_end, image_setup, image_teardown),
		cmocka_unit_test_setup_teardown(test_short_image, image_setup, image_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
