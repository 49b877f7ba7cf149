/* guestclock.h - reads the clock of QEMU's guest, and sets it forward while the guest is stopped.
 *
 * clock_rules.h says why and when the clock is set. This module carries out those rules.
 * It finds the variable `timers_state` among QEMU's exported symbols. It reads the clock's numbers
 * there with process_vm_readv, which takes 2 microseconds. It writes the two offsets with
 * process_vm_writev.
 *
 *	timers_state (96 bytes, the same in QEMU 7.2 to 10)
 *	byte   8  offset of the ticks
 *	byte  24  whether the clock runs
 *	byte  56  offset of the clock
 *
 * In these cases the correction turns itself off, and says why:
 * - KVM: guests take their time from the processor and from QEMU's kvmclock, which no exported
 *   symbol shows;
 * - -icount or record/replay: the guest's time is a count of instructions;
 * - a QEMU without exported symbols;
 * - a clock that fails the checks of clock_rules.h.
 *
 * Where: the epoch engine. Threads: one at a time. Only guestclock_open() can block.
 */
#ifndef VMM_GUESTCLOCK_H
#define VMM_GUESTCLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/clock_rules.h"
#include "vmm/qmp.h"

struct guestclock;

/* Open the clock of the QEMU behind @q, process @pid. If @is_tcg, the caller knows that QEMU does
 * not use KVM; if not, this function asks QEMU whether it does. If @is_wanted is false, the clock
 * is never set: only the lost time is counted. @step_max_ns: the largest step forward. Returns NULL
 * if there is no memory. */
struct guestclock *guestclock_open(struct qmp *q, pid_t pid, bool is_tcg, bool is_wanted,
				   uint64_t step_max_ns);
struct guestclock *guestclock_close(struct guestclock *clock); /* accepts NULL, returns NULL */

/* Call before a pause of ours. */
void guestclock_running(struct guestclock *clock);

/* Call at the end of the pause, just before QEMU starts the guest. We told QEMU to stop at
 * @sent_ns, and it had stopped by @seen_ns. If clock_rules.h says so, sets the clock forward. */
void guestclock_stopped(struct guestclock *clock, uint64_t sent_ns, uint64_t seen_ns);

/* Call after the pause, which took @paused_ns. */
void guestclock_resumed(struct guestclock *clock, uint64_t paused_ns);

/* Call after guestclock_resumed(), with the device state that was saved in the pause. */
void guestclock_saved(struct guestclock *clock, const uint8_t *blob, size_t size);

/* Compute what a standby needs to resume the guest from the last saved state. *ret_saved: the clock
 * words (QEMU's two offsets) in that state. *ret_wanted: what the clock words should be when this
 * host's clock says @at_ns. Returns false if this is not known. */
bool guestclock_forecast(const struct guestclock *clock, uint64_t at_ns,
			 struct clock_words *ret_saved, struct clock_words *ret_wanted,
			 uint64_t *ret_ticks_per_s);

/* Continue with @rules, which the agent's previous program used for the same QEMU. Does nothing if
 * correction is OFF in @clock or in @rules. */
void guestclock_resume(struct guestclock *clock, const struct clock_rules *rules);

/* Returns the state of the correction and the lost time. Borrowed; valid until
 * guestclock_close(). */
const struct clock_rules *guestclock_rules(const struct guestclock *clock);

/* Find section `timer` in the device state @blob. Looks first at *inout_at, its offset in the
 * previous blob (0: unknown).
 * Returns 0 and sets *inout_at to the section's offset. Also sets *ret_words to the clock words in
 * the section; is_running is false.
 * -ENOENT: there is no such section;
 * -EEXIST: there are several;
 * -ENOTSUP: the guest's time is a count of instructions (-icount). */
int guestclock_parse(const uint8_t *blob, size_t size, size_t *inout_at,
		     struct clock_words *ret_words) __attribute__((warn_unused_result));

/* Set the clock of a QEMU (process @pid) that has loaded @blob and has not yet started the guest.
 * If the clock words in QEMU's memory are equal to @saved and to those in @blob, set them to
 * @wanted, within the limits of clock_step().
 * Returns 0 and sets *ret_step_ns to the size of the step;
 * -ENOENT, -EMSGSIZE: QEMU's clock words were not found;
 * -ESTALE: the clock words in QEMU, in @saved and in @blob are not all equal;
 * -EBUSY: the guest runs;
 * -EFAULT: QEMU's clock words cannot be read or written. */
int guestclock_promote(pid_t pid, const uint8_t *blob, size_t size, const struct clock_words *saved,
		       const struct clock_words *wanted, uint64_t step_max_ns, uint64_t ticks_per_s,
		       uint64_t *ret_step_ns) __attribute__((warn_unused_result));

#endif
