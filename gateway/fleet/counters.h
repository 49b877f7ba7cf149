/* counters.h - the gateway's counters, and the names under which operators see them.
 *
 * Where: every directory that uses fleet/ counts with counters_add(). fleet_print_counters() prints
 * all counters. Threads: the gateway's loop.
 */
#ifndef FLEET_COUNTERS_H
#define FLEET_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/counters.h"
#include "wire/tls.h"
#include "witness/witness_rx.h"

/* Reasons for refusing a connection, in the order in which their counters are printed. */
enum fleet_refusal {
	FLEET_REFUSED_VERSION,
	FLEET_REFUSED_FEATURE,
	FLEET_REFUSED_DUPLICATE,
	FLEET_REFUSED_STALE_TERM,
	FLEET_REFUSED_UNKNOWN_VM,
	FLEET_REFUSED_IDENTITY,
	FLEET_REFUSED_BAD_FRAME,
	FLEET_REFUSED_BAD_CHECKSUM,
	FLEET_REFUSED_NOT_ASKED,
	FLEET_REFUSED_BUSY,
	FLEET_REFUSED_EVICTED,
	FLEET_REFUSED_TIMEOUT,
	FLEET_REFUSED_SLOW,
	FLEET_REFUSED_OLD_GATEWAY,
	FLEET_REFUSED_WRONG_ROLE,
	FLEET_REFUSED_TLS_EXPIRED,
	FLEET_REFUSED_TLS_NOT_YET_VALID,
	FLEET_REFUSED_TLS_SELF_SIGNED,
	FLEET_REFUSED_TLS_UNKNOWN_CA,
	FLEET_REFUSED_TLS_REVOKED,
	FLEET_REFUSED_TLS_BAD_IDENTITY,
	FLEET_REFUSED_TLS_NO_CERTIFICATE,
	FLEET_REFUSED_TLS_BAD_CERTIFICATE,
	FLEET_REFUSED_TLS_OLD_VERSION,
	FLEET_REFUSED_TLS_PEER_REFUSED,
	FLEET_REFUSED_TLS_PROTOCOL,
	FLEET_N_REFUSALS
};

struct fleet_counters {
	uint64_t sessions_opened, sessions_closed, sessions_now, handshakes_now, closing_now;
	uint64_t bytes_in, bytes_out, frames_in, frames_out;
	uint64_t beats, leases, reports, orders_sent, orders_done, resumes, commits;
	uint64_t epoch_acks, epoch_acks_stale;
	uint64_t relay_frames, relay_bytes, relay_dropped, relay_blocked, relay_errors;
	uint64_t journal_writes, journal_errors;
	uint64_t events, events_suppressed, promotions;
	/* Number of VMs whose health word is SAFE; number of other VMs, including those that cannot
	 * be protected; total number of changes of health words. Counted when the counters are
	 * printed. */
	uint64_t vms_safe, vms_not_safe, health_changes;
	/* Number of hosts that are being drained, or being taken back; number of hosts that are
	 * drained. Counted when the counters are printed. */
	uint64_t hosts_draining, hosts_drained;
	/* Copied from probes_get_counters() when the counters are printed. */
	uint64_t probes_sent, probes_answered, probe_replies, probes_lost, probes_malformed,
		probes_stray;
	uint64_t witness_keys;
	/* Copied from witness_rx_count() when the counters are printed. */
	uint64_t witness[WIRE_WITNESS_N_PATHS][WITNESS_RX_N_VERDICTS];
	/* UDP datagrams on ports that accept witness datagrams, but malformed or not sent to our
	 * witness port */
	uint64_t udp_unwanted;
	/* the part of udp_unwanted that the kernel dropped (witnessing.h) */
	uint64_t shield_dropped;
	uint64_t refused[FLEET_N_REFUSALS];
};

extern const struct counters_row fleet_counter_rows[];
extern const size_t fleet_n_counter_rows;

/* Returns the reason to count for a TLS connection (an agent's or an operator's) that ended with
 * @failure. */
enum fleet_refusal fleet_tls_refusal(enum wire_tls_failure failure);

struct fleet;

/* Print all counters as name=value lines. The relays' counters are summed over all VMs. */
void fleet_print_counters(struct fleet *fleet, struct bytes_writer *w);

#endif
