/* simd.h - declares the scalar, AVX2 and AVX-512 forms of the codec, and chooses the form to use.
 *
 * Why: comparing pages is most of the work of an epoch, and wide registers compare them as fast as
 * memory can be read. All forms give the same bytes for the same input (tests/unit/test_xrle
 * compares them). So the primary and the standby may have different CPUs.
 *
 * The best form that the CPU and the kernel support is chosen before main(). Only tests and
 * benchmarks choose another. Threads: call simd_set_form() only while no other thread uses the
 * codec.
 */
#ifndef CODEC_SIMD_H
#define CODEC_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum simd_form {
	SIMD_SCALAR = 0,
	SIMD_AVX2   = 1, /* AVX2, BMI1, BMI2 */
	SIMD_AVX512 = 2, /* also AVX-512 F, BW, VL, VBMI, VBMI2, VPOPCNTDQ */
};
#define SIMD_N_FORMS 3

/* Pages that will be encoded soon. They are prefetched while another page is encoded. A prefetch
 * cannot fault, so the addresses need not be valid. */
struct simd_ahead {
	const uint8_t *old, *new; /* the next pair of pages; all their lines are prefetched */

	/* A pair of pages that is encoded two or three pages later. One line of each page is
	 * prefetched, so that the CPU translates the page's address early: if pages come in random
	 * order, most of the CPU's waiting is for this translation. See "What was tried" in
	 * docs/epoch-engine.md. */
	const uint8_t *later_old, *later_new;
};

/* The result of comparing two pages. */
struct simd_scan {
	uint64_t changed[64]; /* bit i of word l: byte 64 * l + i differs */
	uint64_t lines;       /* bit l: line l differs; all bits are 0 if the pages are equal */
	uint64_t any_nonzero; /* != 0: the new page is not all zero */

	/* set only by simd_ops->bitmap_encode, and only if the pages differ */
	uint32_t n_bytes; /* bytes that differ */
	uint32_t n_runs;  /* runs of bytes that differ, over the whole page */
};

/* The functions of one form. Internal to lib/codec; other directories use xrle.h, bitmap.h, zero.h
 * and encode.h. */
struct simd_ops {
	const char *name;

	/* Compare @old and @new. */
	void (*scan)(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		     struct simd_scan *ret_scan);

	/* Write the XRLE delta to @out (PAGE_BYTES of room). The pages must differ. If @reference
	 * (the old page) is not NULL, each changed byte there gets the new value that was written
	 * to @out. Returns the delta's size, or -E2BIG. After -E2BIG the content of @reference is
	 * undefined. */
	int (*xrle_emit)(const struct simd_scan *scan, const uint8_t *new, uint8_t *out,
			 uint8_t *reference);

	/* Apply an XRLE delta to @page. Returns what xrle_apply() returns. */
	int (*xrle_apply)(const uint8_t *data, size_t size, uint8_t *page);

	/* Compare the pages and write the bitmap delta (bitmap.h). If @reference is not NULL, it
	 * must be the same page as @old, and becomes a copy of @new, also after -E2BIG. Each byte
	 * of @new is read only once, so the delta and the copy agree. Returns the delta's size, 0
	 * if the pages are equal, or -E2BIG. */
	int (*bitmap_encode)(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
			     uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan);

	/* Apply a delta to @page, and prefetch those lines of @next_page whose bits are set in
	 * @next_lines. */
	int (*bitmap_apply)(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			    const uint8_t *next_page);

	/* Is the whole page zero? */
	bool (*is_zero)(const uint8_t *page);
};

extern const struct simd_ops *simd_ops; /* the form in use; set before main() */

/* Returns the form in use. */
enum simd_form simd_get_form(void);

/* Use @form from now on. Returns 0, or -ENOTSUP if this CPU, kernel or build does not support
 * it. */
int simd_set_form(enum simd_form form) __attribute__((warn_unused_result));

/* Returns "scalar", "avx2" or "avx512". */
const char *simd_form_name(enum simd_form form);

/* Two tables of control vectors for the CPU's byte shuffle, filled before main(). The index is an
 * 8-bit mask. Byte k of a control vector says from which position the shuffle takes its byte k:
 *      simd_pack_table     the position of the mask's k-th set bit
 *      simd_unpack_table   the number of bits set below bit k, if bit k of the mask is set
 *      both                0x80 where there is no such position: the shuffle stores 0 */
extern uint64_t simd_pack_table[256];
extern uint64_t simd_unpack_table[256];

extern const struct simd_ops simd_ops_scalar;
extern const struct simd_ops simd_ops_avx2;
extern const struct simd_ops simd_ops_avx512;

#endif
