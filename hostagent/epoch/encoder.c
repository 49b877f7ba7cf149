#include "epoch/encoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "codec/encode.h"
#include "codec/zero.h"
#include "epoch/dup.h"
#include "epoch/packer.h"
#include "epoch/reference.h"
#include "epoch/unit.h"
#include "epoch/workers.h"
#include "wire/msg.h"

struct encoder {
	struct page_encoder pages;  /* figures of guest pages */
	struct page_encoder pieces; /* figures of device state */
	struct reference *reference;
	struct dup *dup;
	uint8_t *device; /* the last blob, zeros after its end; WIRE_BLOB_MAX bytes reserved */
	size_t device_size;
	uint32_t device_next; /* next piece; != 0: encoder_device() was interrupted */
	struct retain *retain;
	uint8_t *payload;      /* of the frame being filled; NULL: none */
	struct bytes_writer w; /* into payload */
	uint8_t frame_type;    /* its type */
	uint64_t n_records;    /* page records in the epoch */
	uint64_t n_still_zero; /* pages that were zero and still are */
	uint64_t n_whole_zero, n_whole_raw; /* pages whose version at the standby is not known */
	uint64_t payload_bytes; /* in the epoch's finished frames */

	uint64_t used_features; /* WIRE_FEATURE_*: retained epochs may use these */

	/* second stage */
	bool packs;
	struct packer_counts packing;
	struct packer packer;

	/* several threads */
	struct workers *workers; /* NULL: there is only one thread */
	uint32_t n_threads;
	struct unit *unit;    /* being filled; NULL: none */
	uint32_t n_submitted; /* units of the run */
	uint32_t n_collected; /* frames of the oldest finished unit that are in retain already */
};

/* A run wakes other threads once it has submitted this many units. With fewer, waking a thread and
 * waiting for it at the end takes longer than finding the deltas. */
#define WAKE_UNITS 4u

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
	*ret = e;
	return 0;
}

struct encoder *encoder_free(struct encoder *e)
{
	if (!e)
		return NULL;
	workers_free(e->workers); /* first: they write into the reference */
	dup_free(e->dup);
	reference_free(e->reference);
	if (e->device)
		(void)munmap(e->device, WIRE_BLOB_MAX); /* our own mapping */
	free(e);
	return NULL;
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
		       WIRE_FEATURE_BITMAP == PAGE_FEATURE_BITMAP && WIRE_FEATURE_DUP == PAGE_FEATURE_DUP,
	       "the codec's feature bits are the wire's");

bool encoder_can_resend(const struct encoder *e, uint64_t features)
{
	return retain_n_epochs(e->retain) == 0 || !(e->used_features & ~features);
}

void encoder_set_second_stage(struct encoder *e, bool is_on)
{
	e->packs = is_on;
}

/* Add the payload, which was written to the room of retain_reserve(), as the next frame. Before the
 * second stage it had @plain_size bytes. */
static void add_frame(struct encoder *e, uint8_t type, uint8_t flags, size_t size,
		      size_t plain_size)
{
	if (size < plain_size) {
		flags |= WIRE_FLAG_LZ4;
		e->used_features |= WIRE_FEATURE_LZ4;
	}
	retain_add(e->retain, type, flags, size);
	e->payload_bytes += size;
}

/* Finish the frame being filled. A frame without content (all pages unchanged) is not sent. */
static void close_frame(struct encoder *e, uint8_t flags)
{
	uint8_t *payload = e->payload;
	size_t size = payload ? (size_t)(e->w.at - payload) : 0, plain_size = size;

	e->payload = NULL;
	if (size == 0)
		return;
	if (e->frame_type == WIRE_PAGES || e->frame_type == WIRE_DEVICE)
		size = packer_pack(&e->packer, e->packs, payload, size, &e->packing);
	add_frame(e, e->frame_type, flags, size, plain_size);
}

/* Open a frame of @type, unless one with room for @room more bytes is open. 0; -ENOBUFS, -ENOMEM:
 * no frame is open. */
static int need_frame(struct encoder *e, uint8_t type, size_t room)
{
	int r;

	if (e->payload && (e->frame_type != type || (size_t)(e->w.end - e->w.at) < room))
		close_frame(e, 0);
	if (e->payload)
		return 0;
	r = retain_reserve(e->retain, &e->payload);
	if (r < 0) {
		e->payload = NULL;
		return r;
	}
	e->frame_type = type;
	e->w = (struct bytes_writer){.at = e->payload, .end = e->payload + WIRE_PAYLOAD_MAX};
	return 0;
}

