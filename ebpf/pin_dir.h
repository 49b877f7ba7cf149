/* pin_dir.h - a directory on a bpffs for one owner's pins: make, lock, name, empty.
 *
 * Where: the loaders of this room. Threads: any (no state). Each blocks for file-system calls only.
 */
#ifndef PIN_DIR_H
#define PIN_DIR_H

#include <stddef.h>

/* Make the directory when it is missing, see that it is on a bpffs, lock it (flock).
 * 0: *ret_fd is the caller's, the lock ends with it; -ENOENT: not on a bpffs, nothing was made;
 * -EBUSY: another process has it; other -errno. */
int pin_dir_open(const char *dir, int *ret_fd) __attribute__((warn_unused_result));

/* "@dir/@name". 0; -ENAMETOOLONG. */
int pin_dir_path(const char *dir, const char *name, char *ret, size_t size)
	__attribute__((warn_unused_result));

/* Remove the pins @names; what is not there is fine. 0 or the first -errno, all are tried. */
int pin_dir_empty(const char *dir, const char *const *names, size_t n_names);

#endif
