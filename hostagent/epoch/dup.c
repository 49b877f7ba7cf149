#include "epoch/dup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/marks.h"
#include "codec/page.h"
#include "codec/zero.h"

_Static_assert(DUP_RECORD_BYTES == PAGE_RECORD_HEADER_BYTES + PAGE_DUP_BYTES, "a DUP record");

enum mark {
	FREE	 = 0,
	EXPECTED = 1,
	OFFERED	 = 2,
	REPEATED = 3,
};

struct dup {
	const struct reference *reference;
	struct marks marks;
	uint64_t *table; /* in each entry: tag in the high half, page in the low half; 0: unused */
	size_t mask;	 /* number of entries - 1 */
	uint64_t n_dups;
	bool is_allowed, is_full; /* the arguments of dup_begin() */
	bool is_on;		  /* DUP records may be used in this epoch */

	/* these members decide whether to look a page up */
	bool is_sparse;	 /* true: look up only the pages of two groups; see WINDOW_LOOKED */
	uint32_t choice; /* the group that changes with each window; see WINDOW_LOOKED */
	/* in the current window: how many pages could be looked up, were looked up, and were
	 * found */
	uint32_t n_asked, n_looked, n_repeated;
};

/* To look a page up, all its bytes must be hashed. So while almost no pages repeat, only a sample
 * of the pages is looked up. A cheap hash of a few bytes puts each page into one of SPARSE_ONE_IN
 * groups. The sample consists of two groups. Equal pages are in the same group, so the sample shows
 * how many pages repeat. One of the two groups is always the same, to find pages that repeat after
 * a long time. The other group changes with each window. A window ends after WINDOW_LOOKED lookups,
 * or after WINDOW_ASKED pages. */
#define WINDOW_LOOKED 128u
#define WINDOW_ASKED  4096u
#define WORTH_ONE_IN  64u
#define SPARSE_ONE_IN 32u

#define TAG_MASK UINT64_C(0xffffffff00000000)

/* With two entries for each page of the reference, about four of five pages keep their entry. The
 * others lose it to a page with the same place in the table. */
#define ENTRIES_PER_PAGE 2u

