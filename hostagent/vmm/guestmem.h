/* guestmem.h - read and write the pages of a QEMU process.
 *
 * Why: copying the dirty pages out of the stopped guest is most of a pause. A block that is a
 * shared file (memory-backend-memfd, -file with share=on, hugetlbfs) is mapped here and read by
 * memcpy; any other is read by process_vm_readv in batches.
 *
 * Where: epoch engine (read), standby (write of ROM blocks at promotion).
 * Threads: after open, reads and writes may run in several threads at once (no state changes).
 */
#ifndef VMM_GUESTMEM_H
#define VMM_GUESTMEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

struct guestmem;

/* Open the memory of process @pid; the table @blocks is copied. 0: the caller closes *ret_mem;
 * -ESRCH, -EPERM, -ENOMEM, -EINVAL (a block is not mapped in @pid); *ret_error has the text. A
 * shared file that cannot be opened is not an error: its block is read by process_vm_readv. */
int guestmem_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
		  struct guestmem **ret_mem, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Accepts NULL, returns NULL. */
struct guestmem *guestmem_close(struct guestmem *m);

/* Whether block @index is read through a mapping (true) or by process_vm_readv (false). */
bool guestmem_is_mapped(const struct guestmem *m, uint32_t index);

/* Copy the pages of @ranges, in their order and without gaps, to @ret_pages (VMM_PAGE_BYTES for
 * each page). A range may not cross blocks. Does not allocate. 0; -EINVAL: a range is outside of
 * the blocks; -ESRCH: the process is gone; -EFAULT: the memory is no longer mapped there. On error
 * @ret_pages is undefined. */
int guestmem_read(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		  uint8_t *ret_pages) __attribute__((warn_unused_result));

/* The reverse: write @pages, in the same layout, to the process. Errors as guestmem_read(). */
int guestmem_write(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		   const uint8_t *pages) __attribute__((warn_unused_result));

#endif
