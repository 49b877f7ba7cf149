/* prober_private.h - types and functions shared by prober.c and probes.c.
 * No other file includes it.
 * Threads: see prober.h.
 */
#ifndef PROBE_PROBER_PRIVATE_H
#define PROBE_PROBER_PRIVATE_H

#include "probe/probes.h"

/* The latest SYN to one port of the guest. */
struct prober_syn {
	struct frames_tcp tcp; /* dest_port is 0 until the first SYN is made */
	bool waiting; /* true while the SYN is unanswered: it is repeated, and no new one is made */
};

struct prober_target {
	uint32_t ip; /* the target's address; 0: not configured */
	enum prober_net net;
	uint8_t mac[FRAMES_MAC_BYTES];
	bool has_mac;
	bool fixed_mac;  /* true if the MAC is configured: ignore answers from any other MAC */
	bool arp_waits; /* the last ARP request is unanswered, so the next one is broadcast */
	/* the latest echo request: id and cookie are the same for the whole round, seq grows */
	struct frames_echo echo;
	/* bit n is set if the echo request with number seq - n was answered */
	uint64_t echo_answered;
	uint64_t refused;
	uint64_t unanswered;	 /* probes sent in this round since the last answer */
	struct prober_count by[PROBER_N_METHODS];
};

/* The gateway's port in one network. */
struct prober_port {
	bool open;
	struct frames_end us;
	/* true if the prober must answer ARP for our address in this network, because neither lwIP
	 * nor a kernel does */
	bool answers_arp;
	probes_output_fn output;
	void *output_arg;
};

struct prober {
	struct probes *all;
	/* The targets: first the hosts in the client network, then the hosts in the backup network,
	 * then the guest. */
	struct prober_target targets[PROBER_TARGETS];
	struct prober_syn syns[PROBER_PORTS_MAX];
	uint16_t ports[PROBER_PORTS_MAX];
	size_t n_ports;
	uint64_t interval_ns;
	uint64_t next_ns; /* when the next probes are sent; valid while active */
	uint64_t replies_ns;	/* start of the interval in which replies are counted */
	unsigned int n_replies; /* replies sent since replies_ns */
	bool is_sought;
	uint64_t try_until_ns;	/* when the operator's prober_try() ends; 0: none */
	bool doubt;		/* the last @active given to prober_set_active() */
	bool active;		/* true while probing, because of a doubt or of prober_try() */
};

struct probes {
	struct prober *list[PROBES_MAX];
	size_t n;
	size_t n_active;
	bool has_sought; /* true if at least one prober has is_sought set */
	struct prober_port ports[PROBER_N_NETS];
	probes_random_fn random;
	void *random_arg;
	struct probes_counters counters;
};

/* Initialise @prober as inactive, with the targets of @config. */
void prober_init(struct prober *prober, struct probes *all, const struct prober_config *config);

/* Send the probes that are due at @now_ns. */
void prober_tick(struct prober *prober, uint64_t now_ns);

/* Handle a parsed frame that came from @net. Returns true if the frame answers a probe of this
 * prober, or if it is a request and the prober answered it. */
bool prober_take(struct prober *prober, enum prober_net net, enum frames_kind kind,
		 const struct frames_view *view, uint64_t now_ns);

#endif
