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

static uint64_t claimed_by_others(dev_t device)
{
	uint64_t sum = 0;

	for (const struct room *at = claims; at; at = at->next) {
		if (at->device == device)
			sum += at->bytes;
	}
	return sum;
}

int room_claim(struct room *room, const char *dir, uint64_t bytes, uint64_t *ret_free)
{
	struct statvfs fs;
	struct stat st;
	uint64_t free_bytes, others;
	int r = 0;

	if (stat(dir, &st) < 0 || statvfs(dir, &fs) < 0)
		return -errno;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	pthread_mutex_lock(&lock);
	take_out(room);
	others = claimed_by_others(st.st_dev);
	free_bytes = free_bytes > others ? free_bytes - others : 0;
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

void room_release(struct room *room)
{
	pthread_mutex_lock(&lock);
	if (room->bytes)
		take_out(room);
	pthread_mutex_unlock(&lock);
}
