#include "standby_feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/lz4block.h"

#define MUST(call)                                                                                 \
	do {                                                                                       \
		if ((call) < 0) {                                                                  \
			fprintf(stderr, "standby_feed: %s failed\n", #call);                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

void feed_init(struct feed *f, uint64_t term, const struct wire_geometry *geometry)
{
	memset(f, 0, sizeof(*f));
	f->term = term;
	f->generation = 1;
	f->geometry = *geometry;
}

void feed_done(struct feed *f)
{
	free(f->bytes);
	memset(f, 0, sizeof(*f));
}

void feed_clear(struct feed *f)
{
	f->size = 0;
}

static void add_bytes(struct feed *f, const uint8_t *bytes, size_t size)
{
	if (f->size + size > f->room) {
		f->room = (f->size + size) * 2;
		f->bytes = realloc(f->bytes, f->room);
		MUST(f->bytes ? 0 : -1);
	}
	memcpy(f->bytes + f->size, bytes, size);
	f->size += size;
}

/* Replace the frame's payload by its packed form (LZ4), unless that does not fit into a frame. */
static void pack(uint8_t *frame, struct bytes_writer *w, struct wire_header *h)
{
	static uint8_t block[2 * WIRE_PAYLOAD_MAX];
	static struct lz4block_state state;
	uint8_t *payload = frame + WIRE_HEADER_SIZE;
	struct wire_lz4 lz4 = {.plain_size = (uint32_t)(w->at - payload), .block = block};

	lz4.block_size = lz4block_pack(&state, payload, lz4.plain_size, block, sizeof(block));
	if (lz4.block_size == 0 || lz4.block_size > WIRE_PAYLOAD_MAX - 4)
		return;
	*w = (struct bytes_writer){.at = payload, .end = w->end};
	MUST(wire_lz4_encode(&lz4, w));
	h->flags |= WIRE_FLAG_LZ4;
}

static void add_frame(struct feed *f, uint8_t *frame, const struct bytes_writer *filled,
		      const struct wire_header *plain)
{
	const struct wire_header *h = plain;
	struct wire_header packed = *plain;
	struct bytes_writer w = *filled;
	size_t size;

	if (f->packs && (h->type == WIRE_PAGES || h->type == WIRE_DEVICE ||
			 h->type == WIRE_DISK)) {
		pack(frame, &w, &packed);
		h = &packed;
	}
	MUST(wire_frame_finish(frame, &w, h, &size));
	add_bytes(f, frame, size);
	if (h->type == WIRE_GEOMETRY || h->type == WIRE_MACHINE)
		return;
	f->n_frames++;
	f->payload_bytes += size - WIRE_HEADER_SIZE;
}

static struct wire_header header(const struct feed *f, uint8_t type)
{
	return (struct wire_header){.type = type, .term = f->term, .epoch = f->epoch,
				    .seq = f->n_frames, .generation = f->generation};
}

void feed_frame(struct feed *f, const struct wire_header *h, const uint8_t *payload, size_t size)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct bytes_writer w;

	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	bytes_write(&w, payload, size);
	add_frame(f, frame, &w, h);
}

void feed_geometry(struct feed *f)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct wire_header h = {.type = WIRE_GEOMETRY, .term = f->term,
				.generation = f->generation};
	struct bytes_writer w;

	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_geometry_encode(&f->geometry, &w));
	add_frame(f, frame, &w, &h);
}

void feed_machine(struct feed *f, const char *value)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct wire_header h = {.type = WIRE_MACHINE, .term = f->term, .generation = f->generation};
	struct bytes_writer w;

	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_machine_encode(true, &w));
	if (value)
		MUST(wire_machine_item_encode(&w, "CPU 0", value));
	add_frame(f, frame, &w, &h);
}

void feed_begin(struct feed *f, bool full)
{
	struct wire_epoch_begin begin = {.previous_epoch = f->epoch};
	uint8_t frame[128];
	struct wire_header h;
	struct bytes_writer w;

	f->epoch++;
	f->n_frames = f->n_records = 0;
	f->payload_bytes = 0;
	h = header(f, WIRE_EPOCH_BEGIN);
	h.flags = (full ? WIRE_FLAG_FULL : 0) | (f->is_unheld ? WIRE_FLAG_UNHELD : 0);
	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_epoch_begin_encode(&begin, &w));
	add_frame(f, frame, &w, &h);
}

static void flush_pages(struct feed *f)
{
	struct wire_header h = header(f, WIRE_PAGES);

	if (f->open)
		add_frame(f, f->frame, &f->w, &h);
	f->open = false;
}

static uint8_t *record_room(struct feed *f)
{
	if (f->open && (size_t)(f->w.end - f->w.at) < PAGE_RECORD_ROOM)
		flush_pages(f);
	if (!f->open)
		MUST(wire_frame_begin(f->frame, sizeof(f->frame), &f->w));
	return f->w.at;
}

