/* syncing.h - syncs files to a disk, and can hold back new syncs, so that an exec need not wait for
 * a disk.
 *
 * Why: exec first ends all threads of the process, and a thread in fdatasync() ends only when the
 * disk has answered. While an agent's program is replaced, its guests stand still, and no beat is
 * sent. So before the exec, no thread may begin a sync, and all syncs must have ended.
 *
 *	syncing_hold(true) ─► new calls wait, syncing_n() falls to 0
 *	     ├► exec ends the waiting threads
 *	     └► or syncing_hold(false)
 *
 * Where: the standby's threads call syncing_fdatasync() and syncing_range(); agent_replace.c calls
 * syncing_hold(). Threads: any.
 */
#ifndef BASE_SYNCING_H
#define BASE_SYNCING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Do what fdatasync(2) does, with the same result and errno. While new syncs are held back, this
 * function first waits until syncing_hold(false). */
int syncing_fdatasync(int fd) __attribute__((warn_unused_result));
/* Write the range to the disk and wait for the disk, with sync_file_range(2). Returns what
 * sync_file_range(2) returns, with its errno. Like syncing_fdatasync(), first waits while new syncs
 * are held back. */
int syncing_range(int fd, off_t offset, off_t size) __attribute__((warn_unused_result));

/* true: hold back new syncs; syncs that have begun go on. false: let the waiting syncs begin. */
void syncing_hold(bool is_wanted);
/* Returns how many calls of syncing_fdatasync() and syncing_range() wait for a disk now. Calls that
 * are held back do not count. */
uint32_t syncing_n(void);

#endif
