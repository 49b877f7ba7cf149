#include "standby/apply.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "codec/encode.h"
#include "codec/zero.h"
#include "supervision/progress.h"
#include "standby/compare.h"
#include "standby/epochcheck.h"
#include "standby/torn.h"
#include "standby/touched.h"
#include "wire/frame.h"
#include "wire/msg.h"

int apply_check(const uint8_t *data, size_t size, uint64_t term, struct images *images,
		struct apply_info *ret_info)
{
	const uint8_t *at = data, *end = data + size;
	struct epochcheck_error error;
	struct wire_epoch_begin begin;
	struct wire_frame frame;
	struct epochcheck c;
	int r, result = -EBADMSG;

	epochcheck_init(&c, term, 0, UINT64_MAX);
	c.images = images;
	c.may_keep = true; /* whether KEEP records are allowed was checked when the epoch arrived */
	while (wire_frame_decode(&at, end, &frame, NULL) == 0) {
		if (frame.h.term != term) {
			result = -ESTALE;
			break;
		}
		if (frame.h.type == WIRE_EPOCH_BEGIN && !c.inside) {
			/* Accept any epoch number here: the caller checks whether the copy needs
			 * this epoch next. */
			c.last_epoch = frame.h.epoch - 1;
			if (frame.h.epoch == 0 || wire_epoch_begin_decode(&frame, &begin, NULL) < 0)
				break;
		}
		r = epochcheck_frame(&c, &frame, NULL, &error);
		if (r == -ENOMEM)
			result = r;
		if (r < 0)
			break;
		if (r == EPOCHCHECK_COMPLETE) {
			ret_info->epoch = c.epoch;
			ret_info->previous_epoch = begin.previous_epoch;
			ret_info->full = c.full;
			ret_info->geometry = c.geometry;
			result = 0;
			break;
		}
	}
	epochcheck_done(&c);
	return result;
}

/* ---- applying */

/* The first record of a page, or of a piece of the device blob, in a FULL epoch. */
enum first_record {
	FIRST_NONE  = 0, /* no record: the page must be cleared */
	/* ZERO, RAW or DUP: it replaces the whole page, so the page need not be cleared before.
	 * KEEP: the page must keep its old content */
	FIRST_WHOLE = 1,
	FIRST_DELTA = 2, /* a delta against a page of zeros: the page must be cleared first */
};

struct pass {
	struct ramfile *rf;	 /* NULL in apply_disks() */
	uint64_t n_pages;	 /* number of page records applied */
	/* size of the device blob (the saved devices); 0: no DEVICE frame yet */
	uint32_t blob_bytes;
	bool full;
	bool is_unheld;
	bool has_hashes;         /* a RAM_HASH frame was read */
	/* in a FULL epoch: an enum first_record for each page; otherwise NULL */
	uint8_t *seen;
	/* in a FULL epoch: an enum first_record for each piece of the device blob; otherwise
	 * NULL */
	uint8_t *seen_pieces;
	uint8_t *scratch;     /* WIRE_PAYLOAD_MAX bytes, for packed frames */
	struct images *images; /* NULL: the guest has no disks */
	struct error *error;   /* why an image could not be written */
};

typedef int (*frame_handler)(struct pass *p, const struct wire_frame *frame);

/* Report progress each time that a pass has read TOLD_EVERY_BYTES more, or has cleared
 * TOLD_EVERY_PAGES more. */
#define TOLD_EVERY_BYTES ((size_t)1 << 20)
#define TOLD_EVERY_PAGES (TOLD_EVERY_BYTES / WIRE_PAGE_SIZE)

/* Call @handle for each frame before EPOCH_END, until it returns an error. */
static int walk(struct pass *p, const uint8_t *data, size_t size, frame_handler handle)
{
	const uint8_t *at = data, *end = data + size, *told = data;
	struct wire_frame frame;
	int r;

	for (;;) {
		if ((size_t)(at - told) >= TOLD_EVERY_BYTES) {
			progress_to(p->rf->progress, (uint64_t)(at - data));
			told = at;
		}
		if (wire_frame_decode(&at, end, &frame, NULL) < 0)
			return -EBADMSG;
		if (frame.h.type == WIRE_EPOCH_END)
			return 0;
		r = handle(p, &frame);
		if (r < 0)
			return r;
	}
}

