/* clockview.h - computes the time that the guest's clock should show when its copy is promoted.
 *
 * Why: the device state of an epoch contains the guest's clock as it was at the seal. Without a
 * correction, the promoted guest's clock would be late for good. So the primary sends a CLOCK frame
 * with each epoch. The frame says what the guest's clock must show at the time mono_ns of the
 * primary's monotonic clock. At the promotion this host cannot ask the primary. So it must compute
 * what the primary's monotonic clock shows. At each CLOCK it computes the offset between the two
 * hosts' clocks:
 *
 *	offset = our clock at the arrival of CLOCK - its mono_ns      = clocks' difference + delay
 *
 * An offset is too large by the delay of its CLOCK frame. So only the smallest offset is stored,
 * whose CLOCK had the shortest delay. The shortest delay is some ms, even if other frames waited in
 * queues for seconds.
 *
 * The clock rates of two hosts differ by up to about 100 ppm, so an old offset becomes wrong.
 * Therefore the stored offset grows by CLOCKVIEW_LEAK_PPM (the leak). When a CLOCK gives a smaller
 * offset, that offset replaces the stored one.
 *
 * Where: struct standby (standby_private.h) has a struct clockview, used on the standby's thread.
 * Pure: the caller passes in the times.
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
	int64_t offset_ns;  /* our clock minus the primary's: the smallest difference so far */
	uint64_t offset_at_ns; /* our clock's time when offset_ns was last updated */
	bool has_next, has_complete;
	struct wire_clock next;     /* CLOCK of the epoch that is arriving; valid if has_next */
	struct wire_clock complete; /* CLOCK of the last complete epoch; valid if has_complete */
};

/* Forget everything. Call this when the primary changes, or when there is none any more. */
void clockview_reset(struct clockview *view);

/* Record that an epoch began to arrive. */
void clockview_begin(struct clockview *view);

/* Record that the epoch's CLOCK arrived at @now_ns. */
void clockview_take(struct clockview *view, const struct wire_clock *clock, uint64_t now_ns);

/* Record that the epoch is complete. */
void clockview_complete(struct clockview *view);

/* Compute what the guest's clock words (QEMU's numbers for its clock, vmm/clock_rules.h) should be
 * when our clock shows @at_ns. Returns false if the last complete epoch had no CLOCK. */
bool clockview_wanted(const struct clockview *view, uint64_t at_ns, struct clock_words *ret_wanted);

#endif
