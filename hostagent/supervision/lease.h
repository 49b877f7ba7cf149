/* lease.h - how long the guest of one protected VM may run here, as the gateway last said.
 *
 * Why: a primary that is cut off cannot be told that it was outvoted. So it must be told, again and
 * again, that it was not. Each LEASE lets its guest run until a time of our own clock, counted from
 * when we sent the beat that the LEASE answers. When the lease is over, the guest stands still and
 * nothing is released. The gateway may rely on this without hearing from us.
 *
 *	       renewed in time                  renewed, same term
 *	 NONE ────────────────► VALID ◄──────────────────────────── ENDED
 *	 (a gateway without       └──────── until_ns passes ──────────▲
 *	  leases: no limit)
 *
 * A lease has two lengths. The standby may be promoted as soon as no more frames can leave here,
 * which must be soon after this host fell silent. But stopping the guest for each late beat would
 * cost too much. So the time to release is short (a few beats), and epochs committed after it wait
 * for the next LEASE; the time to run is long.
 *
 * All times are clock_boot_ns(), so a host that was suspended has no valid lease when it wakes.
 *
 * Where: hostagent/epoch asks it before each release and each turn; the control connection (vm.h)
 * and, without a gateway, the standby's votes renew it. Pure: the time is handed in.
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
	_Atomic uint64_t term;	   /* of the protection */
	_Atomic uint64_t until_ns; /* end of the time to run; 0: no lease was ever given */
	_Atomic uint64_t release_ns; /* end of the time to release; 0: same as until_ns */
};

/* @is_required: this gateway gives leases, so no frame leaves before the first one came. (The guest
 * may run: if the agent was restarted, the gateway has just ordered it to protect the guest.) */
void lease_init(struct lease *lease, uint64_t term, bool is_required);

/* A LEASE of @term came, in answer to the beat of @beat_ns: the guest may run for @lease_ms from
 * then, and its output may leave for @release_ms (<= @lease_ms). @sent_ns: time of the newest beat
 * that was sent. A LEASE that ends before the one in force came late, and changes nothing. 0;
 * -ESTALE: another term; -EINVAL: the beat was never sent, or a length is wrong. */
int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint32_t release_ms, uint64_t sent_ns) __attribute__((warn_unused_result));

/* A newer @term begins, which another party agreed to when it was asked at @asked_ns: the guest may
 * run for
 * @lease_ms from then, but nothing may leave before the first LEASE of that term. If another thread
 * is taking a LEASE of the old term at this moment, it may still count: it is no longer than one
 * that came just before. */
void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms);

/* The gateway gives no leases, or stopped giving them: there is no limit. */
void lease_void(struct lease *lease);

/* True: a lease was given and is over. */
bool lease_is_over(const struct lease *lease, uint64_t now_ns);

/* May committed frames leave now? Ask right before each release. */
bool lease_may_release(const struct lease *lease, uint64_t now_ns);

/* When the lease ends; UINT64_MAX: no limit. */
uint64_t lease_end_ns(const struct lease *lease);

/* Time left of the lease; 0: it is over, or there is no limit. */
uint64_t lease_left_ns(const struct lease *lease, uint64_t now_ns);

#endif
