/* journal_thread.h - writes the journal and the incarnation on a thread of its own.
 *
 * Why: a disk may stall for seconds. The loop must go on giving leases, so it must not wait in
 * fsync.
 *
 *	loop:   append(ticket) ───► queue ───► thread: vm_journal_append() (write, fdatasync)
 *	loop:   take(ticket, result) ◄── eventfd ◄── done
 *
 * Where: main opens it between vm_journal_open() and the loop; fleet/fleet.c appends and takes.
 * From then on nobody else may touch the journal. A ticket is a VM's number, or
 * JOURNAL_THREAD_INCARNATION. Each ticket can have one record under way.
 * Threads: all functions from one thread, the loop's. Only open and close block.
 */
#ifndef VM_JOURNAL_THREAD_H
#define VM_JOURNAL_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/incarnation.h"
#include "vm/journal.h"

#define JOURNAL_THREAD_INCARNATION VM_JOURNAL_VMS_MAX /* a ticket */

struct journal_thread; /* opaque */

/* Start it over @journal (borrowed). 0: *ret_thread is the caller's; -errno; -ENOMEM. */
int journal_thread_open(struct vm_journal *journal, struct journal_thread **ret_thread)
	__attribute__((warn_unused_result));

/* Write what is queued, then end the thread. Blocks as long
 * as the disk does. NULL is fine. Returns NULL. */
struct journal_thread *journal_thread_close(struct journal_thread *thread);

/* Readable while there is something to take. */
int journal_thread_fd(const struct journal_thread *thread);

/* Queue one record (copied). take() gives the result. 0; -EBUSY: @ticket already has one under way,
 * or is not below VM_JOURNAL_VMS_MAX (our bug). */
int journal_thread_append(struct journal_thread *thread, size_t ticket, const char *vm,
			  const char *owner, uint64_t term, enum vm_state state)
	__attribute__((warn_unused_result));

/* Queue incarnation_store() of @incarnation (copied) in @dir (borrowed until the result is taken),
 * with the ticket JOURNAL_THREAD_INCARNATION. 0; -EBUSY: one is under way. */
int journal_thread_store(struct journal_thread *thread, const char *dir,
			 const struct incarnation *incarnation) __attribute__((warn_unused_result));

/* Take the next finished record. True: *ret_ticket, and *ret_result as from vm_journal_append() or
 * incarnation_store(). False: none. */
bool journal_thread_take(struct journal_thread *thread, size_t *ret_ticket, int *ret_result);

#endif
