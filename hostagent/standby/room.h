/* room.h - checks that there is enough free space for what this host's standbys may have to write.
 *
 * Why: pages are reserved for guest RAM (ramfile.h), but not for the buffer of a FULL epoch, which
 * needs as much memory again, though only for a short time. So each standby claims this space
 * without allocating it. A standby starts only if its file system has enough free space for the
 * claims of all this agent's standbys. Other programs can still fill the file system. For that case
 * a small number of pages stays reserved (epochlog_reserve(), ramfile_reserve_room()), and the
 * standby reports a clear error.
 *
 * Threads: any; the module has its own lock.
 */
#ifndef STANDBY_ROOM_H
#define STANDBY_ROOM_H

#include <stdint.h>
#include <sys/types.h>

/* One standby's claim, linked into the list of all claims until room_release(). All zero: no
 * claim. */
struct room {
	dev_t device;	/* the directory's file system */
	uint64_t bytes; /* bytes claimed; 0: the struct is not in the list */
	struct room *next;
};

/* Claim @bytes of space in @dir's file system, besides what is allocated already. Replaces an
 * earlier claim of @room. Returns 0;
 * -ENOSPC: there is too little space. @room has no claim any more, and *ret_free is the number of
 * free bytes that no other standby has claimed;
 * other -errno. */
int room_claim(struct room *room, const char *dir, uint64_t bytes, uint64_t *ret_free)
	__attribute__((warn_unused_result));

/* Returns how many bytes of @dir's file system are free and not claimed by another standby; 0 if
 * the file system cannot be asked. So the caller can see whether the bytes that @room has claimed,
 * or has failed to claim, can be allocated now. */
uint64_t room_free_bytes(const struct room *room, const char *dir);

/* Give up the claim. Does nothing if there is none. */
void room_release(struct room *room);

#endif
