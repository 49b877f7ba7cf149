#include "vmm/devstate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/error.h"

#define COMMAND_TIMEOUT_NS (2 * CLOCK_NS_PER_S)
/* the label of our descriptors in QEMU (see GATE_OPAQUE in gate.h) */
#define OPAQUE		   "holdfast-devstate"
/* The first size of the buffer. A small PC's blob has 80 KB, so the first pauses need not enlarge
 * the buffer. */
#define FIRST_CAPACITY	   ((size_t)256 << 10)

struct devstate {
	struct qmp *qmp;  /* borrowed */
	struct gate *gate; /* NULL if there is no gate */
	int memfd;	  /* our descriptor of the file, for reading */
	/* a write-only descriptor of the memfd; QEMU's copy shares its file offset */
	int shared;
	/* id of the fdset that has QEMU's copy of `shared`; -1 before QEMU has a copy */
	int64_t fdset_id;
	char *command;	  /* the save command, rendered */
	uint8_t *data;
	size_t capacity;
	size_t max_bytes;
};

static int make_memfd(struct devstate *d)
{
	char path[64];

	d->memfd = memfd_create("holdfast-devstate", MFD_CLOEXEC);
	if (d->memfd < 0)
		return -errno;
	/* QEMU asks for O_WRONLY when it opens the file, and accepts only a descriptor with exactly
	 * this mode. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", d->memfd);
	d->shared = open(path, O_WRONLY | O_CLOEXEC);
	return d->shared < 0 ? -errno : 0;
}

static int hand_over(struct devstate *d)
{
	json_t *answer = NULL, *id;
	char path[64];
	int r = qmp_send_with_fd(d->qmp, "add-fd",
				 json_pack("{s:s}", "opaque", OPAQUE), d->shared);

	if (r == 0)
		r = qmp_wait(d->qmp, COMMAND_TIMEOUT_NS, &answer);
	if (r < 0)
		return r;
	id = json_object_get(answer, "fdset-id");
	d->fdset_id = json_is_integer(id) ? json_integer_value(id) : -1;
	json_decref(answer);
	if (d->fdset_id < 0)
		return -EPROTO;
	(void)snprintf(path, sizeof(path), "/dev/fdset/%" PRId64, d->fdset_id);
	d->command = qmp_render("xen-save-devices-state",
				json_pack("{s:s, s:b}", "filename", path, "live", 0));
	return d->command ? 0 : -ENOMEM;
}

int devstate_open(struct qmp *q, size_t max_bytes, struct devstate **ret_state,
		  struct error *ret_error)
{
	struct devstate *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return error_set(ret_error, -ENOMEM, "out of memory");
	d->qmp = q;
	d->memfd = d->shared = -1;
	d->fdset_id = -1;
	d->max_bytes = max_bytes;
	d->capacity = FIRST_CAPACITY < max_bytes ? FIRST_CAPACITY : max_bytes;
	d->data = malloc(d->capacity);
	r = d->data ? make_memfd(d) : -ENOMEM;
	if (r == 0)
		r = hand_over(d);
	if (r < 0) {
		(void)error_set(ret_error, r, "cannot hand QEMU a file for its device state: %s",
				r == -EREMOTEIO ? qmp_error(q) : strerror(-r));
		devstate_close(d);
		return r;
	}
	*ret_state = d;
	return 0;
}

void devstate_open_gate(struct devstate *d, pid_t pid)
{
	struct error error;

	if (gate_open(d->qmp, pid, d->max_bytes, &d->gate, &error) < 0)
		log_info("pid=%d no save through a pipe, pauses are longer: %s", pid, error.text);
}

struct gate *devstate_gate(struct devstate *d)
{
	return d->gate;
}

void devstate_drop_gate(struct devstate *d)
{
	d->gate = gate_close(d->gate);
}

struct devstate *devstate_close(struct devstate *d)
{
	if (!d)
		return NULL;
	devstate_drop_gate(d);
	/* An error is ignored: QEMU's copy of the descriptor then stays open until the monitor is
	 * closed. */
	if (d->fdset_id >= 0 &&
	    qmp_execute(d->qmp, "remove-fd",
			json_pack("{s:I}", "fdset-id", (json_int_t)d->fdset_id), COMMAND_TIMEOUT_NS,
			NULL) < 0)
		log_debug("remove-fd: %s, ignoring", qmp_error(d->qmp));
	fd_close(d->memfd);
	fd_close(d->shared);
	free(d->command);
	free(d->data);
	free(d);
	return NULL;
}

