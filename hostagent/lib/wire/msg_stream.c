/* Encodes and decodes the frames of the stream connection: GEOMETRY, EPOCH_BEGIN, PAGES, DEVICE,
 * CLOCK, EPOCH_END. */
#include "wire/msg_stream.h"

#include "wire/msg_cursor.h"

#include <inttypes.h>

int wire_empty_decode(const struct wire_frame *frame, struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, frame->h.type, error);

	return cursor_end(&c);
}

/* ---- GEOMETRY ---- */

static bool block_is_valid(const struct wire_block *block)
{
	return block->kind <= WIRE_BLOCK_OTHER && block->size_bytes > 0 &&
	       block->size_bytes % WIRE_PAGE_SIZE == 0 &&
	       block->size_bytes / WIRE_PAGE_SIZE <= WIRE_PAGES_MAX;
}

uint64_t wire_geometry_pages(const struct wire_geometry *geometry)
{
	uint64_t n = 0;

	for (uint16_t i = 0; i < geometry->n_blocks && i < WIRE_BLOCKS_MAX; i++)
		n += geometry->blocks[i].size_bytes / WIRE_PAGE_SIZE;
	return n;
}

static bool geometry_is_bounded(const struct wire_geometry *geometry)
{
	if (geometry->n_vcpus < 1 || geometry->n_vcpus > WIRE_VCPUS_MAX ||
	    geometry->ram_bytes == 0 || geometry->n_nics > WIRE_NICS_MAX ||
	    geometry->n_blocks < 1 || geometry->n_blocks > WIRE_BLOCKS_MAX)
		return false;
	for (uint16_t i = 0; i < geometry->n_blocks; i++) {
		if (!block_is_valid(&geometry->blocks[i]))
			return false;
	}
	return wire_geometry_pages(geometry) <= WIRE_PAGES_MAX;
}

int wire_geometry_encode(const struct wire_geometry *geometry, struct bytes_writer *w)
{
	if (!geometry_is_bounded(geometry))
		return write_invalid(w);
	if (write_string(w, 1, wire_label_bytes_are_valid, geometry->machine, WIRE_LABEL_MAX) < 0 ||
	    write_string(w, 1, wire_label_bytes_are_valid, geometry->qemu_version,
			 WIRE_LABEL_MAX) < 0)
		return -EINVAL;
	bytes_write_be16(w, geometry->n_vcpus);
	bytes_write_be64(w, geometry->ram_bytes);
	bytes_write_u8(w, geometry->n_nics);
	for (uint8_t i = 0; i < geometry->n_nics; i++)
		bytes_write(w, geometry->nics[i], sizeof(geometry->nics[i]));
	bytes_write_be16(w, geometry->n_blocks);
	for (uint16_t i = 0; i < geometry->n_blocks; i++) {
		const struct wire_block *block = &geometry->blocks[i];

		if (write_string(w, 1, wire_label_bytes_are_valid, block->name, WIRE_LABEL_MAX) < 0)
			return -EINVAL;
		bytes_write_u8(w, block->kind);
		bytes_write_be64(w, block->size_bytes);
	}
	return write_result(w);
}

static void decode_block(struct cursor *c, struct wire_block *ret_block)
{
	const size_t offset = cursor_offset(c);

	cursor_string(c, "block name", 1, wire_label_bytes_are_valid, ret_block->name,
		      sizeof(ret_block->name));
	ret_block->kind	      = cursor_u8(c, "block kind", 0, WIRE_BLOCK_OTHER);
	ret_block->size_bytes = cursor_u64(c, "block size_bytes");
	if (!c->failed && !block_is_valid(ret_block))
		cursor_fail(c, "block", offset, "size is 0, no multiple of a page, or too large");
}

int wire_geometry_decode(const struct wire_frame *frame, struct wire_geometry *ret_geometry,
			 struct wire_error *error)
{
	struct cursor c	       = cursor_begin(frame, WIRE_GEOMETRY, error);
	struct wire_geometry g = {0};

