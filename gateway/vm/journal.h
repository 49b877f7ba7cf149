/* journal.h - the terms and roles of all VMs on disk: STATE_DIR/journal.
 *
 * Why: a restarted gateway must never hand out an old term, and must know who owns each guest.
 * Every change is durable before its effect (fsm.h, rule 2), so losing power loses at most a
 * decision that nobody was told of.
 *
 *	holdfast-journal 1
 *	web1 term=7 owner=alpha state=PROTECTED wall=1764000000000000000 sum=90f0c3a5d2e1b4f7
 *	      `- the last line of a VM counts; terms never go down ---'   XXH3-64 of what is before " sum="
 *
 * Damage: a cut last line is dropped with a warning (no newline, or NUL bytes: what power loss
 * leaves of an append whose fsync never returned). Any other unreadable line is kept as it is, in
 * its place: it may be the newest line of its VM, so that VM is in doubt (vm_journal_doubt()) until
 * a newer line of it follows. A line belongs to the VM it names, unless its checksum fits with
 * another VM's name; a line without a readable name may belong to any VM. A file that is no
 * journal, or has more than VM_JOURNAL_DAMAGED_MAX such lines, is refused with FILE:LINE: guessing
 * here could give a guest two owners.
 *
 * Where: fleet/fleet.c appends; main opens. STATE_DIR/lock is held while the journal is open,
 * so two gateways cannot share one directory. Threads: one at a time: main's, then
 * journal_thread.h's. append() blocks for at most two fsyncs.
 */
#ifndef VM_JOURNAL_H
#define VM_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vm/fsm.h"

#define VM_JOURNAL_BYTES_MAX   (1u << 20) /* a larger file is not ours */
#define VM_JOURNAL_VMS_MAX     256
#define VM_JOURNAL_LINES_MAX   512 /* appended lines after which the file is rewritten */
#define VM_JOURNAL_LINE_MAX    320
#define VM_JOURNAL_DAMAGED_MAX 16

struct vm_journal_entry {
	char vm[WIRE_NAME_MAX + 1];
	char owner[WIRE_NAME_MAX + 1];
	uint64_t term;
	uint64_t wall_ns;
	enum vm_state state;
	uint32_t line; /* its position among all lines */
};

/* A line that cannot be read. */
struct vm_journal_damage {
	char text[VM_JOURNAL_LINE_MAX + 1];
	const char *wrong; /* constant */
	uint32_t line;
};

struct vm_journal_table {
	uint32_t n_lines; /* all lines, numbered as in struct vm_journal_entry */
	size_t n_damaged;
	struct vm_journal_damage damaged[VM_JOURNAL_DAMAGED_MAX];
	size_t n;
	struct vm_journal_entry list[VM_JOURNAL_VMS_MAX];
};

struct vm_journal; /* opaque */

/* Parse a whole journal in memory. @name stands for the file in errors.
 * 0: *ret_table holds the last entry of each VM, *ret_torn says whether a cut last line was
 * dropped; -EINVAL: damage, *ret_error says where and what to do. */
int vm_journal_parse(const char *name, const char *text, size_t size,
		     struct vm_journal_table *ret_table, bool *ret_torn, struct error *ret_error)
	__attribute__((warn_unused_result));

/* May the newest line of @vm be an unreadable one? True: *ret_error says
 * which, and what to do. vm_journal_doubt() asks the same of an open journal. */
bool vm_journal_table_doubt(const struct vm_journal_table *table, const char *vm,
			    struct error *ret_error);
bool vm_journal_doubt(const struct vm_journal *journal, const char *vm, struct error *ret_error);

/* Write one line (with newline) for @entry. Returns its size; 0: @size is too small. */
size_t vm_journal_format(const struct vm_journal_entry *entry, char *text, size_t size);

/* Lock @dir (made if missing), read the journal, rewrite it compactly. Blocks,
 * allocates, logs a dropped line. 0: *ret_journal is the caller's; -EBUSY:
 * another gateway holds the lock; -EINVAL: damage; other -errno. On error
 * *ret_error says what is wrong and what to do. */
int vm_journal_open(const char *dir, struct vm_journal **ret_journal, struct error *ret_error)
	__attribute__((warn_unused_result));

/* NULL is fine. Returns NULL. */
struct vm_journal *vm_journal_close(struct vm_journal *journal);

/* The last entry of @vm, or NULL. Valid until the next append. */
const struct vm_journal_entry *vm_journal_find(const struct vm_journal *journal, const char *vm);

/* Make a new entry durable. 0: it is on disk; -ESTALE: the term is older than the last one (our
 * bug; nothing was written); -ENOSPC: VM_JOURNAL_VMS_MAX; -errno of writing: the old entry stands,
 * and a later append rewrites the whole file. */
int vm_journal_append(struct vm_journal *journal, const char *vm, const char *owner, uint64_t term,
		      enum vm_state state) __attribute__((warn_unused_result));

#endif
