#include "power_lab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LOG_BYTES   DISKLOG_BYTES_MIN
#define LARGE_BYTES 48000u
#define N_RECORDS   4u

static const char *const disk_names[N_DISKS] = {"vda", "vdb", "vdc"};

/* ---- the epochs */

/* The kinds of marks in the record. A mark's value is the index of its epoch in lab->epochs. */
enum mark {
	MARK_FED,     /* the primary begins to send the epoch */
	MARK_ACKED,   /* the standby acknowledges it */
	MARK_APPLIED, /* the standby has applied it, and the disks are safe */
};


/* Append @n records of a disk to the feed, and apply them to the model. */
static void add_records(struct power_lab *lab, unsigned disk, struct wire_disk_record *records,
			size_t n)
{
	static uint8_t data[N_RECORDS][LARGE_BYTES];
	struct fixture *x = lab->x;

	for (size_t i = 0; i < n; i++) {
		uint32_t offset = (uint32_t)records[i].offset;

		/* each byte that an epoch writes is the epoch's index */
		memset(data[i], records[i].op == WIRE_DISK_WRITE ? (int)lab->n_epochs + 1 : 0,
		       records[i].bytes);
		memcpy(x->model.disks[disk] + offset, data[i], records[i].bytes);
		records[i].data = data[i];
	}
	feed_disk(&x->feed, disk_names[disk], records, n);
}

/* Add writes, zeroes and discards that overlap and do not fill whole sectors. */
static void add_small(struct power_lab *lab, unsigned disk)
{
	struct wire_disk_record records[N_RECORDS] = {0};
	unsigned n = 1 + fixture_roll(lab->x, N_RECORDS - 1);

	for (unsigned i = 0; i < n; i++) {
		records[i].op = (uint8_t)(1 + fixture_roll(lab->x, 3));
		records[i].bytes = 1 + fixture_roll(lab->x, 2500);
		records[i].offset = fixture_roll(lab->x, DISK_BYTES - records[i].bytes);
	}
	/* Each epoch changes the end of each disk, so no two epochs have the same disks. */
	records[n] = (struct wire_disk_record){
		.op = WIRE_DISK_WRITE, .bytes = 600, .offset = DISK_BYTES - 600};
	add_records(lab, disk, records, n + 1);
}

static void add_large(struct power_lab *lab, unsigned disk)
{
	struct wire_disk_record record = {.op = WIRE_DISK_WRITE, .bytes = LARGE_BYTES,
					  .offset = fixture_roll(lab->x, DISK_BYTES - LARGE_BYTES)};

	add_records(lab, disk, &record, 1);
}

/* Append an epoch to the feed. */
static void make_epoch(struct power_lab *lab, char kind)
{
	struct fixture *x = lab->x;
	unsigned n_large = kind == 'f' || kind == 'u' ? N_DISKS : kind == 'L' ? 4 * N_DISKS : 0;
	uint8_t reference[BLOB_ROOM] = {0};
	struct epoch *epoch;

	x->feed.is_unheld = kind == 'u';
	feed_begin(&x->feed, x->feed.epoch == 0);
	for (unsigned i = 0; i < n_large; i++)
		add_large(lab, i % N_DISKS);
	for (unsigned i = 0; kind != 'e' && i < N_DISKS; i++)
		add_small(lab, i);
	feed_blob(&x->feed, x->model.blob, x->model.blob_size, reference, false);
	feed_end(&x->feed);
	assert_true(++lab->n_epochs <= EPOCHS_MAX);
	epoch = &lab->epochs[lab->n_epochs];
	epoch->kind = kind;
	epoch->number = x->feed.epoch;
	memcpy(epoch->disks, x->model.disks, sizeof(epoch->disks));
}

/* ---- the standby */

int power_lab_set_up(void **state)
{
	struct power_lab *lab = calloc(1, sizeof(*lab));
	void *x;

	memset(&power_fault, 0, sizeof(power_fault));
	assert_int_equal(fixture_setup(&x), 0);
	lab->x = x;
	lab->has_log = true;
	lab->x->model.blob_size = 100;
	snprintf(lab->log_path, sizeof(lab->log_path), "%s/log", lab->x->dir);
	snprintf(lab->left, sizeof(lab->left), "%s.left", lab->x->dir);
	assert_int_equal(mkdir(lab->left, 0700), 0);
	*state = lab;
	return 0;
}

