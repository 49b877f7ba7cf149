/* Tests qcow2 images with the real qemu-storage-daemon. Data that was written must reach the image,
 * and the image must be closed before another process uses it. If a daemon was killed, both this
 * agent and the next one notice it. Skipped without root, FUSE or the daemon. */
#include "standby/images.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"

#define BYTES (1u << 20)

static char dir[] = "/tmp/holdfast-qcow2-XXXXXX";
static char image_path[64], raw_path[64];
static struct images images;
static struct error error;

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

/* Set up *@of as an agent does when it starts. */
static void init(struct images *of)
{
	struct standby_disk disks[2] = {{.name = "vda", .path = image_path, .is_qcow2 = true},
					{.name = "vdb", .path = raw_path}};

	assert_int_equal(images_init(of, disks, 2, &error), 0);
	assert_int_equal(images_name_views(of, dir, "web1", &error), 0);
}

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK) < 0 ||
	    access("/usr/bin/qemu-storage-daemon", X_OK) < 0)
		skip();
	snprintf(image_path, sizeof(image_path), "%s/a,b.qcow2", dir);
	snprintf(raw_path, sizeof(raw_path), "%s/b.raw", dir);
	run("qemu-img create -q -f qcow2 '%s' %u && truncate -s %u '%s'", image_path, BYTES, BYTES,
	    raw_path);
	init(&images);
	error.text[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (images.n == 0)
		return 0;
	images_close(&images);
	images_forget_loss(&images);
	run("rm -f %s/*", dir);
	return 0;
}

static void says(const char *part)
{
	if (!strstr(error.text, part))
		fail_msg("'%s' does not say '%s'", error.text, part);
}

static void apply(uint8_t op, uint64_t offset, uint32_t bytes, int byte)
{
	AUTO_FREE uint8_t *data = malloc(bytes);
	struct wire_disk_record record = {.op = op, .offset = offset, .bytes = bytes, .data = data};

	memset(data, byte, bytes);
	if (images_apply(&images, &images.item[0], &record, &error) != 0)
		fail_msg("%s", error.text);
}

/* Compare the content of the closed image with @expected. */
static void holds(const uint8_t *expected)
{
	AUTO_FREE uint8_t *found = calloc(1, BYTES);
	FILE *in;

	run("qemu-img check -q '%s' && qemu-img convert -O raw '%s' %s/content", image_path,
	    image_path, dir);
	snprintf(error.text, sizeof(error.text), "%s/content", dir);
	in = fopen(error.text, "r");
	assert_non_null(in);
	assert_int_equal(fread(found, 1, BYTES, in), BYTES);
	fclose(in);
	for (size_t i = 0; i < BYTES; i++)
		if (found[i] != expected[i])
			fail_msg("byte %zu is %02x, not %02x", i, found[i], expected[i]);
}

static void what_is_written_reaches_the_image(void **state)
{
	AUTO_FREE uint8_t *expected = malloc(BYTES);

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images.item[0].bytes, BYTES);
	apply(WIRE_DISK_WRITE, 0, BYTES, 0x11);
	apply(WIRE_DISK_ZERO, 65536, 131072, 0);      /* whole clusters */
	apply(WIRE_DISK_ZERO, 300032, 1536, 0);       /* inside one cluster */
	apply(WIRE_DISK_DISCARD, 524288, 65536, 0);   /* a whole cluster */
	apply(WIRE_DISK_DISCARD, 700416, 100352, 0);  /* across clusters */
	apply(WIRE_DISK_WRITE, 65536 + 512, 512, 0x22);
	memset(expected, 0x11, BYTES);
	memset(expected + 65536, 0, 131072);
	memset(expected + 300032, 0, 1536);
	memset(expected + 524288, 0, 65536);
	memset(expected + 700416, 0, 100352);
	memset(expected + 65536 + 512, 0x22, 512);
	assert_int_equal(images_sync(&images, &error), 0);
	assert_int_equal(images_hand_over(&images, &error), 0);
	holds(expected);
}

static void the_content_is_compared(void **state)
{
	uint8_t block[4096], hash[WIRE_DISK_HASH_SIZE];
	struct wire_disk_record record = {
		.op = WIRE_DISK_HASH, .offset = 4096, .bytes = sizeof(block), .data = hash};

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 4096, sizeof(block), 0x33);
	memset(block, 0x33, sizeof(block));
	wire_disk_hash(7, block, sizeof(block), hash);
	images_begin_checks(&images);
	images_compare(&images, &images.item[0], &record);
	assert_int_equal(images.item[0].checked.n_differ, 0);
	apply(WIRE_DISK_WRITE, 4096, 512, 0x34);
	images_compare(&images, &images.item[0], &record);
	assert_int_equal(images.item[0].checked.n_checked, 2);
	assert_int_equal(images.item[0].checked.n_differ, 1);
}

