/* seal.h - ends an epoch: stops the guest, takes its dirty pages and device state, resumes it.
 *
 * The guest is paused during a seal. So everything that can be done before or after the pause is
 * done then. The drawing shows a pause with a gate, a full pipe to which QEMU writes (vmm/gate.h).
 * One command makes QEMU do its part:
 *
 *	          0 ms                                                              pause ends
 *	QEMU      │ stop ├── save ─┤held├ save ─┤  held in its last write  │ go on │
 *      agent     │ wait │ scan ─ copy dirty pages│ scan again ─ copy ─ * │ wait │ collect the state
 *
 * QEMU saves its state while the agent scans and copies. Then QEMU sleeps in a write to the full
 * pipe until the agent reads from the pipe. The second scan takes 0.1 ms. It finds guest pages that
 * QEMU wrote while it completed the stop or saved the device state. At the "*" the caller's hook
 * runs, which assigns all later frames of the guest to the next epoch. At that point the guest is
 * stopped, and all frames that it has sent are in the hold's queue.
 *
 * If the gate fails, seals use separate commands until the engine has made a new gate
 * (engine_retry_pipe()). The steps are then: `stop`, the save command, scan and copy, QEMU's
 * answer, second scan, hook, `cont`.
 *
 * If somebody else has paused the guest, it stays paused. With a gate, QEMU resumes the guest only
 * if the guest ran before, and obeys no other command meanwhile. Without a gate, we do not send
 * `cont` if our `stop` caused no STOP event. There is one gap: if somebody pauses the guest between
 * our `stop` and our `cont`, QEMU does not report this, and our `cont` ends that pause.
 *
 * Three kinds of seal:
 *
 *      PROTECT  As above. Every page that the scan reported is write-protected again, so the next
 *               write to it causes a fault.
 *      AHEAD    Pages that are already dirty are scanned and copied before the pause. The pause
 *               copies only pages written after that. If a page was copied both times, its early
 *               copy is superseded: it is not used.
 *      KEEP     Pages stay writable, so they cause no faults in the next epoch. But each seal
 *               copies all pages written since the last PROTECT, even if they have not changed
 *               again. KEEP makes only one scan, after the device state is saved, because a second
 *               scan could not tell which pages were written after the first. See protect.h.
 *
 * Where: used by the epoch engine and the seal benchmark. Threads: one, which also uses the qmp
 * client passed to seal_new(). Blocks during the pause, but for at most SEAL_TIMEOUT_NS for each
 * answer of QEMU.
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

/* How the pause was spent. Apart from paused_ns, resumed_ns and precopy_ns, each member is the time
 * of one part of this thread's work in the pause. Their sum is the pause, apart from
 * bookkeeping. */
struct seal_times {
	uint64_t paused_ns;  /* monotonic time at which the first command was sent */
	uint64_t resumed_ns; /* monotonic time at which the last command was answered */
	uint64_t stop_ns;
	uint64_t scan_ns; /* all scans in the pause */
	uint64_t copy_ns;
	uint64_t device_ns; /* waiting for the device state after the copy was done */
	uint64_t cont_ns;
	uint64_t precopy_ns; /* scanning and copying before the pause */
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
	/* pages copied while the guest ran; those marked in `superseded` do not count */
	struct seal_pages precopied;
	/* bit i: page i of the guest was copied again in the pause; valid if any page was
	 * precopied */
	const uint64_t *superseded;
	/* pages copied in the pause; if a page is there twice, the later copy counts */
	struct seal_pages stopped;
	/* number of pages in precopied and stopped, superseded ones not counted. Too high if a page
	 * is in `stopped` twice, or (KEEP) was copied although it had not changed */
	uint32_t n_dirty_pages;
	const uint8_t *device;
	size_t device_size;
	struct seal_times times;
};

/* A hook that seal_run() calls as the last step before the guest resumes. The guest is stopped, and
 * its state has been taken. In @times only paused_ns and stop_ns are valid. The hook must be quick
 * and cannot fail. */
typedef void (*seal_hook_fn)(void *arg, const struct seal_times *times);

/* Make a seal object. It borrows all pointers until seal_free(). @n_pages: number of pages of all
 * RAM blocks together. Reserves address space for copies of all pages, but only pages that are
 * copied use memory. Returns 0 or -ENOMEM. */
int seal_new(struct qmp *qmp, struct track *track, struct guestmem *mem, struct devstate *device,
	     uint32_t n_pages, struct seal **ret) __attribute__((warn_unused_result));

/* Set how long each answer of QEMU may take, for tests; the default is SEAL_TIMEOUT_NS. */
void seal_set_timeout(struct seal *seal, uint64_t timeout_ns);

/* Scan only when no disk request of the guest is in flight. Call this right after seal_new() if
 * QEMU opens one of the guest's disks with O_DIRECT (cache=none).
 *
 * Why: when a read of such a disk begins, the kernel pins the guest pages that it will fill. Later
 * the kernel fills these pages without marking them as written. If a page were scanned in between,
 * its old content would be copied, and no scan would report its new content.
 *
 * After this call, seal_scan_running() stops the guest during the scan, because QEMU's `stop` waits
 * for all requests. Seals scan only after QEMU has saved its state. They omit the earlier scans:
 * the one before the pause (so AHEAD is made like PROTECT), and the one while QEMU saves its
 * state. */
void seal_drain_first(struct seal *seal);

/* Free @seal. The guest is not touched. Accepts NULL; returns NULL. */
struct seal *seal_free(struct seal *seal);

/* Do one whole seal. @arg is passed to @hook. If the guest ran before the call, it runs again after
 * the call, even after an error, provided that QEMU answers. (If QEMU answers `stop` too late,
 * `cont` is sent after it. This `cont` also ends an operator's pause that began before QEMU carried
 * out our `stop`.)
 * Returns 0. After an error, @hook may or may not have been called, and only a full copy can
 * follow, because the tracker's marks can be lost. Errors:
 *      -ECANCELED  QEMU let the guest run before its state was known to be whole
 *      -ETIMEDOUT, -ECONNRESET, -EREMOTEIO, ... of qmp_wait() (qmp_error() has the text)
 *      errors of track_scan(), guestmem_read(), devstate_finish(), gate.h */
int seal_run(struct seal *seal, enum seal_kind kind, seal_hook_fn hook, void *arg,
	     struct seal_result *ret_result) __attribute__((warn_unused_result));

/* Arm the monitor for the next seal, that is, send the next command in advance. Call this after the
 * monitor was used for something else. This only saves time: if the monitor is not armed, the next
 * pause begins with the whole command. */
void seal_arm(struct seal *seal);

/* Scan all of the guest's memory. This is the first half of a round of a full copy. The guest keeps
 * running, unless seal_drain_first() was called. Returns 0 or an error, as seal_run(). */
int seal_scan_running(struct seal *seal) __attribute__((warn_unused_result));

/* Copy the pages that seal_scan_running() found, while the guest runs. If the guest writes a page
 * after it was copied, the next scan reports the page. Calls @each, with @arg, for batches of at
 * most SEAL_BATCH_PAGES pages. *ret_n_pages is the number of all pages found. Returns 0; an error
 * of guestmem_read_once(); or the first negative result of @each, after which nothing more is
 * copied. */
#define SEAL_BATCH_PAGES 1024u /* enough for several threads to encode */
typedef int (*seal_batch_fn)(void *arg, const struct page_range *ranges, uint32_t n_ranges,
			     uint32_t n_pages, const uint8_t *pages);
int seal_copy_running(struct seal *seal, seal_batch_fn each, void *arg, uint32_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
