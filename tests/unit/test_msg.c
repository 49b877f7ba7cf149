/* Tests msg_*.c. Each message is encoded. The result must be decoded as a whole, and must be
 * refused when it is cut short at any length. Each limit is tested with a value just inside it and
 * a value just outside. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exact.h"
#include "msg_frames.h"
#include "wire_samples.h"

/* Returns whether an item of a MACHINE frame ends at byte @size of the payload. */
static bool is_item_end(const struct wire_frame *frame, size_t size)
{
	struct wire_machine_iter iter;
	struct wire_machine_item item;

	assert_int_equal(wire_machine_begin(frame, &iter, NULL), 0);
	do {
		if ((size_t)(iter.r.at - iter.payload) == size)
			return true;
	} while (wire_machine_next(&iter, &item, NULL) > 0);
	return false;
}

/* Returns whether the name or a record of a DISK frame ends at byte @size of the payload. */
static bool is_change_end(const struct wire_frame *frame, size_t size)
{
	struct wire_disk_record record;
	struct wire_disk_iter iter;

	assert_int_equal(wire_disk_begin(frame, &iter, NULL), 0);
	do {
		if ((size_t)(iter.r.at - iter.payload) == size)
			return true;
	} while (wire_disk_next(&iter, &record, NULL) > 0);
	return false;
}

/* Returns whether the payload is still complete after a cut to @size bytes. */
static bool is_whole_at(const struct wire_frame *frame, size_t size)
{
	struct wire_record_iter iter;
	struct wire_record record;

	if (frame->h.type == WIRE_WITNESS_KEY) /* the client address at the end is optional */
		return size == sizeof("web1") + 4 + 2 + WIRE_WITNESS_KEY_SIZE;
	/* the incarnation at the end is optional, also in the next two types */
	if (frame->h.type == WIRE_WELCOME)
		return size == 2 + 8 + sizeof("gw-1");
	if (frame->h.type == WIRE_ORDER)
		return size == 8 + 1 + sizeof("web1") + 2;
	if (frame->h.type == WIRE_LEASE)
		return size == sizeof("web1") + 8 + 4 + 4;
	if (frame->h.type == WIRE_MACHINE)
		return is_item_end(frame, size);
	if (frame->h.type == WIRE_RAM_HASH)
		return size == 12 + WIRE_HASH_SIZE;
	if ((frame->h.type == WIRE_PAGES || frame->h.type == WIRE_DISK) &&
	    (frame->h.flags & WIRE_FLAG_LZ4))
		return size > 4; /* the cut is noticed only when the LZ4 block is unpacked */
	if (frame->h.type == WIRE_DISK)
		return is_change_end(frame, size);
	if (frame->h.type == WIRE_PAGES)
		assert_int_equal(wire_pages_begin(frame, WIRE_SAMPLE_PAGES, &iter, NULL), 0);
	else if (frame->h.type == WIRE_DEVICE)
		assert_int_equal(wire_device_begin(frame, &iter, NULL), 0);
	else
		return false;
	do {
		if ((size_t)(iter.r.at - iter.payload) == size)
			return true;
	} while (wire_record_next(&iter, &record, NULL) > 0);
	return false;
}

static void cut_anywhere(void **state)
{
	static uint8_t buffer[WIRE_FRAME_MAX], again[WIRE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < n_wire_samples; i++) {
		size_t size	  = wire_sample_build(&wire_samples[i], buffer);
		const uint8_t *at = buffer;
		struct wire_frame whole;

		assert_true(size >= WIRE_HEADER_SIZE);
		assert_int_equal(wire_frame_decode(&at, buffer + size, &whole, NULL), 0);
		for (size_t n = 0; n <= whole.h.payload_size; n++) {
			struct wire_frame cut = frame_of(whole.h.type, whole.payload, n,
							 whole.h.epoch);
			bool good = n == whole.h.payload_size || is_whole_at(&whole, n);
			struct wire_error error = {0};
			struct bytes_writer w;
			int r;

			cut.h.flags = whole.h.flags;
			assert_int_equal(wire_frame_begin(again, sizeof(again), &w), 0);
			r = wire_reencode(&cut, &w, &error);
			assert_int_equal(r, good ? 0 : -EPROTO);
			if (r < 0) {
				assert_non_null(error.field);
				assert_non_null(error.reason);
				assert_true(error.offset <= n);
				assert_int_equal(error.type, whole.h.type);
			} else {
				assert_memory_equal(again + WIRE_HEADER_SIZE, whole.payload, n);
			}
			frame_done(&cut);
		}
	}
}

