/* rehearse.h - makes the command line of a second QEMU, which rehearses a takeover beside the warm
 * QEMU. Pure text, no I/O.
 *
 * Why: comparing the lists of two machines does not find all differences, but loading a state does.
 * The warm QEMU can load a state only once: at the promotion. So a second QEMU with almost the same
 * command loads the first epoch, and the agent then ends it. The second QEMU must not affect the
 * warm QEMU or the host. So its guest RAM is a private view of the copy, and its back ends are not
 * connected to anything.
 *
 *	-object memory-backend-file,...,share=on   ─► ...,share=off
 *      -netdev tap,id=n0,ifname=tap0              ─► -netdev tap,ifname=hfr%d,...,id=n0 (a new tap)
 *	-netdev socket,id=n1,...                   ─► -netdev hubport,hubid=100,id=n1
 *	-chardev socket,id=look,path=...           ─► -chardev null,id=look
 *	-serial file:...                           ─► -serial null
 *	-monitor, -mon, -vnc, -spice, -gdb, -s, -D, -overcommit ─► left out
 *	-display gtk                               ─► -display none
 *
 * Where: used by rehearsal.c and drill.c. Threads: any (no state). Allocates.
 */
#ifndef STANDBY_REHEARSE_H
#define STANDBY_REHEARSE_H

#include "standby/cmdline.h"

/* How the second QEMU uses the file with guest RAM. */
enum rehearse_ram {
	REHEARSE_VIEW,	   /* through a private view, which changes nothing in the file */
	/* shared, like the warm QEMU's, but with another file at the same path (a drill's mount
	 * namespace) */
	REHEARSE_SAME_RAM,
};

/* Make the second QEMU's arguments from @warm, the warm QEMU's (after cmdline_add_standby()), with
 * @qmp_path and @pid_path in place of the warm QEMU's paths. Returns 0 (the caller frees
 * *ret_cmdline with cmdline_done()); -ENOMEM; -E2BIG. */
int rehearse_words(const struct cmdline *warm, const char *qmp_path, const char *pid_path,
		   enum rehearse_ram ram, struct cmdline *ret_cmdline)
	__attribute__((warn_unused_result));

#endif
