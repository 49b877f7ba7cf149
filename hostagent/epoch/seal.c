#include "epoch/seal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "epoch/copier.h"

/* At least this much of the copy buffer is kept resident. */
#define COPY_READY_MIN_BYTES ((size_t)8 << 20)
#define READY_STEP_BYTES     ((size_t)2 << 20) /* the size of a huge page */
#define SCANS_MAX	     3u

struct seal {
	struct qmp *qmp;
	struct track *track;
	struct guestmem *mem;
	struct devstate *device;
	struct copier *copier;
	struct gate *gate; /* the gate at which to let QEMU continue to save during the current
			    * copy; NULL: none */
	bool is_stopped;   /* we stopped the guest */
	bool was_paused;   /* the guest was already stopped when we sent `stop` */
	bool drains;	   /* scan only when no disk request is in flight; see seal_drain_first() */
	uint64_t timeout_ns; /* longest wait for one answer of QEMU */
	uint32_t n_pages;
	uint32_t max_ranges;
	size_t copy_bytes;	   /* size of the mapping `copy`, which has room for every page in
				    * each scan */
	uint8_t *copy;
	size_t copy_used_bytes;	   /* how many bytes of `copy` the last seal used */
	size_t copy_ready_bytes;   /* this many bytes at the start of `copy` are resident */
	/* has room for a range per page in each scan; memory is used only as needed */
	struct page_range *ranges;
	uint32_t used_ranges;	   /* how many of the ranges the last seal used */
	uint64_t *superseded;	   /* a bit per page; see struct seal_result */
};

static void *reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int seal_new(struct qmp *qmp, struct track *track, struct guestmem *mem, struct devstate *device,
	     uint32_t n_pages, struct seal **ret)
{
	struct seal *seal = calloc(1, sizeof(*seal));

	if (!seal)
		return -ENOMEM;
	seal->qmp = qmp;
	seal->track = track;
	seal->mem = mem;
	seal->device = device;
	seal->n_pages = n_pages;
	seal->timeout_ns = SEAL_TIMEOUT_NS;
	/* At worst, each scan (before the pause, in the pause, after the device state) reports
	 * every page as a range of its own. */
	seal->max_ranges = SCANS_MAX * n_pages;
	seal->copy_bytes = (size_t)n_pages * SCANS_MAX * VMM_PAGE_BYTES;
	seal->copy = reserve(seal->copy_bytes);
	seal->ranges = reserve(seal->max_ranges * sizeof(*seal->ranges));
	seal->superseded = calloc((n_pages + 63) / 64, sizeof(*seal->superseded));
	if (!seal->copy || !seal->ranges || !seal->superseded ||
	    copier_new(mem, n_pages, &seal->copier) < 0) {
		seal_free(seal);
		return -ENOMEM;
	}
	/* Ask for huge pages. With small pages, the first use of each page of the buffer would
	 * cause a fault in a pause. */
	(void)madvise(seal->copy, seal->copy_bytes, MADV_HUGEPAGE); /* only a hint */
	*ret = seal;
	return 0;
}

void seal_set_timeout(struct seal *seal, uint64_t timeout_ns)
{
	seal->timeout_ns = timeout_ns;
}

void seal_drain_first(struct seal *seal)
{
	seal->drains = true;
}

struct seal *seal_free(struct seal *seal)
{
	if (!seal)
		return NULL;
	if (seal->copy)
		(void)munmap(seal->copy, seal->copy_bytes); /* cannot fail: our mapping */
	if (seal->ranges)
		/* cannot fail: our mapping */
		(void)munmap(seal->ranges, seal->max_ranges * sizeof(*seal->ranges));
	copier_free(seal->copier);
	free(seal->superseded);
	free(seal);
	return NULL;
}

static uint32_t count_pages(const struct page_range *ranges, uint32_t n_ranges)
{
	uint32_t n_pages = 0;

	for (uint32_t i = 0; i < n_ranges; i++)
		n_pages += ranges[i].n_pages;
	return n_pages;
}

/* Called before each step of a copy in the pause: let QEMU continue to save. Returns 1 when QEMU
 * has saved everything, because the guest's core is free then. Without a gate, returns 1 at once,
 * because QEMU has most likely saved everything before the helper is awake. */
static int look_at_gate(void *arg)
{
	struct seal *seal = arg;

	return seal->gate ? gate_advance(seal->gate) : 1;
}

/* Make one scan, append its ranges to @pages, and copy the pages. */
static int scan_and_copy(struct seal *seal, enum track_scan_mode mode, struct seal_pages *pages,
			 struct seal_times *times)
{
	struct page_range *ranges = seal->ranges + seal->used_ranges;
	uint64_t start_ns = clock_mono_ns(), scanned_ns;
	uint32_t n_ranges = 0, n_pages;
	int r;

