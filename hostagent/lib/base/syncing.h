/* syncing.h - waits for disks that can be held up, so that an exec does not wait for them.
 *
 * Why: exec first ends all threads of the process, and a thread in fdatasync() ends only when the
 * disk has answered. While an agent's program is replaced its guests stand still, and no beat is
 * sent. So before that nobody may begin to sync, and what was begun must have ended.
 *
 *	syncing_hold(true) ─► new calls wait, syncing_n() falls to 0
 *	     ├► exec ends the waiting threads
 *	     └► or syncing_hold(false)
 *
 * Where: the standby's threads sync by syncing_fdatasync(); agent_replace.c holds it. Threads: any.
 */
#ifndef BASE_SYNCING_H
#define BASE_SYNCING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* fdatasync(2), and sync_file_range(2) that writes and waits, with their results and errno. They
 * wait first while syncing_hold(true) is in force. */
int syncing_fdatasync(int fd) __attribute__((warn_unused_result));
int syncing_range(int fd, off_t offset, off_t size) __attribute__((warn_unused_result));

void syncing_hold(bool is_wanted);
uint32_t syncing_n(void); /* how many calls wait for a disk now */

#endif
