#include "encoder_fixture.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec/encode.h"
#include "codec/lz4block.h"
#include "page_patterns.h"
#include "wire/msg.h"

struct copy copy_new(uint32_t n_max)
{
	return (struct copy){.ranges = calloc(n_max, sizeof(struct page_range)),
			     .pages = malloc((size_t)n_max * 4096)};
}

void copy_free(struct copy *copy)
{
	free(copy->ranges);
	free(copy->pages);
}

void fixture_make_encoder(struct fixture *f, size_t bytes_max)
{
	encoder_free(f->encoder);
	retain_free(f->retain);
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, bytes_max, &f->retain), 0);
	assert_int_equal(
		encoder_new(N_PAGES, REFERENCE_PAGES, f->n_threads, f->retain, &f->encoder), 0);
	encoder_set_features(f->encoder, PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP);
}

/* On entry, *state points to the number of encoding threads. */
int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->n_threads = *(const uint32_t *)*state;
	fixture_make_encoder(f, (size_t)64 << 20);
	f->pages = calloc(N_PAGES, 4096);
	f->standby.pages = calloc(N_PAGES, 4096);
	f->standby.kept = calloc(N_PAGES, 4096);
	f->copy = copy_new(COPY_MAX);
	f->blob = calloc(1, BLOB_MAX);
	f->standby.blob = calloc(1, BLOB_MAX);
	for (size_t i = 0; i < N_DISKS; i++)
		f->standby.disks[i] = calloc(1, DISK_BYTES);
	srand(1);
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	encoder_free(f->encoder);
	retain_free(f->retain);
	free(f->pages);
	free(f->standby.pages);
	free(f->standby.kept);
	copy_free(&f->copy);
	free(f->blob);
	free(f->standby.blob);
	for (size_t i = 0; i < N_DISKS; i++)
		free(f->standby.disks[i]);
	free(f);
	return 0;
}

/* Apply a KEEP record. Such a record is allowed only in a FULL epoch, as the first record of its
 * page. */
static void apply_keep(struct standby *s, const struct wire_record *record)
{
	assert_true(s->is_full);
	assert_false(s->marks[record->index]);
	s->has_kept = true;
	memcpy(s->pages + (size_t)record->index * 4096, s->kept + (size_t)record->index * 4096,
	       4096);
}

/* Apply a DUP record: copy its source page to the record's own page. In a FULL epoch, an earlier
 * record of the same epoch must have set the source page. */
static void apply_dup(struct standby *s, const struct wire_record *record)
{
	assert_false(s->has_kept);
	if (s->is_full)
		assert_true(s->marks[record->source]);
	else
		s->marks[record->source] = true;
	memcpy(s->pages + (size_t)record->index * 4096, s->pages + (size_t)record->source * 4096,
	       4096);
}

static void apply_records(struct standby *s, struct wire_record_iter *iter, uint8_t *base,
			  uint32_t *n_records)
{
	struct wire_record record;
	int r;

	while ((r = wire_record_next(iter, &record, NULL)) == 1) {
		if (iter->type == WIRE_PAGES && !s->is_full)
			assert_false(s->marks[record.index]);
		if (record.class == WIRE_CLASS_KEEP)
			apply_keep(s, &record);
		if (iter->type == WIRE_PAGES && s->is_full)
			s->marks[record.index] = true;
		if (record.class == WIRE_CLASS_KEEP) {
			(*n_records)++;
			continue;
		}
		if (record.class == WIRE_CLASS_DUP) {
			apply_dup(s, &record);
			(*n_records)++;
			continue;
		}
		assert_int_equal(page_check(record.class, record.data, record.size), 0);
		assert_int_equal(page_apply(record.class, record.data, record.size,
					    base + (size_t)record.index * 4096),
				 0);
		(*n_records)++;
	}
	assert_int_equal(r, 0);
}

