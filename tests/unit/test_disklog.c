/* test_disklog.c - tests the log of disk writes (standby/disklog.h). Covers the order of its
 * entries, the use of the log file's two halves in turn, and power failures. In a power failure any
 * part of the last write can be missing. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "standby/disklog.h"

#define LOG_BYTES    DISKLOG_BYTES_MIN
#define HALF_BYTES   (LOG_BYTES / 2)
#define SECTOR	     512u
#define PAYLOAD_MAX  70000u
#define N_RANDOM     400u
#define N_FAILURES   40u

struct lab {
	char dir[64], path[80];
	struct disklog *log;
	uint8_t payload[PAYLOAD_MAX];
	/* what the last replay gave */
	uint64_t n_replayed;
	uint8_t last_byte;
	size_t last_size;
};

static int set_up(void **state)
{
	struct lab *lab = calloc(1, sizeof(*lab));
	struct error error;

	snprintf(lab->dir, sizeof(lab->dir), "/tmp/holdfast-disklog.XXXXXX");
	if (!mkdtemp(lab->dir))
		return -1;
	snprintf(lab->path, sizeof(lab->path), "%s/log", lab->dir);
	*state = lab;
	return disklog_open(lab->path, LOG_BYTES, &lab->log, &error);
}

static int tear_down(void **state)
{
	struct lab *lab = *state;

	disklog_close(lab->log);
	unlink(lab->path);
	rmdir(lab->dir);
	free(lab);
	return 0;
}

/* Append an entry in two pieces. Each of its @size payload bytes is the epoch's low byte. */
static int append(struct lab *lab, uint64_t epoch, enum disklog_kind kind, size_t size)
{
	struct iovec pieces[] = {{lab->payload, size / 3}, {lab->payload, size - size / 3}};
	struct error error;

	memset(lab->payload, (int)(epoch & 0xff), size);
	return disklog_append(lab->log, 3, epoch, kind, pieces, 2, &error);
}

static int count(void *arg, const uint8_t *payload, size_t size)
{
	struct lab *lab = arg;

	lab->n_replayed++;
	lab->last_byte = payload[0];
	lab->last_size = size;
	for (size_t i = 1; i < size; i++)
		assert_int_equal(payload[i], payload[0]);
	return 0;
}

static void replay(struct lab *lab)
{
	lab->n_replayed = 0;
	assert_int_equal(disklog_replay(lab->log, count, lab), 0);
}

static void reopen(struct lab *lab)
{
	struct error error;

	lab->log = disklog_close(lab->log);
	assert_int_equal(disklog_open(lab->path, LOG_BYTES, &lab->log, &error), 0);
}

static void expect_state(struct lab *lab, uint64_t epoch, bool is_copy)
{
	struct disklog_state now;

	disklog_get_state(lab->log, &now);
	assert_false(now.is_empty);
	assert_int_equal(now.term, 3);
	assert_int_equal(now.epoch, epoch);
	assert_int_equal(now.is_copy, is_copy);
}

static void test_a_new_log_is_empty(void **state)
{
	struct lab *lab = *state;
	struct disklog_state now;

	for (int i = 0; i < 2; i++) {
		disklog_get_state(lab->log, &now);
		assert_true(now.is_empty);
		assert_false(now.is_copy);
		replay(lab);
		assert_int_equal(lab->n_replayed, 0);
		reopen(lab);
	}
}

static void test_entries_come_back_in_order(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(append(lab, 10, DISKLOG_NO_COPY, 0), 0);
	expect_state(lab, 10, false);
	assert_int_equal(append(lab, 11, DISKLOG_START, 5000), 0);
	assert_int_equal(append(lab, 12, DISKLOG_WRITES, 1), 0);
	expect_state(lab, 12, true);
	reopen(lab);
	expect_state(lab, 12, true);
	replay(lab);
	assert_int_equal(lab->n_replayed, 2); /* an entry without payload changes nothing */
	assert_int_equal(lab->last_byte, 12);
	assert_int_equal(lab->last_size, 1);
}

/* The images change without the log; a NO_COPY or START entry says so. Writes logged before that
 * entry must not be replayed, because they would undo the change. */
static void test_nothing_is_replayed_from_before_a_start(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(append(lab, 1, DISKLOG_WRITES, 100), 0);
	assert_int_equal(append(lab, 2, DISKLOG_NO_COPY, 0), 0);
	for (int i = 0; i < 2; i++) {
		replay(lab);
		assert_int_equal(lab->n_replayed, 0);
		reopen(lab);
	}
	assert_int_equal(append(lab, 3, DISKLOG_START, 0), 0);
	replay(lab);
	assert_int_equal(lab->n_replayed, 0);
	assert_int_equal(append(lab, 4, DISKLOG_WRITES, 100), 0);
	assert_int_equal(append(lab, 5, DISKLOG_START, 100), 0);
	assert_int_equal(append(lab, 6, DISKLOG_WRITES, 100), 0);
	for (int i = 0; i < 2; i++) {
		replay(lab);
		assert_int_equal(lab->n_replayed, 2);
		assert_int_equal(lab->last_byte, 6);
		reopen(lab);
	}
}

