/* prober_private.h - what prober.c and probes.c share. Not for others.
 * Threads: as prober.h.
 */
#ifndef PROBE_PROBER_PRIVATE_H
#define PROBE_PROBER_PRIVATE_H

#include "probe/probes.h"

/* The present or last SYN to one port. */
struct prober_syn {
	struct frames_tcp tcp; /* dest_port 0: none was made yet */
	bool waiting;	       /* sent and not answered: repeat it, do not replace it */
};

struct prober_target {
	uint32_t ip; /* 0: not configured */
	enum prober_net net;
	uint8_t mac[FRAMES_MAC_BYTES];
	bool has_mac;
	bool fixed_mac;	 /* configured: no other MAC answers for this target */
	bool arp_waits;	 /* the last request was not answered: broadcast the next one */
	struct frames_echo echo; /* of the round; seq is the last echo's */
	uint64_t echo_answered;	 /* bit n: the echo with seq - n was answered */
	uint64_t refused;
	uint64_t unanswered;	 /* probes of the round since the last answer */
	struct prober_count by[PROBER_N_METHODS];
};

/* A port in one network. */
struct prober_port {
	bool open;
	struct frames_end us;
	bool answers_arp; /* nobody else answers for our address there */
	probes_output_fn output;
	void *output_arg;
};

struct prober {
	struct probes *all;
	struct prober_target targets[PROBER_TARGETS]; /* hosts, hosts' backup, guest */
	struct prober_syn syns[PROBER_PORTS_MAX];
	uint16_t ports[PROBER_PORTS_MAX];
	size_t n_ports;
	uint64_t interval_ns;
	uint64_t next_ns; /* when active */
	uint64_t replies_ns;	/* when the interval began ... */
	unsigned int n_replies; /* ... and replies sent in it */
	bool is_sought;
	uint64_t try_until_ns;	/* when an operator's try ends; 0: none */
	bool doubt;		/* the last value of prober_set_active() */
	bool active;		/* for doubt or a try */
};

struct probes {
	struct prober *list[PROBES_MAX];
	size_t n;
	size_t n_active;
	bool has_sought; /* some prober is_sought */
	struct prober_port ports[PROBER_N_NETS];
	probes_random_fn random;
	void *random_arg;
	struct probes_counters counters;
};

/* Set up @prober, inactive, with the targets of @config. */
void prober_init(struct prober *prober, struct probes *all, const struct prober_config *config);

/* Send what is due at @now_ns. */
void prober_tick(struct prober *prober, uint64_t now_ns);

/* Handle a parsed frame from @net. True: the frame answers a probe of this prober, or the prober
 * answered it. */
bool prober_take(struct prober *prober, enum prober_net net, enum frames_kind kind,
		 const struct frames_view *view, uint64_t now_ns);

#endif