int dup_new(uint32_t n_pages, const struct reference *reference, struct dup **ret)
{
	struct dup *d = calloc(1, sizeof(*d));
	struct reference_counts counts;
	size_t n_entries = 1;

	if (!d)
		return -ENOMEM;
	reference_get_counts(reference, &counts);
	while (n_entries < (size_t)counts.n_slots * ENTRIES_PER_PAGE)
		n_entries *= 2;
	d->reference = reference;
	d->mask = n_entries - 1;
	d->table = calloc(n_entries, sizeof(*d->table));
	if (!d->table || marks_init(n_pages, &d->marks) < 0) {
		dup_free(d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

struct dup *dup_free(struct dup *d)
{
	if (!d)
		return NULL;
	marks_done(&d->marks);
	free(d->table);
	free(d);
	return NULL;
}

void dup_begin(struct dup *d, bool is_full, bool is_allowed)
{
	d->is_allowed = is_allowed;
	d->is_full = is_full;
	d->is_on = is_allowed && is_full;
	marks_reset(&d->marks);
}

void dup_expect(struct dup *d, const struct page_range *ranges, uint32_t n_ranges,
		const uint64_t *skip)
{
	if (!d->is_allowed || d->is_full)
		return;
	d->is_on = true;
	for (uint32_t i = 0; i < n_ranges; i++) {
		for (uint32_t k = 0; k < ranges[i].n_pages; k++) {
			uint32_t page = ranges[i].first_page + k;

			if (skip && skip[page / 64] >> page % 64 & 1)
				continue;
			marks_set(&d->marks, page,
				  marks_get(&d->marks, page) == FREE ? EXPECTED : REPEATED);
		}
	}
}

int dup_offer(struct dup *d, uint32_t index)
{
	unsigned mark;

	if (!d->is_on)
		return 0;
	mark = marks_get(&d->marks, index);
	if (!d->is_full && mark != EXPECTED)
		return mark == REPEATED ? 0 : -EINVAL;
	marks_set(&d->marks, index, OFFERED);
	/* If the page is pinned, its earlier record is not written yet. A DUP record is written at
	 * once, so the standby would apply the two records in the wrong order. */
	return !reference_is_pinned(d->reference, index);
}

/* Can the next record be a DUP record with the source @source, for a page whose content is @page?
 * Whenever the standby applies this record, its page @source must equal @page. (The standby can
 * apply an epoch more than once.) */
static bool is_same(const struct dup *d, uint32_t source, const uint8_t *page)
{
	unsigned mark = marks_get(&d->marks, source);
	const uint8_t *theirs;

	if (mark == OFFERED ? reference_is_pinned(d->reference, source)
			    : mark != FREE || d->is_full)
		return false;
	theirs = reference_peek(d->reference, source);
	return theirs && memcmp(theirs, page, PAGE_BYTES) == 0;
}

/* A page with a known reference is looked up only if its cache line at this offset has changed. In
 * most pages with a short delta this line has not changed, and a line is compared quickly. */
#define FIRST_LINE	 256u
#define FIRST_LINE_BYTES 64u
/* To estimate the length of a page's delta, the 8 bytes at each of these offsets are compared. If
 * they have changed at LONG_PROBES offsets or more, the delta counts as long. */
static const uint16_t probes[] = {1800, 3344, 792, 2336, 3880, 1328, 2872};
#define LONG_PROBES 2u

void dup_prefetch(const struct dup *d, uint32_t index, const uint8_t *page)
{
	const uint8_t *reference = d->is_on ? reference_peek(d->reference, index) : NULL;

	if (!reference)
		return;
	__builtin_prefetch(page + FIRST_LINE);
	__builtin_prefetch(reference + FIRST_LINE);
}

static bool is_changed(const uint8_t *page, const uint8_t *reference)
{
	return memcmp(page + FIRST_LINE, reference + FIRST_LINE, FIRST_LINE_BYTES) != 0;
}

static bool is_delta_long(const uint8_t *page, const uint8_t *reference)
{
	unsigned n_changed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
		n_changed += memcmp(page + probes[i], reference + probes[i], 8) != 0;
	return n_changed >= LONG_PROBES;
}

/* Should @page be looked up? Also begins the next window when the current window is full. */
static bool is_chosen(struct dup *d, const uint8_t *page)
{
	uint64_t words[3];

	/* In a FULL epoch, look up all pages. Each page is sent only once, and a lookup takes less
	 * time than the link needs for a page. */
	if (d->is_full)
		return true;
	if (++d->n_asked > WINDOW_ASKED || d->n_looked > WINDOW_LOOKED) {
		d->is_sparse = d->n_repeated * WORTH_ONE_IN < d->n_looked;
		d->n_asked = d->n_looked = d->n_repeated = 0;
		d->choice++;
	}
	if (!d->is_sparse)
		return true;
	memcpy(words, page + FIRST_LINE + 16, sizeof(words));
	words[0] = (words[0] ^ words[1] * 3 ^ words[2] * 5) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
	return words[0] % SPARSE_ONE_IN == 0 ||
	       words[0] % SPARSE_ONE_IN == d->choice % SPARSE_ONE_IN;
}

/* Find another page with the content @page, and enter page @index into the table. */
static bool find(struct dup *d, uint32_t index, const uint8_t *page, uint32_t *ret_source)
{
	uint64_t hash = XXH3_64bits(page, PAGE_BYTES);
	uint64_t *entry = &d->table[hash & d->mask];
	uint32_t source = (uint32_t)*entry;
	bool is_repeated = ((*entry ^ hash) & TAG_MASK) == 0 && source != index;

	*entry = (hash & TAG_MASK) | index;
	d->n_looked++;
	d->n_repeated += is_repeated;
	if (!is_repeated || !is_same(d, source, page))
		return false;
	*ret_source = source;
	return true;
}

size_t dup_encode(struct dup *d, uint32_t index, const uint8_t *page, uint8_t *reference,
		  bool is_known, uint8_t *out)
{
	uint32_t source;

	if ((is_known && !is_changed(page, reference)) || !is_chosen(d, page))
		return 0;
	if ((is_known && !is_delta_long(page, reference)) || zero_is_page(page))
		return 0;
	if (!find(d, index, page, &source))
		return 0;
	/* Copy the bytes that the standby will have. Do not copy @page: the guest may be writing
	 * to it. */
	memcpy(reference, reference_peek(d->reference, source), PAGE_BYTES);
	wire_record_put_header(out, PAGE_DUP, index, PAGE_DUP_BYTES);
	bytes_put_be32(out + PAGE_RECORD_HEADER_BYTES, source);
	d->n_dups++;
	return DUP_RECORD_BYTES;
}

uint64_t dup_count(const struct dup *d)
{
	return d->n_dups;
}
