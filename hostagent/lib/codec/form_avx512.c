/* The AVX-512 form (F, BW, VL, VBMI, VBMI2, VPOPCNTDQ) of the codec: works on 64 bytes at a time.
 * Finds the positions of edges with the compress instruction, without a loop over bits. Compiled
 * with the flags for these extensions; called only if the CPU has all of them. */
#include "codec/simd.h"

#include <immintrin.h>

#include "codec/bitmap_form.h"
#include "codec/xrle_form.h"

/* Does what form_fill_gaps() does, for eight lines at once. */
static inline __m512i fill_gaps(__m512i previous, __m512i word, __m512i next)
{
	__m512i left = _mm512_or_si512(_mm512_slli_epi64(word, 1), _mm512_srli_epi64(previous, 63));
	__m512i right1 = _mm512_or_si512(_mm512_srli_epi64(word, 1), _mm512_slli_epi64(next, 63));
	__m512i right2 = _mm512_or_si512(_mm512_srli_epi64(word, 2), _mm512_slli_epi64(next, 62));
	__m512i gap2 = _mm512_and_si512(left, right2);
	__m512i from_previous = _mm512_and_si512(
		_mm512_and_si512(_mm512_srli_epi64(previous, 62), _mm512_srli_epi64(word, 1)),
		_mm512_set1_epi64(1));

	left = _mm512_or_si512(_mm512_and_si512(left, right1), gap2);
	word = _mm512_or_si512(word, _mm512_slli_epi64(gap2, 1));
	return _mm512_or_si512(_mm512_or_si512(word, left), from_previous);
}

/* Does what form_edges_by_bit() does. First computes the edges of all lines as bits, eight lines at
 * a time. Then computes the position of each bit. A line has at most 32 edges, because a run and
 * the gap after it take at least four bytes. */
