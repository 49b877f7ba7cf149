/* Decides what of each epoch goes into the disk log; see durable.h. */
#include "standby/durable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "standby/apply.h"

int durable_open(struct durable *d, struct ramfile *rf, struct images *images, const char *path,
		 uint64_t bytes, struct error *ret_error)
{
	int r;

	d->rf = rf;
	d->images = images;
	if (d->log)
		return 0;
	d->logged = 0;
	r = disklog_open(path, bytes, &d->log, ret_error);
	return r == -ENOENT && bytes == 0 ? 0 : r;
}

void durable_close(struct durable *d)
{
	d->log = disklog_close(d->log);
	free(d->spans);
	d->spans = NULL;
	d->n_spans = d->n_room = 0;
	d->logged = 0;
	d->must_start = false;
}

static int append(struct durable *d, uint64_t term, uint64_t epoch, enum disklog_kind kind,
		  const struct iovec *pieces, size_t n_pieces, struct error *ret_error)
{
	uint64_t begin_ns = clock_mono_ns();
	int r;

	ramfile_step(d->rf);
	r = disklog_append(d->log, term, epoch, kind, pieces, n_pieces, ret_error);
	ramfile_step(d->rf);
	d->append_ns = clock_mono_ns() - begin_ns;
	d->n_entries += r == 0;
	return r;
}

/* Write the images to the disk. After that the log's earlier entries are not needed any more. If
 * the write fails, record this in `meta`: the kernel reports lost writes only once, so a later
 * agent's fdatasync() would succeed although the writes are lost. */
static int sync_images(struct durable *d, struct error *ret_error)
{
	struct ramfile_meta meta = d->rf->meta;
	int r;

	if (meta.disks_lost)
		return error_set(ret_error, -EIO,
				 "what was written to the disks' images earlier did not reach the "
				 "disk: repair that disk, then copy anew (unprotect, protect)");
	ramfile_step(d->rf);
	r = images_sync(d->images, ret_error);
	if (r < 0 && meta.applied_epoch) {
		meta.disks_lost = true;
		if (ramfile_store_meta(d->rf, &meta) < 0)
			d->rf->meta.disks_lost = true; /* at least this agent knows it */
	}
	return r;
}

int durable_sync(struct durable *d, struct error *ret_error)
{
	return d->log ? sync_images(d, ret_error) : 0;
}

/* ---- after a crash of the host */

struct replay {
	struct images *images;
	struct error *error;
};

static int replay_entry(void *arg, const uint8_t *payload, size_t size)
{
	struct replay *replay = arg;

	return apply_disks(replay->images, payload, size, replay->error);
}

/* Replay the log into the open images. Then append a START, so that no later agent replays these
 * entries again: if somebody has started the guest on the images by hand meanwhile, a second replay
 * would undo the guest's writes. */
static int replay_all(struct durable *d, const struct disklog_state *state, struct error *ret_error)
{
	struct error why = {""};
	struct replay replay = {d->images, &why};
	int r = images_check_free(d->images, ret_error);

	if (r < 0)
		return r;
	r = disklog_replay(d->log, replay_entry, &replay);
	if (r < 0)
		return error_set(ret_error, r, "the disk log cannot be replayed: %.800s",
				 why.text[0] ? why.text : strerror(-r));
	r = sync_images(d, ret_error);
	if (r == 0)
		r = append(d, state->term, state->epoch, DISKLOG_START, NULL, 0, ret_error);
	return r;
}

int durable_recover(struct durable *d, struct disklog_state *ret_state, struct error *ret_error)
{
	struct disklog_state state = {.is_empty = true};
	int r;

	if (d->log)
		disklog_get_state(d->log, &state);
	if (!state.is_copy)
		return 0;
	images_forget_loss(d->images); /* the replay brings back all that was lost */
	r = images_open(d->images, ret_error);
	if (r == 0)
		r = replay_all(d, &state, ret_error);
	images_close(d->images);
	if (r < 0)
		return r;
	*ret_state = state;
	return 1;
}

/* ---- an epoch arrives */