static void apply_changes(struct standby *s, const struct wire_frame *frame)
{
	struct wire_disk_record record;
	struct wire_disk_iter iter;
	uint8_t *disk;
	int r;

	assert_int_equal(wire_disk_begin(frame, &iter, NULL), 0);
	assert_true(strcmp(iter.name, "vda") == 0 || strcmp(iter.name, "vdb") == 0);
	disk = s->disks[iter.name[2] - 'a'];
	while ((r = wire_disk_next(&iter, &record, NULL)) == 1) {
		assert_true(record.offset + record.bytes <= DISK_BYTES);
		if (record.op == WIRE_DISK_WRITE)
			memcpy(disk + record.offset, record.data, record.bytes);
		else
			memset(disk + record.offset, 0, record.bytes);
	}
	assert_int_equal(r, 0);
}

/* Unpack the frame as the standby's epochcheck_unpack() does. */
static struct wire_frame unpack(const struct wire_frame *frame)
{
	static uint8_t plain[WIRE_PAYLOAD_MAX];
	struct wire_frame out = *frame;
	struct wire_lz4 lz4;

	if (frame->h.type == WIRE_EPOCH_BEGIN || !(frame->h.flags & WIRE_FLAG_LZ4))
		return out;
	assert_int_equal(wire_lz4_decode(frame, &lz4, NULL), 0);
	assert_int_equal(lz4block_unpack(lz4.block, lz4.block_size, plain, lz4.plain_size), 0);
	assert_true(frame->h.payload_size < lz4.plain_size);
	out.h.flags = 0;
	out.h.payload_size = lz4.plain_size;
	out.payload = plain;
	return out;
}

static void take_frame(struct standby *s, const struct wire_frame *frame)
{
	const struct wire_frame plain = unpack(frame);
	struct wire_record_iter iter;
	struct wire_epoch_begin begin;
	struct wire_epoch_end end;
	uint32_t ignored = 0;

	switch (frame->h.type) {
	case WIRE_EPOCH_BEGIN:
		assert_int_equal(wire_epoch_begin_decode(frame, &begin, NULL), 0);
		if (frame->h.flags & WIRE_FLAG_FULL) {
			memcpy(s->kept, s->pages, (size_t)N_PAGES * 4096);
			memset(s->pages, 0, (size_t)N_PAGES * 4096);
			memset(s->blob, 0, BLOB_MAX);
		} else {
			assert_int_equal(begin.previous_epoch, s->epoch);
		}
		s->n_records = 0;
		s->has_kept = false;
		s->is_ended = false;
		s->is_full = frame->h.flags & WIRE_FLAG_FULL;
		memset(s->marks, 0, sizeof(s->marks));
		s->epoch = frame->h.epoch;
		s->n_frames = 0;
		s->payload_bytes = 0;
		break;
	case WIRE_PAGES:
		assert_int_equal(wire_pages_begin(&plain, N_PAGES, &iter, NULL), 0);
		apply_records(s, &iter, s->pages, &s->n_records);
		break;
	case WIRE_DEVICE:
		assert_int_equal(wire_device_begin(&plain, &iter, NULL), 0);
		s->blob_size = iter.blob_size;
		apply_records(s, &iter, s->blob, &ignored);
		break;
	case WIRE_DISK:
		apply_changes(s, &plain);
		s->n_disk_frames++;
		s->n_packed_disk_frames += frame->h.flags & WIRE_FLAG_LZ4;
		break;
	case WIRE_EPOCH_END:
		assert_int_equal(wire_epoch_end_decode(frame, &end, NULL), 0);
		assert_int_equal(end.n_frames, s->n_frames);
		assert_int_equal(end.n_records, s->n_records);
		assert_int_equal(end.payload_bytes, s->payload_bytes);
		/* The next epoch's DEVICE frames change this blob. By the wire format, the bytes
		 * after its end are then zero, so clear what an earlier, longer blob has left
		 * there. */
		memset(s->blob + s->blob_size, 0, BLOB_MAX - s->blob_size);
		s->is_ended = true;
		break;
	default:
		fail_msg("frame of type %u", frame->h.type);
	}
	s->n_frames++;
	s->payload_bytes += frame->h.payload_size;
}

/* Encode and decode one frame as on the wire, so that the wire's limits are checked too. Then give
 * it to the standby. Returns false if no frame was ready. */
