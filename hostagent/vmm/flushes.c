#include "vmm/flushes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "vmm/mirror.h"

#define TIMEOUT_NS (10 * CLOCK_NS_PER_S) /* a reopen drains and flushes */

AUTO_DEFINE(json_t *, json_decref)

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int execute(struct qmp *q, const char *name, const char *command, json_t *args,
		   json_t **ret_answer, struct error *ret_error)
{
	int r = qmp_execute(q, command, args, TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(ret_error, r, "disk %s: QEMU: %s: %s", name, command,
				 *qmp_error(q) ? qmp_error(q) : strerror(-r))
		     : 0;
}

/* ---- QEMU's nodes */

/* Does the guest write to the disk's image through @node? Our mirror's filter has the same file
 * name, but does not count: it passes flushes to the nodes below it. */
static bool is_of_image(const json_t *node, const struct vmm_disk *disk)
{
	return strcmp(text_of(node, "file"), disk->file) == 0 &&
	       strcmp(text_of(node, "drv"), "mirror_top") != 0 &&
	       !json_is_true(json_object_get(node, "ro"));
}

static bool is_no_flush(const json_t *node)
{
	return json_is_true(json_object_get(json_object_get(node, "cache"), "no-flush"));
}

static int list_nodes(struct qmp *q, const struct vmm_disk *disk, json_t **ret_nodes,
		      struct error *ret_error)
{
	return execute(q, disk->name, "query-named-block-nodes", json_pack("{s:b}", "flat", 1),
		       ret_nodes, ret_error);
}

/* Count the nodes of the image that obey flushes, and those that ignore them. */
static int count_nodes(struct qmp *q, const struct vmm_disk *disk, uint32_t *ret_obey,
		       uint32_t *ret_ignore, struct error *ret_error)
{
	AUTO(json_decref) json_t *nodes = NULL;
	json_t *node;
	size_t i;
	int r = list_nodes(q, disk, &nodes, ret_error);

	*ret_obey = *ret_ignore = 0;
	json_array_foreach(nodes, i, node)
	{
		if (is_of_image(node, disk))
			++*(is_no_flush(node) ? ret_ignore : ret_obey);
	}
	return r;
}

static int reopen(struct qmp *q, const char *name, const char *node, bool is_off,
		  struct error *ret_error)
{
	AUTO_FREE char *text = NULL;
	char line[VMM_DISK_SOURCE_BYTES + 64];
	int r;

	(void)snprintf(line, sizeof(line), "qemu-io %.120s \"reopen -o cache.no-flush=%s\"", node,
		       is_off ? "on" : "off");
	r = qmp_hmp(q, line, TIMEOUT_NS, &text);
	if (r < 0)
		return error_set(ret_error, r, "disk %s: QEMU: %s: %s", name, line,
				 *qmp_error(q) ? qmp_error(q) : strerror(-r));
	return 0; /* QEMU's text does not prove success, so the caller counts the nodes again */
}

/* Make all nodes of the image ignore flushes (@is_off), or obey them. Returns -EIO if a node is not
 * in the wanted state afterwards. */
static int set_nodes(struct qmp *q, const struct vmm_disk *disk, bool is_off,
		     struct error *ret_error)
{
	AUTO(json_decref) json_t *nodes = NULL;
	uint32_t obey = 0, ignore = 0;
	json_t *node;
	size_t i;
	int r = list_nodes(q, disk, &nodes, ret_error);

	json_array_foreach(nodes, i, node)
	{
		if (r == 0 && is_of_image(node, disk) && is_no_flush(node) != is_off)
			r = reopen(q, disk->name, text_of(node, "node-name"), is_off, ret_error);
	}
	if (r == 0)
		r = count_nodes(q, disk, &obey, &ignore, ret_error);
	if (r == 0 && (is_off ? obey > 0 || ignore == 0 : ignore > 0))
		r = error_set(ret_error, -EIO, "disk %s: QEMU does not switch flushes %s",
			      disk->name, is_off ? "off" : "on");
	return r;
}

/* ---- the mark */

static int make_mark(struct qmp *q, const struct vmm_disk *disk, struct error *ret_error)
{
	char id[MIRROR_ID_BYTES];

	mirror_id(disk->name, id);
	return execute(q, disk->name, "object-add",
		       json_pack("{s:s, s:s}", "qom-type", "throttle-group", "id", id), NULL,
		       ret_error);
}

static int remove_mark(struct qmp *q, const struct vmm_disk *disk, struct error *ret_error)
{
	char id[MIRROR_ID_BYTES];

	mirror_id(disk->name, id);
	return execute(q, disk->name, "object-del", json_pack("{s:s}", "id", id), NULL, ret_error);
}

/* Returns 1 if QEMU has the mark, 0 if it has not, or an error of qmp_execute(). */
static int has_mark(struct qmp *q, const struct vmm_disk *disk, struct error *ret_error)
{
	AUTO(json_decref) json_t *objects = NULL;
	char id[MIRROR_ID_BYTES];
	json_t *object;
	size_t i;
	int r = execute(q, disk->name, "qom-list", json_pack("{s:s}", "path", "/objects"), &objects,
			ret_error);

	mirror_id(disk->name, id);
	json_array_foreach(objects, i, object)
	{
		if (strcmp(text_of(object, "name"), id) == 0)
			return 1;
	}
	return r;
}

/* ---- off and on */

int flushes_on(struct qmp *q, const struct vmm_disk *disk, int image_fd, struct error *ret_error)
{
	int r = set_nodes(q, disk, false, ret_error);

	if (image_fd < 0)
		sync();
	else if (r == 0 && fdatasync(image_fd) < 0)
		r = error_set(ret_error, -errno,
			      "disk %s: its image %.200s cannot be brought to the disk: %m; check "
			      "the disk on this host",
			      disk->name, disk->file);
	return r == 0 ? remove_mark(q, disk, ret_error) : r;
}

int flushes_off(struct qmp *q, pid_t pid, const struct vmm_disk *disk, int *ret_image_fd,
		struct error *ret_error)
{
	uint32_t obey, ignore;
	struct error error;
	int fd, r = count_nodes(q, disk, &obey, &ignore, ret_error);

	if (r < 0)
		return r;
	if (ignore > 0 || obey == 0)
		return error_set(ret_error, -ENOTSUP, "disk %s: QEMU %s", disk->name,
				 ignore ? "ignores flushes already (cache=unsafe)"
					: "does not say which nodes are its image");
	fd = vmm_disk_open_image(pid, disk, ret_error);
	if (fd < 0)
		return fd;
	/* If we are killed after this, the mark tells the next agent to undo the change. */
	r = make_mark(q, disk, ret_error);
	if (r == 0) {
		r = set_nodes(q, disk, true, ret_error);
		if (r < 0 && flushes_on(q, disk, fd, &error) < 0)
			r = error_set(ret_error, -EBUSY, "%s", error.text);
		else if (r == -EIO)
			r = -ENOTSUP;
	}
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	*ret_image_fd = fd;
	return 0;
}

static int on_again(struct qmp *q, pid_t pid, const struct vmm_disk *disk, struct error *ret_error)
{
	int fd = vmm_disk_open_image(pid, disk, ret_error), r;

	r = flushes_on(q, disk, fd, ret_error);
	fd_close(fd);
	return r;
}

int flushes_on_again(struct qmp *q, pid_t pid, struct error *ret_error)
{
	struct vmm_disks *disks = calloc(1, sizeof(*disks));
	int n = 0, r;

	if (!disks)
		return error_set(ret_error, -ENOMEM, "no memory for the disks");
	r = vmm_disks_list(q, disks, ret_error);
	for (uint32_t i = 0; r >= 0 && i < disks->n; i++) {
		r = has_mark(q, &disks->disks[i], ret_error);
		if (r > 0) {
			n++;
			r = on_again(q, pid, &disks->disks[i], ret_error);
		}
	}
	free(disks);
	return r < 0 ? r : n;
}
