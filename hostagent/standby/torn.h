/* torn.h - records on the disk that the images are an unfinished copy: some blocks are of one
 * moment, and others of another.
 *
 * Why: a copy of the disks overwrites the older copy block by block. If it is interrupted and the
 * primary never comes back, nobody can tell such images from a whole older copy by looking at them.
 * So an operator must be warned before a guest is started from them
 * (docs/decisions/0073-torn-disks.md).
 *
 *	what happens to the images		ROLE_DIR/NAME.copying
 *	--------------------------		---------------------
 *	an UNHELD epoch writes to them		is on the disk before the first write
 *	a held epoch was applied whole		removed, after durable_sync()
 *	the guest itself runs on them		removed
 *
 * Output is held only while the images are in step with the primary's disks. So a held epoch makes
 * the images whole.
 *
 * Whenever the agent or the host ends: if the images may be torn, the file is there. The file can
 * also be there if the images are whole, which errs on the safe side. If the disk log has a whole
 * copy (durable.h), the log counts, not the file.
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
	bool is_synced;	 /* this agent has made sure that the file is on the disk */
	bool is_whole;	 /* the last epoch was held, and was applied as a whole */
};

/* Find out whether an earlier agent has left the file. In doubt, assume that it has. */
void torn_init(struct torn *torn, const char *dir, const char *vm);

/* Call this before an UNHELD epoch changes the images. Makes sure that the file is on the disk.
 * Returns 0; or -errno with *ret_error: the images must not be changed. */
int torn_begin(struct torn *torn, struct error *ret_error) __attribute__((warn_unused_result));

/* If the images are open and whole, remove the file. If there is a disk log, write the images to
 * the disk before (durable_sync()). Returns true if the file was removed. An error is logged, and
 * the next held epoch causes another try. */
bool torn_settle(struct images *images, struct durable *durable);

/* Remove the file, because the guest itself runs on the images now. An error is logged. */
void torn_end(struct torn *torn);

#endif
