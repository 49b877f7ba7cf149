#include "replace/onward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/child.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hurry.h"
#include "base/log.h"
#include "base/program.h"

#define MAGIC	   "HFONWARD"
#define HEAD_BYTES 24u /* bytes before the VMs' records: up to the end of the checksum */
#define VM_BYTES_MAX (1 + WIRE_NAME_MAX + 4 + HANDED_BYTES_MAX)

extern char **environ;

/* ---- the record */

static void encode_vm(struct bytes_writer *w, const struct onward_vm *vm)
{
	size_t size = strlen(vm->name);
	uint8_t *at;

	bytes_write_u8(w, (uint8_t)size);
	bytes_write(w, vm->name, size);
	at = bytes_reserve(w, 4);
	handed_encode(&vm->handed, w);
	if (!w->bad)
		bytes_put_be32(at, (uint32_t)(w->at - at - 4));
}

int onward_write(const struct onward *onward)
{
	size_t size = HEAD_BYTES;
	AUTO_FREE uint8_t *data = NULL;
	struct bytes_writer w;
	int fd, r;

	/* the largest possible size, but with the real sizes of each VM's two large parts (device
	 * and facts) */
	for (uint32_t i = 0; i < onward->n_vms; i++)
		size += VM_BYTES_MAX - WIRE_BLOB_MAX - HANDED_FACTS_MAX +
			onward->vm[i].handed.device_size + onward->vm[i].handed.facts_size;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	w = (struct bytes_writer){data, data + size, false};
	bytes_write(&w, MAGIC, 8);
	bytes_write_be32(&w, ONWARD_VERSION);
	bytes_write_be32(&w, onward->n_vms);
	bytes_write_be64(&w, 0);
	for (uint32_t i = 0; i < onward->n_vms; i++)
		encode_vm(&w, &onward->vm[i]);
	if (w.bad)
		return -E2BIG;
	/* the checksum covers all VMs' records, so it can be put in only now */
	bytes_put_be64(data + 16,
		       XXH3_64bits(data + HEAD_BYTES, (size_t)(w.at - data) - HEAD_BYTES));
	fd = memfd_create("holdfast-onward", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, (size_t)(w.at - data));
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	return fd;
}

static int decode_vm(struct bytes_reader *r, struct onward_vm *vm)
{
	size_t size = bytes_read_u8(r);
	const uint8_t *name = bytes_take(r, size), *rest;
	struct bytes_reader inner;
	uint32_t rest_size = bytes_read_be32(r);
	int result;

	rest = bytes_take(r, rest_size);
	if (!rest || size == 0 || size > WIRE_NAME_MAX || memchr(name, '\0', size))
		return -EPROTO;
	memcpy(vm->name, name, size);
	vm->name[size] = '\0';
	inner = (struct bytes_reader){rest, rest + rest_size, false};
	result = handed_decode(&inner, &vm->handed);
	if (result == 0 && bytes_left(&inner) > 0) {
		handed_done(&vm->handed);
		return -EPROTO;
	}
	return result;
}

static int decode(const uint8_t *data, size_t size, struct onward *o, struct error *ret_error)
{
	struct bytes_reader r = {data, data + size, false};
	const uint8_t *magic = bytes_take(&r, 8);
	uint32_t version = bytes_read_be32(&r), n = bytes_read_be32(&r);
	uint64_t sum = bytes_read_be64(&r);

	if (r.bad || memcmp(magic, MAGIC, 8) != 0)
		return error_set(ret_error, -EPROTO, "it is no such record");
	if (version != ONWARD_VERSION)
		return error_set(ret_error, -EPROTO, "it is of version %u, this program reads %u",
				 version, ONWARD_VERSION);
	if (n > ONWARD_VMS_MAX || sum != XXH3_64bits(r.at, bytes_left(&r)))
		return error_set(ret_error, -EPROTO, "it is damaged");
	for (uint32_t i = 0; i < n; i++) {
		int result = decode_vm(&r, &o->vm[i]);

		if (result < 0)
			return error_set(ret_error, result, "VM %u of it: %s", i + 1,
					 strerror(-result));
		o->n_vms++;
	}
	if (bytes_left(&r) > 0)
		return error_set(ret_error, -EPROTO, "something follows it");
	return 0;
}

