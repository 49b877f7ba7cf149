/* Puts changes of disks into DISK frames. */
#include "epoch/encoder_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/msg.h"

/* A write that does not fit into the current frame is split only if at least this many of its bytes
 * fit. Otherwise it begins in the next frame. */
#define PIECE_BYTES_MIN 4096u

_Static_assert(WIRE_PAYLOAD_MAX > 1 + WIRE_DISK_NAME_MAX + WIRE_DISK_HEADER_SIZE + PIECE_BYTES_MIN,
	       "a new frame has room for a piece");

/* Ensure that a frame for the disk @name is open and has room for @room more bytes. */
static int need_frame(struct encoder *e, const char *name, size_t room)
{
	int r;

	if (e->payload && e->frame_type == WIRE_DISK && strcmp(e->disk, name) != 0)
		encoder_close_frame(e, 0);
	r = encoder_need_frame(e, WIRE_DISK, room);
	if (r < 0 || e->w.at != e->payload)
		return r;
	(void)snprintf(e->disk, sizeof(e->disk), "%s", name);
	return wire_disk_encode(name, &e->w);
}

/* Write one record with as many of the first bytes of @left as fit into the frame. On success sets
 * *ret_bytes to their number and returns 0. Errors: see encoder_need_frame(). */
static int put_piece(struct encoder *e, const char *name, const struct wire_disk_record *left,
		     uint32_t *ret_bytes)
{
	struct wire_disk_record piece = *left;
	uint32_t bytes = left->bytes < PIECE_BYTES_MIN ? left->bytes : PIECE_BYTES_MIN;
	size_t room;
	int r;

	if (left->op != WIRE_DISK_WRITE)
		bytes = left->op == WIRE_DISK_HASH ? WIRE_DISK_HASH_SIZE : 0;
	r = need_frame(e, name, WIRE_DISK_HEADER_SIZE + bytes);
	if (r < 0)
		return r;
	room = left->op == WIRE_DISK_WRITE ? (size_t)(e->w.end - e->w.at) - WIRE_DISK_HEADER_SIZE
					   : WIRE_DISK_RANGE_MAX;
	if (piece.bytes > room)
		piece.bytes = (uint32_t)room;
	r = wire_disk_record_encode(&e->w, &piece);
	if (r < 0)
		return r;
	e->used_features |= WIRE_FEATURE_DISK;
	if (left->op == WIRE_DISK_HASH)
		e->used_features |= WIRE_FEATURE_DISK_HASH;
	e->n_disk_records++;
	e->disk_bytes += left->op == WIRE_DISK_WRITE ? piece.bytes : 0;
	*ret_bytes = piece.bytes;
	return 0;
}

/* Is @record valid? It may have more bytes than one record on the wire, unless it is a HASH. */
static bool is_valid(const char *name, const struct wire_disk_record *record)
{
	struct wire_disk_record last = *record;

	if (record->bytes == 0 || record->offset > WIRE_DISK_SIZE_MAX - record->bytes)
		return false;
	if (record->op != WIRE_DISK_HASH)
		last.bytes = 1;
	return wire_disk_name_is_valid(name) && wire_disk_record_is_valid(&last);
}

int encoder_disk(struct encoder *e, const char *name, const struct wire_disk_record *record,
		 uint32_t *done)
{
	if (!is_valid(name, record) || *done > record->bytes)
		return -EINVAL;
	while (*done < record->bytes) {
		struct wire_disk_record left = {
			.op = record->op,
			.bytes = record->bytes - *done,
			.offset = record->offset + *done,
			.data = record->op == WIRE_DISK_WRITE ? record->data + *done
				: record->op == WIRE_DISK_HASH ? record->data
							       : NULL,
		};
		uint32_t bytes;
		int r = put_piece(e, name, &left, &bytes);

		if (r < 0)
			return r;
		*done += bytes;
	}
	return 0;
}
