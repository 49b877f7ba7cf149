/* vm_guest_private.h - watches a guest that runs here unprotected: is its QEMU alive, and has the
 * guest sent frames since it was promoted here?
 * Why: without an engine nothing else watches QEMU, and the reports would say "running", as the
 * role file does, even after QEMU has ended. Also, a promotion is complete only when the guest
 * serves its clients. The first sign of this is a frame that the guest sends through its tap
 * (gateway/vm/fsm_promoted.c).
 * How: connect to the monitor's socket once, and get the pid of the listening process
 * (SO_PEERCRED). Close the connection at once, so that the monitor is free for others.
 * Then poll the process's pidfd. This method cannot tell whether the guest is paused. The tap's
 * counters are read from /proc/self/net/dev, which always shows this process's network namespace.
 *
 * Where: vm.c's worker checks, vm_report.c reads the result. Threads: vm_guest_look() and
 * vm_guest_promoting() on the worker, without vm's lock; vm_guest_get() and vm_guest_frames() on
 * any thread. They use this module's own lock.
 */
#ifndef VM_GUEST_PRIVATE_H
#define VM_GUEST_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/tap_names.h"

#define VM_GUEST_LOOK_NS (500 * CLOCK_NS_PER_MS)

enum vm_guest_state {
	VM_GUEST_UNKNOWN, /* not checked yet, or there is nothing to check */
	VM_GUEST_ALIVE,
	VM_GUEST_GONE,
};

struct vm_guest_frames {
	uint64_t packets, bytes; /* sent by the guest, as its tap counts them */
};

struct vm_guest {
	pthread_mutex_t lock;
	enum vm_guest_state state;
	pid_t pid; /* pid of the guest's QEMU; not cleared when that QEMU ends */
	int pidfd; /* used by the worker only; -1: none */
	uint64_t look_at_ns; /* when the next check is due; used by the worker only */

	uint64_t promoted_term; /* term of the promotion; 0: no guest was promoted here since this
				 * agent started */
	uint64_t promoted_ns; /* when vm_guest_promoting() was first called in promoted_term */
	bool knows_frames; /* base is known for every tap */
	struct vm_guest_frames base[TAP_NAMES_MAX]; /* each tap's counters before the guest ran */
};

void vm_guest_init(struct vm_guest *guest);
void vm_guest_done(struct vm_guest *guest);

/* Check whether the QEMU with the monitor @qmp is alive. If @qmp is "", the state is
 * VM_GUEST_UNKNOWN. Never waits. The next check is due VM_GUEST_LOOK_NS after @now_ns. Returns true
 * if the state has changed. */
bool vm_guest_look(struct vm_guest *guest, const char *qmp, uint64_t now_ns);

/* Call this before the guest is promoted in @term. Records the present counters of @taps.
 * vm_guest_frames() subtracts them, because the promoted guest did not send the frames counted so
 * far. */
void vm_guest_promoting(struct vm_guest *guest, const struct tap_names *taps, uint64_t term);

/* Returns the state that the last check found, and sets *ret_pid to guest->pid. */
enum vm_guest_state vm_guest_get(struct vm_guest *guest, pid_t *ret_pid);

/* Estimate how many frames the guest itself has sent since its promotion, through all of @taps
 * together. The result is a lower limit, because frames that may be QEMU's announcements are not
 * counted. *ret_term: the term of the promotion. Returns 0; -ENOENT: no guest was promoted here, or
 * a tap's counters could not be read, now or at the promotion. */
int vm_guest_frames(struct vm_guest *guest, const struct tap_names *taps, uint64_t *ret_term,
		    uint64_t *ret_frames) __attribute__((warn_unused_result));

/* Find the counters of @tap in @dev, the text of /proc/net/dev. Returns 0 or -ENOENT. Public for
 * tests only. */
int vm_guest_parse_dev(const char *dev, const char *tap, struct vm_guest_frames *ret_frames)
	__attribute__((warn_unused_result));

/* Returns how many of the frames counted between @base and @now, on one tap, cannot be QEMU's
 * announcements. Public for tests only. */
uint64_t vm_guest_own_frames(const struct vm_guest_frames *base, const struct vm_guest_frames *now);

#endif
