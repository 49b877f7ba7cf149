/* bytes.h - big-endian integers at byte offsets, and bounded cursors for reading and writing.
 *
 * Why: the wire format is never mapped to C structs. Fields are encoded and decoded by their
 * offsets. A cursor cannot move past its end. The first read or write that does not fit sets `bad`.
 * From then on, reads return 0 and writes do nothing. So it is enough to check `bad` once, at the
 * end. Threads: any (no state). Never allocates.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void bytes_put_be16(uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bytes_put_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void bytes_put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t bytes_get_be16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

static inline uint32_t bytes_get_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline uint64_t bytes_get_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

/* A reading cursor over [at, end). */
struct bytes_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad; /* a read went past the end; that read and all later ones gave 0 */
};

/* A writing cursor over [at, end). */
struct bytes_writer {
	uint8_t *at;
	uint8_t *end;
	bool bad; /* a write did not fit; that write and all later ones were dropped */
};

static inline size_t bytes_left(const struct bytes_reader *r)
{
	return (size_t)(r->end - r->at);
}

/* Returns a pointer to the next @size bytes and moves past them. If fewer are left, sets `bad` and
 * returns NULL. */
static inline const uint8_t *bytes_take(struct bytes_reader *r, size_t size)
{
	const uint8_t *p = r->at;

	if (r->bad || bytes_left(r) < size) {
		r->bad = true;
		return NULL;
	}
	r->at += size;
	return p;
}

static inline uint8_t bytes_read_u8(struct bytes_reader *r)
{
	const uint8_t *p = bytes_take(r, 1);

	return p ? *p : 0;
}

static inline uint16_t bytes_read_be16(struct bytes_reader *r)
{
	const uint8_t *p = bytes_take(r, 2);

	return p ? bytes_get_be16(p) : 0;
}

static inline uint32_t bytes_read_be32(struct bytes_reader *r)
{
	const uint8_t *p = bytes_take(r, 4);

	return p ? bytes_get_be32(p) : 0;
}

static inline uint64_t bytes_read_be64(struct bytes_reader *r)
{
	const uint8_t *p = bytes_take(r, 8);

	return p ? bytes_get_be64(p) : 0;
}

/* Returns a pointer to room for @size bytes and moves past it. If there is less room, sets `bad`
 * and returns NULL. */
static inline uint8_t *bytes_reserve(struct bytes_writer *w, size_t size)
{
	uint8_t *p = w->at;

	if (w->bad || (size_t)(w->end - w->at) < size) {
		w->bad = true;
		return NULL;
	}
	w->at += size;
	return p;
}

static inline void bytes_write_u8(struct bytes_writer *w, uint8_t v)
{
	uint8_t *p = bytes_reserve(w, 1);

	if (p)
		*p = v;
}

static inline void bytes_write_be16(struct bytes_writer *w, uint16_t v)
{
	uint8_t *p = bytes_reserve(w, 2);

	if (p)
		bytes_put_be16(p, v);
}

static inline void bytes_write_be32(struct bytes_writer *w, uint32_t v)
{
	uint8_t *p = bytes_reserve(w, 4);

	if (p)
		bytes_put_be32(p, v);
}

static inline void bytes_write_be64(struct bytes_writer *w, uint64_t v)
{
	uint8_t *p = bytes_reserve(w, 8);

	if (p)
		bytes_put_be64(p, v);
}

static inline void bytes_write(struct bytes_writer *w, const void *data, size_t size)
{
	uint8_t *p = bytes_reserve(w, size);

	if (p && size > 0) /* @data may be NULL when @size is 0; memcpy forbids NULL */
		memcpy(p, data, size);
}

#endif
