/* clock_shim.c - a library for LD_PRELOAD that moves a program's wall clock by the offset in a
 * mapped file.
 *
 * The kernel cannot set CLOCK_REALTIME for only some processes. So bench_detector preloads this
 * library into the daemons and QEMU when it starts them. To move the clock of a host,
 * bench_detector writes an offset to the host's file.
 *
 * libfaketime (0.9.10, FAKETIME_DONT_FAKE_MONOTONIC=1) cannot be used. Its pthread_cond_timedwait()
 * on CLOCK_MONOTONIC returns at once, so the agent would spin. Its reads of CLOCK_REALTIME cost 1
 * to 8 microseconds. A killed program leaves libfaketime's files in /dev/shm.
 *
 *   LD_PRELOAD=.../libclock_shim.so CLOCK_SHIM_FILE=/dev/shm/x/clock-primary holdfast-agent ...
 *
 * The library changes the results of clock_gettime() of CLOCK_REALTIME (and its coarse form),
 * gettimeofday() and time(). It does not change the time stamps of files and frames. It does not
 * change waits that end at a given wall-clock time; Holdfast has no such waits. The library does
 * not work with a sanitizer, because the sanitizer's runtime must be the first preloaded library.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

/* The layout of the mapped file; detector_world.py has a copy of this layout. */
struct clock_file {
	_Atomic int64_t offset_ns;
	_Atomic uint64_t n_moved_daemon; /* reads of a moved clock by holdfast-* programs */
	_Atomic uint64_t n_moved_other;
};

static struct clock_file *shared;
static _Atomic uint64_t *n_moved;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static void give_up(const char *what, const char *why)
{
	(void)dprintf(STDERR_FILENO, "clock_shim: %s: %s\n", what, why);
	_exit(127);
}

static void __attribute__((constructor)) open_file(void)
{
	const char *path = getenv("CLOCK_SHIM_FILE");
	void *symbol = dlsym(RTLD_NEXT, "clock_gettime");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	struct clock_file *file;

	memcpy(&real_clock_gettime, &symbol, sizeof(symbol));
	if (!path)
		give_up("CLOCK_SHIM_FILE", "not set");
	if (fd < 0 || ftruncate(fd, sizeof(*file)) < 0)
		give_up(path, strerror(errno));
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		give_up(path, strerror(errno));
	(void)close(fd);
	n_moved = strncmp(program_invocation_short_name, "holdfast-", 9) == 0
			  ? &file->n_moved_daemon
			  : &file->n_moved_other;
	shared = file;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t offset_ns, ns;
	/* real_clock_gettime is NULL until our constructor has run. The constructor of another
	 * library can read the time before that. Then make the system call. */
	int r = real_clock_gettime ? real_clock_gettime(id, ts)
				   : (int)syscall(SYS_clock_gettime, id, ts);

	if (r < 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) || !shared)
		return r;
	offset_ns = atomic_load(&shared->offset_ns);
	if (offset_ns == 0)
		return 0;
	atomic_fetch_add(n_moved, 1);
	ns = ts->tv_sec * NS_PER_S + ts->tv_nsec + offset_ns;
	ts->tv_sec = ns / NS_PER_S;
	ts->tv_nsec = ns % NS_PER_S;
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone; /* the time zone is obsolete, so *zone is left unchanged */
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	if (ret)
		*ret = ts.tv_sec;
	return ts.tv_sec;
}