	cursor_string(&c, "machine", 1, wire_label_bytes_are_valid, g.machine, sizeof(g.machine));
	cursor_string(&c, "qemu_version", 1, wire_label_bytes_are_valid, g.qemu_version,
		      sizeof(g.qemu_version));
	g.n_vcpus   = cursor_u16(&c, "vcpus", 1, WIRE_VCPUS_MAX);
	g.ram_bytes = cursor_uint(&c, "ram_bytes", 8, 1, UINT64_MAX);
	g.n_nics    = cursor_u8(&c, "n_nics", 0, WIRE_NICS_MAX);
	for (uint8_t i = 0; i < g.n_nics; i++) {
		const uint8_t *mac = cursor_take(&c, "mac", sizeof(g.nics[i]));

		if (mac)
			memcpy(g.nics[i], mac, sizeof(g.nics[i]));
	}
	g.n_blocks = cursor_u16(&c, "n_blocks", 1, WIRE_BLOCKS_MAX);
	for (uint16_t i = 0; i < g.n_blocks && !c.failed; i++)
		decode_block(&c, &g.blocks[i]);
	if (!c.failed && wire_geometry_pages(&g) > WIRE_PAGES_MAX)
		cursor_fail(&c, "blocks", 0, "more pages together than an index can count");
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_geometry = g;
	return 0;
}

static int compare_blocks(const struct wire_geometry *theirs, const struct wire_geometry *ours,
			  struct error *ret_error)
{
	if (theirs->n_blocks != ours->n_blocks)
		return error_set(ret_error, -ESTALE,
				 "memory blocks: primary has %u, standby has %u", theirs->n_blocks,
				 ours->n_blocks);
	for (uint16_t i = 0; i < theirs->n_blocks; i++) {
		const struct wire_block *a = &theirs->blocks[i], *b = &ours->blocks[i];

		if (strcmp(a->name, b->name) != 0 || a->kind != b->kind ||
		    a->size_bytes != b->size_bytes) {
			return error_set(ret_error, -ESTALE,
					 "memory block %u: primary has %s of %" PRIu64
					 " bytes, standby has %s of %" PRIu64 " bytes",
					 i, a->name, a->size_bytes, b->name, b->size_bytes);
		}
	}
	return 0;
}

int wire_geometry_compare(const struct wire_geometry *theirs, const struct wire_geometry *ours,
			  struct error *ret_error)
{
	if (strcmp(theirs->machine, ours->machine) != 0)
		return error_set(ret_error, -ESTALE, "machine: primary has %s, standby has %s",
				 theirs->machine, ours->machine);
	if (theirs->n_vcpus != ours->n_vcpus)
		return error_set(ret_error, -ESTALE, "vcpus: primary has %u, standby has %u",
				 theirs->n_vcpus, ours->n_vcpus);
	if (theirs->ram_bytes != ours->ram_bytes)
		return error_set(ret_error, -ESTALE,
				 "ram_bytes: primary has %" PRIu64 ", standby has %" PRIu64,
				 theirs->ram_bytes, ours->ram_bytes);
	if (theirs->n_nics != ours->n_nics ||
	    memcmp(theirs->nics, ours->nics, sizeof(ours->nics[0]) * ours->n_nics) != 0) {
		return error_set(ret_error, -ESTALE,
				 "network cards: number or MAC addresses differ (primary has %u, "
				 "standby has %u)",
				 theirs->n_nics, ours->n_nics);
	}
	return compare_blocks(theirs, ours, ret_error);
}

/* ---- EPOCH_BEGIN, EPOCH_END ---- */

int wire_epoch_begin_encode(const struct wire_epoch_begin *begin, struct bytes_writer *w)
{
	bytes_write_be64(w, begin->previous_epoch);
	return write_result(w);
}

int wire_epoch_begin_decode(const struct wire_frame *frame, struct wire_epoch_begin *ret_begin,
			    struct wire_error *error)
{
	struct cursor c		      = cursor_begin(frame, WIRE_EPOCH_BEGIN, error);
	struct wire_epoch_begin begin = {
		.previous_epoch = cursor_uint(&c, "previous_epoch", 8, 0, WIRE_EPOCH_MAX)};

	if (!c.failed && begin.previous_epoch >= frame->h.epoch)
		cursor_fail(&c, "previous_epoch", 0, "not below the epoch itself");
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_begin = begin;
	return 0;
}

