/* page.h - the words of the codec: a page, its classes on the wire, and the record around it.
 *
 * A page record, as in the payload of PAGES and DEVICE frames (big-endian):
 *
 *	offset  0       1          2          4            8
 *	        class   0          data size  page index   data
 *	        u8      u8         u16        u32          0..4096 bytes
 *
 * The class numbers go on the wire and are never reused. An encoder uses only classes whose feature
 * bit both sides named; ZERO and RAW need none.
 * Threads: constants only.
 */
#ifndef CODEC_PAGE_H
#define CODEC_PAGE_H

#define PAGE_BYTES		 4096
#define PAGE_RECORD_HEADER_BYTES 8
#define PAGE_RECORD_ROOM	 (PAGE_RECORD_HEADER_BYTES + PAGE_BYTES) /* the longest record */

enum page_class {
	PAGE_UNCHANGED = 0, /* never on the wire: the page equals its reference */
	PAGE_ZERO   = 1, /* no data: all 4096 bytes are 0 */
	PAGE_RAW    = 2, /* 4096 bytes: the page itself */
	PAGE_XRLE   = 3, /* runs of changed bytes over the reference, see xrle.h */
	PAGE_BITMAP = 4, /* bitmap of changed bytes over the reference, see bitmap.h */
	PAGE_DUP    = 5, /* u32 index of a page with the same content, guest pages only. Needs all
			  * pages, so page_encode() makes none and page_apply() takes none. */
};
#define PAGE_N_CLASSES 5 /* array size when indexed by a class that page_encode() makes */
#define PAGE_DUP_BYTES 4 /* data of a DUP record */

/* HELLO's feature bits. */
#define PAGE_FEATURE_XRLE   (1u << 0)
#define PAGE_FEATURE_BITMAP (1u << 1)
#define PAGE_FEATURE_DUP    (1u << 3)

#endif
