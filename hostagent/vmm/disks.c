#include "vmm/disks.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "vmm/mirror.h"

#define TIMEOUT_NS   (5 * CLOCK_NS_PER_S)
#define VISITS_MAX   32u /* maximum number of nodes visited to find the jobs of one disk */
#define SIZE_UNKNOWN UINT64_MAX

AUTO_DEFINE(json_t *, json_decref)

/* ---- names */

static bool is_name_character(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

bool vmm_disk_name_is_good(const char *name)
{
	size_t n = 0;

	while (is_name_character(name[n]))
		n++;
	return n > 0 && n <= VMM_DISK_NAME_MAX && name[n] == '\0';
}

/* Returns true if this part of a device's path is the name of an inner device. The operator names a
 * device, and the device makes its inner devices itself. */
static bool is_inner_part(const char *part, size_t size)
{
	static const char backend[] = "virtio-backend", legacy[] = "legacy[";

	return (size == strlen(backend) && memcmp(part, backend, size) == 0) ||
	       (size > strlen(legacy) && memcmp(part, legacy, strlen(legacy)) == 0);
}

/* Find the last part of the device's path @qdev that is not the name of an inner device. Returns
 * the part's size. */
static size_t last_useful_part(const char *qdev, const char **ret_part)
{
	size_t end = strlen(qdev);

	for (;;) {
		size_t start = end;

		while (start > 0 && qdev[start - 1] != '/')
			start--;
		*ret_part = qdev + start;
		if (start == 0 || !is_inner_part(qdev + start, end - start))
			return end - start;
		end = start - 1;
	}
}

/* Copy the name of a disk. '[' becomes '-', ']' is left out, and any other character that a name
 * must not have becomes '_'. If the name is too long, it is cut. */
static void copy_name(const char *from, size_t size, char ret_name[VMM_DISK_NAME_MAX + 1u])
{
	size_t n = 0;

	for (size_t i = 0; i < size && n < VMM_DISK_NAME_MAX; i++) {
		if (from[i] == ']')
			continue;
		ret_name[n++] = is_name_character(from[i]) ? from[i] : from[i] == '[' ? '-' : '_';
	}
	ret_name[n] = '\0';
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void disk_name(const json_t *block, char ret_name[VMM_DISK_NAME_MAX + 1u])
{
	const char *part = text_of(block, "device");
	size_t size = strlen(part);

	if (size == 0)
		size = last_useful_part(text_of(block, "qdev"), &part);
	if (size == 0) {
		part = text_of(json_object_get(block, "inserted"), "node-name");
		size = strlen(part);
	}
	copy_name(part, size, ret_name);
	if (!*ret_name)
		strcpy(ret_name, "unnamed");
}

/* ---- the list */

/* Returns the medium in the drive if the guest can write to it, else NULL. */
static const json_t *writable_medium(const json_t *block)
{
	const json_t *inserted = json_object_get(block, "inserted");

	return inserted && !json_is_true(json_object_get(inserted, "ro")) ? inserted : NULL;
}

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from); /* a long text is cut */
}

