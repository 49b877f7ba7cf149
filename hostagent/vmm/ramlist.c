#include "vmm/ramlist.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "vmm/symbol.h"

#define LIST_BYTES    104u
#define FIRST_OFFSET  56u
#define HOST_OFFSET   24u
#define USED_OFFSET   48u
#define NAME_OFFSET   76u
#define NAME_BYTES    256u
#define NEXT_OFFSET   336u
#define BLOCK_BYTES   (NEXT_OFFSET + 8u)
#define LIST_LENGTH   256u /* a longer list counts as endless */

static int read_memory(pid_t pid, uint64_t address, void *to, size_t size)
{
	struct iovec local = {to, size}, remote = {(void *)(uintptr_t)address, size};
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}

static uint64_t word_at(const uint8_t *bytes, size_t offset)
{
	uint64_t word;

	memcpy(&word, bytes + offset, sizeof(word));
	return word;
}

/* If the RAMBlock @of_qemu, a copy of QEMU's struct, is one of @blocks, set the address of that
 * block. */
static void take_address(const uint8_t *of_qemu, struct inspect_ramblock *blocks, uint32_t n_blocks)
{
	const char *name = (const char *)of_qemu + NAME_OFFSET;
	uint64_t hva = word_at(of_qemu, HOST_OFFSET);

	if (hva == 0 || hva % VMM_PAGE_BYTES != 0 || !memchr(name, '\0', NAME_BYTES))
		return;
	for (uint32_t i = 0; i < n_blocks; i++)
		if (blocks[i].hva == 0 && strcmp(blocks[i].name, name) == 0 &&
		    blocks[i].used_bytes == word_at(of_qemu, USED_OFFSET))
			blocks[i].hva = hva;
}

int ramlist_locate(pid_t pid, struct inspect_ramblock *blocks, uint32_t n_blocks)
{
	uint8_t block[BLOCK_BYTES];
	uint64_t list = 0, at = 0;
	int r = symbol_find(pid, "ram_list", LIST_BYTES, &list);

	if (r == 0)
		r = read_memory(pid, list + FIRST_OFFSET, &at, sizeof(at));
	for (uint32_t i = 0; r == 0 && at != 0; i++) {
		if (i == LIST_LENGTH)
			return -EPROTO;
		r = read_memory(pid, at, block, sizeof(block));
		if (r == 0) {
			take_address(block, blocks, n_blocks);
			at = word_at(block, NEXT_OFFSET);
		}
	}
	return r;
}
