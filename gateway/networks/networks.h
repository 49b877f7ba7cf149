/* networks.h - opens the gateway's ports as configured, and the services on them.
 *
 *	network         port         services on the port
 *	backup network  port         lwIP with the agents' sessions, the prober, witness datagrams
 *	client network  probe_port   the prober; witness datagrams, if a VM's file allows them
 *
 * Where: main.c calls it if `port` names a device. Threads: start-up only.
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

/* Begin to check that no other host uses our address. The check (@ask) runs while everything else
 * is opened. Call networks_open() or claiming_ask_end() later. */
void networks_begin(const struct gw_config *config, struct claiming_ask *ask);

/* Wait for the end of the check @ask, and do the part of networks_open() that does not disturb
 * another process (port_prepare()). Call this if another process still uses the devices. Returns 0.
 * On error, logs the error and returns
 *      -ENOTSUP        a device is a PCI card or net_af_xdp
 *      -EADDRINUSE     another host has our address
 *      another -errno  of port_prepare() */
int networks_prepare(const struct gw_config *config, struct claiming_ask *ask)
	__attribute__((warn_unused_result));

/* Open what the gateway needs on its networks, as @config says, and store it in
 *      @ports          the ports, in the order of enum prober_net; fleet->probes uses them
 *      *stack          the TCP stack, which accepts agents for @sessions
 *      @witnessing[n]  opened only for networks from which witness datagrams are accepted
 *      @claiming       the check that no other host uses our address; also ends @ask
 *
 * Before the call, *stack must be NULL and @witnessing zero. The caller must close @witnessing,
 * then *stack, then @ports, even after an error. After an error @ask may not have ended: call
 * claiming_ask_end(). Returns 0; or logs the error and returns -errno.
 * Blocks for the time of port_open(), and until the check of our address is over. */
int networks_open(const struct gw_config *config, struct fleet *fleet, struct sessions *sessions,
		  struct ports *ports, struct stack **stack,
		  struct witnessing witnessing[PROBER_N_NETS], struct claiming *claiming,
		  struct claiming_ask *ask)
	__attribute__((warn_unused_result));

#endif
