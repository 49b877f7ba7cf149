#include "guest/guest_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/guest_proto.h"

uint64_t guest_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t guest_seed(uint64_t seq, uint32_t index)
{
	uint64_t seed = guest_mix(guest_mix(seq) ^ index);

	return seed ? seed : 1;
}

uint64_t guest_checksum_add(uint64_t checksum, uint64_t old_seed)
{
	return guest_mix(checksum ^ old_seed);
}

/* Returns the word that the pattern of @seed has at byte offset @at (a multiple of 8) of a page. */
static uint64_t pattern_word(uint64_t seed, uint32_t at)
{
	return guest_mix(seed + at / 8);
}

void guest_page_write(uint8_t *page, uint64_t seed, uint32_t n_bytes)
{
	uint64_t length = n_bytes;
	uint64_t word;
	uint32_t at;

	memcpy(page, &seed, 8);
	memcpy(page + 8, &length, 8);
	for (at = GUEST_BYTES_MIN; at + 8 <= n_bytes; at += 8) {
		word = pattern_word(seed, at);
		memcpy(page + at, &word, 8);
	}
}

uint64_t guest_page_read(const uint8_t *page, bool *ret_torn)
{
	uint64_t seed, length, word;
	uint32_t at;

	memcpy(&seed, page, 8);
	memcpy(&length, page + 8, 8);
	if (seed == 0 && length == 0)
		return 0;
	if (length < GUEST_BYTES_MIN || length > GUEST_BYTES_MAX) {
		*ret_torn = true;
		return seed;
	}
	for (at = GUEST_BYTES_MIN; at + 8 <= length; at += 8) {
		memcpy(&word, page + at, 8);
		if (word != pattern_word(seed, at)) {
			*ret_torn = true;
			break;
		}
	}
	return seed;
}

int guest_model_init(struct guest_model *model, uint32_t window_pages)
{
	*model = (struct guest_model){ .window_pages = window_pages };
	model->seeds = calloc(window_pages, sizeof(*model->seeds));
	return model->seeds ? 0 : -ENOMEM;
}

void guest_model_done(struct guest_model *model)
{
	free(model->seeds);
	*model = (struct guest_model){ 0 };
}

uint64_t guest_model_dirty(struct guest_model *model, uint64_t seq, uint32_t n_pages)
{
	uint32_t i;

	for (i = 0; i < n_pages; i++) {
		model->checksum =
			guest_checksum_add(model->checksum, model->seeds[model->next_page]);
		model->seeds[model->next_page] = guest_seed(seq, i);
		model->next_page = (model->next_page + 1) % model->window_pages;
	}
	return model->checksum;
}