int encoder_begin(struct encoder *e, uint64_t epoch, uint64_t previous, uint8_t flags)
{
	const bool is_full = flags & WIRE_FLAG_FULL;
	struct wire_epoch_begin begin = {.previous_epoch = previous};
	int r;

	encoder_abandon(e); /* drop the rest of an epoch that was given up */
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
	dup_begin(e->dup, is_full, e->pages.features & PAGE_FEATURE_DUP);
	if (is_full) {
		reference_reset(e->reference);
		memset(e->device, 0, e->device_size);
		e->device_size = 0;
	}
	r = need_frame(e, WIRE_EPOCH_BEGIN, 64);
	if (r < 0)
		return r;
	r = wire_epoch_begin_encode(&begin, &e->w);
	if (r < 0)
		return r;
	close_frame(e, flags);
	return 0;
}

void encoder_expect(struct encoder *e, const struct encoder_cursor *cursor)
{
	dup_expect(e->dup, cursor->ranges, cursor->n_ranges, cursor->skip);
}

/* Pages of one batch that have a reference, waiting to be encoded together. */
struct batch {
	struct page_item items[ENCODER_BATCH];
	size_t n_items;
};

static void append(struct encoder *e, size_t size, uint64_t n_records)
{
	e->w.at += size;
	e->n_records += n_records;
}

static int flush_batch(struct encoder *e, struct batch *batch)
{
	size_t n_done = 0;

	while (n_done < batch->n_items) {
		uint64_t n_unchanged = e->pages.n_unchanged;
		size_t n, size;
		int r = need_frame(e, WIRE_PAGES, PAGE_RECORD_ROOM);

		if (r < 0)
			return r;
		n = page_encode_batch(&e->pages, batch->items + n_done, batch->n_items - n_done,
				      e->w.at, (size_t)(e->w.end - e->w.at), &size);
		append(e, size, n - (e->pages.n_unchanged - n_unchanged));
		n_done += n;
	}
	return 0;
}

/* Encode a page whose version at the standby is not known: write its whole content as a record at
 * @out (PAGE_RECORD_ROOM bytes). Returns the record's size. */
static size_t encode_whole(struct encoder *e, uint32_t index, const uint8_t *page,
			   uint8_t *reference, uint8_t *out)
{
	bool is_zero;
	size_t size;

	memcpy(reference, page, PAGE_BYTES); /* send this copy: the guest may write to @page */
	is_zero = zero_is_page(reference);
	size = is_zero ? 0 : PAGE_BYTES;
	out[0] = is_zero ? PAGE_ZERO : PAGE_RAW;
	out[1] = 0;
	bytes_put_be16(out + 2, (uint16_t)size);
	bytes_put_be32(out + 4, index);
	memcpy(out + PAGE_RECORD_HEADER_BYTES, reference, size);
	e->n_whole_zero += is_zero;
	e->n_whole_raw += !is_zero;
	return PAGE_RECORD_HEADER_BYTES + size;
}

static uint32_t page_at(const struct encoder_cursor *cursor)
{
	return cursor->ranges[cursor->range].first_page + cursor->offset;
}

static bool is_at_end(const struct encoder_cursor *cursor)
{
	return cursor->range == cursor->n_ranges;
}

static void advance(struct encoder_cursor *cursor)
{
	cursor->pages += PAGE_BYTES;
	if (++cursor->offset == cursor->ranges[cursor->range].n_pages) {
		cursor->offset = 0;
		cursor->range++;
	}
}

/* How far to prefetch; not across ranges, where finding the page is not worth it. */
#define AHEAD_PAGES 3u

static void prefetch_ahead(const struct encoder *e, const struct encoder_cursor *cursor)
{
	if (cursor->offset + AHEAD_PAGES < cursor->ranges[cursor->range].n_pages)
		dup_prefetch(e->dup, page_at(cursor) + AHEAD_PAGES,
			     cursor->pages + AHEAD_PAGES * PAGE_BYTES);
}

/* Does the page at @cursor need no record? */
static bool is_left_out(struct encoder *e, const struct encoder_cursor *cursor)
{
	uint32_t index = page_at(cursor);

	if (cursor->skip && cursor->skip[index / 64] >> index % 64 & 1)
		return true;
	if (!reference_is_zero(e->reference, index) || !zero_is_page(cursor->pages))
		return false;
	e->n_still_zero++;
	return true;
}

