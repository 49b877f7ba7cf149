/* page.h - the words of the codec: a page, and its classes on the wire.
 *
 * wire/page_record.h has the record around a page, and the numbers. An encoder uses only classes
 * whose feature bit both sides named; ZERO and RAW need none.
 * Threads: constants only.
 */
#ifndef CODEC_PAGE_H
#define CODEC_PAGE_H

#include "wire/page_record.h"

#define PAGE_BYTES		 WIRE_PAGE_SIZE
#define PAGE_RECORD_HEADER_BYTES WIRE_RECORD_HEADER_SIZE
#define PAGE_RECORD_ROOM	 (PAGE_RECORD_HEADER_BYTES + PAGE_BYTES) /* the longest record */

enum page_class {
	PAGE_UNCHANGED = 0,	     /* never on the wire: the page equals its reference */
	PAGE_ZERO = WIRE_CLASS_ZERO, /* no data: all 4096 bytes are 0 */
	PAGE_RAW = WIRE_CLASS_RAW,   /* 4096 bytes: the page itself */
	PAGE_XRLE = WIRE_CLASS_XRLE, /* runs of changed bytes over the reference, see xrle.h */
	PAGE_BITMAP = WIRE_CLASS_BITMAP, /* bitmap of changed bytes over it, see bitmap.h */
	/* u32 index of a page with the same content, guest pages only. Needs all pages, so
	 * page_encode() makes none and page_apply() takes none. */
	PAGE_DUP = WIRE_CLASS_DUP,
};
#define PAGE_N_CLASSES 5 /* array size when indexed by a class that page_encode() makes */
#define PAGE_DUP_BYTES WIRE_DUP_SIZE /* data of a DUP record */

/* HELLO's feature bits. */
#define PAGE_FEATURE_XRLE   (1u << 0)
#define PAGE_FEATURE_BITMAP (1u << 1)
#define PAGE_FEATURE_DUP    (1u << 3)

#endif
