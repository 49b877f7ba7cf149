/* base.h - says what this host has of the guest: hashes of its old copy and of its images.
 *
 * Why: a new copy need not send what this host has already, for example after the stream was lost
 * for a while, or after a failover. Whatever the old content is and whoever wrote it, equal hashes
 * mean equal content. So nobody needs to know where the content comes from.
 *
 * Where: stream.c answers the primary's HASHES_WANT (wire/msg.h) with it. Pure, except that it
 * reads images.
 * Threads: the standby's. Each answer hashes at most BASE_ANSWER_BYTES, and looks for zeros in four
 * times as many bytes of memory, so that orders do not wait.
 */
#ifndef STANDBY_BASE_H
#define STANDBY_BASE_H

#include <stdint.h>

#include "standby/images.h"
#include "standby/ramfile.h"
#include "wire/msg.h"

#define BASE_ANSWER_BYTES (UINT64_C(16) << 20) /* maximum number of bytes that are read and hashed
						* for one answer */

/* Fill in *ret_hashes, the answer to @want. @room, for the hashes, has WIRE_HASHES_MAX *
 * WIRE_HASH_SIZE bytes, and ret_hashes->hash points to it.
 * base_of_memory(): the pages of the copy in @rf. Nothing is known if there is no layout. If a page
 * cannot be read, nothing is known of this page and all later ones.
 * base_of_image(): the blocks of @image, which must be open, as they are on its disk. If a block
 * cannot be written or read, nothing is known of this block and all later ones. */
void base_of_memory(struct ramfile *rf, const struct wire_hashes_want *want, uint8_t *room,
		    struct wire_hashes *ret_hashes);
void base_of_image(const struct image *image, const struct wire_hashes_want *want, uint8_t *room,
		   struct wire_hashes *ret_hashes);

#endif
