#include "networks/probing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

static uint64_t random_64(void *arg)
{
	uint64_t value = 0;

	(void)arg;
	/* Cannot fail: getrandom() worked in probing_open(), and such a short request is never
	 * interrupted. */
	(void)!getrandom(&value, sizeof(value), 0);
	return value;
}

static void describe_vm(const struct gw_config *config, const struct gw_vm_config *vm,
			struct prober_config *ret_prober)
{
	*ret_prober = (struct prober_config){
		.host = {ntohl(vm->primary_address), ntohl(vm->standby_address),
			 ntohl(vm->spare_address)},
		.host_backup = {ntohl(vm->primary_backup), ntohl(vm->standby_backup),
				ntohl(vm->spare_backup)},
		.guest = ntohl(vm->guest_address),
		.n_guest_ports = vm->guest_ports.n,
		.interval_ns = config->probe_interval_ns,
		.is_sought = vm->witness_paths == GW_WITNESS_BOTH,
	};
	_Static_assert(PROBER_PORTS_MAX == CONFIG_PORTS_MAX, "as many as a key may list");
	memcpy(ret_prober->guest_mac, vm->guest_mac, sizeof(ret_prober->guest_mac));
	memcpy(ret_prober->guest_ports, vm->guest_ports.port, sizeof(ret_prober->guest_ports));
}

static bool has_address(const struct prober_config *prober)
{
	for (size_t h = 0; h < PROBER_HOSTS; h++) {
		if (prober->host[h] || prober->host_backup[h])
			return true;
	}
	return prober->guest != 0;
}

int probing_open(const struct gw_config *config, const struct gw_vm_config *vms, size_t n,
		 struct fleet *fleet, struct probes **ret_probes)
{
	struct prober_config prober;
	struct probes *probes;
	uint64_t value;
	int r;

	_Static_assert(PROBES_MAX >= FLEET_VMS_MAX, "a prober for each VM");
	if (getrandom(&value, sizeof(value), 0) != sizeof(value))
		return errno ? -errno : -EIO;
	r = probes_new(random_64, NULL, &probes);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct fleet_vm *vm = fleet_find_vm(fleet, vms[i].name);

		describe_vm(config, &vms[i], &prober);
		if (vm && has_address(&prober))
			r = probes_add(probes, &prober, &vm->prober);
	}
	if (r < 0)
		return r; /* no cleanup: the daemon ends */
	fleet->probes = probes;
	*ret_probes = probes;
	return 0;
}

int probing_change(const struct gw_config *config, const struct gw_vm_config *of,
		   struct probes *probes, struct fleet_vm *vm, uint64_t now_ns)
{
	struct prober_config prober;

	describe_vm(config, of, &prober);
	if (vm->prober)
		return probes_change(probes, vm->prober, &prober, now_ns);
	return has_address(&prober) ? probes_add(probes, &prober, &vm->prober) : 0;
}

static int send_probe(void *arg, const void *frame, size_t size)
{
	struct iovec piece = {(void *)frame, size};

	return port_transmit(arg, &piece, 1);
}

void probing_use_port(struct probes *probes, enum prober_net net, struct port *port,
		      uint32_t ip_be32)
{
	struct frames_end us = {.ip = ntohl(ip_be32)};

	_Static_assert(PORT_MAC_BYTES == FRAMES_MAC_BYTES, "one kind of MAC");
	memcpy(us.mac, port_mac(port), sizeof(us.mac));
	/* The prober must answer ARP for our address in the client network. In the backup network
	 * lwIP answers. */
	probes_open_net(probes, net, &us, net == PROBER_NET_CLIENT, send_probe, port);
}
