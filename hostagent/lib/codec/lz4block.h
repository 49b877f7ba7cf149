/* lz4block.h - the second stage of compression: LZ4 over all records of one frame.
 *
 * Why: the deltas of pages that were changed by the same code resemble each other. LZ4 gains from
 * that in a frame of up to 128 KiB, but not in a single record. On deltas of real guests LZ4 leaves
 * 0.6-0.7 of the bytes and runs at 0.5-1 GB/s (docs/epoch-engine.md). So it pays only where the
 * link is the bottleneck.
 *
 * Where: the encoder packs finished frames; the standby unpacks a frame before it checks the
 * records, and again before it applies them. lz4block.c is the only file of this project that
 * includes lz4.h. Threads: one per struct lz4block_state. Never allocates.
 */
#ifndef CODEC_LZ4BLOCK_H
#define CODEC_LZ4BLOCK_H

#include <stddef.h>
#include <stdint.h>

/* the memory that LZ4 needs; it need not be cleared between uses */
#define LZ4BLOCK_STATE_BYTES 16416
#define LZ4BLOCK_PLAIN_MAX   ((size_t)1 << 20)

struct lz4block_state {
	_Alignas(16) uint8_t bytes[LZ4BLOCK_STATE_BYTES];
};

/* Pack @size bytes at @plain into at most @room bytes at @out (not overlapping).
 * Returns the block's size, or 0 if the block does not fit into @room; the content of @out is then
 * undefined. */
size_t lz4block_pack(struct lz4block_state *state, const uint8_t *plain, size_t size, uint8_t *out,
		     size_t room);

/* Unpack a block, which may come from an untrusted peer: writes only the @plain_size bytes at
 * @plain and reads only the block. Returns 0 if the block unpacked to exactly @plain_size bytes, or
 * -EPROTO if it is broken or unpacks to another size; the content of @plain is then undefined. */
int lz4block_unpack(const uint8_t *block, size_t size, uint8_t *plain, size_t plain_size)
	__attribute__((warn_unused_result));

#endif
