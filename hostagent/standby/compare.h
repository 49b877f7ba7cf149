/* compare.h - compares pages of the copy with the primary's hashes.
 *
 * Why: a page of the copy can be wrong, and nobody would notice before the failover. The primary's
 * tracking can have missed a write; this host's memory or our code can have lost a write. So the
 * primary puts hashes of some pages into ordinary epochs (epoch/engine_verify_ram.c). This host
 * compares the hashes with its pages when it applies the epoch, and sends the result as
 * RAM_CHECKED.
 *
 *      apply.c: all records of the epoch ─► compare_frame() for each RAM_HASH ─► rf->checked
 *      stream.c: rf->checked ─► RAM_CHECKED
 *
 * Where: apply.c, stream.c. Threads: the thread that uses the struct ramfile.
 */
#ifndef STANDBY_COMPARE_H
#define STANDBY_COMPARE_H

#include "standby/ramfile.h"
#include "wire/frame.h"

/* Forget what the comparison for the previous epoch has found (rf->checked). */
void compare_begin(struct ramfile *rf);

/* Compare the pages of a RAM_HASH frame with the copy, and add the result to rf->checked. Returns
 * 0, even if pages differ;
 * -EBADMSG: the frame is not valid, or the copy does not have these pages. */
int compare_frame(struct ramfile *rf, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

#endif
