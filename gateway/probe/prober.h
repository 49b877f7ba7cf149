/* prober.h - checks on the wire whether the hosts and the guest of one VM live. Pure: time,
 * randomness and output are injected.
 *
 * Why: when an agent falls silent, its TLS connection cannot tell a dead host from a busy one. A
 * host's kernel answers ARP and ICMP echo from its receive interrupt, even when every process of it
 * is stopped; a guest that answers lives, and its output is being released.
 *
 * What an answer proves, and what its absence does not:
 *	host, ARP or ICMP	its kernel runs. No answer to many probes: host or path is gone.
 *	guest, any		guest, host and path run, and the hold releases the guest's output.
 *				No answer proves nothing: the hold of a primary that cannot commit
 *				keeps every answer back. The witness sees the answer all the same.
 * ICMP and TCP answers must repeat random values of the request, so only somebody who sees the
 * requests can forge them. ARP has no room for such a value: anybody in the same network can answer
 * for others, and then also sees what is sent to the MAC it gave. docs/operations.md says so.
 *
 * Where: session/ asks (prober_set_active, prober_get); probes.c holds all probers of a process,
 * and brings frames and time.
 *
 *	set_active(on) --> a round of doubt: new cookies; at once and then every interval one frame
 *	                   to each target for each method; missed frames are not caught up
 *	set_active(off) -> nothing is sent but one RST for each SYN still open; figures stay
 *
 *	target        ARP                    ICMP echo, SYN
 *	MAC unknown   broadcast              -
 *	MAC known     to it; broadcast       to it
 *	              while it does not answer
 * An unanswered SYN is repeated unchanged, so a guest whose answers are held has at most one
 * half-open connection for each declared port, not fifty each second.
 *
 * Bounds of one VM, per interval: PROBER_FRAMES_MAX probes, PROBER_REPLIES_MAX replies (ARP, RST).
 * Frames go to configured addresses only.
 *
 * Hosts that send witness datagrams through the client network need our MAC address there even when
 * nobody is in doubt (is_sought): their ARP requests are answered at any time.
 * Threads: one, the gateway's loop. Never blocks, never allocates after probes_add().
 */
#ifndef PROBE_PROBER_H
#define PROBE_PROBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe/frames.h"

#define PROBER_HOSTS	   2
#define PROBER_PORTS_MAX   8
#define PROBER_TARGETS	   (2 * PROBER_HOSTS + 1)
#define PROBER_FRAMES_MAX  (2 * PROBER_TARGETS + PROBER_PORTS_MAX)
#define PROBER_REPLIES_MAX 16

struct prober; /* opaque; made by probes_add() */

/* The networks a gateway has a port in. */
enum prober_net {
	PROBER_NET_BACKUP,
	PROBER_NET_CLIENT,
	PROBER_N_NETS,
};

enum prober_kind {
	PROBER_HOST,	    /* a hypervisor, in the client network */
	PROBER_HOST_BACKUP, /* the same, in the backup network */
	PROBER_GUEST,	    /* in the client network */
};

enum prober_method {
	PROBER_ARP,
	PROBER_ICMP,
	PROBER_TCP, /* PROBER_GUEST only; all ports together */
	PROBER_N_METHODS,
};

/* All addresses in host byte order; 0: that target is not probed. */
struct prober_config {
	uint32_t host[PROBER_HOSTS];	    /* by host index, as struct vm_config's host[] */
	uint32_t host_backup[PROBER_HOSTS];
	uint32_t guest;
	/* All zero: learned from the guest's ARP replies. If set, ICMP and TCP reach the guest (and
	 * its witness) even while the hold keeps its ARP replies back, and no other MAC counts. */
	uint8_t guest_mac[FRAMES_MAC_BYTES];
	uint16_t guest_ports[PROBER_PORTS_MAX];
	size_t n_guest_ports;
	uint64_t interval_ns;
	bool is_sought; /* answer host[]'s ARP requests in the client network even without doubt */
};

/* Counts of one target and method. "Round": since the last change to active. */
struct prober_count {
	uint64_t sent, answered;	     /* since the start */
	uint64_t round_sent, round_answered; /* answered counts a probe once */
	uint64_t unanswered;		     /* of the round, sent since the last answer */
	uint64_t first_sent_ns;		     /* of the round; 0: none yet */
	uint64_t last_sent_ns, last_answer_ns; /* of any round; 0: never */
};

struct prober_figures {
	bool configured; /* has an address, and the gateway a port in its network */
	bool has_mac;	 /* ICMP and TCP can be sent */
	uint64_t refused; /* of the TCP answers, those from a closed port */
	struct prober_count by[PROBER_N_METHODS];
	struct prober_count all; /* sums; earliest first_sent_ns, latest others; unanswered:
				  * by any method since the last answer to any */
};

/* Begin or end a round of doubt at @now_ns. The same value again changes nothing. NULL: no effect.
 * Either may send RSTs. The first probes of a round go out at the next probes_tick(). */
void prober_set_active(struct prober *prober, bool active, uint64_t now_ns);

/* Probe without doubt until @until_ns, for an operator who wants to see who answers. A running
 * round goes on. A doubt that begins meanwhile starts a round of its own. NULL: no effect. */
void prober_try(struct prober *prober, uint64_t until_ns, uint64_t now_ns);

/* Is it probing, for either reason? */
bool prober_is_active(const struct prober *prober);

/* The figures of @kind of host @host (0 or 1; ignored for PROBER_GUEST). NULL: all zero. */
void prober_get(const struct prober *prober, enum prober_kind kind, unsigned int host,
		struct prober_figures *ret_figures);

#endif
