/* epochlog, epochcheck, apply, ramfile: random epochs against a model; a kill before every change of a
 * file, then the state must be exactly one whole epoch; frames of a hostile peer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby/epochlog.h"
#include "standby_feed.h"

#define RAM_PAGES  8u
#define ROM_PAGES  2u
#define N_PAGES	   (RAM_PAGES + ROM_PAGES)
#define BLOB_ROOM  (8u * WIRE_PAGE_SIZE)
#define TERM	   7u
#define RAM_BYTES  ((uint64_t)RAM_PAGES * WIRE_PAGE_SIZE)
#define BYTES_MAX  (UINT64_C(4) << 20)

/* What the guest is. */
struct model {
	uint8_t pages[N_PAGES][WIRE_PAGE_SIZE];
	uint8_t blob[BLOB_ROOM]; /* zero behind blob_size */
	uint32_t blob_size;
};

struct fixture {
	char dir[64];
	struct ramfile rf;
	struct epochlog log;
	struct feed feed;
	struct model model;
	uint32_t seed;
};

static uint32_t roll(struct fixture *x, uint32_t n)
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

static void open_log(struct fixture *x)
{
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(ramfile_reserve(&x->rf, RAM_BYTES), 0);
	assert_int_equal(epochlog_open(&x->rf, BYTES_MAX, &x->log), 0);
}