void durable_begin(struct durable *d, bool is_unheld)
{
	d->is_unheld = is_unheld;
	d->n_spans = 0;
	d->bytes = 0;
}

int durable_frame(struct durable *d, uint64_t offset, uint64_t bytes)
{
	struct durable_span *last = d->n_spans ? &d->spans[d->n_spans - 1] : NULL;

	d->bytes += bytes;
	if (last && last->offset + last->bytes == offset) {
		last->bytes += bytes;
		return 0;
	}
	if (d->n_spans == d->n_room) {
		size_t n = d->n_room ? 2 * d->n_room : 16;
		struct durable_span *larger = realloc(d->spans, n * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		d->spans = larger;
		d->n_room = n;
	}
	d->spans[d->n_spans++] = (struct durable_span){offset, bytes};
	return 0;
}

static int append_spans(struct durable *d, const uint8_t *file, uint64_t term, uint64_t epoch,
			enum disklog_kind kind, struct error *ret_error)
{
	struct iovec *pieces = calloc(d->n_spans ? d->n_spans : 1, sizeof(*pieces));
	int r;

	if (!pieces)
		return error_set(ret_error, -ENOMEM, "no memory");
	for (size_t i = 0; i < d->n_spans; i++)
		pieces[i] = (struct iovec){(uint8_t *)file + d->spans[i].offset,
					   d->spans[i].bytes};
	r = append(d, term, epoch, kind, pieces, d->n_spans, ret_error);
	free(pieces);
	return r;
}

/* Append an entry with the epoch's writes, which are in the file @fd. */
static int append_file(struct durable *d, int fd, uint64_t term, uint64_t epoch,
		       enum disklog_kind kind, struct error *ret_error)
{
	size_t size = d->n_spans ? d->spans[d->n_spans - 1].offset + d->spans[d->n_spans - 1].bytes
				 : 0;
	void *data = NULL;
	int r;

	if (size > 0)
		data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return error_set(ret_error, -errno, "the epoch's file: %s", strerror(errno));
	r = append_spans(d, data, term, epoch, kind, ret_error);
	if (size > 0)
		(void)munmap(data, size); /* fails only for bad arguments */
	return r;
}

int durable_complete(struct durable *d, int fd, uint64_t term, uint64_t epoch, uint64_t applied,
		     struct error *ret_error)
{
	bool follows = d->logged && d->logged == applied;
	enum disklog_room room;
	int r = 0;

	d->must_start = false;
	if (d->is_unheld)
		return durable_end(d, ret_error);
	if (follows && d->bytes == 0)
		return 0;
	room = disklog_room(d->log, d->bytes);
	if (room == DISKLOG_TOO_LARGE) {
		d->must_start = true;
		return durable_end(d, ret_error);
	}
	if (!follows || room == DISKLOG_NEEDS_SYNC)
		r = sync_images(d, ret_error);
	return r < 0 ? r
		     : append_file(d, fd, term, epoch, follows ? DISKLOG_WRITES : DISKLOG_START,
				   ret_error);
}

void durable_stored(struct durable *d, uint64_t epoch)
{
	d->logged = d->is_unheld || d->must_start ? 0 : epoch;
}

int durable_applied(struct durable *d, uint64_t term, uint64_t epoch, struct error *ret_error)
{
	int r;

	if (!d->must_start)
		return 0;
	d->must_start = false;
	r = sync_images(d, ret_error);
	if (r == 0)
		r = append(d, term, epoch, DISKLOG_START, NULL, 0, ret_error);
	if (r == 0)
		d->logged = epoch;
	return r;
}

void durable_forget(struct durable *d)
{
	d->logged = 0;
	d->must_start = false;
}

int durable_end(struct durable *d, struct error *ret_error)
{
	struct disklog_state state = {.is_copy = false};

	d->logged = 0;
	if (d->log)
		disklog_get_state(d->log, &state);
	if (!state.is_copy)
		return 0;
	return append(d, state.term, state.epoch, DISKLOG_NO_COPY, NULL, 0, ret_error);
}
