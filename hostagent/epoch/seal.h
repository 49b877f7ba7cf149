/* seal.h - ends an epoch: stops the guest, takes its dirty pages and device state, resumes it.
 *
 * Why: the guest is paused during a seal, so the pause contains only what cannot be done before or
 * after it. QEMU does its part on one command, through a gate: a full pipe to which QEMU writes
 * (vmm/gate.h):
 *
 *	          0 ms                                                              pause ends
 *	QEMU      │ stop ├── save ─┤held├ save ─┤  held in its last write  │ go on │
 *	agent     │ wait │ scan ─ copy dirty pages│ scan again ─ copy ─ * │ wait │ collect the state
 *
 * QEMU saves its state while we scan and copy. Then QEMU sleeps in a write to our full pipe until
 * we make room there. The second scan takes 0.1 ms. It finds pages of guest RAM that QEMU wrote
 * while it finished the stop or saved the device state. At * the caller's hook runs and advances
 * the hold's epoch counter. At that point the guest is stopped, and all frames that it sent are in
 * the hold's queue.
 *
 * Without a gate: send `stop`, then the save command; scan and copy while QEMU saves; scan again
 * after its answer; then *, and `cont`. After a failure of the gate, seals do without it; the
 * engine tries to make a new gate after a while (engine_retry_pipe()).
 *
 * If somebody else has paused the guest, it stays paused. The gate resumes the guest only if the
 * guest ran before. Without a gate, `cont` is left out if our `stop` caused no STOP event. But if
 * somebody asks QEMU for a pause between our `stop` and our `cont`, QEMU does not report it, and
 * our `cont` ends that pause. The gate has no such gap: QEMU obeys no other command before the
 * gate's command has ended.
 *
 * Three kinds of seal:
 *
 *      PROTECT  as above; every page that the scan reported is write-protected again, so the next
 *		 write to it causes a fault
 *      AHEAD    pages that are already dirty are scanned and copied while the guest still runs; the
 *               pause copies only pages written after that. A page copied twice is superseded: its
 *		 early copy is not used
 *	KEEP	 pages stay writable, so they cause no faults in the next epoch. But each seal
 *		 copies all pages written since the last PROTECT, even if they have not changed
 *		 again. A second scan could not tell which pages were written after the first, so
 *		 KEEP makes only one scan, after the device state is saved. protect.h says when to
 *		 use KEEP
 *
 * Where: used by the epoch engine and the seal benchmark. Threads: one, which also uses the qmp
 * client passed to seal_new(). Blocks for the pause, at most SEAL_TIMEOUT_NS for each answer of
 * QEMU.
 */
#ifndef EPOCH_SEAL_H
#define EPOCH_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "vmm/devstate.h"
#include "vmm/guestmem.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"
#include "vmm/track.h"

#define SEAL_TIMEOUT_NS (10 * CLOCK_NS_PER_S)

struct seal;

enum seal_kind { SEAL_PROTECT, SEAL_AHEAD, SEAL_KEEP };

/* How the pause was spent. Each member is the time that this thread spent on one part. Together
 * they make up the pause, apart from bookkeeping. */
struct seal_times {
	uint64_t paused_ns;  /* monotonic time at which the first command was sent */
	uint64_t resumed_ns; /* monotonic time at which the last command was answered */
	uint64_t stop_ns;
	uint64_t scan_ns; /* time of both scans */
	uint64_t copy_ns;
	uint64_t device_ns; /* time of waiting for the device state after the copy was done */
	uint64_t cont_ns;
	uint64_t precopy_ns; /* time of scanning and copying before the pause */
};

/* Copied pages, one after another in the order of @ranges. */
struct seal_pages {
	const struct page_range *ranges;
	uint32_t n_ranges;
	uint32_t n_pages;
	const uint8_t *pages; /* n_pages * VMM_PAGE_BYTES */
};