static void trailing_bytes(void **state)
{
	static uint8_t buffer[WIRE_FRAME_MAX + 1], again[WIRE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < n_wire_samples; i++) {
		const struct wire_header *h = &wire_samples[i].header;
		size_t size		    = wire_sample_build(&wire_samples[i], buffer);
		struct wire_frame longer;
		struct bytes_writer w;
		int r;

		buffer[size] = 0;
		longer = frame_of(h->type, buffer + WIRE_HEADER_SIZE, size - WIRE_HEADER_SIZE + 1,
				  h->epoch);
		assert_int_equal(wire_frame_begin(again, sizeof(again), &w), 0);
		r = wire_reencode(&longer, &w, NULL);
		/* Only HELLO may get longer in a later version. */
		assert_int_equal(r,
				 strcmp(wire_samples[i].name, "hello-stream") == 0 ? 0 : -EPROTO);
		frame_done(&longer);
	}
}

/* In every sample, replace one byte of the payload by every value. The decoder must return an
 * error, or accept a message that encodes to the same bytes. */
static void any_byte_replaced(void **state)
{
	static uint8_t buffer[WIRE_FRAME_MAX], again[WIRE_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < n_wire_samples; i++) {
		const struct wire_header *h = &wire_samples[i].header;
		size_t size		    = wire_sample_build(&wire_samples[i], buffer);
		size_t n		    = size - WIRE_HEADER_SIZE;
		struct wire_frame frame;

		/* Only the first 300 bytes are replaced: the 4 KiB of a raw page are plain data. */
		frame = frame_of(h->type, buffer + WIRE_HEADER_SIZE, n, h->epoch);
		for (size_t at = 0; at < n && at < 300; at++) {
			uint8_t *p = (uint8_t *)frame.payload + at, old = *p;

			for (unsigned v = 0; v < 256; v++) {
				struct bytes_writer w;
				int r;

				*p = (uint8_t)v;
				assert_int_equal(wire_frame_begin(again, sizeof(again), &w), 0);
				r = wire_reencode(&frame, &w, NULL);
				assert_true(r == 0 || r == -EPROTO);
				if (r == 0 && h->type != WIRE_HELLO)
					assert_memory_equal(again + WIRE_HEADER_SIZE, frame.payload,
							    n);
			}
			*p = old;
		}
		frame_done(&frame);
	}
}

static void wrong_type_is_refused(void **state)
{
	struct wire_frame frame = frame_of(WIRE_COMMIT, NULL, 0, 1);
	struct wire_record_iter iter;
	struct wire_disk_iter disk;
	struct wire_welcome welcome;
	struct wire_failure failure;
	struct wire_hello hello;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];

	(void)state;
	assert_int_equal(wire_hello_decode(&frame, &hello, &error), -EPROTO);
	assert_string_equal(wire_error_text(&error, text, sizeof(text)),
			    "COMMIT frame: type at payload offset 0: not the expected frame");
	assert_int_equal(wire_welcome_decode(&frame, &welcome, NULL), -EPROTO);
	assert_int_equal(wire_failure_decode(&frame, &failure, NULL), -EPROTO);
	assert_int_equal(wire_pages_begin(&frame, 1, &iter, NULL), -EPROTO);
	assert_int_equal(wire_device_begin(&frame, &iter, NULL), -EPROTO);
	assert_int_equal(wire_disk_begin(&frame, &disk, NULL), -EPROTO);
	assert_int_equal(wire_empty_decode(&frame, NULL), 0);
	frame_done(&frame);
}

