/* ramfile.h - stores the copy of the guest (all memory and device state) as files on tmpfs.
 *
 * Why: the warm QEMU maps the file `ram` as its guest memory. So applying an epoch means writing
 * into this file, and a promotion need not move any page of main memory. A promotion copies only
 * the pages of other blocks (firmware, video RAM), which are in the file `rom`. The files outlive
 * the agent.
 *
 * Where: apply.c writes epochs into it, promote.c reads it, standby.c owns it. Threads: one at a
 * time. No function here waits for I/O, except on tmpfs.
 *
 *	STATE_DIR/                                            page index (GEOMETRY order)
 *	  lock      flock: one agent per copy
 *        meta      "term=7 applied=812 phase=copy"    what the copy is, perhaps with "vote=direct"
 *	                                                or "disks=lost"; replaced atomically
 *        geometry  the GEOMETRY payload                layout of `ram`, `rom`; replaced atomically
 *	  ram       256 MiB, mapped shared ──────────►  0 .. 65535      block pc.ram
 *        rom       256 KiB, mapped shared ──────────►  65536 .. 65599  all other blocks, by name
 *	  device    79 KB, replaced atomically ──────►  (pieces of DEVICE records)
 *	  room      1 MiB of pages, for replacing meta and device on a full file system
 *	  epoch-N.part / epoch-N.complete / spare      see epochlog.h
 *
 * All pages of `ram` are reserved when the file is made (fallocate). So if tmpfs is full, this
 * fails. Without the reservation, QEMU would get a SIGBUS later.
 */
#ifndef STANDBY_RAMFILE_H
#define STANDBY_RAMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/msg.h"

struct progress;
struct touched;

enum ramfile_phase {
	RAMFILE_COPY	 = 0, /* a copy that epochs may change */
	RAMFILE_PROMOTED = 1, /* the term is recorded; `cont` follows, or was just given */
	/* the guest runs and uses `ram` as its RAM: never write or remove `ram` */
	RAMFILE_RUNNING	 = 2,
};

/* How the copy got its term. NONE: from the gateway. The others: this host voted that the primary
 * continues in this term (peer/agree.h). */
enum ramfile_vote {
	RAMFILE_VOTE_NONE	 = 0,
	RAMFILE_VOTE_UNPROTECTED = 1, /* same numbers as enum wire_claim_mode */
	RAMFILE_VOTE_DIRECT	 = 2,
};

/* The content of `meta`. */
struct ramfile_meta {
	uint64_t term;		/* the newest term accepted */
	/* Last epoch that was applied as a whole; 0: none. In phase COPY it is an epoch of
	 * `term` */
	uint64_t applied_epoch;
	enum ramfile_phase phase;
	enum ramfile_vote vote;	/* the kind of vote that led to `term` */
	/* True if writes to a disk image of this copy did not reach the disk. The copy can still be
	 * promoted if the page cache has these writes. A power failure loses them. */
	bool disks_lost;
};

struct ramfile {
	char dir[128];		/* path of STATE_DIR */
	int dir_fd;		/* open descriptor of STATE_DIR */
	int lock_fd;		/* descriptor of `lock`, which holds the flock */
	struct ramfile_meta meta; /* content of the file `meta` */

	/* shared mapping of the file `ram`, ram_bytes long; NULL: there is no such file yet */
	uint8_t *ram;
	uint64_t ram_bytes;
	/* this process has reserved all pages of `ram` (an earlier process may have died before it
	 * had done so) */
	bool reserved;

	/* Valid while has_geometry. */
	bool has_geometry;
	struct wire_geometry geometry; /* content of the file `geometry` */
	uint64_t n_pages;	       /* number of pages of all blocks together */
	/* shared mapping of the file `rom`, rom_bytes long; NULL if rom_bytes is 0 */
	uint8_t *rom;
	uint64_t rom_bytes;

	uint8_t *blob;      /* room for the largest blob (WIRE_BLOB_MAX); zeros after blob_bytes */
	uint32_t blob_bytes; /* size of the blob in `device`; 0: none */

	/* What the comparison with the primary's hashes found (compare.h). `checked` is for the
	 * epoch that was applied last; n_checked and n_differ are for all epochs. */
	struct wire_ram_checked checked;
	uint64_t n_checked, n_differ;

	/* flags of the pages that epochs write, for a drill; NULL: no drill. Borrowed */
	struct touched *touched;

	struct progress *progress; /* reports the progress of long work; NULL: not wanted.
				    * Borrowed */

	/* Tests only: called before each change of a file, so that a test can end the process
	 * there. NULL otherwise. */
	void (*step)(void *arg);
	void *step_arg;
};

