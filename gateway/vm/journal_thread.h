/* journal_thread.h - writes the journal and other small records on a separate thread.
 *
 * A disk can stall for seconds. The loop must give leases during that time, so it must not wait in
 * fsync.
 *
 *	loop:   append(ticket) ───► queue ───► thread: vm_journal_append() (write, fdatasync)
 *	loop:   take(ticket, result) ◄── eventfd ◄── done
 *
 * A "ticket" is the number under which a record is queued: a VM's index, or one of the tickets
 * below. Each ticket can have one unfinished record.
 *
 * Where: main starts the thread after vm_journal_open() and before the loop. fleet/ appends records
 * and takes their results. While this thread exists, only this thread uses the journal.
 * Threads: call all functions from the loop's thread. Only open and close block.
 */
#ifndef VM_JOURNAL_THREAD_H
#define VM_JOURNAL_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/incarnation.h"
#include "vm/journal.h"

#define JOURNAL_THREAD_INCARNATION VM_JOURNAL_VMS_MAX /* ticket for recording the incarnation */
#define JOURNAL_THREAD_DRAINED (VM_JOURNAL_VMS_MAX + 1) /* ticket for the file of drains */
#define JOURNAL_THREAD_TRIAL (VM_JOURNAL_VMS_MAX + 2)	/* ticket for a trial of the disk */

struct journal_thread; /* opaque */

/* Start the thread, which writes @journal (borrowed). Returns 0 and sets *ret_thread, which the
 * caller then owns. Errors: -ENOMEM or another -errno. */
int journal_thread_open(struct vm_journal *journal, struct journal_thread **ret_thread)
	__attribute__((warn_unused_result));

/* Write the queued records, then end the thread. Blocks until the records are on disk. NULL is
 * fine. Returns NULL. */
struct journal_thread *journal_thread_close(struct journal_thread *thread);

/* Returns a descriptor that is readable while journal_thread_take() has a finished record to
 * return. */
int journal_thread_fd(const struct journal_thread *thread);

/* Queue a copy of one record. journal_thread_take() returns its result later. Returns 0; -EBUSY: a
 * bug of the caller, because the last record of @ticket is unfinished, or @ticket is not below
 * VM_JOURNAL_VMS_MAX. */
int journal_thread_append(struct journal_thread *thread, size_t ticket, const char *vm,
			  const char *owner, uint64_t term, enum vm_state state,
			  bool is_wanted, const char *with)
	__attribute__((warn_unused_result));

/* Queue incarnation_store() with the ticket JOURNAL_THREAD_INCARNATION. @incarnation is copied;
 * @dir is borrowed until the result is taken. Returns 0, or -EBUSY if the last such record is
 * unfinished. */
int journal_thread_store(struct journal_thread *thread, const char *dir,
			 const struct incarnation *incarnation) __attribute__((warn_unused_result));

/* Queue fd_write_file_atomic() with the ticket JOURNAL_THREAD_DRAINED. @path and @text are borrowed
 * until the result is taken. Returns 0, or -EBUSY if the last such record is unfinished. */
int journal_thread_write(struct journal_thread *thread, const char *path, const char *text,
			 size_t size) __attribute__((warn_unused_result));

/* Queue a trial with the ticket JOURNAL_THREAD_TRIAL: fd_write_file_atomic() of some bytes to
 * @path, which is then removed. @path is borrowed until the result is taken. Returns 0, or -EBUSY
 * if the last trial is unfinished. */
int journal_thread_try(struct journal_thread *thread, const char *path)
	__attribute__((warn_unused_result));

/* Returns true if no record is queued or being written, and each result was taken. */
bool journal_thread_is_idle(struct journal_thread *thread);

/* Get the next finished record. Sets *ret_ticket to the record's ticket, and *ret_result to what
 * vm_journal_append(), incarnation_store() or fd_write_file_atomic() returned. Returns false if no
 * record has finished. */
bool journal_thread_take(struct journal_thread *thread, size_t *ret_ticket, int *ret_result);

#endif
