/* journal.h - stores the terms, owners and states of all VMs on disk, in STATE_DIR/journal.
 *
 * A restarted gateway must never use an old term again, and must know who owns each guest. Every
 * change is durable before it has an effect (fsm.h, rule 2). So a power loss can lose only a
 * decision that had no effect yet.
 *
 *	holdfast-journal 1
 *	web1 term=7 owner=alpha state=PROTECTED wall=1764000000000000000 sum=90f0c3a5d2e1b4f7
 *	db term=3 owner=beta state=UNPROTECTED wall=1764000000000000000 want=protect sum=...
 *	mx term=5 owner=alpha state=PROTECTED wall=1764000000000000000 with=gamma sum=...
 *
 * `want=protect` says that the gateway protects the VM again by itself (is_wanted of struct
 * vm_record). `with=` names the host that has a seat beside the owner (fsm.h, rule 7). Only lines
 * of VMs with a spare have this word. A gateway of an older version, which knows no
 * seats, cannot read such a line, so there the VM is in doubt.
 * The last line of each VM counts. The term of a VM never goes down from line to line. `sum` is the
 * XXH3-64 of the line's text before " sum=".
 *
 * Damage: an incomplete last line (no newline, or NUL bytes) is dropped with a warning. A power
 * loss during an append leaves such a line. Any other unreadable line is kept in its place, but
 * unprintable bytes become '?' and a very long line is cut.
 *
 * An unreadable line can be the newest line of its VM. So its VM is in doubt
 * (vm_journal_table_doubt()) until a newer line about the VM follows. These VMs are in doubt:
 * - the VM that the line names
 * - each VM whose name would make the line's checksum right, because the name can be damaged
 * - all VMs, if the line has no readable name
 *
 * A file is refused if it is no journal, or if it has more than VM_JOURNAL_DAMAGED_MAX unreadable
 * lines. The error then names FILE:LINE.
 *
 * Where: main opens the journal; journal_thread.c appends for fleet/. STATE_DIR/lock is held while
 * the journal is open, so two gateways cannot share one directory. Threads: the main thread until
 * the loop runs, then only the thread of journal_thread.h. vm_journal_append() blocks for at most
 * two fsyncs.
 */
#ifndef VM_JOURNAL_H
#define VM_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/fsm.h"

#define VM_JOURNAL_BYTES_MAX   (1u << 20) /* a larger file cannot be our journal */
#define VM_JOURNAL_VMS_MAX     256
#define VM_JOURNAL_LINES_MAX   512 /* rewrite the file after this many appended lines */
#define VM_JOURNAL_LINE_MAX    320
#define VM_JOURNAL_DAMAGED_MAX 16

struct vm_journal_entry {
	char vm[WIRE_NAME_MAX + 1];
	char owner[WIRE_NAME_MAX + 1];
	uint64_t term;
	uint64_t wall_ns;
	enum vm_state state;
	bool is_wanted; /* see struct vm_record */
	/* the host that has a seat beside the owner; "": the line does not name it */
	char with[WIRE_NAME_MAX + 1];
	uint32_t line; /* the line's number in the file, not counting the header */
};

/* An unreadable line. */
struct vm_journal_damage {
	char text[VM_JOURNAL_LINE_MAX + 1];
	const char *wrong; /* what is wrong with the line; a constant string */
	uint32_t line;
};

struct vm_journal_table {
	uint32_t n_lines; /* number of all lines, including the unreadable ones */
	size_t n_damaged;
	struct vm_journal_damage damaged[VM_JOURNAL_DAMAGED_MAX];
	size_t n;
	struct vm_journal_entry list[VM_JOURNAL_VMS_MAX];
};

struct vm_journal; /* opaque */

/* Parse a whole journal in memory. @name is the file's name, for errors. Sets *ret_table to the
 * last entry of each VM and the unreadable lines. Sets *ret_torn to true if an incomplete last line
 * was dropped. Returns 0, or
 *      -ENOMEM  memory is short
 *      -EINVAL  @text is no journal, or has too many unreadable lines; *ret_error says where the
 *               damage is and what to do */
int vm_journal_parse(const char *name, const char *text, size_t size,
		     struct vm_journal_table *ret_table, bool *ret_torn, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Can an unreadable line be the newest line of @vm? If so, returns true, and *ret_error has the
 * line's text and says what to do. */
bool vm_journal_table_doubt(const struct vm_journal_table *table, const char *vm,
			    struct error *ret_error);

/* Write the line for @entry, with its newline, to @text. Returns the line's size, or 0 if @size is
 * too small. */
size_t vm_journal_format(const struct vm_journal_entry *entry, char *text, size_t size);

/* Lock @dir (created if missing) and read the journal. Then rewrite the journal: only the last line
 * of each VM and the unreadable lines remain. Blocks, allocates, and logs a dropped line. Returns 0
 * and sets *ret_journal, which the caller then owns. On failure, sets *ret_error to what is wrong
 * and what to do, and returns
 *      -EBUSY   another gateway has the lock
 *      -EINVAL  vm_journal_parse() refuses the journal
 *      another -errno of the system calls */
int vm_journal_open(const char *dir, struct vm_journal **ret_journal, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Close the journal and release its lock. NULL is fine. Returns NULL. */
struct vm_journal *vm_journal_close(struct vm_journal *journal);

/* Returns the table of the open journal. Valid until the next append. */
const struct vm_journal_table *vm_journal_get_table(const struct vm_journal *journal);

/* Read the journal of @dir without the lock. A gateway may be appending to the journal meanwhile:
 * an incomplete last line is dropped. Returns 0, also if there is no journal. On error, returns the
 * same -errno as vm_journal_open(), and sets *ret_error. */
int vm_journal_read(const char *dir, struct vm_journal_table *ret_table, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns the last entry of @vm, or NULL. */
const struct vm_journal_entry *vm_journal_table_find(const struct vm_journal_table *table,
						     const char *vm);

/* Add an entry and make it durable. @with is "" for a VM without a spare. Returns 0: the entry is
 * on disk. Errors:
 *      -ESTALE         @term is older than the VM's last term (a bug in the caller)
 *      -ENOSPC         there are VM_JOURNAL_VMS_MAX VMs already
 *      another -errno  writing failed; the next append rewrites the whole file
 * On error the VM's old entry remains. */
int vm_journal_append(struct vm_journal *journal, const char *vm, const char *owner, uint64_t term,
		      enum vm_state state, bool is_wanted, const char *with)
	__attribute__((warn_unused_result));

#endif