struct devstate *devstate_leave(struct devstate *d)
{
	if (d) {
		d->gate = gate_leave(d->gate);
		d->fdset_id = -1;
	}
	return devstate_close(d);
}

bool devstate_is_ours(const json_t *fdset, int64_t *ret_id)
{
	const json_t *id = json_object_get(fdset, "fdset-id"), *fds = json_object_get(fdset, "fds");
	size_t n = json_array_size(fds);

	for (size_t i = 0; i < n; i++) {
		const char *opaque =
			json_string_value(json_object_get(json_array_get(fds, i), "opaque"));

		if (!opaque || (strcmp(opaque, OPAQUE) != 0 && strcmp(opaque, GATE_OPAQUE) != 0))
			return false;
	}
	if (n == 0 || !json_is_integer(id))
		return false;
	*ret_id = json_integer_value(id);
	return true;
}

int devstate_sweep(struct devstate *d)
{
	json_t *answer = NULL;
	int r = qmp_execute(d->qmp, "query-fdsets", NULL, COMMAND_TIMEOUT_NS, &answer);

	for (size_t i = 0; i < json_array_size(answer); i++) {
		int64_t id;
		int removed;

		if (!devstate_is_ours(json_array_get(answer, i), &id) || id == d->fdset_id ||
		    (d->gate && id == gate_fdset_id(d->gate)))
			continue;
		removed = qmp_execute(d->qmp, "remove-fd",
				      json_pack("{s:I}", "fdset-id", (json_int_t)id),
				      COMMAND_TIMEOUT_NS, NULL);
		r = removed < 0 ? removed : r;
	}
	json_decref(answer);
	return r;
}

int devstate_start(struct devstate *d, const char *next)
{
	if (lseek(d->shared, 0, SEEK_SET) < 0)
		return -errno;
	return qmp_send_rendered(d->qmp, d->command, next);
}

/* Make room for @size bytes and some spare room, so that the buffer rarely has to grow. */
static int grow(struct devstate *d, size_t size)
{
	size_t capacity = size + size / 2;
	uint8_t *data;

	if (size <= d->capacity)
		return 0;
	if (capacity > d->max_bytes)
		capacity = d->max_bytes;
	data = realloc(d->data, capacity);
	if (!data)
		return -ENOMEM;
	d->data = data;
	d->capacity = capacity;
	return 0;
}

int devstate_finish(struct devstate *d, uint64_t timeout_ns, const uint8_t **ret_blob,
		    size_t *ret_size)
{
	size_t size = 0;
	off_t end;
	int r = qmp_wait(d->qmp, timeout_ns, NULL);

	if (r < 0)
		return r;
	end = lseek(d->shared, 0, SEEK_CUR);
	if (end < 0)
		return -errno;
	if (end == 0)
		return -ENODATA;
	if ((uint64_t)end > d->max_bytes)
		return -EFBIG;
	r = grow(d, (size_t)end);
	while (r == 0 && size < (size_t)end) {
		ssize_t n = pread(d->memfd, d->data + size, (size_t)end - size, (off_t)size);

		if (n <= 0)
			r = n < 0 ? -errno : -ENODATA;
		else
			size += (size_t)n;
	}
	if (r < 0)
		return r;
	*ret_blob = d->data;
	*ret_size = size;
	return 0;
}
