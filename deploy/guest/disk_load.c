/* disk_load.c - hf-disk-load: writes to a file of the test guest, and measures how long that takes.
 *
 * deploy/guest/databases starts one hf-disk-load for each connection to its TCP port. hf-disk-load
 * reads one line, "KIND SECONDS", from stdin. It works for that time, and then writes one line of
 * JSON to stdout. Each KIND repeats these steps:
 *
 *      fsync   write 4 KiB at a random offset; call fdatasync (as a database does)
 *      seq     write the next 256 KiB with O_DIRECT; call fdatasync after each 4 MiB
 *      mixed   read (70 %) or write (30 %) 4 KiB at a random offset with O_DIRECT;
 *              call fdatasync after each 8th write
 *      memory  write 4 KiB of memory each millisecond; write nothing to the disk
 *
 * fio can do this too, but the libraries of Debian's fio do not fit into the guest's image.
 * All times come from the guest's own clock. This clock stands still while the guest is paused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FILE_PATH  "/var/load"
#define FILE_BYTES (48u << 20)
#define SMALL	   4096u
#define LARGE	   (256u << 10)
#define TIMES_MAX  200000u

static uint8_t *buffer; /* LARGE bytes, aligned for O_DIRECT */
static uint64_t seed = 88172645463325252u;
static uint64_t *times_ns; /* the duration of each fdatasync, at most TIMES_MAX */
static uint32_t n_times;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(void) /* xorshift64 */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void die(const char *what)
{
	printf("{\"error\": \"%s: %s\"}\n", what, strerror(errno));
	exit(1);
}

static off_t random_place(void)
{
	return (off_t)(next_random() % (FILE_BYTES / SMALL) * SMALL);
}

static void sync_file(int fd)
{
	uint64_t start_ns = now_ns();

	if (fdatasync(fd) < 0)
		die("fdatasync");
	if (n_times < TIMES_MAX)
		times_ns[n_times++] = now_ns() - start_ns;
}

static void write_at(int fd, off_t at, size_t bytes)
{
	uint64_t stamp = next_random();

	/* change every block: the agent sends only changed blocks */
	for (size_t i = 0; i < bytes; i += SMALL)
		memcpy(buffer + i, &stamp, sizeof(stamp));
	if (pwrite(fd, buffer, bytes, at) != (ssize_t)bytes)
		die("write");
}

static void do_fsync(int fd, uint64_t i)
{
	(void)i;
	write_at(fd, random_place(), SMALL);
	sync_file(fd);
}

static void do_seq(int fd, uint64_t i)
{
	write_at(fd, (off_t)(i % (FILE_BYTES / LARGE) * LARGE), LARGE);
	if (i % 16 == 15)
		sync_file(fd);
}

static void do_mixed(int fd, uint64_t i)
{
	static uint32_t n_writes;

	(void)i;
	if (next_random() % 10 < 7) {
		if (pread(fd, buffer, SMALL, random_place()) != (ssize_t)SMALL)
			die("read");
		return;
	}
	write_at(fd, random_place(), SMALL);
	if (++n_writes % 8 == 0)
		sync_file(fd);
}

static void do_memory(int fd, uint64_t i)
{
	static uint8_t *memory;
	const struct timespec nap = {.tv_nsec = 1000000};

	(void)fd;
	if (!memory)
		memory = malloc(FILE_BYTES);
	if (!memory)
		die("memory");
	memset(memory + random_place(), (int)i, SMALL);
	nanosleep(&nap, NULL);
}

static const struct kind {
	const char *name;
	int flags;
	void (*once)(int fd, uint64_t i);
} kinds[] = {
	{"fsync", 0, do_fsync},
	{"seq", O_DIRECT, do_seq},
	{"mixed", O_DIRECT, do_mixed},
	{"memory", 0, do_memory},
};

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double time_ms(double share)
{
	return n_times ? (double)times_ns[(uint32_t)(share * (n_times - 1))] / 1e6 : 0;
}

/* Write the whole file once. Later writes then change no metadata of the file except its time. */
static void make_file(void)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (size < 0)
		die(FILE_PATH);
	for (; size < (off_t)FILE_BYTES; size += LARGE)
		write_at(fd, size, LARGE);
	if (fsync(fd) < 0)
		die("fsync");
	close(fd);
}

static void run(const struct kind *kind, uint64_t seconds)
{
	int fd = open(FILE_PATH, O_RDWR | kind->flags);
	uint64_t n = 0, start_ns = now_ns(), end_ns = start_ns + seconds * 1000000000u, ran_ns;

	if (fd < 0)
		die(FILE_PATH);
	while (now_ns() < end_ns)
		kind->once(fd, n++);
	ran_ns = now_ns() - start_ns;
	qsort(times_ns, n_times, sizeof(*times_ns), compare);
	printf("{\"kind\": \"%s\", \"ops\": %" PRIu64 ", \"iops\": %.1f, \"fsyncs\": %u, "
	       "\"fsync_ms_p50\": %.3f, \"fsync_ms_p99\": %.3f}\n",
	       kind->name, n, (double)n * 1e9 / (double)ran_ns, n_times, time_ms(0.5),
	       time_ms(0.99));
}

int main(void)
{
	char name[16];
	unsigned int seconds;

	buffer = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	times_ns = malloc(TIMES_MAX * sizeof(*times_ns));
	if (buffer == MAP_FAILED || !times_ns)
		die("memory");
	seed ^= now_ns();
	if (scanf("%15s %u", name, &seconds) != 2 || seconds > 3600)
		return 2;
	make_file();
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, name) == 0) {
			run(&kinds[i], seconds);
			return 0;
		}
	}
	return 2;
}
