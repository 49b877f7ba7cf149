/* Carries over drives and block nodes: a replicated disk becomes a raw or qcow2 image with the same
 * ids. See rewrite.h. */
#include "inspect/rewrite_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define DEPTH_MAX 8u /* the longest chain of block nodes that is followed */

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

/* Formats whose content can be copied to a raw image. Encrypted formats are left out, because the
 * raw image would not be encrypted. */
static bool is_image_format(const char *driver)
{
	static const char *const formats[] = {"bochs", "cloop", "dmg", "parallels",
					      "qcow",  "qcow2", "qed", "vdi",
					      "vhdx",  "vmdk",	"vpc"};

	return is_one_of(driver, formats, ARRAY_SIZE(formats));
}

static bool is_file_driver(const char *driver)
{
	return strcmp(driver, "file") == 0 || strcmp(driver, "host_device") == 0;
}

/* QEMU has different drivers for files and for block devices. */
static const char *file_driver(const char *path)
{
	return strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0 ? "host_device"
										    : "file";
}

/* Remove the settings of one image format, such as qcow2's caches or backing file. They describe
 * the primary's image, and the standby's image may have another format. */
static void drop_format(struct option_list *list)
{
	static const char *const keys[] = {
		"backing",
		"backing.",
		"cache-clean-interval",
		"cache-size",
		"data-file",
		"data-file.",
		"discard-no-unref",
		"key-secret",
		"encrypt.",
		"l2-cache-entry-size",
		"l2-cache-size",
		"lazy-refcounts",
		"overlap-check",
		"overlap-check.",
		"pass-discard-other",
		"pass-discard-request",
		"pass-discard-snapshot",
		"refcount-cache-size",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		option_drop(list, keys[i]);
}

static bool check_format(struct rewriter *rw, const struct vmm_disk *disk, const char *format)
{
	if (!format || strcmp(format, "raw") == 0 || is_image_format(format))
		return true;
	rewriter_refuse(
		rw,
		"disk %s (%s) has the format %s, for which the standby's raw image cannot be "
		"described; attach it as raw or qcow2",
		disk->name, disk->file, format);
	return false;
}

/* Take the image's format from the start of the path @there. */
static void take_format(struct rewrite *out, size_t index, char *there)
{
	static const char *const heads[] = {"raw:", "qcow2:"};

	out->qcow2_there[index] = false;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		size_t size = strlen(heads[i]);

		if (strncmp(there, heads[i], size) != 0)
			continue;
		out->qcow2_there[index] = i == 1;
		memmove(there, there + size, strlen(there + size) + 1);
		return;
	}
}

static const char *format_there(const struct rewriter *rw, size_t index)
{
	return rw->out.qcow2_there[index] ? "qcow2" : "raw";
}

/* Find the standby's image of a disk, and store it in the result. Returns the path, borrowed from
 * the result. If the path is not known, adds an obstacle and returns NULL. */
static const char *find_image(struct rewriter *rw, size_t index, const char *path)
{
	const struct vmm_disk *disk = &rw->in->disks->disks[index];
	char what[VMM_DISK_NAME_MAX + 8];

	(void)snprintf(what, sizeof(what), "disk %s", disk->name);
	free(rw->out.image_there[index]);
	rw->out.image_there[index] = rewriter_path(rw, REWRITE_IMAGE, what, disk->name, path);
	if (rw->out.image_there[index])
		take_format(&rw->out, index, rw->out.image_there[index]);
	if (rw->out.image_there[index] && rw->error == 0) {
		free(rw->out.image_here[index]);
		rw->out.image_here[index] = strdup(rw->out.things[rw->out.n_things - 1].here);
		if (!rw->out.image_here[index])
			rw->error = -ENOMEM;
	}
	return rw->out.image_there[index];
}

/* ---- -drive */

/* Returns the index of the writable disk that a -drive makes, or -1. */
static int find_disk(const struct rewriter *rw, const char *id, const char *file)
{
	const struct vmm_disks *disks = rw->in->disks;

	if (strncmp(file, "file:", 5) == 0)
		file += 5;
	for (uint32_t i = 0; i < disks->n; i++) {
		const struct vmm_disk *disk = &disks->disks[i];

		if (id ? strcmp(disk->source, id) == 0
		       : strcmp(disk->file, file) == 0 && !rw->out.image_there[i])
			return (int)i;
	}
	return -1;
}

/* Returns the path of the drive's file, borrowed; NULL if the drive has no file, or a file without
 * a path. */
