/* port_dpdk.c - implements port.h with one DPDK ethdev that has one receive queue and one transmit
 * queue. */
#include "port/port.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "port/device.h"
#include "port/eal.h"
#include "port/wakefd.h"

#define DESCRIPTORS    1024 /* descriptors per ring, if the driver lets us choose */
#define POOL_CACHE     256
#define PREPARED_MAX   2
#define RING_FRAMES_MAX 8192 /* more frames than the ring of a packet socket has (device.c) */
#define POOL_STEP      "make the frame buffers (raise memory, or leave it out)"
#define TX_QUEUE_MAX   256 /* maximum number of frames that wait for room in the driver's ring */
#define TX_FLUSH_AT    32  /* as soon as this many frames wait, flush them */
#define BUFFERS_MIN    (2 * DESCRIPTORS + 2 * POOL_CACHE + TX_QUEUE_MAX)
#define BUFFERS_MAX    (1u << 20)

_Static_assert(RTE_MBUF_DEFAULT_DATAROOM >= PORT_FRAME_MAX + 4, "a frame must fit one buffer");

struct port {
	uint16_t id; /* DPDK's port number */
	struct device device;
	uint8_t mac[PORT_MAC_BYTES];
	struct rte_mempool *pool;
	int wait_fd;	    /* the driver's socket, or the card's interrupt eventfd; -1: none */
	bool has_interrupt; /* true if wait_fd is an eventfd that must be armed and drained */
	bool added;	    /* true if we added the vdev to DPDK */
	bool started;
	struct rte_mbuf *tx[TX_QUEUE_MAX];
	unsigned int n_tx;
	/* true if the last flush could send nothing, because the driver's ring is full. While this
	 * is true, the queued frames do not keep the loop awake */
	bool tx_stuck;
	struct port_counters counters;
	/* for net_af_packet: frames dropped by the kernel. Added up here, because each read sets
	 * the kernel's own count to zero */
	uint64_t kernel_drops;
};

/* The pools and ports that port_prepare() has made. Making these two takes longer than the rest of
 * port_open(): most of all the pool, each of whose pages is written for the first time, and then a
 * packet socket. */
static struct {
	char device[DEVICE_NAME_MAX];
	struct rte_mempool *pool; /* NULL: bring_up() has taken it */
	struct port *port; /* NULL: port_open() has taken it, or the device is not shareable */
} prepared[PREPARED_MAX];
static size_t n_prepared;

static int fail(struct error *ret_error, int rc, const struct device *device,
		const char *what)
{
	return error_set(ret_error, rc, "%s: %s: %s", device->name, what, strerror(-rc));
}

static int check_interface(const struct device *device, struct error *ret_error)
{
	if (!device->interface[0] || if_nametoindex(device->interface))
		return 0;
	return error_set(ret_error, -ENODEV, "%s: no interface \"%s\" in this network namespace",
			 device->name, device->interface);
}

/* Add the device to DPDK and get its port id. */
static int add_device(struct port *port, struct error *ret_error)
{
	const struct device *device = &port->device;
	int rc;

	if (device->kind != DEVICE_PCI) {
		rc = rte_eal_hotplug_add("vdev", device->name, device->args);
		if (rc < 0)
			return fail(ret_error, rc == -1 ? -ENODEV : rc, device,
				    "the driver refuses it (is its package installed, the "
				    "interface up, are you root?)");
		port->added = true;
	} else if (rte_eth_dev_get_port_by_name(device->name, &port->id)) {
		/* when EAL started, it looked only for the first card; a second one needs this */
		(void)rte_dev_probe(device->name);
	}
	if (rte_eth_dev_get_port_by_name(device->name, &port->id))
		return fail(ret_error, -ENODEV, device,
			    "no such Ethernet device (a PCI card must be bound to vfio-pci)");
	return 0;
}

static int make_pool(const struct port_config *config, struct rte_mempool **ret_pool)
{
	static unsigned int n_pools;
	unsigned int n = config->n_buffers ? config->n_buffers : PORT_BUFFERS_DEFAULT;
	char name[RTE_MEMPOOL_NAMESIZE];

	snprintf(name, sizeof(name), "frames%u", n_pools++);
	*ret_pool = rte_pktmbuf_pool_create(name, n, POOL_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
					    (int)SOCKET_ID_ANY);
	return *ret_pool ? 0 : -rte_errno;
}

/* Take the pool that port_prepare() has made for @device, or make one. */
static int take_pool(const struct device *device, const struct port_config *config,
		     struct rte_mempool **ret_pool)
{
	for (size_t i = 0; i < n_prepared; i++) {
		if (!prepared[i].pool || strcmp(prepared[i].device, device->name) != 0)
			continue;
		*ret_pool = prepared[i].pool;
		prepared[i].pool = NULL;
		return 0;
	}
	return make_pool(config, ret_pool);
}

