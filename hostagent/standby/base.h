/* base.h - finds out what this host already has of the guest: hashes of its old copy and its
 * images.
 *
 * Why: a new copy need not send what this host has already, for example after the stream was lost
 * for a while, or after a failover. Equal hashes mean equal content. So it does not matter where
 * this host's content comes from.
 *
 * Where: stream.c uses it to answer the primary's HASHES_WANT (wire/msg.h). Pure, except that it
 * reads files and images.
 * Threads: the standby's, which also carries out orders. An order must not wait for long, so each
 * answer hashes at most BASE_ANSWER_BYTES, and looks for zeros in at most four times as many bytes
 * of memory.
 */
#ifndef STANDBY_BASE_H
#define STANDBY_BASE_H

#include <stdint.h>

#include "standby/images.h"
#include "standby/ramfile.h"
#include "wire/msg.h"

/* at most this many bytes are read and hashed for one answer */
#define BASE_ANSWER_BYTES (UINT64_C(16) << 20)

/* Fill in *ret_hashes, the answer to @want, with the pages of the copy in @rf. @room has space for
 * WIRE_HASHES_MAX hashes (WIRE_HASH_SIZE each), and ret_hashes->hash points to it. The answer
 * covers a part of the wanted pages: it ends before the first page that cannot be read, and is
 * empty if there is no layout. */
void base_of_memory(struct ramfile *rf, const struct wire_hashes_want *want, uint8_t *room,
		    struct wire_hashes *ret_hashes);
/* Like base_of_memory(), but for the blocks of @image, which must be open. The hashed content is on
 * the image's disk, not only in the page cache. The answer ends before the first block that cannot
 * be written to the disk and read back. */
void base_of_image(const struct image *image, const struct wire_hashes_want *want, uint8_t *room,
		   struct wire_hashes *ret_hashes);

#endif
