/* vmm_track.c - tests that scanning and copying never lose a write, without QEMU.
 *
 * usage: vmm_track MODE MILLISECONDS     MODE: private thp memfd memfd-thp file-private unpopulated
 *
 * tests/e2e/test_vmm_track runs this program. A child plays QEMU: it maps two blocks of memory of
 * the given kind, and its threads write random pages. Now and then the threads are parked, as
 * `stop` parks vCPUs. The parent injects a userfaultfd into the child. It scans for written pages
 * and copies them into an image: three times while the writers run and once while they are parked.
 * Then it compares the image with the whole memory. If a page differs, a scan has missed a write,
 * and the program exits with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/guestmem.h"
#include "vmm/inject.h"
#include "vmm/track.h"

#define N_WRITERS  3
#define RAM_PAGES  (48u << 8) /* 48 MiB: 24 huge pages */
#define ROM_PAGES  64u
#define N_PAGES	   (RAM_PAGES + ROM_PAGES)
#define HUGE_BYTES ((size_t)2 << 20)
#define ROUNDS_MIN 3	     /* rounds to run even if the given time is over */
#define RANGES_MAX 200u /* few, so that the array fills up and the scan must continue */

/* What the two processes share. The memory that holds it is not tracked. */
struct shared {
	uint8_t *ram, *rom; /* addresses in the child */
	_Atomic bool is_ready;
	_Atomic bool should_park;
	_Atomic uint32_t n_parked;
	_Atomic uint64_t n_writes;
	_Atomic uint32_t n_eintr; /* system calls of the child that failed
				   * with EINTR: must stay 0 */
	_Atomic uint64_t n_waits;
};

static struct shared *shared;
static const char *mode;
static struct error error;
static uint8_t *image, *buffer;
static struct page_range ranges[RANGES_MAX];

static void nap_us(long us)
{
	const struct timespec ts = {.tv_nsec = us * 1000};

	(void)nanosleep(&ts, NULL);
}

/* --- the child */

static void *map_memory(size_t size, bool is_huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	uint8_t *at;

	if (strncmp(mode, "memfd", 5) == 0 || strcmp(mode, "file-private") == 0) {
		fd = memfd_create("vmm_track", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, (off_t)(size + HUGE_BYTES)) < 0)
			exit(1);
		flags = strcmp(mode, "file-private") == 0 ? MAP_PRIVATE : MAP_SHARED;
	}
	at = mmap(NULL, size + HUGE_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (at == MAP_FAILED)
		exit(1);
	at += HUGE_BYTES - (uintptr_t)at % HUGE_BYTES;
	if (is_huge)
		(void)madvise(at, size, MADV_HUGEPAGE); /* if the kernel refuses, the
							 * test is only weaker */
	return at;
}

static void park(void)
{
	atomic_fetch_add(&shared->n_parked, 1);
	while (atomic_load(&shared->should_park))
		nap_us(50);
	atomic_fetch_sub(&shared->n_parked, 1);
}

static void write_some(uint64_t *random)
{
	for (int i = 0; i < 64; i++) {
		uint32_t page, offset;

		*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		page = (uint32_t)(*random >> 33) % N_PAGES;
		offset = (uint32_t)(*random >> 20) & (VMM_PAGE_BYTES - 8);
		/* In mode "unpopulated" most pages are never touched. */
		if (strcmp(mode, "unpopulated") == 0)
			page = page % 64 * 97 % N_PAGES;
		if (page < RAM_PAGES)
			memcpy(shared->ram + (size_t)page * VMM_PAGE_BYTES + offset, random, 8);
		else
			memcpy(shared->rom + (size_t)(page - RAM_PAGES) * VMM_PAGE_BYTES + offset,
			       random, 8);
	}
	atomic_fetch_add(&shared->n_writes, 64);
}

static void *writer(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg * 77 + 1;

	for (;;) {
		if (atomic_load(&shared->should_park))
			park();
		write_some(&random);
		nap_us(100);
	}
	return NULL;
}

/* Runs as a thread that writes a byte for the main thread every 30 ms. The main thread alternates
 * between reading this byte and sleeping. Injections interrupt both system calls, and the kernel
 * must restart them correctly: the read must get its byte, and the sleep must take its full time.
 */
static void *kick(void *arg)
{
	int fd = *(int *)arg;

	for (;;) {
		nap_us(30000);
		if (write(fd, "x", 1) != 1)
			exit(1);
	}
	return NULL;
}

