/* shell_stack.h - carries sessions over the user-space TCP, the data path of the daemon.
 *
 * Where: networks.c calls shell_stack_open() after stack_open(); stack_input() and stack_poll()
 * call this shell's event callbacks, and main calls pump_run() afterwards. Threads: the gateway's
 * loop.
 */
#ifndef SESSION_SHELL_STACK_H
#define SESSION_SHELL_STACK_H

#include <stdint.h>

#include "session/session.h"
#include "stack/stack.h"

/* Accept agents on TCP @port. Returns what stack_listen() returns. */
int shell_stack_open(struct sessions *sessions, struct stack *stack, uint16_t port)
	__attribute__((warn_unused_result));

/* End all sessions of this shell. Call this before stack_close(), because stack_close() reports no
 * events for their connections. */
void shell_stack_close(struct sessions *sessions);

#endif
