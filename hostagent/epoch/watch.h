/* watch.h - says when to check whether the guest's taps and devices have changed since the engine
 * attached to it. Pure: it decides from the time and from signs of a change.
 *
 * Why: a check of QEMU's taps takes 0.1 ms. A check of its lists of devices occupies its monitor
 * for some milliseconds. So these checks are made only when a sign calls for them, and from time to
 * time without a sign. They are never made in a pause.
 *
 *      sign                                    check    when
 *      the kernel reports that a network       taps     at once, at most once in
 *      device changed                                   WATCH_TAPS_MIN_NS
 *      none                                    taps     each WATCH_TAPS_NS
 *      the hash of the saved sections          devices  after this seal
 *      changed (vmm/sections.h)
 *      QEMU's address space grew: memory was   devices  after this seal
 *      added to the guest
 *      QEMU reports that a device is gone      devices  after the next seal
 *      none                                    devices  each WATCH_LISTS_NS, after a seal
 *
 * A check of the devices is made between the seal of an epoch and the sending of that epoch's end.
 * So if the check finds a change, the standby does not get the whole epoch.
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

/* Start at @now_ns, when taps and devices were just checked. After the first seal, a check of the
 * devices is due again. */
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