static const char *drive_file(struct rewriter *rw, const struct option_list *list,
			      const char *value)
{
	const char *file = option_get(list, "file"), *driver = option_get(list, "file.driver");
	const char *name = option_get(list, "file.filename");

	if (!file && driver && !is_file_driver(driver))
		name = NULL;
	else if (!file && !driver && !name)
		return NULL;
	file = file ? file : name;
	if (!file || strstr(file, "://") || strncmp(file, "json:", 5) == 0 ||
	    strncmp(file, "nbd:", 4) == 0 || strncmp(file, "rbd:", 4) == 0) {
		rewriter_refuse(
			rw,
			"-drive %s: its image is no file or block device of this host; write "
			"the standby's command by hand",
			value);
		return NULL;
	}
	return file;
}

static void replicate_drive(struct rewriter *rw, int index, struct option_list *list,
			    const char *file)
{
	const struct vmm_disk *disk = &rw->in->disks->disks[index];
	const char *format = option_get(list, "format"), *there;

	rw->described[index] = true;
	if (!check_format(rw, disk, format ? format : option_get(list, "driver")))
		return;
	there = find_image(rw, (size_t)index, file);
	if (!there)
		return;
	drop_format(list);
	option_drop(list, "driver");
	option_drop(list, "snapshot");
	option_set(list, "file", there);
	option_drop(list, "file.");
	option_set(list, "format", format_there(rw, (size_t)index));
	rw->has_format[index] = true;
	rewriter_emit_list(rw, "drive", list);
}

static void carry_drive(struct rewriter *rw, struct option_list *list, const char *value)
{
	const char *id = option_get(list, "id"), *media = option_get(list, "media"), *file;
	uint32_t n_before = rw->obstacles->n;
	int index = -1;

	file = drive_file(rw, list, value);
	if (rw->obstacles->n > n_before)
		return;
	if (file && !option_is_on(list, "readonly") && !option_is_on(list, "read-only") &&
	    !(media && strcmp(media, "cdrom") == 0))
		index = find_disk(rw, id, file);
	if (index >= 0) {
		replicate_drive(rw, index, list, file);
		return;
	}
	rewriter_list_path(rw, REWRITE_FILE, "read-only drive", id, list,
			   option_get(list, "file") ? "file" : "file.filename");
	rewriter_emit_list(rw, "drive", list);
}

void rewrite_drive(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;

	if (!rewriter_parse(rw, option, value, "", &list))
		return;
	carry_drive(rw, &list, value);
	option_done(&list);
}

/* An option such as -hda FILE cannot give a format, so make it a -drive. */
void rewrite_short_drive(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list = {0};
	size_t size = strlen(option);
	char index[2] = {(char)('0' + option[size - 1] - 'a'), '\0'};

	if (strcmp(option, "pflash") == 0 || strcmp(option, "sd") == 0) {
		option_set(&list, "if", option);
	} else {
		if (*option == 'f')
			option_set(&list, "if", "floppy");
		else
			option_set(&list, "media", "disk");
		option_set(&list, "index", index);
	}
	option_set(&list, "file", value);
	carry_drive(rw, &list, value);
	option_done(&list);
}

/* ---- -blockdev */

enum node_role {
	NODE_OTHER = 0, /* read-only media: the standby has the same file */
	NODE_REPLICA,	/* a node between a replicated disk and its file */
	NODE_BACKING,   /* a backing node of such a disk: the raw image already has its content */
};

/* Find the -blockdev that makes node @name. Returns its index in the words; *ret_list then has its
 * settings, and the caller must free *ret_list. Returns 0 if there is no such -blockdev. */
static size_t find_node(const struct rewriter *rw, const char *name, struct option_list *ret_list)
{
	for (size_t i = 1; i + 1 < rw->in->n_words; i++) {
		const char *node;

		if (strcmp(rw->in->words[i], "-blockdev") != 0 ||
		    option_parse(rw->in->words[i + 1], "driver", ret_list) < 0)
			continue;
		node = option_get(ret_list, "node-name");
		if (node && strcmp(node, name) == 0)
			return i;
		option_done(ret_list);
	}
	return 0;
}

/* Find the role of node @name, by its place below node @from. Returns
 * - @role if @name is @from, or is below @from without a backing node in between;
 * - NODE_BACKING if @name is a backing node below @from, or is below such a node;
 * - NODE_OTHER if @name is not below @from. */
static enum node_role role_below(const struct rewriter *rw, const char *from, const char *name,
				 enum node_role role, unsigned int depth)
{
	static const struct {
		const char *key;
		bool is_backing;
	} edges[] = {{"file", false}, {"backing", true}, {"data-file", false}};
	enum node_role found = NODE_OTHER;
	struct option_list list;

