/* Puts frames into the backlog. Also implements the sink that finds deltas on the engine's own
 * thread. See encoder_private.h. */
#include "epoch/encoder_private.h"

#include <errno.h>

#include "epoch/retain.h"
#include "wire/msg.h"

void encoder_add_frame(struct encoder *e, uint8_t type, uint8_t flags, size_t size,
		       size_t plain_size)
{
	if (size < plain_size) {
		flags |= WIRE_FLAG_LZ4;
		e->used_features |= WIRE_FEATURE_LZ4;
	}
	retain_add(e->retain, type, flags, size);
	e->payload_bytes += size;
}

void encoder_close_frame(struct encoder *e, uint8_t flags)
{
	uint8_t *payload = e->payload;
	size_t size = payload ? (size_t)(e->w.at - payload) : 0, plain_size = size;

	e->payload = NULL;
	if (size == 0)
		return;
	if (e->frame_type == WIRE_PAGES || e->frame_type == WIRE_DEVICE ||
	    e->frame_type == WIRE_DISK)
		size = packer_pack(&e->packer, e->packs, payload, size, &e->packing);
	encoder_add_frame(e, e->frame_type, flags, size, plain_size);
}

int encoder_need_frame(struct encoder *e, uint8_t type, size_t room)
{
	int r;

	if (e->payload && (e->frame_type != type || (size_t)(e->w.end - e->w.at) < room))
		encoder_close_frame(e, 0);
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

/* --- the sink */

/* A batch fills at most two frames. So begin a batch only if the backlog has room for two frames. A
 * batch then never stops halfway: either all of its pages are encoded, or the epoch is lost. (If a
 * batch stopped halfway, the reference could have a version of a page that is never sent.) */
static int begin(struct encoder *e)
{
	e->n_batch = 0;
	return retain_has_room(e->retain, 2) ? 0 : -ENOBUFS;
}

static int room(struct encoder *e, uint32_t index, uint8_t **ret_room)
{
	int r = encoder_need_frame(e, WIRE_PAGES, PAGE_RECORD_ROOM);

	(void)index;
	*ret_room = e->w.at;
	return r;
}

static void append(struct encoder *e, size_t size, uint64_t n_records)
{
	e->w.at += size;
	e->n_records += n_records;
}

/* Find the deltas of the batch, and write their records. */
static int flush_batch(struct encoder *e)
{
	size_t n_done = 0;

	while (n_done < e->n_batch) {
		uint64_t n_unchanged = e->pages.n_unchanged;
		size_t n, size;
		int r = encoder_need_frame(e, WIRE_PAGES, PAGE_RECORD_ROOM);

		if (r < 0)
			return r;
		n = page_encode_batch(&e->pages, e->batch + n_done, e->n_batch - n_done, e->w.at,
				      (size_t)(e->w.end - e->w.at), &size);
		append(e, size, n - (e->pages.n_unchanged - n_unchanged));
		n_done += n;
	}
	return 0;
}

static void wrote(struct encoder *e, size_t size)
{
	append(e, size, 1);
}

static void add_item(struct encoder *e, uint32_t index, const uint8_t *page, uint8_t *reference)
{
	e->batch[e->n_batch++] = (struct page_item){index, page, reference};
}

static int end(struct encoder *e, int r, bool is_last)
{
	if (r == 0)
		r = flush_batch(e);
	for (size_t i = 0; i < e->n_batch; i++)
		reference_put(e->reference, e->batch[i].reference);
	return r < 0 ? -ENOMEM : !is_last;
}

const struct page_sink encoder_frames_sink = {
	.begin = begin,
	.room = room,
	.wrote = wrote,
	.add_item = add_item,
	.end = end,
};
