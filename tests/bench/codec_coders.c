#include "codec_coders.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "codec/simd.h"

static size_t whole_page(const uint8_t *new, uint8_t *out)
{
	memcpy(out, new, PAGE_BYTES);
	return PAGE_BYTES;
}

/* ---- ours ---- */

size_t coder_encode(const struct coder *coder, const struct page_item *items, size_t n_items,
		    uint8_t *out, enum page_class *ret_class)
{
	size_t size;

	if (!coder->features)
		return coder->encode(items->reference, items->page, out);
	size = page_delta(coder->features, items, n_items, out, ret_class);
	if (*ret_class == PAGE_ZERO)
		out[size++] = 0;
	return size;
}

const struct coder coders_ours[] = {
	{"auto", "the shorter of both, as the agent encodes",
	 PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP, NULL, NULL},
	{"bitmap", "bitmaps of changed bytes (page class 4)", PAGE_FEATURE_BITMAP, NULL, NULL},
	{"xrle", "XOR-RLE, overwrite form (page class 3)", PAGE_FEATURE_XRLE, NULL, NULL},
	{NULL, NULL, 0, NULL, NULL},
};

/* ---- baselines ---- */

static size_t plain_put_length(uint8_t *out, size_t length)
{
	size_t size = 0;

	while (length > 127) {
		out[size++] = (uint8_t)(length | 128);
		length >>= 7;
	}
	out[size++] = (uint8_t)length;
	return size;
}

/* Encodes XOR(old, new) byte by byte as runs of zeros and runs of literals, as the published
 * description of XBZRLE says. Lengths are in ULEB128, and short gaps between literals are not
 * merged. If the result gets as long as the page, returns the whole page instead. */
static size_t plain_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
	size_t i = 0, size = 0;

	while (i < PAGE_BYTES) {
		size_t start = i, changed;

		while (i < PAGE_BYTES && old[i] == new[i])
			i++;
		if (i == PAGE_BYTES)
			return size;
		changed = i;
		while (i < PAGE_BYTES && old[i] != new[i])
			i++;
		if (size + 4 + (i - changed) >= PAGE_BYTES)
			return whole_page(new, out);
		size += plain_put_length(out + size, changed - start);
		size += plain_put_length(out + size, i - changed);
		memcpy(out + size, new + changed, i - changed);
		size += i - changed;
	}
	return size;
}

static int plain_get_length(const uint8_t *data, size_t size, size_t *at, size_t *ret_length)
{
	size_t shift = 0;

	*ret_length = 0;
	for (; *at < size && shift < 21; shift += 7) {
		*ret_length |= (size_t)(data[*at] & 127) << shift;
		if (data[(*at)++] < 128)
			return 0;
	}
	return -1;
}

static int plain_decode(const uint8_t *data, size_t size, uint8_t *page)
{
	size_t at = 0, to = 0, equal, changed;

	if (size == PAGE_BYTES) {
		memcpy(page, data, PAGE_BYTES);
		return 0;
	}
	while (at < size) {
		if (plain_get_length(data, size, &at, &equal) < 0 ||
		    plain_get_length(data, size, &at, &changed) < 0 ||
		    to + equal + changed > PAGE_BYTES || changed > size - at)
			return -1;
		memcpy(page + to + equal, data + at, changed);
		to += equal + changed;
		at += changed;
	}
	return 0;
}

static size_t lz4_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
	int size = LZ4_compress_default((const char *)new, (char *)out, PAGE_BYTES, PAGE_BYTES - 1);

	(void)old; /* general compressors do not use the old page */
	return size > 0 ? (size_t)size : whole_page(new, out);
}

static int lz4_decode(const uint8_t *data, size_t size, uint8_t *page)
{
	if (size == PAGE_BYTES) {
		memcpy(page, data, PAGE_BYTES);
		return 0;
	}
	return LZ4_decompress_safe((const char *)data, (char *)page, (int)size, PAGE_BYTES) ==
			       PAGE_BYTES
		       ? 0
		       : -1;
}

static void xor_page(const uint8_t *a, const uint8_t *b, uint8_t *out)
{
	for (size_t i = 0; i < PAGE_BYTES; i++)
		out[i] = a[i] ^ b[i];
}

static size_t lz4_xor_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
	uint8_t difference[PAGE_BYTES];
	int size;

	if (memcmp(old, new, PAGE_BYTES) == 0)
		return 0;
	xor_page(old, new, difference);
	size = LZ4_compress_default((const char *)difference, (char *)out, PAGE_BYTES,
				    PAGE_BYTES - 1);
	return size > 0 ? (size_t)size : whole_page(new, out);
}