static int lay_out(struct pass *p, const struct wire_frame *frame)
{
	struct wire_geometry g;

	if (frame->h.type == WIRE_EPOCH_BEGIN) {
		p->full = frame->h.flags & WIRE_FLAG_FULL;
		p->is_unheld = frame->h.flags & WIRE_FLAG_UNHELD;
	}
	if (frame->h.type != WIRE_GEOMETRY)
		return 0;
	if (wire_geometry_decode(frame, &g, NULL) < 0)
		return -EBADMSG;
	return ramfile_layout(p->rf, &g);
}

static int begin_pages(struct pass *p, const struct wire_frame *frame, struct wire_record_iter *it)
{
	struct wire_frame plain;
	struct wire_error error;

	if (epochcheck_unpack(frame, p->scratch, &plain, &error) < 0)
		return -EBADMSG;
	return wire_pages_begin(&plain, p->rf->n_pages, it, NULL);
}

static int begin_device(struct pass *p, const struct wire_frame *frame, struct wire_record_iter *it)
{
	struct wire_frame plain;
	struct wire_error error;

	if (epochcheck_unpack(frame, p->scratch, &plain, &error) < 0)
		return -EBADMSG;
	return wire_device_begin(&plain, it, NULL);
}

static int note_records(struct wire_record_iter *it, uint8_t *seen)
{
	struct wire_record record;
	int r;

	while ((r = wire_record_next(it, &record, NULL)) > 0) {
		bool is_whole = record.class == WIRE_CLASS_ZERO ||
				record.class == WIRE_CLASS_RAW || record.class >= WIRE_CLASS_DUP;

		if (seen[record.index] == FIRST_NONE)
			seen[record.index] = is_whole ? FIRST_WHOLE : FIRST_DELTA;
	}
	return r < 0 ? -EBADMSG : 0;
}

/* Called for each frame of a FULL epoch: store in p->seen the kind of each page's first record, and
 * in p->seen_pieces the kind of the first record of each piece of the device blob. */
static int note(struct pass *p, const struct wire_frame *frame)
{
	struct wire_record_iter it;

	if (frame->h.type == WIRE_PAGES) {
		if (begin_pages(p, frame, &it) < 0)
			return -EBADMSG;
		return note_records(&it, p->seen);
	}
	if (frame->h.type == WIRE_DEVICE) {
		if (begin_device(p, frame, &it) < 0)
			return -EBADMSG;
		return note_records(&it, p->seen_pieces);
	}
	return 0;
}

/* If page @index is not zero, zero it. Most pages without a record are zero already. The page is
 * read from the file, so that its part of the mapping is not touched if it is zero. */
static void clear_page(struct ramfile_reader *reader, uint64_t index)
{
	const uint8_t *now = ramfile_reader_page(reader, index);

	if (!now || !zero_is_page(now))
		memset(ramfile_page(reader->rf, index), 0, WIRE_PAGE_SIZE);
}

static int clear_unwritten(struct pass *p)
{
	struct ramfile_reader reader = {.rf = p->rf, .end = p->rf->n_pages};

	progress_begin(p->rf->progress, "cleared", "of its copy", p->rf->n_pages * WIRE_PAGE_SIZE);
	for (uint64_t i = 0; i < p->rf->n_pages; i++) {
		if (i % TOLD_EVERY_PAGES == 0)
			progress_to(p->rf->progress, i * WIRE_PAGE_SIZE);
		if (p->seen[i] == FIRST_WHOLE)
			continue;
		ramfile_step(p->rf);
		clear_page(&reader, i);
		touched_set(p->rf->touched, i);
	}
	for (uint32_t i = 0; i < WIRE_BLOB_MAX / WIRE_PAGE_SIZE; i++) {
		if (p->seen_pieces[i] != FIRST_WHOLE &&
		    (uint64_t)i * WIRE_PAGE_SIZE < p->rf->blob_bytes)
			memset(p->rf->blob + (size_t)i * WIRE_PAGE_SIZE, 0, WIRE_PAGE_SIZE);
	}
	return 0;
}

