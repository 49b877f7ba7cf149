/* blocks.h - reads some blocks of a disk's image and hashes them, on a thread of its own.
 *
 * Why: while the guest runs, the copy on the standby is compared with the disk (engine_verify.c). A
 * read can wait for the disk, but the engine's thread must not wait.
 *
 *      blocks_start() ──► [thread: read, hash] ──► blocks_are_done() ──► blocks_end()
 *
 * The image is read as a file, not through QEMU. This gives the guest's content only if the image
 * is raw and as large as the disk, which blocks_open() checks. The image must also be read in the
 * same way as QEMU writes it: through the page cache, or with O_DIRECT. If the guest writes a block
 * while the block is read, the read can return partly old and partly new bytes. The caller must not
 * use the hash of such a block.
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

#define BLOCKS_MAX   64u /* most blocks in one read; a uint64_t has a bit for each */
#define BLOCKS_BYTES 65536u
_Static_assert(BLOCKS_BYTES <= WIRE_DISK_HASHED_MAX, "a HASH record takes a block");

struct blocks;

/* Open the image of @disk, which QEMU (process @pid) has open.
 * Returns 0, and the caller must free *ret with blocks_free();
 * -ENOTSUP: the image cannot be read as a file; *ret_error says why;
 * -ENOMEM;
 * or -errno of open(). */
int blocks_open(pid_t pid, const struct vmm_disk *disk, struct blocks **ret,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Start to read blocks from block @first on: @n_max of them (at most BLOCKS_MAX), or fewer at the
 * disk's end. @first must be on the disk, and all earlier reads must have ended. Returns the number
 * of blocks; -EAGAIN: no read was started (there is no thread, or no random seed). */
int blocks_start(struct blocks *blocks, uint64_t first, uint32_t n_max)
	__attribute__((warn_unused_result));

/* true if blocks_end() would not wait */
bool blocks_are_done(const struct blocks *blocks);

/* Wait until the read has ended. Does nothing if none is running. */
void blocks_end(struct blocks *blocks);

/* Call this after blocks_end(). Returns the data of a HASH record for block @first + @i, and sets
 * *ret_bytes to the block's size. (@first: the argument of the last blocks_start().) Returns NULL
 * if the block could not be read. */
const uint8_t *blocks_hash(const struct blocks *blocks, uint32_t i, uint32_t *ret_bytes);

/* Call this after blocks_end(). Returns 0 if block @first + @i was read; -ENODATA: the image ends
 * before the block's end; or another -errno of pread(). */
int blocks_error(const struct blocks *blocks, uint32_t i);

/* Returns the content of the last block that was read: BLOCKS_BYTES, or fewer at the disk's end.
 * Valid until the next blocks_start(). */
const uint8_t *blocks_last(const struct blocks *blocks);

struct blocks *blocks_free(struct blocks *blocks); /* accepts NULL, returns NULL */

#endif
