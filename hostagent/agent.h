/* agent.h - the agent's control loop: connection to the gateway, beats, reports, orders.
 *
 * Why: if this host's beats are late, the gateway suspects that the host is dead. So this loop does
 * nothing that takes long. Each VM has a worker thread that carries out its orders (vm.h). If the
 * connection is lost, the loop reconnects. Meanwhile the VMs continue, each with its own stream.
 *
 *	connect ─► HELLO/WELCOME ─► { BEAT each beat_ms; REPORT on change and each 200 ms;
 *	                              ORDER ─► vm_order(); answers ─► ORDER_DONE }
 *
 * Threads: one, which runs until a signal ends it.
 */
#ifndef AGENT_H
#define AGENT_H

#include "config/agent_config.h"

struct onward;

/* Run the agent until a signal ends it, or until its next program replaces it. @config was read
 * from @config_path. @onward: what the agent's last program handed on, or NULL. The caller keeps
 * all three.
 * Returns 0 when the agent has ended; -errno if it could not start (the reason was logged). */
int agent_run(const struct agent_config *config, const char *config_path, struct onward *onward)
	__attribute__((warn_unused_result));

#endif
