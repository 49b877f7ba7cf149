/* Puts hashes of pages into RAM_HASH frames, and forgets the reference of a page. */
#include "epoch/encoder_private.h"

#include "wire/msg.h"

int encoder_ram_hash(struct encoder *e, const struct wire_ram_hash *hash)
{
	int r;

	encoder_close_frame(e, 0);
	r = encoder_need_frame(e, WIRE_RAM_HASH, 64);
	if (r == 0)
		r = wire_ram_hash_encode(hash, &e->w);
	if (r < 0)
		return r;
	encoder_close_frame(e, 0);
	e->used_features |= WIRE_FEATURE_VERIFY;
	return 0;
}

void encoder_forget(struct encoder *e, uint32_t page)
{
	reference_forget(e->reference, page);
}
