/* watch.h - when to check whether the guest's taps and devices have changed since it was attached
 * to. Pure: time and signs in, what is due out.
 *
 * Why: a look at QEMU's taps costs 0.1 ms, a look at its lists some milliseconds of its monitor,
 * and neither may happen in a pause. So signs that cost nothing say when to look: each seal brings
 * the mark of the saved sections (vmm/sections.h) and the size of QEMU's address space, which grows
 * when memory is added to the guest; the kernel reports changes of network devices, QEMU reports
 * devices that are gone. Changes that give no sign are found by looking now and then.
 *
 *	sign                                    look at  when
 *	a network device changed                taps     at once, at most each WATCH_TAPS_MIN_NS
 *	none                                    taps     each WATCH_TAPS_NS
 *	sections or address space differ        lists    before the epoch just sealed is ended
 *	QEMU reports that a device is gone      lists    the same, at the next seal
 *	none                                    lists    the same, each WATCH_LISTS_NS
 *
 * Where: engine_watch.c. Threads: the engine's.
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
	uint64_t sections; /* of the last seal; 0: none yet */
	uint64_t address_space;
	uint64_t taps_looked_ns, lists_looked_ns;
	bool has_link_sign, has_list_sign;
};

/* Taps and lists were looked at just now; the first seal makes the lists due again. */
void watch_init(struct watch *w, uint64_t now_ns);

void watch_saw_link(struct watch *w);   /* a network device changed */
void watch_saw_device(struct watch *w); /* QEMU reported that a device is gone */
/* A seal was made; the mark of its sections, and the size of QEMU's address space (0: not
 * known). */
void watch_saw_seal(struct watch *w, uint64_t sections, uint64_t address_space);

bool watch_taps_due(const struct watch *w, uint64_t now_ns);
bool watch_lists_due(const struct watch *w, uint64_t now_ns);
uint64_t watch_wake_ns(const struct watch *w); /* the latest time at which taps are due */

void watch_looked_at_taps(struct watch *w, uint64_t now_ns);
void watch_looked_at_lists(struct watch *w, uint64_t now_ns);

#endif
