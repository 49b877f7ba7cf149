/* The AVX2 form: works on 32 bytes at a time. Compiled with -mavx2; called only if the CPU has
 * AVX2. */
#include "codec/simd.h"

#include <immintrin.h>

#include "codec/bitmap_form.h"
#include "codec/xrle_form.h"

static inline __m256i load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static void scan(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		 struct simd_scan *ret_scan)
{
	__m256i any_new = _mm256_setzero_si256();
	uint64_t lines = 0;

	__builtin_prefetch(ahead->later_old);
	__builtin_prefetch(ahead->later_new);
	for (unsigned int i = 0; i < 64; i++) {
		__m256i new0 = load(new + 64 * i), new1 = load(new + 64 * i + 32);
		__m256i equal0 = _mm256_cmpeq_epi8(new0, load(old + 64 * i));
		__m256i equal1 = _mm256_cmpeq_epi8(new1, load(old + 64 * i + 32));
		uint64_t equal = (uint32_t)_mm256_movemask_epi8(equal0) |
				 (uint64_t)(uint32_t)_mm256_movemask_epi8(equal1) << 32;

		_mm_prefetch((const char *)ahead->old + 64 * i, _MM_HINT_T0);
		_mm_prefetch((const char *)ahead->new + 64 * i, _MM_HINT_T0);
		any_new = _mm256_or_si256(any_new, _mm256_or_si256(new0, new1));
		lines |= (uint64_t)(~equal != 0) << i;
		ret_scan->changed[i] = ~equal;
	}
	ret_scan->lines = lines;
	ret_scan->any_nonzero = !_mm256_testz_si256(any_new, any_new);
}

static int emit(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out,
		uint8_t *reference)
{
	return form_xrle_emit(scan_of, new, out, reference, form_edges_by_bit,
			      form_copy_overlapping);
}

static int apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return form_xrle_apply(data, size, page, form_copy_overlapping);
}

static uint64_t compare_line(const uint8_t *old, const uint8_t *new, uint8_t *copy)
{
	__m256i new0 = load(new), new1 = load(new + 32);
	__m256i equal0 = _mm256_cmpeq_epi8(new0, load(old));
	__m256i equal1 = _mm256_cmpeq_epi8(new1, load(old + 32));

	_mm256_storeu_si256((__m256i *)(void *)copy, new0);
	_mm256_storeu_si256((__m256i *)(void *)(copy + 32), new1);
	return ~((uint32_t)_mm256_movemask_epi8(equal0) |
		 (uint64_t)(uint32_t)_mm256_movemask_epi8(equal1) << 32);
}

/* Uses a table and a shuffle, because BMI2's pext takes hundreds of cycles on some CPUs with
 * AVX2. */
static void pack_word(uint8_t *out, const uint8_t *word, unsigned int mask)
{
	__m128i order = _mm_loadl_epi64((const __m128i *)(const void *)&simd_pack_table[mask]);
	__m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)word);

	_mm_storel_epi64((__m128i *)(void *)out, _mm_shuffle_epi8(bytes, order));
}

static void unpack_word(uint8_t *word, const uint8_t *data, unsigned int mask)
{
	__m128i order = _mm_loadl_epi64((const __m128i *)(const void *)&simd_unpack_table[mask]);
	__m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)data);
	__m128i kept = _mm_loadl_epi64((const __m128i *)(const void *)word);

	/* Keep the old byte wherever the order is 0x80. */
	bytes = _mm_blendv_epi8(_mm_shuffle_epi8(bytes, order), kept, order);
	_mm_storel_epi64((__m128i *)(void *)word, bytes);
}

static int encode_bitmap(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
			 uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan)
{
	return bitmap_form_encode(old, new, ahead, out, reference, ret_scan, compare_line,
				  pack_word);
}

static int apply_bitmap(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			const uint8_t *next_page)
{
	return bitmap_form_apply(data, size, page, next_lines, next_page, unpack_word);
}

static bool is_zero(const uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE_BYTES; i += 128) {
		__m256i any = _mm256_or_si256(
			_mm256_or_si256(load(page + i), load(page + i + 32)),
			_mm256_or_si256(load(page + i + 64), load(page + i + 96)));

		if (!_mm256_testz_si256(any, any))
			return false;
	}
	return true;
}

const struct simd_ops simd_ops_avx2 = {
	.name = "avx2",
	.scan = scan,
	.xrle_emit = emit,
	.xrle_apply = apply,
	.bitmap_encode = encode_bitmap,
	.bitmap_apply = apply_bitmap,
	.is_zero = is_zero,
};
