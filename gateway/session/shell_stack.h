/* shell_stack.h - sessions over the user-space TCP: the data path of the daemon.
 *
 * Where: networks.c calls shell_stack_open() after stack_open(); stack_input() and stack_poll()
 * give the events; main calls pump_run() after each. Threads: the gateway's loop.
 */
#ifndef SESSION_SHELL_STACK_H
#define SESSION_SHELL_STACK_H

#include <stdint.h>

#include "session/session.h"
#include "stack/stack.h"

/* Accept agents on TCP @port. 0 or an error of stack_listen(). */
int shell_stack_open(struct sessions *sessions, struct stack *stack, uint16_t port)
	__attribute__((warn_unused_result));

/* End all sessions of this shell (stack_close() gives no events). */
void shell_stack_close(struct sessions *sessions);

#endif