static bool flag_of(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static uint64_t size_of(const json_t *inserted)
{
	const json_t *size = json_object_get(json_object_get(inserted, "image"), "virtual-size");

	return json_is_integer(size) && json_integer_value(size) >= 0
		       ? (uint64_t)json_integer_value(size)
		       : SIZE_UNKNOWN;
}

/* Fill in all members of *ret_disk except has_job. */
static void read_disk(const json_t *block, const json_t *inserted, struct vmm_disk *ret_disk)
{
	const json_t *cache = json_object_get(inserted, "cache");
	const char *device = text_of(block, "device"), *node = text_of(inserted, "node-name");
	struct vmm_disk disk = {
		.size_bytes = size_of(inserted),
		.is_direct = flag_of(cache, "direct"),
		.is_no_flush = flag_of(cache, "no-flush"),
		.has_backing = *text_of(inserted, "backing_file") != '\0',
	};

	disk_name(block, disk.name);
	copy_text(disk.source, sizeof(disk.source), *device ? device : node);
	copy_text(disk.node, sizeof(disk.node), node);
	copy_text(disk.file, sizeof(disk.file), text_of(inserted, "file"));
	copy_text(disk.format, sizeof(disk.format), text_of(inserted, "drv"));
	*ret_disk = disk;
}

const struct vmm_disk *vmm_disks_find(const struct vmm_disks *disks, const char *name)
{
	for (uint32_t i = 0; i < disks->n; i++)
		if (strcmp(disks->disks[i].name, name) == 0)
			return &disks->disks[i];
	return NULL;
}

static int add_disk(struct vmm_disks *disks, const struct vmm_disk *disk, struct error *ret_error)
{
	const struct vmm_disk *same = vmm_disks_find(disks, disk->name);

	if (same)
		return error_set(ret_error, -EEXIST,
				 "two disks of the guest are called %s (%.200s and %.200s); give "
				 "their drives or devices different ids",
				 disk->name, same->file, disk->file);
	if (disks->n == VMM_DISKS_MAX)
		return error_set(ret_error, -E2BIG,
				 "the guest has more than %u writable disks; Holdfast can protect "
				 "no more, so attach the others read-only (readonly=on)",
				 VMM_DISKS_MAX);
	disks->disks[disks->n++] = *disk;
	return 0;
}

/* List the writable disks, without their jobs. */
static int list(const json_t *query_block, struct vmm_disks *disks, struct error *ret_error)
{
	size_t i;
	json_t *block;
	int r = 0;

	disks->n = 0;
	if (!json_is_array(query_block))
		return error_set(ret_error, -EPROTO,
				 "QEMU's answer to query-block is not understood");
	json_array_foreach(query_block, i, block)
	{
		const json_t *inserted = writable_medium(block);
		struct vmm_disk disk;

		if (!inserted)
			continue;
		read_disk(block, inserted, &disk);
		r = add_disk(disks, &disk, ret_error);
		if (r < 0)
			break;
	}
	return r;
}

/* ---- jobs */

/* Returns the number that the graph has for the block node @name, or -1 if it has no such node. */
static json_int_t graph_node(const json_t *nodes, const char *name)
{
	size_t i;
	json_t *node;

	json_array_foreach(
		nodes, i,
		node) if (strcmp(text_of(node, "type"), "block-driver") == 0 &&
			  strcmp(text_of(node, "name"), name) ==
				  0) return json_integer_value(json_object_get(node, "id"));
	return -1;
}

/* Returns the entry of the graph's list with number @id, or NULL. */
static const json_t *graph_entry(const json_t *nodes, json_int_t id)
{
	size_t i;
	json_t *node;

	json_array_foreach(nodes, i, node) if (json_integer_value(json_object_get(node, "id")) ==
					       id) return node;
	return NULL;
}

/* Returns true if somebody else's job uses the node @id, or a node above it. (A job puts nodes
 * above the nodes that it works on.) *budget: how many more nodes may be visited. */
static bool has_job(const json_t *graph, json_int_t id, unsigned int *budget)
{
	const json_t *nodes = json_object_get(graph, "nodes");
	size_t i;
	json_t *edge;

	if (id < 0 || *budget == 0)
		return false;
	--*budget;
	json_array_foreach(json_object_get(graph, "edges"), i, edge)
	{
		json_int_t parent_id = json_integer_value(json_object_get(edge, "parent"));
		const json_t *parent;
		const char *type;

		if (json_integer_value(json_object_get(edge, "child")) != id)
			continue;
		parent = graph_entry(nodes, parent_id);
		type = text_of(parent, "type");
		if (strcmp(type, "block-job") == 0 && !mirror_is_our_id(text_of(parent, "name")))
			return true;
		if (strcmp(type, "block-driver") == 0 && has_job(graph, parent_id, budget))
			return true;
	}
	return false;
}

int vmm_disks_parse(const json_t *query_block, const json_t *graph, struct vmm_disks *ret_disks,
		    struct error *ret_error)
{
	const json_t *nodes = json_object_get(graph, "nodes");
	struct vmm_disks disks;
	int r = list(query_block, &disks, ret_error);

	for (uint32_t i = 0; i < disks.n && r == 0; i++) {
		struct vmm_disk *disk = &disks.disks[i];
		unsigned int budget = VISITS_MAX;

		if (disk->size_bytes == SIZE_UNKNOWN)
			r = error_set(ret_error, -EPROTO,
				      "QEMU does not tell the size of disk %s (%.200s)", disk->name,
				      disk->file);
		disk->has_job = has_job(graph, graph_node(nodes, disk->node), &budget);
	}
	if (r == 0)
		*ret_disks = disks;
	return r;
}

static int query(struct qmp *q, const char *command, json_t **ret_answer, struct error *ret_error)
{
	int r = qmp_execute(q, command, NULL, TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(ret_error, r, "QEMU: %s: %s", command,
				 *qmp_error(q) ? qmp_error(q) : strerror(-r))
		     : 0;
}

int vmm_disks_list(struct qmp *q, struct vmm_disks *ret_disks, struct error *ret_error)
{
	AUTO(json_decref) json_t *blocks = NULL;
	AUTO(json_decref) json_t *graph = NULL;
	int r = query(q, "query-block", &blocks, ret_error);

	if (r == 0)
		r = query(q, "x-debug-query-block-graph", &graph, ret_error);
	if (r < 0 && r != -EREMOTEIO)
		return r;
	if (!blocks)
		return r;
	/* If QEMU does not have the command for the graph, `graph` is NULL, and has_job stays
	 * false. */
	return vmm_disks_parse(blocks, graph, ret_disks, ret_error);
}

/* ---- the image's file */

/* Does process @pid have the file @file open? */
static bool has_open(pid_t pid, const struct stat *file)
{
	AUTO(closedir) DIR *dir = NULL;
	const struct dirent *entry;
	char path[64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && st.st_ino == file->st_ino &&
		    st.st_dev == file->st_dev)
			return true;
	}
	return false;
}

int vmm_disk_open_image(pid_t pid, const struct vmm_disk *disk, struct error *ret_error)
{
	char path[VMM_DISK_FILE_BYTES + 64];
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s%s", pid,
		       *disk->file == '/' ? "root" : "cwd/", disk->file);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && has_open(pid, &st))
		return fd;
	fd_close(fd);
	return error_set(ret_error, -ENOTSUP,
			 "disk %s: its image %.200s is no file that QEMU has open",
			 disk->name, disk->file);
}

