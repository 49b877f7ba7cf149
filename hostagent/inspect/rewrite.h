/* rewrite.h - makes the standby's QEMU command from the command line of the running QEMU. Pure
 * text, no I/O.
 *
 * Why: the standby needs the same machine, but with the names of its own tap, images and sockets.
 * The operator should not have to write that command by hand. Nothing in the command is guessed: if
 * an option cannot be carried over, an error (an "obstacle") names the option.
 *
 *      primary: qemu -M pc -drive id=root,file=/a.qcow2,format=qcow2,.. -qmp unix:/run/q -daemonize
 *      standby: /usr/bin/qemu -M pc-i440fx-7.2 -drive id=root,file=/b.raw,format=raw,..
 *
 * The options keep their order, since the order decides the devices' addresses. A replicated disk
 * becomes a raw image with the same ids, or a qcow2 image if the path given by --map begins with
 * "qcow2:". Options that the agent sets itself (standby/cmdline.h) are left out. So are a manager's
 * descriptors and monitor.
 *
 * Where: the program's command `inspect`. Threads: any (no state). Allocates.
 */
#ifndef INSPECT_REWRITE_H
#define INSPECT_REWRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "inspect/descriptors.h"
#include "standby/cmdline.h"
#include "vmm/disks.h"
#include "vmm/inspect.h"
#include "vmm/taps.h"

#define REWRITE_THINGS_MAX 96u
#define REWRITE_MAPS_MAX   64u

/* One option --map NAME=THERE: the standby's name for a thing of the primary. */
struct rewrite_map {
	const char *name;  /* the path, tap, address, disk name or chardev id on the primary */
	const char *there; /* what it is on the standby */
	bool is_used;
};

enum rewrite_kind {
	REWRITE_TAP = 1,  /* `there` is a tap that the operator makes on the standby */
	REWRITE_IMAGE,	  /* `there` is an image of the same size */
	REWRITE_FILE,	  /* `there` is a file with the same content */
	REWRITE_MADE,     /* a socket or log that QEMU makes, or an address at which QEMU listens */
	REWRITE_LEFT_OUT, /* not in the standby's command; `there` says why */
};

/* A part of the primary's command that names something of that host, such as a path, tap or
 * address; or a part that is left out. */
struct rewrite_thing {
	enum rewrite_kind kind;
	char *what;  /* such as "disk root" or "-kernel" */
	char *here;  /* what the primary's command says */
	char *there; /* what the standby's command says */
};

struct rewrite_input {
	char *const *words; /* the primary's argv */
	size_t n_words;
	const char *program; /* absolute path of QEMU */
	const char *cwd;     /* QEMU's directory, for relative paths; "" if it is not known */
	/* what is behind QEMU's open descriptors; NULL: not known */
	const struct descriptors *descriptors;
	/* the standby's directory for sockets that the manager makes on the primary */
	const char *own_dir;
	const struct vmm_taps *taps; /* the taps of the guest's cards; n = 0: no hold can work on
				      * them */
	const struct vmm_info *info;
	const struct vmm_disks *disks;
	struct rewrite_map *maps; /* n_maps entries; rewrite_make() sets is_used */
	size_t n_maps;
};

struct rewrite {
	struct cmdline command; /* ram_bytes is set only if the standby accepts the command */
	struct rewrite_thing things[REWRITE_THINGS_MAX];
	size_t n_things;
	struct tap_names taps_there; /* for each tap of input->taps: its name on the standby */
	/* for each disk of input->disks: its image on the standby, owned; NULL: not found */
	char *image_there[VMM_DISKS_MAX];
	bool qcow2_there[VMM_DISKS_MAX]; /* for each disk: that image is qcow2, not raw */
	/* for each disk: its image on the primary, owned; set together with image_there. The path
	 * is absolute if QEMU's working directory is known */
	char *image_here[VMM_DISKS_MAX];
};

/* Make the standby's command. If an option cannot be carried over, adds an obstacle; the command
 * then lacks this option. The caller frees *ret_rewrite with rewrite_done().
 * Returns 0, also if obstacles were added;
 * -ENOMEM;
 * -E2BIG: there are more words than a standby's command can have, or too many things. */
int rewrite_make(const struct rewrite_input *input, struct rewrite *ret_rewrite,
		 struct vmm_obstacles *obstacles) __attribute__((warn_unused_result));

/* Returns @command as the text of a command file, which the caller frees; NULL: no memory. Each
 * option has a line of its own, quoted in the way that cmdline_parse() reads. */
char *rewrite_print(const struct cmdline *command) __attribute__((warn_unused_result));

void rewrite_done(struct rewrite *rewrite); /* accepts a zeroed struct */

#endif
