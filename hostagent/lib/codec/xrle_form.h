/* xrle_form.h - the XRLE encoder and decoder, which every SIMD form compiles for its own
 * instruction set.
 *
 * Each form supplies two functions: one finds edges (the ends of runs), one copies a few bytes.
 * Everything is inlined, so copies of constant size become the widest moves of the form's
 * instruction set. Internal to lib/codec. Threads: any.
 */
#ifndef CODEC_XRLE_FORM_H
#define CODEC_XRLE_FORM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec/page.h"
#include "codec/simd.h"
#include "codec/xrle.h"
#include "codec/xrle_parse.h"

/* The size of an array of edges. An edge is an offset at which a run of changed bytes begins or
 * ends. A run and the gap after it take at least 4 bytes of the page. So there are at most
 * PAGE_BYTES / 4 runs, with two edges each. The 64 extra entries are for a store of a whole vector
 * of edges. */
#define FORM_EDGES_MAX (2 * (PAGE_BYTES / 4) + 2 + 64)

/* Returns @word, a word of the map of changed bytes, with gaps of 1 and 2 bytes filled. @previous
 * and @next are the words before and after it. A word beyond the page is 0. */
static inline uint64_t form_fill_gaps(uint64_t previous, uint64_t word, uint64_t next)
{
	uint64_t left = word << 1 | previous >> 63; /* bit i: byte i - 1 changed */
	uint64_t gap1 = left & (word >> 1 | next << 63);
	uint64_t gap2 = left & (word >> 2 | next << 62); /* bit i: fill bytes i and i + 1 */
	uint64_t from_previous = (previous >> 62) & (word >> 1) & 1;

	return word | gap1 | gap2 | gap2 << 1 | from_previous;
}

/* Copies exactly @size bytes. Source and destination do not overlap. */
typedef void form_copy(uint8_t *to, const uint8_t *from, size_t size);

/* Fills the gaps between the changed bytes in @scan. Then writes all edges to @edges (room for
 * FORM_EDGES_MAX). Returns the number of edges. */
typedef size_t form_find_edges(const struct simd_scan *scan, uint16_t *edges);

/* Returns the edges in line @i as bits. Bit k is set if a run of changed bytes begins at byte k, or
 * has ended just before byte k. Bytes in filled gaps count as changed. If a run reaches the end of
 * a line, the edge of its end is byte 0 of the next line. So call this function for each changed
 * line and for the line after it. */
static inline uint64_t form_line_edges(const struct simd_scan *scan, unsigned int i)
{
	uint64_t before2 = i > 1 ? scan->changed[i - 2] : 0,
		 before = i > 0 ? scan->changed[i - 1] : 0;
	uint64_t word = scan->changed[i], next = i < 63 ? scan->changed[i + 1] : 0;
	uint64_t filled = form_fill_gaps(before, word, next);

	return filled ^ (filled << 1 | form_fill_gaps(before2, before, word) >> 63);
}

/* Returns a map of the lines that may have edges: each changed line and the line after it. */
static inline uint64_t form_edge_lines(const struct simd_scan *scan)
{
	return scan->lines | scan->lines << 1;
}

/* Store the edge at the page's end, which belongs to no line, in *edge. Returns how many edges this
 * adds: 1 if a run ends there, else 0. */
static inline size_t form_last_edge(const struct simd_scan *scan, uint16_t *edge)
{
	*edge = PAGE_BYTES;
	return scan->changed[63] >> 63;
}

/* Implements form_find_edges for forms that have no faster way. */
static inline size_t form_edges_by_bit(const struct simd_scan *scan, uint16_t *edges)
{
	size_t n = 0;

	for (uint64_t lines = form_edge_lines(scan); lines; lines &= lines - 1) {
		unsigned int i = (unsigned int)__builtin_ctzll(lines);

		for (uint64_t edge = form_line_edges(scan, i); edge; edge &= edge - 1)
			edges[n++] = (uint16_t)(64 * i + (unsigned int)__builtin_ctzll(edge));
	}
	return n + form_last_edge(scan, edges + n);
}

/* Implements form_copy for forms without masked stores: copies 4 to 32 bytes with two moves that
 * may overlap. */
