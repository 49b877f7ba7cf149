/* room.h - is there room for what this host's standbys may have to write?
 *
 * Why: guest RAM is reserved with pages (ramfile.h), the buffer of a FULL epoch is not: it would keep as much memory
 * again for a moment's use. So it is a claim: a standby says ready only when its file system has room for it beside
 * the claims of the other standbys of this agent. What others write there nobody knows: for that a reserve of pages
 * is kept (epochlog_reserve(), ramfile_reserve_room()), and a full file system ends in a clear error.
 *
 * Threads: any; a lock inside.
 */
#ifndef STANDBY_ROOM_H
#define STANDBY_ROOM_H

#include <stdint.h>
#include <sys/types.h>

/* One standby's claim. All zero: none. Its memory is in the list of claims until room_release(). */
struct room {
	dev_t device;	/* of the directory's file system */
	uint64_t bytes; /* 0: not in the list */
	struct room *next;
};

/* Claim @bytes more than what is allocated already, in @dir's file system; replaces an earlier claim of @room.
 * 0; -ENOSPC: not free beside the others' claims, *ret_free bytes are: nothing is claimed; -errno. */
int room_claim(struct room *room, const char *dir, uint64_t bytes, uint64_t *ret_free)
	__attribute__((warn_unused_result));

/* Give the claim up. A second time has no effect. */
void room_release(struct room *room);

#endif
