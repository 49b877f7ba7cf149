/* obeyed.h - stores the incarnation number of the youngest gateway that this host has obeyed. A
 * restarted agent reads it from the file ROLE_DIR/gateway.incarnation.
 *
 * Why: if a second gateway is started from an old copy of the gateway's state_dir, it acts on
 * outdated knowledge. But its incarnation number is lower than that of the true gateway. So this
 * host stores the highest incarnation that it has obeyed, and refuses orders and leases of a
 * gateway with a lower one. The number is in role_dir, not in run_dir, because it must survive a
 * reboot.
 *
 *	holdfast-obeyed 1
 *	number=115472943812609 sum=90f0c3a5d2e1b4f7
 *
 * The file is replaced atomically. A file whose content does not have exactly this form counts as
 * damaged. Threads: any (no state). Blocks on role_dir's disk.
 */
#ifndef OBEYED_H
#define OBEYED_H

#include <stdint.h>

#include "base/error.h"


/* Read the recorded incarnation into *ret_incarnation; 0 if there is no file. Returns 0;
 * -EINVAL: the content is damaged;
 * other -errno: the file cannot be read.
 * On error *ret_error says what is wrong and what to do. */
int obeyed_load(const char *role_dir, uint64_t *ret_incarnation, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Record @incarnation. Returns 0 or -errno; on error the file keeps its old content. */
int obeyed_store(const char *role_dir, uint64_t incarnation) __attribute__((warn_unused_result));

#endif
