/* vm_role_private.h - records this host's role for a VM in RUN_DIR/NAME.role and
 * ROLE_DIR/NAME.role, for the next agent.
 *
 * Why: a restarted agent that finds a closed hold must know the role and its term. If this host was
 * the primary, the agent takes the hold over. If this host was fenced, the agent refuses old orders
 * that would undo the fence.
 * A boot empties run_dir, and the processes, copies and holds of the role are gone after a boot,
 * too. The file in role_dir outlives a boot: after a boot this host must still know that another
 * host owns the guest.
 *
 * Each file has one line, for example "primary 3\n", and is replaced atomically. Threads: any (no
 * state). Blocks on the file system.
 */
#ifndef VM_ROLE_PRIVATE_H
#define VM_ROLE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

enum vm_role {
	VM_ROLE_NONE	= 0, /* no role, no file */
	VM_ROLE_PRIMARY = 1, /* the guest is protected; while no agent runs, its hold is closed */
	VM_ROLE_STANDBY = 2, /* keeps a copy of the guest */
	VM_ROLE_RUNNING = 3, /* owns the guest, which runs unprotected */
	VM_ROLE_FENCED	= 4, /* outvoted: the guest must never run here again in its term */
};

/* Read the recorded role. Without a file, the role is NONE and the term 0. If only @role_dir has a
 * file, *ret_is_booted is true: after this file was written, the host was booted or run_dir was
 * emptied. Returns 0;
 * -EINVAL: the content is damaged;
 * other -errno. */
int vm_role_load(const char *run_dir, const char *role_dir, const char *vm, enum vm_role *ret_role,
		 uint64_t *ret_term, bool *ret_is_booted) __attribute__((warn_unused_result));

/* Set *ret_wall_ns to the wall time at which the role in @role_dir was recorded. Returns 0;
 * -ENOENT: no role is recorded there; other -errno. */
int vm_role_time(const char *role_dir, const char *vm, uint64_t *ret_wall_ns)
	__attribute__((warn_unused_result));

/* Record the role in both directories, first in @role_dir. If @run_dir is NULL, record the role in
 * @role_dir only: the next agent then still sees that the host was booted. Returns 0 or -errno. On
 * error the file in @run_dir is unchanged, and vm_role_load() reads this file if it exists. Blocks
 * on @role_dir's disk. */
int vm_role_store(const char *run_dir, const char *role_dir, const char *vm, enum vm_role role,
		  uint64_t term) __attribute__((warn_unused_result));

#endif
