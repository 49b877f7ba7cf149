/* networks.h - the gateway's ports opened by its configuration, with what stands on them.
 *
 *	backup network	port ── lwIP ── agents' sessions; the prober, witness datagrams beside it
 *	client network	probe_port ── the prober alone
 *
 * Where: main.c, when `port` names a device. Threads: start-up only.
 */
#ifndef GATEWAY_NETWORKS_H
#define GATEWAY_NETWORKS_H

#include "config.h"
#include "ports.h"
#include "session/gateway.h"
#include "stack/stack.h"
#include "witnessing.h"

/* Open the ports of @config and add them to @ports in the order of enum prober_net, let gw->probes use
 * them, bring the stack up as *stack and accept agents for @gw; @witnessing is of the backup network. Also after an
 * error what is in @ports, *stack (NULL before) and @witnessing (zero before) is the caller's to close, ports last.
 * 0; -errno, which was logged. Blocks as port_open() does. */
int networks_open(const struct gw_config *config, struct gateway *gw, struct ports *ports,
		  struct stack **stack, struct witnessing *witnessing) __attribute__((warn_unused_result));

#endif
