/* vm_fenced_private.h - records which QEMU was fenced here, in RUN_DIR/NAME.fenced.
 * Why: only the guest that was fenced may be ended (vm_end_private.h). Somebody can start another
 * QEMU of this VM here later, even between two fences, and that QEMU can have data that exists
 * nowhere else. The time of the last fence does not show which QEMU was fenced, so the processes
 * are recorded. The record outlives the agent. It does not outlive a boot, and neither does the
 * guest.
 *
 * The file has one line per process, "PID START": START is the time of its start in ticks since the
 * boot, as in /proc/PID/stat. An empty file says that no QEMU here may be ended. If the file is
 * missing on a fenced host, the fence is not complete, or an agent of an older version made it.
 *
 * Threads: the VM's worker. Blocks on the file system.
 */
#ifndef VM_FENCED_PRIVATE_H
#define VM_FENCED_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* At most two QEMUs of a VM can be here: the QEMU at [vm] qmp, and a QEMU that an earlier agent
 * promoted. */
#define VM_FENCED_MAX 2u

/* Replace the record by the @n processes @pids. Leaves out the process @except, processes that were
 * started after @until_ns (wall time), and processes that cannot be seen from here. Returns 0 or
 * -errno. */
int vm_fenced_store(const char *run_dir, const char *vm, const pid_t *pids, size_t n, pid_t except,
		    uint64_t until_ns) __attribute__((warn_unused_result));

/* Is process @pid recorded? Returns 1: yes, and it is the same process; 0: no;
 * -ENOENT: there is no record;
 * other -errno. */
int vm_fenced_find(const char *run_dir, const char *vm, pid_t pid)
	__attribute__((warn_unused_result));

/* Remove the record. Returns 0, also if there was none, or -errno. */
int vm_fenced_remove(const char *run_dir, const char *vm) __attribute__((warn_unused_result));

#endif
