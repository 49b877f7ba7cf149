/* lease.h - how long the guest of one protected VM may run here, according to the gateway's
 * last LEASE.
 *
 * Why: if the primary's host is cut off from the network, nobody can tell it to stop its guest
 * before the standby is promoted. So the primary may run the guest for a limited time only. The
 * gateway extends this time again and again by LEASE messages. A LEASE answers one of our beats. It
 * allows the guest to run for a given time from when we sent that beat, by our own clock. When the
 * lease has expired, we stop the guest and release nothing. So the gateway knows when our guest has
 * stopped, even if it receives nothing from us.
 *
 *	 NONE ── first LEASE ──► VALID ── until_ns passes ──► ENDED
 *	                           ▲                            │
 *	                           └─── LEASE of this term ─────┘
 *	 NONE: the guest may run without a time limit (always so if the gateway gives no leases)
 *	 VALID: each LEASE that arrives before until_ns makes until_ns later
 *
 * A lease has two lengths: a time to release and a time to run. The standby may be promoted only
 * when no more frames can leave this host. So releases must end soon after the gateway has last
 * heard from this host. But the guest should not be stopped each time that a beat is late. So the
 * time to release is short (a few beats), and the time to run is long. When the time to release has
 * ended, the frames of committed epochs wait for the next LEASE.
 *
 * All times are clock_boot_ns(), which also counts suspended time. So a lease can expire while its
 * host is suspended.
 *
 * Where: hostagent/epoch checks the lease before each release and in each turn of its loop. The
 * control connection (vm.h) renews the lease. Without a gateway, the standby's vote begins the
 * lease of a new term, and LEASE messages from the standby renew it. Pure: the time is passed in.
 *
 * Threads: any, except lease_init(). Needs no lock, so a check of the lease never waits for another
 * thread.
 */
#ifndef LEASE_H
#define LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lease {
	_Atomic uint64_t term;	   /* the term to which the lease belongs */
	_Atomic uint64_t until_ns; /* end of the time to run; 0 if there is no limit */
	_Atomic uint64_t release_ns; /* end of the time to release; 0 if there is no limit */
};

/* Start without a lease. @is_required: this gateway gives leases, so no frame may leave before the
 * first one has arrived. (The guest may run all the same: the gateway has just ordered this host to
 * protect it.) */
void lease_init(struct lease *lease, uint64_t term, bool is_required);

/* Renew the lease because of a LEASE of @term that answers the beat sent at @beat_ns. The guest may
 * run until @beat_ns + @lease_ms, and its output may leave until @beat_ns + @release_ms (<=
 * @lease_ms). @sent_ns: when the newest beat was sent. If the LEASE was delayed and ends before the
 * current lease, nothing changes. Returns 0; -ESTALE if @term is not the lease's term; or -EINVAL
 * if the beat was never sent, or a length is wrong. */
int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint32_t release_ms, uint64_t sent_ns) __attribute__((warn_unused_result));

/* Begin a newer @term. At @asked_ns we asked another party (the standby) to agree to this term, and
 * it has agreed. The guest may run until @asked_ns + @lease_ms, but no frame may leave before the
 * first LEASE of @term. If another thread calls lease_renew() for the old term at the same time,
 * the old term's LEASE may still take effect. This does no harm: its gateway lets no other host run
 * the guest before the times in the LEASE have passed. */
void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms);

/* Remove all limits, because the gateway gives no leases, or no longer gives them. */
void lease_void(struct lease *lease);

/* Returns true if a lease was given and has expired. */
bool lease_is_over(const struct lease *lease, uint64_t now_ns);

/* Returns true if frames of committed epochs may leave now. Call it right before each release. */
bool lease_may_release(const struct lease *lease, uint64_t now_ns);

/* Returns the time at which the lease ends, or UINT64_MAX if it has no limit. */
uint64_t lease_end_ns(const struct lease *lease);

/* Returns how much time of the lease is left; 0 if it has expired, or if it has no limit. */
uint64_t lease_left_ns(const struct lease *lease, uint64_t now_ns);

#endif
