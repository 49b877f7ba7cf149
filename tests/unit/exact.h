/* exact.h - copies bytes to a buffer of exactly their size, so that a sanitizer sees any read past
 * the end. For tests only.
 */
#ifndef EXACT_H
#define EXACT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Returns a copy of @data, which the caller frees. @data may be NULL when @size is 0. */
static inline uint8_t *exact_copy(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

#endif
