/* prober.h - probes the hosts and the guest of one VM over the network, to see whether they live.
 * Pure: the caller supplies the time, the random numbers and the function that sends frames.
 *
 * When an agent falls silent, its TLS connection does not show whether its host is dead or only
 * busy. Probes show this: a host's kernel answers ARP and ICMP echo in its receive interrupt, even
 * when all processes are stopped.
 *
 *      target   an answer proves                     silence proves
 *      host     the host's kernel runs               after many probes: the host, or the path to
 *                                                    it, is gone
 *      guest    guest, host and path work, and the   nothing: without commits, the primary holds
 *               guest's output is being released     the guest's answers back
 *
 * ICMP and TCP answers must repeat random values of the request, so only somebody who sees the
 * requests can forge answers. ARP has no room for such a value. So any host in the same network can
 * forge ARP answers, and attract frames to its own MAC. docs/operations.md warns of this.
 *
 * Where: fleet/evidence.c switches a prober on and off (prober_set_active) and reads its counts
 * (prober_get). The prober is on while there is a "doubt": the detector suspects the primary, or a
 * promoted guest has not answered yet. probes.c passes received frames and the time to all probers.
 *
 *      prober_set_active(true)   begins a round with new random values. At once, and then in every
 *	                          interval, one frame is sent to each target for each method.
 *	                          Frames that were due while the loop stalled are not sent later.
 *	prober_set_active(false)  ends the round: one RST is sent for each SYN that is still
 *	                          unanswered, and then nothing. The figures are kept. But if
 *	                          prober_try() asked for probes until a later time, the round
 *	                          ends only at that time.
 *
 *	target's MAC  ARP request                        ICMP echo, SYN
 *	unknown       broadcast                          not sent
 *	known         sent to the MAC, or broadcast if   sent to the MAC
 *	              the last request is unanswered
 *
 * An unanswered SYN is repeated unchanged. So a guest whose answers are held back gets at most one
 * half-open connection for each TCP port that is probed.
 *
 * Limits for one VM and interval: 2 * PROBER_TARGETS + PROBER_PORTS_MAX probes, and
 * PROBER_REPLIES_MAX replies (ARP, RST).
 * Frames go to configured addresses only.
 *
 * Some hosts send witness datagrams through the client network. They always need the gateway's MAC
 * address there. So if is_sought is set, the prober answers their ARP requests even while it is
 * off.
 * Threads: one, the gateway's loop. Never blocks, never allocates after probes_add().
 */
#ifndef PROBE_PROBER_H
#define PROBE_PROBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe/frames.h"

#define PROBER_HOSTS	   3
#define PROBER_PORTS_MAX   8
#define PROBER_TARGETS	   (2 * PROBER_HOSTS + 1)
#define PROBER_REPLIES_MAX 16

struct prober; /* opaque; made by probes_add() */

/* The networks in which a gateway can have a port. */
enum prober_net {
	PROBER_NET_BACKUP,
	PROBER_NET_CLIENT,
	PROBER_N_NETS,
};

enum prober_kind {
	PROBER_HOST,	    /* a hypervisor, in the client network */
	PROBER_HOST_BACKUP, /* a hypervisor, in the backup network */
	PROBER_GUEST,	    /* the guest, in the client network */
};

enum prober_method {
	PROBER_ARP,
	PROBER_ICMP,
	PROBER_TCP, /* only for PROBER_GUEST; its counts are sums over all ports */
	PROBER_N_METHODS,
};

/* All addresses are in host byte order. A target with address 0 is not probed. */
struct prober_config {
	uint32_t host[PROBER_HOSTS]; /* the hosts in the order of host[] in struct vm_config */
	uint32_t host_backup[PROBER_HOSTS];
	uint32_t guest;
	/* The guest's MAC; all zero: not configured. ICMP and TCP probes need a MAC. So without a
	 * configured one, they begin only after the guest's first ARP reply, which can be held back
	 * like all of the guest's output. With a configured MAC, ARP replies with another MAC are
	 * ignored. */
	uint8_t guest_mac[FRAMES_MAC_BYTES];
	uint16_t guest_ports[PROBER_PORTS_MAX];
	size_t n_guest_ports;
	uint64_t interval_ns;
	/* true: answer ARP requests of host[] in the client network, even while the prober is
	 * off */
	bool is_sought;
};

/* Counts for one target and one method. A round of probes begins when prober_set_active() switches
 * the prober on, or when prober_try() is called while the prober is off. */
struct prober_count {
	uint64_t sent, answered;	     /* counts since the prober was made */
	/* counts in this round; each answered probe counts once */
	uint64_t round_sent, round_answered;
	uint64_t unanswered; /* probes sent in this round, after the last answer */
	uint64_t first_sent_ns; /* when the first probe of this round was sent; 0: none yet */
	uint64_t last_sent_ns, last_answer_ns; /* times in any round; 0: never */
};

struct prober_figures {
	/* true if the target has an address, and the gateway has a port in the target's network */
	bool configured;
	/* true if the target's MAC is known, so that ICMP and TCP probes can be sent */
	bool has_mac;
	uint64_t refused; /* number of TCP answers that came from a closed port */
	struct prober_count by[PROBER_N_METHODS];
	/* All methods together. sent and answered are sums. first_sent_ns is the earliest time of
	 * any method. last_sent_ns and last_answer_ns are the latest times of any method.
	 * unanswered counts the probes of any method since the last answer to any method. */
	struct prober_count all;
};

/* Begin (@active is true) or end (false) a round of probes at @now_ns, because a doubt has begun or
 * ended. The top of this file explains doubts. Can send RSTs in both cases. After a beginning, the
 * next probes_tick() sends the first probes. Does nothing if @active is the same as in the last
 * call, or if @prober is NULL. */
void prober_set_active(struct prober *prober, bool active, uint64_t now_ns);

/* Probe until @until_ns even if there is no doubt, because an operator wants to see who answers. If
 * a round is running, it continues; if not, a new round begins. If a doubt begins before @until_ns,
 * another round begins. Does nothing if @prober is NULL. */
void prober_try(struct prober *prober, uint64_t until_ns, uint64_t now_ns);

/* Is the prober sending probes? (Because of a doubt, or for an operator.) */
bool prober_is_active(const struct prober *prober);

/* Get the figures of one target. If @kind is PROBER_HOST or PROBER_HOST_BACKUP, the target is the
 * host with index @host (0..PROBER_HOSTS-1). If @kind is PROBER_GUEST, @host is ignored. If @prober
 * is NULL, all figures are zero. */
void prober_get(const struct prober *prober, enum prober_kind kind, unsigned int host,
		struct prober_figures *ret_figures);

#endif
