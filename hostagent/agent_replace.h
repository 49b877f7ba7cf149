/* agent_replace.h - replaces the agent's program by its next version, while guests are protected.
 *
 * Why: an update must not cost a full copy, nor make clients wait for longer than a moment. See
 * replace/plan.h for the order of steps, and docs/decisions/0055-handover.md.
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

#define AGENT_REPLACE_LOOK_NS (2 * CLOCK_NS_PER_MS)

struct agent_replace {
	const char *config_path; /* of agent.ini; borrowed */
	struct plan plan;
	int check_fd;	 /* pidfd of the next program's check; -1: none runs */
	pid_t check_pid;
	uint64_t hurry_until_ns; /* when to call hurry_all_threads(false); 0: never */
	struct inherited inherited; /* children of the last program */
	struct error why; /* why the last try came to nothing */
};

/* @onward: what the last program handed on; NULL: this program has not replaced another one. */
void agent_replace_init(struct agent_replace *replace, const char *config_path,
			const struct onward *onward);

/* Begin, unless it was begun. */
void agent_replace_ask(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);

/* Go on. Returns true if agent_replace_go() must follow. Call it when agent_replace_due_ns() has
 * come. */
bool agent_replace_turn(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);
uint64_t agent_replace_due_ns(const struct agent_replace *replace, uint64_t now_ns);

/* The agent ends. If guests were stopped to be handed on, let them go on, and wait until they do,
 * for 2 s at most. @wake_fd: the eventfd that the VMs write to when something changes. */
void agent_replace_end(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms,
		       int wake_fd);

/* Close what the agent's last program handed on for VMs that are not among @vms. */
void agent_replace_drop(const struct onward *onward, struct vm *const *vms, uint32_t n_vms);

/* Hand everything on and run the next program. Returns only if that failed: then the process must
 * end, as after a crash. */
void agent_replace_go(struct agent_replace *replace, struct vm *const *vms, uint32_t n_vms);

#endif
