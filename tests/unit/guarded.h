/* guarded.h - a buffer whose last byte is followed by an unmapped page. A read or a write past the
 * buffer's end ends the test. Free the buffer with guarded_free(). */
#ifndef TESTS_GUARDED_H
#define TESTS_GUARDED_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define GUARDED_SPAN 65536u

/* Returns @size zero bytes; @size is at most GUARDED_SPAN. Never returns NULL: a failure ends the
 * test. */
static inline uint8_t *guarded_new(size_t size)
{
	uint8_t *p = mmap(NULL, GUARDED_SPAN + 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || size > GUARDED_SPAN ||
	    mprotect(p + GUARDED_SPAN, 4096, PROT_NONE) < 0)
		abort();
	return p + GUARDED_SPAN - size;
}

static inline void guarded_free(uint8_t *p, size_t size)
{
	/* if this fails, the memory leaks, which does no harm in a test */
	(void)munmap(p + size - GUARDED_SPAN, GUARDED_SPAN + 4096);
}

#endif
