#include "epoch/seal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"

/* Pages kept resident in the copy buffer between epochs; what one large epoch took beyond goes back. */
#define COPY_KEEP_BYTES ((size_t)64 << 20)

struct seal {
	struct qmp *qmp;
	struct track *track;
	struct guestmem *mem;
	struct devstate *device;
	uint32_t n_pages;
	uint32_t max_ranges;
	size_t copy_bytes;	   /* size of the mapping below: room for every page twice */
	uint8_t *copy;
	size_t copy_used_bytes;	   /* by the last seal */
	struct page_range *ranges; /* room for every page alone, twice; backed as used */
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
	/* The second scan can at worst report every page again. */
	seal->max_ranges = 2 * n_pages;
	seal->copy_bytes = (size_t)n_pages * 2 * VMM_PAGE_BYTES;
	seal->copy = reserve(seal->copy_bytes);
	seal->ranges = reserve(seal->max_ranges * sizeof(*seal->ranges));
	if (!seal->copy || !seal->ranges) {
		seal_free(seal);
		return -ENOMEM;
	}
	*ret = seal;
	return 0;
}

struct seal *seal_free(struct seal *seal)
{
	if (!seal)
		return NULL;
	if (seal->copy)
		(void)munmap(seal->copy, seal->copy_bytes); /* our own mapping */
	if (seal->ranges)
		(void)munmap(seal->ranges, seal->max_ranges * sizeof(*seal->ranges)); /* as above */
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

/* One scan of everything, appended to the result, and the copy of what it reported. */
static int scan_and_copy(struct seal *seal, struct seal_result *result)
{
	struct page_range *ranges = seal->ranges + result->n_ranges;
	uint64_t start_ns = clock_mono_ns(), scanned_ns;
	uint32_t n_ranges = 0, n_pages;
	int r;

	do {
		uint32_t n;

		if (result->n_ranges + n_ranges >= seal->max_ranges)
			return -EOVERFLOW; /* cannot be: there is room for each page twice */
		r = track_scan(seal->track, ranges + n_ranges,
			       seal->max_ranges - result->n_ranges - n_ranges, &n);
		if (r < 0)
			return r;
		n_ranges += n;
	} while (r == 1);
	n_pages = count_pages(ranges, n_ranges);
	if ((size_t)(result->n_pages + n_pages) * VMM_PAGE_BYTES > seal->copy_bytes)
		return -EOVERFLOW; /* as above */
	scanned_ns = clock_mono_ns();
	result->times.scan_ns += scanned_ns - start_ns;
	r = guestmem_read(seal->mem, ranges, n_ranges,
			  seal->copy + (size_t)result->n_pages * VMM_PAGE_BYTES);
	if (r < 0)
		return r;
	result->times.copy_ns += clock_mono_ns() - scanned_ns;
	result->n_ranges += n_ranges;
	result->n_pages += n_pages;
	return 0;
}

/* The guest is stopped. QEMU reads the command and saves while we scan and copy. */
static int take_state(struct seal *seal, struct seal_result *result)
{
	uint64_t start_ns;
	int copied, r = devstate_start(seal->device, QMP_CONT);

	if (r < 0)
		return r;
	copied = scan_and_copy(seal, result);
	start_ns = clock_mono_ns();
	/* The answer must be taken also when the copy failed: `cont` comes after it. */
	r = devstate_finish(seal->device, SEAL_TIMEOUT_NS, &result->device, &result->device_size);
	result->times.device_ns = clock_mono_ns() - start_ns;
	if (copied < 0)
		return copied;
	if (r < 0)
		return r;
	return scan_and_copy(seal, result);
}

static int stop_guest(struct seal *seal, struct seal_times *times)
{
	int r;

	times->paused_ns = clock_mono_ns();
	/* One byte, when the last seal has armed it. */
	r = qmp_send_rendered(seal->qmp, QMP_STOP, NULL);
	if (r < 0)
		return r;
	r = qmp_wait(seal->qmp, SEAL_TIMEOUT_NS, NULL);
	times->stop_ns = clock_mono_ns() - times->paused_ns;
	return r;
}

static int continue_guest(struct seal *seal, struct seal_times *times)
{
	uint64_t start_ns = clock_mono_ns();
	int r;

	r = qmp_send_rendered(seal->qmp, QMP_CONT, QMP_STOP);
	if (r == 0)
		r = qmp_wait(seal->qmp, SEAL_TIMEOUT_NS, NULL);
	times->resumed_ns = clock_mono_ns();
	times->cont_ns = times->resumed_ns - start_ns;
	return r;
}

/* Give back what an unusually large epoch made resident. */
static void trim(struct seal *seal)
{
	if (seal->copy_used_bytes > COPY_KEEP_BYTES)
		(void)madvise(seal->copy + COPY_KEEP_BYTES, seal->copy_used_bytes - COPY_KEEP_BYTES,
			      MADV_DONTNEED); /* only saves memory */
	seal->copy_used_bytes = 0;
}

int seal_run(struct seal *seal, seal_hook_fn hook, void *context, struct seal_result *ret_result)
{
	struct seal_result result = {.ranges = seal->ranges, .pages = seal->copy};
	int taken, r;

	trim(seal);
	FAULT_POINT(FAULT_BEFORE_STOP);
	r = stop_guest(seal, &result.times);
	if (r < 0)
		return r;
	taken = take_state(seal, &result);
	FAULT_POINT(FAULT_WHILE_STOPPED);
	if (taken == 0)
		hook(context);
	r = continue_guest(seal, &result.times);
	seal->copy_used_bytes = (size_t)result.n_pages * VMM_PAGE_BYTES;
	if (taken < 0)
		return taken;
	if (r < 0)
		return r;
	*ret_result = result;
	return 0;
}

/* Copy the pages of @ranges in batches and hand each to @each. */
static int copy_batches(struct seal *seal, uint32_t n_ranges, seal_batch_fn each, void *context)
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
			r = guestmem_read(seal->mem, batch, n_batch, seal->copy);
			if (r == 0)
				r = each(context, batch, n_batch, n_pages, seal->copy);
			if (r < 0)
				return r;
			n_batch = 0;
			n_pages = 0;
		}
	}
	return 0;
}

int seal_copy_running(struct seal *seal, seal_batch_fn each, void *context, uint32_t *ret_n_pages)
{
	uint32_t n_ranges, n_pages = 0;
	int more, r;

	do {
		more = track_scan(seal->track, seal->ranges, seal->max_ranges, &n_ranges);
		if (more < 0)
			return more;
		n_pages += count_pages(seal->ranges, n_ranges);
		r = copy_batches(seal, n_ranges, each, context);
		if (r < 0)
			return r;
	} while (more == 1);
	*ret_n_pages = n_pages;
	return 0;
}
