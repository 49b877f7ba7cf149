/* The form for AVX-512 (F, BW, VL, VBMI, VBMI2): 64 bytes at a time, masked moves, and positions of
 * edges by compression instead of a loop over bits. Compiled with these flags; called only where the
 * CPU has them. */
#include "codec/simd.h"

#include <immintrin.h>

#include "codec/bitmap_form.h"
#include "codec/xrle_form.h"

/* Store the positions of the bits of @bits, counted from @base; room for 32. Their number. */
static inline size_t put_positions(uint16_t *out, uint32_t bits, __m512i base)
{
	_mm512_storeu_si512(out, _mm512_maskz_compress_epi16(bits, base));
	return (size_t)__builtin_popcount(bits);
}

/* As form_edges_by_bit(). */
static inline size_t find_edges(const uint64_t *changed, uint16_t *edges)
{
	static const uint16_t first[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
					   11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
					   22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
	const __m512i step = _mm512_set1_epi16(32);
	__m512i base = _mm512_loadu_si512(first);
	uint64_t previous = 0, filled_before = 0;
	size_t n = 0;

	for (unsigned int i = 0; i < 64; i++) {
		uint64_t filled = form_fill_gaps(previous, changed[i], i < 63 ? changed[i + 1] : 0);
		uint64_t edge = filled ^ (filled << 1 | filled_before >> 63);

		previous = changed[i];
		filled_before = filled;
		if (edge) {
			n += put_positions(edges + n, (uint32_t)edge, base);
			n += put_positions(edges + n, (uint32_t)(edge >> 32),
					   _mm512_add_epi16(base, step));
		}
		base = _mm512_add_epi16(base, _mm512_add_epi16(step, step));
	}
	if (filled_before >> 63)
		edges[n++] = PAGE_BYTES;
	return n;
}

static inline void copy_masked(uint8_t *to, const uint8_t *from, size_t size)
{
	for (; size > 64; size -= 64, to += 64, from += 64)
		_mm512_storeu_si512(to, _mm512_loadu_si512(from));
	if (size > 0) {
		__mmask64 mask = UINT64_MAX >> (64 - size);

		_mm512_mask_storeu_epi8(to, mask, _mm512_maskz_loadu_epi8(mask, from));
	}
}

static void scan(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
		 const uint8_t *next_new, struct simd_scan *ret_scan)
{
	__m512i any_new = _mm512_setzero_si512();
	uint64_t any_changed = 0;

	for (unsigned int i = 0; i < 64; i++) {
		__m512i line = _mm512_loadu_si512(new + 64 * i);
		uint64_t changed = _mm512_cmpneq_epi8_mask(line, _mm512_loadu_si512(old + 64 * i));

		_mm_prefetch((const char *)next_old + 64 * i, _MM_HINT_T0);
		_mm_prefetch((const char *)next_new + 64 * i, _MM_HINT_T0);
		any_new = _mm512_or_si512(any_new, line);
		any_changed |= changed;
		ret_scan->changed[i] = changed;
	}
	ret_scan->any_changed = any_changed;
	ret_scan->any_nonzero = _mm512_test_epi64_mask(any_new, any_new);
}

static int emit(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out)
{
	uint16_t edges[FORM_EDGES_MAX];
	size_t n_edges = find_edges(scan_of->changed, edges);

	return form_xrle_emit(edges, n_edges, new, out, NULL, copy_masked);
}

static int emit_update(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out,
		       uint8_t *reference)
{
	uint16_t edges[FORM_EDGES_MAX];
	size_t n_edges = find_edges(scan_of->changed, edges);

	return form_xrle_emit(edges, n_edges, new, out, reference, copy_masked);
}

static int apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return form_xrle_apply(data, size, page, copy_masked);
}

/* Every changed word -> its 8 bytes. */
static inline uint64_t spread(uint64_t words)
{
	uint64_t low = _pdep_u64(words, BITMAP_EACH_BYTE);

	return (low << 8) - low;
}

/* simd_ops->bitmap_encode and, with @reference not NULL, bitmap_encode_update. At most 64 bytes of a
 * page's bytes per line are stored, so @out is not overrun before the total is checked. */
