/* disks.h - refuses a guest that has a disk to which it can write.
 *
 * Why: disks are not replicated yet. After a failover the guest's memory and its disk would have
 * states of different moments, or the disk would be missing: data would be lost silently. So such a
 * guest is refused before anything is touched. The operator must provide read-only media on both
 * hosts.
 *
 * Where: the epoch engine, at attach. Threads: only the thread that uses the qmp client.
 */
#ifndef VMM_DISKS_H
#define VMM_DISKS_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Check all disks. Returns 0 if none is writable; -ENOTSUP if one is (*ret_error names it and the
 * next step); an error of qmp_execute(); or -EPROTO if QEMU answered something we do not
 * understand. */
int vmm_check_disks(struct qmp *q, struct error *ret_error) __attribute__((warn_unused_result));

/* Do the check of vmm_check_disks() on a given answer to `query-block`. Returns 0, -ENOTSUP or
 * -EPROTO as that function does. */
int vmm_judge_disks(const json_t *query_block, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
