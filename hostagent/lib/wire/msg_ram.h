/* msg_ram.h - RAM_HASH, hashes of pages within an epoch, and RAM_CHECKED.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_RAM_H
#define WIRE_MSG_RAM_H

#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* RAM_HASH: hashes of consecutive pages of the guest's memory, as they are at the end of the
 * header's epoch. The sender chooses the seed at random, so that a guest cannot prepare two
 * contents with the same hash. */
struct wire_ram_hash {
	uint64_t seed;
	uint32_t first_page; /* index of the first page; first_page + n_pages <= WIRE_PAGES_MAX */
	uint32_t n_pages;    /* 1..WIRE_RAM_HASHES_MAX */
	const uint8_t *hashes; /* n_pages * WIRE_HASH_SIZE bytes; after decoding, in place in the
				* frame */
};
int wire_ram_hash_encode(const struct wire_ram_hash *hash, struct bytes_writer *w) WIRE_CHECKED;
/* The caller must check that the guest has these pages. */
int wire_ram_hash_decode(const struct wire_frame *frame, struct wire_ram_hash *ret_hash,
			 struct wire_error *error) WIRE_CHECKED;

/* RAM_CHECKED: what the standby found when it compared the hashes in all RAM_HASH frames of the
 * header's epoch with its copy. */
struct wire_ram_checked {
	uint32_t n_checked; /* pages compared, at least 1 */
	uint32_t n_differ;  /* how many of these pages differ */
	uint32_t page[WIRE_RAM_DIFFER_MAX]; /* indexes of the first WIRE_RAM_DIFFER_MAX pages that
					     * differ */
};
int wire_ram_checked_encode(const struct wire_ram_checked *checked,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_ram_checked_decode(const struct wire_frame *frame, struct wire_ram_checked *ret_checked,
			    struct wire_error *error) WIRE_CHECKED;

#endif