static void child(void)
{
	pthread_t thread;
	int pipe_fds[2];
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shared->ram = map_memory((size_t)RAM_PAGES * VMM_PAGE_BYTES,
				 strcmp(mode, "thp") == 0 || strcmp(mode, "memfd-thp") == 0);
	shared->rom = map_memory((size_t)ROM_PAGES * VMM_PAGE_BYTES, false);
	if (strcmp(mode, "thp") == 0)
		memset(shared->ram, 1, (size_t)RAM_PAGES * VMM_PAGE_BYTES);
	for (uint32_t i = 0; i < RAM_PAGES; i += 7) /* a read access maps a zero page or a hole */
		(void)*(volatile uint8_t *)(shared->ram + (size_t)i * VMM_PAGE_BYTES);
	for (uintptr_t i = 0; i < N_WRITERS; i++)
		if (pthread_create(&thread, NULL, writer, (void *)i) != 0)
			exit(1);
	if (pipe(pipe_fds) < 0 || pthread_create(&thread, NULL, kick, &pipe_fds[1]) != 0)
		exit(1);
	atomic_store(&shared->is_ready, true);
	for (;;) {
		struct timespec rest = {.tv_nsec = 20000000};

		if (read(pipe_fds[0], &byte, 1) != 1)
			atomic_fetch_add(&shared->n_eintr, 1);
		if (nanosleep(&rest, NULL) != 0)
			atomic_fetch_add(&shared->n_eintr, 1);
		atomic_fetch_add(&shared->n_waits, 1);
	}
}

/* --- the parent */

static int fail(const char *what, int r)
{
	fprintf(stderr, "vmm_track: %s: %s: %s\n", what, strerror(-r), error.text);
	return 1;
}

static void apply(uint32_t n_ranges)
{
	const uint8_t *from = buffer;

	for (uint32_t i = 0; i < n_ranges; i++) {
		size_t size = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;

		memcpy(image + (size_t)ranges[i].first_page * VMM_PAGE_BYTES, from, size);
		from += size;
	}
}

/* Scan until no dirty page is left, and copy all pages found. Returns the number of pages that the
 * scans reported, or -errno. */
static int64_t round_trip(struct track *t, enum track_scan_mode scan_mode,
			  const struct guestmem *mem)
{
	int64_t n_pages = 0;
	int r;

	do {
		uint32_t n;

		r = track_scan(t, scan_mode, ranges, RANGES_MAX, &n);
		if (r < 0)
			return r;
		if (n > 0 && guestmem_read(mem, ranges, n, buffer) < 0)
			return -EIO;
		for (uint32_t i = 0; i < n; i++)
			n_pages += ranges[i].n_pages;
		apply(n);
	} while (r == 1);
	return n_pages;
}

/* Compare the image with the whole memory. Reads the memory with process_vm_readv, which does not
 * depend on the code under test. */
static int compare(pid_t pid, const struct vmm_block *blocks)
{
	for (int i = 0; i < 2; i++) {
		struct iovec local = {buffer, blocks[i].size_bytes};
		struct iovec remote = {(void *)blocks[i].hva, blocks[i].size_bytes};
		const uint8_t *expected = image + (size_t)blocks[i].first_page * VMM_PAGE_BYTES;

		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != (ssize_t)local.iov_len)
			return fail("process_vm_readv", -errno);
		for (uint32_t p = 0; p < blocks[i].n_pages; p++)
			if (memcmp(buffer + (size_t)p * VMM_PAGE_BYTES,
				   expected + (size_t)p * VMM_PAGE_BYTES, VMM_PAGE_BYTES) != 0) {
				fprintf(stderr, "LOST WRITE: mode %s block %d page %u\n", mode, i,
					p);
				return 1;
			}
	}
	return 0;
}

static void set_parked(bool should_park)
{
	atomic_store(&shared->should_park, should_park);
	while (atomic_load(&shared->n_parked) != (should_park ? N_WRITERS : 0))
		nap_us(20);
}

static int run(pid_t pid, const struct vmm_block *blocks, uint64_t duration_ns)
{
	struct guestmem *mem = NULL;
	struct track *t = NULL, *second = NULL;
	uint64_t end_ns, n_rounds = 0, n_reported = 0;
	int64_t first, n = 0;
	int r = track_open(pid, blocks, 2, &t, &error);

	if (r < 0)
		return fail("track_open", r);
	r = track_open(pid, blocks, 2, &second, &error);
	if (r != -EBUSY)
		return fail("a second tracker should be refused with EBUSY", r);
	r = guestmem_open(pid, blocks, 2, &mem, &error);
	if (r < 0)
		return fail("guestmem_open", r);
	first = round_trip(t, TRACK_PROTECT, mem);
	if (first < (int64_t)N_PAGES)
		return fail("the first scan did not report every page",
			    (int)(first < 0 ? first : -1));
	end_ns = clock_mono_ns() + duration_ns;
	while (n_rounds < ROUNDS_MIN || clock_mono_ns() < end_ns) {
		for (int i = 0; i < 3; i++, n_reported += (uint64_t)n)
			if ((n = round_trip(
				     t, (n_rounds + (uint64_t)i) % 3 ? TRACK_KEEP : TRACK_PROTECT,
				     mem)) < 0)
				return fail("scan of a running process", (int)n);
		set_parked(true);
		n = round_trip(t, TRACK_KEEP, mem);
		if (n < 0 || compare(pid, blocks) != 0)
			return n < 0 ? fail("scan", (int)n) : 1;
		/* No thread writes now. The TRACK_KEEP scan left its pages dirty, so a
		 * TRACK_PROTECT scan must report as many pages. This scan protects the pages, so a
		 * second TRACK_PROTECT scan must report none. */
		if (round_trip(t, TRACK_PROTECT, mem) != n)
			return fail("a scan that keeps and one that protects do not agree",
				    -EINVAL);
		n_reported += (uint64_t)n;
		if (round_trip(t, TRACK_PROTECT, mem) != 0)
			return fail("a scan with nobody writing reports pages", -EINVAL);
		set_parked(false);
		n_rounds++;
	}
	printf("mode=%s mapped=%d rounds=%" PRIu64 " writes=%" PRIu64 " reported=%" PRIu64 "\n",
	       mode, guestmem_is_mapped(mem, 0), n_rounds, atomic_load(&shared->n_writes),
	       n_reported);
	track_close(t);
	guestmem_close(mem);
	return n_rounds == 0 || n_reported == 0 ? fail("nothing was tested", -EINVAL) : 0;
}