int wire_epoch_end_encode(const struct wire_epoch_end *end, struct bytes_writer *w)
{
	bytes_write_be32(w, end->n_frames);
	bytes_write_be32(w, end->n_records);
	bytes_write_be64(w, end->payload_bytes);
	return write_result(w);
}

int wire_epoch_end_decode(const struct wire_frame *frame, struct wire_epoch_end *ret_end,
			  struct wire_error *error)
{
	struct cursor c		  = cursor_begin(frame, WIRE_EPOCH_END, error);
	struct wire_epoch_end end = {0};

	end.n_frames	  = cursor_u32(&c, "n_frames", 1, UINT32_MAX);
	end.n_records	  = cursor_u32(&c, "n_records", 0, UINT32_MAX);
	end.payload_bytes = cursor_u64(&c, "payload_bytes");
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_end = end;
	return 0;
}

/* ---- CLOCK ---- */

int wire_clock_encode(const struct wire_clock *clock, struct bytes_writer *w)
{
	if (clock->ticks_per_s < 1 || clock->ticks_per_s > WIRE_TICKS_PER_S_MAX)
		return write_invalid(w);
	bytes_write_be64(w, clock->saved_ticks);
	bytes_write_be64(w, clock->saved_ns);
	bytes_write_be64(w, clock->mono_ns);
	bytes_write_be64(w, clock->ticks);
	bytes_write_be64(w, clock->ns);
	bytes_write_be64(w, clock->ticks_per_s);
	return write_result(w);
}

int wire_clock_decode(const struct wire_frame *frame, struct wire_clock *ret_clock,
		      struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_CLOCK, error);
	struct wire_clock clock = {0};
	size_t at;

	clock.saved_ticks = cursor_u64(&c, "saved_ticks");
	clock.saved_ns = cursor_u64(&c, "saved_ns");
	clock.mono_ns = cursor_u64(&c, "mono_ns");
	clock.ticks = cursor_u64(&c, "ticks");
	clock.ns = cursor_u64(&c, "ns");
	at = cursor_offset(&c);
	clock.ticks_per_s = cursor_u64(&c, "ticks_per_s");
	if (!c.failed && (clock.ticks_per_s < 1 || clock.ticks_per_s > WIRE_TICKS_PER_S_MAX))
		cursor_fail(&c, "ticks_per_s", at, "out of bounds");
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_clock = clock;
	return 0;
}

/* ---- page records ---- */

int wire_lz4_encode(const struct wire_lz4 *lz4, struct bytes_writer *w)
{
	if (lz4->plain_size < 1 || lz4->plain_size > WIRE_PAYLOAD_MAX || lz4->block_size < 1)
		return write_invalid(w);
	bytes_write_be32(w, lz4->plain_size);
	bytes_write(w, lz4->block, lz4->block_size);
	return write_result(w);
}

int wire_lz4_decode(const struct wire_frame *frame, struct wire_lz4 *ret_lz4,
		    struct wire_error *error)
{
	const bool may_be_packed = frame->h.type == WIRE_DEVICE || frame->h.type == WIRE_DISK;
	const uint8_t type	 = may_be_packed ? frame->h.type : WIRE_PAGES;
	struct cursor c	    = cursor_begin(frame, type, error);
	struct wire_lz4 lz4 = {0};

	if (!(frame->h.flags & WIRE_FLAG_LZ4))
		cursor_fail(&c, "flags", 0, "not packed");
	lz4.plain_size = cursor_u32(&c, "plain size", 1, WIRE_PAYLOAD_MAX);
	lz4.block_size = (size_t)(c.r.end - c.r.at);
	if (!c.failed && lz4.block_size == 0)
		cursor_fail(&c, "block", cursor_offset(&c), "truncated");
	lz4.block = cursor_take(&c, "block", lz4.block_size);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_lz4 = lz4;
	return 0;
}

static void refuse_packed(struct cursor *c, const struct wire_frame *frame)
{
	if (frame->h.flags & WIRE_FLAG_LZ4)
		cursor_fail(c, "flags", 0, "packed");
}

static struct wire_record_iter iter_from(const struct cursor *c, uint64_t n_pages,
					 uint32_t blob_size)
{
	return (struct wire_record_iter){
		.r	   = c->r,
		.payload   = c->start,
		.n_pages   = n_pages,
		.type	   = c->type,
		.blob_size = blob_size,
	};
}

