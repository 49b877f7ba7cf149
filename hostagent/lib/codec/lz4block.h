/* lz4block.h - the second stage of compression: LZ4 over all records of one frame.
 *
 * Why: deltas of different pages often resemble each other. So LZ4 can shorten a frame of up to 128
 * KiB, but not a single record. LZ4 leaves 60-70 % of the bytes of real guests' deltas, at 0.5-1
 * GB/s (docs/epoch-engine.md). So LZ4 is useful only where the link is the bottleneck.
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

/* Pack @size bytes at @plain into at most @room bytes at @out (not overlapping). Returns the
 * block's size. If the block does not fit into @room, returns 0, and the content of @out is
 * undefined. */
size_t lz4block_pack(struct lz4block_state *state, const uint8_t *plain, size_t size, uint8_t *out,
		     size_t room);

/* Unpack a block, which can come from an untrusted peer. Writes only the @plain_size bytes at
 * @plain, and reads only the block. Returns 0 if the block unpacks to exactly @plain_size bytes. If
 * not, returns -EPROTO, and the content of @plain is undefined. */
int lz4block_unpack(const uint8_t *block, size_t size, uint8_t *plain, size_t plain_size)
	__attribute__((warn_unused_result));

#endif
