/* reference_meter.c - counts the hits of the reference store on a recorded sequence of pages.
 *
 * usage: reference_meter PAGES SLOTS...
 *
 * PAGES is a file that trace_meter --pages wrote. For each number of slots, the program puts every
 * page of every epoch into the real store (hostagent/epoch/reference.c). Then it prints one line
 * with a JSON object. The first epoch is a FULL one: its pages go into the store but are not
 * counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "epoch/reference.h"

struct sequence {
	uint32_t n_pages; /* size of the guest */
	uint32_t *words;  /* for each epoch: the number of pages, then their indices */
	size_t n_words;
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "reference_meter: %s: %s\n", what, why);
	exit(1);
}

static void load(const char *path, struct sequence *ret)
{
	FILE *file = fopen(path, "rb");
	long size;

	if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0)
		die(path, strerror(errno));
	rewind(file);
	if (size < 8 || size % 4)
		die(path, "not what trace_meter --pages writes");
	ret->n_words = (size_t)size / 4 - 1;
	ret->words = malloc((size_t)size);
	if (!ret->words || fread(&ret->n_pages, 4, 1, file) != 1 ||
	    fread(ret->words, 4, ret->n_words, file) != ret->n_words)
		die(path, "cannot be read");
	fclose(file);
	for (size_t at = 0; at < ret->n_words; at += ret->words[at] + 1) {
		if (ret->words[at] >= ret->n_words - at)
			die(path, "cut short");
		for (uint32_t i = 1; i <= ret->words[at]; i++) {
			if (ret->words[at + i] >= ret->n_pages)
				die(path, "a page beyond the guest's end");
		}
	}
}

static void take(struct reference *reference, const uint32_t *pages, uint32_t n_pages)
{
	for (uint32_t i = 0; i < n_pages; i++) {
		bool is_known;
		uint8_t *page = reference_take(reference, pages[i], &is_known);

		page[0] = 1; /* not a zero page, which would need no slot */
		reference_put(reference, page);
	}
}

static void run(const struct sequence *sequence, uint32_t n_slots)
{
	struct reference_counts first = {0}, counts;
	struct reference *reference;

	if (reference_new(sequence->n_pages, n_slots, &reference) < 0)
		die("reference", "no memory");
	for (size_t at = 0; at < sequence->n_words; at += sequence->words[at] + 1) {
		take(reference, sequence->words + at + 1, sequence->words[at]);
		if (at == 0)
			reference_get_counts(reference, &first);
	}
	reference_get_counts(reference, &counts);
	/* A page that was zero counts neither as a hit nor as a miss, because its old version is
	 * known without the store. */
	printf("{\"slots\": %" PRIu32 ", \"hits\": %" PRIu64 ", \"misses\": %" PRIu64 "}\n",
	       counts.n_slots, counts.n_hits - first.n_hits, counts.n_misses - first.n_misses);
	reference_free(reference);
}

int main(int argc, char **argv)
{
	struct sequence sequence;

	if (argc < 3) {
		fprintf(stderr, "usage: reference_meter PAGES SLOTS...\n");
		return 2;
	}
	load(argv[1], &sequence);
	for (int i = 2; i < argc; i++)
		run(&sequence, (uint32_t)strtoul(argv[i], NULL, 10));
	return 0;
}
