/* inherited.h - reaps QEMUs that the agent's last program has started.
 *
 * Why: after a promotion QEMU is the agent's child, and stays it over exec. The last program would
 * have reaped it; this one has never started it, so nobody waits for it, and it would stay a zombie
 * until the agent ends. Each is waited for by itself: others wait for children of their own.
 *
 * Where: agent_replace.c, for the guests that were handed on. A QEMU that a standby has found again
 * is reaped by standby/qemu.c. Threads: one.
 */
#ifndef REPLACE_INHERITED_H
#define REPLACE_INHERITED_H

#include <stdint.h>

#include "replace/onward.h"

struct inherited {
	uint32_t n;
	int fd[ONWARD_VMS_MAX]; /* pidfds; the first n are open */
};

/* Remember the QEMUs of @onward (NULL: none). */
void inherited_take(struct inherited *inherited, const struct onward *onward);

/* Reap those that have ended, and forget those that are no children of this process. Never
 * waits. */
void inherited_reap(struct inherited *inherited);

void inherited_done(struct inherited *inherited);

#endif
