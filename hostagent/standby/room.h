/* room.h - checks that there is enough free space for what this host's standbys may have to write.
 *
 * Why: pages are reserved for guest RAM (ramfile.h), but not for the buffer of a FULL epoch. The
 * buffer needs the same amount of memory again, for a short time only. So each standby claims this
 * space without allocating it. A standby starts only if its file system has enough free space for
 * the claims of all this agent's standbys. Other programs can still fill the file system. For that
 * case a small number of pages stays reserved (epochlog_reserve(), ramfile_reserve_room()), and the
 * standby reports a clear error.
 *
 * Threads: any; the module has its own lock.
 */
#ifndef STANDBY_ROOM_H
#define STANDBY_ROOM_H

#include <stdint.h>
#include <sys/types.h>

/* One standby's claim. If the struct is all zero, there is no claim. The struct is linked into the
 * list of claims until room_release(). */
struct room {
	dev_t device;	/* the directory's file system */
	uint64_t bytes; /* bytes claimed; 0: the struct is not in the list */
	struct room *next;
};

/* Claim @bytes of space in @dir's file system, in addition to what is allocated already. Replaces
 * an earlier claim of @room.
 * Returns 0;
 * -ENOSPC: there is too little space. Nothing is claimed, and *ret_free is the number of free bytes
 *   that no other standby has claimed;
 * other -errno. */
int room_claim(struct room *room, const char *dir, uint64_t bytes, uint64_t *ret_free)
	__attribute__((warn_unused_result));

/* Returns the number of free bytes in @dir's file system that no other standby has claimed, or 0 if
 * the file system cannot be asked. Use this to find out whether the bytes that @room claims, or
 * could not claim, can be allocated now. */
uint64_t room_free_bytes(const struct room *room, const char *dir);

/* Give the claim up. Calling this again has no effect. */
void room_release(struct room *room);

#endif
