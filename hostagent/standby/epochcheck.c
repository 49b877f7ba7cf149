#include "standby/epochcheck.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "codec/encode.h"
#include "codec/lz4block.h"

void epochcheck_init(struct epochcheck *c, uint64_t term, uint64_t last_epoch, uint64_t bytes_max)
{
	memset(c, 0, offsetof(struct epochcheck, plain));
	c->term = term;
	c->last_epoch = last_epoch;
	c->bytes_max = bytes_max;
}

void epochcheck_reset(struct epochcheck *c)
{
	c->has_geometry = false;
	c->inside = false;
	c->may_keep = false;
}

void epochcheck_done(struct epochcheck *c)
{
	marks_done(&c->marks);
	memset(c, 0, offsetof(struct epochcheck, plain));
}

static int refuse(struct epochcheck *c, struct epochcheck_error *e, uint16_t code,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

static int refuse(struct epochcheck *c, struct epochcheck_error *e, uint16_t code,
		  const char *format, ...)
{
	char text[WIRE_TEXT_MAX + 1];
	va_list args;

	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args);
	va_end(args);
	e->code = code;
	if (c->inside)
		(void)error_set(&e->why, -EPROTO, "epoch %" PRIu64 ": %s", c->epoch, text);
	else
		(void)error_set(&e->why, -EPROTO, "%s", text);
	epochcheck_reset(c);
	return -EPROTO;
}

static int refuse_format(struct epochcheck *c, struct epochcheck_error *e,
			 const struct wire_error *wire)
{
	char text[WIRE_ERROR_TEXT_SIZE];

	return refuse(c, e, WIRE_STREAM_ERROR_FORMAT, "%s",
		      wire_error_text(wire, text, sizeof(text)));
}

/* ---- geometry */

/* Returns the length of "7.2" in "7.2.22 Debian ...". Two versions of one series (7.2) migrate
 * devices in the same formats. */
static size_t series_size(const char *version)
{
	size_t major = strspn(version, "0123456789");

	if (version[major] != '.')
		return major;
	return major + 1 + strspn(version + major + 1, "0123456789");
}

int epochcheck_geometry(const struct wire_geometry *primary, const struct wire_geometry *ours,
			struct error *ret_error)
{
	struct error differs;
	size_t series = series_size(primary->qemu_version);

	if (strcmp(primary->machine, ours->machine) != 0)
		return error_set(ret_error, -ESTALE,
				 "machine types differ: primary %s, standby %s; use the same -M in "
				 "the [standby] command (%s if it says pc or q35 there)",
				 primary->machine, ours->machine, primary->machine);
	if (series != series_size(ours->qemu_version) ||
	    strncmp(primary->qemu_version, ours->qemu_version, series) != 0)
		return error_set(ret_error, -ESTALE,
				 "QEMU versions differ: primary %s, standby %s; install the same "
				 "series on both hosts",
				 primary->qemu_version, ours->qemu_version);
	if (wire_geometry_compare(primary, ours, &differs) < 0)
		return error_set(ret_error, -ESTALE,
				 "the guests are built differently: %s; give the [standby] command "
				 "the same -m, -smp and devices in the same order",
				 differs.text);
	return 0;
}

/* Make sure that c->marks, which check_dup() sets, fits a guest of @n_pages pages. Returns 0 or
 * -ENOMEM. */
static int have_marks(struct epochcheck *c, uint64_t n_pages)
{
	if (c->marks.words && c->marks.n_things == n_pages)
		return 0;
	marks_done(&c->marks);
	return marks_init(n_pages, &c->marks);
}

