/* networks.h - opens the gateway's ports as configured, and what uses them.
 *
 *	backup network  port ── lwIP ── agents' sessions; the prober, witness datagrams beside it
 *	client network  probe_port ── the prober; witness datagrams, if a VM's may come there
 *
 * Where: main.c, when `port` names a device. Threads: start-up only.
 */
#ifndef NETWORKS_NETWORKS_H
#define NETWORKS_NETWORKS_H

#include "config/config.h"
#include "fleet/fleet.h"
#include "loop/ports.h"
#include "networks/claiming.h"
#include "networks/witnessing.h"
#include "probe/prober.h"
#include "session/session.h"
#include "stack/stack.h"

/* Open the ports of @config and add them to @ports in the order of enum prober_net. Let
 * fleet->probes use them. Bring the stack up as *stack and accept agents for @sessions. Open
 * @witnessing in the networks that datagrams come from. Check that nobody else has our address, and
 * let @claiming watch it.
 *
 * @ports, *stack (NULL before) and @witnessing (zero before) are the caller's to close, also after
 * an error; ports last. 0; -errno, which was logged. Blocks as port_open() does, and for 300 ms. */
int networks_open(const struct gw_config *config, struct fleet *fleet, struct sessions *sessions,
		  struct ports *ports, struct stack **stack,
		  struct witnessing witnessing[PROBER_N_NETS], struct claiming *claiming)
	__attribute__((warn_unused_result));

#endif
