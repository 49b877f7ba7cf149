/* page_range.h - types that describe guest memory, also for code that does not use vmm's functions.
 *
 * Why: the epoch engine, the codec and the standby all use global page indexes, such as "page
 * 4711". An index counts pages of 4096 bytes through all replicated blocks, in the order of the
 * block table.
 *
 *	blocks[0] pc.ram   first_page 0      n_pages 65536   (256 MiB; one block, also when the machine
 *	                                                       maps it below and above 4 GiB)
 *	blocks[1] pc.bios  first_page 65536  n_pages 64      (256 KiB)
 *	page 65540 = byte 4 * 4096 of pc.bios
 *
 * If the tables of two machines have the same blocks (order, name, size), the page indexes agree.
 * Threads: plain data.
 */
#ifndef VMM_PAGE_RANGE_H
#define VMM_PAGE_RANGE_H

#include <assert.h>
#include <stdint.h>

#define VMM_PAGE_BYTES	   4096u
#define VMM_BLOCKS_MAX	   16u
/* Maximum total size of all blocks except main memory. A promotion copies these blocks into QEMU
 * (at some 2 GB/s), while the guest waits. */
#define VMM_OTHER_BYTES_MAX (UINT64_C(256) << 20)
#define VMM_BLOCK_NAME_MAX 64u

/* A run of pages, by global page index. */
struct page_range {
	uint32_t first_page;
	uint32_t n_pages; /* at least 1 */
};
static_assert(sizeof(struct page_range) == 8, "arrays of it are sized by this");

enum vmm_block_kind {
	/* main memory: the standby's QEMU maps the file that has the copy of it */
	VMM_BLOCK_RAM = 1,
	/* any other memory: firmware, video RAM, a memory device. It is tracked and sent like main
	 * memory, but a promotion copies it into the standby's QEMU */
	VMM_BLOCK_OTHER = 2,
};

/* One replicated block of guest memory in a QEMU process. */
struct vmm_block {
	/* the block's name, normalised: main memory is called "pc.ram", whatever its backend's
	 * name */
	char name
		[VMM_BLOCK_NAME_MAX];
	enum vmm_block_kind kind;
	/* the block's address in the QEMU process. It differs from host to host and from run to
	 * run */
	uint64_t hva;
	uint64_t size_bytes; /* a multiple of VMM_PAGE_BYTES */
	uint32_t first_page; /* global index of the block's first page */
	uint32_t n_pages;    /* size_bytes / VMM_PAGE_BYTES */
};

#endif
