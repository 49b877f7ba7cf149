/* Decides how each page is encoded, before a sink takes it; see encoder_private.h. */
#include "epoch/encoder_private.h"

#include <errno.h>
#include <string.h>

#include "codec/zero.h"
#include "wire/frame.h"
#include "wire/msg.h"

/* Encode a page whose version at the standby is not known. Write a record with the whole page to
 * @out (PAGE_RECORD_ROOM bytes). Return the record's size. */
static size_t encode_whole(struct encoder *e, uint32_t index, const uint8_t *page,
			   uint8_t *reference, uint8_t *out)
{
	bool is_zero;
	size_t size;

	memcpy(reference, page, PAGE_BYTES); /* the record is made from this copy: the guest may
					      * write to @page */
	is_zero = zero_is_page(reference);
	size = is_zero ? 0 : PAGE_BYTES;
	wire_record_put_header(out, is_zero ? PAGE_ZERO : PAGE_RAW, index, size);
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

/* How many pages ahead to prefetch. Pages of the next range are not prefetched, because it would
 * cost too much to find them. */
#define AHEAD_PAGES 3u

static void prefetch_ahead(const struct encoder *e, const struct encoder_cursor *cursor)
{
	if (cursor->offset + AHEAD_PAGES < cursor->ranges[cursor->range].n_pages)
		dup_prefetch(e->dup, page_at(cursor) + AHEAD_PAGES,
			     cursor->pages + AHEAD_PAGES * PAGE_BYTES);
}

/* Can the page at @cursor be left out of the epoch, because it needs no record? */
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

/* If the page needs no delta, write its record to @out (PAGE_RECORD_ROOM bytes) and return the
 * record's size. If it needs one, return 0. */
static size_t encode_at_once(struct encoder *e, uint32_t index, const uint8_t *page,
			     uint8_t *reference, bool is_known, bool may_be_dup, uint8_t *out)
{
	size_t size = may_be_dup ? dup_encode(e->dup, index, page, reference, is_known, out) : 0;

	return size || is_known ? size : encode_whole(e, index, page, reference, out);
}

/* If the standby already has this page, write a KEEP record to @out and return the record's size.
 * If not, return 0. Only a page's first record in the epoch can be KEEP: after that record, the
 * standby no longer has the old page. */
static size_t encode_kept(struct encoder *e, uint32_t index, const uint8_t *page, uint8_t *out)
{
	static const uint8_t none[WIRE_HASH_SIZE];
	uint8_t *known = e->base ? e->base + (size_t)index * WIRE_HASH_SIZE : NULL;
	uint8_t copy[PAGE_BYTES], hash[WIRE_HASH_SIZE], *reference;
	bool is_known, is_kept;

	if (!known || memcmp(known, none, sizeof(none)) == 0)
		return 0;
	memcpy(copy, page, sizeof(copy)); /* a copy, because the guest may write to @page */
	wire_hash(e->base_seed, copy, sizeof(copy), hash);
	is_kept = memcmp(hash, known, sizeof(hash)) == 0;
	memset(known, 0, WIRE_HASH_SIZE);
	if (!is_kept)
		return 0;
	reference = reference_take(e->reference, index, &is_known);
	memcpy(reference, copy, sizeof(copy));
	reference_put(e->reference, reference);
	wire_record_put_header(out, PAGE_KEEP, index, 0);
	e->n_kept++;
	return PAGE_RECORD_HEADER_BYTES;
}

static int offer_page(struct encoder *e, uint32_t index, const uint8_t *page)
{
	uint8_t *room, *reference;
	int may_be_dup, r;
	bool is_known;
	size_t size;

	r = e->sink->room(e, index, &room);
	if (r < 0)
		return r;
	size = encode_kept(e, index, page, room);
	if (size > 0) {
		e->sink->wrote(e, size);
		return 0;
	}
	may_be_dup = dup_offer(e->dup, index);
	if (may_be_dup < 0)
		return may_be_dup;
	reference = reference_take(e->reference, index, &is_known);
	size = encode_at_once(e, index, page, reference, is_known, may_be_dup, room);
	if (size == 0) {
		e->sink->add_item(e, index, page, reference);
	} else {
		e->sink->wrote(e, size);
		reference_put(e->reference, reference);
	}
	return 0;
}

static int offer_batch(struct encoder *e, struct encoder_cursor *cursor)
{
	for (uint32_t n = 0; n < ENCODER_BATCH && !is_at_end(cursor); n++) {
		prefetch_ahead(e, cursor);
		if (!is_left_out(e, cursor)) {
			int r = offer_page(e, page_at(cursor), cursor->pages);

			if (r < 0)
				/* do not advance the cursor: the next call starts with this page */
				return r;
		}
		advance(cursor);
	}
	return 0;
}

int encoder_pages(struct encoder *e, struct encoder_cursor *cursor)
{
	int r;

	/* Close an open DISK frame: it is at the end of the backlog, where the frames of units are
	 * added. */
	if (e->payload && e->frame_type == WIRE_DISK)
		encoder_close_frame(e, 0);
	r = e->sink->begin(e);
	if (r < 0)
		return r;
	r = offer_batch(e, cursor);
	return e->sink->end(e, r, is_at_end(cursor));
}