/* Configure the device, set up both queues and start the device. @interrupt: true to use receive
 * interrupts. Returns 0 or -errno; on error, *ret_step names the step that failed. */
static int start(struct port *port, bool interrupt, const char **ret_step)
{
	struct rte_eth_conf conf = { .intr_conf = { .rxq = interrupt } };
	uint16_t n_rx = DESCRIPTORS, n_tx = DESCRIPTORS;
	int rc;

	*ret_step = "configure";
	rc = rte_eth_dev_configure(port->id, 1, 1, &conf);
	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &n_rx, &n_tx);
	if (rc)
		return rc;
	*ret_step = "set up the receive queue (net_af_xdp: are the kernel's XDP and CAP_NET_ADMIN "
		    "there, is another XDP program attached?)";
	rc = rte_eth_rx_queue_setup(port->id, 0, n_rx, SOCKET_ID_ANY, NULL, port->pool);
	if (rc)
		return rc;
	*ret_step = "set up the transmit queue";
	rc = rte_eth_tx_queue_setup(port->id, 0, n_tx, SOCKET_ID_ANY, NULL);
	if (rc)
		return rc;
	*ret_step = "start";
	rc = rte_eth_dev_start(port->id);
	if (rc)
		return rc;
	port->started = true;
	return 0;
}

static void find_wait_fd(struct port *port, const struct wakefd_view *before)
{
	int rc = -1;

	switch (port->device.kind) {
	case DEVICE_AF_PACKET:
		rc = wakefd_find(before, AF_PACKET);
		break;
	case DEVICE_AF_XDP:
		rc = wakefd_find(before, AF_XDP);
		break;
	case DEVICE_PCI:
		rc = rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, 0);
		port->has_interrupt = rc >= 0;
		break;
	case DEVICE_VDEV_OTHER:
		break;
	}
	port->wait_fd = rc >= 0 ? rc : -1;
}

static int bring_up(struct port *port, const struct port_config *config, struct error *ret_error)
{
	struct wakefd_view before;
	struct rte_ether_addr mac;
	const char *step;
	int rc;

	rc = wakefd_look(&before);
	if (rc)
		return fail(ret_error, rc, &port->device, "read /proc/self/fd");
	rc = add_device(port, ret_error);
	if (rc)
		return rc;
	rc = take_pool(&port->device, config, &port->pool);
	if (rc)
		return fail(ret_error, rc, &port->device, POOL_STEP);
	rc = start(port, port->device.kind == DEVICE_PCI, &step);
	if (rc == -ENOTSUP && port->device.kind == DEVICE_PCI)
		/* the card has no receive interrupts, so start it without them */
		rc = start(port, false, &step);
	if (rc)
		return fail(ret_error, rc, &port->device, step);
	rc = rte_eth_macaddr_get(port->id, &mac);
	if (rc)
		return fail(ret_error, rc, &port->device, "read the MAC address");
	memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
	find_wait_fd(port, &before);
	return 0;
}

static int check_config(const struct port_config *config, struct device *ret_device,
			struct error *ret_error)
{
	if (!config->device || device_parse(config->device, ret_device))
		return error_set(ret_error, -EINVAL,
				 "device \"%s\": want net_af_packet0,iface=NAME or "
				 "net_af_xdp0,iface=NAME or a PCI address like 0000:3b:00.0",
				 config->device ? config->device : "");
	if (config->mtu > PORT_MTU_MAX)
		return error_set(ret_error, -EINVAL, "mtu %u: at most %d", config->mtu,
				 PORT_MTU_MAX);
	if (config->n_buffers &&
	    (config->n_buffers < BUFFERS_MIN || config->n_buffers > BUFFERS_MAX)) {
		return error_set(ret_error, -EINVAL, "n_buffers %u: want %d..%u", config->n_buffers,
				 BUFFERS_MIN, BUFFERS_MAX);
	}
	return check_interface(ret_device, ret_error);
}

static int open_device(const struct port_config *config, const struct device *device,
		       struct port **ret_port, struct error *ret_error)
{
	struct port *port = calloc(1, sizeof(*port));
	int rc;

	if (!port)
		return fail(ret_error, -ENOMEM, device, "open");
	port->device = *device;
	port->id = RTE_MAX_ETHPORTS;
	port->wait_fd = -1;
	rc = bring_up(port, config, ret_error);
	if (rc) {
		port_close(port);
		return rc;
	}
	*ret_port = port;
	return 0;
}

