/* vm_known_private.h - records which QEMU's guest is protected here, in RUN_DIR/NAME.guest, so that
 * the next agent knows whether that guest has ended.
 *
 * Why: a guest can end while no agent watches it. The next agent must say so: the standby's copy is
 * then all that is left of the guest (gateway/vm/fsm_standby.c). That nobody listens at the
 * monitor's path does not prove this: the path in the VM's file may have been changed.
 *
 * The file is one line, "PID START": START is the time of the process's start in ticks since the
 * boot, as in /proc/PID/stat. An older agent leaves no file.
 *
 * Threads: the VM's worker. Blocks on the file system.
 */
#ifndef VM_KNOWN_PRIVATE_H
#define VM_KNOWN_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct vm;

/* Record that the guest of process @pid is protected. Returns 0, or -errno with *ret_error; then an
 * older record may be left. */
int vm_known_store(const struct vm *vm, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Must vm_known_seek() be called periodically? Yes while this host owns a protected guest, has no
 * engine, and was not booted. */
bool vm_known_seeks(const struct vm *vm);

/* Find out whether the recorded guest still runs, and set vm->found. It has ended if its process
 * has ended, and nobody is at its monitor. Never waits. Returns true if the answer has changed. */
bool vm_known_seek(struct vm *vm, uint64_t now_ns);

/* Find when process @pid was started, in ticks since the boot. Returns 0 or -errno. */
int vm_known_start(pid_t pid, uint64_t *ret_ticks) __attribute__((warn_unused_result));

#endif
