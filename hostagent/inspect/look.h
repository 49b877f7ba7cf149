/* look.h - looks at a running QEMU without changing anything, and collects every reason why it
 * cannot be protected.
 *
 * Why: engine_open() refuses a VM at the first fault. An operator wants to know all faults before
 * restarting a guest. So this module makes all of engine_open()'s checks, even after a fault.
 *
 * Where: command.c. Threads: one. Blocks for about 0.1 s: some hundred monitor commands and files
 * of /proc.
 */
#ifndef INSPECT_LOOK_H
#define INSPECT_LOOK_H

#include <stddef.h>

#include "base/error.h"
#include "inspect/descriptors.h"
#include "vmm/disks.h"
#include "vmm/inspect.h"
#include "vmm/taps.h"

struct look {
	struct vmm_info info;
	struct vmm_disks disks;
	struct vmm_taps taps; /* all taps that QEMU has open */
	struct vmm_taps held; /* a copy of `taps` if a hold can work on all of them; otherwise n is
			       * 0 */
	char bridge[VMM_TAPS_MAX][16]; /* bridge[i] is the bridge of tap i of `taps`; "" if that tap
					* is in none */
	struct descriptors descriptors; /* QEMU's open files and sockets */
	char program[512];	      /* QEMU's binary */
	char cwd[512]; /* QEMU's working directory; "" if QEMU has left the one where it was
			* started */
	char *cmdline; /* QEMU's arguments, each with its NUL; owned */
	char **words;  /* n_words pointers into cmdline; owned */
	size_t n_words;
	char name[64]; /* the guest's name, from -name; "" if there is none */
};

/* Look at the QEMU whose monitor is at the socket @qmp_path. Adds what is wrong to @obstacles.
 * Returns 0; the caller must free *ret_look with look_done(). Returns -errno if QEMU or the kernel
 * does not answer; *ret_error then says why and what to do. */
int look_at(const char *qmp_path, struct look *ret_look, struct vmm_obstacles *obstacles,
	    struct error *ret_error) __attribute__((warn_unused_result));

void look_done(struct look *look); /* accepts a zeroed struct */

/* Add an obstacle for each fault of the cards, run state and disks of @look. Pure. Called by
 * look_at(). */
void look_judge(const struct look *look, struct vmm_obstacles *obstacles);

#endif