int port_prepare(const struct port_config *config, struct error *ret_error)
{
	struct device device;
	int rc = check_config(config, &device, ret_error);

	if (rc)
		return rc;
	if (device.kind == DEVICE_PCI)
		return error_set(ret_error, -ENOTSUP,
				 "%s: only one process at a time can use a PCI card", device.name);
	/* The kernel frees the queue of an AF_XDP socket only some time after the socket was
	 * closed. Until then, no other socket can be bound to the queue (net/xdp/xsk_buff_pool.c,
	 * xp_release_deferred()). */
	if (device.kind == DEVICE_AF_XDP)
		return error_set(ret_error, -ENOTSUP, "%s: the kernel does not give AF_XDP's queue "
				 "from one process to the next at once", device.name);
	rc = eal_start(config, NULL, ret_error);
	if (rc || n_prepared == PREPARED_MAX)
		return rc;
	rc = make_pool(config, &prepared[n_prepared].pool);
	if (rc)
		return fail(ret_error, rc, &device, POOL_STEP);
	memcpy(prepared[n_prepared].device, device.name, sizeof(device.name));
	n_prepared++;
	return device.kind == DEVICE_AF_PACKET
		       ? open_device(config, &device, &prepared[n_prepared - 1].port, ret_error)
		       : 0;
}

/* Take the port that port_prepare() has opened for @device. Returns NULL if there is none. */
static struct port *take_port(const struct device *device)
{
	struct port *port = NULL;

	for (size_t i = 0; !port && i < n_prepared; i++) {
		if (strcmp(prepared[i].device, device->name) != 0)
			continue;
		port = prepared[i].port;
		prepared[i].port = NULL;
	}
	return port;
}

/* Drop the frames that have arrived so far, and set all counters to zero. The process that had the
 * device until now has got its own copies of these frames. */
static void drop_waiting(struct port *port)
{
	struct port_frame frames[PORT_BURST_MAX];
	struct port_counters unused;

	for (size_t i = 0, n = 1; n > 0 && i < RING_FRAMES_MAX; i += n) {
		n = port_receive(port, frames, PORT_BURST_MAX);
		for (size_t at = 0; at < n; at++)
			port_frame_free(frames[at].handle);
	}
	port_get_counters(port, &unused); /* sets the kernel's own count to zero */
	port->kernel_drops = 0;
	memset(&port->counters, 0, sizeof(port->counters));
}

int port_open(const struct port_config *config, struct port **ret_port, struct error *ret_error)
{
	struct device device;
	struct port *port;
	int rc;

	rc = check_config(config, &device, ret_error);
	if (rc)
		return rc;
	rc = eal_start(config, device.kind == DEVICE_PCI ? device.name : NULL, ret_error);
	if (rc)
		return rc;
	port = take_port(&device);
	if (!port)
		return open_device(config, &device, ret_port, ret_error);
	drop_waiting(port);
	*ret_port = port;
	return 0;
}

bool port_is_shareable(const struct port *port)
{
	return port->device.kind == DEVICE_AF_PACKET;
}

void port_close(struct port *port)
{
	if (!port)
		return;
	rte_pktmbuf_free_bulk(port->tx, port->n_tx);
	if (port->started)
		/* if this fails, the device is closed below anyway */
		(void)rte_eth_dev_stop(port->id);
	if (port->added)
		(void)rte_eal_hotplug_remove("vdev", port->device.name); /* closes the ethdev too */
	else if (port->id < RTE_MAX_ETHPORTS)
		(void)rte_eth_dev_close(port->id);
	rte_mempool_free(port->pool);
	free(port);
}

size_t port_receive(struct port *port, struct port_frame *ret_frames, size_t max)
{
	struct rte_mbuf *burst[PORT_BURST_MAX];
	uint16_t n, i;
	size_t n_out = 0;

	if (max > PORT_BURST_MAX)
		max = PORT_BURST_MAX;
	n = rte_eth_rx_burst(port->id, 0, burst, (uint16_t)max);
	for (i = 0; i < n; i++) {
		struct rte_mbuf *mbuf = burst[i];

		/* Drop a frame with several segments: it did not fit into one buffer. Drop a frame
		 * whose VLAN tag the card has removed: it only looks like a frame for us. */
		if (mbuf->nb_segs != 1 || mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
			port->counters.rx_dropped++;
			rte_pktmbuf_free(mbuf);
			continue;
		}
		ret_frames[n_out].data = rte_pktmbuf_mtod(mbuf, void *);
		ret_frames[n_out].size = rte_pktmbuf_data_len(mbuf);
		ret_frames[n_out].handle = mbuf;
		port->counters.rx_bytes += ret_frames[n_out].size;
		n_out++;
	}
	port->counters.rx_frames += n_out;
	return n_out;
}

