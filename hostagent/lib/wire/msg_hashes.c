/* Encodes and decodes HASHES_WANT and HASHES, with which the primary learns which pages and disk
 * blocks the standby has already. */
#include "wire/msg_hashes.h"

#include <xxhash.h>

#include "wire/msg_cursor.h"

static bool name_or_none(const char *bytes, size_t size)
{
	return size == 0 || (size <= WIRE_DISK_NAME_MAX && wire_label_bytes_are_valid(bytes, size));
}

static bool are_units(uint64_t first, uint64_t n)
{
	return first < WIRE_HASH_UNITS_MAX && n <= WIRE_HASH_UNITS_MAX - first;
}

int wire_hashes_want_encode(const struct wire_hashes_want *want, struct bytes_writer *w)
{
	if (want->n == 0 || !are_units(want->first, want->n) ||
	    write_string(w, 1, name_or_none, want->disk, WIRE_DISK_NAME_MAX) < 0)
		return write_invalid(w);
	bytes_write_be64(w, want->seed);
	bytes_write_be64(w, want->first);
	bytes_write_be32(w, want->n);
	return write_result(w);
}

int wire_hashes_want_decode(const struct wire_frame *frame, struct wire_hashes_want *ret_want,
			    struct wire_error *error)
{
	struct cursor c		     = cursor_begin(frame, WIRE_HASHES_WANT, error);
	struct wire_hashes_want want = {0};

	cursor_string(&c, "disk name", 1, name_or_none, want.disk, sizeof(want.disk));
	want.seed = cursor_u64(&c, "seed");
	want.first = cursor_uint(&c, "first unit", 8, 0, WIRE_HASH_UNITS_MAX - 1);
	want.n = cursor_u32(&c, "units", 1, UINT32_MAX);
	if (!c.failed && !are_units(want.first, want.n))
		cursor_fail(&c, "units", cursor_offset(&c) - 4, "past the last possible unit");
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_want = want;
	return 0;
}

int wire_hashes_encode(const struct wire_hashes *hashes, struct bytes_writer *w)
{
	if (hashes->n > WIRE_HASHES_MAX ||
	    !are_units(hashes->first, (uint64_t)hashes->n_zero + hashes->n) ||
	    write_string(w, 1, name_or_none, hashes->disk, WIRE_DISK_NAME_MAX) < 0)
		return write_invalid(w);
	bytes_write_be64(w, hashes->seed);
	bytes_write_be64(w, hashes->first);
	bytes_write_be32(w, hashes->n_zero);
	bytes_write_be32(w, hashes->n);
	if (hashes->n > 0)
		bytes_write(w, hashes->hash, (size_t)hashes->n * WIRE_HASH_SIZE);
	return write_result(w);
}

int wire_hashes_decode(const struct wire_frame *frame, struct wire_hashes *ret_hashes,
		       struct wire_error *error)
{
	struct cursor c		  = cursor_begin(frame, WIRE_HASHES, error);
	struct wire_hashes hashes = {0};

	cursor_string(&c, "disk name", 1, name_or_none, hashes.disk, sizeof(hashes.disk));
	hashes.seed = cursor_u64(&c, "seed");
	hashes.first = cursor_uint(&c, "first unit", 8, 0, WIRE_HASH_UNITS_MAX - 1);
	hashes.n_zero = cursor_u32(&c, "zero units", 0, UINT32_MAX);
	hashes.n = cursor_u32(&c, "hashes", 0, WIRE_HASHES_MAX);
	if (!c.failed && !are_units(hashes.first, (uint64_t)hashes.n_zero + hashes.n))
		cursor_fail(&c, "hashes", cursor_offset(&c) - 4, "past the last possible unit");
	hashes.hash = cursor_take(&c, "hash", (size_t)hashes.n * WIRE_HASH_SIZE);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_hashes = hashes;
	return 0;
}

void wire_hash(uint64_t seed, const void *data, size_t bytes, uint8_t ret_hash[WIRE_HASH_SIZE])
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, seed);

	bytes_put_be64(ret_hash, hash.high64);
	bytes_put_be64(ret_hash + 8, hash.low64);
}