/* Number of records that are applied together. While one record's page is written, the page of the
 * next record is fetched into the CPU's cache. If the pages are not cached, this doubles the speed.
 * The number is small because a test kills the agent between two batches: even a small epoch must
 * have several batches. */
#define BATCH_RECORDS 16u

struct batch {
	struct page_record records[BATCH_RECORDS];
	uint64_t pages[BATCH_RECORDS]; /* indexes of the records' pages */
	size_t n_records;
};

static int put_batch(struct pass *p, struct batch *batch)
{
	size_t n = batch->n_records;

	batch->n_records = 0;
	if (page_apply_batch(batch->records, n) < n)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		touched_set(p->rf->touched, batch->pages[i]);
	p->n_pages += n;
	return 0;
}

/* Turn a record into the form that page_apply_batch() takes. A DUP record becomes a RAW record with
 * the present content of the source page. epochcheck.c makes sure that this content is the same
 * each time that the epoch is applied. */
static struct page_record from_wire(struct ramfile *rf, const struct wire_record *record)
{
	uint8_t *page = ramfile_page(rf, record->index);

	if (record->class != WIRE_CLASS_DUP)
		return (struct page_record){record->class, record->size, record->data, page};
	return (struct page_record){PAGE_RAW, PAGE_BYTES, ramfile_page(rf, record->source), page};
}

static int put_pages(struct pass *p, const struct wire_frame *frame)
{
	/* If a test watches the steps, apply one record at a time, so that each record is a
	 * step. */
	size_t n_max = p->rf->step ? 1 : BATCH_RECORDS;
	struct batch batch = {.n_records = 0};
	struct wire_record_iter it;
	struct wire_record record;
	int r;

	if (begin_pages(p, frame, &it) < 0)
		return -EBADMSG;
	while ((r = wire_record_next(&it, &record, NULL)) > 0) {
		struct page_record *out = &batch.records[batch.n_records];

		ramfile_step(p->rf);
		FAULT_POINT(FAULT_STANDBY_APPLYING);
		if (record.class == WIRE_CLASS_KEEP)
			continue;
		batch.pages[batch.n_records++] = record.index;
		*out = from_wire(p->rf, &record);
		if (!out->page || !out->data)
			return -EBADMSG;
		if (batch.n_records >= n_max && put_batch(p, &batch) < 0)
			return -EBADMSG;
	}
	return r < 0 ? -EBADMSG : put_batch(p, &batch);
}

static int put_device(struct pass *p, const struct wire_frame *frame)
{
	struct wire_record_iter it;
	struct wire_record record;
	int r;

	if (begin_device(p, frame, &it) < 0)
		return -EBADMSG;
	p->blob_bytes = it.blob_size;
	while ((r = wire_record_next(&it, &record, NULL)) > 0) {
		if (page_apply(record.class, record.data, record.size,
			       p->rf->blob + (size_t)record.index * WIRE_PAGE_SIZE) < 0)
			return -EBADMSG;
	}
	return r < 0 ? -EBADMSG : 0;
}

static int put_disk(struct pass *p, const struct wire_frame *frame)
{
	struct wire_disk_record record;
	struct wire_disk_iter it;
	struct wire_frame plain;
	struct wire_error error;
	struct image *image;
	int r;

	if (epochcheck_unpack(frame, p->scratch, &plain, &error) < 0 ||
	    wire_disk_begin(&plain, &it, NULL) < 0)
		return -EBADMSG;
	image = p->images ? images_find(p->images, it.name) : NULL;
	if (!image)
		return -EBADMSG;
	while ((r = wire_disk_next(&it, &record, NULL)) > 0) {
		if (p->rf)
			ramfile_step(p->rf);
		FAULT_POINT(FAULT_STANDBY_APPLYING);
		if (record.op == WIRE_DISK_HASH) {
			if (p->rf) /* without `rf`, nobody asks for the result */
				images_compare(p->images, image, &record);
			continue;
		}
		r = p->is_unheld ? torn_begin(&p->images->torn, p->error) : 0;
		if (r == 0)
			r = images_apply(p->images, image, &record, p->error);
		if (r < 0)
			return r;
	}
	return r < 0 ? -EBADMSG : 0;
}