static void close_log(struct fixture *x)
{
	epochlog_close(&x->log);
	ramfile_close(&x->rf);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct wire_geometry g;

	/* On tmpfs, as in use: each atomic replace would wait for a disk. */
	strcpy(x->dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/holdfast-test-XXXXXX"
						     : "/tmp/holdfast-test-XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	x->seed = 1;
	feed_small_geometry(&g, RAM_PAGES, ROM_PAGES);
	feed_init(&x->feed, TERM, &g);
	open_log(x);
	assert_int_equal(epochlog_set_term(&x->log, TERM), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	close_log(x);
	feed_done(&x->feed);
	assert_int_equal(nftw(x->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(x);
	return 0;
}

/* ---- epochs */

static void dirty_page(struct fixture *x, uint8_t *page)
{
	switch (roll(x, 4)) {
	case 0:
		memset(page, 0, WIRE_PAGE_SIZE);
		break;
	case 1:
		for (unsigned i = 0; i < WIRE_PAGE_SIZE; i++)
			page[i] = (uint8_t)roll(x, 256);
		break;
	default:
		for (unsigned i = roll(x, 40); i; i--)
			page[roll(x, WIRE_PAGE_SIZE)] = (uint8_t)roll(x, 256);
	}
}

static void dirty_blob(struct fixture *x, struct model *m)
{
	m->blob_size = 1 + roll(x, BLOB_ROOM);
	for (unsigned i = roll(x, 200); i; i--)
		m->blob[roll(x, m->blob_size)] = (uint8_t)roll(x, 256);
	memset(m->blob + m->blob_size, 0, BLOB_ROOM - m->blob_size);
}

/* One epoch that turns @x->model into a random other one, appended to the feed. */
static void make_epoch(struct fixture *x, bool full)
{
	static struct model reference;
	uint8_t blob_reference[BLOB_ROOM];
	unsigned rounds = 1 + roll(x, 3);

	memset(&reference, 0, sizeof(reference));
	if (!full)
		reference = x->model;
	else
		x->feed.epoch += roll(x, 3); /* FULL epochs may leave numbers out */
	memcpy(blob_reference, reference.blob, BLOB_ROOM);
	feed_begin(&x->feed, full);
	while (rounds--) {
		for (unsigned i = 0; i < N_PAGES; i++) {
			if (roll(x, 2))
				continue;
			dirty_page(x, x->model.pages[i]);
			/* A FULL epoch's first record of a page may be a delta against zero. */
			feed_page(&x->feed, i, x->model.pages[i], reference.pages[i],
				  !full || roll(x, 2));
		}
	}
	for (unsigned i = 0; full && i < N_PAGES; i++)
		feed_page(&x->feed, i, x->model.pages[i], reference.pages[i], roll(x, 2));
	dirty_blob(x, &x->model);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, blob_reference, !full || roll(x, 2));
	feed_end(&x->feed);
}

/* All frames of the feed into the log. Returns the number of complete epochs, or an error. */
static int take_feed(struct fixture *x, struct epochcheck_error *error)
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

/* Is the copy @m? */
static bool copy_is(struct fixture *x, const struct model *m)
{
	for (unsigned i = 0; i < N_PAGES; i++) {
		const uint8_t *page = ramfile_page(&x->rf, i);

		if (!page || memcmp(page, m->pages[i], WIRE_PAGE_SIZE) != 0)
			return false;
	}
	return x->rf.blob_bytes == m->blob_size && memcmp(x->rf.blob, m->blob, BLOB_ROOM) == 0;
}

static void test_random_epochs(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	feed_geometry(&x->feed);
	for (unsigned n = 1; n <= 150; n++) {
		make_epoch(x, n == 1 || n % 37 == 0);
		assert_int_equal(take_feed(x, &error), 1);
		assert_int_equal(epochlog_complete(&x->log), x->feed.epoch);
		assert_int_equal(x->rf.meta.applied_epoch, x->feed.epoch);
		assert_true(copy_is(x, &x->model));
		feed_clear(&x->feed);
		if (n % 10 == 0) {
			close_log(x);
			open_log(x);
			assert_true(copy_is(x, &x->model));
			assert_int_equal(epochlog_complete(&x->log), x->feed.epoch);
			x->feed.generation++;
			feed_geometry(&x->feed);
		}
	}
	assert_null(ramfile_page(&x->rf, N_PAGES));
}

/* ---- kill before every change of a file */

struct cut {
	unsigned left;
};

static void cut_here(void *arg)
{
	struct cut *cut = arg;

	if (cut->left-- == 0)
		_exit(42);
}

/* In a child: take the feed, dying before change number @n. True: it died; false: it was done. */
static bool run_cut(struct fixture *x, unsigned n)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct epochcheck_error error;
		struct cut cut = {n};

		/* Its own open of the directory: the lock is the parent's, which is closed now. */
		if (ramfile_open(x->dir, &x->rf) < 0 || ramfile_reserve(&x->rf, RAM_BYTES) < 0 ||
		    epochlog_open(&x->rf, BYTES_MAX, &x->log) < 0)
			_exit(1);
		x->rf.step = cut_here;
		x->rf.step_arg = &cut;
		_exit(take_feed(x, &error) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);
	return WEXITSTATUS(status) == 42;
}

static void copy_file(int from_dir, int to_dir, const char *name)
{
	AUTO_CLOSE int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static char data[1 << 20];
	ssize_t n = read(from, data, sizeof(data));

	assert_true(from >= 0 && to >= 0 && n >= 0 && n < (ssize_t)sizeof(data));
	assert_int_equal(write(to, data, (size_t)n), n);
}

/* Make the flat directory @to the same as @from. */
static void copy_dir(const char *from, const char *to)
{
	AUTO_CLOSE int from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int to_fd = -1;
	DIR *dir = opendir(from);
	struct dirent *entry;

	(void)nftw(to, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* need not be there */
	assert_int_equal(mkdir(to, 0700), 0);
	to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir && from_fd >= 0 && to_fd >= 0);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			copy_file(from_fd, to_fd, entry->d_name);
	}
	closedir(dir);
}

/* Take one epoch, dying before its first, second, ... change of a file; each time, after what an agent's
 * restart does, the copy must be the epoch before or the one after, and know which. */
static void kill_at_every_change(struct fixture *x, bool full)
{
	static struct model before;
	char saved[80];
	unsigned cuts = 0, torn_and_redone = 0;
	uint64_t epoch = x->feed.epoch, new_epoch;
	bool died = true;

	snprintf(saved, sizeof(saved), "%s.saved", x->dir);
	before = x->model;
	x->feed.generation++;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	make_epoch(x, full);
	new_epoch = x->feed.epoch;
	close_log(x);
	copy_dir(x->dir, saved);
	while (died) {
		copy_dir(saved, x->dir);
		died = run_cut(x, cuts++);
		open_log(x);
		if (x->rf.meta.applied_epoch == epoch) {
			if (epoch)
				assert_true(copy_is(x, &before));
		} else {
			assert_int_equal(x->rf.meta.applied_epoch, new_epoch);
			assert_true(copy_is(x, &x->model));
			torn_and_redone += died;
		}
		assert_int_equal(epochlog_complete(&x->log), x->rf.meta.applied_epoch);
		close_log(x);
	}
	assert_true(torn_and_redone > 5);
	assert_int_equal(nftw(saved, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	feed_clear(&x->feed);
	open_log(x);
}

static void test_kill(void **state)
{
	struct fixture *x = *state;

	kill_at_every_change(x, true); /* the first, on nothing */
	kill_at_every_change(x, false);
	kill_at_every_change(x, true); /* FULL on an old state */
	kill_at_every_change(x, false);
}

/* ---- hostile and broken streams */

/* One good epoch is held; @x->feed then starts a stream whose GEOMETRY is fed already. */
static void hold_one(struct fixture *x)
{
	struct epochcheck_error error;

	feed_geometry(&x->feed);
	make_epoch(x, true);
	assert_int_equal(take_feed(x, &error), 1);
	feed_clear(&x->feed);
	x->feed.generation++;
	feed_geometry(&x->feed);
}

static void bad_index(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_ZERO, N_PAGES, NULL, 0);
	feed_end(f);
}

static void bad_class(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, 99, 0, (const uint8_t *)"x", 1);
	feed_end(f);
}

static void bad_raw_size(struct feed *f)
{
	uint8_t data[100] = {1};

	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_RAW, 0, data, sizeof(data));
	feed_end(f);
}

