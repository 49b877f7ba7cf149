/* guestclock.h - reads the clock of QEMU's guest, and sets it forward while the guest is stopped.
 *
 * clock_rules.h says why the clock is set, and by which rules. This module carries the rules out:
 * it finds the variable `timers_state` among QEMU's exported symbols. It reads the clock's numbers
 * there with process_vm_readv, which takes 2 microseconds. It writes the two offsets with
 * process_vm_writev.
 *
 *	timers_state (96 bytes, the same in QEMU 7.2 to 10)
 *	byte   8  offset of the ticks
 *	byte  24  whether the clock runs
 *	byte  56  offset of the clock
 *
 * The correction turns itself off, and says why, in these cases: with KVM; with -icount or
 * record/replay (time is a count of instructions); with a QEMU without exported symbols; and if a
 * clock fails the checks of clock_rules.h. (KVM's guests take their time from the processor and
 * from QEMU's kvmclock, which is in no exported symbol.)
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

/* Open the clock of the QEMU behind @q, process @pid. If @is_wanted is false, the clock is never
 * set and only the lost time is counted. @step_max_ns: the largest step forward. Sends QEMU one
 * command. Returns NULL if there is no memory. */
struct guestclock *guestclock_open(struct qmp *q, pid_t pid, bool is_wanted, uint64_t step_max_ns);
struct guestclock *guestclock_close(struct guestclock *clock); /* accepts NULL, returns NULL */

/* Call before a pause of ours. */
void guestclock_running(struct guestclock *clock);

/* Call at the end of the pause, just before QEMU starts the guest. QEMU was told to stop at
 * @sent_ns and had stopped by @seen_ns. Sets the clock forward if clock_rules.h says so. */
void guestclock_stopped(struct guestclock *clock, uint64_t sent_ns, uint64_t seen_ns);

/* Call after the pause, which took @paused_ns. */
void guestclock_resumed(struct guestclock *clock, uint64_t paused_ns);

/* Call after guestclock_resumed(), with the device state that was saved in the pause. */
void guestclock_saved(struct guestclock *clock, const uint8_t *blob, size_t size);

/* Compute what a standby needs to resume the guest from the last saved state. *ret_saved: the clock
 * words (QEMU's two offsets) in that state. *ret_wanted: what the guest's clock words should be
 * when this host's clock says @at_ns. Returns false if this is not known. */
bool guestclock_forecast(const struct guestclock *clock, uint64_t at_ns,
			 struct clock_words *ret_saved, struct clock_words *ret_wanted,
			 uint64_t *ret_ticks_per_s);

/* Returns the state of the correction and the lost time. Borrowed; valid until
 * guestclock_close(). */
const struct clock_rules *guestclock_rules(const struct guestclock *clock);

/* Find section `timer` in the device state @blob. Looks first at *inout_at, its offset in the
 * previous blob (0: unknown).
 * Returns 0 and sets *ret_words to the clock words in the section (is_running is false) and
 * *inout_at to the section's offset; -ENOENT if there is no such section; -EEXIST if there are
 * several; or -ENOTSUP if the guest's time is a count of instructions (-icount). */
int guestclock_parse(const uint8_t *blob, size_t size, size_t *inout_at,
		     struct clock_words *ret_words) __attribute__((warn_unused_result));

/* Set the clock of a QEMU (process @pid) that has loaded @blob and has not yet started the guest.
 * QEMU keeps the guest's clock in a few numbers in its memory (struct clock_words). They must be
 * equal to @saved and to those in @blob. If they are, set them to @wanted, within the limits of
 * clock_step(). Returns 0 and sets *ret_step_ns to the size of the step;
 * -ENOENT or -EMSGSIZE if QEMU's clock words were not found; -ESTALE if they differ; -EBUSY if the
 * guest runs; or -EFAULT if they cannot be read or written. */
int guestclock_promote(pid_t pid, const uint8_t *blob, size_t size, const struct clock_words *saved,
		       const struct clock_words *wanted, uint64_t step_max_ns, uint64_t ticks_per_s,
		       uint64_t *ret_step_ns) __attribute__((warn_unused_result));

#endif