/* ---- the decision */

static bool is_covered(struct vmm_covered covered, const char *name)
{
	for (size_t i = 0; i < covered.n; i++)
		if (strcmp(covered.names[i], name) == 0)
			return true;
	return false;
}

static bool has_medium(const json_t *query_block, const char *name)
{
	size_t i;
	json_t *block;

	json_array_foreach(query_block, i, block)
	{
		char found[VMM_DISK_NAME_MAX + 1u];

		disk_name(block, found);
		if (strcmp(found, name) == 0)
			return json_object_get(block, "inserted") != NULL;
	}
	return false;
}

/* Append the names of all disks to a text. */
static void append_names(const struct vmm_disks *disks, char *text, size_t size)
{
	for (uint32_t i = 0; i < disks->n; i++) {
		size_t used = strlen(text);

		(void)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
			       disks->disks[i].name); /* the list is cut if it is too long */
	}
}

static int refuse_name(const json_t *query_block, const struct vmm_disks *disks, const char *name,
		       struct error *ret_error)
{
	char names[256] = "";

	if (has_medium(query_block, name))
		return error_set(ret_error, -ENOTSUP,
				 "disk %.63s is named in `disks =` of the VM's file, but the guest "
				 "cannot write to it: take it out of the file",
				 name);
	append_names(disks, names, sizeof(names));
	return error_set(ret_error, -ENOTSUP,
			 "`disks =` of the VM's file names %.63s, but the guest has no such "
			 "writable disk; it has %s: correct the name, or attach the disk",
			 name, *names ? names : "none");
}

int vmm_judge_disks(const json_t *query_block, struct vmm_covered covered, struct error *ret_error)
{
	struct vmm_disks disks;
	int r = list(query_block, &disks, ret_error);

	if (r < 0)
		return r == -EPROTO ? r : -ENOTSUP;
	for (uint32_t i = 0; i < disks.n; i++) {
		const struct vmm_disk *disk = &disks.disks[i];

		if (!is_covered(covered, disk->name))
			return error_set(
				ret_error, -ENOTSUP,
				"disk %s (%.200s) is writable and is not replicated: after a "
				"failover its writes would be lost; name it in `disks =` of the "
				"VM's file, or attach it read-only (readonly=on)",
				disk->name, *disk->file ? disk->file : "no file name");
	}
	for (size_t i = 0; i < covered.n; i++)
		if (!vmm_disks_find(&disks, covered.names[i]))
			return refuse_name(query_block, &disks, covered.names[i], ret_error);
	return 0;
}

int vmm_check_disks(struct qmp *q, struct vmm_covered covered, struct error *ret_error)
{
	AUTO(json_decref) json_t *answer = NULL;
	int r = query(q, "query-block", &answer, ret_error);

	return r < 0 ? r : vmm_judge_disks(answer, covered, ret_error);
}
