/* watch.h - says when to check whether the guest's taps and devices have changed since the engine
 * attached to it. Pure: it decides by times and signs of a change.
 *
 * Why: a check of QEMU's taps takes 0.1 ms, and a check of its lists of devices occupies its
 * monitor for some milliseconds. So these checks cannot be made all the time, and never in a pause.
 * Instead, signs that cost nothing show when a check is needed:
 * - each seal gives the mark of the saved sections, which is a hash of them (vmm/sections.h);
 * - each seal also gives the size of QEMU's address space, which grows when memory is added to
 *   the guest;
 * - the kernel reports changes of network devices;
 * - QEMU reports devices that are gone.
 * Periodic checks find changes without such a sign. A check of the devices is made after a seal and
 * before the sealed epoch's end is sent. So the standby does not get the whole of an epoch that it
 * could not load.
 *
 *	sign                                    check    when
 *      a network device changed                taps     at once, at most once in WATCH_TAPS_MIN_NS
 *	none                                    taps     each WATCH_TAPS_NS
 *	sections or address space differ        devices  after this seal, before its epoch's end
 *      QEMU reports that a device is gone      devices  after the next seal, before its epoch's end
 *      none                                    devices  each WATCH_LISTS_NS, likewise after a seal
 *
 * Where: used by engine_watch.c. Threads: the engine's.
 */
#ifndef EPOCH_WATCH_H
#define EPOCH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define WATCH_TAPS_MIN_NS (2 * CLOCK_NS_PER_MS)
#define WATCH_TAPS_NS	  (1 * CLOCK_NS_PER_S)
#define WATCH_LISTS_NS	  (2 * CLOCK_NS_PER_S)

struct watch {
	uint64_t sections; /* mark (hash) of the sections at the last seal; 0: no seal yet */
	uint64_t address_space;
	uint64_t taps_looked_ns, lists_looked_ns;
	bool has_link_sign, has_list_sign;
};

/* Start at @now_ns, when taps and devices have just been checked. The first seal makes a check of
 * the devices due again. */
void watch_init(struct watch *w, uint64_t now_ns);

void watch_saw_link(struct watch *w);   /* report that a network device has changed */
void watch_saw_device(struct watch *w); /* report QEMU's event that a device is gone */
/* Report a seal: the mark of its sections, and the size of QEMU's address space (0: not known). */
void watch_saw_seal(struct watch *w, uint64_t sections, uint64_t address_space);

bool watch_taps_due(const struct watch *w, uint64_t now_ns);
bool watch_lists_due(const struct watch *w, uint64_t now_ns);
uint64_t watch_wake_ns(const struct watch *w); /* the latest time by which the taps must
						* be checked */

void watch_looked_at_taps(struct watch *w, uint64_t now_ns);
void watch_looked_at_lists(struct watch *w, uint64_t now_ns);

#endif
