#include "vmm/guestmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/error.h"

/* Maximum number of pieces per call, and of bytes per piece. These limits keep a call far below the
 * kernel's limit of 2 GiB. */
#define PIECES_MAX	512u
#define PIECE_BYTES_MAX ((size_t)1 << 20)
static_assert(PIECES_MAX <= IOV_MAX, "the kernel takes no more");

struct guestmem {
	pid_t pid;
	struct vmm_block blocks[VMM_BLOCKS_MAX];
	const uint8_t *mapped[VMM_BLOCKS_MAX]; /* our mapping of each block, or NULL */
	/* for each mapped block: the descriptor of its file, and the block's offset in that file */
	int file[VMM_BLOCKS_MAX];
	uint64_t file_at[VMM_BLOCKS_MAX];
	uint32_t n_blocks;
};

/* One line of /proc/PID/maps. */
struct mapping {
	uint64_t start, end, offset, inode;
	unsigned int device_major, device_minor;
	bool is_shared;
};

/* A function that transfers memory: process_vm_readv or process_vm_writev, which have the same
 * signature. */
typedef ssize_t (*transfer_fn)(pid_t pid, const struct iovec *local, unsigned long n_local,
			       const struct iovec *remote, unsigned long n_remote,
			       unsigned long flags);

static bool parse_mapping(const char *line, struct mapping *ret)
{
	char permissions[5];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &ret->start,
		   &ret->end, permissions, &ret->offset, &ret->device_major, &ret->device_minor,
		   &ret->inode) != 7)
		return false;
	ret->is_shared = permissions[3] == 's';
	return true;
}

/* Check whether @block is one contiguous part of a shared file, in one or more mappings. Returns 1
 * if it is, and *ret_first is the first of these mappings; 0 if it is not;
 * -EINVAL: part of the block is not mapped at all. */
static int find_file(FILE *maps, const struct vmm_block *block, struct mapping *ret_first)
{
	AUTO_FREE char *line = NULL;
	size_t capacity = 0;
	uint64_t at = block->hva, end = block->hva + block->size_bytes;
	struct mapping m, first = {0};
	bool is_one_file = true;

	rewind(maps);
	while (at < end && getline(&line, &capacity, maps) > 0) {
		if (!parse_mapping(line, &m) || m.end <= at)
			continue;
		if (m.start > at)
			return -EINVAL;
		if (at == block->hva)
			first = m;
		if (!m.is_shared || m.inode == 0 || m.inode != first.inode ||
		    m.device_major != first.device_major || m.device_minor != first.device_minor ||
		    m.offset - first.offset != m.start - first.start)
			is_one_file = false;
		at = m.end;
	}
	if (at < end)
		return -EINVAL;
	*ret_first = first;
	return is_one_file;
}

/* Map the file behind block @i into this process, and keep its descriptor. If this is not possible,
 * process_vm_readv reads the block. */
static void map_file(struct guestmem *mem, uint32_t i, const struct mapping *m)
{
	const struct vmm_block *block = &mem->blocks[i];
	uint64_t offset = m->offset + (block->hva - m->start);
	char path[96];
	struct stat st;
	void *at;

	(void)snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, mem->pid,
		       m->start, m->end);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Check the file's size: reading a mapping past the end of its file causes a SIGBUS. */
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < offset + block->size_bytes)
		return;
	at = mmap(NULL, block->size_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	if (at == MAP_FAILED)
		return;
	mem->mapped[i] = at;
	mem->file[i] = fd;
	mem->file_at[i] = offset;
	fd = -1;
}

static int map_blocks(struct guestmem *m, struct error *ret_error)
{
	char path[64];
	FILE *maps;
	int r = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", m->pid);
	maps = fopen(path, "re");
	if (!maps)
		return error_set(ret_error, errno == ENOENT ? -ESRCH : -errno, "%s: %m", path);
	for (uint32_t i = 0; i < m->n_blocks && r >= 0; i++) {
		struct mapping first;

		r = find_file(maps, &m->blocks[i], &first);
		if (r > 0)
			map_file(m, i, &first);
		else if (r < 0)
			(void)error_set(
				ret_error, r,
				"memory block %s is not mapped in process %d: is this the right"
				" QEMU?",
				m->blocks[i].name, m->pid);
	}
	(void)fclose(maps);
	return r < 0 ? r : 0;
}

/* Test whether we may read the process's memory. An error must show now, not at the first epoch. */
static int try_read(const struct guestmem *m, struct error *ret_error)
{
	struct page_range first = {m->blocks[0].first_page, 1};
	uint8_t page[VMM_PAGE_BYTES];
	int r = guestmem_read(m, &first, 1, page);

	if (r < 0)
		return error_set(ret_error, r,
				 "cannot read the memory of process %d: %s (run the agent"
				 " as root or with CAP_SYS_PTRACE)",
				 m->pid, strerror(-r));
	return 0;
}

int guestmem_open(pid_t pid, const struct vmm_block *blocks, uint32_t n_blocks,
		  struct guestmem **ret_mem, struct error *ret_error)
{
	struct guestmem *m;
	int r;