static void hello_rules(void **state)
{
	const struct wire_hello good = {.version_min = 1,
					.version_max = 1,
					.kind = WIRE_KIND_STREAM,
					.role = WIRE_VM_ROLE_PRIMARY,
					.vm = "a"};
	struct wire_hello h;
	struct bytes_writer w = writer(256);

	(void)state;
	assert_int_equal(wire_hello_encode(&good, &w), 0);
	w = writer(31);
	assert_int_equal(wire_hello_encode(&good, &w), -ENOBUFS);
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		h = good;                                                                          \
		change;                                                                            \
		w = writer(256);                                                                   \
		assert_int_equal(wire_hello_encode(&h, &w), -EINVAL);                              \
		assert_true(w.bad);                                                                \
	} while (0)
	REFUSED(h.version_min = 0);
	REFUSED(h.version_min = 2);
	REFUSED(h.kind = 0);
	REFUSED(h.kind = 4);
	REFUSED((h.kind = WIRE_KIND_PEER, h.role = WIRE_VM_ROLE_STANDBY));
	REFUSED(h.role = 3);
	REFUSED(h.role = 0);
	REFUSED(h.kind = WIRE_KIND_CONTROL);
	REFUSED(h.vm[0] = '\0');
	REFUSED(h.vm[0] = 'A');
	REFUSED(memset(h.vm, 'a', sizeof(h.vm)));
#undef REFUSED
	wire_hello_init(&h, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY,
			"a-name-of-far-more-than-sixty-three-characters-which-nobody-would-choose");
	w = writer(256);
	assert_int_equal(wire_hello_encode(&h, &w), -EINVAL);
}

static void negotiation(void **state)
{
	struct wire_hello h;
	struct error why;
	uint16_t version = 0, code = 0;
	uint64_t features = 0;

	(void)state;
	wire_hello_init(&h, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, "web1");
	assert_true((h.features_required | h.features_optional) == WIRE_STREAM_FEATURES);
	h.features_optional = 1ULL << 63;
	h.version_max	    = 9;
	assert_int_equal(wire_hello_negotiate(&h, &version, &features, &code, &why), 0);
	assert_int_equal(version, 1);
	assert_true(features == WIRE_FEATURE_XRLE);
	h.features_optional = 1ULL << 63 | WIRE_FEATURE_BITMAP;
	assert_int_equal(wire_hello_negotiate(&h, &version, &features, &code, &why), 0);
	assert_true(features == (WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP));
	h.features_required |= 1ULL << 62;
	assert_int_equal(wire_hello_negotiate(&h, &version, &features, &code, &why),
			 -EPROTONOSUPPORT);
	assert_int_equal(code, WIRE_REFUSED_FEATURE);
	assert_string_equal(why.text, "agent requires features 0x4000000000000000, unknown to this "
				  "gateway");
	h.version_min = 2;
	assert_int_equal(wire_hello_negotiate(&h, &version, &features, &code, &why),
			 -EPROTONOSUPPORT);
	assert_int_equal(code, WIRE_REFUSED_VERSION);
	assert_string_equal(why.text, "agent speaks wire versions 2 to 9, gateway speaks 1");
}

static void largest_report(void **state)
{
	static struct wire_report r, got;
	struct wire_header h = {.type = WIRE_REPORT};
	struct wire_frame frame;
	struct bytes_writer w;
	const uint8_t *at = scratch;
	size_t size;

	(void)state;
	memset(r.vm, 'v', WIRE_NAME_MAX);
	memset(r.text, 't', WIRE_TEXT_MAX);
	for (size_t i = 0; i < WIRE_STATS_MAX; i += 128) {
		memset(r.stats + i, 'k', 128);
		r.stats[i + 60]	 = '=';
		r.stats[i + 127] = '\n';
	}
	assert_int_equal(wire_frame_begin(scratch, sizeof(scratch), &w), 0);
	assert_int_equal(wire_report_encode(&r, &w), 0);
	assert_int_equal(wire_frame_finish(scratch, &w, &h, &size), 0);
	assert_int_equal(wire_frame_decode(&at, scratch + size, &frame, NULL), 0);
	assert_int_equal(wire_report_decode(&frame, &got, NULL), 0);
	assert_memory_equal(&r, &got, sizeof(r));
	r.state = WIRE_STATE_COUNT;
	w	= writer(sizeof(scratch));
	assert_int_equal(wire_report_encode(&r, &w), -EINVAL);
	r.state	 = 0;
	r.text[3] = '\n';
	w	 = writer(sizeof(scratch));
	assert_int_equal(wire_report_encode(&r, &w), -EINVAL);
}