static inline __attribute__((always_inline)) int
encode_lines(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
	     const uint8_t *next_new, uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan)
{
	__m512i any_new = _mm512_setzero_si512();
	struct bitmap_maps maps;
	uint64_t masks_size = 0, kinds = 0, lines = 0, n_lines = 0;
	size_t size = 0;

	for (unsigned int i = 0; i < 64; i++) {
		__m512i line = _mm512_loadu_si512(new + 64 * i);
		__m512i before = _mm512_loadu_si512(old + 64 * i);
		uint64_t changed = _mm512_cmpneq_epi8_mask(line, before);
		uint64_t words, n_words, n_bytes, kind, whole;

		_mm_prefetch((const char *)next_old + 64 * i, _MM_HINT_T0);
		_mm_prefetch((const char *)next_new + 64 * i, _MM_HINT_T0);
		any_new = _mm512_or_si512(any_new, line);
		ret_scan->changed[i] = changed;
		if (!changed)
			continue;
		words = _mm512_cmpneq_epi64_mask(line, before);
		whole = spread(words);
		n_words = (uint64_t)__builtin_popcountll(words);
		n_bytes = (uint64_t)__builtin_popcountll(changed);
		kind = n_bytes < 7 * n_words;
		_mm512_storeu_si512(out + size,
				    _mm512_maskz_compress_epi8(kind ? changed : whole, line));
		size += kind ? n_bytes : 8 * n_words;
		bitmap_store64(maps.masks + masks_size, _pext_u64(changed, whole));
		masks_size += kind ? n_words : 0;
		maps.words[n_lines] = (uint8_t)words;
		kinds |= kind << n_lines++;
		lines |= UINT64_C(1) << i;
		if (reference)
			_mm512_storeu_si512(reference + 64 * i, line);
	}
	ret_scan->any_changed = ret_scan->lines = lines;
	ret_scan->any_nonzero = _mm512_test_epi64_mask(any_new, any_new);
	maps.masks_size = masks_size;
	maps.kinds = kinds;
	maps.lines = lines;
	maps.n_lines = (unsigned int)n_lines;
	return lines ? bitmap_finish(&maps, out, size) : 0;
}

static int encode_bitmap(const uint8_t *old, const uint8_t *new, const uint8_t *next_old,
			 const uint8_t *next_new, uint8_t *out, struct simd_scan *ret_scan)
{
	return encode_lines(old, new, next_old, next_new, out, NULL, ret_scan);
}

static int encode_bitmap_update(uint8_t *reference, const uint8_t *new, const uint8_t *next_old,
				const uint8_t *next_new, uint8_t *out, struct simd_scan *ret_scan)
{
	return encode_lines(reference, new, next_old, next_new, out, reference, ret_scan);
}

static int apply_bitmap(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			const uint8_t *next_page)
{
	struct bitmap_parts parts;
	unsigned int n = 0;

	if (bitmap_parse(data, size, &parts) < 0)
		return -EPROTO;
	for (uint64_t lines = parts.lines; lines; lines &= lines - 1, n++) {
		uint8_t *line = page + 64 * (unsigned int)__builtin_ctzll(lines);
		uint64_t kind = parts.kinds >> n & 1, whole = spread(parts.words[n]);
		uint64_t changed = _pdep_u64(bitmap_load64(parts.masks), whole);
		unsigned int n_bytes;
		__m512i bytes;

		next_lines = bitmap_prefetch_one(next_lines, next_page);
		changed = kind ? changed : whole;
		parts.masks += kind ? __builtin_popcount(parts.words[n]) : 0;
		n_bytes = (unsigned int)__builtin_popcountll(changed);
		/* Masked: with few maps behind them, 64 bytes would reach past the delta's end. */
		bytes = _mm512_maskz_loadu_epi8(_bzhi_u64(UINT64_MAX, n_bytes), parts.bytes);
		parts.bytes += n_bytes;
		_mm512_storeu_si512(line, _mm512_mask_expand_epi8(_mm512_loadu_si512(line), changed,
								  bytes));
	}
	bitmap_prefetch(next_lines, next_page);
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE_BYTES; i += 256) {
		__m512i any = _mm512_or_si512(
			_mm512_or_si512(_mm512_loadu_si512(page + i), _mm512_loadu_si512(page + i + 64)),
			_mm512_or_si512(_mm512_loadu_si512(page + i + 128),
					_mm512_loadu_si512(page + i + 192)));

		if (_mm512_test_epi64_mask(any, any))
			return false;
	}
	return true;
}

const struct simd_ops simd_ops_avx512 = {
	.name = "avx512",
	.scan = scan,
	.xrle_emit = emit,
	.xrle_emit_update = emit_update,
	.xrle_apply = apply,
	.bitmap_encode = encode_bitmap,
	.bitmap_encode_update = encode_bitmap_update,
	.bitmap_apply = apply_bitmap,
	.is_zero = is_zero,
};
