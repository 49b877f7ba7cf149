/* page_record.h - the record of one page: the numbers of its classes, and the only function that
 * writes its header.
 * Where: msg_stream.c decodes records; the codec writes their headers. The function is inline,
 * because the codec calls it for each page. The format, from docs/wire-format.md 5.9:
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

/* The classes of records. Their numbers are never reused. */
enum wire_class {
	WIRE_CLASS_ZERO	  = 1, /* no data */
	WIRE_CLASS_RAW	  = 2, /* WIRE_PAGE_SIZE bytes */
	WIRE_CLASS_XRLE	  = 3, /* 1..WIRE_PAGE_SIZE bytes; see codec/xrle.h */
	WIRE_CLASS_BITMAP = 4, /* WIRE_BITMAP_SIZE_MIN..MAX bytes; see codec/bitmap.h */
	/* WIRE_DUP_SIZE bytes: the index of the page to copy; only in PAGES */
	WIRE_CLASS_DUP	  = 5,
	/* no data; only in PAGES of a FULL epoch: the standby already has this content of the
	 * page */
	WIRE_CLASS_KEEP	  = 6,
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
