/* program.h - finds the file of the running program. An update puts the next version at the same
 * path.
 *
 * Both daemons can be replaced by their next version without being stopped first. Where: the
 * agent's replace/, the gateway's replacing.c. Threads: make the first call before other threads
 * are started.
 */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

/* Call this early, before any update, with main()'s argv[0]. If argv[0] is an absolute path,
 * program_path() returns this path. If the path is a symbolic link, the link is not resolved,
 * because an update may let the link name another file. */
void program_started_as(const char *name);

/* Returns the path of this program's file. If argv[0] was not an absolute path, this is the path of
 * /proc/self/exe at the first call. Returns "" if the path cannot be found. */
const char *program_path(void);

/* Returns a descriptor (O_PATH) of the running program's file, even if that file was replaced on
 * the disk. Returns -1 if the file cannot be opened. The descriptor stays open. Source: proc(5),
 * /proc/self/exe. */
int program_fd(void);

#endif
