/* inherited.h - reaps QEMUs that the agent's last program started.
 *
 * Why: after a promotion, QEMU is a child of the agent's process, and remains a child when exec
 * replaces the agent's program. But the new program did not start this QEMU, so no other code waits
 * for its end. Without this file, a QEMU that ends would be a zombie until the agent ends. Each
 * QEMU is waited for by its pidfd, because other code waits for children of its own.
 *
 * Where: agent_replace.c, for the guests that were handed on. If a standby finds its QEMU again,
 * standby/qemu.c reaps that QEMU. Threads: one.
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

/* Reap the QEMUs that have ended. Forget those that are not children of this process. Never
 * waits. */
void inherited_reap(struct inherited *inherited);

void inherited_done(struct inherited *inherited);

#endif