int onward_read(int fd, struct onward **ret_onward, struct error *ret_error)
{
	struct onward *o = calloc(1, sizeof(*o));
	struct stat st;
	void *data;
	int r;

	if (!o)
		return error_set(ret_error, -ENOMEM, "out of memory");
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)HEAD_BYTES ||
	    (uint64_t)st.st_size > HEAD_BYTES + ONWARD_VMS_MAX * (uint64_t)VM_BYTES_MAX) {
		free(o);
		return error_set(ret_error, -EPROTO, "it has a wrong size");
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED) {
		free(o);
		return error_set(ret_error, -ENOMEM, "it cannot be mapped");
	}
	r = decode(data, (size_t)st.st_size, o, ret_error);
	(void)munmap(data, (size_t)st.st_size); /* cannot fail: this is our mapping */
	if (r < 0) {
		onward_free(o);
		return r;
	}
	*ret_onward = o;
	return 0;
}

struct onward *onward_free(struct onward *o)
{
	for (uint32_t i = 0; o && i < o->n_vms; i++)
		handed_done(&o->vm[i].handed);
	free(o);
	return NULL;
}

struct handed *onward_find(struct onward *o, const char *name)
{
	for (uint32_t i = 0; o && i < o->n_vms; i++)
		if (strcmp(o->vm[i].name, name) == 0)
			return &o->vm[i].handed;
	return NULL;
}

/* ---- exec */

static void keep(int fd)
{
	/* if this fails, the next program finds out when it uses the descriptor */
	(void)fcntl(fd, F_SETFD, 0);
}

static void keep_no_longer(int fd)
{
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void onward_take(struct onward **ret_onward)
{
	const char *text = getenv(ONWARD_ENV);
	AUTO_CLOSE int fd = -1;
	struct error error;

	*ret_onward = NULL;
	if (!text)
		return;
	fd = (int)strtol(text, NULL, 10);
	(void)unsetenv(ONWARD_ENV);
	keep_no_longer(fd);
	if (onward_read(fd, ret_onward, &error) < 0) {
		log_error("what the agent's last program handed on cannot be used, so all begins "
			  "as after a restart: %s", error.text);
		hurry_all_threads(false);
		/* Close everything: as long as a userfaultfd is open, its guest cannot be tracked
		 * again. This program has opened nothing itself yet. */
		(void)close_range(STDERR_FILENO + 1, ~0U, 0);
		fd = -1;
		return;
	}
	for (uint32_t i = 0; i < (*ret_onward)->n_vms; i++)
		handed_each_fd(&(*ret_onward)->vm[i].handed, keep_no_longer);
}

struct check {
	char *argv[6 + ONWARD_VMS_MAX];
};

static void run_check(void *arg) __attribute__((noreturn));
static void run_check(void *arg)
{
	struct check *check = arg;

	child_signals();
	execve(check->argv[0], check->argv, environ);
	_exit(127);
}

int onward_check(const char *path, const char *config_path, const char *const *names,
		 uint32_t n_names, pid_t *ret_pid)
{
	char option[] = "--config", check_option[] = "--check-onward", version[16];
	struct check check = {{(char *)(uintptr_t)path, option, (char *)(uintptr_t)config_path,
			       check_option, version, NULL}};
	int pidfd;

	for (uint32_t i = 0; i < n_names && i < ONWARD_VMS_MAX; i++)
		check.argv[5 + i] = (char *)(uintptr_t)names[i];
	(void)snprintf(version, sizeof(version), "%u", ONWARD_VERSION);
	*ret_pid = child_start(run_check, &check);
	if (*ret_pid < 0)
		return *ret_pid;
	pidfd = pidfd_open(*ret_pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

int onward_checked(pid_t pid)
{
	int status;
	pid_t ended = waitpid(pid, &status, WNOHANG);

	if (ended == 0)
		return -EAGAIN;
	return ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOEXEC;
}

int onward_exec(const char *path, const char *config_path, const struct onward *onward, int fd)
{
	char option[] = "--config", text[16];
	char *argv[] = {(char *)(uintptr_t)path, option, (char *)(uintptr_t)config_path, NULL};
	int r;

	(void)snprintf(text, sizeof(text), "%d", fd);
	if (setenv(ONWARD_ENV, text, 1) < 0)
		return -errno;
	keep(fd);
	for (uint32_t i = 0; i < onward->n_vms; i++)
		handed_each_fd(&onward->vm[i].handed, keep);
	(void)execve(path, argv, environ);
	r = -errno;
	log_error("%s cannot be run, going on with the program that runs: %s", path, strerror(-r));
	(void)execveat(program_fd(), "", argv, environ, AT_EMPTY_PATH);
	return -errno;
}