/* Write the record of a page that needs no delta at @out (PAGE_RECORD_ROOM bytes). Returns the
 * record's size;
 * 0: the page needs a delta. */
static size_t encode_at_once(struct encoder *e, uint32_t index, const uint8_t *page,
			     uint8_t *reference, bool is_known, bool may_be_dup, uint8_t *out)
{
	size_t size = may_be_dup ? dup_encode(e->dup, index, page, reference, is_known, out) : 0;

	return size || is_known ? size : encode_whole(e, index, page, reference, out);
}

static int offer_page(struct encoder *e, struct batch *batch, uint32_t index, const uint8_t *page)
{
	int may_be_dup = dup_offer(e->dup, index), r;
	uint8_t *reference;
	bool is_known;
	size_t size;

	r = may_be_dup < 0 ? may_be_dup : need_frame(e, WIRE_PAGES, PAGE_RECORD_ROOM);
	if (r < 0)
		return r;
	reference = reference_take(e->reference, index, &is_known);
	size = encode_at_once(e, index, page, reference, is_known, may_be_dup, e->w.at);
	if (size == 0) {
		batch->items[batch->n_items++] = (struct page_item){index, page, reference};
		return 0;
	}
	append(e, size, 1);
	reference_put(e->reference, reference);
	return 0;
}

/* Encode one batch in this thread. It fills two frames at most. With room for these, either the
 * whole batch is encoded or the epoch is lost, so no page counts as known to the standby that was
 * not sent. */
static int encode_here(struct encoder *e, struct encoder_cursor *cursor)
{
	struct batch batch;
	int r = 0;

	batch.n_items = 0;
	if (!retain_has_room(e->retain, 2))
		return -ENOBUFS;
	for (uint32_t n = 0; n < ENCODER_BATCH && !is_at_end(cursor) && r == 0; n++) {
		prefetch_ahead(e, cursor);
		if (!is_left_out(e, cursor))
			r = offer_page(e, &batch, page_at(cursor), cursor->pages);
		advance(cursor);
	}
	if (r == 0)
		r = flush_batch(e, &batch);
	for (size_t i = 0; i < batch.n_items; i++)
		reference_put(e->reference, batch.items[i].reference);
	if (r < 0)
		return -ENOMEM;
	return !is_at_end(cursor);
}

/* Move a finished unit's frames into the backlog. 0; -ENOBUFS: call again to continue; -ENOMEM. */
static int collect_frames(struct encoder *e, const struct unit *unit)
{
	for (; e->n_collected < unit->n_frames; e->n_collected++) {
		const struct unit_frame *frame = &unit->frames[e->n_collected];
		uint8_t *payload;
		int r;

		if (frame->plain_size == 0)
			continue;
		r = retain_reserve(e->retain, &payload);
		if (r < 0)
			return r;
		memcpy(payload, unit_payload(unit, e->n_collected), frame->size);
		add_frame(e, WIRE_PAGES, 0, frame->size, frame->plain_size);
	}
	e->n_collected = 0;
	return 0;
}

static void add_figures(struct encoder *e, const struct unit *unit)
{
	e->n_records += unit->n_whole + unit->n_items - unit->pages.n_unchanged;
	e->pages.n_pages += unit->pages.n_pages;
	e->pages.n_unchanged += unit->pages.n_unchanged;
	for (size_t class = 0; class < PAGE_N_CLASSES; class++) {
		e->pages.n_records[class] += unit->pages.n_records[class];
		e->pages.bytes[class] += unit->pages.bytes[class];
	}
	packer_add_counts(&e->packing, &unit->packing);
}

/* Move the frames of all finished units into the backlog, in the order of submission. */
static int collect(struct encoder *e)
{
	const struct unit *unit;

	while ((unit = workers_collect(e->workers))) {
		int r = collect_frames(e, unit);

		if (r < 0)
			return r;
		add_figures(e, unit);
		for (uint32_t i = 0; i < unit->n_items; i++)
			reference_put(e->reference, unit->items[i].reference);
		workers_put(e->workers);
	}
	return 0;
}

static void submit(struct encoder *e)
{
	if (!e->unit)
		return;
	e->unit->packs = e->packs;
	e->n_submitted++;
	workers_submit(e->workers, e->n_submitted >= WAKE_UNITS);
	e->unit = NULL;
}

