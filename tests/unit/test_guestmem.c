/* test_guestmem.c - tests that guestmem_read_through() reads through the process's page table.
 * Where a shared file has no memory, it fails, while a read of our own mapping is a SIGBUS. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/guestmem.h"

#define N_PAGES 4u

static void test_no_memory_there(void **state)
{
	struct vmm_block block = {.name = "pc.ram", .kind = VMM_BLOCK_RAM, .n_pages = N_PAGES,
				  .size_bytes = (uint64_t)N_PAGES * VMM_PAGE_BYTES};
	struct page_range all = {0, N_PAGES}, half = {1, N_PAGES / 2};
	uint8_t pages[N_PAGES][VMM_PAGE_BYTES];
	int fd = memfd_create("guestmem", MFD_CLOEXEC);
	struct guestmem *mem;
	struct error error;
	uint8_t *at;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)block.size_bytes), 0);
	at = mmap(NULL, block.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(at != MAP_FAILED);
	memset(at, 0x5a, block.size_bytes);
	block.hva = (uint64_t)(uintptr_t)at;
	assert_int_equal(guestmem_open(getpid(), &block, 1, &mem, &error), 0);
	if (!guestmem_is_mapped(mem, 0)) /* needs rights that not every user has */
		skip();
	assert_int_equal(guestmem_read_through(mem, &half, 1, pages[0]), 0);
	assert_memory_equal(pages, at, (N_PAGES / 2) * VMM_PAGE_BYTES);
	/* as a hole of a hugetlb file for which there is no huge page */
	assert_int_equal(ftruncate(fd, VMM_PAGE_BYTES), 0);
	assert_int_equal(guestmem_read_through(mem, &all, 1, pages[0]), -EFAULT);
	guestmem_close(mem);
	munmap(at, block.size_bytes);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_memory_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
