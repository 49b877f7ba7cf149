/* simd.h - the scalar, AVX2 and AVX-512 forms of the codec, and which of them is in use.
 *
 * Why: comparing pages is most of the work of an epoch; wide registers do it at the speed of
 * memory. All forms give the same bytes for the same input (tests/unit/test_xrle compares them), so
 * primary and standby may be different kinds of machine.
 *
 * The best form that CPU and kernel offer is picked before main(). Only tests and benchmarks pick
 * another. Threads: simd_set_form() only while nothing else uses the codec.
 */
#ifndef CODEC_SIMD_H
#define CODEC_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum simd_form {
	SIMD_SCALAR = 0,
	SIMD_AVX2   = 1, /* AVX2, BMI1, BMI2 */
	SIMD_AVX512 = 2, /* AVX-512 F, BW, VL, VBMI, VBMI2, VPOPCNTDQ as well */
};
#define SIMD_N_FORMS 3

/* Pages that will be encoded soon, to prefetch while another one is encoded. Any addresses will do:
 * a prefetch cannot fault. */
struct simd_ahead {
	const uint8_t *old, *new; /* the next pair: all lines */

	/* A pair two or three pages later: one line of each, so that its address is translated
	 * early. With pages in random order, translation is the longest wait. If it only begins
	 * with the prefetch of the next pair, those prefetches wait for it, and the CPU stalls: it
	 * can do only a third of a page's work behind a waiting prefetch. See "What was tried" in
	 * docs/epoch-engine.md. */
	const uint8_t *later_old, *later_new;
};

/* The result of comparing two pages. */
struct simd_scan {
	uint64_t changed[64]; /* bit i of word l: byte 64 * l + i differs */
	uint64_t lines;	      /* bit l: line l differs; 0: the pages are equal */
	uint64_t any_nonzero; /* != 0: the new page is not all zero */

	/* set by bitmap_encode() only, and not for equal pages */
	uint32_t n_bytes; /* bytes that differ */
	uint32_t n_runs;  /* runs of bytes that differ, over the whole page */
};

/* One form. Internal to lib/codec; others use xrle.h, bitmap.h, zero.h and encode.h. */
struct simd_ops {
	const char *name;

	/* Compare @old and @new. */
	void (*scan)(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		     struct simd_scan *ret_scan);

	/* Write the XRLE delta to @out (PAGE_BYTES of room). Returns its size, or -E2BIG. The pages
	 * must differ. If @reference (the old page) is not NULL, the new bytes written to @out are
	 * also written there; after -E2BIG its content is undefined. */
	int (*xrle_emit)(const struct simd_scan *scan, const uint8_t *new, uint8_t *out,
			 uint8_t *reference);

	int (*xrle_apply)(const uint8_t *data, size_t size, uint8_t *page);

	/* Scan and encode in one pass, see bitmap.h. Returns the delta's size; 0: equal; -E2BIG. If
	 * @reference (@old itself) is not NULL, it becomes @new as it was read, whatever is
	 * returned: every byte of @new is read once, for both. */
	int (*bitmap_encode)(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
			     uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan);

	/* Apply a delta to @page, and prefetch those lines of @next_page whose bits are set in
	 * @next_lines. */
	int (*bitmap_apply)(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			    const uint8_t *next_page);

	bool (*is_zero)(const uint8_t *page);
};

extern const struct simd_ops *simd_ops; /* the form in use; never NULL once main() runs */

/* The form in use. */
enum simd_form simd_get_form(void);

/* Use @form. 0; -ENOTSUP: this CPU, kernel or build does not have it. */
int simd_set_form(enum simd_form form) __attribute__((warn_unused_result));

/* "scalar", "avx2", "avx512". */
const char *simd_form_name(enum simd_form form);

/* Shuffle orders, indexed by an 8-bit mask; position 0x80 gives a zero byte. Filled before
 * main(). */
extern uint64_t simd_pack_table[256];	/* byte k: the position of the k-th set bit */
/* Byte j: how many set bits lie below bit j, if it is set. */
extern uint64_t simd_unpack_table[256];

extern const struct simd_ops simd_ops_scalar;
extern const struct simd_ops simd_ops_avx2;
extern const struct simd_ops simd_ops_avx512;

#endif
