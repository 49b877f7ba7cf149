/* plugin.c - a plugin for nbdkit. It puts each write that QEMU sends to nbdkit into a ring in
 * shared memory (ring.h).
 *
 *	nbdkit --foreground PATH/holdfast-disk.so ring=FD [lifeline=FD]
 *
 *      ring       number of an inherited descriptor: the ring's memory
 *      lifeline   number of an inherited descriptor: the reading end of a pipe; when its writing
 *                 end is closed, this process ends (server.h)
 *
 *      request             answer
 *      write, zero, trim   when the ring has the records of the request
 *      flush               at once: QEMU also flushes the guest's own disk, and the standby gets
 *                          the flushed data with the epoch
 *      read                refused: a mirror never reads its target
 *
 * Threads: with nbdkit's thread model SERIALIZE_REQUESTS, one thread serves a connection.
 * plugin_open() accepts only one connection at a time. So only one thread appends to the ring, and
 * no lock is needed.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "disk/ring.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_REQUESTS

/* How long a new connection waits for the end of the one before. QEMU can close a connection and
 * connect again before this process has noticed the close. */
#define OPEN_WAIT_S 1

/* the largest request; nbdkit offers clients the same limit */
#define REQUEST_BYTES_MAX (32u << 20)

static int ring_fd = -1, lifeline_fd = -1;
static struct disk_ring *ring;

static pthread_mutex_t connection_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t connection_closed = PTHREAD_COND_INITIALIZER;
static bool is_connected; /* true while QEMU is connected; guarded by connection_lock */

/* ---- start */

static int take_fd(const char *key, const char *value, int *ret)
{
	int fd;

	if (nbdkit_parse_int(key, value, &fd) < 0)
		return -1;
	if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		nbdkit_error("%s=%s: not an open descriptor", key, value);
		return -1;
	}
	*ret = fd;
	return 0;
}

static int plugin_config(const char *key, const char *value)
{
	if (strcmp(key, "ring") == 0)
		return take_fd(key, value, &ring_fd);
	if (strcmp(key, "lifeline") == 0)
		return take_fd(key, value, &lifeline_fd);
	nbdkit_error("unknown parameter %s", key);
	return -1;
}

static int plugin_config_complete(void)
{
	int r;

	if (ring_fd < 0) {
		nbdkit_error("the parameter ring=FD is missing");
		return -1;
	}
	r = disk_ring_map(ring_fd, &ring);
	if (r < 0) {
		nbdkit_error("descriptor %d is no ring of this version: %s", ring_fd, strerror(-r));
		return -1;
	}
	return 0;
}

/* Wait until the agent has ended, then end this process. It has nothing to save: only the agent
 * reads the ring. */
static void *watch_lifeline(void *arg)
{
	struct pollfd fds = {.fd = lifeline_fd, .events = POLLIN};

	while (poll(&fds, 1, -1) < 0 && errno == EINTR)
		;
	_exit(0);
	return arg;
}

static int plugin_after_fork(void)
{
	pthread_t thread;
	int error;

	if (lifeline_fd < 0)
		return 0;
	/* Make sure that PR_SET_PDEATHSIG is not set. Its signal is sent when the thread that
	 * started us ends, not when the whole parent ends. When the agent replaces its program by
	 * exec, all its threads end, but this server must go on. */
	if (prctl(PR_SET_PDEATHSIG, 0) < 0)
		nbdkit_error("PR_SET_PDEATHSIG: %m");
	error = pthread_create(&thread, NULL, watch_lifeline, NULL);
	if (error == 0)
		error = pthread_detach(thread);
	if (error)
		nbdkit_error("a thread for the lifeline: %s", strerror(error));
	return error ? -1 : 0;
}

static void plugin_unload(void)
{
	ring = disk_ring_free(ring);
}

/* ---- connections */

static void *plugin_open(int readonly)
{
	struct timespec until;
	bool is_mine;

	(void)readonly;
	(void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
	until.tv_sec += OPEN_WAIT_S;
	pthread_mutex_lock(&connection_lock);
	while (is_connected &&
	       pthread_cond_timedwait(&connection_closed, &connection_lock, &until) == 0)
		;
	is_mine = !is_connected;
	is_connected = true;
	pthread_mutex_unlock(&connection_lock);
	if (!is_mine) {
		nbdkit_error("a client is connected already; only one may write");
		return NULL;
	}
	disk_ring_count(ring, DISK_RING_CONNECTED);
	return NBDKIT_HANDLE_NOT_NEEDED;
}

static void plugin_close(void *handle)
{
	(void)handle;
	disk_ring_count(ring, DISK_RING_DISCONNECTED);
	pthread_mutex_lock(&connection_lock);
	is_connected = false;
	pthread_cond_signal(&connection_closed);
	pthread_mutex_unlock(&connection_lock);
}

static int64_t plugin_get_size(void *handle)
{
	(void)handle;
	return (int64_t)disk_ring_disk_bytes(ring);
}

static int plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
			     uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = DISK_RING_BLOCK_BYTES;
	*maximum = REQUEST_BYTES_MAX;
	return 0;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

/* ---- requests */

static int append(enum disk_op op, uint32_t count, uint64_t offset, const void *data)
{
	int r = disk_ring_append(ring, op, offset, count, data);

	if (r == 0)
		return 0;
	nbdkit_error("%u bytes at %" PRIu64 ": %s", count, offset, strerror(-r));
	nbdkit_set_error(-r);
	return -1;
}

static int plugin_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle, (void)buf, (void)flags;
	disk_ring_count(ring, DISK_RING_READ);
	nbdkit_error("a client reads %u bytes at %" PRIu64 ": this server only takes writes", count,
		     offset);
	nbdkit_set_error(EIO);
	return -1;
}

static int plugin_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
			 uint32_t flags)
{
	(void)handle, (void)flags;
	return append(DISK_WRITE, count, offset, buf);
}

static int plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle, (void)flags;
	return append(DISK_ZERO, count, offset, NULL);
}

static int plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	(void)handle, (void)flags;
	return append(DISK_DISCARD, count, offset, NULL);
}

static int plugin_flush(void *handle, uint32_t flags)
{
	(void)handle, (void)flags;
	disk_ring_count(ring, DISK_RING_FLUSHED);
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "holdfast-disk",
	.longname = "Holdfast's log of a disk's writes",
	.version = HOLDFAST_VERSION,
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = "ring=FD      (required) the ring's memory, inherited\n"
		       "lifeline=FD  end when the other end of this pipe is closed",
	.after_fork = plugin_after_fork,
	.unload = plugin_unload,
	.open = plugin_open,
	.close = plugin_close,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.can_write = yes,
	.can_flush = yes,
	.can_trim = yes,
	.can_zero = yes,
	.can_fast_zero = yes,
	.can_fua = can_fua,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_trim,
	.zero = plugin_zero,
};

struct nbdkit_plugin *plugin_init(void); /* the macro below defines it without a prototype */
NBDKIT_REGISTER_PLUGIN(plugin)
