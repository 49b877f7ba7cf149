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
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* fails if there is no directory */
}

static const char *const disk_names[N_DISKS] = {"vda", "vdb", "vdc"};

static void name_images(struct fixture *x)
{
	struct standby_disk disks[N_DISKS] = {0};
	struct error error;

	for (unsigned i = 0; i < N_DISKS; i++) {
		snprintf(x->image_paths[i], sizeof(x->image_paths[i]), "%s/%s.raw", x->dir,
			 disk_names[i]);
		strcpy(disks[i].name, disk_names[i]);
		disks[i].path = x->image_paths[i];
	}
	assert_int_equal(images_init(&x->images, disks, N_DISKS, &error), 0);
}

static void make_images(struct fixture *x)
{
	for (unsigned i = 0; i < N_DISKS; i++) {
		FILE *file = fopen(x->image_paths[i], "w");

		assert_non_null(file);
		assert_int_equal(ftruncate(fileno(file), DISK_BYTES), 0);
		fclose(file);
	}
}

void fixture_open(struct fixture *x)
{
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(ramfile_reserve(&x->rf, RAM_BYTES), 0);
	assert_int_equal(epochlog_open(&x->rf, &x->images, BYTES_MAX, &x->log), 0);
}

void fixture_close(struct fixture *x)
{
	epochlog_close(&x->log);
	images_close(&x->images);
	ramfile_close(&x->rf);
}

int fixture_setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct wire_geometry g;

	/* Use a tmpfs if there is one, as production does. On a disk, each atomic replacement of a
	 * file would wait for the disk. */
	strcpy(x->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/holdfast-test-XXXXXX"
						     : "/tmp/holdfast-test-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->seed = 1;
	feed_small_geometry(&g, RAM_PAGES, ROM_PAGES);
	feed_init(&x->feed, TERM, &g);
	name_images(x);
	make_images(x);
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

	if (source == i || (full && (x->keeps || !marks[source])))
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

/* Change a disk at random. The changes of one epoch often overlap. */
static void make_changes(struct fixture *x)
{
	unsigned disk = fixture_roll(x, N_DISKS), n = 1 + fixture_roll(x, 4);
	struct wire_disk_record records[4];
	uint8_t data[4][3000];

	for (unsigned i = 0; i < n; i++) {
		uint32_t bytes = 1 + fixture_roll(x, sizeof(data[i]));
		uint32_t offset = fixture_roll(x, DISK_BYTES - bytes + 1);
		uint8_t op = (uint8_t)(1 + fixture_roll(x, 3));

		for (uint32_t k = 0; k < bytes; k++)
			data[i][k] = op == WIRE_DISK_WRITE ? (uint8_t)fixture_roll(x, 256) : 0;
		memcpy(x->model.disks[disk] + offset, data[i], bytes);
		records[i] = (struct wire_disk_record){op, bytes, offset, data[i]};
	}
	feed_disk(&x->feed, disk_names[disk], records, n);
}

/* Append KEEP records for some pages. Such a page keeps the content that it has in the standby's
 * copy (@old). Later records of the epoch may change the page again. */
static void keep_pages(struct fixture *x, const struct model *old, struct model *reference)
{
	for (unsigned i = 0; i < N_PAGES; i++) {
		if (fixture_roll(x, 2))
			continue;
		feed_record(&x->feed, WIRE_CLASS_KEEP, i, NULL, 0);
		memcpy(reference->pages[i], old->pages[i], WIRE_PAGE_SIZE);
		if (fixture_roll(x, 2))
			memcpy(x->model.pages[i], old->pages[i], WIRE_PAGE_SIZE);
		x->n_kept++;
	}
}

void fixture_make_epoch(struct fixture *x, bool full)
{
	static struct model reference, old;
	uint8_t blob_reference[BLOB_ROOM];
	unsigned rounds = 1 + fixture_roll(x, 3);

	memset(marks, 0, sizeof(marks));
	old = x->model;
	memset(&reference, 0, sizeof(reference));
	if (!full)
		reference = x->model;
	else
		x->feed.epoch += fixture_roll(x, 3); /* FULL epochs may skip numbers */
	/* Zero some pages of the guest. A FULL epoch can encode a page as a delta against zero. The
	 * standby must not apply that delta to its old copy of the page. */
	for (unsigned i = 0; full && i < N_PAGES; i++) {
		if (fixture_roll(x, 2))
			memset(x->model.pages[i], 0, WIRE_PAGE_SIZE);
	}
	memcpy(blob_reference, reference.blob, BLOB_ROOM);
	x->feed.packs = fixture_roll(x, 2);
	feed_begin(&x->feed, full);
	if (full && x->keeps)
		keep_pages(x, &old, &reference);
	while (rounds--) {
		for (unsigned i = 0; i < N_PAGES; i++) {
			if (fixture_roll(x, 2))
				make_page(x, &reference, i, full);
		}
		if (fixture_roll(x, 2))
			make_changes(x);
	}
	for (unsigned i = 0; full && i < N_PAGES; i++)
		feed_page(&x->feed, i, x->model.pages[i], reference.pages[i], fixture_roll(x, 2));
	dirty_blob(x, &x->model);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, blob_reference,
		  !full || fixture_roll(x, 2));
	make_changes(x);
	feed_end(&x->feed);
}

