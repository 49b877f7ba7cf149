/* taps.h - which taps a running QEMU has open, asked of the kernel.
 *
 * Why: the hold lies on the tap that the VM's file names. If the guest's card has another one, or one
 * more, its frames leave unheld and nobody notices. What a command line or a monitor says is no
 * proof: taps are renamed, deleted and made again, and managers pass them as descriptors. The kernel
 * says for each descriptor of /dev/net/tun which device it leads to now (/proc/PID/fdinfo, "iff:"),
 * and in which network namespace that device is.
 *
 * Several descriptors of one name are the queues of one tap. A queue that is switched off leads to no
 * device, so such descriptors only count when there is nothing else.
 *
 * Where: epoch engine, at each attach and while protected; vm_cover.c. Threads: any.
 */
#ifndef VMM_TAPS_H
#define VMM_TAPS_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/page_range.h"

#define VMM_TAPS_MAX	   16u
#define VMM_TAP_NAME_BYTES 32u

struct vmm_tap {
	char name[VMM_TAP_NAME_BYTES]; /* "tap0"; of a macvtap "tap7", as in /dev */
	enum {
		VMM_TAP_HERE = 0, /* in the network namespace of this process */
		VMM_TAP_ELSEWHERE, /* in another one */
		VMM_TAP_MACVTAP,   /* frames do not pass a tap of ours at all */
	} place;
};

struct vmm_taps {
	struct vmm_tap taps[VMM_TAPS_MAX]; /* each once */
	uint32_t n;
	uint32_t n_lost; /* descriptors that lead to no device (any more) */
};

/* Ask for all of process @pid. Costs some 2 us per descriptor that it has, and touches nothing in it.
 * 0; -ESRCH: there is no such process; -E2BIG: over VMM_TAPS_MAX; -EPERM and other -errno, with *ret_error. */
int vmm_taps_read(pid_t pid, struct vmm_taps *ret_taps, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

/* Is @taps exactly the tap @allowed, here? Pure.
 * 0; -ENOTSUP: no, *ret_error names what is open, what is allowed and the next step. */
int vmm_taps_judge(const struct vmm_taps *taps, const char *allowed, struct vmm_error *ret_error)
	__attribute__((warn_unused_result));

#endif
