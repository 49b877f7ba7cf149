/* Decodes a payload and encodes what was decoded, for each type; see wire_samples.h. */
#include <errno.h>

#include "wire_samples.h"

static int reencode_records(struct wire_record_iter *iter, struct bytes_writer *w,
			    struct wire_error *error)
{
	struct wire_record record;
	int r;

	while ((r = wire_record_next(iter, &record, error)) > 0) {
		r = wire_sample_record(w, record.class, record.index, record.data, record.size);
		if (r < 0)
			return r;
	}
	return r;
}

#define REENCODE(kind)                                                                             \
	static int reencode_##kind(const struct wire_frame *frame, struct bytes_writer *w,         \
				   struct wire_error *error)                                       \
	{                                                                                          \
		struct wire_##kind message;                                                        \
		int r = wire_##kind##_decode(frame, &message, error);                              \
                                                                                                   \
		return r < 0 ? r : wire_##kind##_encode(&message, w);                              \
	}
REENCODE(hello)
REENCODE(welcome)
REENCODE(failure)
REENCODE(beat)
REENCODE(report)
REENCODE(order)
REENCODE(order_done)
REENCODE(witness_key)
REENCODE(lease)
REENCODE(claim)
REENCODE(vote)
REENCODE(drain)
REENCODE(drain_state)
REENCODE(geometry)
REENCODE(epoch_begin)
REENCODE(epoch_end)
REENCODE(clock)

static int reencode_lz4(const struct wire_frame *frame, struct bytes_writer *w,
			struct wire_error *error)
{
	struct wire_lz4 lz4;
	int r = wire_lz4_decode(frame, &lz4, error);

	return r < 0 ? r : wire_lz4_encode(&lz4, w);
}

static int reencode_pages(const struct wire_frame *frame, struct bytes_writer *w,
			  struct wire_error *error)
{
	struct wire_record_iter iter;
	int r;

	if (frame->h.flags & WIRE_FLAG_LZ4)
		return reencode_lz4(frame, w, error);
	r = wire_pages_begin(frame, WIRE_SAMPLE_PAGES, &iter, error);

	return r < 0 ? r : reencode_records(&iter, w, error);
}

static int reencode_device(const struct wire_frame *frame, struct bytes_writer *w,
			   struct wire_error *error)
{
	struct wire_record_iter iter;
	int r;

	if (frame->h.flags & WIRE_FLAG_LZ4)
		return reencode_lz4(frame, w, error);
	r = wire_device_begin(frame, &iter, error);
	if (r == 0)
		r = wire_device_encode(iter.blob_size, w);
	return r < 0 ? r : reencode_records(&iter, w, error);
}

static int reencode_machine(const struct wire_frame *frame, struct bytes_writer *w,
			    struct wire_error *error)
{
	struct wire_machine_iter iter;
	struct wire_machine_item item;
	int r = wire_machine_begin(frame, &iter, error);

	if (r == 0)
		r = wire_machine_encode(iter.is_last, w);
	while (r == 0 && (r = wire_machine_next(&iter, &item, error)) > 0)
		r = wire_machine_item_encode(w, item.key, item.value);
	return r;
}

static int reencode_disk(const struct wire_frame *frame, struct bytes_writer *w,
			 struct wire_error *error)
{
	struct wire_disk_record record;
	struct wire_disk_iter iter;
	int r;

	if (frame->h.flags & WIRE_FLAG_LZ4)
		return reencode_lz4(frame, w, error);
	r = wire_disk_begin(frame, &iter, error);
	if (r == 0)
		r = wire_disk_encode(iter.name, w);
	while (r == 0 && (r = wire_disk_next(&iter, &record, error)) > 0)
		r = wire_disk_record_encode(w, &record);
	return r;
}

static int reencode_disk_checked(const struct wire_frame *frame, struct bytes_writer *w,
				 struct wire_error *error)
{
	struct wire_disk_checked checked;
	int r = wire_disk_checked_decode(frame, &checked, error);

	return r < 0 ? r : wire_disk_checked_encode(&checked, w);
}

static int reencode_hashes_want(const struct wire_frame *frame, struct bytes_writer *w,
				struct wire_error *error)
{
	struct wire_hashes_want want;
	int r = wire_hashes_want_decode(frame, &want, error);

	return r < 0 ? r : wire_hashes_want_encode(&want, w);
}

static int reencode_hashes(const struct wire_frame *frame, struct bytes_writer *w,
			   struct wire_error *error)
{
	struct wire_hashes hashes;
	int r = wire_hashes_decode(frame, &hashes, error);

	return r < 0 ? r : wire_hashes_encode(&hashes, w);
}

static int reencode_ram_hash(const struct wire_frame *frame, struct bytes_writer *w,
			     struct wire_error *error)
{
	struct wire_ram_hash hash;
	int r = wire_ram_hash_decode(frame, &hash, error);

	return r < 0 ? r : wire_ram_hash_encode(&hash, w);
}

static int reencode_ram_checked(const struct wire_frame *frame, struct bytes_writer *w,
				struct wire_error *error)
{
	struct wire_ram_checked checked;
	int r = wire_ram_checked_decode(frame, &checked, error);

	return r < 0 ? r : wire_ram_checked_encode(&checked, w);
}

static int reencode_empty(const struct wire_frame *frame, struct bytes_writer *w,
			  struct wire_error *error)
{
	(void)w;
	return wire_empty_decode(frame, error);
}

int wire_reencode(const struct wire_frame *frame, struct bytes_writer *w, struct wire_error *error)
{
	static const struct {
		uint8_t type;
		int (*reencode)(const struct wire_frame *frame, struct bytes_writer *w,
				struct wire_error *error);
	} rows[] = {
		{WIRE_HELLO, reencode_hello},
		{WIRE_WELCOME, reencode_welcome},
		{WIRE_REFUSED, reencode_failure},
		{WIRE_BEAT, reencode_beat},
		{WIRE_BEAT_ACK, reencode_beat},
		{WIRE_REPORT, reencode_report},
		{WIRE_ORDER, reencode_order},
		{WIRE_ORDER_DONE, reencode_order_done},
		{WIRE_WITNESS_KEY, reencode_witness_key},
		{WIRE_LEASE, reencode_lease},
		{WIRE_CLAIM, reencode_claim},
		{WIRE_VOTE, reencode_vote},
		{WIRE_DRAIN, reencode_drain},
		{WIRE_DRAIN_STATE, reencode_drain_state},
		{WIRE_RESUME, reencode_empty},
		{WIRE_GEOMETRY, reencode_geometry},
		{WIRE_MACHINE, reencode_machine},
		{WIRE_EPOCH_BEGIN, reencode_epoch_begin},
		{WIRE_PAGES, reencode_pages},
		{WIRE_DEVICE, reencode_device},
		{WIRE_EPOCH_END, reencode_epoch_end},
		{WIRE_CLOCK, reencode_clock},
		{WIRE_DISK, reencode_disk},
		{WIRE_DISK_CHECKED, reencode_disk_checked},
		{WIRE_HASHES_WANT, reencode_hashes_want},
		{WIRE_HASHES, reencode_hashes},
		{WIRE_RAM_HASH, reencode_ram_hash},
		{WIRE_RAM_CHECKED, reencode_ram_checked},
		{WIRE_EPOCH_ACK, reencode_empty},
		{WIRE_COMMIT, reencode_empty},
		{WIRE_STREAM_ERROR, reencode_failure},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].type == frame->h.type)
			return rows[i].reencode(frame, w, error);
	}
	return -EINVAL;
}
