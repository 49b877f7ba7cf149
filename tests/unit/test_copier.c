/* test_copier.c - tests that two threads copy exactly the same bytes as one thread. The source is
 * this process's own memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "epoch/copier.h"

#define N_PAGES	   4200u
#define RANGES_MAX N_PAGES

static uint8_t *memory, *copy, *expected;
static struct guestmem *mem;
static struct page_range ranges[RANGES_MAX];
static unsigned n_between, fail_at;

static int set_up(void **state)
{
	struct vmm_block block = {.name = "pc.ram", .kind = VMM_BLOCK_RAM, .n_pages = N_PAGES,
				  .size_bytes = (uint64_t)N_PAGES * VMM_PAGE_BYTES};
	size_t size = (size_t)N_PAGES * VMM_PAGE_BYTES;
	struct error error;

	(void)state;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	copy = malloc(size);
	expected = malloc(size);
	assert_true(memory != MAP_FAILED && copy && expected);
	for (size_t i = 0; i < size; i += 8)
		*(uint64_t *)(void *)(memory + i) = i * UINT64_C(11400714819323198485);
	block.hva = (uint64_t)(uintptr_t)memory;
	return guestmem_open(getpid(), &block, 1, &mem, &error);
}

static int tear_down(void **state)
{
	(void)state;
	guestmem_close(mem);
	munmap(memory, (size_t)N_PAGES * VMM_PAGE_BYTES);
	free(copy);
	free(expected);
	return 0;
}

/* Fill `ranges` with ranges of 1 to @longest pages, with gaps between them and @n_pages pages in
 * all. Returns the number of ranges. */
static uint32_t make_ranges(uint32_t n_pages, uint32_t longest)
{
	uint32_t n = 0, page = 0;

	while (n_pages > 0) {
		uint32_t left = 1 + (uint32_t)rand() % longest;

		left = left < n_pages ? left : n_pages;
		ranges[n++] = (struct page_range){page, left};
		page += left + (page + left + n_pages < N_PAGES ? (uint32_t)rand() % 2 : 0);
		n_pages -= left;
	}
	return n;
}

static size_t expect(uint32_t n_ranges)
{
	size_t size = 0;

	for (uint32_t i = 0; i < n_ranges; i++) {
		size_t n = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;

		memcpy(expected + size, memory + (size_t)ranges[i].first_page * VMM_PAGE_BYTES, n);
		size += n;
	}
	return size;
}

static int count(void *arg)
{
	assert_ptr_equal(arg, &n_between);
	n_between++;
	return fail_at > 0 && n_between == fail_at ? -EFBIG : 0;
}

static int wake_at_once(void *arg)
{
	(void)arg;
	return 1;
}

static void copies_what_one_thread_would(void **state)
{
	static const uint32_t sizes[] = {0, 1, 255, 256, 257, 2303, 2304, N_PAGES};
	static const uint32_t longest[] = {1, 3, 300, N_PAGES};
	struct copier *c;

	(void)state;
	assert_int_equal(copier_new(mem, N_PAGES, &c), 0);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (unsigned k = 0; k < sizeof(longest) / sizeof(longest[0]); k++) {
			uint32_t n = make_ranges(sizes[i], longest[k]);
			size_t size = expect(n);

			memset(copy, 0, size);
			n_between = fail_at = 0;
			assert_int_equal(copier_run(c, ranges, n, count, &n_between, copy), 0);
			assert_memory_equal(copy, expected, size);
			assert_int_equal(n_between, (sizes[i] + 255) / 256 + 1);
			memset(copy, 0, size);
			assert_int_equal(copier_run(c, ranges, n, wake_at_once, NULL, copy), 0);
			assert_memory_equal(copy, expected, size);
		}
	}
	copier_free(c);
}

/* A helper thread that wakes up late must join the next copy or find no work. It must not write
 * pages of an old copy. */
static void copies_in_a_row(void **state)
{
	size_t size;
	struct copier *c;
	uint32_t n;

	(void)state;
	n = make_ranges(COPIER_BOTH_PAGES + 1, 5);
	size = expect(n);
	assert_int_equal(copier_new(mem, N_PAGES, &c), 0);
	for (int i = 0; i < 40; i++) {
		uint8_t *to = copy + (size_t)(i % 2) * size,
			*other = copy + (size_t)(1 - i % 2) * size;

		memset(copy, 0, 2 * size);
		assert_int_equal(copier_run(c, ranges, n, wake_at_once, NULL, to), 0);
		assert_memory_equal(to, expected, size);
		for (size_t k = 0; k < size; k += VMM_PAGE_BYTES)
			assert_int_equal(other[k + 8], 0);
	}
	copier_free(c);
}

static void errors_end_it(void **state)
{
	struct page_range outside = {N_PAGES - 1, 2};
	struct copier *c;
	uint32_t n = make_ranges(N_PAGES, N_PAGES);

	(void)state;
	assert_int_equal(copier_new(mem, N_PAGES, &c), 0);
	assert_int_equal(copier_run(c, &outside, 1, NULL, NULL, copy), -EINVAL);
	n_between = 0;
	fail_at = 2;
	assert_int_equal(copier_run(c, ranges, n, count, &n_between, copy), -EFBIG);
	assert_int_equal(n_between, 2);
	copier_free(c);
	/* The ranges have more pages than the copier was made for. */
	assert_int_equal(copier_new(mem, 255, &c), 0);
	assert_int_equal(copier_run(c, ranges, n, wake_at_once, NULL, copy), -EINVAL);
	copier_free(c);
	assert_null(copier_free(NULL));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_what_one_thread_would),
		cmocka_unit_test(copies_in_a_row),
		cmocka_unit_test(errors_end_it),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