static void bad_xrle(struct feed *f)
{
	uint8_t data[64];

	memset(data, 0xff, sizeof(data));
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_XRLE, 0, data, sizeof(data));
	feed_end(f);
}

static void one_page(struct feed *f)
{
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
}

static void one_blob(struct feed *f)
{
	static const uint8_t blob[WIRE_PAGE_SIZE] = {3};
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	feed_blob(f, blob, 100, reference, false);
}

static void no_device(struct feed *f)
{
	feed_begin(f, false);
	one_page(f);
	feed_end(f);
}

static void two_blob_sizes(struct feed *f)
{
	static const uint8_t blob[WIRE_PAGE_SIZE] = {3};
	uint8_t reference[WIRE_PAGE_SIZE] = {0};

	feed_begin(f, false);
	one_blob(f);
	feed_blob(f, blob, 101, reference, false);
	feed_end(f);
}

static void wrong_record_count(struct feed *f)
{
	feed_begin(f, false);
	one_page(f);
	f->n_records++;
	one_blob(f);
	feed_end(f);
}

static void wrong_byte_count(struct feed *f)
{
	feed_begin(f, false);
	one_blob(f);
	f->payload_bytes--;
	feed_end(f);
}

static void wrong_frame_count(struct feed *f)
{
	uint8_t payload[16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_epoch_end end;

	feed_begin(f, false);
	one_blob(f);
	end = (struct wire_epoch_end){f->n_frames + 1, f->n_records, f->payload_bytes};
	assert_int_equal(wire_epoch_end_encode(&end, &w), 0);
	feed_frame(f, &(struct wire_header){.type = WIRE_EPOCH_END, .term = f->term,
					    .epoch = f->epoch, .seq = f->n_frames,
					    .generation = f->generation},
		   payload, (size_t)(w.at - payload));
}

static void missing_frame(struct feed *f)
{
	feed_begin(f, false);
	f->n_frames++;
	one_blob(f);
	feed_end(f);
}

static void begin_twice(struct feed *f)
{
	feed_begin(f, false);
	f->epoch--;
	feed_begin(f, false);
}

static void pages_first(struct feed *f)
{
	f->epoch++;
	one_blob(f);
}

static void epoch_gap(struct feed *f)
{
	f->epoch++;
	feed_begin(f, false);
}

static void epoch_again(struct feed *f)
{
	f->epoch--;
	feed_begin(f, true);
}

static void wrong_previous(struct feed *f)
{
	uint8_t payload[8] = {0}; /* stands on epoch 0 */

	f->n_frames = 0;
	feed_frame(f, &(struct wire_header){.type = WIRE_EPOCH_BEGIN, .term = f->term,
					    .epoch = f->epoch + 1, .generation = f->generation},
		   payload, sizeof(payload));
}

static void stale_term(struct feed *f)
{
	f->term--;
	feed_begin(f, false);
}

static void newer_term(struct feed *f)
{
	f->term++;
	feed_begin(f, false);
}

static void newer_generation(struct feed *f)
{
	f->generation++;
	feed_begin(f, false);
}

static void geometry_twice(struct feed *f)
{
	feed_geometry(f);
}

static void wrong_epoch_inside(struct feed *f)
{
	feed_begin(f, false);
	f->epoch++;
	one_blob(f);
}

static void too_large(struct feed *f)
{
	static const uint8_t page[WIRE_PAGE_SIZE] = {1};

	feed_begin(f, false);
	for (unsigned i = 0; i < BYTES_MAX / WIRE_PAGE_SIZE + 40; i++)
		feed_record(f, WIRE_CLASS_RAW, 0, page, sizeof(page));
	one_blob(f);
	feed_end(f);
}

static void commit_frame(struct feed *f)
{
	feed_frame(f, &(struct wire_header){.type = WIRE_COMMIT, .term = f->term,
					    .epoch = f->epoch, .generation = f->generation},
		   NULL, 0);
}

static const struct {
	const char *name;
	void (*feed)(struct feed *f);
	uint16_t code;
	const char *says;
} hostile[] = {
	{"index out of range", bad_index, WIRE_STREAM_ERROR_FORMAT, "epoch 2"},
	{"unknown class", bad_class, WIRE_STREAM_ERROR_FORMAT, ""},
	{"raw of 100 bytes", bad_raw_size, WIRE_STREAM_ERROR_FORMAT, ""},
	{"broken delta", bad_xrle, WIRE_STREAM_ERROR_FORMAT, "index 0"},
	{"no device", no_device, WIRE_STREAM_ERROR_ORDER, "no DEVICE"},
	{"two blob sizes", two_blob_sizes, WIRE_STREAM_ERROR_FORMAT, "100 and 101"},
	{"record count", wrong_record_count, WIRE_STREAM_ERROR_ORDER, "2 records"},
	{"byte count", wrong_byte_count, WIRE_STREAM_ERROR_ORDER, "bytes"},
	{"frame count", wrong_frame_count, WIRE_STREAM_ERROR_ORDER, "frames"},
	{"missing frame", missing_frame, WIRE_STREAM_ERROR_ORDER, "was due"},
	{"begin twice", begin_twice, WIRE_STREAM_ERROR_ORDER, "before its EPOCH_END"},
	{"no begin", pages_first, WIRE_STREAM_ERROR_ORDER, "before EPOCH_BEGIN"},
	{"gap", epoch_gap, WIRE_STREAM_ERROR_EPOCH, "epoch 3 begins"},
	{"again", epoch_again, WIRE_STREAM_ERROR_EPOCH, "epoch 1 begins"},
	{"wrong previous", wrong_previous, WIRE_STREAM_ERROR_EPOCH, "stands on 0"},
	{"stale term", stale_term, WIRE_STREAM_ERROR_TERM, "term 6"},
	{"newer term", newer_term, WIRE_STREAM_ERROR_TERM, "term 8"},
	{"newer generation", newer_generation, WIRE_STREAM_ERROR_ORDER, "before its GEOMETRY"},
	{"geometry twice", geometry_twice, WIRE_STREAM_ERROR_ORDER, "second GEOMETRY"},
	{"another epoch inside", wrong_epoch_inside, WIRE_STREAM_ERROR_ORDER, "of epoch 3"},
	{"too large", too_large, WIRE_STREAM_ERROR_LIMIT, "log_bytes_max"},
	{"not of a stream", commit_frame, WIRE_STREAM_ERROR_ORDER, "COMMIT"},
};

static void test_hostile(void **state)
{
	struct fixture *x = *state;
	char part[128];

	hold_one(x);
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		struct epochcheck_error error = {0};
		struct feed f = x->feed;

		f.bytes = NULL;
		f.size = f.room = 0;
		f.generation += (uint32_t)i * 2;
		feed_geometry(&f);
		hostile[i].feed(&f);
		{
			struct feed kept = x->feed;

			x->feed = f;
			if (take_feed(x, &error) >= 0)
				fail_msg("%s: taken", hostile[i].name);
			f = x->feed;
			x->feed = kept;
		}
		if (error.code != hostile[i].code || !strstr(error.text, hostile[i].says))
			fail_msg("%s: code %u text \"%s\"", hostile[i].name, error.code, error.text);
		assert_true(copy_is(x, &x->model));
		assert_int_equal(epochlog_complete(&x->log), 1);
		snprintf(part, sizeof(part), "%s/epoch-2.part", x->dir);
		assert_int_equal(access(part, F_OK), -1);
		epochlog_reset(&x->log); /* the connection is closed after an error */
		feed_done(&f);
	}
	assert_int_equal(x->log.stats.epochs_refused, ARRAY_SIZE(hostile));
	/* A good stream is still welcome. */
	x->feed.generation = 1000;
	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	make_epoch(x, false);
	{
		struct epochcheck_error error;

		assert_int_equal(take_feed(x, &error), 1);
	}
	assert_true(copy_is(x, &x->model));
}

