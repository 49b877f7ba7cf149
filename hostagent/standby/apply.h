/* apply.h - put one complete epoch, mapped whole, into the copy.
 *
 * Where: epochlog.c alone; the fuzz target. Threads: one. See epochlog.h for why it may be
 * repeated.
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

/* Read the stream in @data from its GEOMETRY frame to its EPOCH_END with every check of
 * epochcheck.h. 0; -ESTALE: another term; -EBADMSG: not a whole epoch; -ENOMEM. */
int apply_check(const uint8_t *data, size_t size, uint64_t term, struct apply_info *ret_info)
	__attribute__((warn_unused_result));

/* Apply the epoch: layout, pages, device, in this order; not meta. @data passed apply_check() or
 * was checked as it came; broken data is still memory-safe. 0 with *ret_n_pages page records
 * applied; -EBADMSG: broken; -errno of the files. */
int apply_epoch(struct ramfile *rf, const uint8_t *data, size_t size, uint64_t *ret_n_pages)
	__attribute__((warn_unused_result));

#endif
