#include "vmm/track.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/error.h"
#include "vmm/inject.h"
#include "vmm/uapi.h"

#define STOP_TIMEOUT_NS (2 * CLOCK_NS_PER_S)
/* How many ranges to get from the kernel in one call (96 KB). Even an epoch with badly scattered
 * pages then needs only a few calls. */
#define REGIONS_MAX	4096u
#define PROBE_PAGES	64u
#define FEATURES                                                                                   \
	(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |   \
	 UFFD_FEATURE_PAGEFAULT_FLAG_WP)

struct track {
	int uffd;    /* the userfaultfd; closing it ends the tracking */
	int pagemap; /* descriptor of /proc/PID/pagemap */
	int pidfd;   /* readable once the process has ended */
	struct vmm_block blocks[VMM_BLOCKS_MAX];
	uint32_t n_blocks;
	uint32_t block;	 /* index of the block in which the next scan continues */
	uint64_t offset; /* the byte of that block at which the next scan continues */
	uint64_t fault_ns;
	struct page_region regions[REGIONS_MAX];
};

/* Ask the kernel for all features that we use. A descriptor allows only one such call. If the call
 * fails, WP_ASYNC is missing: a kernel that has WP_ASYNC also has the other features. */
static int enable(int uffd, struct error *ret_error)
{
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};

	if (ioctl(uffd, UFFDIO_API, &api) == 0)
		return 0;
	return error_set(ret_error, -ENOTSUP,
			 "this kernel cannot track writes: userfaultfd lacks WP_ASYNC (needs Linux"
			 " >= 6.7 with CONFIG_USERFAULTFD and CONFIG_PTE_MARKER_UFFD_WP): %m");
}

/* Scan the addresses [@start, @end) and write the regions found to @regions. Returns their number,
 * or -errno. */
static int scan(int pagemap, enum track_scan_mode mode, uint64_t start, uint64_t end,
		struct page_region *regions, uint32_t n_regions, uint64_t *ret_walk_end)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_CHECK_WPASYNC | (mode == TRACK_PROTECT ? PM_SCAN_WP_MATCHING : 0),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = n_regions,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int n;

	do
		n = ioctl(pagemap, PAGEMAP_SCAN, &arg);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_walk_end = arg.walk_end;
	return n;
}

/* Write to each of @n_pages pages. Returns the time that this took, in ns. */
static uint64_t time_writes(volatile uint8_t *pages, uint32_t n_pages)
{
	uint64_t start_ns = clock_mono_ns();

	for (uint32_t i = 0; i < n_pages; i++)
		pages[i * VMM_PAGE_BYTES] = 1;
	return clock_mono_ns() - start_ns;
}

/* Check with our own pages that a scan reports exactly the written pages. Also measure how long a
 * write to a protected page takes. Call this only after enable() has succeeded. */
static int probe_scan(int uffd, int pagemap, uint8_t *pages, uint64_t *ret_fault_ns,
		      struct error *ret_error)
{
	struct uffdio_register reg = {
		.range = {.start = (uint64_t)(uintptr_t)pages, .len = PROBE_PAGES * VMM_PAGE_BYTES},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	uint64_t start = reg.range.start, end = start + reg.range.len, walk_end;
	struct page_region region;
	int n[4];

