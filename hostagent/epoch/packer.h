/* packer.h - the second stage of encoding: packs the payload of a finished frame with LZ4 if that
 * makes the payload shorter. stage.h decides whether to pack at all.
 *
 * Where: the engine's thread and the encoder's worker threads call it. It calls
 * hostagent/lib/codec/lz4block.h. Threads: one per struct packer. Never allocates.
 */
#ifndef EPOCH_PACKER_H
#define EPOCH_PACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/lz4block.h"
#include "wire/limits.h"

/* Working memory for packing; it need not be initialized. */
struct packer {
	struct lz4block_state lz4;
	uint8_t packed[WIRE_PAYLOAD_MAX];
};

struct packer_counts {
	uint64_t plain_bytes; /* size of all payloads passed to packer_pack() */
	uint64_t in_bytes;    /* how many of the plain_bytes were passed to LZ4 */
	uint64_t out_bytes;   /* size of the in_bytes afterwards, packed or not */
	uint64_t spent_ns;    /* time spent in LZ4, over all threads */
};

/* If @is_on, try to pack the @size bytes at @payload, in place. If they would not get enough
 * shorter, they stay as they are. Updates @counts. Returns the payload's new size. If this is less
 * than @size, the payload was packed (WIRE_FLAG_LZ4). */
size_t packer_pack(struct packer *packer, bool is_on, uint8_t *payload, size_t size,
		   struct packer_counts *counts);

void packer_add_counts(struct packer_counts *counts, const struct packer_counts *more);

#endif
