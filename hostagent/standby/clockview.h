/* clockview.h - what the guest's clock has to be when its copy is promoted.
 *
 * Why: the device state of an epoch has the guest's clock as it stood at the seal. A guest that
 * goes on from it some hundred ms or seconds later would be late by as much for good. The primary
 * tells with each epoch (CLOCK) what the guest's clock is to be when the primary's monotonic clock
 * says so and so. So what is needed is what that clock says at the promotion, when nobody can be
 * asked:
 *
 *	offset = our clock at the arrival of CLOCK - its mono_ns      = difference of both clocks + the way
 *
 * The least offset seen has the shortest way, some ms, also while frames queue for seconds. Two
 * hosts' clocks go at rates that differ by up to 100 ppm or so, so an old least grows by
 * CLOCKVIEW_LEAK_PPM until a new one is less.
 *
 * Where: the standby's thread; keeper.h owns one. Pure: times are passed in.
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
	int64_t offset_ns;  /* ours minus the primary's, at least */
	uint64_t offset_at_ns; /* as of then */
	bool has_next, has_complete;
	struct wire_clock next;	    /* of the epoch that is arriving; valid if has_next */
	struct wire_clock complete; /* of the last complete epoch; valid if has_complete */
};

/* Another primary, or none: nothing is known any more. */
void clockview_reset(struct clockview *view);

/* An epoch began to arrive. */
void clockview_begin(struct clockview *view);

/* Its CLOCK came at @now_ns. */
void clockview_take(struct clockview *view, const struct wire_clock *clock, uint64_t now_ns);

/* It is complete. */
void clockview_complete(struct clockview *view);

/* What the guest's words are to be at @at_ns of our clock. False: the last complete epoch did not
 * tell. */
bool clockview_wanted(const struct clockview *view, uint64_t at_ns, struct clock_words *ret_wanted);

#endif
