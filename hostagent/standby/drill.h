/* drill.h - a drill: starts a second guest from the standby's copy, isolated from all networks,
 * checks whether it runs and answers, and throws it away. The protection goes on meanwhile.
 *
 * Why: a rehearsal (rehearse.h) shows that QEMU loads the state. Only the guest itself can show
 * whether it then serves. An operator wants to see that before a host fails.
 *
 * 	standby's thread   DRILL                 cut: the rest of one epoch           ends it
 * 	                     │                     ▲                                    ▲
 * 	drill's thread       └► copy while epochs ─┘─► namespaces ─► QEMU ─► cont ─► ───┘
 * 	                        are applied            (drill_world.h)       probe, script
 * 	                        (drill_files.h)
 *
 * A drill does not hinder the protection. Epochs are acknowledged all the time, except during the
 * cut (some ms). The drill's thread and its QEMU have a low priority. An order PROMOTE, STOP or
 * FENCE, or a START in a new term, cancels the drill and does not wait for it.
 *
 * What a drill cannot see: the real network, other hosts that the guest needs, and the present
 * time: the drill's guest has the clock of its epoch.
 *
 * Where: orders.c begins it, standby.c calls drill_step(). Threads: the standby's. */
#ifndef STANDBY_DRILL_H
#define STANDBY_DRILL_H

#include <stdint.h>

#include "base/error.h"

struct standby;

/* Begin a drill. *ret_number is its number, 1 or more. If a drill runs already, begins none:
 * *ret_number is the number of the running drill. Returns 0, or an error of drill_files_begin() or
 * of starting a thread, with *ret_error. */
int drill_begin(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* If the drill's thread waits for the cut, make the cut. If the drill has ended, store its result
 * in sb->drilled, and free the drill. Call this in each turn of the standby's loop, while no epoch
 * is being applied. */
void drill_step(struct standby *sb);

/* If there is a drill, make it end soon. Does not wait. */
void drill_cancel(struct standby *sb);

/* Cancel the drill, wait until its QEMU has ended, and free the drill. */
void drill_close(struct standby *sb);

/* Remove what a killed agent has left of a drill. */
void drill_sweep(struct standby *sb);

#endif
