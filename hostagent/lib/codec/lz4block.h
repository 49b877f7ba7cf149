/* lz4block.h - the second stage: LZ4 over all records of one frame.
 *
 * Why: deltas of pages that the same code changed resemble each other. One record is too short to
 * gain from that; a frame of up to 128 KiB is not. Measured on deltas of real guests
 * (docs/epoch-engine.md): 0.6-0.7 of their bytes at 0.5-1 GB/s, which pays only where the link is
 * the bottleneck.
 *
 * Where: the encoder packs finished frames; the standby unpacks before it checks, and again before
 * it applies. The only file of ours that includes lz4.h is lz4block.c. Threads: one per state.
 * Never allocates.
 */
#ifndef CODEC_LZ4BLOCK_H
#define CODEC_LZ4BLOCK_H

#include <stddef.h>
#include <stdint.h>

#define LZ4BLOCK_STATE_BYTES 16416 /* what LZ4 needs; need not be cleared between uses */
#define LZ4BLOCK_PLAIN_MAX   ((size_t)1 << 20)

struct lz4block_state {
	_Alignas(16) uint8_t bytes[LZ4BLOCK_STATE_BYTES];
};

/* Pack @size bytes at @plain into at most @room bytes at @out (not overlapping).
 * Returns the block's size; 0: it does not fit into @room, @out is undefined. */
size_t lz4block_pack(struct lz4block_state *state, const uint8_t *plain, size_t size, uint8_t *out,
		     size_t room);

/* Unpack a block that need not be trusted: writes only the @plain_size bytes at @plain, reads only
 * the block. 0: it unpacked to exactly @plain_size bytes; -EPROTO: it is broken or unpacks to
 * another size; @plain is then undefined. */
int lz4block_unpack(const uint8_t *block, size_t size, uint8_t *plain, size_t plain_size)
	__attribute__((warn_unused_result));

#endif