static int on_geometry(struct epochcheck *c, const struct wire_frame *frame,
		       const struct wire_geometry *ours, struct epochcheck_error *e)
{
	struct wire_geometry g;
	struct wire_error wire;
	struct error error;

	if (c->has_geometry && frame->h.generation == c->generation)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER, "a second GEOMETRY in one generation");
	if (wire_geometry_decode(frame, &g, &wire) < 0)
		return refuse_format(c, e, &wire);
	if (ours && epochcheck_geometry(&g, ours, &error) < 0)
		return refuse(c, e, WIRE_STREAM_ERROR_GEOMETRY, "%s", error.text);
	if (have_marks(c, wire_geometry_pages(&g)) < 0) {
		(void)refuse(c, e, WIRE_STREAM_ERROR_APPLY, "no memory to check epochs with");
		return -ENOMEM;
	}
	c->geometry = g;
	c->geometry_bytes = wire_frame_size(frame);
	c->n_pages = wire_geometry_pages(&g);
	c->generation = frame->h.generation;
	c->has_geometry = true;
	c->inside = false;
	return EPOCHCHECK_GEOMETRY;
}

/* ---- one epoch */

static int on_begin(struct epochcheck *c, const struct wire_frame *frame,
		    struct epochcheck_error *e)
{
	bool full = frame->h.flags & WIRE_FLAG_FULL;
	struct wire_epoch_begin begin;
	struct wire_error wire;

	if (c->inside)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER,
			      "EPOCH_BEGIN of epoch %" PRIu64 " before its EPOCH_END",
			      frame->h.epoch);
	if (wire_epoch_begin_decode(frame, &begin, &wire) < 0)
		return refuse_format(c, e, &wire);
	/* A FULL epoch may skip numbers: the primary may have sealed epochs that never arrived
	 * here. */
	if (full ? frame->h.epoch <= c->last_epoch : frame->h.epoch != c->last_epoch + 1)
		return refuse(c, e, WIRE_STREAM_ERROR_EPOCH,
			      "epoch %" PRIu64 " begins, the standby's last is %" PRIu64,
			      frame->h.epoch, c->last_epoch);
	if (!full && begin.previous_epoch != c->last_epoch)
		return refuse(c, e, WIRE_STREAM_ERROR_EPOCH,
			      "epoch %" PRIu64 " stands on %" PRIu64
			      ", the standby's last is %" PRIu64,
			      frame->h.epoch, begin.previous_epoch, c->last_epoch);
	if (!full && c->last_epoch == 0)
		return refuse(c, e, WIRE_STREAM_ERROR_EPOCH,
			      "the first epoch of a term must be FULL");
	if (c->geometry_bytes + wire_frame_size(frame) > c->bytes_max)
		return refuse(c, e, WIRE_STREAM_ERROR_LIMIT,
			      "log_bytes_max is %" PRIu64 ": not even its first frames fit",
			      c->bytes_max);
	c->inside = true;
	c->full = full;
	c->epoch = frame->h.epoch;
	c->has_device = c->has_clock = c->has_keep = c->has_dup = false;
	c->n_records = c->n_hashes = 0;
	marks_reset(&c->marks);
	return EPOCHCHECK_BEGIN;
}

int epochcheck_unpack(const struct wire_frame *frame, uint8_t *scratch,
		      struct wire_frame *ret_plain, struct wire_error *ret_error)
{
	struct wire_lz4 lz4;

	*ret_plain = *frame;
	if (!(frame->h.flags & WIRE_FLAG_LZ4))
		return 0;
	if (wire_lz4_decode(frame, &lz4, ret_error) < 0)
		return -EPROTO;
	if (lz4block_unpack(lz4.block, lz4.block_size, scratch, lz4.plain_size) < 0) {
		*ret_error = (struct wire_error){.type = frame->h.type, .field = "block",
						 .reason = "no LZ4 block of that plain size",
						 .offset = 4};
		return -EPROTO;
	}
	ret_plain->h.flags = (uint8_t)(frame->h.flags & ~WIRE_FLAG_LZ4);
	ret_plain->h.payload_size = lz4.plain_size;
	ret_plain->payload = scratch;
	return 0;
}