/* Put page @index into the unit being filled. 0; -EAGAIN: some unit must be finished first;
 * -EINVAL: the page was not announced by encoder_expect(). */
static int offer_to_unit(struct encoder *e, uint32_t index, const uint8_t *page)
{
	uint8_t *reference;
	int may_be_dup;
	bool is_known;
	size_t size;

	/* A page's slot is pinned while the page is in a unit, so no page is in two. */
	if (reference_is_pinned(e->reference, index))
		return -EAGAIN;
	if (!e->unit) {
		e->unit = workers_get(e->workers);
		if (!e->unit)
			return -EAGAIN;
		unit_begin(e->unit, e->pages.features);
	}
	may_be_dup = dup_offer(e->dup, index);
	if (may_be_dup < 0)
		return may_be_dup;
	reference = reference_take(e->reference, index, &is_known);
	size = encode_at_once(e, index, page, reference, is_known, may_be_dup, unit_room(e->unit));
	if (size == 0) {
		unit_add_item(e->unit, index, page, reference);
	} else {
		unit_wrote(e->unit, size);
		reference_put(e->reference, reference);
	}
	if (unit_is_full(e->unit))
		submit(e);
	return 0;
}

/* Encode with other threads. Only collect() needs room in the backlog: without room, finished
 * frames wait in their units. */
static int encode_by_workers(struct encoder *e, struct encoder_cursor *cursor)
{
	int r = collect(e);

	if (r < 0)
		return r;
	for (uint32_t n = 0; n < ENCODER_BATCH && !is_at_end(cursor); n++) {
		prefetch_ahead(e, cursor);
		if (!is_left_out(e, cursor))
			r = offer_to_unit(e, page_at(cursor), cursor->pages);
		if (r < 0)
			break;
		advance(cursor);
	}
	if (r < 0 && r != -EAGAIN)
		return -ENOMEM;
	if (!is_at_end(cursor) && r == 0)
		return 1;
	submit(e);
	/* When this returns 0, no thread may read the cursor's pages any more. */
	if (!workers_is_idle(e->workers))
		return workers_help(e->workers, &e->packer);
	e->n_submitted = 0;
	return 0;
}

int encoder_pages(struct encoder *e, struct encoder_cursor *cursor)
{
	return e->workers ? encode_by_workers(e, cursor) : encode_here(e, cursor);
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

/* Open a DEVICE frame and write its first bytes. */
static int need_device_frame(struct encoder *e, size_t blob_size)
{
	bool is_new;
	int r;

	is_new = !e->payload || e->frame_type != WIRE_DEVICE ||
		 (size_t)(e->w.end - e->w.at) < PAGE_RECORD_ROOM;
	r = need_frame(e, WIRE_DEVICE, PAGE_RECORD_ROOM);
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
	/* PAGES and DEVICE never share a frame, and there is at least one DEVICE frame: the standby
	 * learns the blob's size also when no piece changed. */
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
	/* If the blob shrank, the bytes after its end count as zero on both sides. */
	if (e->device_size > (size_t)n_pieces * PAGE_BYTES)
		memset(e->device + (size_t)n_pieces * PAGE_BYTES, 0,
		       e->device_size - (size_t)n_pieces * PAGE_BYTES);
	e->device_size = size;
	return 0;
}

int encoder_clock(struct encoder *e, const struct wire_clock *clock)
{
	int r;

	close_frame(e, 0);
	r = need_frame(e, WIRE_CLOCK, 64);
	if (r == 0)
		r = wire_clock_encode(clock, &e->w);
	if (r < 0)
		return r;
	close_frame(e, 0);
	e->used_features |= WIRE_FEATURE_CLOCK;
	return 0;
}

int encoder_end(struct encoder *e)
{
	struct wire_epoch_end end;
	int r;

	close_frame(e, 0);
	r = need_frame(e, WIRE_EPOCH_END, 64);
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
	close_frame(e, 0);
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
		.n_epoch_pages = e->n_records,
		.epoch_bytes = e->payload_bytes +
			       (uint64_t)retain_frames_in_epoch(e->retain) * WIRE_HEADER_SIZE,
		.packing = e->packing,
		.n_threads = e->n_threads,
	};
	reference_get_counts(e->reference, &ret_counts->reference);
}
