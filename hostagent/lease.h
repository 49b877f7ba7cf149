/* lease.h - how long the guest of one protected VM may run here, as the gateway last said.
 *
 * Why: a primary that is cut off cannot be told that it was outvoted. So it needs to be told, again and
 * again, that it was not: each LEASE lets its guest run until a time of our own clock, counted from when
 * we sent the beat that it answers. When that is over, the guest stands still and nothing is released,
 * and the gateway may count on it without hearing from us.
 *
 *	       renewed in time                  renewed, same term
 *	 NONE ────────────────► VALID ◄──────────────────────────── ENDED
 *	 (a gateway without       └──────── until_ns passes ──────────▲
 *	  leases: no limit)
 *
 * Two lengths. A standby may be promoted as soon as nothing more can leave here, and that must be soon after
 * this host fell silent; to stop a guest for each late beat would be dear. So the time to release is short
 * (a few beats), and what is committed after it waits for the next answer; the time to run is long.
 *
 * All its times are clock_boot_ns(): a host that was suspended has no lease that still counts when it wakes.
 *
 * Where: hostagent/epoch asks it before each release and each turn; the control connection (vm.h) and,
 * without a gateway, the standby's votes renew it. Pure: the time is handed in.
 *
 * Threads: any, but lease_init(). Who judges needs no lock that another thread may hold for long.
 */
#ifndef LEASE_H
#define LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lease {
	_Atomic uint64_t term;	   /* of the protection */
	_Atomic uint64_t until_ns; /* 0: none was ever given */
	_Atomic uint64_t release_ns; /* until then what is committed may leave; 0: as long as until_ns */
};

/* @is_required: this gateway gives leases, so nothing leaves before the first one came (the guest may run: an
 * agent that restarted has just been ordered to protect it). */
void lease_init(struct lease *lease, uint64_t term, bool is_required);

/* A LEASE of @term came, in answer to the beat of @beat_ns: the guest may run for @lease_ms from then, and its
 * output leave for @release_ms (<= @lease_ms). @sent_ns: the newest beat that was sent. A lease that ends before
 * the one in force is late and changes nothing.
 * 0; -ESTALE: of another term; -EINVAL: for a beat that was never sent, or without length. */
int lease_renew(struct lease *lease, uint64_t term, uint64_t beat_ns, uint32_t lease_ms,
		uint32_t release_ms, uint64_t sent_ns) __attribute__((warn_unused_result));

/* A newer @term begins, which another party agreed to when it was asked at @asked_ns: the guest may run for
 * @lease_ms from then, but nothing leave before the first LEASE of that term. A LEASE of the old term that is being taken at this moment may still count: it is
 * no longer than one that came just before. */
void lease_enter(struct lease *lease, uint64_t term, uint64_t asked_ns, uint32_t lease_ms);

/* The gateway gives no leases (any more): no limit. */
void lease_void(struct lease *lease);

/* True: one was given and is over. */
bool lease_is_over(const struct lease *lease, uint64_t now_ns);

/* May what is committed leave now? To be asked right before it does. */
bool lease_may_release(const struct lease *lease, uint64_t now_ns);

/* When it ends; UINT64_MAX: no limit. */
uint64_t lease_end_ns(const struct lease *lease);

/* Of the lease in force; 0: it is over, or there is no limit. */
uint64_t lease_left_ns(const struct lease *lease, uint64_t now_ns);

#endif