	if (strcmp(from, name) == 0)
		return role;
	if (depth == 0 || find_node(rw, from, &list) == 0)
		return NODE_OTHER;
	for (size_t i = 0; i < ARRAY_SIZE(edges) && found == NODE_OTHER; i++) {
		const char *below = option_get(&list, edges[i].key);

		if (below)
			found = role_below(rw, below, name,
					   edges[i].is_backing ? NODE_BACKING : role, depth - 1);
	}
	option_done(&list);
	return found;
}

static enum node_role role_of(const struct rewriter *rw, const char *name, size_t *ret_index)
{
	for (uint32_t i = 0; i < rw->in->disks->n; i++) {
		enum node_role role =
			role_below(rw, rw->in->disks->disks[i].node, name, NODE_REPLICA, DEPTH_MAX);

		if (role != NODE_OTHER) {
			*ret_index = i;
			return role;
		}
	}
	return NODE_OTHER;
}

static void replicate_node(struct rewriter *rw, size_t index, struct option_list *list)
{
	static const char *const filters[] = {"raw", "throttle", "copy-on-read"};
	const struct vmm_disk *disk = &rw->in->disks->disks[index];
	const char *driver = option_get(list, "driver");
	const char *inner = option_get(list, "file.driver"), *key = NULL, *there;
	bool is_image;

	rw->described[index] = true;
	driver = driver ? driver : "";
	/* option_set() below can free the text @driver */
	is_image = is_image_format(driver) || strcmp(driver, "raw") == 0;
	if (is_file_driver(driver))
		key = "filename";
	else if (inner && is_file_driver(inner))
		key = "file.filename";
	if ((!key && inner) || (!is_file_driver(driver) && !is_image &&
				!is_one_of(driver, filters, ARRAY_SIZE(filters)))) {
		rewriter_refuse(rw,
				"disk %s (%s) has the block driver %s, whose place on the standby "
				"cannot be told; write the standby's command by hand",
				disk->name, disk->file, inner ? inner : driver);
		return;
	}
	if (key) {
		const char *path = option_get(list, key);

		there = find_image(rw, index, path ? path : "");
		if (!there)
			return;
		option_set(list, key, there);
		option_set(list, inner ? "file.driver" : "driver", file_driver(there));
	}
	if (is_image) {
		drop_format(list);
		/* The command describes the node of the image's file first, then the nodes above
		 * it. So the first format node is the lowest one. It gets the format of the
		 * standby's image, and the format nodes above it become raw. */
		option_set(list, "driver", rw->has_format[index] ? "raw" : format_there(rw, index));
		rw->has_format[index] = true;
	}
	rewriter_emit_list(rw, "blockdev", list);
}

static void carry_node(struct rewriter *rw, struct option_list *list, const char *value)
{
	const char *name = option_get(list, "node-name");
	size_t index = 0;

	switch (role_of(rw, name ? name : "", &index)) {
	case NODE_REPLICA:
		replicate_node(rw, index, list);
		break;
	case NODE_BACKING:
		rewriter_leave_out(rw, "blockdev", value,
				   "a base of a replicated disk: its content is in the raw image");
		break;
	case NODE_OTHER:
		rewriter_list_path(rw, REWRITE_FILE, "read-only drive", name, list, "filename");
		rewriter_list_path(rw, REWRITE_FILE, "read-only drive", name, list,
				   "file.filename");
		rewriter_emit_list(rw, "blockdev", list);
		break;
	}
}

void rewrite_blockdev(struct rewriter *rw, const char *option, const char *value)
{
	struct option_list list;

	if (!rewriter_parse(rw, option, value, "driver", &list))
		return;
	carry_node(rw, &list, value);
	option_done(&list);
}

/* ---- after all words */

void rewrite_check_disks(struct rewriter *rw)
{
	for (uint32_t i = 0; i < rw->in->disks->n; i++) {
		const struct vmm_disk *disk = &rw->in->disks->disks[i];

		if (rw->described[i] && (rw->has_format[i] || !rw->out.qcow2_there[i]))
			continue;
		if (rw->described[i]) {
			rewriter_refuse(rw,
					"disk %s (%s) has no block node with a format, so the "
					"standby's image cannot be qcow2: map it to a raw image",
					disk->name, disk->file);
			continue;
		}
		rewriter_refuse(
			rw,
			"disk %s (%s) is writable, but no option of QEMU's command line "
			"describes it (was it plugged later, or given a snapshot?): start the "
			"guest with it on the command line",
			disk->name, *disk->file ? disk->file : "no file name");
	}
}