int power_lab_tear_down(void **state)
{
	struct power_lab *lab = *state;
	void *x = lab->x;

	memset(&power_fault, 0, sizeof(power_fault));
	power_stop(&lab->power);
	power_done(&lab->power);
	power_done(&lab->again);
	durable_close(&lab->durable);
	fixture_remove_dir(lab->left);
	free(lab);
	return fixture_teardown(&x);
}

/* Open the log. If this fails because of power_fault, try once more, as the agent does at the next
 * START. */
static void open_log(struct power_lab *lab)
{
	struct error error = {""};
	int r = -1;

	for (int i = 0; lab->has_log && r < 0; i++) {
		r = durable_open(&lab->durable, &lab->x->rf, &lab->x->images, lab->log_path,
				 LOG_BYTES, &error);
		if (r < 0 && (i > 0 || !power_fault.fail || !strstr(error.text, "/log: ")))
			fail_msg("the log cannot be opened: %s", error.text);
		lab->x->log.durable = &lab->durable;
	}
}

/* End the agent and start the next one, as after a kill. The host keeps its power. */
static void restart_agent(struct power_lab *lab)
{
	durable_close(&lab->durable);
	fixture_close(lab->x);
	for (unsigned i = 0; i < N_DISKS; i++)
		lab->x->images.item[i].is_lost = lab->x->images.item[i].is_changed = false;
	fixture_open(lab->x);
	open_log(lab);
}

static void mark(struct power_lab *lab, enum mark mark)
{
	power_mark(&lab->power, mark, lab->n_epochs);
	lab->epochs[lab->n_epochs].is_acked |= mark == MARK_ACKED;
}

/* Apply the epoch that is now complete. The epoch is marked as acknowledged before that; but if
 * power_fault.late names a file, only after that file's changes were made. */
static int apply(struct power_lab *lab, struct error *ret_why)
{
	struct epochlog *log = &lab->x->log;
	int r;

	if (!power_fault.late)
		mark(lab, MARK_ACKED);
	r = epochlog_apply(log);
	*ret_why = log->why;
	if (r < 0)
		return r;
	power_release_late(&lab->power);
	if (power_fault.late)
		mark(lab, MARK_ACKED);
	if (!log->why.text[0])
		mark(lab, MARK_APPLIED);
	return 0;
}

/* Let the standby take the one epoch in the feed, as the agent does. On failure, returns the
 * agent's error, and sets *ret_why to its text. */
static int take(struct power_lab *lab, struct error *ret_why)
{
	const uint8_t *at = lab->x->feed.bytes, *end = at + lab->x->feed.size;
	struct epochcheck_error error;
	struct wire_frame frame;
	int r = 0;

	mark(lab, MARK_FED);
	while (r == 0 && at < end) {
		assert_int_equal(wire_frame_decode(&at, end, &frame, NULL), 0);
		r = epochlog_frame(&lab->x->log, &frame, NULL, &error);
		if (r < 0)
			*ret_why = error.why;
		if (r > 0)
			r = apply(lab, ret_why);
	}
	return r;
}

/* Handle an epoch that was not taken or not applied. Check that the error names the file that
 * failed. Then begin a new stream, as a primary does, with the guest as it was after the last
 * acknowledged epoch. */
static void after_error(struct power_lab *lab, const struct model *before, const struct error *why)
{
	struct fixture *x = lab->x;

	if (!power_fault.fail)
		fail_msg("epoch %u: %s", lab->n_epochs, why->text);
	if (!strstr(why->text, power_fault.fail) && !lab->x->rf.meta.disks_lost)
		fail_msg("the failure of %s is reported as: %s", power_fault.fail, why->text);
	lab->n_errors++;
	epochlog_reset(&x->log);
	if (epochlog_complete(&x->log) == x->feed.epoch)
		return;
	x->feed.epoch = epochlog_complete(&x->log);
	x->model = *before;
}

/* Feed one epoch for each letter of @kinds. The letter R restarts the agent instead. */
static void feed_kinds(struct power_lab *lab, const char *kinds)
{
	static struct model before;
	struct feed *feed = &lab->x->feed;
	struct error why;
	bool is_new = true;

	for (; *kinds; kinds++) {
		if (*kinds == 'R') {
			restart_agent(lab);
			is_new = true;
			continue;
		}
		before = lab->x->model;
		feed_clear(feed);
		feed->generation += is_new;
		if (is_new)
			feed_geometry(feed);
		make_epoch(lab, *kinds);
		is_new = take(lab, &why) < 0;
		if (is_new)
			after_error(lab, &before, &why);
	}
}