static void largest_geometry(void **state)
{
	static struct wire_geometry g, got;
	struct wire_header h = {.type = WIRE_GEOMETRY};
	struct wire_frame frame;
	struct bytes_writer w;
	struct wire_error error;
	const uint8_t *at = scratch;
	struct error why;
	size_t size;

	(void)state;
	memset(g.machine, 'm', WIRE_LABEL_MAX);
	memset(g.qemu_version, 'q', WIRE_LABEL_MAX);
	g.n_vcpus   = WIRE_VCPUS_MAX;
	g.ram_bytes = UINT64_MAX;
	g.n_nics    = WIRE_NICS_MAX;
	g.n_blocks  = WIRE_BLOCKS_MAX;
	memset(g.nics, 0xab, sizeof(g.nics));
	for (int i = 0; i < WIRE_BLOCKS_MAX; i++) {
		memset(g.blocks[i].name, 'b', WIRE_LABEL_MAX);
		g.blocks[i].size_bytes = WIRE_PAGE_SIZE;
	}
	assert_int_equal(wire_frame_begin(scratch, sizeof(scratch), &w), 0);
	assert_int_equal(wire_geometry_encode(&g, &w), 0);
	assert_int_equal(wire_frame_finish(scratch, &w, &h, &size), 0);
	assert_int_equal(wire_frame_decode(&at, scratch + size, &frame, NULL), 0);
	assert_int_equal(wire_geometry_decode(&frame, &got, &error), 0);
	assert_memory_equal(&g, &got, sizeof(g));
	assert_int_equal(wire_geometry_pages(&got), WIRE_BLOCKS_MAX);
	assert_int_equal(wire_geometry_compare(&g, &got, &why), 0);

	/* Try page indexes up to the last that fits into 32 bits, then one page more. */
	g.blocks[0].size_bytes = (WIRE_PAGES_MAX - (WIRE_BLOCKS_MAX - 1)) * WIRE_PAGE_SIZE;
	w		       = writer(sizeof(scratch));
	assert_int_equal(wire_geometry_encode(&g, &w), 0);
	g.blocks[0].size_bytes += WIRE_PAGE_SIZE;
	w = writer(sizeof(scratch));
	assert_int_equal(wire_geometry_encode(&g, &w), -EINVAL);
	/* Try sizes whose sum would overflow. */
	for (int i = 0; i < WIRE_BLOCKS_MAX; i++)
		g.blocks[i].size_bytes = 1ULL << 63;
	w = writer(sizeof(scratch));
	assert_int_equal(wire_geometry_encode(&g, &w), -EINVAL);
}

static void geometries_compared(void **state)
{
	struct wire_geometry a = {.machine = "pc-i440fx-7.2", .qemu_version = "7.2.1", .n_vcpus = 2,
				  .ram_bytes = 1 << 20, .n_nics = 1, .nics = {{1}}, .n_blocks = 1,
				  .blocks = {{"pc.ram", 0, 1 << 20}}}, b;
	struct error why;

	(void)state;
#define DIFFERS(change, words)                                                                     \
	do {                                                                                       \
		b = a;                                                                             \
		change;                                                                            \
		assert_int_equal(wire_geometry_compare(&a, &b, &why), -ESTALE);                    \
		assert_non_null(strstr(why.text, words));                                          \
	} while (0)
	DIFFERS(strcpy(b.machine, "pc-q35-7.2"),
		"machine: primary has pc-i440fx-7.2, standby has pc-q35-7.2");
	DIFFERS(b.n_vcpus = 4, "vcpus: primary has 2, standby has 4");
	DIFFERS(b.ram_bytes = 2 << 20, "ram_bytes: primary has 1048576");
	DIFFERS(b.nics[0][0] = 2, "network cards");
	DIFFERS(b.n_nics = 0, "network cards");
	DIFFERS(b.n_blocks = 2, "memory blocks: primary has 1");
	DIFFERS(strcpy(b.blocks[0].name, "ram"), "memory block 0: primary has pc.ram");
	DIFFERS(b.blocks[0].kind = 1, "memory block 0");
#undef DIFFERS
	b = a;
	strcpy(b.qemu_version, "8.0.0");
	assert_int_equal(wire_geometry_compare(&a, &b, &why), 0);
}

