/* watch.h - says when to check whether the guest's taps and devices have changed since the engine
 * attached to the guest. Pure: decides from the time and from signs of a change.
 *
 * Why: a check of QEMU's taps takes 0.1 ms. A check of QEMU's lists of devices occupies QEMU's
 * monitor for some milliseconds. So these checks are made only when a sign calls for them, and from
 * time to time without a sign. They are never made in a pause.
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
 * A check of the devices is made after an epoch's seal, before the end of this epoch is sent. So if
 * the check finds a change, the standby does not get the whole epoch.
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
	uint64_t sections; /* hash of the saved sections at the last seal (vmm/sections.h); 0: no
			    * seal yet */
	uint64_t address_space;
	uint64_t taps_looked_ns, lists_looked_ns;
	bool has_link_sign, has_list_sign;
};

/* Start at @now_ns, when taps and devices have just been checked. The first seal counts as a sign
 * of a change, so the devices are checked again after it. */
void watch_init(struct watch *w, uint64_t now_ns);

/* Call this when the kernel has reported that a network device changed. */
void watch_saw_link(struct watch *w);
/* Call this when QEMU has reported that a device is gone. */
void watch_saw_device(struct watch *w);
/* Report a seal. @sections: the hash of its saved sections. @address_space: the size of QEMU's
 * address space; 0: not known. */
void watch_saw_seal(struct watch *w, uint64_t sections, uint64_t address_space);

bool watch_taps_due(const struct watch *w, uint64_t now_ns);
bool watch_lists_due(const struct watch *w, uint64_t now_ns);
/* Return when the next check of the taps is due. */
uint64_t watch_wake_ns(const struct watch *w);

void watch_looked_at_taps(struct watch *w, uint64_t now_ns);
void watch_looked_at_lists(struct watch *w, uint64_t now_ns);

#endif