void power_lab_record(struct power_lab *lab, const char *kinds, uint32_t seed)
{
	const char *fail = power_fault.fail;

	lab->x->seed = seed;
	power_fault.fail = NULL;
	power_start(&lab->power, lab->x->dir, seed);
	open_log(lab);
	power_fault.fail = fail;
	power_fault.n_calls = 0;
	feed_kinds(lab, kinds);
	power_stop(&lab->power);
}

/* ---- what a power failure leaves */

static int faulty(struct power_lab *lab, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static int faulty(struct power_lab *lab, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(lab->fault, sizeof(lab->fault), format, args);
	va_end(args);
	return -1;
}

/* Recover the files in lab->left as the next agent does. Returns what durable_recover() returns. */
static int recover(struct power_lab *lab, struct disklog_state *ret_found, struct error *ret_error)
{
	struct standby_disk disks[N_DISKS] = {0};
	char paths[N_DISKS][120], log_path[120];
	struct durable durable = {0};
	struct ramfile rf = {0};
	struct images images;
	int r;

	snprintf(log_path, sizeof(log_path), "%s/log", lab->left);
	for (unsigned i = 0; i < N_DISKS; i++) {
		strcpy(disks[i].name, disk_names[i]);
		snprintf(paths[i], sizeof(paths[i]), "%s/%s.raw", lab->left, disk_names[i]);
		disks[i].path = paths[i];
	}
	assert_int_equal(images_init(&images, disks, N_DISKS, ret_error), 0);
	r = durable_open(&durable, &rf, &images, log_path, LOG_BYTES, ret_error);
	if (r == 0)
		r = durable_recover(&durable, ret_found, ret_error);
	images_close(&images);
	durable_close(&durable);
	return r;
}

void power_lab_read_images(struct power_lab *lab, uint8_t (*ret_disks)[DISK_BYTES])
{
	for (unsigned i = 0; i < N_DISKS; i++) {
		char path[120];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s.raw", lab->left, disk_names[i]);
		file = fopen(path, "r");
		assert_non_null(file);
		assert_int_equal(fread(ret_disks[i], 1, DISK_BYTES, file), DISK_BYTES);
		fclose(file);
	}
}

int power_lab_compare(struct power_lab *lab, uint8_t (*disks)[DISK_BYTES], unsigned epoch)
{
	for (unsigned i = 0; i < N_DISKS; i++) {
		const uint8_t *wanted = lab->epochs[epoch].disks[i];

		uint32_t at = 0;

		if (memcmp(disks[i], wanted, DISK_BYTES) == 0)
			continue;
		while (disks[i][at] == wanted[at])
			at++;
		return faulty(lab,
			      "the disks are not of epoch %u: sector %u of disk %u has what "
			      "epoch %u wrote, expected epoch %u",
			      epoch, at / POWER_SECTOR, i, disks[i][at], wanted[at]);
	}
	return 0;
}

/* How far the standby had come when the power failed: indices in lab->epochs. */
struct moment {
	unsigned fed, acked, applied;
};

/* Returns true if it is no fault that the log names no epoch: an epoch that was sent without
 * holding the output, or that exceeds one half of the log, can have made the log invalid. */
static bool may_be_silent(const struct power_lab *lab, const struct moment *m)
{
	char acked = lab->epochs[m->acked].kind;

	for (unsigned i = m->acked + 1; i <= m->fed; i++) {
		if (lab->epochs[i].kind == 'u' || lab->epochs[i].kind == 'L')
			return true;
	}
	return m->acked == 0 || acked == 'u' || (acked == 'L' && m->applied < m->acked);
}

/* Check the log's claim that the images are those of the epoch with the number @claimed. This must
 * be the last acknowledged epoch, or one that the primary sent after it. An epoch without writes
 * has no entry in the log, so the log may name an earlier epoch with the same disks. */
static int check_claim(struct power_lab *lab, const struct moment *m, uint64_t claimed)
{
	static uint8_t disks[N_DISKS][DISK_BYTES];
	unsigned first = m->acked;

	(void)faulty(lab, "epoch %u was acknowledged, the log claims epoch %u",
		     (unsigned)lab->epochs[m->acked].number, (unsigned)claimed);
	while (first > 0 && (lab->epochs[first].kind == 'e' || !lab->epochs[first].is_acked))
		first--;
	power_lab_read_images(lab, disks);
	for (unsigned i = first; i <= m->fed; i++) {
		if (lab->epochs[i].number == claimed && (lab->epochs[i].is_acked || i > m->acked) &&
		    power_lab_compare(lab, disks, i) == 0)
			return 0;
	}
	return -1;
}

/* Recover the files in lab->left, and check the result. Returns 0 in two cases: the disks are those
 * of the epoch that the log names, and the log may name this epoch (check_claim()); or the log
 * names no epoch, and it need not (may_be_silent()). Otherwise returns -1, and lab->fault says what
 * is wrong. */
static int check_recovery(struct power_lab *lab, const struct moment *m)
{
	struct disklog_state found = {.is_empty = true};
	struct error error = {""};
	int r = recover(lab, &found, &error);

	if (r < 0)
		return faulty(lab, "the recovery fails: %.200s", error.text);
	if (r == 0 && !may_be_silent(lab, m))
		return faulty(lab, "epoch %u (%c) was acknowledged and lost", m->acked,
			      lab->epochs[m->acked].kind);
	if (r > 0 && found.term != TERM)
		return faulty(lab, "the log claims term %u", (unsigned)found.term);
	return r > 0 ? check_claim(lab, m, found.epoch) : 0;
}

/* Let the power fail once more, at a random moment of the recovery. Then recover again. */
static int check_second_failure(struct power_lab *lab, const struct moment *m)
{
	struct disklog_state found;
	struct error error;
	size_t end;

	power_done(&lab->again);
	power_start(&lab->again, lab->left, power_roll(&lab->power, 1u << 16));
	(void)recover(lab, &found, &error); /* check_recovery() below checks the next recovery */
	power_stop(&lab->again);
	end = power_roll(&lab->again, (uint32_t)lab->again.n_ops + 1);
	power_rewind(&lab->again);
	/* The power must not fail before the files' names are on the disk: the record begins with
	 * ops that make the files as they were before the recovery. */
	while (lab->again.at < end || lab->again.named == 0)
		(void)power_advance(&lab->again);
	power_leave(&lab->again, POWER_TORN, lab->left);
	return check_recovery(lab, m);
}

/* Simulate a power failure at the record's present position, and check the recovery. @choice says
 * what becomes of writes that were not flushed. */
static int check_failure(struct power_lab *lab, const struct moment *m, enum power_choice choice)
{
	int r;

	power_leave(&lab->power, choice, lab->left);
	if (choice == POWER_TORN && power_roll(&lab->power, 4) == 0)
		r = check_second_failure(lab, m);
	else
		r = check_recovery(lab, m);
	if (r < 0) {
		size_t n = strlen(lab->fault);

		snprintf(lab->fault + n, sizeof(lab->fault) - n, " (op %zu, choice %u)",
			 lab->power.at, choice);
	}
	return r;
}

static void follow(struct moment *m, const struct power_op *op)
{
	if (op->kind != POWER_MARK)
		return;
	if (op->mark == MARK_FED)
		m->fed = (unsigned)op->value;
	if (op->mark == MARK_ACKED)
		m->acked = (unsigned)op->value;
	if (op->mark == MARK_APPLIED)
		m->applied = (unsigned)op->value;
}


struct power_counts power_lab_check(struct power_lab *lab, unsigned share)
{
	struct power *power = &lab->power;
	struct power_counts counts = {0};
	struct moment m = {0};

	lab->fault[0] = '\0';
	for (power_rewind(power); power->at < power->n_ops;) {
		const struct power_op *op = power_advance(power);
		bool is_flush = op->kind == POWER_FLUSH || op->kind == POWER_FLUSH_FAILED;
		bool is_next = power->at < power->n_ops &&
			       power->ops[power->at].kind == POWER_FLUSH;

		follow(&m, op);
		counts.n_flushes += is_flush;
		if (power->named == 0)
			continue; /* the ops so far only record the initial files */
		if (!is_flush && !is_next && power_roll(power, share))
			continue;
		for (unsigned i = 0; i < POWER_CHOICES; i++) {
			bool is_every = (is_flush || is_next) && share <= 4;

			if (!is_every && i != power->at % POWER_CHOICES)
				continue;
			counts.n_failures++;
			counts.n_faults += check_failure(lab, &m, (enum power_choice)i) < 0;
			if (counts.n_faults)
				return counts;
		}
	}
	return counts;
}