/* A DUP record fills one page with the bytes of another page, its source. An agent can be killed
 * while it applies an epoch; then the epoch is applied again (epochlog.h, L4). The source must have
 * the same bytes each time.
 * - In an epoch that is not FULL, no later record of the epoch may change the source. So this
 *   function marks each source, and refuses later records of a marked page. The source may be a
 *   page without a record in this epoch.
 * - In a FULL epoch, the source must have a record before the DUP record. So this function marks
 *   each page that has a record, and refuses a DUP whose source is not marked. A page's first
 *   record replaces the page, or is a delta against a cleared page. So after it the page has the
 *   same content each time. Later records of the source do no harm.
 * Returns NULL if the record is valid, otherwise what is wrong. */
static const char *check_dup(struct epochcheck *c, const struct wire_record *record)
{
	if (c->full) {
		if (record->class == WIRE_CLASS_DUP && !marks_get(&c->marks, record->source))
			return "it copies a page that has no record yet, in a FULL epoch";
		marks_set(&c->marks, record->index, 1);
		return NULL;
	}
	if (marks_get(&c->marks, record->index))
		return "a DUP record before it has copied that page";
	if (record->class == WIRE_CLASS_DUP)
		marks_set(&c->marks, record->source, 1);
	return NULL;
}

/* A KEEP record leaves a page as it is. So it must be the page's first record; later records may
 * change the page. But then, if the epoch is applied again, a DUP record could copy other bytes
 * from this page than the first time. So an epoch may have KEEP records or DUP records, but not
 * both. Returns NULL if the record is valid, otherwise what is wrong. */
static const char *check_keep(struct epochcheck *c, const struct wire_record *record)
{
	if (record->class == WIRE_CLASS_DUP) {
		c->has_dup = true;
		return c->has_keep ? "a DUP record in an epoch with KEEP" : NULL;
	}
	if (record->class != WIRE_CLASS_KEEP)
		return NULL;
	c->has_keep = true;
	if (!c->full || !c->may_keep)
		return "it keeps a page, but no hash of that page was given";
	if (c->has_dup)
		return "a KEEP record in an epoch with DUP";
	return marks_get(&c->marks, record->index) ? "it keeps a page that has a record" : NULL;
}

/* Check all records of a PAGES or DEVICE frame. Returns EPOCHCHECK_INSIDE or -EPROTO. */
static int check_records(struct epochcheck *c, struct wire_record_iter *it,
			 uint32_t *n_records, struct epochcheck_error *e)
{
	const char *wrong = NULL;
	struct wire_record record;
	struct wire_error wire;
	int r;

	while ((r = wire_record_next(it, &record, &wire)) > 0) {
		if (record.class != WIRE_CLASS_DUP && record.class != WIRE_CLASS_KEEP &&
		    page_check(record.class, record.data, record.size) < 0)
			return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
				      "record of index %" PRIu32
				      ": its data are no page of class %u",
				      record.index, record.class);
		if (it->type == WIRE_PAGES)
			wrong = check_keep(c, &record);
		if (it->type == WIRE_PAGES && !wrong)
			wrong = check_dup(c, &record);
		if (wrong)
			return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
				      "record of index %" PRIu32 ": %s", record.index, wrong);
		(*n_records)++;
	}
	return r < 0 ? refuse_format(c, e, &wire) : EPOCHCHECK_INSIDE;
}

static int on_pages(struct epochcheck *c, const struct wire_frame *frame,
		    struct epochcheck_error *e)
{
	struct wire_record_iter it;
	struct wire_frame plain;
	struct wire_error wire;

	if (epochcheck_unpack(frame, c->plain, &plain, &wire) < 0 ||
	    wire_pages_begin(&plain, c->n_pages, &it, &wire) < 0)
		return refuse_format(c, e, &wire);
	return check_records(c, &it, &c->n_records, e);
}

static int on_device(struct epochcheck *c, const struct wire_frame *frame,
		     struct epochcheck_error *e)
{
	struct wire_record_iter it;
	struct wire_frame plain;
	struct wire_error wire;
	/* not used: EPOCH_END counts only the records of PAGES */
	uint32_t uncounted = 0;

