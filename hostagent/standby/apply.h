/* apply.h - writes one complete epoch, which is mapped into memory as a whole, into the copy.
 *
 * Where: epochlog.c and the fuzz target. Threads: one. epochlog.h (L4) says why an epoch may be
 * applied again.
 */
#ifndef STANDBY_APPLY_H
#define STANDBY_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "standby/ramfile.h"

/* What apply_check() read from a file. */
struct apply_info {
	uint64_t epoch;
	uint64_t previous_epoch; /* the epoch that a delta epoch builds on */
	bool full;
	struct wire_geometry geometry;
};

/* Read the stream in @data from its GEOMETRY frame to its EPOCH_END, and make every check of
 * epochcheck.h. 0; -ESTALE: the epoch is not of @term; -EBADMSG: not a whole, valid epoch;
 * -ENOMEM. */
int apply_check(const uint8_t *data, size_t size, uint64_t term, struct apply_info *ret_info)
	__attribute__((warn_unused_result));

/* Apply the epoch: its layout, then its pages, then its device state. Does not change `meta`. @data
 * must have passed apply_check(), or epochcheck.h as it arrived; invalid data is refused without
 * access to memory outside the copy. 0, with *ret_n_pages page records applied; -EBADMSG: broken;
 * -errno of the files. */
int apply_epoch(struct ramfile *rf, const uint8_t *data, size_t size, uint64_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
