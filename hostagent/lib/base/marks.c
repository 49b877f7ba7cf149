#include "base/marks.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_WORDS 512u

static size_t n_words(uint64_t n_things)
{
	return (size_t)(n_things / 32 + 1);
}

static size_t n_blocks(uint64_t n_things)
{
	return n_words(n_things) / BLOCK_WORDS + 1;
}

int marks_init(uint64_t n_things, struct marks *marks)
{
	struct marks m = {.n_things = n_things};

	/* Allocate whole blocks, so that marks_reset() can clear a block with one memset(). */
	m.words = calloc(n_blocks(n_things) * BLOCK_WORDS, sizeof(*m.words));
	m.is_used = calloc(n_blocks(n_things), 1);
	if (!m.words || !m.is_used) {
		marks_done(&m);
		return -ENOMEM;
	}
	*marks = m;
	return 0;
}

void marks_done(struct marks *marks)
{
	free(marks->words);
	free(marks->is_used);
	*marks = (struct marks){0};
}

void marks_reset(struct marks *marks)
{
	for (size_t i = 0; i < n_blocks(marks->n_things); i++) {
		if (marks->is_used[i])
			memset(marks->words + i * BLOCK_WORDS, 0,
			       BLOCK_WORDS * sizeof(*marks->words));
		marks->is_used[i] = 0;
	}
}
