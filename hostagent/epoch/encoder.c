#include "epoch/encoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "epoch/encoder_private.h"
#include "epoch/retain.h"
#include "wire/msg.h"

int encoder_new(uint32_t n_pages, uint32_t reference_pages, uint32_t n_threads,
		struct retain *retain, struct encoder **ret)
{
	struct encoder *e = calloc(1, sizeof(*e));
	struct reference_counts counts;
	int r;

	if (!e)
		return -ENOMEM;
	e->retain = retain;
	e->device = mmap(NULL, WIRE_BLOB_MAX, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (e->device == MAP_FAILED)
		e->device = NULL;
	r = e->device ? reference_new(n_pages, reference_pages, &e->reference) : -ENOMEM;
	if (r == 0)
		r = dup_new(n_pages, e->reference, &e->dup);
	if (r == 0) {
		reference_get_counts(e->reference, &counts);
		r = workers_start(n_threads, counts.n_slots, &e->n_threads, &e->workers);
	}
	if (r < 0) {
		encoder_free(e);
		return r;
	}
	e->sink = e->workers ? &encoder_units_sink : &encoder_frames_sink;
	*ret = e;
	return 0;
}

struct encoder *encoder_free(struct encoder *e)
{
	if (!e)
		return NULL;
	workers_free(e->workers); /* free the workers first: they write into the reference */
	dup_free(e->dup);
	reference_free(e->reference);
	if (e->device)
		(void)munmap(e->device, WIRE_BLOB_MAX); /* cannot fail: this is our own mapping */
	free(e);
	return NULL;
}

/* How many pages encoder_shed() gives back in one call, which takes about 6 ms. */
#define SHED_PAGES_ONCE 8192u
_Static_assert(ENCODER_SHED_PAGES / 2 >= (WORKERS_THREADS_MAX * 2 + 1) * UNIT_PAGES,
	       "half of what is left must hold the pages of all units in work");

bool encoder_shed(struct encoder *e)
{
	return reference_shed(e->reference, ENCODER_SHED_PAGES, SHED_PAGES_ONCE) == 0;
}

void encoder_shed_end(struct encoder *e)
{
	reference_grow(e->reference);
}

void encoder_continue(struct encoder *e, const uint8_t *device, size_t size)
{
	reference_forget_all(e->reference);
	memcpy(e->device, device, size);
	e->device_size = size;
}

const uint8_t *encoder_get_device(const struct encoder *e, size_t *ret_size)
{
	*ret_size = e->device_size;
	return e->device;
}

void encoder_set_features(struct encoder *e, uint64_t features)
{
	e->pages.features = e->pieces.features = features;
}

uint64_t encoder_features(const struct encoder *e)
{
	return e->pages.features;
}

_Static_assert(WIRE_FEATURE_XRLE == PAGE_FEATURE_XRLE &&
		       WIRE_FEATURE_BITMAP == PAGE_FEATURE_BITMAP &&
		       WIRE_FEATURE_DUP == PAGE_FEATURE_DUP,
	       "the codec's feature bits are the wire's");

bool encoder_can_resend(const struct encoder *e, uint64_t features)
{
	return retain_n_epochs(e->retain) == 0 || !(e->used_features & ~features);
}

void encoder_set_base(struct encoder *e, uint64_t seed, uint8_t *hash)
{
	e->base = hash;
	e->base_seed = seed;
}

void encoder_set_second_stage(struct encoder *e, bool is_on)
{
	e->packs = is_on;
}

int encoder_begin(struct encoder *e, uint64_t epoch, uint64_t previous, uint8_t flags)
{
	const bool is_full = flags & WIRE_FLAG_FULL;
	struct wire_epoch_begin begin = {.previous_epoch = previous};
	int r;

	encoder_abandon(e); /* drop units (batches of pages) that remain from an abandoned epoch */
	e->payload = NULL;
	e->device_next = 0;
	e->n_records = 0;
	e->payload_bytes = 0;
	if (retain_n_epochs(e->retain) == 0)
		e->used_features = 0;
	e->used_features |=
		e->pages.features | (flags & WIRE_FLAG_UNHELD ? WIRE_FEATURE_UNHELD : 0);
	r = retain_begin(e->retain, epoch, !is_full);
	if (r < 0)
		return r;
	dup_begin(e->dup, is_full, (e->pages.features & PAGE_FEATURE_DUP) && !e->base);
	if (e->base)
		e->used_features |= WIRE_FEATURE_BASE;
	if (is_full) {
		reference_reset(e->reference);
		memset(e->device, 0, e->device_size);
		e->device_size = 0;
	}
	r = encoder_need_frame(e, WIRE_EPOCH_BEGIN, 64);
	if (r < 0)
		return r;
	r = wire_epoch_begin_encode(&begin, &e->w);
	if (r < 0)
		return r;
	encoder_close_frame(e, flags);
	return 0;
}

void encoder_expect(struct encoder *e, const struct encoder_cursor *cursor)
{
	dup_expect(e->dup, cursor->ranges, cursor->n_ranges, cursor->skip);
}

void encoder_abandon(struct encoder *e)
{
	if (e->workers)
		workers_drop(e->workers);
	e->unit = NULL;
	e->n_submitted = 0;
	e->n_collected = 0;
}

int encoder_fd(const struct encoder *e)
{
	return e->workers ? workers_fd(e->workers) : -1;
}

/* Make sure that there is an unfinished DEVICE frame with room for a record. If this begins a new
 * frame, write its first bytes. */
static int need_device_frame(struct encoder *e, size_t blob_size)
{
	bool is_new;
	int r;

	is_new = !e->payload || e->frame_type != WIRE_DEVICE ||
		 (size_t)(e->w.end - e->w.at) < PAGE_RECORD_ROOM;
	r = encoder_need_frame(e, WIRE_DEVICE, PAGE_RECORD_ROOM);
	if (r < 0 || !is_new)
		return r;
	return wire_device_encode((uint32_t)blob_size, &e->w);
}

int encoder_device(struct encoder *e, const uint8_t *blob, size_t size)
{
	uint32_t n_pieces = (uint32_t)((size + PAGE_BYTES - 1) / PAGE_BYTES);
	uint8_t last[PAGE_BYTES];
	int r;

	if (size > WIRE_BLOB_MAX || size == 0)
		return -EFBIG;
	/* No frame has both pages and device state. There is at least one DEVICE frame, even if no
	 * piece has changed, because it tells the standby the blob's size. */
	for (; e->device_next < n_pieces; e->device_next++) {
		size_t offset = (size_t)e->device_next * PAGE_BYTES;
		const uint8_t *piece = blob + offset;

		if (size - offset < PAGE_BYTES) {
			memset(last, 0, sizeof(last));
			memcpy(last, piece, size - offset);
			piece = last;
		}
		r = need_device_frame(e, size);
		if (r < 0)
			return r;
		e->w.at += page_encode(&e->pieces, e->device_next, piece, e->device + offset,
				       e->w.at);
	}
	/* If a blob has shrunk, the bytes after its end count as zero, here and at the standby. */
	if (e->device_size > (size_t)n_pieces * PAGE_BYTES)
		memset(e->device + (size_t)n_pieces * PAGE_BYTES, 0,
		       e->device_size - (size_t)n_pieces * PAGE_BYTES);
	e->device_size = size;
	return 0;
}

int encoder_clock(struct encoder *e, const struct wire_clock *clock)
{
	int r;

	encoder_close_frame(e, 0);
	r = encoder_need_frame(e, WIRE_CLOCK, 64);
	if (r == 0)
		r = wire_clock_encode(clock, &e->w);
	if (r < 0)
		return r;
	encoder_close_frame(e, 0);
	e->used_features |= WIRE_FEATURE_CLOCK;
	return 0;
}

int encoder_end(struct encoder *e)
{
	struct wire_epoch_end end;
	int r;

	encoder_close_frame(e, 0);
	r = encoder_need_frame(e, WIRE_EPOCH_END, 64);
	if (r < 0)
		return r;
	end = (struct wire_epoch_end){
		.n_frames = retain_frames_in_epoch(e->retain),
		.n_records = (uint32_t)e->n_records,
		.payload_bytes = e->payload_bytes,
	};
	r = wire_epoch_end_encode(&end, &e->w);
	if (r < 0)
		return r;
	encoder_close_frame(e, 0);
	return 0;
}

void encoder_get_counts(const struct encoder *e, struct encoder_counts *ret_counts)
{
	const struct page_encoder *pages = &e->pages;

	*ret_counts = (struct encoder_counts){
		.n_unchanged = pages->n_unchanged + e->n_still_zero,
		.n_zero = pages->n_records[PAGE_ZERO] + e->n_whole_zero,
		.n_xrle = pages->n_records[PAGE_XRLE],
		.n_bitmap = pages->n_records[PAGE_BITMAP],
		.n_raw = pages->n_records[PAGE_RAW] + e->n_whole_raw,
		.n_dup = dup_count(e->dup),
		.n_kept = e->n_kept,
		.n_epoch_pages = e->n_records,
		.epoch_bytes = e->payload_bytes +
			       (uint64_t)retain_frames_in_epoch(e->retain) * WIRE_HEADER_SIZE,
		.packing = e->packing,
		.n_disk_records = e->n_disk_records,
		.disk_bytes = e->disk_bytes,
		.n_threads = e->n_threads,
	};
	reference_get_counts(e->reference, &ret_counts->reference);
}