	if (epochcheck_unpack(frame, c->plain, &plain, &wire) < 0 ||
	    wire_device_begin(&plain, &it, &wire) < 0)
		return refuse_format(c, e, &wire);
	if (c->has_device && it.blob_size != c->blob_bytes)
		return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
			      "DEVICE frames of one epoch name blob sizes %" PRIu32
			      " and %" PRIu32,
			      c->blob_bytes, it.blob_size);
	c->has_device = true;
	c->blob_bytes = it.blob_size;
	return check_records(c, &it, &uncounted, e);
}

/* Check that this host has the disk, and that all records of a DISK frame are within its size. */
static int on_disk(struct epochcheck *c, const struct wire_frame *frame, struct epochcheck_error *e)
{
	struct wire_disk_record record;
	struct wire_disk_iter it;
	struct wire_frame plain;
	struct wire_error wire;
	struct image *image;
	int r;

	if (epochcheck_unpack(frame, c->plain, &plain, &wire) < 0 ||
	    wire_disk_begin(&plain, &it, &wire) < 0)
		return refuse_format(c, e, &wire);
	image = c->images ? images_find(c->images, it.name) : NULL;
	if (!image)
		return refuse(c, e, WIRE_STREAM_ERROR_GEOMETRY,
			      "the standby has no image of disk %s; add %s:PATH to disks in the "
			      "VM's file there",
			      it.name, it.name);
	while ((r = wire_disk_next(&it, &record, &wire)) > 0) {
		if (images_check(image, &record) < 0)
			return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
				      "disk %s: %" PRIu32 " bytes at offset %" PRIu64
				      ", the image %s has %" PRIu64,
				      it.name, record.bytes, record.offset, image->path,
				      image->bytes);
	}
	return r < 0 ? refuse_format(c, e, &wire) : EPOCHCHECK_INSIDE;
}

static int on_clock(struct epochcheck *c, const struct wire_frame *frame,
		    struct epochcheck_error *e)
{
	struct wire_clock clock;
	struct wire_error wire;

	if (wire_clock_decode(frame, &clock, &wire) < 0)
		return refuse_format(c, e, &wire);
	if (c->has_clock)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER, "a second CLOCK in one epoch");
	c->has_clock = true;
	return EPOCHCHECK_INSIDE;
}

static int on_ram_hash(struct epochcheck *c, const struct wire_frame *frame,
		       struct epochcheck_error *e)
{
	struct wire_ram_hash hash;
	struct wire_error wire;

	if (wire_ram_hash_decode(frame, &hash, &wire) < 0)
		return refuse_format(c, e, &wire);
	if (hash.first_page >= c->n_pages || hash.n_pages > c->n_pages - hash.first_page)
		return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
			      "RAM_HASH of %" PRIu32 " pages from page %" PRIu32
			      ", the guest has %" PRIu64,
			      hash.n_pages, hash.first_page, c->n_pages);
	/* Limit the number of hashes: this host compares them while it applies the epoch, which
	 * delays the next COMMIT. */
	if (hash.n_pages > WIRE_RAM_HASHES_MAX - c->n_hashes)
		return refuse(c, e, WIRE_STREAM_ERROR_FORMAT,
			      "RAM_HASH frames of more than %u pages in one epoch",
			      (unsigned)WIRE_RAM_HASHES_MAX);
	c->n_hashes += hash.n_pages;
	return EPOCHCHECK_INSIDE;
}

static int on_end(struct epochcheck *c, const struct wire_frame *frame, struct epochcheck_error *e)
{
	struct wire_epoch_end end;
	struct wire_error wire;

	if (wire_epoch_end_decode(frame, &end, &wire) < 0)
		return refuse_format(c, e, &wire);
	if (end.n_frames != c->n_frames || end.n_records != c->n_records ||
	    end.payload_bytes != c->payload_bytes)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER,
			      "EPOCH_END names %" PRIu32 " frames, %" PRIu32 " records, %" PRIu64
			      " bytes; %" PRIu32 ", %" PRIu32 ", %" PRIu64 " came",
			      end.n_frames, end.n_records, end.payload_bytes, c->n_frames,
			      c->n_records, c->payload_bytes);
	if (!c->has_device)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER,
			      "no DEVICE frame: RAM without device state is no epoch");
	c->last_epoch = c->epoch;
	c->inside = false;
	return EPOCHCHECK_COMPLETE;
}