bool fixture_deliver_frame(struct fixture *f)
{
	static uint8_t buffer[WIRE_FRAME_MAX];
	struct retain_frame kept;
	struct wire_header header;
	const uint8_t *at = buffer;
	struct wire_frame frame;
	struct bytes_writer w;
	size_t size;

	if (retain_next(f->retain, &kept) < 0)
		return false;
	header = (struct wire_header){.type = kept.type, .flags = kept.flags, .seq = kept.seq,
				      .generation = 1, .term = 3, .epoch = kept.epoch};
	assert_int_equal(wire_frame_begin(buffer, sizeof(buffer), &w), 0);
	bytes_write(&w, kept.payload, kept.size);
	assert_int_equal(wire_frame_finish(buffer, &w, &header, &size), 0);
	assert_int_equal(wire_frame_decode(&at, buffer + size, &frame, NULL), 0);
	take_frame(&f->standby, &frame);
	retain_sent(f->retain);
	return true;
}

void fixture_deliver(struct fixture *f)
{
	while (fixture_deliver_frame(f))
		;
	assert_true(f->standby.is_ended);
	assert_true(memcmp(f->standby.pages, f->pages, (size_t)N_PAGES * 4096) == 0);
	assert_int_equal(f->standby.blob_size, f->blob_size);
	assert_memory_equal(f->standby.blob, f->blob, f->blob_size);
}

static void fill_random(uint8_t *bytes, size_t size)
{
	static uint64_t random = 1;

	for (size_t i = 0; i < size; i += PAGE_BYTES)
		pattern_fill(&random, bytes + i);
}

void fixture_change_page(uint8_t *page)
{
	switch (rand() % 5) {
	case 0:
		memset(page, 0, 4096);
		break;
	case 1:
		fill_random(page, 4096);
		break;
	default:
		for (int i = rand() % 40; i >= 0; i--)
			page[rand() % 4096] = (uint8_t)rand();
	}
}

void fixture_change_blob(struct fixture *f)
{
	f->blob_size = BLOB_MAX / 2 + (size_t)(rand() % (int)(BLOB_MAX / 2)) + 1;
	if (rand() % 3 == 0)
		f->blob_size = (size_t)(rand() % 9000) + 1;
	for (int i = 0; i < 50; i++)
		f->blob[(size_t)rand() % f->blob_size] = (uint8_t)rand();
	memset(f->blob + f->blob_size, 0, BLOB_MAX - f->blob_size);
}

void fixture_copy_page(struct fixture *f, struct copy *copy, uint32_t index)
{
	assert_true(copy->n < COPY_MAX);
	copy->ranges[copy->n] = (struct page_range){index, 1};
	memcpy(copy->pages + (size_t)copy->n++ * 4096, f->pages + (size_t)index * 4096, 4096);
}

struct encoder_cursor copy_cursor(const struct copy *copy)
{
	return (struct encoder_cursor){.ranges = copy->ranges, .n_ranges = copy->n,
				       .pages = copy->pages};
}

void fixture_wait(struct fixture *f)
{
	struct pollfd fd = {.fd = encoder_fd(f->encoder), .events = POLLIN};

	assert_int_equal(poll(&fd, 1, 10000), 1);
}

int fixture_offer(struct fixture *f, struct encoder_cursor cursor)
{
	int r;

	while ((r = encoder_pages(f->encoder, &cursor)) == 1 || r == -EAGAIN) {
		if (r == -EAGAIN)
			fixture_wait(f);
	}
	return r;
}

void fixture_offer_all(struct fixture *f)
{
	struct page_range ranges[3] = {{0, 5}, {5, 1}, {6, N_PAGES - 6}};

	assert_int_equal(fixture_offer(f, (struct encoder_cursor){.ranges = ranges, .n_ranges = 3,
							  .pages = f->pages}),
			 0);
}

void fixture_end(struct fixture *f)
{
	fixture_change_blob(f);
	assert_int_equal(encoder_device(f->encoder, f->blob, f->blob_size), 0);
	assert_int_equal(encoder_end(f->encoder), 0);
}
