/* drill_world.h - the isolated world of a drill: the files and the network that its guest sees, and
 * the requests that test the guest there.
 *
 * Why: the guest of a drill is a twin of the guest that serves. It must reach nobody, and must not
 * write to anything that belongs to its twin. So the drill's thread leaves the host's network
 * namespace. It also gets a mount namespace of its own, where it lays the second copies over the
 * files that QEMU's command names. QEMU and the script are started by this thread, so they are in
 * both namespaces. Nothing must be undone: the kernel removes the namespaces when their last
 * process has ended.
 *
 * 	      network namespace without a way out
 * 	 guest ─ hfr0 ─┐
 * 	 guest ─ hfr1 ─┴─ bridge `drill` (drill_address) ◄── our probe, the operator's script
 *
 * Source: unshare(2), which a single thread may call; netdevice(7) and linux/sockios.h for the
 * bridge. Where: drill.c. Threads: the drill's. */
#ifndef STANDBY_DRILL_WORLD_H
#define STANDBY_DRILL_WORLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DRILL_WORLD_BRIDGE "drill"

/* Move this thread to network and mount namespaces of its own. Returns 0 or -errno with
 * *ret_error. */
int drill_world_enter(struct error *ret_error) __attribute__((warn_unused_result));

/* Make this thread, and what it starts from now on, see the file @copy at the path @path. Returns 0
 * or -errno with *ret_error. */
int drill_world_cover(const char *copy, const char *path, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Connect all taps of the drill's QEMU (rehearse.h) with a bridge. @address: the bridge's address,
 * such as "192.0.2.250/24"; "": none. Returns 0;
 * -EINVAL: @address is not valid;
 * other -errno.
 * On error *ret_error says why. */
int drill_world_connect(const char *address, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Wait until @target ("192.0.2.7:5432") accepts a TCP connection. Returns 0, and *ret_ms is how
 * long that took;
 * -ETIMEDOUT: none was accepted for @timeout_ns;
 * -ECANCELED: *@cancel became true;
 * -EINVAL: @target is not valid.
 * On error except -ECANCELED *ret_error says why. */
int drill_world_probe(const char *target, uint64_t timeout_ns, const _Atomic bool *cancel,
		      uint64_t *ret_ms, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Run the operator's script with HOLDFAST_VM, HOLDFAST_QMP and HOLDFAST_BRIDGE in its environment.
 * Its output goes to @log_path. Returns 0 if the script's exit status is 0;
 * -EBADE: the status is not 0, or a signal ended the script;
 * -ETIMEDOUT: the script was killed after @timeout_ns;
 * -ECANCELED: the script was killed because *@cancel became true;
 * other -errno.
 * On error *ret_error says why. After -EBADE and -ETIMEDOUT it has the last line of the script's
 * output. */
int drill_world_script(const char *script, const char *vm, const char *qmp_path,
		       const char *log_path, uint64_t timeout_ns, const _Atomic bool *cancel,
		       struct error *ret_error) __attribute__((warn_unused_result));

#endif
