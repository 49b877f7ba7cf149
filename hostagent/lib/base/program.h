/* program.h - the file of the program that runs, at which an update puts the next version.
 *
 * Both daemons can be replaced by their next version without being stopped first. Where: the
 * agent's replace/, the gateway's replacing.c. Threads: make the first call before other threads
 * are started.
 */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

/* Call this early, before any update, with main()'s argv[0]. If that is an absolute path, it is the
 * program's path, even if it is a symbolic link: an update may let the link name another file. */
void program_started_as(const char *name);

/* Returns the path of this program's file. Without program_started_as(), the first call resolves
 * it. Returns "" if the path cannot be found. */
const char *program_path(void);

/* Returns a descriptor (O_PATH) of the file that runs, even if that file was replaced on the disk.
 * Source: proc(5), /proc/self/exe. -1: it cannot be opened. It stays open. */
int program_fd(void);

#endif
