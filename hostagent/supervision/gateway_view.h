/* gateway_view.h - when did this host last hear the gateway on any of its connections, and which
 * gateway does it obey.
 *
 * Why: two hosts may go on without a gateway only if neither hears it. And a stream must lead to
 * the gateway that the control connection obeys. Different threads serve the control connection and
 * the streams; this is where they share what they know.
 *
 * Threads: any; atomic numbers. Pure: the time is handed in.
 */
#ifndef GATEWAY_VIEW_H
#define GATEWAY_VIEW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct gateway_view {
	_Atomic uint64_t seen_ns; /* first set at the start of the agent */
	_Atomic uint64_t obeyed;  /* the incarnation that the control connection obeys; 0: none */
};

/* A frame of the gateway came. NULL is fine (tests). */
static inline void gateway_view_seen(struct gateway_view *view, uint64_t now_ns)
{
	if (view)
		atomic_store_explicit(&view->seen_ns, now_ns, memory_order_relaxed);
}

/* The control connection obeys @incarnation. */
static inline void gateway_view_obey(struct gateway_view *view, uint64_t incarnation)
{
	atomic_store_explicit(&view->obeyed, incarnation, memory_order_relaxed);
}

/* May frames be taken from a stream whose WELCOME had @incarnation (0: none)? Not if that gateway
 * is older, nor if it is younger and the control connection does not obey it yet. NULL (tests):
 * true. */
static inline bool gateway_view_is_obeyed(struct gateway_view *view, uint64_t incarnation)
{
	return !view || atomic_load_explicit(&view->obeyed, memory_order_relaxed) == incarnation;
}

/* How long nothing has come from the gateway. */
static inline uint64_t gateway_view_silence_ns(const struct gateway_view *view, uint64_t now_ns)
{
	uint64_t seen_ns =
		view ? atomic_load_explicit(&view->seen_ns, memory_order_relaxed) : now_ns;

	return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

#endif
