/* msg_hashes.h - HASHES_WANT and HASHES, with which the primary learns what the standby has.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_HASHES_H
#define WIRE_MSG_HASHES_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* HASHES_WANT: the primary asks for hashes of a part of the standby's memory copy, or of one of its
 * disk images. The hashes are of the part's present content, which can be of any epoch. A unit is a
 * page of guest memory (WIRE_PAGE_SIZE bytes, numbered as in PAGES), or a block of a disk
 * (WIRE_HASH_BLOCK_SIZE bytes; the last block can be shorter). */
struct wire_hashes_want {
	char disk[WIRE_DISK_NAME_MAX + 1]; /* "": memory */
	uint64_t seed;  /* seed of the hashes, chosen by the primary at random */
	uint64_t first; /* number of the first unit */
	uint32_t n;     /* 1 or more units; all are below WIRE_HASH_UNITS_MAX */
};
int wire_hashes_want_encode(const struct wire_hashes_want *want, struct bytes_writer *w)
	WIRE_CHECKED;
int wire_hashes_want_decode(const struct wire_frame *frame, struct wire_hashes_want *ret_want,
			    struct wire_error *error) WIRE_CHECKED;

/* HASHES: the answer to HASHES_WANT, for at least one of the wanted units. From unit @first on, the
 * first @n_zero units are zero, and the next @n units have one hash each. If both numbers are 0,
 * the standby has neither unit @first nor any later unit. */
struct wire_hashes {
	char disk[WIRE_DISK_NAME_MAX + 1];
	uint64_t seed, first; /* the values of the HASHES_WANT */
	uint32_t n_zero;
	uint32_t n;	      /* 0..WIRE_HASHES_MAX */
	/* in place in the frame: n times WIRE_HASH_SIZE bytes, XXH3-128 with the seed, high half
	 * first */
	const uint8_t *hash;
};
int wire_hashes_encode(const struct wire_hashes *hashes, struct bytes_writer *w) WIRE_CHECKED;
int wire_hashes_decode(const struct wire_frame *frame, struct wire_hashes *ret_hashes,
		       struct wire_error *error) WIRE_CHECKED;
/* Compute the hash of one unit (HASHES) or page (RAM_HASH), the @bytes bytes at @data: XXH3-128
 * with this seed, high half first. */
void wire_hash(uint64_t seed, const void *data, size_t bytes, uint8_t ret_hash[WIRE_HASH_SIZE]);

#endif
