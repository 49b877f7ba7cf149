/* inherited.h - reaps QEMUs that the agent's last program started.
 *
 * Why: a QEMU that runs a promoted guest is a child of the agent's process, even after exec has
 * replaced the agent's program. But the new program did not start this QEMU, so no other code waits
 * for its end. Without this file, the QEMU would be a zombie from its end until the agent's end.
 * This file waits for each QEMU by its pidfd, because other code waits for other children.
 *
 * Where: agent_replace.c, for the guests that were handed on. A QEMU that a standby finds again is
 * reaped by standby/qemu.c. Threads: one.
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

/* Reap the QEMUs that have ended, and forget them. Also forget those that are not children of this
 * process. Never waits. */
void inherited_reap(struct inherited *inherited);

void inherited_done(struct inherited *inherited);

#endif
