#include "epoch/encoder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "codec/encode.h"
#include "codec/zero.h"
#include "epoch/packer.h"
#include "epoch/reference.h"
#include "wire/msg.h"

struct encoder {
	struct page_encoder pages;  /* figures of guest pages */
	struct page_encoder pieces; /* figures of device state */
	struct reference *reference;
	uint8_t *device; /* the last blob, zero behind its end; WIRE_BLOB_MAX bytes reserved */
	size_t device_size;
	uint32_t device_next; /* next piece; != 0: encoder_device() was interrupted */
	struct retain *retain;
	uint8_t *payload;      /* of the frame being filled; NULL: none */
	struct bytes_writer w; /* into payload */
	uint8_t frame_type;    /* its type */
	uint64_t n_records;    /* page records in the epoch */
	uint64_t n_still_zero; /* pages: were zero and are */
	uint64_t n_whole_zero, n_whole_raw; /* pages without a known version over there */
	uint64_t payload_bytes; /* of the epoch's finished frames */

	uint64_t used_features; /* WIRE_FEATURE_*: retained epochs may use these */

	/* second stage */
	bool packs;
	struct packer_counts packing;
	struct packer packer;
};

int encoder_new(uint32_t n_pages, uint32_t reference_pages, struct retain *retain,
		struct encoder **ret)
{
	struct encoder *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->retain = retain;
	e->device = mmap(NULL, WIRE_BLOB_MAX, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (e->device == MAP_FAILED)
		e->device = NULL;
	if (!e->device || reference_new(n_pages, reference_pages, &e->reference) < 0) {
		encoder_free(e);
		return -ENOMEM;
	}
	*ret = e;
	return 0;
}

struct encoder *encoder_free(struct encoder *e)
{
	if (!e)
		return NULL;
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

_Static_assert(WIRE_FEATURE_XRLE == PAGE_FEATURE_XRLE && WIRE_FEATURE_BITMAP == PAGE_FEATURE_BITMAP,
	       "the codec's feature bits are the wire's");

bool encoder_can_resend(const struct encoder *e, uint64_t features)
{
	return retain_n_epochs(e->retain) == 0 || !(e->used_features & ~features);
}

void encoder_set_second_stage(struct encoder *e, bool is_on)
{
	e->packs = is_on;
}

/* The frame being filled is done. One without content (all pages unchanged) is not sent. */
static void close_frame(struct encoder *e, uint8_t flags)
{
	uint8_t *payload = e->payload;
	size_t size = payload ? (size_t)(e->w.at - payload) : 0, plain_size = size;

	e->payload = NULL;
	if (size == 0)
		return;
	if (e->frame_type == WIRE_PAGES || e->frame_type == WIRE_DEVICE)
		size = packer_pack(&e->packer, e->packs, payload, size, &e->packing);
	if (size < plain_size) {
		flags |= WIRE_FLAG_LZ4;
		e->used_features |= WIRE_FEATURE_LZ4;
	}
	retain_add(e->retain, e->frame_type, flags, size);
	e->payload_bytes += size;
}

/* Have a frame of @type with room for @room more bytes. 0; -ENOBUFS, -ENOMEM: no frame is open. */
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

int encoder_begin(struct encoder *e, uint64_t epoch, uint64_t previous, bool is_full)
{
	struct wire_epoch_begin begin = {.previous_epoch = previous};
	int r;

	e->payload = NULL; /* what an abandoned epoch left open */
	e->device_next = 0;
	e->n_records = 0;
	e->payload_bytes = 0;
	if (retain_n_epochs(e->retain) == 0)
		e->used_features = 0;
	e->used_features |= e->pages.features;
	r = retain_begin(e->retain, epoch, !is_full);
	if (r < 0)
		return r;
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
	close_frame(e, is_full ? WIRE_FLAG_FULL : 0);
	return 0;
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

/* A page whose version over there is not known: the whole of it, whatever it was. */
static int encode_whole(struct encoder *e, uint32_t index, const uint8_t *page, uint8_t *reference)
{
	bool is_zero;
	size_t size;
	int r = need_frame(e, WIRE_PAGES, PAGE_RECORD_ROOM);

	if (r < 0)
		return r;
	memcpy(reference, page, PAGE_BYTES); /* what is sent, also if the guest writes meanwhile */
	is_zero = zero_is_page(reference);
	size = is_zero ? 0 : PAGE_BYTES;
	e->w.at[0] = is_zero ? PAGE_ZERO : PAGE_RAW;
	e->w.at[1] = 0;
	bytes_put_be16(e->w.at + 2, (uint16_t)size);
	bytes_put_be32(e->w.at + 4, index);
	memcpy(e->w.at + PAGE_RECORD_HEADER_BYTES, reference, size);
	append(e, PAGE_RECORD_HEADER_BYTES + size, 1);
	e->n_whole_zero += is_zero;
	e->n_whole_raw += !is_zero;
	return 0;
}

static int offer_page(struct encoder *e, struct batch *batch, uint32_t index, const uint8_t *page,
		      const uint64_t *skip)
{
	bool is_known;
	uint8_t *reference;

	if (skip && skip[index / 64] >> index % 64 & 1)
		return 0;
	if (reference_is_zero(e->reference, index) && zero_is_page(page)) {
		e->n_still_zero++;
		return 0;
	}
	reference = reference_take(e->reference, index, &is_known);
	if (!is_known) {
		int r = encode_whole(e, index, page, reference);

		reference_put(e->reference, reference);
		return r;
	}
	batch->items[batch->n_items++] = (struct page_item){index, page, reference};
	return 0;
}

int encoder_pages(struct encoder *e, struct encoder_cursor *cursor)
{
	struct batch batch;
	int r = 0;

	batch.n_items = 0;
	/* A batch fills two frames at most: with room for them it is done whole or the epoch is lost,
	 * so that no page counts as known over there that was not sent. */
	if (!retain_has_room(e->retain, 2))
		return -ENOBUFS;
	for (uint32_t n = 0; n < ENCODER_BATCH && cursor->range < cursor->n_ranges && r == 0; n++) {
		const struct page_range *range = &cursor->ranges[cursor->range];

		r = offer_page(e, &batch, range->first_page + cursor->offset, cursor->pages,
			       cursor->skip);
		cursor->pages += PAGE_BYTES;
		if (++cursor->offset == range->n_pages) {
			cursor->offset = 0;
			cursor->range++;
		}
	}
	if (r == 0)
		r = flush_batch(e, &batch);
	for (size_t i = 0; i < batch.n_items; i++)
		reference_put(e->reference, batch.items[i].reference);
	if (r < 0)
		return -ENOMEM;
	return cursor->range < cursor->n_ranges;
}

/* The first bytes of each DEVICE frame. */
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
	/* PAGES and DEVICE never share a frame, and each frame is at least one: the standby learns the
	 * blob's size also when no piece changed. */
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
	/* A blob that shrank: what lies behind its end counts as zero on both sides. */
	if (e->device_size > (size_t)n_pieces * PAGE_BYTES)
		memset(e->device + (size_t)n_pieces * PAGE_BYTES, 0,
		       e->device_size - (size_t)n_pieces * PAGE_BYTES);
	e->device_size = size;
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
		.n_epoch_pages = e->n_records,
		.epoch_bytes = e->payload_bytes +
			       (uint64_t)retain_frames_in_epoch(e->retain) * WIRE_HEADER_SIZE,
		.packing = e->packing,
	};
	reference_get_counts(e->reference, &ret_counts->reference);
}
