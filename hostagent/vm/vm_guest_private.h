/* vm_guest_private.h - watch a guest that runs here unprotected: is its QEMU alive, and has the
 * guest sent anything since it was promoted here?
 *
 * Why: without an engine nobody watches QEMU, and the reports would say "running" for ever, as the
 * role file does. And a promotion is done when the guest serves its clients; its tap shows the
 * first sign (gateway/vm/fsm_promoted.c).
 *
 * How: connect to the monitor's socket once, take the pid of the listening process (SO_PEERCRED),
 * and close it; from then on poll the process's pidfd. So QEMU's monitor is occupied only for a
 * moment. This does not show whether the guest is paused. The tap's counters come from
 * /proc/self/net/dev, which always shows this process's network namespace, whatever is mounted at
 * /sys.
 *
 * Where: vm.c's worker looks, vm_report.c reads. Threads: vm_guest_look() and vm_guest_promoting()
 * on the worker, without vm's lock; vm_guest_get() and vm_guest_frames() on any. All use a lock of
 * their own.
 */
#ifndef VM_GUEST_PRIVATE_H
#define VM_GUEST_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"

#define VM_GUEST_LOOK_NS (500 * CLOCK_NS_PER_MS)

enum vm_guest_state {
	VM_GUEST_UNKNOWN, /* not looked at yet, or nothing to look at */
	VM_GUEST_ALIVE,
	VM_GUEST_GONE,
};

struct vm_guest_frames {
	uint64_t packets, bytes; /* from the guest, as its tap counts them */
};

struct vm_guest {
	pthread_mutex_t lock;
	enum vm_guest_state state;
	pid_t pid; /* of the QEMU that is alive, or of the last one that was */
	int pidfd; /* the worker's; -1: none */
	uint64_t look_at_ns; /* the worker's: when the next look is due */

	uint64_t promoted_term; /* 0: none was promoted here since this agent started */
	uint64_t promoted_ns;
	bool knows_frames;
	struct vm_guest_frames base; /* the tap's counters before the guest ran */
};

void vm_guest_init(struct vm_guest *guest);
void vm_guest_done(struct vm_guest *guest);

/* Look whether the QEMU with monitor @qmp ("": nothing to look at) is alive. Never waits. The next
 * look is due VM_GUEST_LOOK_NS after @now_ns. True: the state changed. */
bool vm_guest_look(struct vm_guest *guest, const char *qmp, uint64_t now_ns);

/* A promotion in @term begins: frames that @tap ("": not known) counted so far were not sent by
 * that guest. */
void vm_guest_promoting(struct vm_guest *guest, const char *tap, uint64_t term);

/* Returns the state; *ret_pid: the pid. */
enum vm_guest_state vm_guest_get(struct vm_guest *guest, pid_t *ret_pid);

/* A lower limit of the frames that the guest itself has sent through @tap since it was promoted;
 * QEMU's announcements are not counted. 0: *ret_term is the promotion's term; -ENOENT: nothing was
 * promoted, or the tap is not known. */
int vm_guest_frames(struct vm_guest *guest, const char *tap, uint64_t *ret_term,
		    uint64_t *ret_frames) __attribute__((warn_unused_result));

/* Find @tap in @dev, the text of /proc/net/dev. 0 or -ENOENT. For tests. */
int vm_guest_parse_dev(const char *dev, const char *tap, struct vm_guest_frames *ret_frames)
	__attribute__((warn_unused_result));

/* The frames between @base and @now that are not explained by QEMU's announcements. */
uint64_t vm_guest_own_frames(const struct vm_guest_frames *base, const struct vm_guest_frames *now);

#endif
