/* test_guestmem.c - tests two special ways to read a process's memory. guestmem_read_once() reads a
 * shared file without filling its holes, and reads other memory like guestmem_read().
 * guestmem_read_through() reads through the process's page table. Where a shared file has no
 * memory, this function returns an error, while a read of our own mapping would raise SIGBUS. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/guestmem.h"

#define N_PAGES 4u

#define BYTES	((uint64_t)N_PAGES * VMM_PAGE_BYTES)

/* Memory of this process; it plays QEMU's memory. */
struct memory {
	uint8_t *at;
	int fd;
	struct vmm_block block;
	struct guestmem *mem;
};

static void open_memory(struct memory *m, int map_flags)
{
	struct error error;

	m->fd = memfd_create("guestmem", MFD_CLOEXEC);
	assert_true(m->fd >= 0);
	assert_int_equal(ftruncate(m->fd, (off_t)BYTES), 0);
	m->at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, map_flags, m->fd, 0);
	assert_true(m->at != MAP_FAILED);
	m->block = (struct vmm_block){.name = "pc.ram", .kind = VMM_BLOCK_RAM, .n_pages = N_PAGES,
				      .size_bytes = BYTES, .hva = (uint64_t)(uintptr_t)m->at};
	assert_int_equal(guestmem_open(getpid(), &m->block, 1, &m->mem, &error), 0);
}

static void close_memory(struct memory *m)
{
	guestmem_close(m->mem);
	munmap(m->at, BYTES);
	close(m->fd);
}

static void test_read_once(void **state)
{
	/* not in the order in which they lie in memory */
	struct page_range ranges[] = {{2, 2}, {0, 1}};
	uint8_t pages[3][VMM_PAGE_BYTES], zeros[VMM_PAGE_BYTES] = {0};
	struct stat before, after;
	struct memory m;

	(void)state;
	open_memory(&m, MAP_SHARED);
	memset(m.at, 0x5a, VMM_PAGE_BYTES);
	/* page 3 is written; page 2 stays a hole of the file */
	memset(m.at + 3 * VMM_PAGE_BYTES, 0x6b, VMM_PAGE_BYTES);
	assert_int_equal(fstat(m.fd, &before), 0);
	assert_int_equal(guestmem_read_once(m.mem, ranges, 2, pages[0]), 0);
	assert_int_equal(fstat(m.fd, &after), 0);
	assert_memory_equal(pages[0], zeros, VMM_PAGE_BYTES);
	assert_memory_equal(pages[1], m.at + 3 * VMM_PAGE_BYTES, VMM_PAGE_BYTES);
	assert_memory_equal(pages[2], m.at, VMM_PAGE_BYTES);
	if (guestmem_is_mapped(m.mem, 0))
		assert_int_equal(after.st_blocks, before.st_blocks);
	ranges[1].first_page = N_PAGES;
	assert_int_equal(guestmem_read_once(m.mem, ranges, 2, pages[0]), -EINVAL);
	close_memory(&m);
}

/* A private mapping can differ from its file. Its memory must be read, not the file. */
static void test_read_private_once(void **state)
{
	struct page_range all = {0, N_PAGES};
	uint8_t pages[N_PAGES][VMM_PAGE_BYTES];
	struct memory m;

	(void)state;
	open_memory(&m, MAP_PRIVATE);
	memset(m.at, 0x5a, BYTES);
	assert_int_equal(guestmem_read_once(m.mem, &all, 1, pages[0]), 0);
	assert_memory_equal(pages, m.at, BYTES);
	close_memory(&m);
}

static void test_no_memory_there(void **state)
{
	struct page_range all = {0, N_PAGES}, half = {1, N_PAGES / 2};
	uint8_t pages[N_PAGES][VMM_PAGE_BYTES];
	struct memory m;

	(void)state;
	open_memory(&m, MAP_SHARED);
	memset(m.at, 0x5a, BYTES);
	/* the page table can be read only with rights that not every user has */
	if (!guestmem_is_mapped(m.mem, 0))
		skip();
	assert_int_equal(guestmem_read_through(m.mem, &half, 1, pages[0]), 0);
	assert_memory_equal(pages, m.at, (N_PAGES / 2) * VMM_PAGE_BYTES);
	/* now a part of the file is missing, like a page of a hugetlb file that gets no huge
	 * page */
	assert_int_equal(ftruncate(m.fd, VMM_PAGE_BYTES), 0);
	assert_int_equal(guestmem_read_through(m.mem, &all, 1, pages[0]), -EFAULT);
	close_memory(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_once),
		cmocka_unit_test(test_read_private_once),
		cmocka_unit_test(test_no_memory_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