	do {
		uint32_t n;

		if (seal->used_ranges + n_ranges >= seal->max_ranges)
			return -EOVERFLOW; /* cannot happen: each scan has room for all pages */
		r = track_scan(seal->track, mode, ranges + n_ranges,
			       seal->max_ranges - seal->used_ranges - n_ranges, &n);
		if (r < 0)
			return r;
		n_ranges += n;
	} while (r == 1);
	n_pages = count_pages(ranges, n_ranges);
	if (seal->copy_used_bytes + (size_t)n_pages * VMM_PAGE_BYTES > seal->copy_bytes)
		return -EOVERFLOW; /* cannot happen: the buffer has room for all pages in each
				    * scan */
	scanned_ns = clock_mono_ns();
	times->scan_ns += scanned_ns - start_ns;
	r = copier_run(seal->copier, ranges, n_ranges, seal->is_stopped ? look_at_gate : NULL, seal,
		       seal->copy + seal->copy_used_bytes);
	if (r < 0)
		return r;
	times->copy_ns += clock_mono_ns() - scanned_ns;
	seal->used_ranges += n_ranges;
	seal->copy_used_bytes += (size_t)n_pages * VMM_PAGE_BYTES;
	pages->n_ranges += n_ranges;
	pages->n_pages += n_pages;
	return 0;
}

/* Return an empty list, which begins after the used part of the buffers. */
static struct seal_pages begin_pages(const struct seal *seal)
{
	return (struct seal_pages){.ranges = seal->ranges + seal->used_ranges,
				   .pages = seal->copy + seal->copy_used_bytes};
}

static bool is_superseded(const struct seal *seal, uint32_t page)
{
	return seal->superseded[page / 64] >> page % 64 & 1;
}

/* Mark the pages of @late, which were copied while the guest was stopped, in seal->superseded.
 * Return how many pages of @early are not marked. */
static uint32_t supersede(struct seal *seal, const struct seal_pages *early,
			  const struct seal_pages *late)
{
	uint32_t n_kept = 0;

	memset(seal->superseded, 0, (seal->n_pages + 63) / 64 * sizeof(*seal->superseded));
	for (uint32_t i = 0; i < late->n_ranges; i++) {
		for (uint32_t k = 0; k < late->ranges[i].n_pages; k++) {
			uint32_t page = late->ranges[i].first_page + k;

			seal->superseded[page / 64] |= UINT64_C(1) << page % 64;
		}
	}
	for (uint32_t i = 0; i < early->n_ranges; i++) {
		for (uint32_t k = 0; k < early->ranges[i].n_pages; k++)
			n_kept += !is_superseded(seal, early->ranges[i].first_page + k);
	}
	return n_kept;
}

static enum track_scan_mode scan_mode(enum seal_kind kind)
{
	return kind == SEAL_KEEP ? TRACK_KEEP : TRACK_PROTECT;
}

/* Should the pause begin with a scan, before QEMU has saved its state? */
static bool scans_early(const struct seal *seal, enum seal_kind kind)
{
	return kind != SEAL_KEEP && !seal->drains;
}

/* Take the state of the stopped guest. QEMU reads the save command and saves its devices while we
 * scan and copy. */
static int take_state(struct seal *seal, enum seal_kind kind, struct seal_result *result)
{
	uint64_t start_ns;
	int copied = 0, r = devstate_start(seal->device, seal->was_paused ? NULL : QMP_CONT);

	if (r < 0)
		return r;
	if (scans_early(seal, kind))
		copied = scan_and_copy(seal, scan_mode(kind), &result->stopped, &result->times);
	start_ns = clock_mono_ns();
	/* Wait for the answer even if the copy failed, because the answer to `cont` comes after
	 * it. */
	r = devstate_finish(seal->device, seal->timeout_ns, &result->device, &result->device_size);
	result->times.device_ns = clock_mono_ns() - start_ns;
	if (copied < 0)
		return copied;
	if (r < 0)
		return r;
	return scan_and_copy(seal, scan_mode(kind), &result->stopped, &result->times);
}

/* Called when QEMU did not answer `stop` in time, but can still carry it out. Send `cont`, so that
 * the guest resumes after that. */
static void undo_late_stop(struct seal *seal)
{
	if (qmp_send_rendered(seal->qmp, QMP_CONT, NULL) == 0)
		/* do not wait for the answer, which is not needed */
		(void)!qmp_wait(seal->qmp, 0, NULL);
}