static void test_old_generation(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;
	uint32_t generation;

	hold_one(x);
	/* Half an epoch, then the stream starts again: the half is void. */
	feed_begin(&x->feed, false);
	one_page(&x->feed);
	one_blob(&x->feed);
	assert_int_equal(take_feed(x, &error), 0);
	feed_clear(&x->feed);
	x->feed.epoch--;
	generation = x->feed.generation++;
	feed_geometry(&x->feed);
	assert_int_equal(take_feed(x, &error), 0);
	assert_int_equal(x->log.stats.epochs_discarded, 1);
	/* What was still under way of the old one is dropped, and does no harm. */
	feed_clear(&x->feed);
	x->feed.generation = generation;
	feed_geometry(&x->feed);
	feed_begin(&x->feed, false);
	one_blob(&x->feed);
	feed_end(&x->feed);
	assert_int_equal(take_feed(x, &error), 0);
	assert_int_equal(x->log.stats.frames_dropped, 4);
	x->feed.generation = generation + 1;
	x->feed.epoch--;
	feed_clear(&x->feed);
	make_epoch(x, false);
	assert_int_equal(take_feed(x, &error), 1);
	assert_true(copy_is(x, &x->model));
}

static void test_terms(void **state)
{
	struct fixture *x = *state;
	struct epochcheck_error error;

	hold_one(x);
	assert_int_equal(epochlog_set_term(&x->log, TERM + 1), 0);
	assert_int_equal(epochlog_complete(&x->log), 0);
	close_log(x);
	open_log(x);
	assert_int_equal(x->rf.meta.term, TERM + 1);
	assert_int_equal(epochlog_complete(&x->log), 0);
	/* The first epoch of a term stands alone. */
	feed_clear(&x->feed);
	x->feed.term = TERM + 1;
	x->feed.epoch = 0;
	feed_geometry(&x->feed);
	feed_begin(&x->feed, false);
	assert_int_equal(take_feed(x, &error), -EPROTO);
	assert_non_null(strstr(error.text, "FULL"));
	feed_clear(&x->feed);
	x->feed.epoch = 0;
	feed_geometry(&x->feed);
	make_epoch(x, true);
	assert_int_equal(take_feed(x, &error), 1);
	assert_true(copy_is(x, &x->model));
}

