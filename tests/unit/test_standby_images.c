/* Tests images: which files are accepted as images, how a record changes an image, and what the
 * errors say. */
#include "standby/images.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define BYTES (256u * 1024u)

static char dir[] = "/tmp/holdfast-images-XXXXXX";
static char vda_path[64], vdb_path[64];
static struct images images;
static struct error error;

static void make(const char *path, off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(close(fd), 0);
}

static int init(const char *first, const char *second)
{
	struct standby_disk disks[2] = {{.path = vda_path}, {.path = vdb_path}};

	snprintf(disks[0].name, sizeof(disks[0].name), "%s", first);
	snprintf(disks[1].name, sizeof(disks[1].name), "%s", second);
	return images_init(&images, disks, 2, &error);
}

static int setup(void **state)
{
	(void)state;
	snprintf(vda_path, sizeof(vda_path), "%s/a.raw", dir);
	snprintf(vdb_path, sizeof(vdb_path), "%s/b.raw", dir);
	make(vda_path, BYTES);
	make(vdb_path, 512);
	assert_int_equal(init("vda", "vdb"), 0);
	error.text[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	images_close(&images);
	/* fails if a test has removed the file or put a directory in its place */
	(void)unlink(vda_path);
	(void)unlink(vdb_path);
	(void)rmdir(vdb_path);
	return 0;
}

static void says(const char *part)
{
	if (!strstr(error.text, part))
		fail_msg("'%s' does not say '%s'", error.text, part);
}

static void names_are_checked(void **state)
{
	(void)state;
	assert_int_equal(init("vda", "vda"), -EINVAL);
	says("disk vda: not a name, or there twice");
	assert_int_equal(init("", "vda"), -EINVAL);
	assert_int_equal(images_init(&images, NULL, IMAGES_MAX + 1, &error), -EINVAL);
	says("17 disks, at most 16");
	assert_int_equal(images_init(&images, NULL, 0, &error), 0);
	assert_null(images_find(&images, "vda"));
	assert_int_equal(images_open(&images, &error), 0);
}

static void opened_images_have_their_sizes(void **state)
{
	(void)state;
	assert_int_equal(images_find(&images, "vda")->bytes, 0);
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_find(&images, "vda")->bytes, BYTES);
	assert_int_equal(images_find(&images, "vdb")->bytes, 512);
	assert_null(images_find(&images, "vdc"));
	images_close(&images);
	images_close(&images);
	assert_int_equal(images_find(&images, "vda")->bytes, BYTES);
	assert_int_equal(images_find(&images, "vda")->fd, -1);
}

/* Check that images_open() failed because of the second disk, and left the first disk closed
 * too. */
static void refused(int r, const char *part)
{
	assert_int_equal(images_open(&images, &error), r);
	says(part);
	says("vdb");
	says("b.raw");
	assert_false(images.is_open);
	assert_int_equal(images.item[0].fd, -1);
	assert_int_equal(images.item[1].fd, -1);
}

static void wrong_images_are_refused(void **state)
{
	(void)state;
	assert_int_equal(unlink(vdb_path), 0);
	refused(-ENOENT, "make it, as large as the disk on the primary: truncate -s SIZE /tmp/");
	make(vdb_path, 0);
	refused(-EINVAL, "has 0 bytes, expected whole sectors of 512");
	make(vdb_path, 1000);
	refused(-EINVAL, "has 1000 bytes");
	assert_int_equal(unlink(vdb_path), 0);
	assert_int_equal(link(vda_path, vdb_path), 0);
	refused(-EINVAL, "disks vda and vdb have the same image");
	assert_int_equal(unlink(vdb_path), 0);
	assert_int_equal(mkfifo(vdb_path, 0600), 0);
	refused(-EINVAL, "neither a regular file nor a block device");
	assert_int_equal(unlink(vdb_path), 0);
	assert_int_equal(mkdir(vdb_path, 0700), 0);
	refused(-EISDIR, "Is a directory");
}

static uint8_t content[BYTES];