static void small_rules(void **state)
{
	struct wire_epoch_begin begin;
	struct wire_epoch_end end;
	struct wire_frame frame;
	struct bytes_writer w = writer(64);

	(void)state;
	/* An epoch must build on an epoch with a smaller number, not on itself. */
	frame = frame_of(WIRE_EPOCH_BEGIN, (const uint8_t[8]){[7] = 5}, 8, 5);
	assert_int_equal(wire_epoch_begin_decode(&frame, &begin, NULL), -EPROTO);
	frame.h.epoch = 6;
	assert_int_equal(wire_epoch_begin_decode(&frame, &begin, NULL), 0);
	assert_int_equal(begin.previous_epoch, 5);
	frame_done(&frame);
	frame = frame_of(WIRE_EPOCH_END, (const uint8_t[16]){0}, 16, 5);
	assert_int_equal(wire_epoch_end_decode(&frame, &end, NULL), -EPROTO);
	frame_done(&frame);
	assert_int_equal(wire_failure_encode(&(struct wire_failure){.code = 0}, &w), -EINVAL);
	w = writer(64);
	assert_int_equal(wire_order_encode(&(struct wire_order){.verb = WIRE_VERB_COUNT,
								.vm = "a"}, &w), -EINVAL);
	w = writer(64);
	assert_int_equal(wire_order_encode(&(struct wire_order){.verb = 1}, &w), -EINVAL);
	w = writer(64);
	assert_int_equal(wire_order_done_encode(&(struct wire_order_done){.status = 3, .vm = "a"},
						&w), -EINVAL);
	assert_string_equal(wire_state_name(WIRE_STATE_STANDBY_READY), "standby-ready");
	assert_string_equal(wire_state_name(200), "unknown");
	assert_string_equal(wire_verdict_name(WIRE_VERDICT_EXITED), "exited");
	assert_string_equal(wire_verb_name(WIRE_VERB_FENCE), "fence");
	assert_string_equal(wire_verb_name(WIRE_VERB_MOVE), "move");
	assert_string_equal(wire_verb_name(0), "unknown");
	assert_string_equal(wire_vm_role_name(WIRE_VM_ROLE_STANDBY), "standby");
	for (uint8_t i = 0; i < WIRE_STATE_COUNT; i++)
		assert_string_not_equal(wire_state_name(i), "unknown");
}

static void disk_checked_rules(void **state)
{
	struct wire_disk_checked checked = {.name = "vda", .n_checked = 70, .n_differ = 65}, got;
	struct bytes_writer w = writer(1024);
	struct wire_frame frame;
	struct wire_error error;

	(void)state;
	for (size_t i = 0; i < WIRE_DISK_DIFFER_MAX; i++)
		checked.offset[i] = i << 16;
	assert_int_equal(wire_disk_checked_encode(&checked, &w), 0);
	frame = frame_of(WIRE_DISK_CHECKED, scratch, (size_t)(w.at - scratch), 1);
	assert_int_equal(wire_disk_checked_decode(&frame, &got, &error), 0);
	assert_memory_equal(&got, &checked, sizeof(got));
	/* First the frame has one offset fewer than n_differ says, then one more. */
	free((void *)frame.payload);
	frame = frame_of(WIRE_DISK_CHECKED, scratch, (size_t)(w.at - scratch) - 8, 1);
	assert_int_equal(wire_disk_checked_decode(&frame, &got, &error), -EPROTO);
	free((void *)frame.payload);
	frame = frame_of(WIRE_DISK_CHECKED, scratch, (size_t)(w.at - scratch) + 8, 1);
	assert_int_equal(wire_disk_checked_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "end");
	checked.n_differ = 71;
	w = writer(1024);
	assert_int_equal(wire_disk_checked_encode(&checked, &w), -EINVAL);
	checked = (struct wire_disk_checked){.name = "vda"};
	w = writer(1024);
	assert_int_equal(wire_disk_checked_encode(&checked, &w), -EINVAL);
	free((void *)frame.payload);
	frame = frame_of(WIRE_DISK_CHECKED,
			 (const uint8_t[]){1, 'a', 0, 0, 0, 1, 0, 0, 0, 2}, 10, 1);
	assert_int_equal(wire_disk_checked_decode(&frame, &got, &error), -EPROTO);
	assert_string_equal(error.field, "blocks that differ");
	free((void *)frame.payload);
}