static void the_lock_keeps_others_out(void **state)
{
	struct images other;
	char command[256];

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_check_free(&images, &error), 0);
	snprintf(command, sizeof(command), "qemu-io -c 'read 0 512' -f qcow2 '%s' >%s/log 2>&1",
		 image_path, dir);
	assert_int_not_equal(system(command), 0);
	images_close(&images);
	assert_int_equal(system(command), 0);
	/* A second disk with this image is refused. */
	init(&other);
	other.item[1].path = image_path;
	other.item[1].is_qcow2 = true;
	assert_int_equal(images_open(&other, &error), -EINVAL);
	says("disks vda and vdb have the same image");
}

static void a_missing_base_is_named(void **state)
{
	(void)state;
	run("qemu-img create -q -f qcow2 %s/base %u && rm '%s' && "
	    "qemu-img create -q -f qcow2 -b %s/base -F qcow2 '%s' && rm %s/base",
	    dir, BYTES, image_path, dir, image_path, dir);
	assert_int_equal(images_open(&images, &error), -EIO);
	says("disk vda: image ");
	says("/base': No such file");
	run("echo no qcow2 >'%s'", image_path);
	assert_int_equal(images_open(&images, &error), -EIO);
	says("not in qcow2 format");
	run("rm '%s'", image_path);
	assert_int_equal(images_open(&images, &error), -ENOENT);
	says("qemu-img create -f qcow2");
}

/* The next agent ends the daemon of the previous agent cleanly, so nothing is lost. */
static void the_next_agent_takes_over(void **state)
{
	AUTO_FREE uint8_t *expected = calloc(1, BYTES);
	struct images before;

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 0, 65536, 0x44);
	memset(expected, 0x44, 65536);
	before = images;
	init(&images);
	assert_false(images_have_lost(&images, &error));
	assert_int_equal(images_open(&images, &error), 0);
	assert_true(images_have_died(&before, &error));
	apply(WIRE_DISK_WRITE, 65536, 65536, 0x55);
	memset(expected + 65536, 0x55, 65536);
	close(before.item[0].fd);
	close(before.item[0].below_fd);
	close(before.item[0].view.pidfd);
	close(before.item[1].fd);
	assert_int_equal(images_hand_over(&images, &error), 0);
	holds(expected);
}

static void a_killed_daemon_is_noticed(void **state)
{
	uint8_t data[512] = {1};
	struct wire_disk_record record = {.op = WIRE_DISK_WRITE, .bytes = 512, .data = data};
	struct pollfd fds[IMAGES_MAX];
	struct images next;

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 0, 65536, 0x66);
	assert_int_equal(images_watch(&images, fds), 1);
	assert_false(images_have_died(&images, &error));
	assert_int_equal(kill(images.item[0].view.pid, SIGKILL), 0);
	assert_int_equal(poll(fds, 1, 5000), 1);
	assert_true(images_have_died(&images, &error));
	says("disk vda: image ");
	assert_true(images_have_lost(&images, &error));
	assert_true(images_apply(&images, &images.item[0], &record, &error) < 0);
	assert_int_equal(images_sync(&images, &error), -EIO);
	assert_int_equal(images_hand_over(&images, &error), -EIO);
	says("lost");
	assert_int_equal(images_open(&images, &error), -EUCLEAN);
	/* the next agent notices the loss, too */
	init(&next);
	assert_true(images_have_lost(&next, &error));
	assert_int_equal(images_open(&next, &error), -EUCLEAN);
	images_forget_loss(&next);
	assert_false(images_have_lost(&next, &error));
	images = next;
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_apply(&images, &images.item[0], &record, &error), 0);
}

/* Fill the image's file system, also with the space that the image has used. This function must not
 * start a process: an exec would close the view, and thus make the daemon flush. */
static void fill_disk(void)
{
	static const char zeros[4096];
	char path[128];
	int fd = open(image_path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BYTES), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/full/rest", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* Open an image and write to it. Then fill the disk, so the image's daemon cannot write its
 * metadata. */
static void open_on_full_disk(void)
{
	char command[256];

	snprintf(command, sizeof(command),
		 "mkdir %s/full && mount -t tmpfs -o size=8m none %s/full", dir, dir);
	if (system(command) != 0)
		skip();
	snprintf(image_path, sizeof(image_path), "%s/full/a.qcow2", dir);
	run("qemu-img create -q -f qcow2 '%s' %u", image_path, BYTES);
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 0, 65536, 0x77);
	fill_disk();
}

static int teardown_full(void **state)
{
	images_close(&images);
	if (images.n > 0)
		run("! test -d %s/full || { umount %s/full; rmdir %s/full; }", dir, dir, dir);
	return teardown(state);
}

