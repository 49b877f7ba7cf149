/* gateway_view.h - when did this host last hear of the gateway, on any of its connections.
 *
 * Why: two hosts may go on without a gateway only when neither hears of it. Control connection and streams
 * are different threads' business, so what they know meets here.
 *
 * Threads: any; one atomic number. Pure: the time is handed in.
 */
#ifndef GATEWAY_VIEW_H
#define GATEWAY_VIEW_H

#include <stdatomic.h>
#include <stdint.h>

struct gateway_view {
	_Atomic uint64_t seen_ns; /* the start of the agent counts as seen: nothing is decided before */
};

/* A frame of the gateway came. NULL is fine (tests). */
static inline void gateway_view_seen(struct gateway_view *view, uint64_t now_ns)
{
	if (view)
		atomic_store_explicit(&view->seen_ns, now_ns, memory_order_relaxed);
}

/* For so long nothing came. */
static inline uint64_t gateway_view_silence_ns(const struct gateway_view *view, uint64_t now_ns)
{
	uint64_t seen_ns = view ? atomic_load_explicit(&view->seen_ns, memory_order_relaxed) : now_ns;

	return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

#endif
