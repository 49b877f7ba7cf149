/* probes.h - all probers of a gateway, its ports, incoming frames, and time.
 *
 * Where: main makes it, adds a prober for each VM that has addresses to probe, and brings it frames
 * and time. Users of fleet.h reach a VM's prober through struct fleet_vm. prober.h says what is
 * sent and when.
 *
 *	main: port_receive() -> probes_input() -> (backup network only) stack_input()
 *	      probes_tick() at probes_deadline_ns()          '-> output -> port_transmit()
 *
 * While no prober is active every call returns at once without a look at the frames. The exception
 * is ARP requests in the client network where a prober is_sought. Threads: one, the gateway's loop.
 * Allocates only in new and add. Never blocks, unless @random does.
 */
#ifndef PROBE_PROBES_H
#define PROBE_PROBES_H

#include "probe/prober.h"

#define PROBES_MAX 64 /* VMs */

struct probes; /* opaque */

/* Send one frame, valid during the call. 0, or -errno: it is lost and counted. */
typedef int (*probes_output_fn)(void *output_arg, const void *frame, size_t size);

/* Returns 64 bits that nobody can guess. */
typedef uint64_t (*probes_random_fn)(void *random_arg);

struct probes_counters {
	uint64_t sent;	    /* probes sent */
	uint64_t answered;  /* probes answered, each counted once */
	uint64_t replies;   /* ARP replies and RSTs sent */
	uint64_t lost;	    /* the output refused a frame */
	uint64_t malformed; /* frames that claim to be answers and are broken */
	uint64_t stray;	    /* well-formed frames that answer no
			     * probe of ours, or repeat an answer */
};

/* 0 or -ENOMEM. */
int probes_new(probes_random_fn random, void *random_arg, struct probes **ret_probes)
	__attribute__((warn_unused_result));
/* Frees all probers, sends nothing. NULL is allowed. Returns NULL. */
struct probes *probes_free(struct probes *probes);

/* Set our end in @net, so that targets there can be probed. @answers_arp: while active, answer
 * configured targets that ask for our address (where no TCP stack of ours does). */
void probes_open_net(struct probes *probes, enum prober_net net, const struct frames_end *us,
		     bool answers_arp, probes_output_fn output, void *output_arg);

/* Add a VM. 0: *ret_prober lives as long as @probes; -ENOSPC: PROBES_MAX; -ENOMEM; -EINVAL: too
 * many ports or interval 0. */
int probes_add(struct probes *probes, const struct prober_config *config,
	       struct prober **ret_prober) __attribute__((warn_unused_result));

/* Is any prober in a round of doubt? */
bool probes_active(const struct probes *probes);

/* Send what is due. */
void probes_tick(struct probes *probes, uint64_t now_ns);

/* The next time at which probes_tick() has something to send; UINT64_MAX: never. */
uint64_t probes_deadline_ns(const struct probes *probes);

/* A frame came from @net. True: it was an answer to a probe and concerns nobody else. False: others
 * may want it; this includes ARP replies that were taken. */
bool probes_input(struct probes *probes, enum prober_net net, const void *data, size_t size,
		  uint64_t now_ns);

/* NULL: all counters are zero. */
void probes_get_counters(const struct probes *probes, struct probes_counters *ret_counters);

#endif
