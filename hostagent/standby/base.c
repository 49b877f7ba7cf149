#include "standby/base.h"

#include <string.h>

#include "codec/zero.h"

/* One answer may hash a limited number of pages (units_max()). It may check this many times as many
 * for zeros, because such a check is faster than a hash. */
#define ZEROS_PER_HASH 4u

static uint32_t units_max(uint64_t bytes)
{
	uint64_t n = BASE_ANSWER_BYTES / bytes;

	return n < WIRE_HASHES_MAX ? (uint32_t)n : WIRE_HASHES_MAX;
}

static void begin(const struct wire_hashes_want *want, uint8_t *room, struct wire_hashes *ret)
{
	*ret = (struct wire_hashes){.seed = want->seed, .first = want->first, .hash = room};
	memcpy(ret->disk, want->disk, sizeof(ret->disk));
}

/* ---- memory */

void base_of_memory(struct ramfile *rf, const struct wire_hashes_want *want, uint8_t *room,
		    struct wire_hashes *ret)
{
	const uint32_t n_max = units_max(WIRE_PAGE_SIZE);
	struct ramfile_reader reader = {.rf = rf, .end = want->first + want->n};
	uint64_t at = want->first;
	const uint8_t *page;

	begin(want, room, ret);
	if (!rf->has_geometry || !rf->ram)
		return;
	if (reader.end > rf->n_pages)
		reader.end = rf->n_pages;
	/* first the leading pages of zeros, which need no hash */
	while (ret->n_zero < ZEROS_PER_HASH * n_max &&
	       (page = ramfile_reader_page(&reader, at)) && zero_is_page(page)) {
		at++;
		ret->n_zero++;
	}
	/* then hash the next pages: these hashes are the answer */
	for (; ret->n < n_max && (page = ramfile_reader_page(&reader, at)); at++, ret->n++)
		wire_hash(want->seed, page, WIRE_PAGE_SIZE,
			  room + (size_t)ret->n * WIRE_HASH_SIZE);
}

/* ---- images */

/* Returns how many whole blocks lie in the hole that begins at block @first, up to block @end; 0 if
 * @first is not in a hole. */
static uint32_t blocks_in_hole(const struct image *image, uint64_t first, uint64_t end)
{
	const uint64_t end_at = end * WIRE_HASH_BLOCK_SIZE;
	uint64_t data_end;
	uint64_t data = images_next_data(image, first * WIRE_HASH_BLOCK_SIZE,
					 end_at < image->bytes ? end_at : image->bytes, &data_end);

	/* if no data follows, count the last block too, although it can be shorter than the
	 * others */
	return (uint32_t)((data == image->bytes ? end : data / WIRE_HASH_BLOCK_SIZE) - first);
}

void base_of_image(const struct image *image, const struct wire_hashes_want *want, uint8_t *room,
		   struct wire_hashes *ret)
{
	const uint64_t n_blocks =
		(image->bytes + WIRE_HASH_BLOCK_SIZE - 1) / WIRE_HASH_BLOCK_SIZE;
	const uint32_t n_max = units_max(WIRE_HASH_BLOCK_SIZE);
	uint64_t end = want->first + want->n, at = want->first;
	uint8_t block[WIRE_HASH_BLOCK_SIZE];

	begin(want, room, ret);
	if (end > n_blocks)
		end = n_blocks;
	/* first the leading blocks in a hole, which need no hash */
	if (at < end)
		ret->n_zero = blocks_in_hole(image, at, end);
	at += ret->n_zero;
	if (end > at + n_max)
		end = at + n_max;
	/* then the blocks whose hashes are the answer; images_settle() makes sure that the disk has
	 * them */
	if (at < end && images_settle(image, at * WIRE_HASH_BLOCK_SIZE,
				      (end - at) * WIRE_HASH_BLOCK_SIZE) < 0)
		return;
	for (; at < end; at++, ret->n++) {
		uint64_t offset = at * WIRE_HASH_BLOCK_SIZE, left = image->bytes - offset;
		size_t bytes = left < sizeof(block) ? (size_t)left : sizeof(block);

		if (images_read(image, block, bytes, offset) < 0)
			return;
		wire_hash(want->seed, block, bytes, room + (size_t)ret->n * WIRE_HASH_SIZE);
	}
}