static int stop_guest(struct seal *seal, struct seal_times *times)
{
	int came, r = qmp_pump(seal->qmp); /* handle earlier events, so that they are not taken for
					    * those of our `stop` */

	if (r < 0)
		return r;
	times->paused_ns = clock_mono_ns();
	/* If the last seal armed the monitor, this sends only one byte. */
	r = qmp_send_rendered(seal->qmp, QMP_STOP, NULL);
	if (r < 0)
		return r;
	came = qmp_wait_event(seal->qmp, "STOP", seal->timeout_ns);
	r = qmp_wait(seal->qmp, came < 0 ? 0 : seal->timeout_ns, NULL);
	seal->was_paused = came == 1;
	times->stop_ns = clock_mono_ns() - times->paused_ns;
	if (r == -ETIMEDOUT)
		undo_late_stop(seal);
	return r;
}

static int continue_guest(struct seal *seal, struct seal_times *times)
{
	uint64_t start_ns = clock_mono_ns();
	int r;

	if (seal->was_paused) {
		times->resumed_ns = start_ns;
		return 0;
	}
	/* Only one command can be armed (sent in advance). With a gate, the gate arms its own
	 * command, so do not arm QMP_STOP then. */
	r = qmp_send_rendered(seal->qmp, QMP_CONT, devstate_gate(seal->device) ? NULL : QMP_STOP);
	if (r == 0)
		r = qmp_wait(seal->qmp, seal->timeout_ns, NULL);
	times->resumed_ns = clock_mono_ns();
	times->cont_ns = times->resumed_ns - start_ns;
	return r;
}

/* Prepare the copy buffer before the pause, because page faults in a pause are expensive. Make a
 * bit more of the buffer resident than the last seal used. Give memory back that only an unusually
 * large epoch needed. */
static void make_ready(struct seal *seal)
{
	size_t want = seal->copy_used_bytes + seal->copy_used_bytes / 8 + COPY_READY_MIN_BYTES;

	want = (want + READY_STEP_BYTES - 1) & ~(READY_STEP_BYTES - 1);
	if (want > seal->copy_bytes)
		want = seal->copy_bytes;
	/* Errors are ignored: both calls only save time or memory. */
	if (want > seal->copy_ready_bytes)
		(void)madvise(seal->copy + seal->copy_ready_bytes, want - seal->copy_ready_bytes,
			      MADV_POPULATE_WRITE);
	else if (want < seal->copy_ready_bytes / 2)
		(void)madvise(seal->copy + want, seal->copy_bytes - want, MADV_DONTNEED);
	else
		want = seal->copy_ready_bytes;
	seal->copy_ready_bytes = want;
	seal->copy_used_bytes = 0;
	seal->used_ranges = 0;
}

/* Carry out the whole pause with three commands (stop, save, cont), which works with every QEMU. */
static int pause_by_commands(struct seal *seal, enum seal_kind kind, seal_hook_fn hook,
			     void *arg, struct seal_result *result)
{
	int taken, r = stop_guest(seal, &result->times);

	if (r < 0)
		return r;
	taken = take_state(seal, kind, result);
	FAULT_POINT(FAULT_WHILE_STOPPED);
	if (taken == 0)
		hook(arg, &result->times);
	r = continue_guest(seal, &result->times);
	return taken < 0 ? taken : r;
}

/* End a pause. QEMU sleeps in what looks like the last write of its device state. Copy the pages
 * written since the last scan, then let QEMU continue. If that write was not the last one, do both
 * again. */
static int end_at_gate(struct seal *seal, enum seal_kind kind, struct gate *gate, seal_hook_fn hook,
		       void *arg, struct seal_result *result)
{
	struct seal_times *times = &result->times;
	bool is_hooked = false;
	uint64_t start_ns;
	int r;

	do {
		r = scan_and_copy(seal, scan_mode(kind), &result->stopped, times);
		if (r < 0)
			return r;
		if (!is_hooked) {
			FAULT_POINT(FAULT_WHILE_STOPPED);
			hook(arg, times);
			is_hooked = true;
		}
		start_ns = clock_mono_ns();
		r = gate_finish(gate, seal->timeout_ns, &result->device, &result->device_size);
		times->resumed_ns = clock_mono_ns();
		times->cont_ns += times->resumed_ns - start_ns;
	} while (r == 1);
	return r;
}

