#include "epoch/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_BYTES ((size_t)4096)

struct reference {
	uint8_t *pages;
	size_t n_pages;
};

int reference_new(size_t n_pages, struct reference **ret)
{
	struct reference *reference = calloc(1, sizeof(*reference));

	if (!reference)
		return -ENOMEM;
	reference->n_pages = n_pages;
	reference->pages = mmap(NULL, n_pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reference->pages == MAP_FAILED) {
		free(reference);
		return -ENOMEM;
	}
	*ret = reference;
	return 0;
}

struct reference *reference_free(struct reference *reference)
{
	if (!reference)
		return NULL;
	(void)munmap(reference->pages, reference->n_pages * PAGE_BYTES); /* our own mapping */
	free(reference);
	return NULL;
}

uint8_t *reference_page(struct reference *reference, size_t index)
{
	return reference->pages + index * PAGE_BYTES;
}

int reference_reset(struct reference *reference)
{
	if (madvise(reference->pages, reference->n_pages * PAGE_BYTES, MADV_DONTNEED) < 0)
		return -errno;
	return 0;
}
