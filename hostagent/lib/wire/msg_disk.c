/* Encodes and decodes DISK, the changes of one disk within an epoch, and DISK_CHECKED. */
#include "wire/msg_disk.h"

#include <xxhash.h>

#include "wire/msg_cursor.h"

_Static_assert(WIRE_DISK_NAME_MAX <= WIRE_LABEL_MAX, "a disk's name is a label");
_Static_assert(WIRE_PAYLOAD_MAX <= WIRE_DISK_RANGE_MAX, "the bound of a WRITE is its frame");

static bool name_bytes_are_valid(const char *bytes, size_t size)
{
	return size <= WIRE_DISK_NAME_MAX && wire_label_bytes_are_valid(bytes, size);
}

bool wire_disk_name_is_valid(const char *name)
{
	return name_bytes_are_valid(name, strnlen(name, WIRE_DISK_NAME_MAX + 1));
}

bool wire_disk_record_is_valid(const struct wire_disk_record *record)
{
	const uint32_t bytes_max =
		record->op == WIRE_DISK_HASH ? WIRE_DISK_HASHED_MAX : WIRE_DISK_RANGE_MAX;

	return record->op >= WIRE_DISK_WRITE && record->op <= WIRE_DISK_HASH &&
	       record->bytes >= 1 && record->bytes <= bytes_max &&
	       record->offset <= WIRE_DISK_SIZE_MAX - record->bytes;
}

/* Returns how many bytes of data follow the record's header. */
static size_t data_size(const struct wire_disk_record *record)
{
	return record->op == WIRE_DISK_WRITE  ? record->bytes
	       : record->op == WIRE_DISK_HASH ? WIRE_DISK_HASH_SIZE
					      : 0;
}

int wire_disk_begin(const struct wire_frame *frame, struct wire_disk_iter *ret_iter,
		    struct wire_error *error)
{
	struct cursor c		   = cursor_begin(frame, WIRE_DISK, error);
	struct wire_disk_iter iter = {.payload = c.start};

	if (frame->h.flags & WIRE_FLAG_LZ4)
		cursor_fail(&c, "flags", 0, "packed");
	cursor_string(&c, "disk name", 1, name_bytes_are_valid, iter.name, sizeof(iter.name));
	if (c.failed)
		return -EPROTO;
	iter.r	  = c.r;
	*ret_iter = iter;
	return 0;
}

int wire_disk_next(struct wire_disk_iter *iter, struct wire_disk_record *ret_record,
		   struct wire_error *error)
{
	struct cursor c = {
		.r = iter->r, .start = iter->payload, .error = error, .type = WIRE_DISK};
	struct wire_disk_record record = {0};
	const size_t offset	       = cursor_offset(&c);

	if (bytes_left(&iter->r) == 0)
		return 0;
	record.op = cursor_u8(&c, "record op", WIRE_DISK_WRITE, WIRE_DISK_HASH);
	(void)cursor_uint(&c, "record reserved", 3, 0, 0);
	record.bytes  = cursor_u32(&c, "record bytes", 1, WIRE_DISK_RANGE_MAX);
	record.offset = cursor_u64(&c, "record offset");
	if (!c.failed && !wire_disk_record_is_valid(&record))
		cursor_fail(&c, "record offset", offset + 8,
			    "the bytes end past 2^63, or are too many for a hash");
	if (!c.failed && data_size(&record) > 0)
		record.data = cursor_take(&c, "record data", data_size(&record));
	if (c.failed)
		return -EPROTO;
	iter->r	    = c.r;
	*ret_record = record;
	return 1;
}

int wire_disk_encode(const char *name, struct bytes_writer *w)
{
	if (write_string(w, 1, name_bytes_are_valid, name, WIRE_DISK_NAME_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_disk_record_encode(struct bytes_writer *w, const struct wire_disk_record *record)
{
	const size_t size = data_size(record);
	uint8_t *p;

	if (!wire_disk_record_is_valid(record) || size > WIRE_PAYLOAD_MAX)
		return write_invalid(w);
	if (w->bad || (size_t)(w->end - w->at) < WIRE_DISK_HEADER_SIZE + size)
		return -ENOBUFS;
	p = bytes_reserve(w, WIRE_DISK_HEADER_SIZE + size);
	memset(p, 0, WIRE_DISK_HEADER_SIZE);
	p[0] = record->op;
	bytes_put_be32(p + 4, record->bytes);
	bytes_put_be64(p + 8, record->offset);
	if (size > 0)
		memcpy(p + WIRE_DISK_HEADER_SIZE, record->data, size);
	return 0;
}

void wire_disk_hash(uint64_t seed, const void *data, size_t bytes,
		    uint8_t ret_hash[WIRE_DISK_HASH_SIZE])
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, seed);

	bytes_put_be64(ret_hash, seed);
	bytes_put_be64(ret_hash + 8, hash.high64);
	bytes_put_be64(ret_hash + 16, hash.low64);
}

uint64_t wire_disk_hash_seed(const uint8_t hash[WIRE_DISK_HASH_SIZE])
{
	return bytes_get_be64(hash);
}

/* Returns how many offsets a DISK_CHECKED lists if @n_differ blocks differ. */
static uint32_t n_offsets(uint32_t n_differ)
{
	return n_differ < WIRE_DISK_DIFFER_MAX ? n_differ : WIRE_DISK_DIFFER_MAX;
}

int wire_disk_checked_encode(const struct wire_disk_checked *checked, struct bytes_writer *w)
{
	if (checked->n_checked == 0 || checked->n_differ > checked->n_checked ||
	    write_string(w, 1, name_bytes_are_valid, checked->name, WIRE_DISK_NAME_MAX) < 0)
		return write_invalid(w);
	bytes_write_be32(w, checked->n_checked);
	bytes_write_be32(w, checked->n_differ);
	for (uint32_t i = 0; i < n_offsets(checked->n_differ); i++)
		bytes_write_be64(w, checked->offset[i]);
	return write_result(w);
}

int wire_disk_checked_decode(const struct wire_frame *frame, struct wire_disk_checked *ret_checked,
			     struct wire_error *error)
{
	struct cursor c			 = cursor_begin(frame, WIRE_DISK_CHECKED, error);
	struct wire_disk_checked checked = {0};

	cursor_string(&c, "disk name", 1, name_bytes_are_valid, checked.name,
		      sizeof(checked.name));
	checked.n_checked = cursor_u32(&c, "blocks checked", 1, UINT32_MAX);
	checked.n_differ  = cursor_u32(&c, "blocks that differ", 0, checked.n_checked);
	for (uint32_t i = 0; !c.failed && i < n_offsets(checked.n_differ); i++)
		checked.offset[i] =
			cursor_uint(&c, "offset", 8, 0, WIRE_DISK_SIZE_MAX - 1);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_checked = checked;
	return 0;
}
