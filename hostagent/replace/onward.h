/* onward.h - carries what is handed on across exec: a memfd with one record, and the descriptors.
 *
 *	8  "HFONWARD"                      magic
 *	4  version                         ONWARD_VERSION
 *	4  number of VMs
 *	8  XXH3-64 of all that follows
 *	   for each VM: 1 size of its name, the name, 4 size of the rest, the rest (handed_encode())
 *
 * All numbers are big-endian. A program can read only its own version: onward_check() asks the next
 * program for it first. If the record cannot be used all the same, the next program begins as after
 * any restart, and says so; the guests' frames stay held until then.
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

/* Read what onward_write() has written. The caller frees it with onward_free(). Returns 0; -EPROTO,
 * with *ret_error: another version, damaged, or a value is out of its bounds; other -errno. */
int onward_read(int fd, struct onward **ret_onward, struct error *ret_error)
	__attribute__((warn_unused_result));
struct onward *onward_free(struct onward *onward); /* frees memory only; accepts NULL */

/* Return what was handed on of the VM @name, or NULL. */
struct handed *onward_find(struct onward *onward, const char *name);

/* If this program was started by onward_exec(), take what was handed on: *ret_onward, which is NULL
 * if it was not, or if the record cannot be used (this is logged, and all descriptors above stderr
 * are closed). All descriptors are close-on-exec again. Call this before any thread exists, and
 * before anything is opened. */
void onward_take(struct onward **ret_onward);

/* Start the program @path as a child that says whether it can take over: the files of @config_path
 * are good, they have each of the @n_names VMs, and it can read our record. Returns a pidfd, which
 * the caller closes, or -errno. */
int onward_check(const char *path, const char *config_path, const char *const *names,
		 uint32_t n_names, pid_t *ret_pid) __attribute__((warn_unused_result));
/* Returns 0 if the child has said yes; -EAGAIN: it still runs; -ENOEXEC: it has said no. */
int onward_checked(pid_t pid) __attribute__((warn_unused_result));

/* Replace this program by @path with the configuration @config_path. If that fails, run the program
 * that runs now. Returns only if both fail. @fd: from onward_write(). */
int onward_exec(const char *path, const char *config_path, const struct onward *onward, int fd);

/* Return the path of the program that runs, as it will be found after an update: resolved at the
 * first call, which must come early. "" if it cannot be found. */
const char *onward_path(void);

#endif