void port_frame_free(void *handle)
{
	rte_pktmbuf_free(handle);
}

void port_flush(struct port *port)
{
	unsigned int sent, i;

	if (port->n_tx == 0)
		return;
	sent = rte_eth_tx_burst(port->id, 0, port->tx, (uint16_t)port->n_tx);
	port->counters.tx_frames += sent;
	port->tx_stuck = sent == 0;
	port->n_tx -= sent;
	for (i = 0; sent > 0 && i < port->n_tx; i++)
		port->tx[i] = port->tx[sent + i];
}

int port_transmit(struct port *port, const struct iovec *pieces, size_t n_pieces)
{
	struct rte_mbuf *mbuf;
	size_t size = 0, i;
	char *to;

	for (i = 0; i < n_pieces && i < PORT_PIECES_MAX && size <= PORT_FRAME_MAX; i++)
		size += pieces[i].iov_len <= PORT_FRAME_MAX ? pieces[i].iov_len :
							      PORT_FRAME_MAX + 1;
	if (size == 0 || size > PORT_FRAME_MAX || n_pieces > PORT_PIECES_MAX) {
		port->counters.tx_dropped++;
		return -EMSGSIZE;
	}
	if (port->n_tx == TX_QUEUE_MAX)
		port_flush(port);
	if (port->n_tx == TX_QUEUE_MAX) {
		port->counters.tx_dropped++;
		return -ENOBUFS;
	}
	mbuf = rte_pktmbuf_alloc(port->pool);
	if (!mbuf) {
		port->counters.tx_no_buffer++;
		return -ENOBUFS;
	}
	/* cannot fail: a frame fits into one buffer (the _Static_assert at the top of this file) */
	to = rte_pktmbuf_append(mbuf, (uint16_t)size);
	for (i = 0; i < n_pieces; i++) {
		memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
		to += pieces[i].iov_len;
	}
	port->counters.tx_bytes += size;
	port->tx[port->n_tx++] = mbuf;
	if (port->n_tx >= TX_FLUSH_AT && !port->tx_stuck)
		port_flush(port);
	return 0;
}

int port_wait_fd(const struct port *port)
{
	return port->wait_fd;
}

bool port_arm(struct port *port)
{
	struct pollfd wait = { .fd = port->wait_fd, .events = POLLIN };

	if (port->n_tx > 0 && !port->tx_stuck)
		return true;
	if (!port->has_interrupt)
		return false; /* the socket is level-triggered: epoll also sees frames
			       * that are already waiting */
	if (rte_eth_dev_rx_intr_enable(port->id, 0))
		return true; /* no interrupt would wake us: keep polling */
	/* Look for frames once more. A frame that came before the interrupt was enabled raises no
	 * interrupt. */
	return rte_eth_rx_queue_count(port->id, 0) > 0 || poll(&wait, 1, 0) > 0;
}

void port_disarm(struct port *port)
{
	uint64_t count;

	port->counters.wakes++;
	port->tx_stuck = false;
	if (!port->has_interrupt)
		return;
	(void)rte_eth_dev_rx_intr_disable(port->id, 0); /* if this fails, there is
							 * one needless wake-up */
	while (read(port->wait_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

int port_filter(struct port *port, int program_fd)
{
	int r;

	if (port->device.kind != DEVICE_AF_PACKET || port->wait_fd < 0)
		return -ENOTSUP;
	r = setsockopt(port->wait_fd, SOL_SOCKET, program_fd < 0 ? SO_DETACH_FILTER : SO_ATTACH_BPF,
		       &program_fd, sizeof(program_fd));
	/* ENOENT is no error when detaching: there was no program */
	return r < 0 && (program_fd >= 0 || errno != ENOENT) ? -errno : 0;
}

const uint8_t *port_mac(const struct port *port)
{
	return port->mac;
}

void port_get_counters(struct port *port, struct port_counters *ret_counters)
{
	struct rte_eth_stats stats;
	struct tpacket_stats kernel;
	socklen_t size = sizeof(kernel);

	*ret_counters = port->counters;
	if (port->device.kind == DEVICE_AF_PACKET && port->wait_fd >= 0 &&
	    !getsockopt(port->wait_fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &size))
		port->kernel_drops += kernel.tp_drops;
	ret_counters->rx_missed = port->kernel_drops;
	if (rte_eth_stats_get(port->id, &stats))
		return;
	ret_counters->rx_missed += stats.imissed;
	ret_counters->rx_no_buffer = stats.rx_nombuf;
	ret_counters->tx_dropped += stats.oerrors;
}