static inline size_t find_edges(const struct simd_scan *scan_of, uint16_t *edges)
{
	static const uint8_t positions[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
					      13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
					      26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
					      39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
					      52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
	const __m512i all = _mm512_loadu_si512(positions);
	__m512i before = _mm512_setzero_si512(), filled_before = before;
	__m512i word = _mm512_loadu_si512(scan_of->changed);
	uint64_t edge[64], lines = 0;
	size_t n = 0;

	for (unsigned int i = 0; i < 8; i++) {
		__m512i next = i < 7 ? _mm512_loadu_si512(scan_of->changed + 8 * i + 8)
				     : _mm512_setzero_si512();
		__m512i filled = fill_gaps(_mm512_alignr_epi64(word, before, 7), word,
					   _mm512_alignr_epi64(next, word, 1));
		__m512i last = _mm512_srli_epi64(_mm512_alignr_epi64(filled, filled_before, 7), 63);
		__m512i bits = _mm512_xor_si512(
			filled, _mm512_or_si512(_mm512_slli_epi64(filled, 1), last));

		_mm512_storeu_si512(edge + 8 * i, bits);
		lines |= (uint64_t)_mm512_test_epi64_mask(bits, bits) << 8 * i;
		before = word;
		word = next;
		filled_before = filled;
	}
	for (; lines; lines &= lines - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(lines);
		__m512i packed = _mm512_maskz_compress_epi8(edge[i], all);
		__m512i wide = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(packed));

		_mm512_storeu_si512(edges + n,
				    _mm512_add_epi16(wide, _mm512_set1_epi16((short)(64 * i))));
		n += (size_t)__builtin_popcountll(edge[i]);
	}
	return n + form_last_edge(scan_of, edges + n);
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

static void scan(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
		 struct simd_scan *ret_scan)
{
	__m512i any_new = _mm512_setzero_si512();
	uint64_t lines = 0;

	__builtin_prefetch(ahead->later_old);
	__builtin_prefetch(ahead->later_new);
	for (unsigned int i = 0; i < 64; i++) {
		__m512i line = _mm512_loadu_si512(new + 64 * i);
		uint64_t changed = _mm512_cmpneq_epi8_mask(line, _mm512_loadu_si512(old + 64 * i));

		_mm_prefetch((const char *)ahead->old + 64 * i, _MM_HINT_T0);
		_mm_prefetch((const char *)ahead->new + 64 * i, _MM_HINT_T0);
		any_new = _mm512_or_si512(any_new, line);
		lines |= (uint64_t)(changed != 0) << i;
		ret_scan->changed[i] = changed;
	}
	ret_scan->lines = lines;
	ret_scan->any_nonzero = _mm512_test_epi64_mask(any_new, any_new);
}

static int emit(const struct simd_scan *scan_of, const uint8_t *new, uint8_t *out,
		uint8_t *reference)
{
	return form_xrle_emit(scan_of, new, out, reference, find_edges, copy_masked);
}

static int apply(const uint8_t *data, size_t size, uint8_t *page)
{
	return form_xrle_apply(data, size, page, copy_masked);
}

/* Append the maps of the lines in @ret_scan->changed after the @size bytes at @out. Works on eight
 * lines at a time. Sets the other members of @ret_scan except any_nonzero. Returns what
 * simd_ops->bitmap_encode returns. */
static inline __attribute__((always_inline)) int put_maps(struct simd_scan *ret_scan, uint8_t *out,
							  size_t size)
{
	/* the masks; the array needs no spare bytes, because no store goes beyond the mask of the
	 * page's last word */
	uint8_t masks[PAGE_BYTES / 8];
	uint64_t words[8], lines = 0, whole = 0;
	__m512i before = _mm512_setzero_si512(), n_bytes = before, n_runs = before;
	size_t masks_size = 0, n_lines, n_words, whole_size;

	/* Collect the masks and the words of the lines sent in part, and count bytes and runs. */
	for (unsigned int i = 0; i < 8; i++) {
		__m512i changed = _mm512_loadu_si512(ret_scan->changed + 8 * i);
		__m512i last = _mm512_srli_epi64(_mm512_alignr_epi64(changed, before, 7), 63);
		__m512i left = _mm512_or_si512(_mm512_slli_epi64(changed, 1), last);
		__m512i n = _mm512_popcnt_epi64(changed);
		__mmask8 is_whole =
			_mm512_cmpge_epu64_mask(n, _mm512_set1_epi64(BITMAP_WHOLE_MIN));
		__m512i sparse = _mm512_maskz_mov_epi64((__mmask8)~is_whole, changed);

		before = changed;
		n_bytes = _mm512_add_epi64(n_bytes, n);
		n_runs = _mm512_add_epi64(n_runs,
					  _mm512_popcnt_epi64(_mm512_andnot_si512(left, changed)));
		lines |= (uint64_t)_mm512_test_epi64_mask(changed, changed) << 8 * i;
		whole |= (uint64_t)is_whole << 8 * i;
		words[i] = _mm512_test_epi8_mask(sparse, sparse);
		_mm512_storeu_si512(masks + masks_size,
				    _mm512_maskz_compress_epi8(words[i], sparse));
		masks_size += (size_t)__builtin_popcountll(words[i]);
	}
	ret_scan->lines = lines;
	ret_scan->n_bytes = (uint32_t)_mm512_reduce_add_epi64(n_bytes);
	ret_scan->n_runs = (uint32_t)_mm512_reduce_add_epi64(n_runs);
	if (!lines)
		return 0;
	n_lines = (size_t)__builtin_popcountll(lines);
	n_words = n_lines - (size_t)__builtin_popcountll(whole);
	whole_size = (n_lines + 7) / 8;
	if (size + masks_size + n_words + whole_size + BITMAP_LINES_BYTES > BITMAP_SIZE_MAX)
		return -E2BIG;
	/* Only whole vectors are stored, so surplus bytes are written after the end of each map.
	 * The next map overwrites them. BITMAP_SIZE_MAX leaves room for the bytes after the last
	 * map. */
	for (size_t at = 0; at < masks_size; at += 64)
		_mm512_storeu_si512(out + size + at, _mm512_loadu_si512(masks + at));
	size += masks_size;
	before = _mm512_loadu_si512(words);
	_mm512_storeu_si512(out + size, _mm512_maskz_compress_epi8(
						_mm512_test_epi8_mask(before, before), before));
	size += n_words;
	bitmap_store64(out + size, _pext_u64(whole, lines));
	bitmap_store64(out + size + whole_size, lines);
	return (int)(size + whole_size + BITMAP_LINES_BYTES);
}

/* Write the bytes of all changed lines, then the maps. No branch depends on which bytes changed.
 * Each line adds at most 64 bytes, so all lines fit into @out (PAGE_BYTES). */
static inline __attribute__((always_inline)) int
encode_lines(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead, uint8_t *out,
	     uint8_t *reference, struct simd_scan *ret_scan)
{
	const uint8_t *next_old = ahead->old, *next_new = ahead->new;
	__m512i any_new = _mm512_setzero_si512();
	size_t size = 0;

	_mm_prefetch((const char *)ahead->later_old, _MM_HINT_T0);
	_mm_prefetch((const char *)ahead->later_new, _MM_HINT_T0);
#pragma GCC unroll 4
	for (unsigned int i = 0; i < 64; i++) {
		__m512i line = _mm512_loadu_si512(new + 64 * i);
		uint64_t changed = _mm512_cmpneq_epi8_mask(line, _mm512_loadu_si512(old + 64 * i));
		/* the bytes to send: only the changed bytes, or all bytes; this is chosen below
		 * without a branch */
		uint64_t sent = changed;

		_mm_prefetch((const char *)next_old + 64 * i, _MM_HINT_T0);
		_mm_prefetch((const char *)next_new + 64 * i, _MM_HINT_T0);
		any_new = _mm512_or_si512(any_new, line);
		ret_scan->changed[i] = changed;
		if (reference)
			_mm512_mask_storeu_epi8(reference + 64 * i, changed, line);
		sent |= (uint64_t)((BITMAP_WHOLE_MIN - 1 -
				    (int64_t)__builtin_popcountll(changed)) >>
				   63);
		_mm512_storeu_si512(out + size, _mm512_maskz_compress_epi8(sent, line));
		size += (size_t)__builtin_popcountll(sent);
	}
	ret_scan->any_nonzero = _mm512_test_epi64_mask(any_new, any_new);
	return put_maps(ret_scan, out, size);
}

static int encode_bitmap(const uint8_t *old, const uint8_t *new, const struct simd_ahead *ahead,
			 uint8_t *out, uint8_t *reference, struct simd_scan *ret_scan)
{
	return reference ? encode_lines(old, new, ahead, out, reference, ret_scan)
			 : encode_lines(old, new, ahead, out, NULL, ret_scan);
}

/* Takes 8 bits, one for each 8-byte word of a line. Returns 64 bits, one for each byte of the line.
 * The bits of a word's bytes are equal to the word's bit. */
static inline uint64_t spread(uint64_t words)
{
	uint64_t low = _pdep_u64(words, BITMAP_EACH_BYTE);

	return (low << 8) - low;
}

/* Does what bitmap_sum_words() does, but reads nothing beyond the map. */
static inline int sum_bits(const uint8_t *map, size_t size)
{
	__m512i n = _mm512_setzero_si512();
	uint64_t empty = 0;

	for (size_t i = 0; i < size; i += 64) {
		uint64_t valid =
			_bzhi_u64(UINT64_MAX, size - i < 64 ? (unsigned int)(size - i) : 64);
		__m512i bytes = _mm512_maskz_loadu_epi8(valid, map + i);

		empty |= _mm512_mask_testn_epi8_mask(valid, bytes, bytes);
		n = _mm512_add_epi64(n, _mm512_popcnt_epi64(bytes));
	}
	return empty ? -EPROTO : (int)_mm512_reduce_add_epi64(n);
}

static int apply_bitmap(const uint8_t *data, size_t size, uint8_t *page, uint64_t next_lines,
			const uint8_t *next_page)
{
	struct bitmap_parts parts;

	if (bitmap_parse(data, size, &parts, sum_bits) < 0)
		return -EPROTO;
	for (uint64_t lines = parts.lines; lines; lines &= lines - 1, parts.whole >>= 1) {
		uint8_t *line = page + 64 * (unsigned int)__builtin_ctzll(lines);
		uint64_t is_whole = parts.whole & 1, words = *parts.words;
		uint64_t changed = _pdep_u64(bitmap_load64(parts.masks), spread(words));
		unsigned int n_bytes;
		__m512i bytes;

		next_lines = bitmap_prefetch_one(next_lines, next_page);
		/* A line that is sent whole has no byte in `words` and no masks. The word and masks
		 * read above belong to another line then, so ignore them. */
		changed = is_whole ? UINT64_MAX : changed;
		parts.masks += is_whole ? 0 : __builtin_popcountll(words);
		parts.words += !is_whole;
		n_bytes = (unsigned int)__builtin_popcountll(changed);
		/* The load is masked, because a load of 64 bytes could read past the delta's
		 * end. */
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
		__m512i any = _mm512_or_si512(_mm512_or_si512(_mm512_loadu_si512(page + i),
							      _mm512_loadu_si512(page + i + 64)),
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
	.xrle_apply = apply,
	.bitmap_encode = encode_bitmap,
	.bitmap_apply = apply_bitmap,
	.is_zero = is_zero,
};
