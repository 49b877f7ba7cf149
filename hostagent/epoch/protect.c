#include "epoch/protect.h"

/* With fewer pages than this, the time to copy one page cannot be measured. */
#define COPY_SAMPLE_PAGES 16u

void protect_init(struct protect *protect, uint64_t fault_ns)
{
	*protect = (struct protect){.fault_ns = fault_ns};
}

void protect_sealed(struct protect *protect, bool did_protect, uint32_t n_copied, uint32_t n_stale,
		    uint64_t copy_ns)
{
	uint32_t n_changed = n_copied - n_stale;

	if (n_copied >= COPY_SAMPLE_PAGES)
		protect->copy_page_ns = (3 * protect->copy_page_ns + copy_ns / n_copied) / 4;
	protect->n_changed = (uint32_t)((3 * (uint64_t)protect->n_changed + n_changed) / 4);
	if (did_protect)
		protect->rent_ns = 0;
	/* A stale page costs about twice the time of its copy, because the encoder also reads the
	 * page and its reference. */
	protect->rent_ns += 2 * n_stale * protect->copy_page_ns;
	protect->is_due = n_copied * protect->copy_page_ns > PROTECT_COPY_NS_MAX ||
			  n_stale * protect->copy_page_ns > PROTECT_STALE_NS_MAX ||
			  (protect->rent_ns > 0 &&
			   protect->rent_ns >= protect->n_changed * protect->fault_ns);
}

bool protect_is_due(const struct protect *protect)
{
	return protect->is_due;
}
