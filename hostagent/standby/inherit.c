#include "standby/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "standby/qemu.h"
#include "supervision/progress.h"
#include "vmm/guestmem.h"
#include "vmm/inspect.h"
#include "vmm/qmp.h"

#define QMP_NS	      (5 * CLOCK_NS_PER_S)
#define MEMINFO_MAX   65536u
#define CHUNK_PAGES   256u
#define PIECE_BYTES   (UINT64_C(256) << 20)
/* 1/MARGIN_SHARE more memory than the copy's size must be available */
#define MARGIN_SHARE  8u

uint64_t inherit_available_bytes(const char *meminfo)
{
	const char *at = strstr(meminfo, "\nMemAvailable:");
	uint64_t kib;

	if (!at || sscanf(at + strlen("\nMemAvailable:"), " %" SCNu64 " kB", &kib) != 1)
		return 0;
	return kib << 10;
}

static int check_memory(uint64_t ram_bytes, struct error *ret_error)
{
	AUTO_FREE char *meminfo = NULL;
	uint64_t available;
	size_t size;
	int r = fd_read_file("/proc/meminfo", MEMINFO_MAX, &meminfo, &size);

	if (r < 0)
		return error_set(ret_error, r, "/proc/meminfo: %s", strerror(-r));
	available = inherit_available_bytes(meminfo);
	if (available / (MARGIN_SHARE + 1) * MARGIN_SHARE < ram_bytes)
		return error_set(ret_error, -ENOMEM,
				 "this host has %" PRIu64 " MiB of memory to spare, a second copy "
				 "of the guest needs %" PRIu64 " MiB and an eighth more",
				 available >> 20, ram_bytes >> 20);
	return 0;
}

/* Allocate the pages of the file `ram` piece by piece, so that this can be cancelled. */
static int allocate(struct ramfile *rf, uint64_t ram_bytes, const _Atomic bool *cancel)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, "ram", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (uint64_t at = 0; at < ram_bytes; at += PIECE_BYTES) {
		uint64_t left = ram_bytes - at;

		if (*cancel)
			return -ECANCELED;
		if (fallocate(fd, 0, (off_t)at,
			      (off_t)(left < PIECE_BYTES ? left : PIECE_BYTES)) < 0)
			return -errno;
	}
	return 0;
}

int inherit_reserve(struct ramfile *rf, uint64_t ram_bytes, const _Atomic bool *cancel,
		    struct error *ret_error)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int r;

	if (pthread_mutex_trylock(&lock) != 0)
		return error_set(ret_error, -EBUSY,
				 "the memory of another VM is being copied on this host");
	r = check_memory(ram_bytes, ret_error);
	if (r == 0) {
		r = cancel ? allocate(rf, ram_bytes, cancel) : 0;
		if (r == 0)
			r = ramfile_reserve(rf, ram_bytes);
		if (r < 0)
			(void)error_set(ret_error, r, "no room in %s: %s", rf->dir, strerror(-r));
	}
	pthread_mutex_unlock(&lock);
	return r;
}

static int look(const char *monitor, pid_t pid, struct vmm_info *ret_info, struct error *ret_error)
{
	struct qmp *qmp;
	int r = qmp_open(monitor, QMP_NS, &qmp);

	if (r < 0)
		return error_set(ret_error, r, "%s: %s", monitor, qmp_open_error(r));
	r = qmp_pid(qmp) == pid ? vmm_inspect(qmp, ret_info, ret_error)
				: error_set(ret_error, -ESTALE, "another QEMU is at %s", monitor);
	qmp_close(qmp);
	return r;
}

/* Copy one block in parts, each through @room, which has space for CHUNK_PAGES pages. The block's
 * pages are contiguous in the copy's files, too. Reading and writing whole parts costs less than
 * touching each page of both mappings. */
static int copy_block(struct ramfile *rf, const struct guestmem *mem,
		      const struct vmm_block *block, uint8_t *room)
{
	int r = 0;

	for (uint32_t at = 0; r == 0 && at < block->n_pages; at += CHUNK_PAGES) {
		uint32_t left = block->n_pages - at;
		struct page_range range = {block->first_page + at,
					   left < CHUNK_PAGES ? left : CHUNK_PAGES};

		r = guestmem_read_once(mem, &range, 1, room);
		if (r == 0)
			r = ramfile_write(rf, range.first_page, range.n_pages, room);
		progress_add(rf->progress, (uint64_t)range.n_pages * WIRE_PAGE_SIZE);
	}
	return r;
}

static int copy_all(struct ramfile *rf, const struct vmm_info *info, struct error *ret_error)
{
	AUTO_FREE uint8_t *room = malloc(CHUNK_PAGES * WIRE_PAGE_SIZE);
	struct guestmem *mem;
	int r = room ? guestmem_open(info->pid, info->blocks, info->n_blocks, &mem, ret_error)
		     : error_set(ret_error, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	progress_begin(rf->progress, "took over", "of the fenced guest's RAM",
		       (uint64_t)info->n_pages * WIRE_PAGE_SIZE);
	for (uint32_t i = 0; r == 0 && i < info->n_blocks; i++)
		r = copy_block(rf, mem, &info->blocks[i], room);
	guestmem_close(mem);
	return r < 0 ? error_set(ret_error, r, "its memory cannot be copied: %s", strerror(-r)) : 0;
}

int inherit_guest(struct ramfile *rf, const char *monitor, pid_t pid, struct error *ret_error)
{
	AUTO_FREE struct vmm_info *info = calloc(1, sizeof(*info));
	AUTO_FREE struct wire_geometry *geometry = calloc(1, sizeof(*geometry));
	int r;

	if (!info || !geometry)
		return error_set(ret_error, -ENOMEM, "out of memory");
	r = look(monitor, pid, info, ret_error);
	if (r == 0)
		r = inherit_reserve(rf, info->ram_bytes, NULL, ret_error);
	if (r < 0)
		return r;
	qemu_describe(info, geometry);
	r = ramfile_layout(rf, geometry);
	if (r < 0)
		return error_set(ret_error, r, "the files of the copy in %s: %s", rf->dir,
				 strerror(-r));
	return copy_all(rf, info, ret_error);
}