	if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		return error_set(ret_error, -ENOTSUP,
				 "this kernel cannot track writes: UFFDIO_REGISTER: %m");
	n[0] = scan(pagemap, TRACK_PROTECT, start, end, &region, 1, &walk_end);
	n[1] = scan(pagemap, TRACK_PROTECT, start, end, &region, 1, &walk_end);
	*ret_fault_ns = time_writes(pages, PROBE_PAGES) / PROBE_PAGES + 1;
	n[2] = scan(pagemap, TRACK_KEEP, start, end, &region, 1, &walk_end);
	n[3] = scan(pagemap, TRACK_PROTECT, start, end, &region, 1, &walk_end);
	if (n[0] == -ENOTTY || n[0] == -EINVAL)
		return error_set(
			ret_error, -ENOTSUP,
			"this kernel cannot track writes: PAGEMAP_SCAN is missing (needs Linux"
			" >= 6.7 with CONFIG_PROC_PAGE_MONITOR)");
	if (n[0] < 0)
		return error_set(ret_error, n[0], "PAGEMAP_SCAN: %s", strerror(-n[0]));
	if (n[0] != 1 || n[1] != 0 || n[2] != 1 || n[3] != 1)
		return error_set(
			ret_error, -ENOTSUP,
			"PAGEMAP_SCAN does not report writes on this kernel (%d, %d, %d, %d"
			" instead of 1, 0, 1, 1)",
			n[0], n[1], n[2], n[3]);
	return 0;
}

static int probe(uint64_t *ret_fault_ns, struct error *ret_error)
{
	AUTO_CLOSE int uffd = (int)syscall(SYS_userfaultfd,
					   O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	AUTO_CLOSE int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	void *pages;
	int r;

	if (uffd < 0)
		return error_set(ret_error, errno == EPERM ? -EPERM : -ENOTSUP,
				 "this kernel cannot track writes: userfaultfd: %m");
	if (pagemap < 0)
		return error_set(ret_error, -errno, "/proc/self/pagemap: %m (is /proc mounted?)");
	r = enable(uffd, ret_error);
	if (r < 0)
		return r;
	pages = mmap(NULL, PROBE_PAGES * VMM_PAGE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pages == MAP_FAILED)
		return error_set(ret_error, -ENOMEM, "out of memory");
	r = probe_scan(uffd, pagemap, pages, ret_fault_ns, ret_error);
	(void)munmap(pages, PROBE_PAGES * VMM_PAGE_BYTES); /* cannot fail for memory from mmap() */
	return r;
}

int track_probe(struct error *ret_error)
{
	uint64_t fault_ns;

	return probe(&fault_ns, ret_error);
}

/* Turn an error of UFFDIO_REGISTER into a text for the operator. */
static int register_failed(const struct vmm_block *block, int error, struct error *ret_error)
{
	switch (error) {
	case -EBUSY:
		return error_set(
			ret_error, error,
			"memory block %s is already watched by a userfaultfd: another agent, or"
			" a background snapshot or post-copy migration of this QEMU",
			block->name);
	case -EINVAL:
	case -EPERM:
		return error_set(
			ret_error, -ENOTSUP,
			"memory block %s cannot be write-protected: it maps a file that is not"
			" on tmpfs or hugetlbfs, or is not aligned to its huge pages: use"
			" memory-backend-memfd, or a mem-path on tmpfs",
			block->name);
	case -ESRCH:
	case -ENOMEM:
		return error_set(ret_error, error, "memory block %s: %s: the process is ending",
				 block->name, strerror(-error));
	default:
		return error_set(ret_error, error, "memory block %s: UFFDIO_REGISTER: %s",
				 block->name, strerror(-error));
	}
}

static int register_blocks(struct track *t, struct error *ret_error)
{
	for (uint32_t i = 0; i < t->n_blocks; i++) {
		struct uffdio_register reg = {
			.range = {.start = t->blocks[i].hva, .len = t->blocks[i].size_bytes},
			.mode = UFFDIO_REGISTER_MODE_WP,
		};

		if (ioctl(t->uffd, UFFDIO_REGISTER, &reg) < 0)
			return register_failed(&t->blocks[i], -errno, ret_error);
	}
	return 0;
}

static int open_files(struct track *t, pid_t pid, struct error *ret_error)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	t->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (t->pidfd < 0)
		return error_set(ret_error, -errno, "process %d: %m", pid);
	t->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (t->pagemap < 0)
		return error_set(ret_error, -errno, "%s: %m (run the agent as root or with"
				 " CAP_SYS_PTRACE)", path);
	return 0;
}

static int new_track(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
		     struct track **ret_track, struct error *ret_error)
{
	struct track *t;
	int r;

