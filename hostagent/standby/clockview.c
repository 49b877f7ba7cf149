#include "standby/clockview.h"

#include "base/clock.h"

void clockview_reset(struct clockview *view)
{
	*view = (struct clockview){0};
}

void clockview_begin(struct clockview *view)
{
	view->has_next = false;
}

void clockview_take(struct clockview *view, const struct wire_clock *clock, uint64_t now_ns)
{
	int64_t offset_ns = (int64_t)(now_ns - clock->mono_ns);

	if (view->has_offset) {
		uint64_t leak_ns =
			(now_ns - view->offset_at_ns) / CLOCK_NS_PER_MS * CLOCKVIEW_LEAK_PPM;
		int64_t least_ns = (int64_t)((uint64_t)view->offset_ns + leak_ns);

		offset_ns = offset_ns < least_ns ? offset_ns : least_ns;
	}
	/* After less than 1 ms, leak_ns is rounded to zero. If the new offset were stored then,
	 * that time would never be counted. So before 1 ms has passed, store only a smaller
	 * offset. */
	if (!view->has_offset || offset_ns < view->offset_ns ||
	    now_ns - view->offset_at_ns >= CLOCK_NS_PER_MS) {
		view->offset_ns = offset_ns;
		view->offset_at_ns = now_ns;
	}
	view->has_offset = true;
	view->next = *clock;
	view->has_next = true;
}

void clockview_complete(struct clockview *view)
{
	view->complete = view->next;
	view->has_complete = view->has_next;
	view->has_next = false;
}

bool clockview_wanted(const struct clockview *view, uint64_t at_ns, struct clock_words *ret_wanted)
{
	int64_t since_ns;

	if (!view->has_complete)
		return false;
	since_ns = (int64_t)(at_ns - (uint64_t)view->offset_ns - view->complete.mono_ns);
	*ret_wanted = (struct clock_words){
		.clock = view->complete.ns + (uint64_t)since_ns,
		.ticks = view->complete.ticks +
			 (uint64_t)(int64_t)((double)since_ns / 1e9 *
					     (double)view->complete.ticks_per_s),
	};
	return true;
}
