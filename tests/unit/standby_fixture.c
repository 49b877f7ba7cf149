#include "standby_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

uint32_t fixture_roll(struct fixture *x, uint32_t n)
{
	x->seed = x->seed * 1664525u + 1013904223u;
	return (x->seed >> 8) % n;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void fixture_remove_dir(const char *dir)
{
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* the directory may not exist */
}

void fixture_open(struct fixture *x)
{
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(ramfile_reserve(&x->rf, RAM_BYTES), 0);
	assert_int_equal(epochlog_open(&x->rf, BYTES_MAX, &x->log), 0);
}

void fixture_close(struct fixture *x)
{
	epochlog_close(&x->log);
	ramfile_close(&x->rf);
}

int fixture_setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct wire_geometry g;

	/* Use tmpfs, as in production: on a disk, each atomic replacement of a file would wait for
	 * the disk. */
	strcpy(x->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/holdfast-test-XXXXXX"
						     : "/tmp/holdfast-test-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->seed = 1;
	feed_small_geometry(&g, RAM_PAGES, ROM_PAGES);
	feed_init(&x->feed, TERM, &g);
	fixture_open(x);
	assert_int_equal(epochlog_set_term(&x->log, TERM), 0);
	*state = x;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *x = *state;

	fixture_close(x);
	feed_done(&x->feed);
	fixture_remove_dir(x->dir);
	free(x);
	return 0;
}

/* ---- epochs */

static void dirty_page(struct fixture *x, uint8_t *page)
{
	switch (fixture_roll(x, 4)) {
	case 0:
		memset(page, 0, WIRE_PAGE_SIZE);
		break;
	case 1:
		for (unsigned i = 0; i < WIRE_PAGE_SIZE; i++)
			page[i] = (uint8_t)fixture_roll(x, 256);
		break;
	default:
		for (unsigned i = fixture_roll(x, 40); i; i--)
			page[fixture_roll(x, WIRE_PAGE_SIZE)] = (uint8_t)fixture_roll(x, 256);
	}
}

static void dirty_blob(struct fixture *x, struct model *m)
{
	m->blob_size = 1 + fixture_roll(x, BLOB_ROOM);
	for (unsigned i = fixture_roll(x, 200); i; i--)
		m->blob[fixture_roll(x, m->blob_size)] = (uint8_t)fixture_roll(x, 256);
	memset(m->blob + m->blob_size, 0, BLOB_ROOM - m->blob_size);
}

/* One mark per page, for the current epoch. In a FULL epoch, a marked page has a record, so a DUP
 * may copy it. In other epochs, a DUP has copied the marked page, so no record of that page may
 * follow. */
static bool marks[N_PAGES];

/* Make page @i a copy of another page, if the format allows that. */
static bool make_dup(struct fixture *x, struct model *reference, unsigned i, bool full)
{
	unsigned source = fixture_roll(x, N_PAGES);

	if (source == i || (full && !marks[source]))
		return false;
	marks[full ? i : source] = true;
	memcpy(x->model.pages[i], x->model.pages[source], WIRE_PAGE_SIZE);
	memcpy(reference->pages[i], reference->pages[source], WIRE_PAGE_SIZE);
	feed_dup(&x->feed, i, source);
	x->n_dups[full]++;
	return true;
}

static void make_page(struct fixture *x, struct model *reference, unsigned i, bool full)
{
	uint32_t n_records = x->feed.n_records;

	if (!full && marks[i])
		return; /* a DUP copied this page, so no record of it may follow */
	if (fixture_roll(x, 2) && make_dup(x, reference, i, full))
		return;
	dirty_page(x, x->model.pages[i]);
	/* In a FULL epoch, a page's first record may be a delta against zero. */
	feed_page(&x->feed, i, x->model.pages[i], reference->pages[i], !full || fixture_roll(x, 2));
	if (full && x->feed.n_records > n_records)
		marks[i] = true;
}

void fixture_make_epoch(struct fixture *x, bool full)
{
	static struct model reference;
	uint8_t blob_reference[BLOB_ROOM];
	unsigned rounds = 1 + fixture_roll(x, 3);

	memset(marks, 0, sizeof(marks));
	memset(&reference, 0, sizeof(reference));
	if (!full)
		reference = x->model;
	else
		x->feed.epoch += fixture_roll(x, 3); /* FULL epochs may skip numbers */
	/* Zero some pages of the guest. A FULL epoch may encode a page as a delta against zero, and
	 * the standby must not apply that delta to its old copy of the page. */
	for (unsigned i = 0; full && i < N_PAGES; i++) {
		if (fixture_roll(x, 2))
			memset(x->model.pages[i], 0, WIRE_PAGE_SIZE);
	}
	memcpy(blob_reference, reference.blob, BLOB_ROOM);
	x->feed.packs = fixture_roll(x, 2);
	feed_begin(&x->feed, full);
	while (rounds--) {
		for (unsigned i = 0; i < N_PAGES; i++) {
			if (fixture_roll(x, 2))
				make_page(x, &reference, i, full);
		}
	}
	for (unsigned i = 0; full && i < N_PAGES; i++)
		feed_page(&x->feed, i, x->model.pages[i], reference.pages[i], fixture_roll(x, 2));
	dirty_blob(x, &x->model);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, blob_reference,
		  !full || fixture_roll(x, 2));
	feed_end(&x->feed);
}

int fixture_take(struct fixture *x, struct epochcheck_error *error)
{
	const uint8_t *at = x->feed.bytes, *end = at + x->feed.size;
	struct wire_frame frame;
	int n = 0;

	while (at < end) {
		int r;

		assert_int_equal(wire_frame_decode(&at, end, &frame, NULL), 0);
		r = epochlog_frame(&x->log, &frame, NULL, error);
		if (r < 0)
			return r;
		if (r > 0) {
			n++;
			r = epochlog_apply(&x->log);
			if (r < 0)
				return r;
		}
	}
	return n;
}

bool fixture_copy_is(struct fixture *x, const struct model *m)
{
	for (unsigned i = 0; i < N_PAGES; i++) {
		const uint8_t *page = ramfile_page(&x->rf, i);

		if (!page || memcmp(page, m->pages[i], WIRE_PAGE_SIZE) != 0)
			return false;
	}
	return x->rf.blob_bytes == m->blob_size && memcmp(x->rf.blob, m->blob, BLOB_ROOM) == 0;
}

void fixture_hold_one(struct fixture *x)
{
	struct epochcheck_error error;

	feed_geometry(&x->feed);
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &error), 1);
	feed_clear(&x->feed);
	x->feed.generation++;
	feed_geometry(&x->feed);
}
