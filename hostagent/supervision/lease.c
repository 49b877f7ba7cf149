#include "supervision/lease.h"

#include <errno.h>

#include "base/clock.h"

void lease_init(struct lease *lease, uint64_t term, bool is_required)
{
	atomic_init(&lease->term, term);
	atomic_init(&lease->until_ns, 0);
	/* if a lease is required: true, that is 1, a time long past; if not: 0, no limit */
	atomic_init(&lease->release_ns, is_required);
}

void lease_get(const struct lease *lease, uint64_t *ret_until_ns, uint64_t *ret_release_ns)
{
	*ret_until_ns = atomic_load(&lease->until_ns);
	*ret_release_ns = atomic_load(&lease->release_ns);
}

void lease_resume(struct lease *lease, uint64_t term, uint64_t until_ns, uint64_t release_ns)
{
	atomic_init(&lease->term, term);
	atomic_init(&lease->until_ns, until_ns);
	atomic_init(&lease->release_ns, release_ns);
}

/* Move *end_ns to @to_ns, unless *end_ns is later already. */
static void extend(_Atomic uint64_t *end_ns, uint64_t to_ns)
{
	uint64_t old_ns = atomic_load(end_ns);

	while (to_ns > old_ns && !atomic_compare_exchange_weak(end_ns, &old_ns, to_ns))
		;
}

int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint32_t release_ms, uint64_t sent_ns)
{

	if (term != atomic_load(&lease->term))
		return -ESTALE;
	if (release_ms == 0 || release_ms > lease_ms || beat_ns > sent_ns)
		return -EINVAL;
	extend(&lease->release_ns, beat_ns + release_ms * CLOCK_NS_PER_MS);
	extend(&lease->until_ns, beat_ns + lease_ms * CLOCK_NS_PER_MS);
	return 0;
}

void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms)
{
	atomic_store(&lease->release_ns, asked_ns);
	atomic_store(&lease->until_ns, asked_ns + lease_ms * CLOCK_NS_PER_MS);
	atomic_store(&lease->term, term);
}

void lease_void(struct lease *lease)
{
	atomic_store(&lease->until_ns, 0);
	atomic_store(&lease->release_ns, 0);
}

bool lease_may_release(const struct lease *lease, uint64_t now_ns)
{
	uint64_t release_ns = atomic_load(&lease->release_ns);

	return release_ns == 0 || now_ns < release_ns;
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
