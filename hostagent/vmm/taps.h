/* taps.h - asks the kernel which taps a running QEMU has open.
 *
 * Why: frames are held on the taps that the VM's file names. If a card of the guest uses another
 * tap, its frames leave without being held, and nobody notices. QEMU's command line and monitor do
 * not prove which tap is in use. Taps are renamed, deleted and made again, and managers pass them
 * as descriptors. But the kernel says for each descriptor of /dev/net/tun to which device it
 * belongs now (/proc/PID/fdinfo, "iff:"). It also says in which network namespace that device is.
 *
 * Several descriptors with the same name are the queues of one tap. A descriptor without a device
 * is a queue that is switched off, or its tap was deleted. If there is such a descriptor, each tap
 * that the VM's file names, and that is not open, counts as deleted. If all taps that the file
 * names are open, descriptors without a device are ignored.
 *
 * Where: epoch engine, at each attach and while protected; vm_cover.c. Threads: any.
 */
#ifndef VMM_TAPS_H
#define VMM_TAPS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/tap_names.h"
#include "vmm/inspect.h"
#include "vmm/page_range.h"

#define VMM_TAPS_MAX	   16u
#define VMM_TAP_NAME_BYTES 32u

struct vmm_tap {
	char name[VMM_TAP_NAME_BYTES]; /* such as "tap0"; for a macvtap its name in /dev, such as
					* "tap7" */
	enum {
		VMM_TAP_HERE = 0, /* in the network namespace of this process */
		VMM_TAP_ELSEWHERE, /* in another network namespace */
		VMM_TAP_MACVTAP,   /* a macvtap: its frames do not pass through a tap */
	} place;
	int fd; /* the first of the process's descriptors that belong to this tap */
};

struct vmm_taps {
	struct vmm_tap taps[VMM_TAPS_MAX]; /* the taps, each of them once */
	uint32_t n;
	uint32_t n_lost; /* number of descriptors that belong to no device (any more) */
	uint32_t n_vhost; /* number of descriptors of /dev/vhost-net */
};

/* The text for the operator if n_vhost > 0. The kernel then moves a card's frames between guest
 * memory and the tap, past QEMU. We had no kernel with vhost-net to test whether all its writes are
 * tracked and all its frames are held, so such a guest is refused. */
#define VMM_TAPS_VHOST                                                                             \
	"QEMU has /dev/vhost-net open: the kernel would move frames past QEMU, which was never "   \
	"tried with Holdfast: start the guest with vhost=off in its -netdev tap (libvirt: "        \
	"<driver name='qemu'/> in its <interface>)"

/* Find all taps that process @pid has open. Takes some 2 microseconds per open descriptor of the
 * process, and does not change anything in it.
 * Returns 0;
 * -ESRCH: there is no such process;
 * -E2BIG: there are more than VMM_TAPS_MAX taps;
 * -EAGAIN: a descriptor was closed meanwhile; call again;
 * -EPERM or another -errno.
 * On error *ret_error has the text. */
int vmm_taps_read(pid_t pid, struct vmm_taps *ret_taps, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check that @taps has exactly the taps named @allowed, all in this network namespace. Pure.
 * Returns 0;
 * -ENOTSUP: other taps are open, an allowed tap is not open, or the kernel serves a card (n_vhost).
 * *ret_error then says what is open, which taps are allowed and what to do. */
int vmm_taps_judge(const struct vmm_taps *taps, const struct tap_names *allowed,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

/* Find which of @taps the back end @netdev of a card uses. @text is QEMU's answer to `info
 * network`: it has the name by which QEMU opened the tap, or the descriptor that QEMU was given.
 * Pure. Returns the tap's index in @taps; -ENOENT if the text does not tell. */
int vmm_taps_find(const struct vmm_taps *taps, const char *text, const char *netdev)
	__attribute__((warn_unused_result));

/* Returns which of the taps @names belong to a card with offloads: bit i for @names->name[i]. If it
 * is not known which tap such a card has, returns the bits of all @names. Pure. */
uint32_t vmm_taps_offloads(const struct vmm_taps *taps, const char *text,
			   const struct vmm_info *info, const struct tap_names *names);

#endif