static void test_second_agent(void **state)
{
	struct fixture *x = *state;
	struct ramfile other;

	assert_int_equal(ramfile_open(x->dir, &other), -EBUSY);
}

static void write_text(struct fixture *x, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", x->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_foreign_files(void **state)
{
	static const char *const metas[] = {
		"", "x", "holdfast-standby 1 term=7 applied=1 phase=copy",
		"holdfast-standby 1 term=7 applied=1 phase=dancing\n",
		"holdfast-standby 2 term=7 applied=1 phase=copy\n",
		"holdfast-standby 1 term=7 applied=1 phase=copy\n ",
	};
	struct fixture *x = *state;
	struct ramfile_meta meta;

	hold_one(x);
	meta = x->rf.meta;
	epochlog_close(&x->log);
	ramfile_close(&x->rf);
	for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
		write_text(x, "meta", metas[i]);
		assert_int_equal(ramfile_open(x->dir, &x->rf), -EBADMSG);
	}
	write_text(x, "meta", "holdfast-standby 1 term=7 applied=1 phase=copy\n");
	assert_int_equal(ramfile_open(x->dir, &x->rf), 0);
	assert_int_equal(x->rf.meta.term, meta.term);
	assert_int_equal(x->rf.meta.applied_epoch, meta.applied_epoch);
	assert_int_equal(x->rf.meta.phase, RAMFILE_COPY);
	/* A complete epoch that is none: the copy may be torn, nobody may use it. */
	write_text(x, "epoch-2.complete", "garbage garbage garbage garbage garbage garbage garbage");
	assert_int_equal(epochlog_open(&x->rf, BYTES_MAX, &x->log), -EBADMSG);
	ramfile_close(&x->rf);
	assert_int_equal(nftw(x->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	open_log(x);
}

static void test_purge(void **state)
{
	struct fixture *x = *state;
	struct ramfile_meta meta;

	hold_one(x);
	meta = x->rf.meta;
	meta.phase = RAMFILE_RUNNING;
	assert_int_equal(ramfile_store_meta(&x->rf, &meta), 0);
	assert_int_equal(ramfile_purge(&x->rf), -EBUSY);
	assert_true(copy_is(x, &x->model));
	meta.phase = RAMFILE_COPY;
	assert_int_equal(ramfile_store_meta(&x->rf, &meta), 0);
	assert_int_equal(ramfile_purge(&x->rf), 0);
	assert_int_equal(x->rf.meta.term, TERM);
	assert_int_equal(x->rf.meta.applied_epoch, 0);
	assert_null(ramfile_page(&x->rf, 0));
}

static void test_geometry(void **state)
{
	char text[WIRE_TEXT_MAX + 1];
	struct wire_geometry a, b;

	(void)state;
	feed_small_geometry(&a, RAM_PAGES, ROM_PAGES);
	b = a;
	assert_int_equal(epochcheck_geometry(&a, &b, text), 0);
	strcpy(b.qemu_version, "7.2.9");
	assert_int_equal(epochcheck_geometry(&a, &b, text), 0);
	strcpy(b.qemu_version, "7.20.1");
	assert_int_equal(epochcheck_geometry(&a, &b, text), -ESTALE);
	assert_non_null(strstr(text, "7.2.22 Debian"));
	assert_non_null(strstr(text, "7.20.1"));
	b = a;
	strcpy(b.machine, "pc-q35-7.2");
	assert_int_equal(epochcheck_geometry(&a, &b, text), -ESTALE);
	assert_non_null(strstr(text, "machine types differ: primary pc-i440fx-7.2, standby "
				     "pc-q35-7.2; use the same -M in the [standby] command"));
	b = a;
	b.n_vcpus = 2;
	assert_int_equal(epochcheck_geometry(&a, &b, text), -ESTALE);
	b = a;
	b.ram_bytes += WIRE_PAGE_SIZE;
	assert_int_equal(epochcheck_geometry(&a, &b, text), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_epochs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_terms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_purge, setup, teardown),
		cmocka_unit_test(test_geometry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
