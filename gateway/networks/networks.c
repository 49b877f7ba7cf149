#include "networks/networks.h"

#include <string.h>

#include "base/log.h"
#include "networks/claiming.h"
#include "port/device.h"
#include "port/port.h"
#include "networks/probing.h"
#include "session/shell_stack.h"

/* room for connections that are being closed, in addition to sessions_max */
#define CLOSING_MAX   64
/* number of buffers for the port in the client network, which gets few frames */
#define PROBE_BUFFERS 4096

static int output_frame(void *arg, const struct iovec *pieces, size_t n_pieces)
{
	return port_transmit(arg, pieces, n_pieces);
}

static struct port_config describe_port(const struct gw_config *config, enum prober_net net)
{
	const bool is_client = net == PROBER_NET_CLIENT;

	return (struct port_config){
		.device = is_client ? config->probe_port : config->port,
		.cores = config->cores[0] ? config->cores : NULL,
		.memory_mb = config->memory_bytes >> 20,
		.hugepages = (enum port_hugepages)config->hugepages,
		.mtu = config->mtu,
		.n_buffers = is_client ? PROBE_BUFFERS : 0,
		.n_more_buffers = config->probe_port[0] ? PROBE_BUFFERS : 0,
	};
}

static int say_port_error(enum prober_net net, const char *device, int r, const struct error *error)
{
	log_error("%s %s: %s", net == PROBER_NET_CLIENT ? "probe_port" : "port", device,
		  error->text);
	return r;
}

/* Open the port of @net and add it to @ports. @ip_be32 is our own address in that network. */
static int open_port(const struct gw_config *config, enum prober_net net, uint32_t ip_be32,
		     struct probes *probes, struct ports *ports)
{
	const struct port_config how = describe_port(config, net);
	struct port *port;
	struct error error;
	int r = port_open(&how, &port, &error);

	if (r < 0)
		return say_port_error(net, how.device, r, &error);
	probing_use_port(probes, net, port, ip_be32);
	return ports_add(ports, port);
}

void networks_begin(const struct gw_config *config, struct claiming_ask *ask)
{
	struct config_prefix own;
	struct device device;

	if (strcmp(config->port, GATEWAY_PORT_KERNEL) != 0 &&
	    gw_config_address(config, &own) == 0 && device_parse(config->port, &device) == 0)
		claiming_ask_begin(ask, device.interface, own.ip_be32);
}

int networks_prepare(const struct gw_config *config, struct claiming_ask *ask)
{
	/* End the check before a port is opened: a port finds its own socket only if no other
	 * packet socket is opened meanwhile (wakefd.h). */
	int asked = claiming_asked(ask);

	if (asked < 0)
		return asked;
	for (int net = 0; net < PROBER_N_NETS; net++) {
		const struct port_config how = describe_port(config, (enum prober_net)net);
		struct error error;
		int r = *how.device ? port_prepare(&how, &error) : 0;

		if (r < 0)
			return say_port_error((enum prober_net)net, how.device, r, &error);
	}
	return 0;
}

int networks_open(const struct gw_config *config, struct fleet *fleet, struct sessions *sessions,
		  struct ports *ports, struct stack **stack,
		  struct witnessing witnessing[PROBER_N_NETS], struct claiming *claiming,
		  struct claiming_ask *ask)
{
	struct stack_config how = {
		.address = config->address,
		.gateway = config->next_hop[0] ? config->next_hop : NULL,
		.mtu = (uint16_t)config->mtu,
		.n_connections_max = sessions->config.n_sessions_max + CLOSING_MAX,
	};
	struct config_prefix own;
	struct port *port;
	int r = gw_config_address(config, &own);

	/* the ports */
	if (r < 0)
		log_error("address = %s is not IPv4/BITS", config->address);
	if (r == 0)
		r = open_port(config, PROBER_NET_BACKUP, own.ip_be32, fleet->probes, ports);
	if (r == 0 && config->probe_port[0])
		r = open_port(config, PROBER_NET_CLIENT, config->probe_address.ip_be32,
			      fleet->probes, ports);
	if (r < 0)
		return r;
	port = ports->slots[PROBER_NET_BACKUP].port;
	/* check the address before the TCP stack answers for it */
	r = claiming_open(claiming, ask, fleet, port, own.ip_be32);
	if (r < 0)
		return r;
	/* what uses the ports: witness datagrams, then the TCP stack with the agents' sessions */
	witnessing_open(&witnessing[PROBER_NET_BACKUP], fleet, port, WIRE_WITNESS_BACKUP, &own);
	if (fleet->config.client_address != 0)
		witnessing_open(&witnessing[PROBER_NET_CLIENT], fleet,
				ports->slots[PROBER_NET_CLIENT].port, WIRE_WITNESS_CLIENT,
				&config->probe_address);
	memcpy(how.mac, port_mac(port), sizeof(how.mac));
	r = stack_open(&how, output_frame, port, stack);
	if (r == 0)
		r = shell_stack_open(sessions, *stack, config->listen.port);
	if (r < 0)
		log_error("address %s port %u: %s", config->address, config->listen.port,
			  strerror(-r));
	return r;
}
