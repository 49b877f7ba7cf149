#include "codec/lz4block.h"

#include <errno.h>
#include <lz4.h>

_Static_assert(sizeof(LZ4_stream_t) <= LZ4BLOCK_STATE_BYTES, "LZ4's state fits");
_Static_assert(LZ4BLOCK_PLAIN_MAX <= LZ4_MAX_INPUT_SIZE, "sizes fit LZ4's int");

size_t lz4block_pack(struct lz4block_state *state, const uint8_t *plain, size_t size, uint8_t *out,
		     size_t room)
{
	int r;

	if (size == 0 || size > LZ4BLOCK_PLAIN_MAX)
		return 0;
	if (room > LZ4BLOCK_PLAIN_MAX)
		room = LZ4BLOCK_PLAIN_MAX;
	r = LZ4_compress_fast_extState(state->bytes, (const char *)plain, (char *)out, (int)size,
				       (int)room, 1);
	return r > 0 ? (size_t)r : 0;
}

int lz4block_unpack(const uint8_t *block, size_t size, uint8_t *plain, size_t plain_size)
{
	int r;

	if (size == 0 || size > LZ4BLOCK_PLAIN_MAX || plain_size > LZ4BLOCK_PLAIN_MAX)
		return -EPROTO;
	r = LZ4_decompress_safe((const char *)block, (char *)plain, (int)size, (int)plain_size);
	return r >= 0 && (size_t)r == plain_size ? 0 : -EPROTO;
}
