/* inherit.h - copies the memory of a guest that was fenced on this host into the files of a new
 * copy.
 *
 * Why: another host has taken over the guest, and this host will be its standby. The old guest's
 * memory is mostly the same as the new guest's. If the copy's files already have it, a first copy
 * sends only what differs (base.h). Nothing depends on this: if anything fails, the files are
 * removed again, and all memory is sent.
 *
 * Where: orders.c calls it, before vm/vm_end.c ends the old QEMU. Threads: the standby's.
 */
#ifndef STANDBY_INHERIT_H
#define STANDBY_INHERIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "standby/ramfile.h"

/* Copy the memory of the stopped guest of QEMU @pid, whose monitor is @monitor, into the files of
 * @rf, which has no copy. While both the guest and the copy exist, this host needs twice the
 * guest's memory. Takes about 0.3 s per GiB, and reports its progress. Returns 0;
 * -ENOMEM: the host has not enough memory to spare;
 * -EBUSY: memory is being reserved for another VM now (inherit_reserve());
 * -ESTALE: @monitor is the monitor of another QEMU;
 * errors of qmp_open(), vmm_inspect(), guestmem_open(), ramfile_reserve(), ramfile_layout(),
 * guestmem_read().
 * On error *ret_error says why, and *rf can have any content: call ramfile_purge(). */
int inherit_guest(struct ramfile *rf, const char *monitor, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Reserve the file `ram` of @rf for a second copy of a guest, if this host has memory to spare for
 * it. Only one VM at a time can do this, so that each sees how much memory the others have taken.
 * If another VM does it now, this function does not wait, because the gateway would see an order
 * that makes no progress. @cancel: end early when *@cancel becomes true; NULL: never.
 * Returns 0;
 * -ENOMEM: this host has not enough memory to spare;
 * -EBUSY: memory is being reserved for another VM now;
 * -ECANCELED: *@cancel became true;
 * other errors of ramfile_reserve().
 * On error *ret_error says why. */
int inherit_reserve(struct ramfile *rf, uint64_t ram_bytes, const _Atomic bool *cancel,
		    struct error *ret_error) __attribute__((warn_unused_result));

/* Returns how many bytes of memory are available according to @meminfo, the text of /proc/meminfo;
 * 0 if the text does not say. */
uint64_t inherit_available_bytes(const char *meminfo);

#endif
