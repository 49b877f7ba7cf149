/* inherit.h - copies the memory of a guest that was fenced on this host into the files of its copy.
 *
 * Why: this host is to be the standby of the guest that another host took over. The old guest's
 * memory is mostly the new guest's. If the copy's files have it, a first copy sends only what
 * differs (base.h). Nobody relies on it: if anything fails, the files are removed again, and all
 * is sent.
 *
 * Where: orders.c calls it, before vm/vm_end.c ends the old QEMU. Threads: the standby's.
 */
#ifndef STANDBY_INHERIT_H
#define STANDBY_INHERIT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "standby/ramfile.h"

/* Copy the memory of the stopped guest of QEMU @pid, whose monitor is @monitor, into the files of
 * @rf, which has no copy. Both need memory for a moment, so the host must have that much to spare.
 * Takes about 0.3 s per GiB, and reports its progress. Returns 0;
 * -ENOMEM: the host has not enough memory to spare;
 * -EBUSY: this is being done for another VM;
 * -ESTALE: @monitor is not that QEMU's;
 * errors of qmp_open(), vmm_inspect(), guestmem_open(), ramfile_reserve(), ramfile_layout(),
 * guestmem_read().
 * On error *ret_error says why, and *rf can have any content: call ramfile_purge(). */
int inherit_guest(struct ramfile *rf, const char *monitor, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check that this host has memory to spare for a second copy of a guest with @ram_bytes. Returns 0;
 * -ENOMEM, or -errno if /proc/meminfo cannot be read, with *ret_error. */
int inherit_check_memory(uint64_t ram_bytes, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns how many bytes of memory the text of /proc/meminfo says to be available; 0: it does not
 * say. */
uint64_t inherit_available_bytes(const char *meminfo);

#endif
