/* test_ramlist.c - tests that RAM blocks are found in another process, which has a list like
 * QEMU's. If the list is not as expected, no address must be found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/ramlist.h"

#define VRAM_HVA UINT64_C(0x7f0000200000)
#define RAM_HVA	 UINT64_C(0x7f0000000000)

/* The members of QEMU's RAMBlock that the code uses. */
struct block {
	uint64_t unused[3];
	uint64_t host;
	uint64_t also_unused[2];
	uint64_t used_bytes;
	uint8_t more[20];
	char name[256];
	uint8_t padding[4];
	struct block *next;
};
static_assert(offsetof(struct block, host) == 24 && offsetof(struct block, used_bytes) == 48 &&
	      offsetof(struct block, name) == 76 && offsetof(struct block, next) == 336,
	      "as in QEMU");

/* Without this, ASan would add red zones to the variable and change its size. */
#ifdef __clang__
#define AS_IT_IS __attribute__((no_sanitize("address")))
#else
#define AS_IT_IS
#endif

/* Exported, like QEMU's variable (see this program's link options in meson.build). */
extern uint64_t ram_list[13];
AS_IT_IS uint64_t ram_list[13];

static struct block vram = {.host = VRAM_HVA, .used_bytes = 16 << 20,
			    .name = "0000:00:02.0/vga.vram"};
static struct block ram = {.host = RAM_HVA, .used_bytes = 256 << 20, .name = "pc.ram",
			   .next = &vram};

/* Locate the blocks in a child process, whose memory is a copy of ours. */
static int locate(struct inspect_ramblock *blocks, uint32_t n)
{
	pid_t pid = fork();
	int r;

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	r = ramlist_locate(pid, blocks, n);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return r;
}

static void blocks_are_found_by_name_and_size(void **state)
{
	struct inspect_ramblock blocks[] = {
		{.name = "0000:00:02.0/vga.vram", .used_bytes = 16 << 20},
		{.name = "pc.ram", .used_bytes = 512 << 20}, /* the list has another size */
		{.name = "vga.vram", .used_bytes = 16 << 20},
		{.name = "pc.ram", .used_bytes = 256 << 20, .hva = 0x1000}, /* hva known already */
	};

	(void)state;
	ram_list[7] = (uint64_t)(uintptr_t)&ram;
	assert_int_equal(locate(blocks, 4), 0);
	assert_int_equal(blocks[0].hva, VRAM_HVA);
	assert_int_equal(blocks[1].hva, 0);
	assert_int_equal(blocks[2].hva, 0);
	assert_int_equal(blocks[3].hva, 0x1000);
}

static void a_list_that_does_not_end_is_an_error(void **state)
{
	struct inspect_ramblock block = {.name = "none"};

	(void)state;
	ram_list[7] = (uint64_t)(uintptr_t)&ram;
	vram.next = &ram;
	assert_int_equal(locate(&block, 1), -EPROTO);
	vram.next = NULL;
}

static void an_address_that_is_none_is_not_taken(void **state)
{
	struct inspect_ramblock block = {.name = "pc.ram", .used_bytes = 256 << 20};

	(void)state;
	ram_list[7] = 0;
	assert_int_equal(locate(&block, 1), 0);
	ram_list[7] = 8;
	assert_int_equal(locate(&block, 1), -EFAULT);
	ram_list[7] = (uint64_t)(uintptr_t)&ram;
	ram.host = RAM_HVA + 1;
	assert_int_equal(locate(&block, 1), 0);
	ram.host = RAM_HVA;
	memset(ram.name, 'x', sizeof(ram.name));
	assert_int_equal(locate(&block, 1), 0);
	assert_int_equal(block.hva, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_found_by_name_and_size),
		cmocka_unit_test(a_list_that_does_not_end_is_an_error),
		cmocka_unit_test(an_address_that_is_none_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
