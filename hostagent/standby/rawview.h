/* rawview.h - shows the content of a qcow2 image as a raw file, which the agent reads and writes
 * like any other image.
 *
 * Why: the standby's image may be qcow2. Only QEMU's own code should write it: qemu-storage-daemon
 * opens the image, and exports its content by FUSE as a plain file. So images.c needs no second way
 * to write, and nobody needs an NBD client. pwrite() reaches the daemon at once, fdatasync() makes
 * the daemon flush the image with its metadata, fallocate() makes zero clusters.
 *
 *	images.c ── pwrite, fdatasync ──► RUN_DIR/VM.DISK.view ── FUSE ──► qemu-storage-daemon
 *                                                                              │ holds QEMU's lock
 *	                                  RUN_DIR/VM.DISK.view.pid  its pid     ▼
 *	                                  RUN_DIR/VM.DISK.view.log  stderr   image.qcow2
 *
 * The daemon keeps metadata in its memory that is not in the image yet. So it must outlive the
 * agent, and must not be killed: the image would lose writes that the copy counts on. The daemon
 * removes its pid file when it ends normally. So a pid file without its process proves a loss, also
 * to the next agent. When the daemon ends, it ignores errors of its last flush. So the agent first
 * makes it flush. If that fails, the agent kills it, so that the pid file stays. If nothing was
 * written since a flush, the image is whole, and the daemon may be killed. RUN_DIR must be on
 * tmpfs: a boot clears it, and then the copy is gone too.
 *
 * Where: images.c. Threads: one. The comment of each function says how long it blocks.
 */
#ifndef STANDBY_RAWVIEW_H
#define STANDBY_RAWVIEW_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

#define RAWVIEW_PATH_MAX 256 /* size of the longest path, with its NUL */

struct rawview {
	char file[RAWVIEW_PATH_MAX]; /* the view; a mount point */
	char pid_path[RAWVIEW_PATH_MAX];
	char log_path[RAWVIEW_PATH_MAX];
	pid_t pid; /* the daemon; 0: none */
	int pidfd; /* readable when the daemon has ended; -1: none */
	int end_ms; /* how long the daemon may take to end; a test shortens it */
};

/* Set the paths for the disk @disk of @vm. Opens nothing. Returns 0, or -ENAMETOOLONG with
 * *ret_error. */
int rawview_init(struct rawview *view, const char *run_dir, const char *vm, const char *disk,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Start a daemon for @image and open the view. Before that, end the daemon of an earlier agent.
 * Blocks until the daemon is ready, for up to 20 s, and in addition as long as rawview_end() does.
 * Returns a descriptor, which the caller closes before rawview_end();
 * -EUCLEAN: an earlier daemon has lost writes (see rawview_forget_loss());
 * -ENOENT: the daemon's program is missing;
 * -EIO: the daemon does not open the image;
 * -ETIMEDOUT; other -errno.
 * On error *ret_error says why. */
int rawview_open(struct rawview *view, const char *image, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the daemon of an earlier agent. Blocks as long as rawview_end() does. Returns 0, also if
 * there is none;
 * -EUCLEAN: the daemon has lost writes;
 * -ETIMEDOUT: the daemon did not end.
 * On error *ret_error says why. */
int rawview_end_earlier(struct rawview *view, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End the daemon, so that the image is closed and another process can write to it. Does nothing if
 * there is no daemon. @is_whole: fdatasync() has brought all writes into the image. If false, this
 * function does that first, and blocks as long as fdatasync() does. Then it blocks until the daemon
 * has ended, for up to 20 s. If the daemon has not ended by then, but the image is whole, the
 * daemon is killed, and the function blocks for up to 20 s more.
 * Returns 0: the image is whole, even if the daemon was killed;
 * -EIO: the daemon could not write its metadata, or did not end normally, so writes may be lost;
 * -ETIMEDOUT: the daemon did not end.
 * On error *ret_error says why. */
int rawview_end(struct rawview *view, bool is_whole, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Has the daemon ended by itself? */
bool rawview_has_died(const struct rawview *view);

/* Has a daemon of this image ended without writing all its data? True until
 * rawview_forget_loss(). */
bool rawview_has_lost(const struct rawview *view);

/* Allow rawview_open() again after a loss. Call this only if the image will be written anew: its
 * copy was dropped, or the disk log is replayed. Does nothing if nothing was lost. */
void rawview_forget_loss(struct rawview *view);

#endif
