/* gateway_view.h - records when this host last received a frame of the gateway, on any connection,
 * and which gateway this host obeys.
 *
 * Why: a VM's two hosts can continue without a gateway only if neither of them hears the gateway
 * any more. So this host must know when it last received a frame of the gateway. Also, a stream
 * must come from the same gateway that the control connection obeys. The threads of the control
 * connection and of the streams share this struct.
 *
 * Threads: any. Only gateway_view_await() blocks. No function reads a clock: the time is passed in.
 */
#ifndef GATEWAY_VIEW_H
#define GATEWAY_VIEW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"

struct gateway_view {
	/* when the last frame of the gateway arrived; before the first one: when the agent
	 * started */
	_Atomic uint64_t seen_ns;
	/* incarnation of the gateway that the control connection obeys; 0 if it obeys none */
	_Atomic uint64_t obeyed;
	/* for gateway_view_await(); all zeros is their initial state */
	pthread_mutex_t lock;
	pthread_cond_t changed;
};

/* Record that a frame of the gateway has arrived. Accepts NULL (in tests). */
static inline void gateway_view_seen(struct gateway_view *view, uint64_t now_ns)
{
	if (view)
		atomic_store_explicit(&view->seen_ns, now_ns, memory_order_relaxed);
}

/* Record that the control connection obeys the gateway with @incarnation. */
static inline void gateway_view_obey(struct gateway_view *view, uint64_t incarnation)
{
	pthread_mutex_lock(&view->lock);
	atomic_store_explicit(&view->obeyed, incarnation, memory_order_relaxed);
	pthread_cond_broadcast(&view->changed);
	pthread_mutex_unlock(&view->lock);
}

/* Is @incarnation (from a stream's WELCOME; 0: none) that of the gateway that the control
 * connection obeys? Only then this host accepts the stream's frames. Always true if @view is NULL
 * (in tests). */
static inline bool gateway_view_is_obeyed(struct gateway_view *view, uint64_t incarnation)
{
	return !view || atomic_load_explicit(&view->obeyed, memory_order_relaxed) == incarnation;
}

/* The control connection may not have reached a new gateway yet when a stream does. If a stream's
 * gateway has a higher incarnation than the obeyed one, the stream waits for this long until the
 * control connection obeys it too. After a restart of the gateway, all connections of a host reach
 * it at about the same time. */
#define GATEWAY_VIEW_AWAIT_NS (300 * CLOCK_NS_PER_MS)

/* Wait until the control connection obeys the gateway with @incarnation, until @until_ns at most.
 * Does not wait if that gateway has a lower incarnation than the obeyed one, because such a gateway
 * is never obeyed. Returns what gateway_view_is_obeyed() returns after the wait. */
static inline bool gateway_view_await(struct gateway_view *view, uint64_t incarnation,
				      uint64_t until_ns)
{
	const struct timespec until = {.tv_sec = (time_t)(until_ns / CLOCK_NS_PER_S),
				       .tv_nsec = (long)(until_ns % CLOCK_NS_PER_S)};
	int r = 0;

	if (gateway_view_is_obeyed(view, incarnation))
		return true;
	pthread_mutex_lock(&view->lock);
	while (r == 0 && atomic_load_explicit(&view->obeyed, memory_order_relaxed) < incarnation)
		r = pthread_cond_clockwait(&view->changed, &view->lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&view->lock);
	return gateway_view_is_obeyed(view, incarnation);
}

/* Returns how long the gateway has been silent. */
static inline uint64_t gateway_view_silence_ns(const struct gateway_view *view, uint64_t now_ns)
{
	uint64_t seen_ns =
		view ? atomic_load_explicit(&view->seen_ns, memory_order_relaxed) : now_ns;

	return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

#endif
