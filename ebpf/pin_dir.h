/* pin_dir.h - a directory on a bpffs for the pins of one hold or witness: creates, locks and
 * empties it.
 *
 * Where: the loaders of this room. Threads: any (no state). Functions block only for file-system
 * calls.
 */
#ifndef PIN_DIR_H
#define PIN_DIR_H

#include <stddef.h>

/* Check that the directory is on a bpffs, create it if it is missing, and lock it (flock). 0: the
 * caller owns *ret_fd; closing it releases the lock; -ENOENT: @dir is not on a bpffs, and nothing
 * was created; -EBUSY: another process has the lock; other -errno. */
int pin_dir_open(const char *dir, int *ret_fd) __attribute__((warn_unused_result));

/* Write the path "@dir/@name" to @ret. 0; -ENAMETOOLONG. */
int pin_dir_path(const char *dir, const char *name, char *ret, size_t size)
	__attribute__((warn_unused_result));

/* Remove the pins @names; a missing pin is no error. 0; -errno of the first failure; all are
 * tried. */
int pin_dir_empty(const char *dir, const char *const *names, size_t n_names);

#endif
