/* stack.c - runs lwIP's network interface: passes frames in and out, and runs the timers. conn.c
 * has the connections. */
#include "stack/stack_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>

#include "base/bytes.h"
#include "base/clock.h"

#define FRAME_MAX 65535 /* lwIP counts a frame's bytes in 16 bits */
#define MTU_MIN	  576
#define ETHER_BYTES 14
#define BACKOFF_LOOK_NS (100 * CLOCK_NS_PER_MS)

/* the one open stack; there is only one, because lwIP's state is global */
static struct stack *the_stack;

int stack_errno(err_t err)
{
	switch (err) {
	case ERR_OK:
		return 0;
	case ERR_MEM:
	case ERR_BUF:
		return -ENOMEM;
	case ERR_TIMEOUT:
		return -ETIMEDOUT;
	case ERR_RTE:
		return -EHOSTUNREACH;
	case ERR_INPROGRESS:
		return -EINPROGRESS;
	case ERR_VAL:
	case ERR_ARG:
		return -EINVAL;
	case ERR_WOULDBLOCK:
		return -EAGAIN;
	case ERR_USE:
		return -EADDRINUSE;
	case ERR_ALREADY:
		return -EALREADY;
	case ERR_ISCONN:
		return -EISCONN;
	case ERR_CONN:
	case ERR_CLSD:
		return -ENOTCONN;
	case ERR_IF:
		return -EIO;
	case ERR_ABRT:
		return -ECONNABORTED;
	case ERR_RST:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

static err_t output(struct netif *netif, struct pbuf *p)
{
	struct stack *stack = netif->state;
	struct iovec pieces[STACK_OUTPUT_PIECES_MAX];
	size_t n = 0;

	for (; p && n < STACK_OUTPUT_PIECES_MAX; p = p->next) {
		pieces[n].iov_base = p->payload;
		pieces[n].iov_len = p->len;
		n++;
	}
	if (p || stack->output(stack->output_arg, pieces, n)) {
		stack->counters.output_failed++;
		return ERR_MEM;
	}
	stack->counters.frames_out++;
	return ERR_OK;
}

/* Sends an IPv4 packet. Replaces etharp_output(), whose ARP table is too small. */
static err_t output_ipv4(struct netif *netif, struct pbuf *p, const ip4_addr_t *dest)
{
	struct stack *stack = netif->state;
	const ip4_addr_t *hop =
		ip4_addr_netcmp(dest, netif_ip4_addr(netif), netif_ip4_netmask(netif))
			? dest
			: netif_ip4_gw(netif);
	struct eth_addr from, to;
	const uint8_t *mac;
	int ask;

	mac = neighbours_find(&stack->neighbours, ntohl(hop->addr), stack->now_ns, &ask);
	if (!mac)
		/* sends an ARP request and keeps the frame until the answer comes */
		return etharp_output(netif, p, dest);
	if (ask)
		(void)etharp_request(netif, hop); /* on failure we ask again in a second */
	memcpy(from.addr, netif->hwaddr, sizeof(from.addr));
	memcpy(to.addr, mac, sizeof(to.addr));
	return ethernet_output(netif, p, &from, &to, ETHTYPE_IP);
}

static err_t init_netif(struct netif *netif)
{
	struct stack *stack = netif->state;

	netif->name[0] = 'h';
	netif->name[1] = 'f';
	netif->hwaddr_len = ETH_HWADDR_LEN;
	memcpy(netif->hwaddr, stack->rules.mac, ETH_HWADDR_LEN);
	netif->output = output_ipv4;
	netif->linkoutput = output;
	/* Set no flags for IGMP or IPv6, so that lwIP joins no groups and makes no IPv6 address. */
	netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		       NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

/* Parses "a.b.c.d/n" into an address and a mask in host byte order. Returns 0 or -EINVAL. */
static int parse_address(const char *text, uint32_t *ret_address, uint32_t *ret_mask)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = text ? strchr(text, '/') : NULL;
	struct in_addr in;
	char *end;
	long bits;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = 0;
	bits = strtol(slash + 1, &end, 10);
	if (slash[1] < '0' || slash[1] > '9' || *end || bits < 1 || bits > 32 ||
	    inet_pton(AF_INET, address, &in) != 1)
		return -EINVAL;
	*ret_address = ntohl(in.s_addr);
	*ret_mask = UINT32_MAX << (32 - bits);
	return 0;
}

static int check_config(const struct stack_config *config, struct filter_rules *ret_rules,
			uint32_t *ret_gateway)
{
	struct in_addr gateway = { 0 };

	if (parse_address(config->address, &ret_rules->address, &ret_rules->mask))
		return -EINVAL;
	if (config->gateway && inet_pton(AF_INET, config->gateway, &gateway) != 1)
		return -EINVAL;
	if (config->mac[0] & 1 || (config->mtu && (config->mtu < MTU_MIN || config->mtu > 1500)))
		return -EINVAL;
	memcpy(ret_rules->mac, config->mac, sizeof(ret_rules->mac));
	*ret_gateway = ntohl(gateway.s_addr);
	return 0;
}

/* Calls lwip_init(), but only once in a process. We never call tcpip_init(), so lwIP has no thread
 * and needs no core lock. */
static void init_lwip_once(void)
{
	static bool done;
	uint32_t ticks;

	if (done)
		return;
	lwip_init();
	done = true;
	/* lwIP adds tcp_ticks to each initial sequence number. So start tcp_ticks at a random
	 * value: then the first sequence number cannot be guessed. This does not disturb lwIP's
	 * timers, which use only differences of tcp_ticks. But somebody who sees one connection's
	 * sequence number can predict those of later connections, and forge resets. */
	if (getrandom(&ticks, sizeof(ticks), GRND_NONBLOCK) == sizeof(ticks))
		tcp_ticks = ticks;
}

static int make_pools(struct stack *stack, unsigned int n_holders)
{
	unsigned int i;

	stack->holders = calloc(n_holders, sizeof(*stack->holders));
	stack->conns = calloc(stack->n_connections_max, sizeof(*stack->conns));
	if (!stack->holders || !stack->conns)
		return -ENOMEM;
	for (i = 0; i < n_holders; i++) {
		stack->holders[i].stack = stack;
		stack->holders[i].next = stack->free_holders;
		stack->free_holders = &stack->holders[i];
	}
	for (i = 0; i < stack->n_connections_max; i++) {
		stack->conns[i].stack = stack;
		stack->conns[i].next = stack->free_conns;
		stack->free_conns = &stack->conns[i];
	}
	return 0;
}

static int add_netif(struct stack *stack, uint32_t gateway, uint16_t mtu)
{
	ip4_addr_t address, mask, next_hop;

	address.addr = htonl(stack->rules.address);
	mask.addr = htonl(stack->rules.mask);
	next_hop.addr = htonl(gateway);
	if (!netif_add(&stack->netif, &address, &mask, &next_hop, stack, init_netif,
		       ethernet_input))
		return -ENOMEM;
	stack->netif.mtu = mtu ? mtu : 1500;
	netif_set_default(&stack->netif);
	netif_set_up(&stack->netif); /* announces the address by ARP */
	return 0;
}

int stack_open(const struct stack_config *config, stack_output_fn output_fn, void *output_arg,
	       struct stack **ret_stack)
{
	struct filter_rules rules;
	struct stack *stack;
	uint32_t gateway;
	int rc;

	/* check everything that can be checked before anything is allocated */
	if (the_stack)
		return -EBUSY;
	rc = check_config(config, &rules, &gateway);
	if (rc)
		return rc;
	stack = calloc(1, sizeof(*stack));
	if (!stack)
		return -ENOMEM;
	stack->rules = rules;
	stack->output = output_fn;
	stack->output_arg = output_arg;
	stack->now_ns = clock_mono_ns();
	stack->n_connections_max = config->n_connections_max ? config->n_connections_max :
							       STACK_CONNECTIONS_DEFAULT;
	stack->n_backlog_max = config->n_backlog_max ? config->n_backlog_max :
						       STACK_BACKLOG_DEFAULT;
	/* lwip_init() cannot be undone, so call it only when @config is known to be good */
	init_lwip_once();
	rc = make_pools(stack, config->n_frames_held_max ? config->n_frames_held_max :
							   STACK_FRAMES_HELD_DEFAULT);
	if (!rc)
		rc = add_netif(stack, gateway, config->mtu);
	if (rc) {
		free(stack->holders);
		free(stack->conns);
		free(stack);
		return rc;
	}
	the_stack = stack;
	*ret_stack = stack;
	return 0;
}

void stack_close(struct stack *stack)
{
	unsigned int i;

	if (!stack)
		return;
	conn_abort_all(stack);
	for (i = 0; i < stack->n_listeners; i++)
		(void)tcp_close(stack->listeners[i].pcb); /* cannot fail for a listening pcb */
	netif_remove(&stack->netif);
	the_stack = NULL;
	free(stack->holders);
	free(stack->conns);
	free(stack);
}

static void release_holder(struct pbuf *p)
{
	struct holder *holder = (struct holder *)p; /* @p is the first member of the
						     * holder's first member */
	struct stack *stack = holder->stack;

	holder->free_frame(holder->handle);
	holder->next = stack->free_holders;
	stack->free_holders = holder;
	stack->counters.n_frames_held--;
}

static struct holder *take_holder(struct stack *stack)
{
	struct holder *holder;

	if (!stack->free_holders)
		conn_prune_out_of_order(stack);
	holder = stack->free_holders;
	if (holder) {
		stack->free_holders = holder->next;
		stack->counters.n_frames_held++;
	}
	return holder;
}

/* Returns the counter of frames dropped with @verdict. Returns NULL if @verdict passes the frame to
 * lwIP. */
static uint64_t *drop_counter(struct stack *stack, enum filter_verdict verdict)
{
	struct stack_counters *counters = &stack->counters;

	switch (verdict) {
	case FILTER_ARP:
	case FILTER_ICMP_ECHO:
	case FILTER_TCP:
	case FILTER_TCP_SYN:
		return NULL;
	case FILTER_RUNT:
		return &counters->drop_runt;
	case FILTER_ETHERTYPE:
		return &counters->drop_ethertype;
	case FILTER_NOT_OURS:
		return &counters->drop_not_ours;
	case FILTER_FRAGMENT:
		return &counters->drop_fragment;
	case FILTER_SPOOFED:
		return &counters->drop_spoofed;
	case FILTER_UDP:
	case FILTER_PROTOCOL:
		return &counters->drop_protocol;
	case FILTER_MALFORMED:
	case FILTER_N_VERDICTS:
		break;
	}
	return &counters->drop_malformed;
}

/* Store the MAC of the sender of the ARP frame @arp. The filter has checked that @arp is complete,
 * and that the sender's address is in our network or 0 (an ARP probe). If the frame asks for our
 * address or answers us, the sender is added to the table. Any other ARP frame only updates an
 * entry that exists already. */
static void learn(struct stack *stack, const uint8_t *arp)
{
	uint32_t sender = bytes_get_be32(arp + 14);
	int ask;

	if (sender != 0 && (bytes_get_be32(arp + 24) == stack->rules.address ||
			    neighbours_find(&stack->neighbours, sender, stack->now_ns, &ask)))
		neighbours_learn(&stack->neighbours, sender, arp + 8, stack->now_ns);
}

void stack_input(struct stack *stack, void *data, size_t size, stack_free_fn free_frame,
		 void *handle)
{
	struct filter_view view = { 0 };
	enum filter_verdict verdict = filter_frame(&stack->rules, data, size, &view);
	uint64_t *dropped = size > FRAME_MAX ? &stack->counters.drop_malformed :
					       drop_counter(stack, verdict);
	struct holder *holder = NULL;
	struct pbuf *p;

	stack->counters.frames_in++;
	stack->counters.hint_partial_csum += view.partial_csum != 0;
	if (!dropped) {
		holder = take_holder(stack);
		dropped = holder ? NULL : &stack->counters.drop_no_holder;
	}
	if (verdict == FILTER_TCP_SYN) {
		conn_make_room(stack);
		conn_free_port(stack, view.source, view.source_port, view.dest_port);
	}
	if (verdict == FILTER_ARP && !dropped)
		learn(stack, (const uint8_t *)data + ETHER_BYTES);
	if (dropped) {
		(*dropped)++;
		free_frame(handle);
		return;
	}
	holder->free_frame = free_frame;
	holder->handle = handle;
	holder->pbuf.custom_free_function = release_holder;
	/* Cannot fail: PBUF_RAW needs no room for headers, so lwIP only compares @size with
	 * itself. */
	p = pbuf_alloced_custom(PBUF_RAW, (u16_t)size, PBUF_REF, &holder->pbuf, data,
				(u16_t)size);
	stack->depth++;
	if (stack->netif.input(p, &stack->netif) != ERR_OK)
		pbuf_free(p);
	stack->depth--;
	conn_finish_doomed(stack);
}

void stack_poll(struct stack *stack, uint64_t now_ns)
{
	stack->now_ns = now_ns;
	stack->depth++;
	sys_check_timeouts();
	stack->depth--;
	conn_finish_doomed(stack);
	conn_flush_touched(stack);
	if (now_ns - stack->backoff_ns < BACKOFF_LOOK_NS)
		return;
	stack->backoff_ns = now_ns;
	conn_bound_backoff(stack);
}

uint64_t stack_next_timeout_ns(void)
{
	uint32_t ms = sys_timeouts_sleeptime();

	return ms == SYS_TIMEOUTS_SLEEPTIME_INFINITE ? UINT64_MAX : ms * CLOCK_NS_PER_MS;
}

void stack_get_counters(const struct stack *stack, struct stack_counters *ret_counters)
{
	*ret_counters = stack->counters;
}