static int lz4_xor_decode(const uint8_t *data, size_t size, uint8_t *page)
{
	uint8_t difference[PAGE_BYTES];

	if (size == PAGE_BYTES) {
		memcpy(page, data, PAGE_BYTES);
		return 0;
	}
	if (lz4_decode(data, size, difference) < 0)
		return -1;
	xor_page(page, difference, page);
	return 0;
}

/* Returns the compression context. The process has one thread and one context, which is never
 * freed. */
static ZSTD_CCtx *zstd_compressor(void)
{
	static ZSTD_CCtx *context;

	if (!context)
		context = ZSTD_createCCtx();
	if (!context)
		abort();
	return context;
}

static size_t zstd_encode(const uint8_t *old, const uint8_t *new, uint8_t *out)
{
	size_t size = ZSTD_compressCCtx(zstd_compressor(), out, PAGE_BYTES - 1, new, PAGE_BYTES, 1);

	(void)old;
	return ZSTD_isError(size) ? whole_page(new, out) : size;
}

static int zstd_decode(const uint8_t *data, size_t size, uint8_t *page)
{
	static ZSTD_DCtx *context;

	if (size == PAGE_BYTES) {
		memcpy(page, data, PAGE_BYTES);
		return 0;
	}
	if (!context)
		context = ZSTD_createDCtx();
	return context && ZSTD_decompressDCtx(context, page, PAGE_BYTES, data, size) == PAGE_BYTES
		       ? 0
		       : -1;
}

const struct coder coders_baselines[] = {
	{"xrle_plain", "byte-wise XBZRLE after its published description", 0, plain_encode,
	 plain_decode},
	{"lz4_xor", "LZ4 of the XORed page", 0, lz4_xor_encode, lz4_xor_decode},
	{"lz4_raw", "LZ4 of the page", 0, lz4_encode, lz4_decode},
	{"zstd1_raw", "zstd -1 of the page", 0, zstd_encode, zstd_decode},
	{NULL, NULL, 0, NULL, NULL},
};

/* ---- second stage ---- */

static size_t stage_lz4(const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
	int n = LZ4_compress_default((const char *)data, (char *)out, (int)size, (int)room);

	return n > 0 && (size_t)n < size ? (size_t)n : size;
}

static size_t stage_zstd(const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
	size_t n = ZSTD_compressCCtx(zstd_compressor(), out, room, data, size, 1);

	return !ZSTD_isError(n) && n < size ? n : size;
}

const struct second_stage second_stages[] = {
	{"lz4_64k", stage_lz4},
	{"zstd1_64k", stage_zstd},
	{NULL, NULL},
};

/* ---- the limit: only read the pages ---- */

/* A vector as wide as an AVX2 register. GCC would split a wider vector by way of memory. */
typedef uint64_t vector __attribute__((vector_size(32), aligned(1), may_alias));

static inline __attribute__((always_inline)) uint64_t compare_vectors(const struct page_item *items,
								      size_t n_items)
{
	const struct page_item *next = &items[n_items > 1 ? 1 : 0];
	const uint8_t *old = items->reference, *new = items->page;
	vector any = {0}, any2 = {0};
	uint64_t sum = 0;

	for (size_t i = 0; i < PAGE_BYTES; i += 64) {
		__builtin_prefetch(next->reference + i);
		__builtin_prefetch(next->page + i);
		any |= *(const vector *)(const void *)(old + i) ^
		       *(const vector *)(const void *)(new + i);
		any2 |= *(const vector *)(const void *)(old + i + 32) ^
			*(const vector *)(const void *)(new + i + 32);
	}
	any |= any2;
	for (int i = 0; i < 4; i++)
		sum |= any[i];
	return sum;
}

#ifdef __x86_64__
static __attribute__((target("avx512f"))) uint64_t compare_avx512(const struct page_item *items,
								  size_t n_items)
{
	return compare_vectors(items, n_items);
}

static __attribute__((target("avx2"))) uint64_t compare_avx2(const struct page_item *items,
							     size_t n_items)
{
	return compare_vectors(items, n_items);
}
#endif

uint64_t anchor_compare(const struct page_item *items, size_t n_items)
{
#ifdef __x86_64__
	if (simd_get_form() == SIMD_AVX512)
		return compare_avx512(items, n_items);
	if (simd_get_form() == SIMD_AVX2)
		return compare_avx2(items, n_items);
#endif
	return compare_vectors(items, n_items);
}
