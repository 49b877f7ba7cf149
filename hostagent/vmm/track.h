/* track.h - which pages a process has written since the last look.
 *
 * Why: the heart of an epoch. userfaultfd in asynchronous write-protect mode lets the kernel clear a
 * page's protection at its first write without asking anyone; PAGEMAP_SCAN reads the cleared ones as
 * ranges and protects them again, atomically per page. Nothing runs in QEMU.
 *
 * Where: the epoch engine. Calls inject.h at open.
 * Threads: one tracker, one thread at a time. track_scan() does not allocate.
 *
 *	write ──► page written ──► track_scan() reports it and protects it ──► next write reports again
 *	first scan after open: every page (all of it is "written" until first protected)
 *	TRACK_KEEP: the scan reports and leaves the page as it is: it stays written until a scan protects it
 *
 * No write is lost: a write before a scan is reported by that scan (or by the next, if it hits a page
 * that this scan has passed). So to copy a running guest: scan, then copy; what was written during
 * the copy is reported by the next scan. A copy is consistent only if the guest is stopped.
 *
 * Not seen: writes that do not go through QEMU's page tables - another process's mapping of a shared
 * file (vhost-user; vmm_inspect() refuses them), DMA to pages pinned before a scan (O_DIRECT reads in
 * flight; QEMU drains these at `stop`, so a scan of a stopped guest is whole, but a page scanned while
 * such a read is in flight can be copied old and not be reported again: see README.md), and devices
 * passed through (refused too).
 */
#ifndef VMM_TRACK_H
#define VMM_TRACK_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/page_range.h"

struct track;

/* Try, on a page of our own, whether this kernel can track. 0; -ENOTSUP: the text names what is
 * missing; -EPERM: the agent may not. */
int track_probe(struct vmm_error *ret_error) __attribute__((warn_unused_result));

/* Start to track @n_blocks of @pid (copied). Stops the process for well under a millisecond.
 * 0, *ret_track to be closed by the caller; -EBUSY: its memory is already watched by a userfaultfd
 * (another agent, post-copy migration), or the process is traced; -ENOTSUP as track_probe(); errors
 * of inject_userfaultfd(). *ret_error has the text. */
int track_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
	       struct track **ret_track, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

enum track_scan_mode {
	TRACK_PROTECT, /* report what was written, and protect it again */
	TRACK_KEEP,    /* report it only: what was written since the last TRACK_PROTECT is reported each time */
};

/* Report written pages, in ascending order, neighbours joined within a block. One mode from the first
 * page to the last.
 * At most @max_ranges (>= 1) are written to @ret_ranges; *ret_n_ranges says how many.
 * 0: everything was looked at; the next call starts from the first page again.
 * 1: the array is full; call again, it goes on where this one ended.
 * -ESRCH: the process is gone; other -errno: tracking is broken, close. */
int track_scan(struct track *t, enum track_scan_mode mode, struct page_range *ret_ranges,
	       uint32_t max_ranges, uint32_t *ret_n_ranges) __attribute__((warn_unused_result));

/* What the first write to a protected page costs the writer here, measured on memory of our own when
 * the tracker was opened. Nanoseconds, >= 1. */
uint64_t track_fault_ns(const struct track *t);

/* Stop tracking: the kernel drops all protection, the process is untouched. Accepts NULL, returns NULL. */
struct track *track_close(struct track *t);

#endif