static void disk_rules(void **state)
{
	static uint8_t data[WIRE_PAYLOAD_MAX];
	const struct wire_disk_record good = {WIRE_DISK_WRITE, 512, 4096, data};
	char name[WIRE_DISK_NAME_MAX + 2] = "";
	uint8_t hash[WIRE_DISK_HASH_SIZE], other_hash[WIRE_DISK_HASH_SIZE];
	struct wire_disk_record record;
	struct wire_disk_iter iter;
	struct wire_frame frame;
	struct wire_error error;
	struct bytes_writer w = writer(WIRE_PAYLOAD_MAX);

	(void)state;
	memset(name, 'n', WIRE_DISK_NAME_MAX);
	assert_true(wire_disk_name_is_valid(name));
	assert_int_equal(wire_disk_encode(name, &w), 0);
	name[WIRE_DISK_NAME_MAX] = 'n';
	assert_false(wire_disk_name_is_valid(name));
	w = writer(WIRE_PAYLOAD_MAX);
	assert_int_equal(wire_disk_encode(name, &w), -EINVAL);
	assert_false(wire_disk_name_is_valid(""));
	assert_false(wire_disk_name_is_valid("a\tb"));

	/* A record that does not fit leaves the writer as it was. */
	w = writer(WIRE_DISK_HEADER_SIZE + 511);
	assert_int_equal(wire_disk_record_encode(&w, &good), -ENOBUFS);
	record = (struct wire_disk_record){WIRE_DISK_ZERO, WIRE_DISK_RANGE_MAX,
					   WIRE_DISK_SIZE_MAX - WIRE_DISK_RANGE_MAX, NULL};
	assert_int_equal(wire_disk_record_encode(&w, &record), 0);
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		record = good;                                                                     \
		change;                                                                            \
		w = writer(sizeof(scratch));                                                       \
		assert_int_equal(wire_disk_record_encode(&w, &record), -EINVAL);                   \
		assert_true(w.bad);                                                                \
	} while (0)
	REFUSED(record.op = 0);
	REFUSED(record.op = 5);
	REFUSED((record.op = WIRE_DISK_HASH, record.bytes = WIRE_DISK_HASHED_MAX + 1));
	REFUSED(record.bytes = 0);
	REFUSED(record.bytes = WIRE_PAYLOAD_MAX + 1);
	REFUSED((record.op = WIRE_DISK_ZERO, record.bytes = WIRE_DISK_RANGE_MAX + 1));
	REFUSED(record.offset = WIRE_DISK_SIZE_MAX - 511);
	REFUSED(record.offset = UINT64_MAX);
#undef REFUSED

	/* The decoder has the same bounds as the encoder: a change may end at 2^63, but not one
	 * byte later. */
	frame = frame_of(WIRE_DISK,
			 (const uint8_t[]){1, 'a', 2, 0, 0, 0, 0, 0, 2, 0, 0x7f, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xfe, 0},
			 18, 1);
	assert_int_equal(wire_disk_begin(&frame, &iter, &error), 0);
	assert_int_equal(wire_disk_next(&iter, &record, &error), 1);
	assert_true(record.offset == WIRE_DISK_SIZE_MAX - 512 && record.bytes == 512);
	assert_null(record.data);
	assert_int_equal(wire_disk_next(&iter, &record, &error), 0);
	((uint8_t *)frame.payload)[17] = 1;
	assert_int_equal(wire_disk_begin(&frame, &iter, &error), 0);
	assert_int_equal(wire_disk_next(&iter, &record, &error), -EPROTO);
	assert_string_equal(error.field, "record offset");
	assert_int_equal(error.offset, 10);
	frame.h.flags = WIRE_FLAG_LZ4;
	assert_int_equal(wire_disk_begin(&frame, &iter, &error), -EPROTO);

	/* A hash depends on its seed, and a record names the seed. */
	wire_disk_hash(7, data, 512, hash);
	assert_int_equal(wire_disk_hash_seed(hash), 7);
	wire_disk_hash(8, data, 512, other_hash);
	assert_memory_not_equal(hash + 8, other_hash + 8, WIRE_DISK_HASH_SIZE - 8);
	assert_string_equal(error.reason, "packed");
	frame_done(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(trailing_bytes),
		cmocka_unit_test(any_byte_replaced),
		cmocka_unit_test(wrong_type_is_refused),
		cmocka_unit_test(hello_rules),
		cmocka_unit_test(negotiation),
		cmocka_unit_test(largest_report),
		cmocka_unit_test(largest_geometry),
		cmocka_unit_test(geometries_compared),
		cmocka_unit_test(small_rules),
		cmocka_unit_test(disk_rules),
		cmocka_unit_test(disk_checked_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
