/* agent_replace.h - replaces the agent's program with its next version, while guests are protected.
 *
 * Why: an update must not need a full copy of a guest, and clients must wait for only a moment.
 * See replace/plan.h for the order of steps, and docs/decisions/0055-handover.md.
 *
 *	SIGUSR2 ─► agent_replace_ask() ─► agent_replace_turn() ... ─► true ─► agent_replace_go(): exec
 *
 * Where: agent.c's loop. Threads: the control thread.
 */
#ifndef AGENT_REPLACE_H
#define AGENT_REPLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "replace/inherited.h"
#include "replace/onward.h"
#include "replace/plan.h"
#include "vm/vm.h"

/* how often to call agent_replace_turn() while a replacement is under way */
#define AGENT_REPLACE_LOOK_NS (2 * CLOCK_NS_PER_MS)

struct agent_replace {
	const char *config_path; /* path of agent.ini; borrowed */
	struct plan plan;
	int check_fd;    /* pidfd of the next program, which runs as a child to check whether it can
			  * take over; -1: no check runs */
	pid_t check_pid;
	/* when this program's threads lose their precedence over other threads (base/hurry.h); 0:
	 * never */
	uint64_t hurry_until_ns;
	struct inherited inherited; /* QEMUs that the agent's last program started */
	struct error why; /* why the last try failed */
};

/* Initialize *replace. @onward: what the agent's last program handed on; NULL: this program has not
 * replaced an earlier one. */
void agent_replace_init(struct agent_replace *replace, const char *config_path,
			const struct onward *onward);

/* Begin a replacement. Does nothing if one is already under way. */
void agent_replace_ask(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);

/* Do the next steps of the replacement, if one is under way. Returns true if the caller must now
 * call agent_replace_go(). Call this function again at agent_replace_due_ns(), or earlier. */
bool agent_replace_turn(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);
/* Returns when to call agent_replace_turn() next, or UINT64_MAX if nothing waits for it. */
uint64_t agent_replace_due_ns(const struct agent_replace *replace, uint64_t now_ns);

/* Call this when the agent ends. If guests were stopped for a replacement, let them run again, and
 * wait for up to 2 s until they run. @wake_fd: the eventfd that the VMs write to when something has
 * changed. */
void agent_replace_end(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms,
		       int wake_fd);

/* The agent's last program may have handed on descriptors for VMs that are not among @vms: close
 * them. */
void agent_replace_drop(const struct onward *onward, struct vm *const *vms, uint32_t n_vms);

/* Hand everything on and run the next program. Returns only if this has failed. Then the process
 * must end, because it has given up its VMs. The agent's next start is like one after a crash. */
void agent_replace_go(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);

#endif