int fixture_take(struct fixture *x, struct epochcheck_error *error)
{
	const uint8_t *at = x->feed.bytes, *end = at + x->feed.size;
	struct wire_frame frame;
	int n = 0;

	x->log.check.may_keep = x->keeps;
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

static bool images_are(struct fixture *x, const struct model *m)
{
	static uint8_t bytes[DISK_BYTES + 1];
	bool is_same = true;

	for (unsigned i = 0; i < N_DISKS; i++) {
		FILE *file = fopen(x->image_paths[i], "r");

		assert_non_null(file);
		is_same &= fread(bytes, 1, sizeof(bytes), file) == DISK_BYTES &&
			   memcmp(bytes, m->disks[i], DISK_BYTES) == 0;
		fclose(file);
	}
	return is_same;
}

bool fixture_copy_is(struct fixture *x, const struct model *m)
{
	for (unsigned i = 0; i < N_PAGES; i++) {
		const uint8_t *page = ramfile_page(&x->rf, i);

		if (!page || memcmp(page, m->pages[i], WIRE_PAGE_SIZE) != 0)
			return false;
	}
	return x->rf.blob_bytes == m->blob_size &&
	       memcmp(x->rf.blob, m->blob, BLOB_ROOM) == 0 && images_are(x, m);
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

static void refuses(struct fixture *x, const struct fixture_lie *lie, uint32_t generation)
{
	struct epochcheck_error error = {0};
	struct feed kept = x->feed;
	char part[128];

	x->feed.bytes = NULL;
	x->feed.size = x->feed.room = 0;
	x->feed.packs = false;
	x->feed.generation += generation;
	feed_geometry(&x->feed);
	lie->feed(&x->feed);
	if (fixture_take(x, &error) >= 0)
		fail_msg("%s: taken", lie->name);
	feed_done(&x->feed);
	x->feed = kept;
	if (error.code != lie->code || !strstr(error.why.text, lie->says))
		fail_msg("%s: code %u text \"%s\"", lie->name, error.code, error.why.text);
	assert_true(fixture_copy_is(x, &x->model));
	assert_int_equal(epochlog_complete(&x->log), 1);
	snprintf(part, sizeof(part), "%s/epoch-2.part", x->dir);
	assert_int_equal(access(part, F_OK), -1);
	epochlog_reset(&x->log); /* done when the connection is closed after an error */
}

void fixture_refuses(struct fixture *x, const struct fixture_lie *lies, size_t n)
{
	for (size_t i = 0; i < n; i++)
		refuses(x, &lies[i], (uint32_t)i * 2);
	assert_int_equal(x->log.stats.epochs_refused, n);
}
