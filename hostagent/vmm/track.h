/* track.h - finds the pages that a process has written since the last scan.
 *
 * Why: this is the heart of an epoch. With userfaultfd in asynchronous write-protect mode the
 * kernel clears a page's protection at its first write without asking anyone. PAGEMAP_SCAN returns
 * these pages as ranges and protects them again, atomically per page. Nothing runs in QEMU.
 *
 * Where: the epoch engine. Calls inject.h at open.
 * Threads: one tracker, one thread at a time. track_scan() does not allocate.
 *
 *	write ──► page written ──► track_scan() reports it and protects it ──► next write reports again
 *	first scan after open: every page (all of it is "written" until first protected)
 *	TRACK_KEEP: the scan reports pages and does not protect them: each scan reports them again
 *
 * No write is lost. A write before a scan is reported by that scan; one during a scan, to a page
 * that the scan has already passed, by the next. So to copy a running guest, scan, then copy; the
 * next scan reports what was written during the copy. A copy is consistent only if the guest is
 * stopped.
 *
 * It does not see writes that bypass QEMU's page tables:
 *  - through another process's mapping of a shared file (vhost-user; vmm_inspect() refuses it);
 *  - by devices passed through (refused too);
 *  - by DMA to pages pinned before a scan (O_DIRECT reads in flight). QEMU drains these at `stop`,
 * so a scan    of a stopped guest is whole. A page scanned while such a read is in flight may be
 * copied with its old
 *    content and never reported again: see README.md.
 */
#ifndef VMM_TRACK_H
#define VMM_TRACK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/page_range.h"

struct track;

/* Try on a page of our own whether this kernel can track. 0; -ENOTSUP: the text names what is
 * missing; -EPERM: the agent lacks the right. */
int track_probe(struct error *ret_error) __attribute__((warn_unused_result));

/* Start to track the @n_blocks @blocks (copied) of @pid. Stops the process for well under a
 * millisecond. 0: the caller closes *ret_track; -EBUSY: its memory is already watched by a
 * userfaultfd (another agent, post-copy migration), or the process is traced; -ENOTSUP as
 * track_probe(); errors of inject_userfaultfd(). *ret_error has the text. */
int track_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
	       struct track **ret_track, struct error *ret_error)
	__attribute__((warn_unused_result));

enum track_scan_mode {
	TRACK_PROTECT, /* report written pages, and protect them again */
	TRACK_KEEP,    /* only report: each scan reports all written since the last TRACK_PROTECT */
};

/* Report written pages, in ascending order, neighbours joined within a block. Use one mode for a
 * whole pass from the first page to the last. At most @max_ranges (>= 1) are written to
 * @ret_ranges; *ret_n_ranges says how many.
 * 0: the pass is complete; the next call starts from the first page again.
 * 1: the array is full; the next call goes on where this one ended.
 * -ESRCH: the process is gone; other -errno: tracking is broken, close. */
int track_scan(struct track *t, enum track_scan_mode mode, struct page_range *ret_ranges,
	       uint32_t max_ranges, uint32_t *ret_n_ranges) __attribute__((warn_unused_result));

/* What the first write to a protected page costs the writer on this host, measured on our own
 * memory when the tracker was opened. Nanoseconds, >= 1. */
uint64_t track_fault_ns(const struct track *t);

/* Stop tracking: the kernel drops all protection, the process is untouched. Accepts NULL, returns
 * NULL. */
struct track *track_close(struct track *t);

#endif
