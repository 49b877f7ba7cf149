/* simd.h - the scalar, AVX2 and AVX-512 forms of the codec, and which of them is in use.
 *
 * Why: comparing two pages is most of the work of an epoch; wide registers do it at the speed of
 * memory. All forms give the same bytes for the same input (tests/unit/test_xrle compares them), so
 * primary and standby need not be the same kind of machine.
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
	SIMD_AVX512 = 2, /* AVX-512 F, BW, VL, VBMI, VBMI2 as well */
};
#define SIMD_N_FORMS 3

/* What one comparison of two pages tells. */
struct simd_scan {
	uint64_t changed[64]; /* bit i of word l: byte 64 * l + i differs */
	uint64_t any_changed; /* != 0: the pages differ */
	uint64_t any_nonzero; /* != 0: the new page is not all zero */
	uint64_t lines;	      /* bit l: line l differs; valid after bitmap_encode* only */
};

/* One form. Internal to lib/codec; others use xrle.h, bitmap.h, zero.h and encode.h. */
struct simd_ops {
	const char *name;

	/* Compare @old and @new; meanwhile prefetch @next_old and @next_new (any addresses: a
	 * prefetch cannot fault). */
	void (*scan)(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
		     const uint8_t *next_new, struct simd_scan *ret_scan);

	/* Size of the delta written to @out (PAGE_BYTES of room), or -E2BIG. Needs any_changed. */
	int (*xrle_emit)(const struct simd_scan *scan, const uint8_t *new, uint8_t *out);

	/* The same, and @reference (the old page) gets the bytes that were written to @out; after
	 * -E2BIG its content is undefined. */
	int (*xrle_emit_update)(const struct simd_scan *scan, const uint8_t *new, uint8_t *out,
				uint8_t *reference);

	int (*xrle_apply)(const uint8_t *data, size_t size, uint8_t *page);

	/* Scan and encode in one pass, see bitmap.h: the delta's size; 0: equal; -E2BIG. */
	int (*bitmap_encode)(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
			     const uint8_t *next_new, uint8_t *out, struct simd_scan *ret_scan);

	/* The same, and @reference (the old page) becomes @new as it was read, whatever is returned:
	 * every byte of @new is read once, for both. */
	int (*bitmap_encode_update)(uint8_t *reference, const uint8_t *new, const uint8_t *next_old,
				    const uint8_t *next_new, uint8_t *out,
				    struct simd_scan *ret_scan);

	/* Meanwhile prefetch those lines of @next_page that @next_lines names. */
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

/* For byte shuffles, by an 8-bit mask; 0x80 gives 0. Filled before main(). */
extern uint64_t simd_pack_table[256];	/* byte k: the position of the k-th set bit */
extern uint64_t simd_unpack_table[256]; /* byte j: how many set bits lie below bit j, if it is set */

extern const struct simd_ops simd_ops_scalar;
extern const struct simd_ops simd_ops_avx2;
extern const struct simd_ops simd_ops_avx512;

#endif