static inline void form_copy_overlapping(uint8_t *to, const uint8_t *from, size_t size)
{
	uint64_t first8, last8;
	uint32_t first4, last4;

	if (size > 32) {
		memcpy(to, from, size);
	} else if (size >= 16) {
		uint8_t first[16], last[16];

		memcpy(first, from, 16);
		memcpy(last, from + size - 16, 16);
		memcpy(to, first, 16);
		memcpy(to + size - 16, last, 16);
	} else if (size >= 8) {
		memcpy(&first8, from, 8);
		memcpy(&last8, from + size - 8, 8);
		memcpy(to, &first8, 8);
		memcpy(to + size - 8, &last8, 8);
	} else if (size >= 4) {
		memcpy(&first4, from, 4);
		memcpy(&last4, from + size - 4, 4);
		memcpy(to, &first4, 4);
		memcpy(to + size - 4, &last4, 4);
	} else if (size > 0) {
		to[0] = from[0];
		to[size / 2] = from[size / 2];
		to[size - 1] = from[size - 1];
	}
}

/* Write a length (<= PAGE_BYTES) as one or two bytes. Always stores two bytes. Returns how many of
 * them belong to the length. */
static inline size_t form_put_length(uint8_t *out, size_t length)
{
	size_t is_long = length > 127;

	out[0] = (uint8_t)((length & 127) | is_long << 7);
	out[1] = (uint8_t)(length >> 7);
	return 1 + is_long;
}

/* Copy a run of the page to @out, in whole vectors, which write up to 63 bytes more than @size. If
 * a vector would read beyond the page, copy exactly @size bytes instead. */
static inline void form_copy_run(uint8_t *out, const uint8_t *new, size_t start, size_t size)
{
	if (start + ((size + 63) & ~(size_t)63) > PAGE_BYTES) {
		memcpy(out, new + start, size);
		return;
	}
	for (size_t i = 0; i < size; i += 64)
		memcpy(out + i, new + start + i, 64);
}

/* Write the delta's runs, which lie between the edges, to @out. If @reference is not NULL, also
 * write their new bytes to @reference. Returns the delta's size, or -E2BIG. Inlined: if a caller
 * passes a constant NULL, the loop has no code for @reference. */
static inline __attribute__((always_inline)) int
form_xrle_runs(const uint16_t *edges, size_t n_edges, const uint8_t *new, uint8_t *out,
	       uint8_t *reference, form_copy *copy_exact)
{
	size_t size = 0, at = 0;

	for (size_t k = 0; k < n_edges; k += 2) {
		size_t start = edges[k], n_equal = start - at, n_changed = edges[k + 1] - start;

		at = edges[k + 1];
		if (size + 2 + (n_equal > 127) + (n_changed > 127) + n_changed > XRLE_SIZE_MAX)
			return -E2BIG;
		size += form_put_length(out + size, n_equal);
		size += form_put_length(out + size, n_changed);
		form_copy_run(out + size, new, start, n_changed);
		if (reference)
			copy_exact(reference + start, out + size, n_changed);
		size += n_changed;
	}
	return (int)size;
}

/* The body of simd_ops->xrle_emit. */
static inline __attribute__((always_inline)) int
form_xrle_emit(const struct simd_scan *scan, const uint8_t *new, uint8_t *out, uint8_t *reference,
	       form_find_edges *find_edges, form_copy *copy_exact)
{
	uint16_t edges[FORM_EDGES_MAX];
	size_t n_edges = find_edges(scan, edges);

	return reference ? form_xrle_runs(edges, n_edges, new, out, reference, copy_exact)
			 : form_xrle_runs(edges, n_edges, new, out, NULL, copy_exact);
}

/* The body of simd_ops->xrle_apply. */
static inline __attribute__((always_inline)) int
form_xrle_apply(const uint8_t *data, size_t size, uint8_t *page, form_copy *copy_exact)
{
	struct xrle_run runs[XRLE_RUNS_MAX];
	int n = xrle_parse(data, size, runs);

	for (int i = 0; i < n; i++)
		copy_exact(page + runs[i].to, data + runs[i].from, runs[i].size);
	return n < 0 ? n : 0;
}

#endif
