/* shell_stack.h - sessions over the user-space TCP: the data path of the daemon.
 *
 * Where: networks.c calls shell_stack_open() after stack_open(); stack_input() and stack_poll()
 * report the events; main calls pump_run() after them. Threads: the gateway's loop.
 */
#ifndef SESSION_SHELL_STACK_H
#define SESSION_SHELL_STACK_H

#include <stdint.h>

#include "session/session.h"
#include "stack/stack.h"

/* Accept agents on TCP @port. Returns 0 or an error of stack_listen(). */
int shell_stack_open(struct sessions *sessions, struct stack *stack, uint16_t port)
	__attribute__((warn_unused_result));

/* End all sessions of this shell. Call before stack_close(), which reports no events
 * for their connections. */
void shell_stack_close(struct sessions *sessions);

#endif
