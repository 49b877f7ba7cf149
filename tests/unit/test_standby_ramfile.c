/* test_standby_ramfile.c - tests that the pages of a copy can be read and written through its
 * files, and that this gives the same content as the mapping. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "standby/ramfile.h"

#define RAM_PAGES 100u
#define ROM_PAGES 3u
#define N_PAGES	  (RAM_PAGES + ROM_PAGES)

struct fixture {
	char dir[32];
	struct ramfile rf;
	uint8_t room[N_PAGES * WIRE_PAGE_SIZE];
};

static int set_up(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct wire_geometry g = {.n_blocks = 2};

	assert_non_null(x);
	strcpy(x->dir, "/dev/shm/hf-ramfile-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(ramfile_reserve(&x->rf, RAM_PAGES * WIRE_PAGE_SIZE), 0);
	strcpy(g.machine, "pc");
	strcpy(g.qemu_version, "7.2");
	g.n_vcpus = 1;
	g.ram_bytes = RAM_PAGES * WIRE_PAGE_SIZE;
	strcpy(g.blocks[0].name, "pc.ram");
	g.blocks[0].kind = WIRE_BLOCK_RAM;
	g.blocks[0].size_bytes = RAM_PAGES * WIRE_PAGE_SIZE;
	strcpy(g.blocks[1].name, "vga.rom");
	g.blocks[1].kind = WIRE_BLOCK_OTHER;
	g.blocks[1].size_bytes = ROM_PAGES * WIRE_PAGE_SIZE;
	assert_int_equal(ramfile_layout(&x->rf, &g), 0);
	for (uint32_t i = 0; i < N_PAGES; i++)
		memset(ramfile_page(&x->rf, i), (int)(i + 1), WIRE_PAGE_SIZE);
	*state = x;
	return 0;
}

static int tear_down(void **state)
{
	static const char *const left[] = {"lock", "meta"};
	struct fixture *x = *state;
	char path[64];

	assert_int_equal(ramfile_purge(&x->rf), 0);
	ramfile_close(&x->rf);
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", x->dir, left[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(x->dir), 0);
	free(x);
	return 0;
}

static void has_page(struct fixture *x, const uint8_t *page, uint32_t index)
{
	assert_non_null(page);
	assert_memory_equal(page, ramfile_page(&x->rf, index), WIRE_PAGE_SIZE);
	assert_int_equal(page[0], (uint8_t)(index + 1));
}

static void test_pages_are_read(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(ramfile_read(&x->rf, 0, N_PAGES, x->room), 0);
	for (uint32_t i = 0; i < N_PAGES; i++)
		has_page(x, x->room + i * WIRE_PAGE_SIZE, i);
	/* The end of `ram` and the beginning of `rom` are neighbours. */
	assert_int_equal(ramfile_read(&x->rf, RAM_PAGES - 1, 2, x->room), 0);
	has_page(x, x->room, RAM_PAGES - 1);
	has_page(x, x->room + WIRE_PAGE_SIZE, RAM_PAGES);
	assert_int_equal(ramfile_read(&x->rf, N_PAGES - 1, 2, x->room), -EINVAL);
}

static void test_pages_are_written(void **state)
{
	struct fixture *x = *state;

	memset(x->room, 0xee, sizeof(x->room));
	assert_int_equal(ramfile_write(&x->rf, RAM_PAGES - 2, 3, x->room), 0);
	for (uint32_t i = RAM_PAGES - 2; i < RAM_PAGES + 1; i++)
		assert_memory_equal(ramfile_page(&x->rf, i), x->room, WIRE_PAGE_SIZE);
	assert_int_equal(ramfile_page(&x->rf, RAM_PAGES - 3)[0], RAM_PAGES - 2);
	assert_int_equal(ramfile_page(&x->rf, RAM_PAGES + 1)[0], RAM_PAGES + 2);
	assert_int_equal(ramfile_write(&x->rf, N_PAGES, 1, x->room), -EINVAL);
}

static void test_a_file_that_is_too_short(void **state)
{
	struct fixture *x = *state;
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/ram", x->dir);
	assert_int_equal(truncate(path, WIRE_PAGE_SIZE), 0);
	assert_int_equal(ramfile_read(&x->rf, 0, 1, x->room), 0);
	assert_int_equal(ramfile_read(&x->rf, 0, 2, x->room), -EIO);
	assert_int_equal(truncate(path, RAM_PAGES * WIRE_PAGE_SIZE), 0);
}

static void test_the_reader(void **state)
{
	struct fixture *x = *state;
	struct ramfile_reader *reader = calloc(1, sizeof(*reader));

	assert_non_null(reader);
	reader->rf = &x->rf;
	reader->end = N_PAGES - 1;
	for (uint32_t i = 0; i < N_PAGES - 1; i++)
		has_page(x, ramfile_reader_page(reader, i), i);
	assert_null(ramfile_reader_page(reader, N_PAGES - 1));
	/* The reader can go back, and can skip pages. */
	has_page(x, ramfile_reader_page(reader, 7), 7);
	has_page(x, ramfile_reader_page(reader, 70), 70);
	has_page(x, ramfile_reader_page(reader, 69), 69);
	free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pages_are_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pages_are_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_file_that_is_too_short, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_reader, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
