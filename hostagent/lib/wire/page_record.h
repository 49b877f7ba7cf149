/* page_record.h - the record around one page: its class numbers, and the one writer of its header.
 *
 * Where: msg_stream.c encodes and decodes records by it. The codec and the encoder write records
 * straight into a frame's payload, page by page, so the header is written inline.
 * docs/wire-format.md 5.9 has the format:
 *
 *	offset  0       1          2          4            8
 *	        class   0          data size  page index   data
 *	        u8      u8         u16        u32          0..4096 bytes
 *
 * Threads: any (no state).
 */
#ifndef WIRE_PAGE_RECORD_H
#define WIRE_PAGE_RECORD_H

#include <stdint.h>

#include "base/bytes.h"
#include "wire/limits.h"

/* The numbers are never reused. */
enum wire_class {
	WIRE_CLASS_ZERO	  = 1, /* no data */
	WIRE_CLASS_RAW	  = 2, /* WIRE_PAGE_SIZE bytes */
	WIRE_CLASS_XRLE	  = 3, /* 1..WIRE_PAGE_SIZE bytes; see codec/xrle.h */
	WIRE_CLASS_BITMAP = 4, /* WIRE_BITMAP_SIZE_MIN..MAX bytes; see codec/bitmap.h */
	WIRE_CLASS_DUP	  = 5, /* WIRE_DUP_SIZE bytes: the source's index; in PAGES only */
};

/* Write the header of a record with @size bytes of data (<= WIRE_PAGE_SIZE) at @out, which has
 * WIRE_RECORD_HEADER_SIZE bytes. */
static inline void wire_record_put_header(uint8_t *out, uint8_t class, uint32_t index, size_t size)
{
	out[0] = class;
	out[1] = 0;
	bytes_put_be16(out + 2, (uint16_t)size);
	bytes_put_be32(out + 4, index);
}

#endif
