/* page.h - the codec's constants: the page size, and the classes of page records.
 *
 * wire/page_record.h defines the record's header and the numbers of the classes. An encoder uses
 * only classes whose feature bit was negotiated; ZERO and RAW need no feature bit.
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
	PAGE_BITMAP = WIRE_CLASS_BITMAP, /* changed bytes and their bitmaps, see bitmap.h */
	/* the u32 index of another guest page with the same content. page_encode() and page_apply()
	 * do not know this class, because they see only one page */
	PAGE_DUP = WIRE_CLASS_DUP,
	/* no data: the standby has the page already. page_encode() and page_apply() do not know
	 * this class either */
	PAGE_KEEP = WIRE_CLASS_KEEP,
};
#define PAGE_N_CLASSES 5 /* size of an array indexed by the classes that page_encode() makes */
#define PAGE_DUP_BYTES WIRE_DUP_SIZE /* size of the data of a DUP record */

/* HELLO's feature bits. */
#define PAGE_FEATURE_XRLE   (1u << 0)
#define PAGE_FEATURE_BITMAP (1u << 1)
#define PAGE_FEATURE_DUP    (1u << 3)

#endif