static void read_back(void)
{
	int fd = open(vda_path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(read(fd, content, BYTES), BYTES);
	assert_int_equal(close(fd), 0);
}

static int apply(uint8_t op, uint64_t offset, uint32_t bytes, const uint8_t *data)
{
	const struct wire_disk_record record = {op, bytes, offset, data};

	return images_apply(&images, images_find(&images, "vda"), &record, &error);
}

/* Checks that each record changes its own bytes and no others. @cannot_zero: the file system has no
 * fallocate(). */
static void records_change_their_bytes(bool cannot_zero)
{
	static uint8_t expected[BYTES], data[BYTES];
	static const struct {
		uint8_t op;
		uint32_t offset, bytes;
	} rows[] = {
		{WIRE_DISK_WRITE, 0, BYTES},	       {WIRE_DISK_ZERO, 4096, 65536},
		{WIRE_DISK_DISCARD, 131072, 100000},   {WIRE_DISK_ZERO, 70001, 3},
		{WIRE_DISK_DISCARD, 75000, 5001},      {WIRE_DISK_WRITE, 69999, 5},
		{WIRE_DISK_ZERO, BYTES - 513, 513},    {WIRE_DISK_WRITE, BYTES - 1, 1},
	};

	assert_int_equal(images_open(&images, &error), 0);
	images_find(&images, "vda")->cannot_zero = cannot_zero;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (uint32_t k = 0; k < rows[i].bytes; k++)
			data[k] = rows[i].op == WIRE_DISK_WRITE ? (uint8_t)(k * 7 + i + 1) : 0;
		memcpy(expected + rows[i].offset, data, rows[i].bytes);
		assert_int_equal(apply(rows[i].op, rows[i].offset, rows[i].bytes, data), 0);
		read_back();
		assert_memory_equal(content, expected, BYTES);
	}
	assert_int_equal(images.n_records, sizeof(rows) / sizeof(rows[0]));
	assert_int_equal(images.bytes_written, BYTES + 5 + 1);
	assert_int_equal(images_sync(&images, &error), 0);
	images_flush_soon(&images, UINT64_C(5000000000));
	assert_int_equal(images.flushed_ns, UINT64_C(5000000000));
}

static void records_are_applied(void **state)
{
	(void)state;
	records_change_their_bytes(false);
}

static void records_are_applied_without_fallocate(void **state)
{
	(void)state;
	records_change_their_bytes(true);
}

static void a_discard_gives_space_back(void **state)
{
	static uint8_t data[BYTES];
	struct stat before, after;

	(void)state;
	memset(data, 1, sizeof(data));
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(apply(WIRE_DISK_WRITE, 0, BYTES, data), 0);
	assert_int_equal(images_sync(&images, &error), 0);
	assert_int_equal(stat(vda_path, &before), 0);
	assert_int_equal(apply(WIRE_DISK_DISCARD, 0, BYTES / 2, NULL), 0);
	assert_int_equal(stat(vda_path, &after), 0);
	if (images_find(&images, "vda")->cannot_zero)
		skip(); /* needs fallocate() */
	assert_true(after.st_blocks < before.st_blocks);
	assert_int_equal(after.st_size, BYTES);
}

static void zeroes_leave_holes(void **state)
{
	static uint8_t data[BYTES / 4];
	struct stat before, after;

	(void)state;
	memset(data, 1, sizeof(data));
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(apply(WIRE_DISK_ZERO, 0, BYTES, NULL), 0);
	assert_int_equal(stat(vda_path, &before), 0);
	assert_int_equal(before.st_blocks, 0);
	/* data between two holes, not at their borders */
	assert_int_equal(apply(WIRE_DISK_WRITE, BYTES / 2 + 100, sizeof(data), data), 0);
	assert_int_equal(images_sync(&images, &error), 0);
	assert_int_equal(stat(vda_path, &before), 0);
	assert_int_equal(apply(WIRE_DISK_ZERO, 50, BYTES - 50, NULL), 0);
	assert_int_equal(stat(vda_path, &after), 0);
	assert_true(after.st_blocks <= before.st_blocks);
	read_back();
	for (size_t i = 0; i < BYTES; i++)
		assert_int_equal(content[i], 0);
}

static void wrong_records_are_refused(void **state)
{
	static const uint8_t data[512];

	(void)state;
	assert_int_equal(apply(WIRE_DISK_WRITE, 0, 512, data), -EBADF);
	says("disk vda: image /tmp/");
	says("a.raw: cannot write 512 bytes at offset 0");
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(apply(WIRE_DISK_WRITE, BYTES - 511, 512, data), -ERANGE);
	assert_int_equal(apply(WIRE_DISK_ZERO, BYTES, 1, NULL), -ERANGE);
	says("cannot zero 1 bytes at offset 262144");
	assert_int_equal(apply(WIRE_DISK_DISCARD, 0, WIRE_DISK_RANGE_MAX, NULL), -ERANGE);
	says("cannot discard");
	assert_int_equal(apply(WIRE_DISK_DISCARD, UINT64_MAX, 512, NULL), -ERANGE);
	images_close(&images);
	assert_int_equal(apply(WIRE_DISK_WRITE, 0, 512, data), -EBADF);
	read_back();
	for (size_t i = 0; i < BYTES; i++)
		assert_int_equal(content[i], 0);
}

