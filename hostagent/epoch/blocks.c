#include "epoch/blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/msg.h"

#define DIRECT_ALIGN 4096u /* alignment of buffers for reads with O_DIRECT */

struct blocks {
	int fd;
	uint64_t disk_bytes;

	/* blocks_start() sets these members. After that only the thread uses them, until it sets
	 * is_done. */
	bool is_running;
	pthread_t thread;
	uint64_t first, seed;
	uint32_t n;
	uint8_t *buffer; /* BLOCKS_BYTES bytes, aligned */
	uint8_t hash[BLOCKS_MAX][WIRE_DISK_HASH_SIZE];
	int error[BLOCKS_MAX]; /* 0: the block was read; or a negative errno */
	_Atomic bool is_done;
};

static uint32_t block_bytes(const struct blocks *blocks, uint32_t i)
{
	uint64_t left = blocks->disk_bytes - (blocks->first + i) * BLOCKS_BYTES;

	return left < BLOCKS_BYTES ? (uint32_t)left : BLOCKS_BYTES;
}

/* ---- open */

static int image_bytes(int fd, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret_bytes) < 0)
		return -errno;
	return 0;
}

static int refuse(const struct vmm_disk *disk, const char *why, struct error *ret_error)
{
	return error_set(ret_error, -ENOTSUP, "disk %s is not verified: %s", disk->name, why);
}

static int open_file(pid_t pid, const struct vmm_disk *disk, int *ret_fd, struct error *ret_error)
{
	char path[64];
	uint64_t bytes = 0;
	int fd;

	if (strcmp(disk->format, "raw") != 0)
		return refuse(disk, "its image is not raw, so only QEMU can read it", ret_error);
	fd = vmm_disk_open_image(pid, disk, ret_error);
	if (fd < 0)
		return fd;
	if (image_bytes(fd, &bytes) < 0 || bytes != disk->size_bytes) {
		fd_close(fd);
		return refuse(disk, "its image has another size than the disk", ret_error);
	}
	*ret_fd = fd;
	if (!disk->is_direct)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*ret_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	fd_close(fd);
	return *ret_fd < 0 ? refuse(disk, strerror(errno), ret_error) : 0;
}

int blocks_open(pid_t pid, const struct vmm_disk *disk, struct blocks **ret,
		struct error *ret_error)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));
	int r;

	if (!blocks)
		return error_set(ret_error, -ENOMEM, "no memory");
	blocks->fd = -1;
	blocks->disk_bytes = disk->size_bytes;
	blocks->buffer = aligned_alloc(DIRECT_ALIGN, BLOCKS_BYTES);
	r = blocks->buffer ? open_file(pid, disk, &blocks->fd, ret_error)
			   : error_set(ret_error, -ENOMEM, "no memory");
	if (r < 0) {
		blocks_free(blocks);
		return r;
	}
	*ret = blocks;
	return 0;
}

/* ---- read */

/* Read block blocks->first + @i into the buffer. Asks for a whole block even at the end of the
 * disk, because O_DIRECT allows only whole sectors. Returns 0; -ENODATA: the image ends before the
 * block's end; or another -errno. */
static int read_block(struct blocks *blocks, uint32_t i)
{
	uint64_t offset = (blocks->first + i) * BLOCKS_BYTES;
	ssize_t n;

	do {
		n = pread(blocks->fd, blocks->buffer, BLOCKS_BYTES, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n >= (ssize_t)block_bytes(blocks, i) ? 0 : -ENODATA;
}

static void *read_all(void *arg)
{
	struct blocks *blocks = arg;

	for (uint32_t i = 0; i < blocks->n; i++) {
		blocks->error[i] = read_block(blocks, i);
		if (blocks->error[i] == 0)
			wire_disk_hash(blocks->seed, blocks->buffer, block_bytes(blocks, i),
				       blocks->hash[i]);
	}
	atomic_store(&blocks->is_done, true);
	return NULL;
}

int blocks_start(struct blocks *blocks, uint64_t first, uint32_t n_max)
{
	uint64_t all = (blocks->disk_bytes + BLOCKS_BYTES - 1) / BLOCKS_BYTES;

	blocks->first = first;
	blocks->n = all - first < n_max ? (uint32_t)(all - first) : n_max;
	if (getrandom(&blocks->seed, sizeof(blocks->seed), 0) != (ssize_t)sizeof(blocks->seed))
		return -EAGAIN;
	atomic_store(&blocks->is_done, false);
	if (pthread_create(&blocks->thread, NULL, read_all, blocks) != 0)
		return -EAGAIN;
	blocks->is_running = true;
	return (int)blocks->n;
}

bool blocks_are_done(const struct blocks *blocks)
{
	return !blocks->is_running || atomic_load(&blocks->is_done);
}

void blocks_end(struct blocks *blocks)
{
	if (!blocks->is_running)
		return;
	(void)pthread_join(blocks->thread, NULL); /* fails on bad arguments only */
	blocks->is_running = false;
}

const uint8_t *blocks_hash(const struct blocks *blocks, uint32_t i, uint32_t *ret_bytes)
{
	*ret_bytes = block_bytes(blocks, i);
	return blocks->error[i] == 0 ? blocks->hash[i] : NULL;
}

int blocks_error(const struct blocks *blocks, uint32_t i)
{
	return blocks->error[i];
}

const uint8_t *blocks_last(const struct blocks *blocks)
{
	return blocks->buffer;
}

struct blocks *blocks_free(struct blocks *blocks)
{
	if (!blocks)
		return NULL;
	blocks_end(blocks);
	fd_close(blocks->fd);
	free(blocks->buffer);
	free(blocks);
	return NULL;
}
