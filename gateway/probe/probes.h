/* probes.h - all probers of a gateway. Passes received frames and the current time to each.
 *
 * Where: networks/probing.c creates a struct probes, and adds a prober for each VM that has
 * addresses to probe. main calls the functions below. Other directories reach a VM's prober through
 * struct fleet_vm. prober.h says what is sent and when.
 *
 *	received frame:           port_receive() -> probes_input()
 *	                          then, in the backup network only: stack_input()
 *	at probes_deadline_ns():  probes_tick()
 *
 * To send a frame, probes_input() and probes_tick() call the callback probes_output_fn, which calls
 * port_transmit().
 *
 * While no prober is active, probes_input() ignores all frames, with one exception: if some prober
 * has is_sought set, ARP requests in the client network are answered.
 * Threads: one, the gateway's loop. Only probes_new() and probes_add() allocate. Never blocks,
 * unless the callback @random does.
 */
#ifndef PROBE_PROBES_H
#define PROBE_PROBES_H

#include "probe/prober.h"

#define PROBES_MAX 64 /* maximum number of probers, one per VM */

struct probes; /* opaque */

/* A callback that sends @frame, which is valid only during the call. It returns 0 or -errno; on
 * error the frame is lost and counted. */
typedef int (*probes_output_fn)(void *output_arg, const void *frame, size_t size);

/* A callback that returns 64 random bits that nobody can guess. */
typedef uint64_t (*probes_random_fn)(void *random_arg);

struct probes_counters {
	uint64_t sent;	    /* probes sent */
	uint64_t answered;  /* probes answered, each counted once */
	uint64_t replies;   /* ARP replies and RSTs sent */
	uint64_t lost;	    /* frames that the output function refused */
	uint64_t malformed; /* broken frames that look like answers */
	uint64_t stray; /* well-formed answers that fit no probe of ours, or that are repeated */
};

/* Make an empty set of probers. Returns 0 or -ENOMEM. */
int probes_new(probes_random_fn random, void *random_arg, struct probes **ret_probes)
	__attribute__((warn_unused_result));
/* Free @probes and all its probers, without sending anything. NULL is fine. Returns NULL. */
struct probes *probes_free(struct probes *probes);

/* Set our addresses in the network @net to @us, so that targets in this network can be probed.
 * Probers send their frames there by calling @output with @output_arg. If @answers_arp is true,
 * active probers answer their targets' ARP requests for our address, and so do others that have
 * is_sought. Set @answers_arp for a network in which no TCP stack of ours answers these
 * requests. */
void probes_open_net(struct probes *probes, enum prober_net net, const struct frames_end *us,
		     bool answers_arp, probes_output_fn output, void *output_arg);

/* Add a prober for one VM. Returns 0 and sets *ret_prober, which lives as long as @probes. Errors:
 *      -ENOSPC  there are PROBES_MAX probers already
 *      -ENOMEM  memory is short
 *      -EINVAL  @config has too many guest ports, or an interval of 0 */
int probes_add(struct probes *probes, const struct prober_config *config,
	       struct prober **ret_prober) __attribute__((warn_unused_result));

/* Let @prober, one of @probes, probe the addresses in @config from now on. Everything about the old
 * addresses is forgotten. Returns 0. Returns -EINVAL for the same reasons as probes_add(); then
 * nothing has changed. */
int probes_change(struct probes *probes, struct prober *prober, const struct prober_config *config,
		  uint64_t now_ns) __attribute__((warn_unused_result));

/* Is any prober active? */
bool probes_active(const struct probes *probes);

/* Send the probes that are due. */
void probes_tick(struct probes *probes, uint64_t now_ns);

/* Returns when probes_tick() will next have something to send, or UINT64_MAX if never. */
uint64_t probes_deadline_ns(const struct probes *probes);

/* Handle a frame received from @net. Returns true if the frame answered a probe and no other part
 * of the gateway needs it. Returns false if the caller must also offer the frame to the other
 * parts. This is so for all ARP frames, because lwIP needs them too. */
bool probes_input(struct probes *probes, enum prober_net net, const void *data, size_t size,
		  uint64_t now_ns);

/* Get the counters. If @probes is NULL, all of them are zero. */
void probes_get_counters(const struct probes *probes, struct probes_counters *ret_counters);

#endif