/* Inject a userfaultfd @n times. Each injection interrupts the child's main thread in a system
 * call. None of these calls may fail. */
static int run_injections(pid_t pid, int n)
{
	uint64_t worst_ns = 0, total_ns = 0, waits;

	for (int i = 0; i < n; i++) {
		uint64_t start_ns = clock_mono_ns(), took_ns;
		int fd, r = inject_userfaultfd(pid, CLOCK_NS_PER_S, &fd, &error);

		if (r < 0)
			return fail("inject_userfaultfd", r);
		took_ns = clock_mono_ns() - start_ns;
		total_ns += took_ns;
		worst_ns = took_ns > worst_ns ? took_ns : worst_ns;
		close(fd);
		nap_us(1000 + i * 37 % 3000);
	}
	waits = atomic_load(&shared->n_waits);
	while (atomic_load(&shared->n_waits) < waits + 2) /* until the child has continued */
		nap_us(1000);
	printf("injections=%d mean_us=%" PRIu64 " worst_us=%" PRIu64 " eintr=%u\n", n,
	       total_ns / (uint64_t)n / 1000, worst_ns / 1000, atomic_load(&shared->n_eintr));
	return atomic_load(&shared->n_eintr) == 0 ? 0 : fail("the child saw EINTR", -EINTR);
}

/* Returns how much of the child's memory is in huge pages, in KiB. */
static long huge_kib(pid_t pid)
{
	char path[64], line[256];
	long anonymous = 0, shared_kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %ld", &anonymous) != 1)
			(void)sscanf(line, "ShmemPmdMapped: %ld", &shared_kib);
	if (f)
		fclose(f);
	return anonymous + shared_kib;
}

static int run_parent(pid_t pid, uint64_t duration_ns)
{
	struct vmm_block blocks[2] = {
		{.name = "pc.ram", .kind = VMM_BLOCK_RAM, .n_pages = RAM_PAGES},
		{.name = "pc.bios", .kind = VMM_BLOCK_OTHER, .first_page = RAM_PAGES,
		 .n_pages = ROM_PAGES},
	};
	int r;

	while (!atomic_load(&shared->is_ready))
		nap_us(1000);
	blocks[0].hva = (uint64_t)(uintptr_t)shared->ram;
	blocks[1].hva = (uint64_t)(uintptr_t)shared->rom;
	for (int i = 0; i < 2; i++)
		blocks[i].size_bytes = (uint64_t)blocks[i].n_pages * VMM_PAGE_BYTES;
	printf("mode=%s huge_kib=%ld\n", mode, huge_kib(pid));
	r = run_injections(pid, 60);
	if (r == 0)
		r = run(pid, blocks, duration_ns);
	/* Open a second tracker. Its first scan must report every page again. */
	return r != 0 ? r : run(pid, blocks, duration_ns / 4);
}

int main(int argc, char **argv)
{
	size_t size = (size_t)N_PAGES * VMM_PAGE_BYTES;
	pid_t pid;
	int r;

	if (argc != 3) {
		fprintf(stderr, "usage: vmm_track MODE MILLISECONDS\n");
		return 2;
	}
	mode = argv[1];
	r = track_probe(&error);
	if (r < 0) {
		printf("%s\n", error.text);
		return r == -ENOTSUP || r == -EPERM ? 77 : 1;
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	image = calloc(1, size);
	buffer = malloc(size);
	if (shared == MAP_FAILED || !image || !buffer)
		return 1;
	pid = fork();
	if (pid == 0)
		child();
	r = run_parent(pid, (uint64_t)atoi(argv[2]) * CLOCK_NS_PER_MS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}