/* If the image has the bytes that were hashed, the comparison finds no difference. After one byte
 * has changed, it reports the record's offset. */
static void images_are_compared(void **state)
{
	static const uint8_t zeroes[WIRE_DISK_HASHED_MAX];
	uint8_t hash[WIRE_DISK_HASH_SIZE], byte = 'x';
	struct wire_disk_record record = {WIRE_DISK_HASH, WIRE_DISK_HASHED_MAX,
					  WIRE_DISK_HASHED_MAX, hash};
	struct image *vda = images_find(&images, "vda");

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	images_begin_checks(&images);
	wire_disk_hash(7, zeroes, sizeof(zeroes), hash);
	images_compare(&images, vda, &record);
	assert_int_equal(vda->checked.n_checked, 1);
	assert_int_equal(vda->checked.n_differ, 0);
	assert_false(vda->is_changed);
	assert_int_equal(pwrite(vda->fd, &byte, 1, 2 * WIRE_DISK_HASHED_MAX - 1), 1);
	for (unsigned i = 0; i < WIRE_DISK_DIFFER_MAX + 1; i++)
		images_compare(&images, vda, &record);
	assert_int_equal(vda->checked.n_checked, WIRE_DISK_DIFFER_MAX + 2);
	assert_int_equal(vda->checked.n_differ, WIRE_DISK_DIFFER_MAX + 1);
	assert_int_equal(vda->checked.offset[WIRE_DISK_DIFFER_MAX - 1], WIRE_DISK_HASHED_MAX);
	assert_string_equal(vda->checked.name, "vda");
	images_begin_checks(&images);
	assert_int_equal(vda->checked.n_checked, 0);
	/* Bytes that the image does not have count as different. */
	assert_int_equal(ftruncate(vda->fd, WIRE_DISK_HASHED_MAX + 10), 0);
	images_compare(&images, vda, &record);
	record.offset = BYTES;
	images_compare(&images, vda, &record);
	assert_int_equal(vda->checked.n_differ, 2);
	assert_int_equal(images.n_differ, WIRE_DISK_DIFFER_MAX + 3);
}

/* The test locks the image like QEMU, which locks one byte of the file for each permission that
 * it uses. */
static void an_image_in_use_is_found(void **state)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int other = open(vda_path, O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_check_free(&images, &error), 0);
	assert_int_equal(fcntl(other, F_OFD_SETLK, &lock), 0);
	assert_int_equal(images_check_free(&images, &error), -EBUSY);
	says("disk vda: image /tmp/");
	says("another QEMU");
	assert_int_equal(close(other), 0);
	assert_int_equal(images_check_free(&images, &error), 0);
}

/* The kernel reports lost writes only once, so images_sync() must remember them and fail every time
 * after that. */
static void lost_writes_are_not_forgotten(void **state)
{
	struct image *vda = &images.item[0];
	int ends[2], file;

	(void)state;
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(pipe(ends), 0);
	file = vda->fd;
	vda->fd = ends[0]; /* fdatasync() of a pipe fails */
	assert_int_equal(images_sync(&images, &error), -EIO);
	says("did not reach the disk");
	vda->fd = file;
	assert_int_equal(close(ends[0]), 0);
	assert_int_equal(close(ends[1]), 0);
	assert_int_equal(images_sync(&images, &error), -EIO);
	says("restart the agent");
	images_close(&images);
	assert_int_equal(images_open(&images, &error), 0);
	assert_int_equal(images_sync(&images, &error), -EIO);
	images_renew(&images); /* a new copy begins */
	assert_int_equal(images_sync(&images, &error), 0);
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(opened_images_have_their_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_images_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(records_are_applied, setup, teardown),
		cmocka_unit_test_setup_teardown(records_are_applied_without_fallocate, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_discard_gives_space_back, setup, teardown),
		cmocka_unit_test_setup_teardown(zeroes_leave_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_records_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(images_are_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(an_image_in_use_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(lost_writes_are_not_forgotten, setup, teardown),
	};

	if (!mkdtemp(dir))
		return 1;
	return cmocka_run_group_tests(tests, NULL, remove_dir);
}