static void an_image_that_cannot_be_flushed_is_lost(void **state)
{
	(void)state;
	open_on_full_disk();
	assert_int_equal(images_hand_over(&images, &error), -EIO);
	says("cannot write its metadata");
	init(&images);
	assert_true(images_have_lost(&images, &error));
	assert_int_equal(images_open(&images, &error), -EUCLEAN);
}

/* The agent has died. The next agent ends the daemon, which cannot flush. That agent must notice
 * the loss. */
static void the_next_agent_cannot_flush(void **state)
{
	struct images before;

	(void)state;
	open_on_full_disk();
	before = images;
	init(&images);
	assert_false(images_have_lost(&images, &error));
	assert_int_equal(images_open(&images, &error), -EUCLEAN);
	assert_true(images_have_lost(&images, &error));
	close(before.item[0].fd);
	close(before.item[0].below_fd);
	close(before.item[0].view.pidfd);
	close(before.item[1].fd);
}

/* After a sync the image has all data, so the hand-over succeeds however the daemon ends. */
static void a_whole_image_is_handed_over(void **state)
{
	struct rawview *view = &images.item[0].view;
	AUTO_FREE uint8_t *expected = calloc(1, BYTES);
	struct pollfd fds[IMAGES_MAX];
	pid_t pid;

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 0, 65536, 0x12);
	memset(expected, 0x12, 65536);
	assert_int_equal(images_sync(&images, &error), 0);
	assert_int_equal(images_watch(&images, fds), 1);
	assert_int_equal(kill(view->pid, SIGKILL), 0);
	assert_int_equal(poll(fds, 1, 5000), 1);
	assert_int_equal(images_hand_over(&images, &error), 0);
	assert_false(images_have_lost(&images, &error));
	holds(expected);

	/* The daemon is stopped, so it does not end when asked. The test closes the view first,
	 * because that close needs a running daemon. */
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 131072, 65536, 0x34);
	memset(expected + 131072, 0x34, 65536);
	assert_int_equal(images_sync(&images, &error), 0);
	close(images.item[0].fd);
	images.item[0].fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid = view->pid;
	view->end_ms = 1000;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(images_hand_over(&images, &error), 0);
	assert_int_equal(kill(pid, 0), -1);
	assert_false(images_have_lost(&images, &error));
	holds(expected);
	assert_int_equal(images_open(&images, &error), 0);
}

/* The daemon has ended cleanly before a promotion. The promotion starts no new daemon. */
static void a_closed_image_needs_no_daemon(void **state)
{
	AUTO_FREE uint8_t *expected = calloc(1, BYTES);
	struct pollfd fds[IMAGES_MAX];

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 0, 65536, 0x56);
	memset(expected, 0x56, 65536);
	assert_int_equal(images_watch(&images, fds), 1);
	assert_int_equal(kill(images.item[0].view.pid, SIGTERM), 0);
	assert_int_equal(poll(fds, 1, 5000), 1);
	images_close(&images);
	assert_int_equal(images_open_to_sync(&images, &error), 0);
	assert_int_equal(images.item[0].view.pid, 0);
	assert_int_equal(images_sync(&images, &error), 0);
	assert_int_equal(images_hand_over(&images, &error), 0);
	holds(expected);

	/* if the daemon was killed, the loss is reported */
	assert_int_equal(images_open(&images, &error), 0);
	apply(WIRE_DISK_WRITE, 65536, 65536, 0x57);
	assert_int_equal(images_watch(&images, fds), 1);
	assert_int_equal(kill(images.item[0].view.pid, SIGKILL), 0);
	assert_int_equal(poll(fds, 1, 5000), 1);
	images_close(&images);
	assert_int_equal(images_open_to_sync(&images, &error), -EUCLEAN);
	assert_false(images.is_open);
}

/* Names of VMs and disks may contain dashes, but each disk still has files of its own. */
static void each_disk_has_its_own_files(void **state)
{
	struct rawview one, other;

	(void)state;
	assert_int_equal(rawview_init(&one, dir, "web", "1-root", &error), 0);
	assert_int_equal(rawview_init(&other, dir, "web-1", "root", &error), 0);
	assert_string_not_equal(one.file, other.file);
	assert_string_not_equal(one.pid_path, other.pid_path);
	assert_string_not_equal(one.log_path, other.log_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_reaches_the_image, setup, teardown),
		cmocka_unit_test_setup_teardown(the_content_is_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(the_lock_keeps_others_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_base_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(the_next_agent_takes_over, setup, teardown),
		cmocka_unit_test_setup_teardown(a_killed_daemon_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(an_image_that_cannot_be_flushed_is_lost, setup,
						teardown_full),
		cmocka_unit_test_setup_teardown(the_next_agent_cannot_flush, setup, teardown_full),
		cmocka_unit_test_setup_teardown(a_whole_image_is_handed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(a_closed_image_needs_no_daemon, setup, teardown),
		cmocka_unit_test(each_disk_has_its_own_files),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return r;
}
