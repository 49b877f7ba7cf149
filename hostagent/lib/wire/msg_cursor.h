/* msg_cursor.h - reads a payload field by field, and records which field was wrong.
 *
 * Private to the msg_*.c files. Every decoder can fail in three ways: the payload is too short, a
 * field is out of bounds, or there are trailing bytes. The cursor stores the first failure, with
 * the field and its offset. All later reads return 0. So a decoder can read all fields without
 * checks, and call cursor_end() once at the end.
 * Threads: any; a cursor lives on its decoder's stack.
 */
#ifndef WIRE_MSG_CURSOR_H
#define WIRE_MSG_CURSOR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/text.h"

struct cursor {
	struct bytes_reader r;
	const uint8_t *start;	  /* the payload's first byte */
	struct wire_error *error; /* may be NULL */
	uint8_t type;		  /* the frame's type */
	bool failed;
};

typedef bool (*cursor_check)(const char *bytes, size_t size);

/* Record that @field at @offset is wrong because of @reason, unless an earlier failure was
 * recorded. */
static inline void cursor_fail(struct cursor *c, const char *field, size_t offset,
			       const char *reason)
{
	if (c->failed)
		return;
	c->failed = true;
	c->r.bad  = true;
	if (c->error)
		*c->error = (struct wire_error){.type	= c->type,
						.field	= field,
						.reason = reason,
						.offset = offset};
}

/* Start reading a frame. If the frame is not of @type, the returned cursor has already failed. */
static inline struct cursor cursor_begin(const struct wire_frame *frame, uint8_t type,
					 struct wire_error *error)
{
	struct cursor c = {
		.r     = {.at = frame->payload, .end = frame->payload + frame->h.payload_size},
		.start = frame->payload,
		.error = error,
		.type  = frame->h.type,
	};

	if (frame->h.type != type)
		cursor_fail(&c, "type", 0, "not the expected frame");
	return c;
}

static inline size_t cursor_offset(const struct cursor *c)
{
	return (size_t)(c->r.at - c->start);
}

/* Return a pointer to the next @size bytes and move past them. Return NULL if fewer are left, or if
 * the cursor has failed before. */
static inline const uint8_t *cursor_take(struct cursor *c, const char *field, size_t size)
{
	const size_t offset = cursor_offset(c);
	const uint8_t *p    = bytes_take(&c->r, size);

	if (!p)
		cursor_fail(c, field, offset, "truncated");
	return p;
}

/* Read an integer, which must be in [min, max]. Return 0 after a failure. */
static inline uint64_t cursor_uint(struct cursor *c, const char *field, size_t size, uint64_t min,
				   uint64_t max)
{
	const size_t offset = cursor_offset(c);
	const uint8_t *p    = cursor_take(c, field, size);
	uint64_t v	    = 0;

	if (!p)
		return 0;
	for (size_t i = 0; i < size; i++)
		v = v << 8 | p[i];
	if (v < min || v > max) {
		cursor_fail(c, field, offset, "out of bounds");
		return 0;
	}
	return v;
}

static inline uint8_t cursor_u8(struct cursor *c, const char *field, uint8_t min, uint8_t max)
{
	return (uint8_t)cursor_uint(c, field, 1, min, max);
}

static inline uint16_t cursor_u16(struct cursor *c, const char *field, uint16_t min, uint16_t max)
{
	return (uint16_t)cursor_uint(c, field, 2, min, max);
}

static inline uint32_t cursor_u32(struct cursor *c, const char *field, uint32_t min, uint32_t max)
{
	return (uint32_t)cursor_uint(c, field, 4, min, max);
}

static inline uint64_t cursor_u64(struct cursor *c, const char *field)
{
	return cursor_uint(c, field, 8, 0, UINT64_MAX);
}

/* Read the incarnation, a u64 with which the payload ends if WIRE_FEATURE_INCARNATION is in use.
 * Returns 0 if the payload ends without it. */
static inline uint64_t cursor_incarnation(struct cursor *c)
{
	if (c->failed || bytes_left(&c->r) == 0)
		return 0;
	return cursor_uint(c, "incarnation", 8, 1, WIRE_INCARNATION_MAX);
}

static inline void write_incarnation(struct bytes_writer *w, uint64_t incarnation)
{
	if (incarnation)
		bytes_write_be64(w, incarnation);
}

/* Read a string whose length field has @size_bytes (1: str8, 2: str16). Copy it to @out (@out_size
 * bytes). @check returns true if the string is valid. */
static inline void cursor_string(struct cursor *c, const char *field, size_t size_bytes,
				 cursor_check check, char *out, size_t out_size)
{
	const size_t offset = cursor_offset(c);
	const size_t size   = (size_t)cursor_uint(c, field, size_bytes, 0, UINT16_MAX);
	const uint8_t *p    = cursor_take(c, field, size);

	if (!p)
		return;
	if (size >= out_size || !check((const char *)p, size)) {
		cursor_fail(c, field, offset, "not a valid string here");
		return;
	}
	memcpy(out, p, size);
	out[size] = '\0';
}

/* Finish reading. Returns 0 if every field was valid and no bytes are left, else -EPROTO. */
static inline int cursor_end(struct cursor *c)
{
	if (!c->failed && bytes_left(&c->r) > 0)
		cursor_fail(c, "end", cursor_offset(c), "trailing bytes");
	return c->failed ? -EPROTO : 0;
}

/* ---- writing ---- */

/* Write a string with a length field of @size_bytes (1: str8, 2: str16). Returns 0. If the string
 * is longer than @text_max or @check refuses it, returns -EINVAL and marks @w as bad. */
static inline int write_string(struct bytes_writer *w, size_t size_bytes, cursor_check check,
			       const char *text, size_t text_max)
{
	const size_t size = strnlen(text, text_max + 1);

	if (size > text_max || !check(text, size)) {
		w->bad = true;
		return -EINVAL;
	}
	if (size_bytes == 1)
		bytes_write_u8(w, (uint8_t)size);
	else
		bytes_write_be16(w, (uint16_t)size);
	bytes_write(w, text, size);
	return 0;
}

/* Returns an encoder's result after it has written all fields: 0, or -ENOBUFS if @w was too
 * small. */
static inline int write_result(const struct bytes_writer *w)
{
	return w->bad ? -ENOBUFS : 0;
}

/* Marks @w as bad and returns -EINVAL, for a field that breaks the format. */
static inline int write_invalid(struct bytes_writer *w)
{
	w->bad = true;
	return -EINVAL;
}

#endif
