/* descriptors.h - finds the files and sockets behind a process's open descriptors.
 *
 * Why: a manager such as libvirt opens logs and sockets itself and gives QEMU only their numbers
 * (`-chardev socket,fd=31`, `-add-fd set=2,fd=33`). The operator wants to see the paths.
 *
 * Source: /proc/PID/fd and /proc/PID/net/unix, proc(5) and unix(7).
 * Where: look.c reads them; rewrite_backends.c asks for them. Threads: any (no state).
 */
#ifndef INSPECT_DESCRIPTORS_H
#define INSPECT_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "base/error.h"

#define DESCRIPTORS_MAX	      128u
#define DESCRIPTOR_PATH_BYTES 512u

struct descriptor {
	unsigned int number;
	/* N, if the descriptor belongs to the set /dev/fdset/N; -1: it belongs to no set */
	int64_t fdset;
	char path[DESCRIPTOR_PATH_BYTES]; /* a file, or the name of a unix socket; absolute */
};

struct descriptors {
	struct descriptor list[DESCRIPTORS_MAX];
	size_t n;
};

/* Read the descriptors of process @pid that have a path: files (but not devices), and unix sockets
 * with a name in the file system. Only the first DESCRIPTORS_MAX are read. Returns 0, or -errno
 * with *ret_error if /proc cannot be read. */
int descriptors_read(pid_t pid, struct descriptors *ret_descriptors, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Store the answer of QEMU's monitor to `query-fdsets`. (QEMU duplicates the descriptors of
 * -add-fd. So the numbers in this answer differ from those on QEMU's command line.) Anything
 * unexpected is ignored. */
void descriptors_note_fdsets(struct descriptors *descriptors, const json_t *fdsets);

/* If @path is /dev/fdset/N, returns the path of the first file in this set; NULL if the file is not
 * known. For any other @path, returns NULL. Borrowed from @descriptors, which can be NULL. */
const char *descriptors_fdset_path(const struct descriptors *descriptors, const char *path);

/* the beginning of the names that QEMU gives to the descriptors of -add-fd */
#define DESCRIPTORS_FDSET "/dev/fdset/"

/* Returns the path of descriptor @number (text, as in QEMU's options); NULL if it has no path.
 * Borrowed from @descriptors, which can be NULL. */
const char *descriptors_path(const struct descriptors *descriptors, const char *number);

/* Find the path of the unix socket @inode in @table, the text of /proc/PID/net/unix. Pure. Returns
 * 0;
 * -ENOENT: there is no such socket, or it has no path. */
int descriptors_find_unix(const char *table, unsigned long inode, char *ret_path, size_t size);

#endif
