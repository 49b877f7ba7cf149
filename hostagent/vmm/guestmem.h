/* guestmem.h - reads and writes the pages of a QEMU process.
 *
 * Why: most of a pause is spent on copying the dirty pages out of the stopped guest. A block that
 * is a shared file (memory-backend-memfd, -file with share=on, hugetlbfs) is mapped into the agent
 * and read by memcpy. Any other block is read by process_vm_readv in batches.
 *
 * Where: epoch engine (read), standby (write of ROM blocks at promotion). Threads: after open,
 * reads and writes can run in several threads at once (they do not change struct guestmem).
 */
#ifndef VMM_GUESTMEM_H
#define VMM_GUESTMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

struct guestmem;

/* Open the memory of process @pid; the table @blocks is copied. Returns 0 (the caller closes
 * *ret_mem); -ESRCH; -EPERM; -ENOMEM; or -EINVAL if a block is not mapped in @pid. On error
 * *ret_error has the text. A shared file that cannot be opened is not an error: its block is read
 * by process_vm_readv. */
int guestmem_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
		  struct guestmem **ret_mem, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Unmap the blocks and free @m. Accepts NULL, returns NULL. */
struct guestmem *guestmem_close(struct guestmem *m);

/* Returns whether block @index is read through a mapping (true) or by process_vm_readv (false). */
bool guestmem_is_mapped(const struct guestmem *m, uint32_t index);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages (VMM_PAGE_BYTES for
 * each page). A range must not cross blocks. Does not allocate. Returns 0; -EINVAL if a range is
 * outside of the blocks; -ESRCH if the process is gone; or -EFAULT if QEMU no longer has memory
 * mapped at a block's address. On error @ret_pages is undefined. */
int guestmem_read(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		  uint8_t *ret_pages) __attribute__((warn_unused_result));

/* Write @pages to the process. This is the reverse of guestmem_read(), with the same layout and the
 * same errors. */
int guestmem_write(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		   const uint8_t *pages) __attribute__((warn_unused_result));

#endif
