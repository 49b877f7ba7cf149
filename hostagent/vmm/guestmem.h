/* guestmem.h - reads and writes the pages of a QEMU process.
 *
 * Why: a pause is spent mostly on copying the dirty pages out of the stopped guest. If a block is a
 * shared file, the agent maps it and reads it by memcpy. Such blocks are memory-backend-memfd,
 * -file with share=on, and hugetlbfs. Any other block is read by process_vm_readv in batches.
 *
 * Where: epoch engine (read), standby (write of ROM blocks at promotion). Threads: after open,
 * several threads can read and write at once, because this does not change struct guestmem.
 */
#ifndef VMM_GUESTMEM_H
#define VMM_GUESTMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

struct guestmem;

/* Open the memory of process @pid. The table @blocks is copied. If a shared file cannot be opened,
 * its block is read by process_vm_readv.
 * Returns 0, and the caller closes *ret_mem;
 * -EINVAL: a block is not mapped in @pid;
 * -ESRCH; -EPERM; -ENOMEM.
 * On error *ret_error has the text. */
int guestmem_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
		  struct guestmem **ret_mem, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Unmap the blocks and free @m. Accepts NULL, returns NULL. */
struct guestmem *guestmem_close(struct guestmem *m);

/* Returns whether block @index is read through a mapping (true) or by process_vm_readv (false). */
bool guestmem_is_mapped(const struct guestmem *m, uint32_t index);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages (VMM_PAGE_BYTES for
 * each page). A range must not cross blocks. Does not allocate.
 * Returns 0;
 * -EINVAL: a range is outside of the blocks;
 * -ESRCH: the process is gone;
 * -EFAULT: QEMU no longer has memory mapped at a block's address.
 * On error @ret_pages is undefined. */
int guestmem_read(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		  uint8_t *ret_pages) __attribute__((warn_unused_result));

/* Does what guestmem_read() does, for pages that are read only once, for example all of RAM in a
 * first copy. Reads the file of a mapped block by pread(), not through the mapping: touching each
 * page of a mapping costs a fault, and would fill a hole of the file. */
int guestmem_read_once(const struct guestmem *m, const struct page_range *ranges,
		       uint32_t n_ranges, uint8_t *ret_pages) __attribute__((warn_unused_result));

/* Does what guestmem_read() does, but always through QEMU's page table, never through our mapping.
 * Use this for pages that the guest may have given back (balloon, free page reporting). The file
 * has a hole at such a page. Reading the hole through our mapping would fill it without QEMU's page
 * table, and no scan would report that. If there is no memory to fill the hole, which is common
 * with huge pages, this process would get SIGBUS. If the hole is read through QEMU's page table,
 * the next scan reports the page, and a lack of memory gives -EFAULT. */
int guestmem_read_through(const struct guestmem *m, const struct page_range *ranges,
			  uint32_t n_ranges, uint8_t *ret_pages)
	__attribute__((warn_unused_result));

/* Write @pages to the process: the reverse of guestmem_read(), with the same layout and errors. */
int guestmem_write(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		   const uint8_t *pages) __attribute__((warn_unused_result));

#endif
