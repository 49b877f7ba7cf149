/* lease.h - how long the guest of one protected VM may run on this host, according to the gateway's
 * last LEASE.
 *
 * Why: if the network cuts off the primary's host, nobody can tell it to stop its guest. So the
 * gateway lets the guest run only for a limited time, and extends this time by LEASE messages. A
 * LEASE answers one of our beats. It allows the guest to run for a given time after the moment when
 * we sent that beat, by our own clock. When the lease has expired, we stop the guest and release
 * nothing. So the gateway knows when our guest has stopped, even if it receives nothing from us.
 *
 *	 NONE ── first LEASE ──► VALID ── until_ns passes ──► ENDED
 *	                           ▲                            │
 *	                           └─── LEASE of this term ─────┘
 *	 NONE: the guest may run without a time limit (always so if the gateway gives no leases)
 *	 VALID: each LEASE that arrives before until_ns makes until_ns later
 *
 * A lease has two lengths:
 * - a time to release, short (a few beats). The gateway promotes the standby only after this time.
 *   When it has passed, frames of committed epochs wait for the next LEASE.
 * - a time to run, long, so that a late beat does not stop the guest.
 *
 * All times are clock_boot_ns(), which also counts the time while the host is suspended. So a lease
 * can expire during a suspension.
 *
 * Where: hostagent/epoch checks the lease before each release, and in each turn of its loop. The
 * control connection (vm.h) renews it. Without a gateway, the standby's vote begins a lease for a
 * new term, and LEASE messages from the standby renew that lease. Pure: the time is passed in.
 *
 * Threads: any, except lease_init() and lease_resume(). Needs no lock, so a check of the lease
 * never waits for another thread.
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

/* Begin without a lease. @is_required: this gateway gives leases, so no frame may leave before the
 * first lease has arrived. (The guest may run even so, because the gateway has just ordered this
 * host to protect it.) */
void lease_init(struct lease *lease, uint64_t term, bool is_required);

/* Get the ends of both times as they are stored, for lease_resume() in the agent's next program
 * (epoch/handed.h): a lease belongs to the host, not to a process. */
void lease_get(const struct lease *lease, uint64_t *ret_until_ns, uint64_t *ret_release_ns);
/* Begin with the lease that the agent's last program had, from lease_get(). */
void lease_resume(struct lease *lease, uint64_t term, uint64_t until_ns, uint64_t release_ns);

/* Renew the lease by a LEASE of @term, the answer to the beat that was sent at @beat_ns. The guest
 * may run until @beat_ns + @lease_ms. Its output may leave until @beat_ns + @release_ms (<=
 * @lease_ms). If a delayed LEASE ends before the present lease, nothing changes. @sent_ns: when the
 * newest beat was sent.
 * Returns 0;
 * -ESTALE: @term is not the lease's term;
 * -EINVAL: @beat_ns is later than any beat, or a length is wrong. */
int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint32_t release_ms, uint64_t sent_ns) __attribute__((warn_unused_result));

/* Begin the newer @term, to which the other party (the standby) has agreed. @asked_ns: when we
 * asked. The guest may run until @asked_ns + @lease_ms. No frame may leave before the first LEASE
 * of @term.
 * If another thread calls lease_renew() for the old term at the same time, the old LEASE can still
 * take effect. This does no harm: until the times in that LEASE have passed, its gateway lets no
 * other host run the guest. */
void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms);

/* Remove all limits, because the gateway gives no leases (any more). */
void lease_void(struct lease *lease);

/* Returns true if a lease was given and has expired. */
bool lease_is_over(const struct lease *lease, uint64_t now_ns);

/* Returns true if frames of committed epochs may leave now. Call it right before each release. */
bool lease_may_release(const struct lease *lease, uint64_t now_ns);

/* Returns the end of the time to run; UINT64_MAX if there is no limit. */
uint64_t lease_end_ns(const struct lease *lease);

/* Returns how much of the time to run is left; 0 if it has passed, or if there is no limit. */
uint64_t lease_left_ns(const struct lease *lease, uint64_t now_ns);

#endif
