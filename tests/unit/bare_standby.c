#include "bare_standby.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "bare_standby: %s failed\n", #condition);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void open_copy(struct bare_standby *x)
{
	NEED(ramfile_open(x->dir, &x->sb.rf) == 0);
	NEED(ramfile_reserve(&x->sb.rf, BARE_STANDBY_RAM_PAGES * WIRE_PAGE_SIZE) == 0);
	NEED(epochlog_open(&x->sb.rf, NULL, 1 << 20, &x->sb.log) == 0);
}

static void close_copy(struct bare_standby *x)
{
	epochlog_close(&x->sb.log);
	ramfile_close(&x->sb.rf);
}

void bare_standby_open(struct bare_standby *x)
{
	struct standby *sb = &x->sb;

	memset(x, 0, sizeof(*x));
	/* Use a tmpfs if there is one, as production does. On a disk, each atomic replacement of a
	 * file would wait for the disk. */
	strcpy(x->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/holdfast-test-XXXXXX"
						     : "/tmp/holdfast-test-XXXXXX");
	NEED(mkdtemp(x->dir));
	pthread_mutex_init(&sb->lock, NULL);
	sb->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sb->config.vm = "web1";
	sb->want_stream = true;
	sb->link_backoff.max_ns = CLOCK_NS_PER_S;
	standby_backoff_reset(&sb->link_backoff);
	feed_small_geometry(&sb->qemu.geometry, BARE_STANDBY_RAM_PAGES, BARE_STANDBY_ROM_PAGES);
	feed_init(&x->feed, BARE_STANDBY_TERM, &sb->qemu.geometry);
	open_copy(x);
	NEED(epochlog_set_term(&sb->log, BARE_STANDBY_TERM) == 0);
}

void bare_standby_reopen(struct bare_standby *x)
{
	close_copy(x);
	open_copy(x);
}

void bare_standby_hold(struct bare_standby *x, uint64_t epoch)
{
	x->sb.rf.meta.applied_epoch = epoch;
	NEED(ramfile_store_meta(&x->sb.rf, &x->sb.rf.meta) == 0);
	epochlog_close(&x->sb.log);
	NEED(epochlog_open(&x->sb.rf, NULL, 1 << 20, &x->sb.log) == 0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void bare_standby_close(struct bare_standby *x)
{
	struct standby *sb = &x->sb;

	standby_stream_close(sb);
	sb->peer.link = link_free(sb->peer.link);
	sb->offer.link = link_free(sb->offer.link);
	close_copy(x);
	feed_done(&x->feed);
	fd_close(sb->wake_fd);
	pthread_mutex_destroy(&sb->lock);
	/* If this fails, the directory stays behind. */
	(void)nftw(x->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