static const struct {
	uint8_t type;
	bool inside; /* the frame is allowed only within an epoch */
	int (*handle)(struct epochcheck *c, const struct wire_frame *frame,
		      struct epochcheck_error *e);
} handlers[] = {
	{WIRE_EPOCH_BEGIN, false, on_begin},
	{WIRE_PAGES, true, on_pages},
	{WIRE_DEVICE, true, on_device},
	{WIRE_CLOCK, true, on_clock},
	{WIRE_DISK, true, on_disk},
	{WIRE_RAM_HASH, true, on_ram_hash},
	{WIRE_EPOCH_END, true, on_end},
};

/* Check what does not depend on the frame's type: the header's term and generation. Returns 0 if
 * they are right, else -EPROTO. */
static int check_header(struct epochcheck *c, const struct wire_header *h,
			struct epochcheck_error *e)
{
	if (h->term != c->term)
		return refuse(c, e, WIRE_STREAM_ERROR_TERM,
			      "%s of term %" PRIu64 ", the standby is in term %" PRIu64,
			      wire_type_name(h->type), h->term, c->term);
	if (!c->has_geometry)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER, "%s before GEOMETRY",
			      wire_type_name(h->type));
	if (h->generation != c->generation)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER,
			      "%s of generation %" PRIu32 " before its GEOMETRY",
			      wire_type_name(h->type), h->generation);
	return 0;
}

/* Check that a frame belongs to the epoch that is arriving, and is the next one. Returns 0 or
 * -EPROTO. */
static int check_place(struct epochcheck *c, const struct wire_header *h,
		       struct epochcheck_error *e)
{
	if (!c->inside)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER, "%s before EPOCH_BEGIN",
			      wire_type_name(h->type));
	if (h->epoch != c->epoch)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER, "%s of epoch %" PRIu64,
			      wire_type_name(h->type), h->epoch);
	if (h->seq != c->n_frames)
		return refuse(c, e, WIRE_STREAM_ERROR_ORDER,
			      "%s has number %" PRIu32 ", %" PRIu32 " was due",
			      wire_type_name(h->type), h->seq, c->n_frames);
	/* Count headers as well as payloads, because frames without payload fill the buffer too.
	 * frame_bytes is never above bytes_max, so the subtraction cannot wrap around. */
	if (WIRE_HEADER_SIZE + (uint64_t)h->payload_size > c->bytes_max - c->frame_bytes)
		return refuse(c, e, WIRE_STREAM_ERROR_LIMIT,
			      "larger than the %" PRIu64
			      " bytes that the standby may buffer; raise log_bytes_max",
			      c->bytes_max);
	return 0;
}

int epochcheck_frame(struct epochcheck *c, const struct wire_frame *frame,
		     const struct wire_geometry *ours, struct epochcheck_error *ret_error)
{
	int r;

	if (frame->h.term == c->term && c->has_geometry && frame->h.generation < c->generation)
		return EPOCHCHECK_DROP;
	if (frame->h.type == WIRE_GEOMETRY && frame->h.term == c->term)
		return on_geometry(c, frame, ours, ret_error);
	r = check_header(c, &frame->h, ret_error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].type != frame->h.type)
			continue;
		if (handlers[i].inside)
			r = check_place(c, &frame->h, ret_error);
		if (r == 0)
			r = handlers[i].handle(c, frame, ret_error);
		if (r < 0)
			return r;
		/* an epoch begins: count its frames and bytes from zero */
		if (r == EPOCHCHECK_BEGIN) {
			c->n_frames = 0;
			c->payload_bytes = 0;
			c->frame_bytes = c->geometry_bytes;
		}
		c->n_frames++;
		c->payload_bytes += frame->h.payload_size;
		c->frame_bytes += wire_frame_size(frame);
		return r;
	}
	return refuse(c, ret_error, WIRE_STREAM_ERROR_ORDER, "%s has no place in an epoch stream",
		      wire_type_name(frame->h.type));
}
