#include "epoch/packer.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "wire/msg.h"

/* A frame is sent packed if packing saves at least a sixteenth of it. LZ4 is not tried on frames
 * smaller than PACK_BYTES_MIN. */
#define PACK_BYTES_MIN	  256u
#define PACK_WORTH(size) ((size) - (size) / 16)

size_t packer_pack(struct packer *packer, bool is_on, uint8_t *payload, size_t size,
		   struct packer_counts *counts)
{
	struct wire_lz4 lz4 = {.plain_size = (uint32_t)size, .block = packer->packed};
	struct bytes_writer w = {.at = payload, .end = payload + size};
	uint64_t start_ns;

	counts->plain_bytes += size;
	if (!is_on || size < PACK_BYTES_MIN)
		return size;
	start_ns = clock_mono_ns();
	lz4.block_size =
		lz4block_pack(&packer->lz4, payload, size, packer->packed, PACK_WORTH(size));
	if (lz4.block_size > 0 && wire_lz4_encode(&lz4, &w) < 0)
		lz4.block_size = 0; /* cannot happen: the block is shorter than the payload */
	counts->spent_ns += clock_mono_ns() - start_ns;
	counts->in_bytes += size;
	counts->out_bytes += lz4.block_size ? (size_t)(w.at - payload) : size;
	return lz4.block_size ? (size_t)(w.at - payload) : size;
}

void packer_add_counts(struct packer_counts *counts, const struct packer_counts *more)
{
	counts->plain_bytes += more->plain_bytes;
	counts->in_bytes += more->in_bytes;
	counts->out_bytes += more->out_bytes;
	counts->spent_ns += more->spent_ns;
}
