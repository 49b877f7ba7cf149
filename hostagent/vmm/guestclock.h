/* guestclock.h - the clock of QEMU's guest: read it, and set it forward while the guest is stopped.
 *
 * Why and by which rules: clock_rules.h. This is their hands: it finds `timers_state` in QEMU's exported
 * symbols, reads its words by process_vm_readv (2 us) and writes two of them by process_vm_writev.
 *
 *	timers_state (96 bytes, QEMU 7.2 to 10)   0     8              24         56
 *	                                          │ ... │ ticks' offset │ enabled │ ... │ clock's offset │ ...
 *
 * Where it cannot be used it is off and says why: KVM (its guests take their time from the processor and
 * from QEMU's kvmclock, which is in no exported symbol), -icount and record/replay (time is a count of
 * instructions), a QEMU without exported symbols, and whatever does not pass the proof.
 *
 * Where: the epoch engine. Threads: one at a time. Never blocks, but for guestclock_open().
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

/* For the QEMU behind @q, process @pid. @is_wanted: false: off, but it counts what is lost. @step_max_ns:
 * the longest jump. Asks QEMU one thing. NULL: out of memory. */
struct guestclock *guestclock_open(struct qmp *q, pid_t pid, bool is_wanted, uint64_t step_max_ns);
struct guestclock *guestclock_close(struct guestclock *clock); /* accepts NULL, returns NULL */

/* A pause of ours is about to begin. */
void guestclock_running(struct guestclock *clock);

/* The guest is stopped, all that is to be done is done, QEMU is about to start it. It was told to stop
 * at @sent_ns and had stopped by @seen_ns. Sets the clock forward where that is right. */
void guestclock_stopped(struct guestclock *clock, uint64_t sent_ns, uint64_t seen_ns);

/* The pause, which took @paused_ns, is over. */
void guestclock_resumed(struct guestclock *clock, uint64_t paused_ns);

/* The device state that was saved in that pause. */
void guestclock_saved(struct guestclock *clock, const uint8_t *blob, size_t size);

/* For who goes on from the state that was saved last: its words, and what the guest's are to be
 * when the host's clock says @at_ns. False: not known. */
bool guestclock_forecast(const struct guestclock *clock, uint64_t at_ns, struct clock_words *ret_saved,
			 struct clock_words *ret_wanted, uint64_t *ret_ticks_per_s);

/* What it does, and what was lost. Borrowed; valid until guestclock_close(). */
const struct clock_rules *guestclock_rules(const struct guestclock *clock);

/* Find section `timer` in the device state @blob, starting at *inout_at (a guess from the last time; 0: none).
 * 0: *ret_words has its words (is_running is false), *inout_at its place; -ENOENT: none; -EEXIST: more than one;
 * -ENOTSUP: its time is a count of instructions (-icount). */
int guestclock_parse(const uint8_t *blob, size_t size, size_t *inout_at, struct clock_words *ret_words)
	__attribute__((warn_unused_result));

/* The QEMU of process @pid has loaded @blob and not begun to run: its words must be those of @saved
 * and of the blob. Then they are set to @wanted, as clock_step() says. 0: *ret_step_ns is by how
 * much; -ENOENT,
 * -EMSGSIZE: its words are not found; -ESTALE: they are others; -EBUSY: the guest runs; -EFAULT:
 * they cannot be read or written. */
int guestclock_promote(pid_t pid, const uint8_t *blob, size_t size, const struct clock_words *saved,
		       const struct clock_words *wanted, uint64_t step_max_ns, uint64_t ticks_per_s,
		       uint64_t *ret_step_ns) __attribute__((warn_unused_result));

#endif
