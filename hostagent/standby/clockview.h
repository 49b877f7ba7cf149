/* clockview.h - the time that the guest's clock should show when its copy is promoted.
 *
 * Why: the device state of an epoch has the guest's clock as it stood at the seal. If the guest
 * goes on from there some hundred ms or seconds later, its clock stays late by that time for good.
 * So with each epoch the primary sends (CLOCK) the guest's time for a given time of the primary's
 * monotonic clock. At the promotion this host must then know the time of the primary's clock, when
 * the primary cannot be asked any more:
 *
 *	offset = our clock at the arrival of CLOCK - its mono_ns      = clocks' difference + delay
 *
 * The smallest offset seen has the shortest delay, some ms, even while frames queue for seconds.
 * The clocks of two hosts run at rates that differ by up to 100 ppm or so. So the smallest offset
 * grows with time by CLOCKVIEW_LEAK_PPM, until a new offset is smaller.
 *
 * Where: the standby's thread; standby_private.h owns one. Pure: times are passed in.
 */
#ifndef STANDBY_CLOCKVIEW_H
#define STANDBY_CLOCKVIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/clock_rules.h"
#include "wire/msg.h"

#define CLOCKVIEW_LEAK_PPM 200

struct clockview {
	bool has_offset;
	int64_t offset_ns;  /* our clock minus the primary's: smallest seen */
	uint64_t offset_at_ns; /* when it was seen */
	bool has_next, has_complete;
	struct wire_clock next;	    /* of the epoch that is arriving; valid if has_next */
	struct wire_clock complete; /* of the last complete epoch; valid if has_complete */
};

/* There is another primary, or none: forget everything. */
void clockview_reset(struct clockview *view);

/* An epoch began to arrive. */
void clockview_begin(struct clockview *view);

/* The epoch's CLOCK came at @now_ns. */
void clockview_take(struct clockview *view, const struct wire_clock *clock, uint64_t now_ns);

/* The epoch is complete. */
void clockview_complete(struct clockview *view);

/* *ret_wanted: the guest's clock words as they should be at @at_ns of our clock. False: the last
 * complete epoch had no CLOCK. */
bool clockview_wanted(const struct clockview *view, uint64_t at_ns, struct clock_words *ret_wanted);

#endif