/* The result of one seal; all pointers are borrowed until the next call on the same struct seal. */
struct seal_result {
	struct seal_pages precopied;       /* copied while the guest ran; superseded says which do
					    * not count */
	const uint64_t *superseded; /* a bit per page: copied again in the pause; valid if any page
				     * was precopied */
	struct seal_pages stopped;	   /* copied in the pause; if a page is there twice, the
					    * later copy counts */
	uint32_t n_dirty_pages; /* pages in stopped and precopied, without superseded ones; can be
				 * too high after KEEP */
	const uint8_t *device;
	size_t device_size;
	struct seal_times times;
};

/* A hook, called last before the guest resumes. The guest is stopped, and its state has been taken.
 * In @times only paused_ns and stop_ns are set. The hook must be quick and cannot fail. */
typedef void (*seal_hook_fn)(void *arg, const struct seal_times *times);

/* Make a seal object; all pointers are borrowed until seal_free(). @n_pages: total of all RAM
 * blocks. Address space for copies of all pages is reserved, but memory is used only for pages that
 * are copied. Returns 0 or -ENOMEM. */
int seal_new(struct qmp *qmp, struct track *track, struct guestmem *mem, struct devstate *device,
	     uint32_t n_pages, struct seal **ret) __attribute__((warn_unused_result));

/* Set how long each answer of QEMU may take, for tests; the default is SEAL_TIMEOUT_NS. */
void seal_set_timeout(struct seal *seal, uint64_t timeout_ns);

/* Scan only when no disk request of the guest is in flight. Call this right after seal_new() for a
 * guest with a disk that QEMU opens with O_DIRECT (cache=none). When a read of such a disk begins,
 * the kernel pins the read's pages. Later the kernel fills these pages without marking them
 * written. A page that is scanned in between would be copied with its old content and never be
 * reported again.
 *
 * After this call, seal_scan_running() stops the guest during the scan, since `stop` ends only
 * after all requests. A seal scans once, after QEMU has saved its state, and AHEAD is made as
 * PROTECT. */
void seal_drain_first(struct seal *seal);

/* Free @seal without touching the guest. Accepts NULL; returns NULL. */
struct seal *seal_free(struct seal *seal);

/* Do one whole seal. If the guest ran before, it runs again when this function returns, even after
 * an error. (QEMU must still answer.) If QEMU answers `stop` too late, `cont` is sent. This `cont`
 * also ends an operator's pause that began before QEMU carried out our `stop`. On error the
 * tracker's marks can be lost, so only a full copy may follow; perhaps @hook was called. Returns 0;
 * -ECANCELED if QEMU let the guest run before its state was known to be whole; -ETIMEDOUT,
 * -ECONNRESET, -EREMOTEIO, ... as from qmp_wait() (qmp_error() has the text); errors of
 * track_scan(), guestmem_read(), devstate_finish(), gate.h. */
int seal_run(struct seal *seal, enum seal_kind kind, seal_hook_fn hook, void *arg,
	     struct seal_result *ret_result) __attribute__((warn_unused_result));

/* Prepare (arm) the monitor for the next seal again, after it was used for something else. This
 * only saves time: if the monitor is not armed, the next pause begins with arming it. */
void seal_arm(struct seal *seal);

/* Scan all of the guest's memory, as the first half of a round of a full copy. The guest keeps
 * running, but see seal_drain_first(). Errors as seal_run(). */
int seal_scan_running(struct seal *seal) __attribute__((warn_unused_result));

/* Copy the pages that seal_scan_running() found, while the guest runs. Each page is copied as it
 * was at some time during the call; the next scan reports pages written after they were copied.
 * Calls @each for batches of at most SEAL_BATCH_PAGES pages; a negative return of @each ends the
 * call with that value. *ret_n_pages is the number of pages copied. Returns 0 or the errors of
 * guestmem_read(). */
#define SEAL_BATCH_PAGES 1024u /* enough for several threads to encode */
typedef int (*seal_batch_fn)(void *arg, const struct page_range *ranges, uint32_t n_ranges,
			     uint32_t n_pages, const uint8_t *pages);
int seal_copy_running(struct seal *seal, seal_batch_fn each, void *arg, uint32_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