/* Open or make the directory, take the lock, and read `meta`, `geometry` and `device`. Without
 * `meta`, no epoch counts as applied.
 * Returns 0 (free *rf with ramfile_close());
 * -EBUSY: another agent has the lock;
 * -EBADMSG: `meta`, `geometry` or `device` is not in our format;
 * -ENAMETOOLONG; -ENOMEM; other -errno. */
int ramfile_open(const char *dir, struct ramfile *rf) __attribute__((warn_unused_result));

/* Unmap, unlock, close. The files stay. Also accepts a struct for which ramfile_open() has
 * failed. */
void ramfile_close(struct ramfile *rf);

/* Make, reserve and map `ram` with @ram_bytes. If `ram` exists with another size, replace it and
 * drop the copy (only in phase COPY). Idempotent. Returns 0;
 * -ENOSPC: tmpfs or memory is full;
 * -EBUSY: a guest runs on a file of another size;
 * other -errno. */
int ramfile_reserve(struct ramfile *rf, uint64_t ram_bytes) __attribute__((warn_unused_result));

/* Make `room`. Idempotent. Returns 0, -ENOSPC or -errno. */
int ramfile_reserve_room(struct ramfile *rf) __attribute__((warn_unused_result));

/* Make @g the copy's layout: write `geometry`, resize `rom`. Does nothing if @g is the layout
 * already. Returns 0;
 * -EINVAL: @g does not have exactly one RAM block, or the block's size is not the reserved size;
 * other -errno. */
int ramfile_layout(struct ramfile *rf, const struct wire_geometry *g)
	__attribute__((warn_unused_result));

/* Returns true if there is a layout, and its blocks are those of @g. */
bool ramfile_has_layout(const struct ramfile *rf, const struct wire_geometry *g);

/* Returns the memory of page @index, WIRE_PAGE_SIZE bytes. Returns NULL if @index is outside the
 * layout. */
uint8_t *ramfile_page(struct ramfile *rf, uint64_t index);

/* Reads pages one after the other without touching the mapping (see ramfile_read()). Set `rf` and
 * `end`, and zero all other members. */
#define RAMFILE_READER_PAGES 32u
struct ramfile_reader {
	struct ramfile *rf;
	uint64_t end;	/* the first page that is not wanted */
	uint64_t first; /* the page at the beginning of `room` */
	uint32_t n;	/* pages in `room` */
	uint8_t room[RAMFILE_READER_PAGES * WIRE_PAGE_SIZE];
};

/* Returns the page with the number @index, valid until the next call; NULL if @index is not below
 * `end`, or the page cannot be read. */
const uint8_t *ramfile_reader_page(struct ramfile_reader *reader, uint64_t index);

/* Read @n_pages pages, from page @index on. Main memory is read from the file `ram`, not from the
 * mapping, because the first access to each page of the mapping costs a fault. Returns 0;
 * -EINVAL: a page is outside the layout, or there is no `ram`;
 * -EIO: `ram` is shorter than the layout says;
 * other -errno. */
int ramfile_read(struct ramfile *rf, uint64_t index, uint32_t n_pages, uint8_t *ret_pages)
	__attribute__((warn_unused_result));
/* Write @n_pages pages, from page @index on. Main memory is written to the file `ram`, not to the
 * mapping (see ramfile_read()). Returns 0 or an error of ramfile_read(). */
int ramfile_write(struct ramfile *rf, uint64_t index, uint32_t n_pages, const uint8_t *pages)
	__attribute__((warn_unused_result));

/* Store the first @size bytes of rf->blob as `device`, and zero the rest of the blob. Returns 0 or
 * -errno. */
int ramfile_store_blob(struct ramfile *rf, uint32_t size) __attribute__((warn_unused_result));

/* Replace `meta`. Returns 0, and rf->meta equals @meta; or -errno, and both rf->meta and the file
 * are as before. */
int ramfile_store_meta(struct ramfile *rf, const struct ramfile_meta *meta)
	__attribute__((warn_unused_result));

/* Remove the copy's files and the stored epochs. `meta` stays and keeps the term and the vote: an
 * older term must still be refused, and the primary counts on the vote. Returns 0;
 * -EBUSY: a guest runs on the copy; nothing was removed;
 * other -errno: some files may be left, but they do not count as a copy. */
int ramfile_purge(struct ramfile *rf) __attribute__((warn_unused_result));

static inline void ramfile_step(struct ramfile *rf)
{
	if (__builtin_expect(rf->step != NULL, 0))
		rf->step(rf->step_arg);
}

#endif
