/* drill.h - a drill: starts the standby's copy of the guest beside the one that serves, isolated,
 * looks whether it runs and answers, and throws it away, while the protection goes on.
 *
 * Why: a rehearsal (rehearse.h) shows that QEMU loads the state. Whether the guest then serves,
 * only the guest can show. An operator wants to see that before the day comes.
 *
 * 	standby's thread   DRILL                 cut: the rest of one epoch           ends it
 * 	                     │                     ▲                                    ▲
 * 	drill's thread       └► copy while epochs ─┘─► namespaces ─► QEMU ─► cont ─► ───┘
 * 	                        are applied            (drill_world.h)       probe, script
 * 	                        (drill_files.h)
 *
 * Nothing of a drill is in the way of the protection. Epochs are acknowledged all the time, but for
 * the cut (some ms). The drill's thread and its QEMU have a low priority. An order PROMOTE, STOP or
 * FENCE cancels the drill and does not wait for it.
 *
 * What a drill cannot see: the real network, other hosts that the guest needs, and the time: its
 * guest has the clock of its epoch.
 *
 * Where: orders.c begins it, standby.c calls drill_step(). Threads: the standby's. / */
#ifndef STANDBY_DRILL_H
#define STANDBY_DRILL_H

#include <stdint.h>

#include "base/error.h"

struct standby;

/* Begin a drill. *ret_number is its number, 1 or more. If one runs already, it is that one's.
 * Returns 0; or errors of drill_files_begin(), with *ret_error. */
int drill_begin(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Do what the drill's thread waits for, or end a drill that has ended, and keep its result in
 * sb->drilled. Call this in each turn, when no epoch is being applied. */
void drill_step(struct standby *sb);

/* Let the drill end soon, if there is one. Does not wait. */
void drill_cancel(struct standby *sb);

/* Cancel the drill and wait until its QEMU has ended. Frees it. */
void drill_close(struct standby *sb);

/* End what an agent that was killed has left of a drill. */
void drill_sweep(struct standby *sb);

#endif