	if (n_blocks == 0 || n_blocks > VMM_BLOCKS_MAX)
		return error_set(ret_error, -EINVAL, "%u memory blocks: 1 to %u can be read",
				 n_blocks, VMM_BLOCKS_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return error_set(ret_error, -ENOMEM, "out of memory");
	m->pid = pid;
	m->n_blocks = n_blocks;
	memcpy(m->blocks, blocks, n_blocks * sizeof(*blocks));
	for (uint32_t i = 0; i < n_blocks; i++)
		m->file[i] = -1;
	r = map_blocks(m, ret_error);
	if (r == 0)
		r = try_read(m, ret_error);
	if (r < 0) {
		guestmem_close(m);
		return r;
	}
	*ret_mem = m;
	return 0;
}

struct guestmem *guestmem_close(struct guestmem *m)
{
	if (!m)
		return NULL;
	for (uint32_t i = 0; i < m->n_blocks; i++) {
		if (m->mapped[i])
			(void)munmap((void *)(uintptr_t)m->mapped[i], m->blocks[i].size_bytes);
		fd_close(m->file[i]);
	}
	free(m);
	return NULL;
}

bool guestmem_is_mapped(const struct guestmem *m, uint32_t index)
{
	return index < m->n_blocks && m->mapped[index];
}

/* Returns the index of the block that holds all of @range, or -EINVAL. */
static int find_block(const struct guestmem *m, const struct page_range *range)
{
	for (uint32_t i = 0; i < m->n_blocks; i++) {
		const struct vmm_block *b = &m->blocks[i];

		if (range->first_page < b->first_page ||
		    range->first_page - b->first_page >= b->n_pages)
			continue;
		if (range->n_pages > b->n_pages - (range->first_page - b->first_page))
			return -EINVAL;
		return (int)i;
	}
	return -EINVAL;
}

/* Transfer all pieces. One call can transfer only some of them. So repeat the call until all are
 * transferred, or a call transfers nothing. */
static int transfer_pieces(pid_t pid, transfer_fn transfer, uint8_t *local_at, struct iovec *pieces,
			   unsigned long n_pieces, size_t size)
{
	while (size > 0) {
		struct iovec local = {local_at, size};
		ssize_t n = transfer(pid, &local, 1, pieces, n_pieces, 0);

		if (n < 0)
			return -errno;
		if (n == 0)
			return -EFAULT;
		local_at += n;
		size -= (size_t)n;
		while (n_pieces > 0 && (size_t)n >= pieces->iov_len) {
			n -= (ssize_t)pieces->iov_len;
			pieces++;
			n_pieces--;
		}
		if (n_pieces > 0) {
			pieces->iov_base = (uint8_t *)pieces->iov_base + n;
			pieces->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* Pieces that are collected until there are enough for one call. */
struct batch {
	const struct guestmem *mem;
	transfer_fn transfer;
	struct iovec pieces[PIECES_MAX];
	unsigned long n_pieces;
	uint8_t *at; /* local memory for the first piece */
	size_t size; /* bytes in all pieces together */
};

static int flush(struct batch *b)
{
	int r = 0;

	if (b->n_pieces > 0)
		r = transfer_pieces(b->mem->pid, b->transfer, b->at, b->pieces, b->n_pieces,
				    b->size);
	b->n_pieces = 0;
	b->at += b->size;
	b->size = 0;
	return r;
}

static int add(struct batch *b, uint64_t address, size_t size)
{
	while (size > 0) {
		size_t piece = size < PIECE_BYTES_MAX ? size : PIECE_BYTES_MAX;
		int r = b->n_pieces == PIECES_MAX ? flush(b) : 0;

		if (r < 0)
			return r;
		b->pieces[b->n_pieces++] = (struct iovec){(void *)(uintptr_t)address, piece};
		b->size += piece;
		address += piece;
		size -= piece;
	}
	return 0;
}

/* Transfer the pages of @ranges. If @may_map, copy the pages of mapped blocks from our mapping;
 * else use @transfer for all of them. */
static int transfer_ranges(const struct guestmem *m, const struct page_range *ranges,
			   uint32_t n_ranges, uint8_t *pages, transfer_fn transfer, bool may_map)
{
	struct batch b = {.mem = m, .transfer = transfer, .at = pages};

	for (uint32_t i = 0; i < n_ranges; i++) {
		int index = find_block(m, &ranges[i]), r;
		size_t size = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;
		uint64_t offset;

		if (index < 0)
			return index;
		offset = (uint64_t)(ranges[i].first_page - m->blocks[index].first_page) *
			 VMM_PAGE_BYTES;
		if (may_map && m->mapped[index]) {
			r = flush(&b);
			memcpy(b.at, m->mapped[index] + offset, size);
			b.at += size;
		} else {
			r = add(&b, m->blocks[index].hva + offset, size);
		}
		if (r < 0)
			return r;
	}
	return flush(&b);
}

int guestmem_read(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		  uint8_t *ret_pages)
{
	return transfer_ranges(m, ranges, n_ranges, ret_pages, process_vm_readv, true);
}

int guestmem_read_through(const struct guestmem *m, const struct page_range *ranges,
			  uint32_t n_ranges, uint8_t *ret_pages)
{
	return transfer_ranges(m, ranges, n_ranges, ret_pages, process_vm_readv, false);
}

int guestmem_read_once(const struct guestmem *m, const struct page_range *ranges,
		       uint32_t n_ranges, uint8_t *ret_pages)
{
	for (uint32_t i = 0; i < n_ranges; i++) {
		int index = find_block(m, &ranges[i]), r;
		size_t size = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;
		uint64_t page;

		if (index < 0)
			return index;
		page = ranges[i].first_page - m->blocks[index].first_page;
		if (m->file[index] < 0 ||
		    fd_read_at(m->file[index], ret_pages, size,
			       m->file_at[index] + page * VMM_PAGE_BYTES) < 0) {
			r = guestmem_read(m, &ranges[i], 1, ret_pages);
			if (r < 0)
				return r;
		}
		ret_pages += size;
	}
	return 0;
}

int guestmem_write(const struct guestmem *m, const struct page_range *ranges, uint32_t n_ranges,
		   const uint8_t *pages)
{
	/* The cast is safe: process_vm_writev takes a non-const iovec, but only reads @pages. */
	return transfer_ranges(m, ranges, n_ranges, (uint8_t *)(uintptr_t)pages,
			       process_vm_writev, false);
}
