/* pin_dir.h - creates, locks and empties the directory with the pins of one hold or witness. The
 * directory is on a bpffs.
 *
 * Where: the loaders in ebpf/ call it. Threads: any (no state). Functions block only for
 * file-system calls.
 */
#ifndef PIN_DIR_H
#define PIN_DIR_H

#include <stddef.h>

/* Lock the directory @dir (flock). If @dir is missing, create it. Returns 0 and sets *ret_fd. The
 * caller must close *ret_fd, which releases the lock. Errors:
 *      -ENOENT  @dir is not on a bpffs; nothing was created
 *      -EBUSY   another process has the lock
 *      another -errno of the system calls */
int pin_dir_open(const char *dir, int *ret_fd) __attribute__((warn_unused_result));

/* Write the path "@dir/@name" to @ret. Returns 0 or -ENAMETOOLONG. */
int pin_dir_path(const char *dir, const char *name, char *ret, size_t size)
	__attribute__((warn_unused_result));

/* Remove the pins @names from the directory @dir. A missing pin is no error. If one pin cannot be
 * removed, the others are still tried. Returns 0, or the -errno of the first failure. */
int pin_dir_empty(const char *dir, const char *const *names, size_t n_names);

#endif
