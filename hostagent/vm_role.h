/* vm_role.h - RUN_DIR/NAME.role and ROLE_DIR/NAME.role: what this host was for a VM, for the next agent.
 *
 * Why: an agent that is restarted must know whether the closed hold it finds is that of a primary to
 * take over or of a fenced host, and in which term it was; otherwise a stale order could undo a fence.
 * run_dir is lost at a boot, as the processes, copies and holds that such a role speaks of; role_dir is not, since a
 * host must not forget by a boot that another one owns the guest.
 * The text is one line, "primary 3\n"; replaced whole.
 * Threads: any (no state). Blocks on the file system.
 */
#ifndef VM_ROLE_H
#define VM_ROLE_H

#include <stdbool.h>
#include <stdint.h>

enum vm_role {
	VM_ROLE_NONE	= 0, /* nothing is written: no file */
	VM_ROLE_PRIMARY = 1, /* its guest is protected: the hold is closed without us */
	VM_ROLE_STANDBY = 2, /* keeps a copy */
	VM_ROLE_RUNNING = 3, /* owns the guest, unprotected */
	VM_ROLE_FENCED	= 4, /* outvoted: silent for good */
};

/* 0; no file: 0 with NONE and term 0; -EINVAL: the content is damaged; other -errno. *ret_is_booted: there is a file in
 * @role_dir alone, so the host was booted, or run_dir emptied, since it was written. */
int vm_role_load(const char *run_dir, const char *role_dir, const char *vm, enum vm_role *ret_role,
		 uint64_t *ret_term, bool *ret_is_booted) __attribute__((warn_unused_result));

/* 0 or -errno: then the file that is read keeps its old content. Blocks on @role_dir's disk. */
int vm_role_store(const char *run_dir, const char *role_dir, const char *vm, enum vm_role role,
		  uint64_t term) __attribute__((warn_unused_result));

#endif
