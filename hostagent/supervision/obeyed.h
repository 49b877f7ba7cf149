/* obeyed.h - ROLE_DIR/gateway.incarnation: the youngest gateway that this host has obeyed, for the
 * next agent.
 *
 * Why: a second gateway that was started from an old copy of a state_dir believes what that copy
 * says. But its incarnation is lower than that of the later gateway. So this host remembers the
 * highest incarnation and takes no orders or leases from a gateway with a lower one. The number is
 * in role_dir, not in run_dir, since a boot must not lose it.
 *
 *	holdfast-obeyed 1
 *	number=115472943812609 sum=90f0c3a5d2e1b4f7
 *
 * The file is replaced whole, never in part. A file with any other content is damaged; it must not
 * pass for a lower number, or for no number.
 * Threads: any (no state). Blocks on role_dir's disk.
 */
#ifndef OBEYED_H
#define OBEYED_H

#include <stdint.h>

#include "base/error.h"


/* 0; if there is no file, *ret_incarnation is 0. -EINVAL: the content is damaged; other -errno: it
 * cannot be read; both with *ret_error: what is wrong and what to do. */
int obeyed_load(const char *role_dir, uint64_t *ret_incarnation, struct error *ret_error)
	__attribute__((warn_unused_result));

/* 0 or -errno; on error the old content stays. */
int obeyed_store(const char *role_dir, uint64_t incarnation) __attribute__((warn_unused_result));

#endif
