#include "epoch/watch.h"

void watch_init(struct watch *w, uint64_t now_ns)
{
	*w = (struct watch){.taps_looked_ns = now_ns, .lists_looked_ns = now_ns};
}

void watch_saw_link(struct watch *w)
{
	w->has_link_sign = true;
}

void watch_saw_device(struct watch *w)
{
	w->has_list_sign = true;
}

void watch_saw_seal(struct watch *w, uint64_t sections, uint64_t address_space)
{
	if (sections != w->sections || address_space != w->address_space)
		w->has_list_sign = true;
	w->sections = sections;
	w->address_space = address_space;
}

uint64_t watch_wake_ns(const struct watch *w)
{
	return w->taps_looked_ns + (w->has_link_sign ? WATCH_TAPS_MIN_NS : WATCH_TAPS_NS);
}

bool watch_taps_due(const struct watch *w, uint64_t now_ns)
{
	return now_ns >= watch_wake_ns(w);
}

bool watch_lists_due(const struct watch *w, uint64_t now_ns)
{
	return w->has_list_sign || now_ns >= w->lists_looked_ns + WATCH_LISTS_NS;
}

void watch_looked_at_taps(struct watch *w, uint64_t now_ns)
{
	w->has_link_sign = false;
	w->taps_looked_ns = now_ns;
}

void watch_looked_at_lists(struct watch *w, uint64_t now_ns)
{
	w->has_list_sign = false;
	w->lists_looked_ns = now_ns;
}
