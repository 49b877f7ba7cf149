/* power_record.h - records every write and flush of the files on a disk, in order. From this record
 * it makes the files that a power failure would leave at any moment. For tests of the standby's
 * disk log. dm-log-writes does the same, but needs a device mapper and root.
 *
 * A program that links power_record.c uses the pwrite(), pwritev(), write(), fallocate(), fsync(),
 * fdatasync(), rename() and sync_file_range() of power_record.c instead of libc's. They do what
 * libc's functions do, except that sync_file_range() does nothing. Between power_start() and
 * power_stop() they also record each change of a file on the disk. A file is on the disk if its
 * name begins with "log" or ends with ".raw" (power_is_on_disk()). Every other file is in memory,
 * and a power failure removes it.
 *
 *	power_start ─ the program writes, power_mark() ─ power_stop
 *	power_rewind ─ { power_advance ─ { power_leave }* }*    at each moment, several outcomes
 *
 * What is on the disk at a moment:
 * - Each sector that has been flushed since it was last written.
 * - Of the sectors written since the last flush of their file: none, all or a random choice. Such a
 *   sector can also be torn: its first bytes are new, and the others are old.
 * - After a flush that failed: of the sectors that it should have written, only a random choice.
 *   The kernel drops the others, and later flushes succeed without them.
 * - A file's name as it was at the last flush of its directory, or at a random later moment.
 *
 * Threads: one. A failure fails the running test.
 */
#ifndef TESTS_POWER_RECORD_H
#define TESTS_POWER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define POWER_SECTOR	512u
#define POWER_FILES_MAX 8u

enum power_op_kind {
	POWER_WRITE,	    /* sectors get new content (a write, or zeroes) */
	POWER_FLUSH,	    /* of one file */
	POWER_FLUSH_FAILED, /* of one file */
	POWER_NAME,	    /* a file gets a new name: it is created or renamed */
	POWER_FLUSH_NAMES,  /* of all names: fsync() of the directory */
	POWER_MARK,	    /* made by power_mark() */
};

struct power_op {
	enum power_op_kind kind;
	unsigned file;
	uint32_t sector, n_sectors; /* WRITE: the sectors written */
	uint8_t *data;		    /* WRITE: all bytes of these sectors, after the write */
	char name[16];		    /* NAME: the new name */
	int mark;		    /* MARK: see power_mark() */
	uint64_t value;		    /* MARK: see power_mark() */
};

struct power_file {
	ino_t inode;
	char name[16];      /* the current name */
	/* the name on the disk; "": the file has no name there */
	char disk_name[16];
	uint8_t *now, *disk; /* current content; what is surely on the disk */
	uint8_t *left;             /* content that a power failure leaves: for power_leave() only */
	size_t now_size, disk_size;
	size_t room;	/* bytes allocated for each of now, disk and left */
	size_t flushed; /* index of the first op that no flush of this file covers */
};

struct power {
	struct power_file files[POWER_FILES_MAX];
	unsigned n_files;
	struct power_op *ops;
	size_t n_ops, room;
	/* ops of the file power_fault.late, until power_release_late() records them in `ops` */
	struct power_op *late;
	size_t n_late, late_room;
	size_t at;	/* number of ops that power_advance() has let happen */
	size_t named;	/* index of the first op that no POWER_FLUSH_NAMES covers */
	uint32_t seed;	/* for all random choices */
};

/* What goes wrong in the recorded program. `name` is a file's name. */
struct power_fault {
	/* Mistakes that the standby could make. Tests show with them that the lab finds such
	 * mistakes. NULL: no mistake. */
	const char *no_flush; /* flushes of this file do nothing */
	const char *late;     /* changes of this file happen only in power_release_late() */

	/* One call for the file `fail` fails with the error fail_errno: the call number fail_nth
	 * (the first is 1) of the kind fail_kind (POWER_WRITE or POWER_FLUSH). If fail_errno is 0,
	 * the call instead writes about half of its bytes, and returns their number. `fail` is
	 * NULL: no call fails. */
	const char *fail;
	enum power_op_kind fail_kind;
	unsigned fail_nth;
	int fail_errno;
	unsigned n_calls; /* matching calls so far, even if none of them fails */

	bool cannot_zero; /* fallocate() fails with EOPNOTSUPP */
};
extern struct power_fault power_fault;

/* Returns true if the file is on a disk, false if it is in memory. */
bool power_is_on_disk(const char *name);

/* Begin to record into @power, which the caller must have zeroed. The record begins with ops that
 * make all files of @dir that are on the disk, with their present content. */
void power_start(struct power *power, const char *dir, uint32_t seed);
void power_mark(struct power *power, int mark, uint64_t value);
void power_release_late(struct power *power);
void power_stop(struct power *power);
void power_done(struct power *power); /* frees what power_start() and later calls have allocated */

/* Return a random number from 0 to @n - 1. */
uint32_t power_roll(struct power *power, uint32_t n);

/* Go back to the beginning of the record. There are no files at that moment: the first ops make
 * them as they were at power_start(). */
void power_rewind(struct power *power);
/* Let the next op happen, and return it. There must be a next op (power->at < power->n_ops). */
const struct power_op *power_advance(struct power *power);

/* What becomes of writes that no flush has covered. */
enum power_choice {
	POWER_NONE,   /* these writes are lost */
	POWER_ALL,    /* these writes are on the disk */
	POWER_RANDOM, /* some sectors are on the disk */
	POWER_TORN,   /* like POWER_RANDOM, and some sectors are torn */
	POWER_CHOICES,
};

/* Write the files to @dir as a power failure at the record's present position would leave them.
 * @dir must have no subdirectories. */
void power_leave(struct power *power, enum power_choice choice, const char *dir);

#endif