static int put(struct pass *p, const struct wire_frame *frame)
{
	if (frame->h.type == WIRE_PAGES)
		return put_pages(p, frame);
	if (frame->h.type == WIRE_DEVICE)
		return put_device(p, frame);
	if (frame->h.type == WIRE_DISK)
		return put_disk(p, frame);
	p->has_hashes |= frame->h.type == WIRE_RAM_HASH;
	return 0;
}

/* A hash is of a page's content at the end of the epoch. So compare hashes after all records are
 * applied. */
static int compare(struct pass *p, const struct wire_frame *frame)
{
	return frame->h.type == WIRE_RAM_HASH ? compare_frame(p->rf, frame) : 0;
}

static int apply(struct ramfile *rf, struct images *images, const uint8_t *data, size_t size,
		 uint64_t *ret_n_pages, struct error *error)
{
	AUTO_FREE uint8_t *seen = NULL;
	AUTO_FREE uint8_t *seen_pieces = NULL;
	uint8_t scratch[WIRE_PAYLOAD_MAX];
	struct pass p = {.rf = rf, .images = images, .scratch = scratch, .error = error};
	int r;

	if (images) {
		images->torn.is_whole = false;
		images_begin_checks(images);
	}
	compare_begin(rf);
	/* 1: use the epoch's layout, and read its flags */
	r = walk(&p, data, size, lay_out);
	if (r < 0)
		return r;
	if (!rf->has_geometry)
		return -EBADMSG;
	/* 2: a FULL epoch replaces the whole copy, so clear what none of its records replaces */
	if (p.full) {
		p.seen = seen = calloc(rf->n_pages, 1);
		p.seen_pieces = seen_pieces = calloc(WIRE_BLOB_MAX / WIRE_PAGE_SIZE, 1);
		if (!seen || !seen_pieces)
			return -ENOMEM;
		progress_begin(rf->progress, "read", "of an epoch", size);
		r = walk(&p, data, size, note);
		if (r == 0)
			r = clear_unwritten(&p);
	}
	/* 3: write all records, compare hashes, and store the device blob */
	progress_begin(rf->progress, "wrote", "of an epoch into its copy", size);
	if (r == 0)
		r = walk(&p, data, size, put);
	if (r == 0 && p.has_hashes)
		r = walk(&p, data, size, compare);
	if (r == 0 && p.blob_bytes == 0)
		r = -EBADMSG;
	if (r == 0)
		r = ramfile_store_blob(rf, p.blob_bytes);
	if (r < 0)
		return r;
	if (images)
		images->torn.is_whole = !p.is_unheld;
	*ret_n_pages = p.n_pages;
	return 0;
}

int apply_epoch(struct ramfile *rf, struct images *images, const uint8_t *data, size_t size,
		uint64_t *ret_n_pages, struct error *ret_error)
{
	struct error error = {""};
	int r = apply(rf, images, data, size, ret_n_pages, &error);

	if (r < 0 && error.text[0])
		*ret_error = error;
	else if (r < 0)
		(void)error_set(ret_error, r, "%s: %s", rf->dir, strerror(-r));
	return r;
}

int apply_disks(struct images *images, const uint8_t *data, size_t size, struct error *ret_error)
{
	uint8_t scratch[WIRE_PAYLOAD_MAX];
	const uint8_t *at = data, *end = data + size;
	struct error error = {""};
	struct pass p = {.images = images, .scratch = scratch, .error = &error};
	struct wire_frame frame;
	int r = 0;

	while (r == 0 && at < end) {
		if (wire_frame_decode(&at, end, &frame, NULL) < 0 || frame.h.type != WIRE_DISK)
			r = -EBADMSG;
		else
			r = put_disk(&p, &frame);
	}
	if (r < 0)
		(void)error_set(ret_error, r, "%s", error.text[0] ? error.text : strerror(-r));
	return r;
}
