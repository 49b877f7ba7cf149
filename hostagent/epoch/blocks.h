/* blocks.h - reads some blocks of a disk's image and hashes them, on a thread of its own.
 *
 * Why: while the guest runs, the copy on the standby is compared with the disk (engine_verify.c). A
 * read can wait for the disk, but the engine's thread must not wait.
 *
 *      blocks_start() ──► [thread: read, hash] ──► blocks_are_done() ──► blocks_end()
 *
 * The image is read as a file, not through QEMU. This gives the guest's content only if the image
 * is raw and as large as the disk. It must also be read in the way in which QEMU writes it: through
 * the page cache, or with O_DIRECT. blocks_open() checks this. If the guest writes a block
 * meanwhile, the block can be read half old, half new. The caller must not use the hash of such a
 * block.
 *
 * Where: engine_verify.c. Threads: the calls for one object must be made one at a time.
 */
#ifndef EPOCH_BLOCKS_H
#define EPOCH_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "vmm/disks.h"
#include "wire/limits.h"

#define BLOCKS_MAX   64u /* blocks of one run; a bit set of them fits a uint64_t */
#define BLOCKS_BYTES 65536u
_Static_assert(BLOCKS_BYTES <= WIRE_DISK_HASHED_MAX, "a HASH record takes a block");

struct blocks;

/* Open the image of @disk, which QEMU (process @pid) has open. Returns 0; the caller must free *ret
 * with blocks_free(). Errors: -ENOTSUP if the image cannot be read as a file (*ret_error says why);
 * -ENOMEM; or -errno of open(). */
int blocks_open(pid_t pid, const struct vmm_disk *disk, struct blocks **ret,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Start to read up to @n_max (at most BLOCKS_MAX) blocks from block @first on. @first must be on
 * the disk, and all earlier reads must have ended. Returns the number of blocks, or -EAGAIN if no
 * thread could be started. */
int blocks_start(struct blocks *blocks, uint64_t first, uint32_t n_max)
	__attribute__((warn_unused_result));

bool blocks_are_done(const struct blocks *blocks); /* blocks_end() would not wait */

/* Wait for the end of the thread. Does nothing if none runs. */
void blocks_end(struct blocks *blocks);

/* Returns the data of a HASH record for block first + @i, and sets *ret_bytes to the block's size.
 * Returns NULL if the block could not be read. Call it after blocks_end(). */
const uint8_t *blocks_hash(const struct blocks *blocks, uint32_t i, uint32_t *ret_bytes);

/* Returns 0 if block first + @i was read; -ENODATA if the image ends before the block does; or
 * another -errno of pread(). Call it after blocks_end(). */
int blocks_error(const struct blocks *blocks, uint32_t i);

/* Returns the content of the last block that was read: BLOCKS_BYTES, or less at the disk's end.
 * Valid until the next blocks_start(). */
const uint8_t *blocks_last(const struct blocks *blocks);

struct blocks *blocks_free(struct blocks *blocks); /* accepts NULL, returns NULL */

#endif
