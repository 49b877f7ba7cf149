/* Handles the end of a daemon that writes a qcow2 image (rawview.h). See standby_private.h.
 *
 * If such a daemon is killed, the metadata in its memory is lost, and the image lacks writes of
 * epochs that the copy counts as applied. A guest must never be promoted on such an image. So the
 * copy is dropped, as after a boot of this host, and the primary then sends all of its memory and
 * disks. If the primary's host dies before that is done, the disk log still has the disks of the
 * newest logged epoch (durable.h). */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "standby/standby_private.h"

/* Drop the copy. After that the images can be opened again. */
static void drop_copy(struct standby *sb)
{
	int r = epochlog_drop_copy(&sb->log);

	if (r < 0) /* images_open() still fails then, so no epoch is taken and no guest promoted */
		log_error("vm=%s the copy in %s cannot be dropped: %s", sb->config.vm, sb->rf.dir,
			  strerror(-r));
	else
		images_forget_loss(&sb->images);
}

void standby_check_images(struct standby *sb)
{
	struct error died, lost;

	if (!images_have_died(&sb->images, &died))
		return;
	log_error("vm=%s %s", sb->config.vm, died.text);
	if (sb->rf.meta.phase != RAMFILE_COPY || !images_have_lost(&sb->images, &lost)) {
		/* The daemon has ended normally. The next epoch starts another. */
		images_close(&sb->images);
		return;
	}
	standby_set_text(sb, "%s: the copy is dropped, and made anew", lost.text);
	standby_stream_refuse(sb, &lost);
	images_close(&sb->images);
	drop_copy(sb);
	standby_set_warm(sb);
}