	if (n_blocks == 0 || n_blocks > VMM_BLOCKS_MAX)
		return error_set(ret_error, -EINVAL, "%u memory blocks: 1 to %u can be tracked",
				 n_blocks, VMM_BLOCKS_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(ret_error, -ENOMEM, "out of memory");
	t->uffd = t->pagemap = t->pidfd = -1;
	memcpy(t->blocks, blocks, n_blocks * sizeof(*blocks));
	t->n_blocks = n_blocks;
	r = open_files(t, pid, ret_error);
	if (r < 0) {
		track_close(t);
		return r;
	}
	*ret_track = t;
	return 0;
}

int track_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
	       struct track **ret_track, struct error *ret_error)
{
	struct track *t = NULL;
	uint64_t fault_ns;
	int r = probe(&fault_ns, ret_error);

	if (r == 0)
		r = new_track(pid, blocks, n_blocks, &t, ret_error);
	if (r < 0)
		return r;
	t->fault_ns = fault_ns;
	r = inject_userfaultfd(pid, STOP_TIMEOUT_NS, &t->uffd, ret_error);
	if (r == 0)
		r = enable(t->uffd, ret_error);
	if (r == 0)
		r = register_blocks(t, ret_error);
	if (r < 0) {
		track_close(t);
		return r;
	}
	*ret_track = t;
	return 0;
}

int track_resume(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks, int uffd,
		 uint64_t fault_ns, struct track **ret_track, struct error *ret_error)
{
	int r = new_track(pid, blocks, n_blocks, ret_track, ret_error);

	if (r < 0)
		return r;
	(*ret_track)->uffd = uffd;
	(*ret_track)->fault_ns = fault_ns;
	return 0;
}

int track_hand_on(struct track *t)
{
	int uffd = t->uffd;

	t->uffd = -1;
	track_close(t);
	return uffd;
}

/* Append the kernel's regions, which lie in one block, to @ranges. If two calls have split a range,
 * join its parts. */
static void convert(const struct vmm_block *block, const struct page_region *regions, uint32_t n,
		    struct page_range *ranges, uint32_t *n_ranges)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = block->first_page +
				 (uint32_t)((regions[i].start - block->hva) / VMM_PAGE_BYTES);
		uint32_t n_pages = (uint32_t)((regions[i].end - regions[i].start) / VMM_PAGE_BYTES);
		struct page_range *last = *n_ranges > 0 ? &ranges[*n_ranges - 1] : NULL;

		/* The first page of a block always starts a new range, so that no range crosses
		 * blocks. */
		if (last && first != block->first_page && last->first_page + last->n_pages == first)
			last->n_pages += n_pages;
		else
			ranges[(*n_ranges)++] = (struct page_range){first, n_pages};
	}
}

static bool has_ended(const struct track *t)
{
	struct pollfd p = {.fd = t->pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

int track_scan(struct track *t, enum track_scan_mode mode, struct page_range *ret_ranges,
	       uint32_t max_ranges, uint32_t *ret_n_ranges)
{
	uint32_t n_ranges = 0;

	while (t->block < t->n_blocks) {
		const struct vmm_block *block = &t->blocks[t->block];
		uint32_t room = max_ranges - n_ranges;
		uint64_t walk_end = 0;
		int n;

		if (t->offset == block->size_bytes) {
			t->block++;
			t->offset = 0;
			continue;
		}
		if (room == 0) {
			*ret_n_ranges = n_ranges;
			return 1;
		}
		n = scan(t->pagemap, mode, block->hva + t->offset, block->hva + block->size_bytes,
			 t->regions, room < REGIONS_MAX ? room : REGIONS_MAX, &walk_end);
		if (n < 0)
			return has_ended(t) ? -ESRCH : n;
		convert(block, t->regions, (uint32_t)n, ret_ranges, &n_ranges);
		t->offset = walk_end - block->hva;
	}
	/* The scan gives no error if the process has ended: its memory then looks empty. So check
	 * here. */
	if (has_ended(t))
		return -ESRCH;
	t->block = 0;
	*ret_n_ranges = n_ranges;
	return 0;
}

uint64_t track_fault_ns(const struct track *t)
{
	return t->fault_ns;
}

struct track *track_close(struct track *t)
{
	if (!t)
		return NULL;
	fd_close(t->uffd);
	fd_close(t->pagemap);
	fd_close(t->pidfd);
	free(t);
	return NULL;
}
