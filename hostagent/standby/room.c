#include "standby/room.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct room *claims;

static void take_out(struct room *room)
{
	for (struct room **at = &claims; *at; at = &(*at)->next) {
		if (*at == room) {
			*at = room->next;
			break;
		}
	}
	room->bytes = 0;
}

/* Returns how many bytes of @device are claimed by others than @room. The caller holds the lock. */
static uint64_t claimed_by_others(dev_t device, const struct room *room)
{
	uint64_t sum = 0;

	for (const struct room *at = claims; at; at = at->next) {
		if (at->device == device && at != room)
			sum += at->bytes;
	}
	return sum;
}

/* Returns how many free bytes nobody but @room has claimed. The caller holds the lock. */
static uint64_t left_for(const struct room *room, const struct statvfs *fs, dev_t device)
{
	uint64_t free_bytes = (uint64_t)fs->f_bavail * fs->f_frsize;
	uint64_t others = claimed_by_others(device, room);

	return free_bytes > others ? free_bytes - others : 0;
}

int room_claim(struct room *room, const char *dir, uint64_t bytes, uint64_t *ret_free)
{
	struct statvfs fs;
	struct stat st;
	uint64_t free_bytes;
	int r = 0;

	if (stat(dir, &st) < 0 || statvfs(dir, &fs) < 0)
		return -errno;
	pthread_mutex_lock(&lock);
	take_out(room);
	free_bytes = left_for(room, &fs, st.st_dev);
	if (free_bytes < bytes) {
		*ret_free = free_bytes;
		r = -ENOSPC;
	} else if (bytes > 0) {
		*room = (struct room){.device = st.st_dev, .bytes = bytes, .next = claims};
		claims = room;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

uint64_t room_free_bytes(const struct room *room, const char *dir)
{
	struct statvfs fs;
	struct stat st;
	uint64_t free_bytes;

	if (stat(dir, &st) < 0 || statvfs(dir, &fs) < 0)
		return 0;
	pthread_mutex_lock(&lock);
	/* use the device of @dir, because room->device is not valid without a claim */
	free_bytes = left_for(room, &fs, st.st_dev);
	pthread_mutex_unlock(&lock);
	return free_bytes;
}

void room_release(struct room *room)
{
	pthread_mutex_lock(&lock);
	if (room->bytes)
		take_out(room);
	pthread_mutex_unlock(&lock);
}
