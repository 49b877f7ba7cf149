/* pin_dir.h - a directory on a bpffs for one owner's pins: make, lock, name, empty.
 *
 * Where: the loaders of this room. Threads: any (no state). Each blocks for file-system calls only.
 */
#ifndef PIN_DIR_H
#define PIN_DIR_H

#include <stddef.h>

/* Make the directory if it is missing, check that it is on a bpffs, lock it (flock).
 * 0: the caller owns *ret_fd, and closing it ends the lock; -ENOENT: not on a bpffs, nothing was
 * made; -EBUSY: another process has the lock; other -errno. */
int pin_dir_open(const char *dir, int *ret_fd) __attribute__((warn_unused_result));

/* Write the path "@dir/@name". 0; -ENAMETOOLONG. */
int pin_dir_path(const char *dir, const char *name, char *ret, size_t size)
	__attribute__((warn_unused_result));

/* Remove the pins @names; a missing one is fine. 0 or the first -errno; all are tried. */
int pin_dir_empty(const char *dir, const char *const *names, size_t n_names);

#endif
