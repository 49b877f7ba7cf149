/* disks.h - does the guest have a disk that it can write to?
 *
 * Why: disks are not replicated yet. After a failover such a guest would have memory from one
 * moment and a disk from another, or no disk: data would be lost silently. So it is refused before
 * anything is touched. The operator must provide read-only media on both hosts.
 *
 * Where: the epoch engine, at attach. Threads: as the qmp client.
 */
#ifndef VMM_DISKS_H
#define VMM_DISKS_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* 0: no writable disk; -ENOTSUP: there is one, *ret_error names it and the next step; errors of
 * qmp_execute(); -EPROTO: QEMU answered something we do not understand. */
int vmm_check_disks(struct qmp *q, struct error *ret_error) __attribute__((warn_unused_result));

/* Judge only an answer to `query-block`. 0, -ENOTSUP, -EPROTO as above. */
int vmm_judge_disks(const json_t *query_block, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
