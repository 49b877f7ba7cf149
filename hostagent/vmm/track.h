/* track.h - finds the pages that a process has written since the last scan.
 *
 * Why: each epoch consists of the pages written since the previous epoch. We use userfaultfd in
 * asynchronous write-protect mode. At the first write to a page, the kernel itself removes the
 * page's protection; no fault handler is needed. PAGEMAP_SCAN returns the unprotected pages as
 * ranges and protects them again, atomically for each page. No code of ours runs in QEMU.
 *
 * Where: the epoch engine. Calls inject.h at open.
 * Threads: one tracker, one thread at a time. track_scan() does not allocate.
 *
 *	write ──► page is "written" ──► track_scan() reports and protects it ──► next write ...
 *	first scan after track_open(): every page, since a page is "written" until first protected
 *	scan with TRACK_KEEP: protects no pages, so the next scan reports the same pages again
 *
 * No write is missed. If a page is written during a scan, this scan or the next one reports it. To
 * copy a running guest, scan first and copy afterwards. The next scan reports the pages written
 * during the copy. Only a copy of a stopped guest is consistent.
 *
 * The tracker does not see writes that bypass QEMU's page tables. These are writes:
 *  - by another process that maps the same shared file (vhost-user; vmm_inspect() refuses it);
 *  - by passed-through devices (vmm_inspect() refuses these too);
 *  - by DMA to pages pinned before a scan (O_DIRECT reads in flight). QEMU completes these reads at
 *    `stop`, so a scan of a stopped guest misses nothing. In a running guest, a page with such a
 *    read in flight can be copied with its old content, and never reported again. See README.md.
 */
#ifndef VMM_TRACK_H
#define VMM_TRACK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

struct track;

/* Test on a page of our own whether this kernel can track.
 * Returns 0;
 * -ENOTSUP: it cannot; *ret_error names what is missing;
 * -EPERM: the agent lacks the right. */
int track_probe(struct error *ret_error) __attribute__((warn_unused_result));

/* Start to track the @n_blocks @blocks (copied) of @pid. Stops the process for well under a
 * millisecond.
 * Returns 0, and the caller closes *ret_track;
 * -EBUSY: another userfaultfd (of another agent, or post-copy migration) watches the process's
 *   memory, or the process is traced;
 * -ENOTSUP: see track_probe();
 * or an error of inject_userfaultfd().
 * On error *ret_error has the text. */
int track_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
	       struct track **ret_track, struct error *ret_error)
	__attribute__((warn_unused_result));

enum track_scan_mode {
	TRACK_PROTECT, /* report written pages, and protect them again */
	/* only report: each scan reports all pages written since the last TRACK_PROTECT */
	TRACK_KEEP,
};

/* Report the written pages as ranges in ascending order. Neighbouring pages of one block form one
 * range. Writes at most @max_ranges (>= 1) ranges to @ret_ranges, and their number to
 * *ret_n_ranges. A pass goes from the first page to the last, in one or more calls. Use the same
 * mode for all calls of a pass.
 * Returns 0: the pass is complete; the next call starts a new pass;
 * 1: the array is full; the next call continues the pass;
 * -ESRCH: the process is gone; call track_close();
 * another -errno: tracking is broken; call track_close(). */
int track_scan(struct track *t, enum track_scan_mode mode, struct page_range *ret_ranges,
	       uint32_t max_ranges, uint32_t *ret_n_ranges) __attribute__((warn_unused_result));

/* Returns how long the first write to a protected page takes on this host, in ns (>= 1).
 * track_open() has measured this on our own memory. */
uint64_t track_fault_ns(const struct track *t);

/* Hand the tracking on to the agent's next program (epoch/handed.h). Frees @t and returns its
 * userfaultfd, which the caller now owns. The kernel goes on tracking. */
int track_hand_on(struct track *t);

/* Continue with the userfaultfd @uffd of track_hand_on(). Every page that was written since the
 * last TRACK_PROTECT is still marked as written. @fault_ns: from track_fault_ns(). On success the
 * tracker owns @uffd; on error the caller still does.
 * Returns 0;
 * -ENOMEM;
 * or an error of opening the process's files. */
int track_resume(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks, int uffd,
		 uint64_t fault_ns, struct track **ret_track, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Stop tracking. The kernel drops all write protection; the process is not disturbed. Accepts NULL,
 * returns NULL. */
struct track *track_close(struct track *t);

#endif
