/* test_standby_drill.c - tests drill_files, which makes a second copy of a guest. The second copy
 * must have the state of one whole epoch, although epochs change the first copy meanwhile. At the
 * end, nothing of the second copy must be left. */
#include "standby/drill_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "standby_fixture.h"

static struct drill_files files;
static struct error error;
static _Atomic bool go_on; /* stays false: no pass is cancelled */

/* Let one more epoch arrive and be applied. */
static void epoch(struct fixture *x, bool full)
{
	struct epochcheck_error why;

	feed_clear(&x->feed);
	fixture_make_epoch(x, full);
	assert_int_equal(fixture_take(x, &why), 1);
}

static void first_epoch(struct fixture *x)
{
	struct epochcheck_error why;

	feed_clear(&x->feed);
	feed_geometry(&x->feed);
	fixture_make_epoch(x, true);
	assert_int_equal(fixture_take(x, &why), 1);
}

static void begin(struct fixture *x)
{
	first_epoch(x);
	assert_int_equal(drill_files_begin(&files, &x->rf, &x->images, x->dir, "web1", &error), 0);
	assert_int_equal(drill_files_prepare(&files, &go_on, &error), 0);
}

static void end(struct fixture *x)
{
	char path[DRILL_PATH_MAX];

	drill_files_detach(&x->rf, &x->images);
	snprintf(path, sizeof(path), "%s", files.disk[0].path);
	drill_files_end(&files);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/drill", x->dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void is_model(struct fixture *x, const struct model *model)
{
	uint8_t disk[DISK_BYTES];

	for (uint32_t i = 0; i < N_PAGES; i++)
		assert_memory_equal(ramfile_page(&files.to, i), model->pages[i], WIRE_PAGE_SIZE);
	assert_int_equal(files.to.blob_bytes, model->blob_size);
	assert_memory_equal(files.to.blob, model->blob, model->blob_size);
	for (uint32_t d = 0; d < N_DISKS; d++) {
		AUTO_CLOSE int fd = open(files.disk[d].path, O_RDONLY | O_CLOEXEC);

		assert_int_equal(pread(fd, disk, sizeof(disk), 0), sizeof(disk));
		assert_memory_equal(disk, model->disks[d], sizeof(disk));
	}
	assert_int_equal(files.epoch, x->feed.epoch);
}

/* Epochs arrive before, between and after the passes. An epoch that arrives after
 * drill_files_finish() does not change the second copy. */
static void test_one_epoch(void **state)
{
	struct fixture *x = *state;
	struct model at_cut;

	for (int round = 0; round < 10; round++) {
		begin(x);
		for (int pass = 0; pass < 4; pass++) {
			assert_true(drill_files_pass(&files, NULL, &error) >= 0);
			epoch(x, pass == 2);
		}
		assert_int_equal(drill_files_finish(&files, &x->rf, &error), 0);
		is_model(x, &x->model);
		at_cut = x->model;
		drill_files_detach(&x->rf, &x->images);
		files.epoch++; /* is_model() compares it with the feed's epoch */
		epoch(x, false);
		is_model(x, &at_cut);
		end(x);
		x->feed.generation++;
	}
}

/* After a pass, files.pages has the pages that epochs have written since. */
static void test_what_is_left(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_int_equal(drill_files_pass(&files, NULL, &error), 0);
	assert_int_equal(touched_count(files.pages), 0);
	touched_set(x->rf.touched, 3);
	touched_set(x->rf.touched, N_PAGES); /* beyond the end: ignored */
	assert_int_equal(touched_count(files.pages), 1);
	assert_int_equal(drill_files_pass(&files, NULL, &error), 0);
	end(x);
}

static void test_cancel(void **state)
{
	struct fixture *x = *state;
	_Atomic bool cancel = true;

	begin(x);
	assert_int_equal(drill_files_pass(&files, &cancel, &error), -ECANCELED);
	end(x);
}

static void test_copy_is_gone(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_true(drill_files_pass(&files, NULL, &error) >= 0);
	assert_int_equal(epochlog_set_term(&x->log, TERM + 1), 0);
	assert_int_equal(drill_files_finish(&files, &x->rf, &error), -ESTALE);
	end(x);
	assert_int_equal(drill_files_begin(&files, &x->rf, &x->images, x->dir, "web1", &error),
			 -ENODATA);
}

/* The first copy's files can be unmapped and removed at any time. A pass must survive that. */
static void test_purged_meanwhile(void **state)
{
	struct fixture *x = *state;

	begin(x);
	assert_int_equal(epochlog_set_term(&x->log, TERM + 1), 0);
	assert_int_equal(ramfile_purge(&x->rf), 0);
	assert_true(drill_files_pass(&files, NULL, &error) >= 0);
	end(x);
}

static void test_qcow2(void **state)
{
	struct fixture *x = *state;

	first_epoch(x);
	x->images.item[1].is_qcow2 = true;
	assert_int_equal(drill_files_begin(&files, &x->rf, &x->images, x->dir, "web1", &error),
			 -ENOTSUP);
	assert_non_null(strstr(error.text, "is a qcow2 image"));
	assert_null(x->rf.touched);
	x->images.item[1].is_qcow2 = false;
}

/* An agent was killed in a drill. The next agent removes the drill's files. */
static void test_sweep(void **state)
{
	struct fixture *x = *state;
	struct drill_files left;
	char path[DRILL_PATH_MAX];

	begin(x);
	left = files;
	drill_files_detach(&x->rf, &x->images);
	ramfile_close(&files.to); /* as the kernel does when the agent ends */
	drill_files_sweep(&x->rf, &x->images, x->dir, "web1");
	snprintf(path, sizeof(path), "%s/drill", x->dir);
	for (int i = 0; i < 5000 && access(path, F_OK) == 0; i++)
		(void)poll(NULL, 0, 1); /* the files are removed in the background */
	assert_int_equal(access(path, F_OK), -1);
	for (uint32_t d = 0; d < N_DISKS; d++)
		assert_int_equal(access(left.disk[d].path, F_OK), -1);
	files.to.dir_fd = -1;
	drill_files_end(&files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_epoch, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_is_left, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_cancel, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_copy_is_gone, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_purged_meanwhile, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_qcow2, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_sweep, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