int wire_pages_begin(const struct wire_frame *frame, uint64_t n_pages,
		     struct wire_record_iter *ret_iter, struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_PAGES, error);

	refuse_packed(&c, frame);
	if (c.failed)
		return -EPROTO;
	*ret_iter = iter_from(&c, n_pages, 0);
	return 0;
}

int wire_device_begin(const struct wire_frame *frame, struct wire_record_iter *ret_iter,
		      struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_DEVICE, error);
	uint32_t blob_size;

	refuse_packed(&c, frame);
	blob_size = cursor_u32(&c, "blob size", 1, WIRE_BLOB_MAX);
	if (c.failed)
		return -EPROTO;
	*ret_iter = iter_from(&c, (blob_size + WIRE_PAGE_SIZE - 1) / WIRE_PAGE_SIZE, blob_size);
	return 0;
}

/* Returns true if a record of @class may have @size bytes of data. This is the only code that knows
 * the sizes of all classes. */
static bool class_takes(uint8_t class, size_t size)
{
	switch (class) {
	case WIRE_CLASS_ZERO:
	case WIRE_CLASS_KEEP:
		return size == 0;
	case WIRE_CLASS_RAW:
		return size == WIRE_PAGE_SIZE;
	case WIRE_CLASS_XRLE:
		return size >= 1 && size <= WIRE_PAGE_SIZE;
	case WIRE_CLASS_BITMAP:
		return size >= WIRE_BITMAP_SIZE_MIN && size <= WIRE_BITMAP_SIZE_MAX;
	case WIRE_CLASS_DUP:
		return size == WIRE_DUP_SIZE;
	default:
		return false;
	}
}

static int refuse_record(const struct wire_record_iter *iter, const uint8_t *at, const char *field,
			 const char *reason, struct wire_error *error)
{
	if (error)
		*error = (struct wire_error){.type   = iter->type,
					     .field  = field,
					     .reason = reason,
					     .offset = (size_t)(at - iter->payload)};
	return -EPROTO;
}

int wire_record_next(struct wire_record_iter *iter, struct wire_record *ret_record,
		     struct wire_error *error)
{
	const uint8_t *p = iter->r.at;
	struct wire_record record;

	if (bytes_left(&iter->r) == 0)
		return 0;
	if (bytes_left(&iter->r) < WIRE_RECORD_HEADER_SIZE)
		return refuse_record(iter, p, "record header", "truncated", error);
	/* Read the header, and check its fields before any data is used. */
	record = (struct wire_record){
		.class = p[0],
		.size  = bytes_get_be16(p + 2),
		.index = bytes_get_be32(p + 4),
		.data  = p + WIRE_RECORD_HEADER_SIZE,
	};
	if (record.class < WIRE_CLASS_ZERO || record.class > WIRE_CLASS_KEEP)
		return refuse_record(iter, p, "record class", "not a known class", error);
	if (record.class >= WIRE_CLASS_DUP && iter->type != WIRE_PAGES)
		return refuse_record(iter, p, "record class", "of guest pages only", error);
	if (p[1] != 0)
		return refuse_record(iter, p + 1, "record reserved", "not zero", error);
	if (!class_takes(record.class, record.size))
		return refuse_record(iter, p + 2, "record size", "does not fit its class", error);
	if (record.index >= iter->n_pages)
		return refuse_record(iter, p + 4, "record index", "past the last page", error);
	if (bytes_left(&iter->r) - WIRE_RECORD_HEADER_SIZE < record.size)
		return refuse_record(iter, record.data, "record data", "truncated", error);
	if (record.class == WIRE_CLASS_DUP) {
		record.source = bytes_get_be32(record.data);
		if (record.source >= iter->n_pages)
			return refuse_record(iter, record.data, "record source",
					     "past the last page", error);
		if (record.source == record.index)
			return refuse_record(iter, record.data, "record source", "the page itself",
					     error);
	}
	iter->r.at  = record.data + record.size;
	*ret_record = record;
	return 1;
}

int wire_device_encode(uint32_t blob_size, struct bytes_writer *w)
{
	if (blob_size < 1 || blob_size > WIRE_BLOB_MAX)
		return write_invalid(w);
	bytes_write_be32(w, blob_size);
	return write_result(w);
}
