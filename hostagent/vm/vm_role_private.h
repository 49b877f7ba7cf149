/* vm_role_private.h - RUN_DIR/NAME.role and ROLE_DIR/NAME.role: this host's role for a VM, kept for
 * the next agent.
 *
 * Why: a restarted agent that finds a closed hold must know whether this host was the primary, so
 * that it takes the hold over, or was fenced, and in which term; otherwise a stale order could undo
 * a fence. A boot loses run_dir, and the processes, copies and holds that go with the role. It does
 * not lose role_dir: after a boot the host must still know that another one owns the guest. The
 * text is one line, "primary 3\n"; replaced whole.
 * Threads: any (no state). Blocks on the file system.
 */
#ifndef VM_ROLE_PRIVATE_H
#define VM_ROLE_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

enum vm_role {
	VM_ROLE_NONE	= 0, /* no role, no file */
	VM_ROLE_PRIMARY = 1, /* its guest is protected: without an agent the hold is closed */
	VM_ROLE_STANDBY = 2, /* keeps a copy */
	VM_ROLE_RUNNING = 3, /* owns the guest, unprotected */
	VM_ROLE_FENCED	= 4, /* outvoted: silent for good */
};

/* 0; if there is no file: NONE and term 0; -EINVAL: the content is damaged; other -errno.
 * *ret_is_booted: only @role_dir has a file, so the host was booted, or run_dir emptied, since the
 * file was written. */
int vm_role_load(const char *run_dir, const char *role_dir, const char *vm, enum vm_role *ret_role,
		 uint64_t *ret_term, bool *ret_is_booted) __attribute__((warn_unused_result));

/* 0 or -errno; on error the file that vm_role_load() reads keeps its old content. Blocks on
 * @role_dir's disk. */
int vm_role_store(const char *run_dir, const char *role_dir, const char *vm, enum vm_role role,
		  uint64_t term) __attribute__((warn_unused_result));

#endif
