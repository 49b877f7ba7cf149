/* torn.h - records on the disk that the images are an unfinished copy: some blocks are of one
 * moment, and others of another.
 *
 * Why: while a copy of the disks is made, it overwrites the older copy block by block. If the
 * copying is interrupted and the primary never comes back, nobody can distinguish these images from
 * a whole older copy by looking at them. So an operator must be told before a guest is started from
 * them (docs/decisions/0073-torn-disks.md).
 *
 *	what happens to the images		ROLE_DIR/NAME.copying
 *	--------------------------		---------------------
 *	an UNHELD epoch writes to them		is on the disk before the first write
 *	a held epoch was applied whole		removed, after durable_sync()
 *	the guest itself runs on them		removed
 *
 * Output is held only when all disks are in step, so a held epoch makes the images whole.
 *
 * Whenever the agent or the host ends, the file is there if the images may be torn. It may also be
 * there if they are whole: this errs on the safe side. If the disk log has a whole copy
 * (durable.h), the log counts, not the file.
 *
 * Where: apply.c calls torn_begin(), standby.c torn_settle(), orders.c and boot.c torn_end().
 * Threads: one at a time. Blocks on role_dir's disk.
 */
#ifndef STANDBY_TORN_H
#define STANDBY_TORN_H

#include <stdbool.h>

#include "base/error.h"

struct durable;
struct images;

struct torn {
	const char *dir; /* role_dir; NULL: nothing is recorded; borrowed */
	const char *vm;	 /* borrowed */
	bool is_set;	 /* the file exists */
	bool is_synced;	 /* this agent has brought the file to the disk */
	bool is_whole;	 /* the last epoch was held, and was applied whole */
};

/* Find out whether an earlier agent has left the file. If that cannot be found out, it counts as
 * left. */
void torn_init(struct torn *torn, const char *dir, const char *vm);

/* Call this before an UNHELD epoch changes the images. Brings the file to the disk, unless this
 * agent has already done so. Returns 0, or -errno with *ret_error: the images must not be
 * changed. */
int torn_begin(struct torn *torn, struct error *ret_error) __attribute__((warn_unused_result));

/* If the images are open and whole, write them to the disk (durable_sync()) and remove the file.
 * Returns true if the file was removed. An error is logged, and the next held epoch leads to
 * another try. */
bool torn_settle(struct images *images, struct durable *durable);

/* Remove the file, because the guest itself runs on the images now. An error is logged. */
void torn_end(struct torn *torn);

#endif
