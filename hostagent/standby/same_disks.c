/* Checks that the warm QEMU and the agent use the same file for each disk. Otherwise, after a
 * promotion, the guest would continue with a disk to which the agent has written nothing. See
 * standby_private.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "standby/standby_private.h"
#include "vmm/disks.h"

/* QEMU (process @pid) calls its image @file. Is @file the path of another file than @image? Returns
 * false if @file is not a path but "json:...". */
static bool is_other_file(const struct image *image, pid_t pid, const char *file)
{
	char path[VMM_DISK_FILE_BYTES + 64];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s%s", (int)pid,
		       *file == '/' ? "root" : "cwd/", file);
	if (stat(path, &st) < 0)
		return false;
	if (S_ISBLK(st.st_mode))
		return st.st_rdev != image->device || image->inode != 0;
	return st.st_dev != image->device || st.st_ino != image->inode;
}

static bool is_one_of(const char *word, const char *const *words)
{
	while (*words && strcmp(*words, word) != 0)
		words++;
	return *words != NULL;
}

/* Does QEMU use the image as qcow2, but the agent as raw, or the other way round? If QEMU has a
 * filter above the image, @disk has the name of the filter instead of the format, and this function
 * returns false. The caller then finds a wrong format by the disk's size. */
static bool is_other_format(const struct image *image, const struct vmm_disk *disk)
{
	static const char *const raw[] = {"raw", "file", "host_device", NULL};

	return image->is_qcow2 ? is_one_of(disk->format, raw) : strcmp(disk->format, "qcow2") == 0;
}

static int check_disk(const struct standby *sb, const struct image *image,
		      const struct vmm_disk *disk, struct error *ret_error)
{
	if (!disk)
		return error_set(ret_error, -EINVAL,
				 "disk %s: command_file %s has no writable disk of that name; "
				 "correct the command, or disks in the VM's file",
				 image->name, sb->config.command_file);
	if (is_other_file(image, sb->qemu.pid, disk->file))
		return error_set(ret_error, -EINVAL,
				 "disk %s: QEMU's image is %.200s by command_file %s, but disks in "
				 "the VM's file says %s: make them the same file",
				 image->name, disk->file, sb->config.command_file, image->path);
	if (is_other_format(image, disk))
		return error_set(ret_error, -EINVAL,
				 "disk %s: QEMU opens %s with the driver %s by command_file %s, "
				 "but disks in the VM's file says that it is %s: correct one of "
				 "them",
				 image->name, image->path, disk->format, sb->config.command_file,
				 image->is_qcow2 ? "qcow2" : "raw (if it is not, write "
							     "NAME:qcow2:PATH)");
	if (disk->size_bytes != image->bytes)
		return error_set(ret_error, -EINVAL,
				 "disk %s: its image %s has %" PRIu64 " bytes, but QEMU sees a "
				 "disk of %" PRIu64 " bytes (format %s): correct command_file %s, "
				 "with format=%s",
				 image->name, image->path, image->bytes, disk->size_bytes,
				 disk->format, sb->config.command_file,
				 image->is_qcow2 ? "qcow2" : "raw");
	return 0;
}

int standby_check_disks(struct standby *sb, struct error *ret_error)
{
	struct vmm_disks disks;
	int r;

	if (sb->images.n == 0 || !sb->images.is_open || !sb->qemu.qmp)
		return 0;
	r = vmm_disks_list(sb->qemu.qmp, &disks, ret_error);
	for (uint32_t i = 0; r == 0 && i < sb->images.n; i++) {
		const struct image *image = &sb->images.item[i];

		r = check_disk(sb, image, vmm_disks_find(&disks, image->name), ret_error);
	}
	return r;
}
