#include "base/sum_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

uint64_t sum_line_of(const char *text, size_t n)
{
	return XXH3_64bits(text, n);
}

size_t sum_line_append(char *text, size_t n, size_t size)
{
	int m;

	if (n == 0 || n >= size)
		return 0;
	m = snprintf(text + n, size - n, " sum=%016" PRIx64 "\n", sum_line_of(text, n));
	return m < 0 || (size_t)m >= size - n ? 0 : n + (size_t)m;
}
