/* seal.h - end an epoch: stop the guest, take its dirty pages and device state, let it run on.
 *
 * Why: this is the guest's pause, so it holds only what must be in it. One command does it all
 * (vmm/gate.h):
 *
 *	          0 ms                                                              pause ends
 *	QEMU      │ stop ├── save ─┤held├ save ─┤  held in its last write  │ go on │
 *	agent     │ wait │ scan ─ copy dirty pages│ scan again ─ copy ─ * │ wait │ collect the state
 *
 * QEMU saves while we scan and copy, then sleeps in a write to our full pipe until we let it go.
 * The second scan finds what saving the device state or the tail of the stop wrote to guest RAM
 * (measured: nothing; it costs 0.1 ms and makes the copy provably whole). At * the caller's hook
 * runs, with the guest stopped and all the frames it sent in the hold's queue: this is where the
 * hold's epoch counter moves.
 *
 * Without a gate: send `stop`, then the save command; scan and copy while QEMU saves; scan again
 * after its answer; then *, and `cont`. A gate that has failed is given up; the engine tries to
 * make one again after a while (engine_retry_pipe()).
 *
 * If somebody else has paused the guest, it stays paused. The gate lets the guest go on only if it
 * ran before. Without a gate, `cont` is left out if our `stop` gave no STOP event. Then a pause
 * that somebody orders between our `stop` and our `cont` is lost, since QEMU tells nobody of it.
 * The gate has no such gap: QEMU obeys others only after it.
 *
 * Three kinds of seal:
 *
 *	PROTECT  as above; every page that was reported is protected again, so the guest's next write to
 *		 it is a fault
 *	AHEAD	 pages that are dirty already are scanned and copied while the guest still runs; the
 *		 pause copies only pages written since. A page copied twice is superseded: its early
 *		 copy is stale
 *	KEEP	 pages stay writable: no faults in the next epoch, but each seal copies all pages
 *		 written since the last PROTECT, even if they did not change again. Such a scan
 *		 cannot show what is written after it, so there is only one, after the device state
 *		 is saved. protect.h says when to use KEEP
 *
 * Where: the epoch engine and the seal benchmark. Threads: one, together with the qmp client it was
 * given. Blocks for the pause; bounded by SEAL_TIMEOUT_NS for each answer of QEMU.
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

/* How the pause was spent. Each part is the time that this thread spent in it; together they are
 * the whole pause, apart from bookkeeping. */
struct seal_times {
	uint64_t paused_ns;  /* monotonic time at which the first command was sent */
	uint64_t resumed_ns; /* monotonic time at which the last one was answered */
	uint64_t stop_ns;
	uint64_t scan_ns; /* both scans */
	uint64_t copy_ns;
	uint64_t device_ns; /* waiting for the device state after the copy was done */
	uint64_t cont_ns;
	uint64_t precopy_ns; /* before the pause: scanning and copying ahead */
};

/* Copied pages, one after another in the order of @ranges. */
struct seal_pages {
	const struct page_range *ranges;
	uint32_t n_ranges;
	uint32_t n_pages;
	const uint8_t *pages; /* n_pages * VMM_PAGE_BYTES */
};

/* What one seal took; all pointers are borrowed until the next call on the same struct seal. */
struct seal_result {
	struct seal_pages precopied;	   /* copied while the guest ran; see superseded */
	const uint64_t *superseded; /* a bit per page: copied again; valid if any was precopied */
	struct seal_pages stopped;	   /* copied in the pause; a later copy counts */
	uint32_t n_dirty_pages; /* stopped + precopied - superseded; KEEP: maybe too high */
	const uint8_t *device;
	size_t device_size;
	struct seal_times times;
};

/* The hook runs with the guest stopped and its state taken, last before the guest is let run.
 * @times has paused_ns and stop_ns. Must be quick and cannot fail. */
typedef void (*seal_hook_fn)(void *arg, const struct seal_times *times);

/* All pointers are borrowed until seal_free(). @n_pages: over all blocks; address space for copies
 * of all pages is reserved, memory is used only for pages that are copied. 0; -ENOMEM. */
int seal_new(struct qmp *qmp, struct track *track, struct guestmem *mem, struct devstate *device,
	     uint32_t n_pages, struct seal **ret) __attribute__((warn_unused_result));

/* Set how long each answer of QEMU may take, for tests; the default is SEAL_TIMEOUT_NS. */
void seal_set_timeout(struct seal *seal, uint64_t timeout_ns);

/* Accepts NULL; returns NULL. The guest is not touched. */
struct seal *seal_free(struct seal *seal);

/* Do one whole seal. If the guest ran before, it runs again when this returns, also on error as
 * long as QEMU still answers. A `stop` that QEMU answers late is followed by `cont`, which also
 * ends an operator's pause that came before that `stop` was carried out. On error the tracker's
 * marks may be lost, so only a full copy is right then; @hook may have run nevertheless. 0;
 * -ECANCELED: QEMU let the guest run before its state was known to be whole; -ETIMEDOUT,
 * -ECONNRESET,
 * -EREMOTEIO, ...: as qmp_wait() (qmp_error() has the text); errors of track_scan(),
 * guestmem_read(), devstate_finish(), gate.h. */
int seal_run(struct seal *seal, enum seal_kind kind, seal_hook_fn hook, void *arg,
	     struct seal_result *ret_result) __attribute__((warn_unused_result));

/* Arm the monitor for the next seal again, after it was used for something else between two seals.
 * This only saves time: a seal that finds the monitor not armed arms it in its pause. */
void seal_arm(struct seal *seal);

/* Scan and copy without stopping the guest (rounds of a full copy). Each page is copied as it was
 * at some time during the call; the next scan reports pages that were written meanwhile. Calls
 * @each for batches of at most SEAL_BATCH_PAGES pages; a negative return of @each ends the call
 * with that value. *ret_n_pages: pages copied. Errors as seal_run(). */
#define SEAL_BATCH_PAGES 1024u /* enough for several threads to encode */
typedef int (*seal_batch_fn)(void *arg, const struct page_range *ranges, uint32_t n_ranges,
			     uint32_t n_pages, const uint8_t *pages);
int seal_copy_running(struct seal *seal, seal_batch_fn each, void *arg, uint32_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
