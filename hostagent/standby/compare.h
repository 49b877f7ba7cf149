/* compare.h - compares pages of the copy with the primary's hashes.
 *
 * Why: a page of the copy can be wrong without anybody noticing until the failover: the primary's
 * tracking missed a write, or this host's memory or our code lost one. So the primary puts hashes
 * of some pages into ordinary epochs (epoch/engine_verify_ram.c on its host). This host compares
 * them when it applies the epoch, and sends the result as RAM_CHECKED.
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

/* Forget the result of the last epoch. */
void compare_begin(struct ramfile *rf);

/* Compare the pages of a RAM_HASH frame with the copy, and add the result to rf->checked. Returns
 * 0, also if pages differ; -EBADMSG if the frame is not valid, or the copy has no such page. */
int compare_frame(struct ramfile *rf, const struct wire_frame *frame)
	__attribute__((warn_unused_result));

#endif