/* Carry out the whole pause with one command; see gate.h. */
static int pause_by_gate(struct seal *seal, enum seal_kind kind, struct gate *gate,
			 seal_hook_fn hook, void *arg, struct seal_result *result)
{
	struct seal_times *times = &result->times;
	uint64_t start_ns = clock_mono_ns();
	int r;

	times->paused_ns = start_ns;
	r = gate_stop(gate, seal->timeout_ns);
	times->stop_ns = clock_mono_ns() - start_ns;
	if (r == 0 && scans_early(seal, kind)) {
		seal->gate = gate;
		r = scan_and_copy(seal, scan_mode(kind), &result->stopped, times);
		seal->gate = NULL;
	}
	start_ns = clock_mono_ns();
	if (r == 0)
		r = gate_wait_end(gate, seal->timeout_ns);
	times->device_ns = clock_mono_ns() - start_ns;
	if (r == 0)
		r = end_at_gate(seal, kind, gate, hook, arg, result);
	if (r < 0) {
		gate_abandon(gate, seal->timeout_ns);
		log_warn("seal through a pipe failed, by three commands for a while: %s",
			 strerror(-r));
		devstate_drop_gate(seal->device);
		return r;
	}
	/* The guest runs again, so send the next command in advance. If this fails, the next seal
	 * reports the failure. */
	(void)!gate_arm(gate);
	return 0;
}

void seal_arm(struct seal *seal)
{
	struct gate *gate = devstate_gate(seal->device);

	(void)!(gate ? gate_arm(gate) : qmp_arm(seal->qmp, QMP_STOP));
}

int seal_run(struct seal *seal, enum seal_kind kind, seal_hook_fn hook, void *arg,
	     struct seal_result *ret_result)
{
	struct gate *gate = devstate_gate(seal->device);
	struct seal_result result = {.superseded = seal->superseded};
	struct seal_times running = {0};
	int r;

	if (kind == SEAL_AHEAD && seal->drains)
		kind = SEAL_PROTECT;
	make_ready(seal);
	result.precopied = begin_pages(seal);
	if (kind == SEAL_AHEAD) {
		r = scan_and_copy(seal, TRACK_PROTECT, &result.precopied, &running);
		if (r < 0)
			return r;
		result.times.precopy_ns = running.scan_ns + running.copy_ns;
	}
	result.stopped = begin_pages(seal);
	FAULT_POINT(FAULT_BEFORE_STOP);
	seal->is_stopped = true;
	if (gate)
		r = pause_by_gate(seal, kind, gate, hook, arg, &result);
	else
		r = pause_by_commands(seal, kind, hook, arg, &result);
	seal->is_stopped = false;
	if (r < 0)
		return r;
	result.n_dirty_pages = result.stopped.n_pages;
	if (kind == SEAL_AHEAD)
		result.n_dirty_pages += supersede(seal, &result.precopied, &result.stopped);
	*ret_result = result;
	return 0;
}

/* Copy the pages of the first @n_ranges ranges in batches, and pass each batch to @each. */
static int copy_batches(struct seal *seal, uint32_t n_ranges, seal_batch_fn each, void *arg)
{
	struct page_range batch[SEAL_BATCH_PAGES];
	uint32_t n_batch = 0, n_pages = 0;
	int r;

	for (uint32_t i = 0; i < n_ranges; i++) {
		struct page_range left = seal->ranges[i];

		while (left.n_pages > 0) {
			uint32_t n = SEAL_BATCH_PAGES - n_pages;

			n = left.n_pages < n ? left.n_pages : n;
			batch[n_batch++] = (struct page_range){left.first_page, n};
			n_pages += n;
			left.first_page += n;
			left.n_pages -= n;
			if (n_pages < SEAL_BATCH_PAGES && !(i + 1 == n_ranges && left.n_pages == 0))
				continue;
			r = guestmem_read_once(seal->mem, batch, n_batch, seal->copy);
			if (r == 0)
				r = each(arg, batch, n_batch, n_pages, seal->copy);
			if (r < 0)
				return r;
			n_batch = 0;
			n_pages = 0;
		}
	}
	return 0;
}

static int scan_all(struct seal *seal)
{
	int r = track_scan(seal->track, TRACK_PROTECT, seal->ranges, seal->max_ranges,
			   &seal->used_ranges);

	return r == 1 ? -EOVERFLOW : r; /* cannot happen: there is room for all pages */
}

int seal_scan_running(struct seal *seal)
{
	struct seal_times times = {0};
	int scanned, r;

	if (!seal->drains)
		return scan_all(seal);
	r = stop_guest(seal, &times);
	if (r < 0)
		return r;
	scanned = scan_all(seal);
	r = continue_guest(seal, &times);
	return scanned < 0 ? scanned : r;
}

int seal_copy_running(struct seal *seal, seal_batch_fn each, void *arg, uint32_t *ret_n_pages)
{
	*ret_n_pages = count_pages(seal->ranges, seal->used_ranges);
	return copy_batches(seal, seal->used_ranges, each, arg);
}
