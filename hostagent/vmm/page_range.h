/* page_range.h - the types of guest memory that other rooms need without vmm's functions.
 *
 * Why: the epoch engine, the codec and the standby all speak of "page 4711". A page index is
 * global: the replicated blocks, concatenated in block-table order, 4096 bytes a page.
 *
 *	blocks[0] pc.ram   first_page 0      n_pages 65536   (256 MiB; one block, also when the machine
 *	                                                       maps it below and above 4 GiB)
 *	blocks[1] pc.bios  first_page 65536  n_pages 64      (256 KiB)
 *	page 65540 = byte 4 * 4096 of pc.bios
 *
 * Two machines agree on page indexes when their tables agree in order, name and size.
 * Threads: plain data.
 */
#ifndef VMM_PAGE_RANGE_H
#define VMM_PAGE_RANGE_H

#include <assert.h>
#include <stdint.h>

#define VMM_PAGE_BYTES	   4096u
#define VMM_BLOCKS_MAX	   8u
#define VMM_BLOCK_NAME_MAX 64u

/* A run of pages, by global page index. */
struct page_range {
	uint32_t first_page;
	uint32_t n_pages; /* at least 1 */
};
static_assert(sizeof(struct page_range) == 8, "arrays of it are sized by this");

enum vmm_block_kind {
	VMM_BLOCK_RAM = 1, /* the guest writes it: tracked, copied every epoch */
	VMM_BLOCK_ROM = 2, /* only firmware load writes it: tracked too, so it is sent once */
};

/* One replicated block of guest memory in a QEMU process. */
struct vmm_block {
	char name
		[VMM_BLOCK_NAME_MAX]; /* normalised: main memory is "pc.ram" whatever its backend */
	enum vmm_block_kind kind;
	uint64_t guest_addr; /* guest physical address of the block's first byte */
	uint64_t hva;	     /* its address in the QEMU process: differs between hosts and runs */
	uint64_t size_bytes; /* a multiple of VMM_PAGE_BYTES */
	uint32_t first_page; /* global index of its first page */
	uint32_t n_pages;    /* size_bytes / VMM_PAGE_BYTES */
};

#endif
