/* seal.h - end an epoch: stop the guest, take its dirty pages and device state, let it run on.
 *
 * Why: this is the guest's pause, so it holds only what must be in it. One command does it all (vmm/gate.h):
 *
 *	          0 ms                                                              pause ends
 *	QEMU      │ stop ├── save ─┤held├ save ─┤  held in its last write  │ go on │
 *	agent     │ wait │ scan ─ copy dirty pages│ scan again ─ copy ─ * │ wait │ collect the state
 *
 * QEMU saves while we scan and copy, and sleeps in a write to our full pipe until we let it go. The second
 * scan finds what saving the device state or the tail of the stop wrote to guest RAM (measured: nothing; it
 * costs 0.1 ms and makes the copy provably whole). At * the caller's hook runs, with the guest stopped and
 * everything it sent in front of the hold: this is where the hold's epoch counter moves.
 *
 * Without a gate: `stop`, then the save while we scan and copy, the second scan after its answer, *, `cont`. A
 * gate that has failed is given up; the engine tries one again after a while (engine_retry_pipe()).
 *
 * A guest that somebody else has paused stays so: the gate lets run what ran; of the three commands `cont` is
 * left out when our `stop` gave no STOP event. A pause that begins between our `stop` and our `cont` is
 * lost, since QEMU tells nobody of it; the gate has no such gap, for QEMU obeys others after it.
 *
 * Three kinds of seal:
 *
 *	PROTECT  as above; every page that was reported is protected again, so the guest's next write to
 *		 it is a fault
 *	AHEAD	 what is dirty already is scanned and copied while the guest still runs; the pause then
 *		 holds only what was written since. A page of both is superseded: its early copy is stale
 *	KEEP	 pages stay writable: no faults in the next epoch, and each seal copies all that was written
 *		 since the last PROTECT, also what did not change again. As this scan cannot tell what was
 *		 written after it, there is one, after the device state is saved. See protect.h for when
 *
 * Where: the epoch engine and the seal benchmark. Threads: one, together with the qmp client it was
 * given. Blocks for the pause; bounded by SEAL_TIMEOUT_NS for each answer of QEMU.
 */
#ifndef EPOCH_SEAL_H
#define EPOCH_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/devstate.h"
#include "vmm/guestmem.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"
#include "vmm/track.h"

#define SEAL_TIMEOUT_NS UINT64_C(10000000000)

struct seal;

enum seal_kind { SEAL_PROTECT, SEAL_AHEAD, SEAL_KEEP };

/* Where the pause went. Each part is the time that this thread spent in it; they add up to pause_ns
 * but for bookkeeping. */
struct seal_times {
	uint64_t paused_ns;  /* monotonic time at which the first command was sent */
	uint64_t resumed_ns; /* monotonic time at which the last one was answered */
	uint64_t stop_ns;
	uint64_t scan_ns; /* both scans */
	uint64_t copy_ns;
	uint64_t device_ns; /* waiting for the device state after the copy was done */
	uint64_t cont_ns;
	uint64_t precopy_ns; /* before the pause: scan and copy ahead */
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
	struct seal_pages precopied;	   /* while the guest ran; without those that are superseded */
	const uint64_t *superseded;	   /* a bit per page: copied again; valid if any was precopied */
	struct seal_pages stopped;	   /* in the pause; a page of the second scan may repeat, later wins */
	uint32_t n_dirty_pages; /* stopped, and precopied without the superseded ones; KEEP: may be too many */
	const uint8_t *device;
	size_t device_size;
	struct seal_times times;
};

/* Runs with the guest stopped and its state taken, last thing before it is let run. @times has paused_ns and
 * stop_ns. Must be quick and cannot fail. */
typedef void (*seal_hook_fn)(void *context, const struct seal_times *times);

/* Everything given is borrowed until seal_free(). @n_pages: over all blocks; the copy buffer is
 * reserved for all of them and backed as far as it is used. 0; -ENOMEM. */
int seal_new(struct qmp *qmp, struct track *track, struct guestmem *mem, struct devstate *device,
	     uint32_t n_pages, struct seal **ret) __attribute__((warn_unused_result));

/* How long each answer of QEMU's may take, for tests; SEAL_TIMEOUT_NS at first. */
void seal_set_timeout(struct seal *seal, uint64_t timeout_ns);

/* Accepts NULL; returns NULL. The guest is not touched. */
struct seal *seal_free(struct seal *seal);

/* One whole seal. The guest runs again when this returns, if it ran before,
 * also on error as far as QEMU still answers; a `stop` that it answers late is followed by `cont`,
 * which also ends an operator's pause that came before that `stop` was carried out. On error the
 * tracker's marks may be lost: only a full copy is right then; @hook may have run all the same.
 * 0; -ECANCELED: QEMU let the guest run before its state was known to be whole; -ETIMEDOUT, -ECONNRESET,
 * -EREMOTEIO, ...: as qmp_wait() (qmp_error() has the text); errors of track_scan(), guestmem_read(),
 * devstate_finish(), gate.h. */
int seal_run(struct seal *seal, enum seal_kind kind, seal_hook_fn hook, void *context,
	     struct seal_result *ret_result) __attribute__((warn_unused_result));

/* Between two seals the monitor was used for something else: arm it for the next seal again. Only a matter of
 * time: a seal that finds it not armed arms it, in its pause. */
void seal_arm(struct seal *seal);

/* Scan and copy without stopping the guest (rounds of a full copy): the pages are each as they were at
 * some time during the call, and those written meanwhile are reported again by the next scan.
 * Calls @each for batches of at most SEAL_BATCH_PAGES pages; a negative return of @each ends the call
 * with that value. *ret_n_pages: pages copied. Errors as seal_run(). */
#define SEAL_BATCH_PAGES 1024u /* enough for several threads to encode */
typedef int (*seal_batch_fn)(void *context, const struct page_range *ranges, uint32_t n_ranges,
			     uint32_t n_pages, const uint8_t *pages);
int seal_copy_running(struct seal *seal, seal_batch_fn each, void *context, uint32_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
