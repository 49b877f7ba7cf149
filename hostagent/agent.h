/* agent.h - the agent's control loop: the connection to the gateway, beats, reports, orders.
 *
 * Why: the gateway judges this host by its beats, so this loop does nothing that can take long:
 * orders go to each VM's worker (vm.h). After a lost connection the loop retries for ever; VMs go
 * on meanwhile, each with its own stream.
 *
 *	connect ─► HELLO/WELCOME ─► { BEAT each beat_ms; REPORT on change and each 200 ms;
 *	                              ORDER ─► vm_order(); answers ─► ORDER_DONE }
 *
 * Threads: one. Ends on SIGTERM or SIGINT.
 */
#ifndef AGENT_H
#define AGENT_H

#include "config/agent_config.h"

/* Run until a signal ends it. 0; -errno if it could not start (logged). @config is borrowed. */
int agent_run(const struct agent_config *config) __attribute__((warn_unused_result));

#endif
