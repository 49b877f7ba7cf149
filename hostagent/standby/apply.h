/* apply.h - writes one complete epoch into the copy of the guest and into the guest's disk images.
 * The caller has mapped the whole epoch into memory.
 *
 * Where: used by epochlog.c, durable.c and the fuzz target. Threads: one. Invariant L4 in
 * epochlog.h says why an epoch may be applied again.
 */
#ifndef STANDBY_APPLY_H
#define STANDBY_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "standby/images.h"
#include "standby/ramfile.h"

/* What apply_check() has read from an epoch's data. */
struct apply_info {
	uint64_t epoch;
	uint64_t previous_epoch; /* the epoch that a delta epoch builds on */
	bool full;
	struct wire_geometry geometry;
};

/* Read the frames in @data from GEOMETRY to EPOCH_END, and make every check of epochcheck.h.
 * @images: the guest's disks, whose sizes are known; NULL if the guest has none. Returns 0;
 * -ESTALE: the epoch is not of @term;
 * -EBADMSG: @data is not a whole, valid epoch;
 * -ENOMEM. */
int apply_check(const uint8_t *data, size_t size, uint64_t term, struct images *images,
		struct apply_info *ret_info) __attribute__((warn_unused_result));

/* Apply the epoch in @data: first the layout, then pages and changes of disks, then the device
 * state. Does not change the copy's file `meta`.
 * @images: the guest's disks, which must be open; NULL if the guest has none.
 * @data: must have passed apply_check(), or the same checks frame by frame when it arrived
 * (epochcheck.h). If it is invalid nevertheless, it is refused, and no byte outside of the copy or
 * past a disk's end is accessed.
 * Returns 0, and *ret_n_pages is the number of page records applied;
 * -EBADMSG: the data is broken;
 * other -errno from files and images: the epoch must be applied again.
 * On error *ret_error says which file or image. */
int apply_epoch(struct ramfile *rf, struct images *images, const uint8_t *data, size_t size,
		uint64_t *ret_n_pages, struct error *ret_error) __attribute__((warn_unused_result));

/* Apply the DISK frames in @data, one after the other. They must have passed the checks of
 * apply_check() or epochcheck.h as part of an epoch. @images must be open. Returns 0;
 * -EBADMSG: the data is broken;
 * other -errno of an image.
 * On error *ret_error says what is wrong. */
int apply_disks(struct images *images, const uint8_t *data, size_t size, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