/* The log's older half is not replayed: its epochs reached the images before the log began to write
 * to the other half. */
static void test_the_halves_take_turns(void **state)
{
	struct lab *lab = *state;
	unsigned n_changes = 0;
	uint64_t n_in_half = 0;

	for (uint64_t epoch = 1; epoch <= N_RANDOM; epoch++) {
		size_t size = (size_t)(rand() % PAYLOAD_MAX);
		bool changes = disklog_room(lab->log, size) == DISKLOG_NEEDS_SYNC;

		n_changes += changes;
		n_in_half = (changes ? 0 : n_in_half) + (size > 0);
		assert_int_equal(append(lab, epoch, DISKLOG_WRITES, size), 0);
		reopen(lab);
		expect_state(lab, epoch, true);
		replay(lab);
		assert_int_equal(lab->n_replayed, n_in_half);
	}
	assert_true(n_changes > 4);
}

static void test_an_entry_may_be_too_large(void **state)
{
	struct lab *lab = *state;
	struct iovec piece = {NULL, HALF_BYTES};
	struct error error;

	assert_int_equal(append(lab, 1, DISKLOG_WRITES, 100), 0);
	assert_int_equal(disklog_room(lab->log, HALF_BYTES), DISKLOG_TOO_LARGE);
	assert_int_equal(disklog_room(lab->log, HALF_BYTES - 56), DISKLOG_NEEDS_SYNC);
	assert_int_equal(disklog_append(lab->log, 3, 2, DISKLOG_WRITES, &piece, 1, &error), -EFBIG);
	assert_non_null(strstr(error.text, lab->path));
	expect_state(lab, 1, true);
}

static uint8_t *read_file(const char *path)
{
	uint8_t *data = malloc(LOG_BYTES);
	int fd = open(path, O_RDONLY);

	assert_int_equal(read(fd, data, LOG_BYTES), LOG_BYTES);
	close(fd);
	return data;
}

static void write_file(const char *path, const uint8_t *data)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(write(fd, data, LOG_BYTES), LOG_BYTES);
	close(fd);
}

/* Let the power fail while an entry is written: only some of its sectors are on the disk. If all
 * its sectors are there, the log must have the entry. Otherwise the log must be as it was
 * before. */
static void test_power_fails_in_an_append(void **state)
{
	struct lab *lab = *state;
	unsigned n_torn = 0, n_changes = 0;

	for (uint64_t epoch = 1; epoch <= N_FAILURES; epoch++) {
		size_t size = (size_t)(rand() % PAYLOAD_MAX);
		uint8_t *before = read_file(lab->path), *after;
		uint64_t n_before, n_missing = 0;

		n_changes += disklog_room(lab->log, size) == DISKLOG_NEEDS_SYNC;
		replay(lab);
		n_before = lab->n_replayed;
		assert_int_equal(append(lab, epoch, DISKLOG_WRITES, size), 0);
		after = read_file(lab->path);
		for (size_t at = 0; at < LOG_BYTES; at += SECTOR) {
			if (memcmp(before + at, after + at, SECTOR) != 0 && rand() % 4 == 0) {
				memcpy(after + at, before + at, SECTOR);
				n_missing++;
			}
		}
		write_file(lab->path, after);
		reopen(lab);
		if (n_missing > 0) {
			n_torn++;
			if (epoch > 1)
				expect_state(lab, epoch - 1, true);
			replay(lab);
			assert_int_equal(lab->n_replayed, n_before);
			assert_int_equal(append(lab, epoch, DISKLOG_WRITES, size), 0);
		}
		expect_state(lab, epoch, true);
		free(before);
		free(after);
	}
	assert_true(n_torn > N_FAILURES / 2);
	assert_true(n_changes > 0);
}

static int refuse(void *arg, const uint8_t *payload, size_t size)
{
	(void)payload;
	(void)size;
	return ++*(int *)arg == 2 ? -EIO : 0;
}

static void test_a_replay_can_fail(void **state)
{
	struct lab *lab = *state;
	int n = 0;

	for (uint64_t epoch = 1; epoch <= 3; epoch++)
		assert_int_equal(append(lab, epoch, DISKLOG_WRITES, 10), 0);
	assert_int_equal(disklog_replay(lab->log, refuse, &n), -EIO);
	assert_int_equal(n, 2);
}

static void test_other_files_are_refused(void **state)
{
	struct lab *lab = *state;
	struct error error;
	struct disklog *log;

	assert_int_equal(disklog_open("/tmp/holdfast-no-log", 0, &log, &error), -ENOENT);
	assert_int_equal(disklog_open("/nowhere/log", LOG_BYTES, &log, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/nowhere/log"));
	assert_int_equal(disklog_open(lab->path, 100, &log, &error), -EINVAL);
	assert_int_equal(truncate(lab->path, 100), 0);
	assert_int_equal(disklog_open(lab->path, LOG_BYTES, &log, &error), -EBADMSG);
	assert_non_null(strstr(error.text, lab->path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_new_log_is_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_entries_come_back_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_is_replayed_from_before_a_start,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_halves_take_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_entry_may_be_too_large, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_power_fails_in_an_append, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_replay_can_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_files_are_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
