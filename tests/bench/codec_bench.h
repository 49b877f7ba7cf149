/* codec_bench.h - the codec benchmark's options, data and results, and the functions that print the
 * results. */
#ifndef BENCH_CODEC_BENCH_H
#define BENCH_CODEC_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "codec/page.h"
#include "codec_coders.h"

#define PAIR_BYTES     (2 * PAGE_BYTES)

struct options {
	const char *pairs;
	const char *json; /* file for JSON; NULL: no JSON; "-": stdout, in place of the text */
	const char *generate;
	size_t working_set_bytes;
	size_t count;
	uint64_t seed;
	unsigned int runs;
	bool is_random;
	bool is_thp;
	bool takes_best; /* a chunk's result is its fastest run instead of its median */
	const char *form;
};

/* The working set: n_pages pairs of an old and a new page. Number i is a copy of pair i % n_pairs
 * of the pair file. So a small file fills the working set many times over, and the benchmark's
 * passes read from memory, not from the CPU's caches. */
struct data {
	uint8_t *pairs; /* the pairs of the file */
	size_t n_pairs;
	size_t n_pages;
	uint8_t *old;	 /* n_pages old pages, the references */
	uint8_t *new;	 /* n_pages new pages */
	/* n_pages items, each with an old and a new page; every pass uses this order */
	struct page_item *items;
	uint8_t *encoded;
	size_t *offsets;  /* n_pages + 1 entries: where items[i] begins in `encoded` */
	uint8_t *classes; /* n_pages entries: class of each page's record; only for our coders */
	size_t encoded_room;
	uint8_t *ring;
};

struct figures {
	double ratio;
	double encode_gbps;
	double decode_gbps;
	bool is_exact; /* true if every page was decoded to its new bytes */
};

/* Everything that is printed. */
struct results {
	double memcpy_gbps, memcmp_gbps, compare_gbps;
	const struct coder *best; /* the coder that page_encode() uses */
	struct figures ours[8];
	struct figures baselines[8];
	double update_gbps;
	struct {
		double ratio, encode_gbps;
	} stages[8];
	bool is_exact; /* true if all of our coders were exact */
};

/* Print a human-readable table to stdout. */
void report_text(const struct options *options, const struct data *data,
		 const struct results *results);

/* Print one JSON object on one line. */
void report_json(FILE *out, const struct options *options, const struct data *data,
		 const struct results *results);

#endif
