#include "lease.h"

#include <errno.h>

#include "base/clock.h"

void lease_init(struct lease *lease, uint64_t term)
{
	atomic_init(&lease->term, term);
	atomic_init(&lease->until_ns, 0);
}

int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint64_t sent_ns)
{
	uint64_t until_ns, old_ns;

	if (term != atomic_load(&lease->term))
		return -ESTALE;
	if (lease_ms == 0 || beat_ns > sent_ns)
		return -EINVAL;
	until_ns = beat_ns + lease_ms * CLOCK_NS_PER_MS;
	old_ns = atomic_load(&lease->until_ns);
	while (until_ns > old_ns &&
	       !atomic_compare_exchange_weak(&lease->until_ns, &old_ns, until_ns))
		;
	return 0;
}

void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms)
{
	atomic_store(&lease->until_ns, asked_ns + lease_ms * CLOCK_NS_PER_MS);
	atomic_store(&lease->term, term);
}

void lease_void(struct lease *lease)
{
	atomic_store(&lease->until_ns, 0);
}

bool lease_is_over(const struct lease *lease, uint64_t now_ns)
{
	return now_ns >= lease_end_ns(lease);
}

uint64_t lease_end_ns(const struct lease *lease)
{
	uint64_t until_ns = atomic_load(&lease->until_ns);

	return until_ns ? until_ns : UINT64_MAX;
}

uint64_t lease_left_ns(const struct lease *lease, uint64_t now_ns)
{
	uint64_t until_ns = atomic_load(&lease->until_ns);

	return until_ns > now_ns ? until_ns - now_ns : 0;
}