static void record_added(struct feed *f, size_t size)
{
	f->w.at += size;
	f->open = true;
	f->n_records++;
}

void feed_page(struct feed *f, uint32_t index, const uint8_t *page, uint8_t *reference, bool delta)
{
	struct page_encoder e = {.features = delta ? PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP : 0};
	size_t size = page_encode(&e, index, page, reference, record_room(f));

	if (size)
		record_added(f, size);
}

void feed_record(struct feed *f, uint8_t class, uint32_t index, const uint8_t *data, size_t size)
{
	uint8_t *at = record_room(f);

	at[0] = class;
	at[1] = 0;
	bytes_put_be16(at + 2, (uint16_t)size);
	bytes_put_be32(at + 4, index);
	if (size)
		memcpy(at + 8, data, size);
	record_added(f, 8 + size);
}

void feed_dup(struct feed *f, uint32_t index, uint32_t source)
{
	uint8_t data[PAGE_DUP_BYTES];

	bytes_put_be32(data, source);
	feed_record(f, WIRE_CLASS_DUP, index, data, sizeof(data));
}

void feed_blob(struct feed *f, const uint8_t *blob, uint32_t size, uint8_t *reference, bool delta)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	uint32_t n = (size + WIRE_PAGE_SIZE - 1) / WIRE_PAGE_SIZE, i = 0;

	flush_pages(f);
	do {
		struct bytes_writer w;
		struct wire_header h = header(f, WIRE_DEVICE);

		MUST(wire_frame_begin(frame, sizeof(frame), &w));
		MUST(wire_device_encode(size, &w));
		for (; i < n && (size_t)(w.end - w.at) >= PAGE_RECORD_ROOM; i++) {
			struct page_encoder e = {
				.features = delta ? PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP : 0};
			uint8_t piece[WIRE_PAGE_SIZE] = {0};
			size_t at = (size_t)i * WIRE_PAGE_SIZE;

			memcpy(piece, blob + at,
			       size - at < sizeof(piece) ? size - at : sizeof(piece));
			w.at += page_encode(&e, i, piece, reference + at, w.at);
		}
		add_frame(f, frame, &w, &h);
	} while (i < n);
}

void feed_disk(struct feed *f, const char *name, const struct wire_disk_record *records, size_t n)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct bytes_writer w;
	struct wire_header h;

	flush_pages(f);
	h = header(f, WIRE_DISK);
	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_disk_encode(name, &w));
	for (size_t i = 0; i < n; i++)
		MUST(wire_disk_record_encode(&w, &records[i]));
	add_frame(f, frame, &w, &h);
}

void feed_ram_hash(struct feed *f, uint32_t first, uint32_t n, const uint8_t *pages)
{
	static uint8_t frame[WIRE_FRAME_MAX], hashes[WIRE_RAM_HASHES_MAX * WIRE_HASH_SIZE];
	struct wire_ram_hash hash = {.seed = 5, .first_page = first, .n_pages = n,
				     .hashes = hashes};
	struct bytes_writer w;
	struct wire_header h;

	for (uint32_t i = 0; i < n; i++)
		wire_hash(hash.seed, pages + (size_t)i * WIRE_PAGE_SIZE, WIRE_PAGE_SIZE,
			  hashes + (size_t)i * WIRE_HASH_SIZE);
	flush_pages(f);
	h = header(f, WIRE_RAM_HASH);
	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_ram_hash_encode(&hash, &w));
	add_frame(f, frame, &w, &h);
}

void feed_end(struct feed *f)
{
	struct wire_epoch_end end;
	uint8_t frame[128];
	struct wire_header h;
	struct bytes_writer w;

	flush_pages(f);
	end = (struct wire_epoch_end){f->n_frames, f->n_records, f->payload_bytes};
	h = header(f, WIRE_EPOCH_END);
	MUST(wire_frame_begin(frame, sizeof(frame), &w));
	MUST(wire_epoch_end_encode(&end, &w));
	add_frame(f, frame, &w, &h);
}

void feed_small_geometry(struct wire_geometry *g, uint32_t ram_pages, uint32_t rom_pages)
{
	memset(g, 0, sizeof(*g));
	strcpy(g->machine, "pc-i440fx-7.2");
	strcpy(g->qemu_version, "7.2.22 Debian");
	g->n_vcpus = 1;
	g->ram_bytes = (uint64_t)ram_pages * WIRE_PAGE_SIZE;
	g->n_blocks = 2;
	strcpy(g->blocks[0].name, "pc.ram");
	g->blocks[0].kind = WIRE_BLOCK_RAM;
	g->blocks[0].size_bytes = g->ram_bytes;
	strcpy(g->blocks[1].name, "pc.bios");
	g->blocks[1].kind = WIRE_BLOCK_OTHER;
	g->blocks[1].size_bytes = (uint64_t)rom_pages * WIRE_PAGE_SIZE;
}
