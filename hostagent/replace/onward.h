/* onward.h - passes state from an agent's program to its next program, which it runs by exec. The
 * state is one record in a memfd, and open descriptors.
 *
 *	8  "HFONWARD"                      magic
 *	4  version                         ONWARD_VERSION
 *	4  number of VMs
 *	8  XXH3-64 of all that follows
 *	   for each VM: 1 size of its name, the name, 4 size of the rest, the rest (handed_encode())
 *
 * The number before each field is its size in bytes. All numbers are big-endian. A program can read
 * only its own version of the record. So onward_check() first asks the next program whether it can
 * read our version. If the next program then cannot use the record after all, it logs this, and
 * starts as after any restart of the agent. Meanwhile the guests' frames stay held.
 *
 * The environment variable ONWARD_ENV names the memfd. Descriptors keep their numbers.
 *
 * Where: agent_replace.c and main.c. Threads: one.
 */
#ifndef REPLACE_ONWARD_H
#define REPLACE_ONWARD_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "epoch/handed.h"
#include "wire/limits.h"

#define ONWARD_VERSION 2u
#define ONWARD_VMS_MAX 64u
#define ONWARD_ENV     "HOLDFAST_ONWARD"

struct onward_vm {
	char name[WIRE_NAME_MAX + 1];
	struct handed handed;
};

struct onward {
	uint32_t n_vms;
	struct onward_vm vm[ONWARD_VMS_MAX];
};

/* Write @onward into a memfd. Returns its descriptor, or -errno. */
int onward_write(const struct onward *onward) __attribute__((warn_unused_result));

/* Read what onward_write() has written. The caller frees it with onward_free(). Returns 0;
 * -EPROTO, and *ret_error says why: the record has another version, is damaged, or has a value that
 * is out of bounds;
 * other -errno. */
int onward_read(int fd, struct onward **ret_onward, struct error *ret_error)
	__attribute__((warn_unused_result));
struct onward *onward_free(struct onward *onward); /* frees memory only; accepts NULL */

/* Return what was handed on for the VM @name, or NULL. */
struct handed *onward_find(struct onward *onward, const char *name);

/* If onward_exec() started this program, take what was handed on, and set close-on-exec again on
 * its descriptors. *ret_onward is NULL if onward_exec() did not start this program, or if the
 * record cannot be used. In the latter case the reason is logged, and all descriptors above stderr
 * are closed. Call this before any thread exists, and before anything is opened. */
void onward_take(struct onward **ret_onward);

/* Run the program @path as a child that checks whether it can take over. It can if the files of
 * @config_path are valid and have all the VMs in @names, and if it can read our version of the
 * record. Returns a pidfd, which the caller closes, or -errno. */
int onward_check(const char *path, const char *config_path, const char *const *names,
		 uint32_t n_names, pid_t *ret_pid) __attribute__((warn_unused_result));
/* Returns 0 if the child has ended and can take over; -EAGAIN if it still runs; -ENOEXEC if it
 * cannot take over. */
int onward_checked(pid_t pid) __attribute__((warn_unused_result));

/* Run the program @path with the configuration @config_path in place of this program. If that
 * fails, run the present program anew, with the same record. Returns only if both fail. @fd: from
 * onward_write(). */
int onward_exec(const char *path, const char *config_path, const struct onward *onward, int fd);

#endif
