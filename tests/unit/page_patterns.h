/* page_patterns.h - makes pairs of pages (old, new) of every kind that a delta coder meets, from a
 * seed. The codec's tests use it, and so does the codec's benchmark (codec_bench --generate). */
#ifndef TESTS_PAGE_PATTERNS_H
#define TESTS_PAGE_PATTERNS_H

#include <stdint.h>
#include <string.h>

#include "codec/page.h"

/* xorshift64*: a seed gives the same sequence on every machine. */
static inline uint64_t pattern_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline void pattern_fill(uint64_t *state, uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE_BYTES; i += 8) {
		uint64_t value = pattern_random(state);

		memcpy(page + i, &value, 8);
	}
}

#define PATTERN_N_KINDS 14

static const char *const pattern_names[PATTERN_N_KINDS] = {
	"equal", "to_zero",    "from_zero",  "all_new",   "one_byte",  "counters",  "one_run",
	"rows",	 "byte_noise", "half_noise", "every_2nd", "every_3rd", "every_4th", "edges"};

/* Change byte @at of @page; the new value always differs from the old one. */
static inline void pattern_touch(uint64_t *state, uint8_t *page, uint64_t at)
{
	page[at] = (uint8_t)(page[at] ^ (1 + pattern_random(state) % 255));
}

/* Fill @old and @new with a pair of @kind. */
static inline void pattern_pair(unsigned int kind, uint64_t *state, uint8_t *old, uint8_t *new)
{
	uint64_t n, at, i;

	pattern_fill(state, old);
	if (kind == 2)
		memset(old, 0, PAGE_BYTES);
	memcpy(new, old, PAGE_BYTES);
	switch (kind) {
	case 1:
		memset(new, 0, PAGE_BYTES);
		break;
	case 2: /* a zero page being filled: text-like bytes up to a random length */
		n = 1 + pattern_random(state) % PAGE_BYTES;
		for (i = 0; i < n; i++)
			new[i] = (uint8_t)(1 + pattern_random(state) % 96);
		break;
	case 3:
		pattern_fill(state, new);
		break;
	case 4:
		pattern_touch(state, new, pattern_random(state) % PAGE_BYTES);
		break;
	case 5: /* 64-bit counters and pointers: the low bytes of some words change */
		n = 1 + pattern_random(state) % 60;
		for (i = 0; i < n; i++) {
			at = pattern_random(state) % (PAGE_BYTES / 8) * 8;
			pattern_touch(state, new, at);
			if (pattern_random(state) & 1)
				pattern_touch(state, new, at + 1);
		}
		break;
	case 6:
		at = pattern_random(state) % PAGE_BYTES;
		n = pattern_random(state) % (PAGE_BYTES - at) + 1;
		for (i = at; i < at + n; i++)
			pattern_touch(state, new, i);
		break;
	case 7: /* rows of a table: runs of 20..300 bytes, some bytes the same by chance */
		n = 1 + pattern_random(state) % 6;
		while (n--) {
			uint64_t size = 20 + pattern_random(state) % 280;

			at = pattern_random(state) % (PAGE_BYTES - size);
			for (i = at; i < at + size; i++)
				new[i] = (uint8_t)pattern_random(state);
		}
		break;
	case 8: /* scattered bytes, at most 400 */
		n = 1 + pattern_random(state) % 400;
		for (i = 0; i < n; i++)
			pattern_touch(state, new, pattern_random(state) % PAGE_BYTES);
		break;
	case 9: /* every byte changes with probability 1/2: gaps of every small size */
		for (i = 0; i < PAGE_BYTES; i++) {
			if (pattern_random(state) & 0x100)
				pattern_touch(state, new, i);
		}
		break;
	case 10:
	case 11:
	/* regular gaps of 1, 2 and 3 bytes: the XRLE coder merges runs across a gap of 1 or 2
	 * bytes, but not across a gap of 3 */
	case 12:
		for (i = pattern_random(state) % 3; i < PAGE_BYTES; i += kind - 8)
			pattern_touch(state, new, i);
		break;
	/* changes at the edges of 64-byte lines and of the page, so that runs and gaps have lengths
	 * around 127, the longest that one byte holds (xrle.h) */
	case 13:
		for (i = 0; i < 64; i++) {
			uint64_t choice = pattern_random(state) % 8;

			if (choice & 1)
				pattern_touch(state, new, 64 * i + 63);
			if (choice & 2)
				pattern_touch(state, new, 64 * i);
			if (choice & 4)
				pattern_touch(state, new, 64 * i + 1 + pattern_random(state) % 62);
		}
		break;
	default:
		break;
	}
}

#endif
