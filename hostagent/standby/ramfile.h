/* ramfile.h - the copy of the guest: RAM, ROM blocks and device state, as files on tmpfs.
 *
 * Why: the warm QEMU maps `ram` as its guest memory. So applying an epoch means writing into a
 * file, and a promotion moves no pages. The files outlive the agent.
 *
 * Where: apply.c writes epochs into it, promote.c reads it, standby.c owns it.
 * Threads: one thread at a time. Nothing here blocks on anything but memory.
 *
 *	STATE_DIR/                                            page index (GEOMETRY order)
 *	  lock      flock: one agent per copy
 *	  meta      "term=7 applied=812 phase=copy"    [vote=direct]; atomic replace; what the copy is
 *	  geometry  the GEOMETRY payload                atomic replace; how to read `ram` and `rom`
 *	  ram       256 MiB, mapped shared ──────────►  0 .. 65535      block pc.ram
 *	  rom       256 KiB, mapped shared ──────────►  65536 .. 65599  block pc.bios, then other ROMs
 *	  device    79 KB, atomic replace ───────────►  (pieces of DEVICE records)
 *	  room      1 MiB of pages, for replacing meta and device on a full file system
 *	  epoch-N.part / epoch-N.complete / spare      see epochlog.h
 *
 * All pages of `ram` are reserved when it is made (fallocate): so a full tmpfs is an error then,
 * not a SIGBUS in the guest later.
 */
#ifndef STANDBY_RAMFILE_H
#define STANDBY_RAMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/msg.h"

struct progress;

enum ramfile_phase {
	RAMFILE_COPY	 = 0, /* a copy that epochs may change */
	RAMFILE_PROMOTED = 1, /* the term is taken, `cont` is about to be or was just given */
	RAMFILE_RUNNING	 = 2, /* the guest runs on `ram`: never write, never remove */
};

/* Whether a copy got its term by a vote of this host (peer/agree.h), not from the gateway. */
enum ramfile_vote {
	RAMFILE_VOTE_NONE	 = 0,
	RAMFILE_VOTE_UNPROTECTED = 1, /* the numbers are those of enum wire_claim_mode */
	RAMFILE_VOTE_DIRECT	 = 2,
};

/* The content of `meta`. */
struct ramfile_meta {
	uint64_t term;		/* newest term accepted */
	uint64_t applied_epoch; /* last one applied whole, of `term` while phase is COPY; 0: none */
	enum ramfile_phase phase;
	enum ramfile_vote vote;	/* of `term` */
};

struct ramfile {
	char dir[128];		/* STATE_DIR */
	int dir_fd;		/* STATE_DIR, open */
	int lock_fd;		/* holds the flock */
	struct ramfile_meta meta; /* as on disk */

	uint8_t *ram; /* ram_bytes, mapped shared; NULL until ramfile_reserve() */
	uint64_t ram_bytes;
	bool reserved; /* by this process; an earlier one may have died in the middle */

	/* Valid while has_geometry. */
	bool has_geometry;
	struct wire_geometry geometry; /* as on disk */
	uint64_t n_pages;	       /* of all blocks */
	uint8_t *rom;		       /* rom_bytes, mapped shared; NULL when rom_bytes is 0 */
	uint64_t rom_bytes;

	uint8_t *blob;	    /* WIRE_BLOB_MAX bytes of address space; zeros after blob_bytes */
	uint32_t blob_bytes; /* as in `device`; 0: none */

	struct progress *progress; /* reports long work; NULL: not wanted. Borrowed */

	/* Called before each change of a file, so that tests can stop there. NULL in production. */
	void (*step)(void *arg);
	void *step_arg;
};

/* Open or make the directory, take the lock, read meta, geometry and device. A directory in which
 * nothing was ever applied counts as empty.
 * 0: end *rf with ramfile_close(); -EBUSY: another agent holds it; -EBADMSG: meta, geometry or
 * device is not in our format; -ENAMETOOLONG; -ENOMEM; other -errno. */
int ramfile_open(const char *dir, struct ramfile *rf) __attribute__((warn_unused_result));

/* Unmap, unlock, close. The files stay. Accepts a struct that ramfile_open() failed on. */
void ramfile_close(struct ramfile *rf);

/* Make, reserve and map `ram` of @ram_bytes. An existing file of another size is made anew, which
 * drops the copy (phase COPY only). Idempotent.
 * 0; -ENOSPC: tmpfs or memory is full; -EBUSY: a guest runs on a file of another size; -errno. */
int ramfile_reserve(struct ramfile *rf, uint64_t ram_bytes) __attribute__((warn_unused_result));

/* Make `room`. Idempotent. 0; -ENOSPC; -errno. */
int ramfile_reserve_room(struct ramfile *rf) __attribute__((warn_unused_result));

/* Use @g as the copy's layout: write `geometry`, resize `rom`. No-op if it is the layout already.
 * 0; -EINVAL: not exactly one RAM block of the size reserved; -errno. */
int ramfile_layout(struct ramfile *rf, const struct wire_geometry *g)
	__attribute__((warn_unused_result));

/* The memory of page @index: WIRE_PAGE_SIZE bytes. NULL: @index is outside the layout. */
uint8_t *ramfile_page(struct ramfile *rf, uint64_t index);

/* Replace `device` by the first @size bytes of rf->blob; zeroes the rest of the blob. 0 or
 * -errno. */
int ramfile_store_blob(struct ramfile *rf, uint32_t size) __attribute__((warn_unused_result));

/* Replace `meta`. 0: rf->meta is @meta; -errno: rf->meta and the file are as before. */
int ramfile_store_meta(struct ramfile *rf, const struct ramfile_meta *meta)
	__attribute__((warn_unused_result));

/* Remove the copy's files, epochs too; meta keeps the term, so that a stale term is still refused.
 * 0; -EBUSY: a guest runs on it, nothing was removed; -errno. */
int ramfile_purge(struct ramfile *rf) __attribute__((warn_unused_result));

static inline void ramfile_step(struct ramfile *rf)
{
	if (__builtin_expect(rf->step != NULL, 0))
		rf->step(rf->step_arg);
}

#endif
