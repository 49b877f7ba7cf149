/* onward.h - passes state from one program of the agent to its next program, which replaces it by
 * exec. The state consists of one record in a memfd, and of open descriptors.
 *
 *	8  "HFONWARD"                      magic
 *	4  version                         ONWARD_VERSION
 *	4  number of VMs
 *	8  XXH3-64 of all that follows
 *	   for each VM: 1 size of its name, the name, 4 size of the rest, the rest (handed_encode())
 *
 * The number at the start of each field is the field's size in bytes. All numbers are big-endian. A
 * program can read only its own version of the record. So onward_check() asks the next program
 * beforehand whether it can read ours. If the next program then cannot use the record after all, it
 * logs this, and starts as after any restart of the agent. Meanwhile the guests' frames stay held.
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

/* Write @onward into a memfd. Returns the descriptor of the memfd, or -errno. */
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

/* If onward_exec() started this program: take what was handed on, and set close-on-exec again on
 * its descriptors. If the record cannot be used, log why, and close all descriptors above stderr.
 * *ret_onward is NULL in that case, and also if onward_exec() did not start this program. Call this
 * before any thread exists, and before anything is opened. */
void onward_take(struct onward **ret_onward);

/* Run the program @path as a child that checks whether it can take over. It can if it can read our
 * version of the record, and if the files of @config_path are valid and name all the VMs in @names.
 * Returns a pidfd, which the caller closes, or -errno. */
int onward_check(const char *path, const char *config_path, const char *const *names,
		 uint32_t n_names, pid_t *ret_pid) __attribute__((warn_unused_result));
/* Has the child @pid ended? Returns 0: yes, and it can take over; -EAGAIN: it still runs; -ENOEXEC:
 * it cannot take over. */
int onward_checked(pid_t pid) __attribute__((warn_unused_result));

/* Replace this program by the program @path with the configuration @config_path. If that fails,
 * start the present program anew instead, with the same record. @fd: from onward_write(). Returns,
 * with -errno, only if both fail. */
int onward_exec(const char *path, const char *config_path, const struct onward *onward, int fd);

#endif
