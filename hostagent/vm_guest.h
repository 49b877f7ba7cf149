/* vm_guest.h - what this host can see of a guest that it runs unprotected: is its QEMU alive, and has the guest sent
 * anything since it was promoted here?
 *
 * Why: without an engine nobody watches QEMU; "running" would be what the role file says, for ever. And a promotion is
 * done when the guest serves, of which the host's tap sees the first sign (gateway/vm/fsm_promoted.c).
 *
 * How: the monitor's socket is connected to once, for the pid of who listens there (SO_PEERCRED), and closed; from
 * then on its pidfd is asked. QEMU's monitor is taken for that moment only. Whether a guest whose QEMU lives is paused
 * is not looked at. The tap's counters come from /proc/self/net/dev, which is of this process's network namespace
 * whatever is mounted at /sys.
 *
 * Where: vm.c's worker looks, vm_report.c reads. Threads: vm_guest_look() and vm_guest_promoted() on the worker,
 * without vm's lock; vm_guest_get() by any, all under a lock of their own.
 */
#ifndef VM_GUEST_H
#define VM_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define VM_GUEST_LOOK_NS (UINT64_C(500) * 1000000)

enum vm_guest_state {
	VM_GUEST_UNKNOWN, /* not looked yet, or nothing to look at */
	VM_GUEST_ALIVE,
	VM_GUEST_GONE,
};

struct vm_guest_frames {
	uint64_t packets, bytes; /* from the guest, as its tap counts */
};

struct vm_guest {
	pthread_mutex_t lock;
	enum vm_guest_state state;
	pid_t pid; /* ALIVE, or the last that was */
	int pidfd; /* the worker's; -1: none */
	uint64_t look_at_ns; /* the worker's: the next look is due */

	uint64_t promoted_term; /* 0: none was promoted here since this agent started */
	uint64_t promoted_ns;
	bool knows_frames;
	struct vm_guest_frames base; /* before it ran */
};

void vm_guest_init(struct vm_guest *guest);
void vm_guest_done(struct vm_guest *guest);

/* Is a QEMU alive whose monitor is @qmp ("": nothing to look at)? Never waits. The next look is due
 * VM_GUEST_LOOK_NS after @now_ns. True: the state changed. */
bool vm_guest_look(struct vm_guest *guest, const char *qmp, uint64_t now_ns);

/* A promotion of @term begins: what @tap ("": not known) counted so far is none of that guest's. */
void vm_guest_promoting(struct vm_guest *guest, const char *tap, uint64_t term);

/* Snapshot: state and pid. */
enum vm_guest_state vm_guest_get(struct vm_guest *guest, pid_t *ret_pid);

/* Frames that the guest itself has sent through @tap since it was promoted in @term, at least: QEMU's announcements
 * are not counted. 0, *ret_term is that term; -ENOENT: nothing was promoted, or the tap is not known. */
int vm_guest_frames(struct vm_guest *guest, const char *tap, uint64_t *ret_term, uint64_t *ret_frames)
	__attribute__((warn_unused_result));

/* @dev: the text of /proc/net/dev. 0 or -ENOENT. For tests. */
int vm_guest_parse_dev(const char *dev, const char *tap, struct vm_guest_frames *ret_frames)
	__attribute__((warn_unused_result));

/* Of @now and @base, what no announcement of QEMU explains. */
uint64_t vm_guest_own_frames(const struct vm_guest_frames *base, const struct vm_guest_frames *now);

#endif
