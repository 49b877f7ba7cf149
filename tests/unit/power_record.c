#include "power_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#define NAME_BYTES sizeof(((struct power_op *)0)->name)

struct power_fault power_fault;
static struct power *recording; /* NULL: nothing is recorded */

bool power_is_on_disk(const char *name)
{
	size_t size = strlen(name);

	return strncmp(name, "log", 3) == 0 || (size > 4 && strcmp(name + size - 4, ".raw") == 0);
}

uint32_t power_roll(struct power *power, uint32_t n)
{
	power->seed = power->seed * 1664525u + 1013904223u;
	return (power->seed >> 8) % n;
}

/* ---- files */

static void *grow(void *data, size_t old_size, size_t size)
{
	uint8_t *larger = realloc(data, size);

	assert_non_null(larger);
	memset(larger + old_size, 0, size - old_size);
	return larger;
}

static void need_room(struct power_file *file, size_t size)
{
	size_t room = (size + POWER_SECTOR - 1) / POWER_SECTOR * POWER_SECTOR;

	if (room <= file->room)
		return;
	file->now = grow(file->now, file->room, room);
	file->disk = grow(file->disk, file->room, room);
	file->left = grow(file->left, file->room, room);
	file->room = room;
}

static struct power_op *new_op(struct power *power, enum power_op_kind kind, unsigned file)
{
	bool is_late = kind != POWER_MARK && kind != POWER_FLUSH_NAMES && power_fault.late &&
		       strcmp(power->files[file].name, power_fault.late) == 0;
	struct power_op **ops = is_late ? &power->late : &power->ops;
	size_t *n = is_late ? &power->n_late : &power->n_ops;
	size_t *room = is_late ? &power->late_room : &power->room;

	if (*n == *room) {
		*room = *room ? 2 * *room : 256;
		*ops = realloc(*ops, *room * sizeof(**ops));
		assert_non_null(*ops);
	}
	(*ops)[*n] = (struct power_op){.kind = kind, .file = file};
	return &(*ops)[(*n)++];
}

static void set_name(struct power *power, unsigned file, const char *name)
{
	struct power_op *op;

	assert_true(strlen(name) < NAME_BYTES);
	strcpy(power->files[file].name, name);
	op = new_op(power, POWER_NAME, file);
	strcpy(op->name, name);
}

/* Returns the number of the file with @inode. Adds the file if it is not known yet. */
static unsigned find_file(struct power *power, ino_t inode)
{
	unsigned i = 0;

	while (i < power->n_files && power->files[i].inode != inode)
		i++;
	if (i == power->n_files) {
		assert_true(i < POWER_FILES_MAX);
		power->n_files++;
		power->files[i] = (struct power_file){.inode = inode};
	}
	return i;
}

/* Returns the number of the file @fd, or -1 if changes of this file are not recorded. */
static int file_of(int fd)
{
	char link[32], path[256], *slash;
	unsigned n_files, file;
	struct stat st;
	ssize_t n;

	if (!recording)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return -1;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || !power_is_on_disk(slash + 1) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -1;
	n_files = recording->n_files;
	file = find_file(recording, st.st_ino);
	if (file == n_files)
		set_name(recording, file, slash + 1);
	return (int)file;
}

/* ---- recording */

static void record_write(unsigned number, const void *data, size_t size, uint64_t offset)
{
	struct power_file *file = &recording->files[number];
	uint64_t first = offset / POWER_SECTOR;
	uint64_t end = (offset + size + POWER_SECTOR - 1) / POWER_SECTOR;
	struct power_op *op;

	if (size == 0)
		return;
	need_room(file, offset + size);
	if (data)
		memcpy(file->now + offset, data, size);
	else
		memset(file->now + offset, 0, size);
	op = new_op(recording, POWER_WRITE, number);
	op->sector = (uint32_t)first;
	op->n_sectors = (uint32_t)(end - first);
	op->data = malloc((end - first) * POWER_SECTOR);
	assert_non_null(op->data);
	memcpy(op->data, file->now + first * POWER_SECTOR, (end - first) * POWER_SECTOR);
}

/* Count a call, and return whether this is the call that must fail. */
static bool is_failing(int file, enum power_op_kind kind)
{
	if (file < 0 || !power_fault.fail || kind != power_fault.fail_kind ||
	    strcmp(recording->files[file].name, power_fault.fail) != 0)
		return false;
	return ++power_fault.n_calls == power_fault.fail_nth;
}

static int fails(int error)
{
	errno = error;
	return -1;
}

/* Write one piece. */
static ssize_t write_one(int fd, const void *data, size_t size, off_t offset)
{
	int file = file_of(fd);
	ssize_t n;

	if (is_failing(file, POWER_WRITE)) {
		if (power_fault.fail_errno)
			return fails(power_fault.fail_errno);
		size = (size + 1) / 2;
	}
	n = syscall(SYS_pwrite64, fd, data, size, offset);
	if (n > 0 && file >= 0)
		record_write((unsigned)file, data, (size_t)n, (uint64_t)offset);
	return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return write_one(fd, data, size, offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int n_pieces, off_t offset)
{
	size_t size = 0, at = 0;
	uint8_t *data;
	ssize_t n;

	for (int i = 0; i < n_pieces; i++)
		size += pieces[i].iov_len;
	data = malloc(size ? size : 1);
	assert_non_null(data);
	for (int i = 0; i < n_pieces; i++) {
		if (pieces[i].iov_len > 0)
			memcpy(data + at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	n = write_one(fd, data, size, offset);
	free(data);
	return n;
}

ssize_t write(int fd, const void *data, size_t size)
{
	int file = file_of(fd);
	off_t offset = file >= 0 ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = syscall(SYS_write, fd, data, size);

	if (n > 0 && file >= 0)
		record_write((unsigned)file, data, (size_t)n, (uint64_t)offset);
	return n;
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
	int file = file_of(fd), r;

	if (file >= 0 && power_fault.cannot_zero)
		return fails(EOPNOTSUPP);
	if (is_failing(file, POWER_WRITE) && power_fault.fail_errno)
		return fails(power_fault.fail_errno);
	r = (int)syscall(SYS_fallocate, fd, mode, offset, size);
	if (r == 0 && file >= 0)
		record_write((unsigned)file, NULL, (size_t)size, (uint64_t)offset);
	return r;
}

static int flush(int fd)
{
	int file = file_of(fd);
	struct stat st;

	if (is_failing(file, POWER_FLUSH)) {
		(void)new_op(recording, POWER_FLUSH_FAILED, (unsigned)file);
		return fails(power_fault.fail_errno);
	}
	if (file >= 0) {
		if (!power_fault.no_flush ||
		    strcmp(recording->files[file].name, power_fault.no_flush) != 0)
			(void)new_op(recording, POWER_FLUSH, (unsigned)file);
	} else if (recording && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		(void)new_op(recording, POWER_FLUSH_NAMES, 0);
	}
	return 0;
}

int fdatasync(int fd)
{
	return flush(fd);
}

int fsync(int fd)
{
	return flush(fd);
}

/* The real function only starts to write, and promises nothing. So this replacement does
 * nothing. */
int sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
	(void)fd;
	(void)offset;
	(void)size;
	(void)flags;
	return 0;
}

int rename(const char *from, const char *to)
{
	const char *slash = strrchr(to, '/');
	int r = (int)syscall(SYS_rename, from, to);
	struct stat st;

	if (r == 0 && recording && slash && power_is_on_disk(slash + 1) && stat(to, &st) == 0)
		set_name(recording, find_file(recording, st.st_ino), slash + 1);
	return r;
}

/* ---- begin and end */

static void read_in(struct power *power, const char *dir, const char *name)
{
	char path[512];
	struct power_file *file;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	file = &power->files[find_file(power, st.st_ino)];
	need_room(file, (size_t)st.st_size);
	assert_int_equal(read(fd, file->now, (size_t)st.st_size), st.st_size);
	close(fd);
	assert_true(strlen(name) < NAME_BYTES);
	strcpy(file->name, name);
	strcpy(file->disk_name, name);
	file->now_size = file->disk_size = (size_t)st.st_size;
	memcpy(file->disk, file->now, file->room);
}

void power_start(struct power *power, const char *dir, uint32_t seed)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	assert_non_null(stream);
	power->seed = seed;
	while ((entry = readdir(stream))) {
		if (power_is_on_disk(entry->d_name))
			read_in(power, dir, entry->d_name);
	}
	closedir(stream);
	/* power_rewind() goes back to empty files. So record their present content as a write that
	 * is flushed. */
	recording = power;
	for (unsigned i = 0; i < power->n_files; i++) {
		struct power_file *file = &power->files[i];
		char name[NAME_BYTES];

		strcpy(name, file->name);
		set_name(power, i, name);
		record_write(i, file->now, file->now_size, 0);
		(void)new_op(power, POWER_FLUSH, i);
	}
	(void)new_op(power, POWER_FLUSH_NAMES, 0);
}

void power_mark(struct power *power, int mark, uint64_t value)
{
	struct power_op *op = new_op(power, POWER_MARK, 0);

	op->mark = mark;
	op->value = value;
}

void power_release_late(struct power *power)
{
	const char *late = power_fault.late;

	power_fault.late = NULL;
	for (size_t i = 0; i < power->n_late; i++) {
		struct power_op *op = new_op(power, POWER_MARK, 0);

		*op = power->late[i];
	}
	power->n_late = 0;
	power_fault.late = late;
}

void power_stop(struct power *power)
{
	(void)power;
	recording = NULL;
}

void power_done(struct power *power)
{
	for (size_t i = 0; i < power->n_ops; i++)
		free(power->ops[i].data);
	for (size_t i = 0; i < power->n_late; i++)
		free(power->late[i].data);
	for (unsigned i = 0; i < power->n_files; i++) {
		free(power->files[i].now);
		free(power->files[i].disk);
		free(power->files[i].left);
	}
	free(power->ops);
	free(power->late);
	memset(power, 0, sizeof(*power));
}

/* ---- moving through a record */

void power_rewind(struct power *power)
{
	power->at = power->named = 0;
	for (unsigned i = 0; i < power->n_files; i++) {
		struct power_file *file = &power->files[i];

		memset(file->now, 0, file->room);
		memset(file->disk, 0, file->room);
		file->name[0] = file->disk_name[0] = '\0';
		file->now_size = file->disk_size = file->flushed = 0;
	}
}

static size_t end_of(const struct power_op *op)
{
	return ((size_t)op->sector + op->n_sectors) * POWER_SECTOR;
}

/* Call @each for every write of @file that no flush covers. */
static void for_unflushed(struct power *power, unsigned file,
			  void (*each)(struct power *power, const struct power_op *op))
{
	for (size_t i = power->files[file].flushed; i < power->at; i++) {
		if (power->ops[i].kind == POWER_WRITE && power->ops[i].file == file)
			each(power, &power->ops[i]);
	}
}

static void flush_write(struct power *power, const struct power_op *op)
{
	struct power_file *file = &power->files[op->file];
	size_t at = (size_t)op->sector * POWER_SECTOR;

	/* Copy the current content, not the op's data: a later write may have changed these
	 * sectors, and a flush writes what they have now. */
	memcpy(file->disk + at, file->now + at, (size_t)op->n_sectors * POWER_SECTOR);
	if (end_of(op) > file->disk_size)
		file->disk_size = end_of(op);
}

static void drop_write(struct power *power, const struct power_op *op)
{
	struct power_file *file = &power->files[op->file];
	size_t at = (size_t)op->sector * POWER_SECTOR;

	for (uint32_t i = 0; i < op->n_sectors; i++) {
		if (power_roll(power, 2))
			memcpy(file->disk + at + i * POWER_SECTOR,
			       file->now + at + i * POWER_SECTOR, POWER_SECTOR);
	}
}

static void flush_names(struct power *power)
{
	for (unsigned i = 0; i < power->n_files; i++)
		strcpy(power->files[i].disk_name, power->files[i].name);
	power->named = power->at + 1;
}

const struct power_op *power_advance(struct power *power)
{
	const struct power_op *op = &power->ops[power->at];
	struct power_file *file = &power->files[op->file];

	assert_true(power->at < power->n_ops);
	switch (op->kind) {
	case POWER_WRITE:
		memcpy(file->now + (size_t)op->sector * POWER_SECTOR, op->data,
		       (size_t)op->n_sectors * POWER_SECTOR);
		if (end_of(op) > file->now_size)
			file->now_size = end_of(op);
		break;
	case POWER_FLUSH:
	case POWER_FLUSH_FAILED:
		for_unflushed(power, op->file, op->kind == POWER_FLUSH ? flush_write : drop_write);
		file->flushed = power->at + 1;
		break;
	case POWER_NAME:
		strcpy(file->name, op->name);
		break;
	case POWER_FLUSH_NAMES:
		flush_names(power);
		break;
	case POWER_MARK:
		break;
	}
	power->at++;
	return op;
}

/* ---- what a power failure leaves */

struct left {
	uint8_t *data;
	size_t size;
	char name[NAME_BYTES];
};

static void leave_sector(struct power *power, enum power_choice choice, uint8_t *to,
			 const uint8_t *from)
{
	size_t n = POWER_SECTOR;

	if (choice >= POWER_RANDOM && power_roll(power, 2))
		return;
	if (choice == POWER_TORN && power_roll(power, 4) == 0)
		n = power_roll(power, POWER_SECTOR);
	memcpy(to, from, n);
}

static void leave_file(struct power *power, unsigned number, enum power_choice choice,
		       struct left *left)
{
	const struct power_file *file = &power->files[number];

	left->size = file->disk_size;
	memcpy(left->data, file->disk, file->room);
	for (size_t i = file->flushed; choice != POWER_NONE && i < power->at; i++) {
		const struct power_op *op = &power->ops[i];
		size_t at = (size_t)op->sector * POWER_SECTOR;

		if (op->kind != POWER_WRITE || op->file != number)
			continue;
		for (uint32_t k = 0; k < op->n_sectors; k++)
			leave_sector(power, choice, left->data + at + k * POWER_SECTOR,
				     op->data + k * POWER_SECTOR);
		if (end_of(op) > left->size)
			left->size = end_of(op);
	}
}

/* Choose how many changes of file names have reached the disk, and set the names. */
static void leave_names(struct power *power, enum power_choice choice, struct left *left)
{
	size_t end = power->at;

	for (unsigned i = 0; i < power->n_files; i++)
		strcpy(left[i].name, power->files[i].disk_name);
	if (choice == POWER_NONE)
		end = power->named;
	else if (choice != POWER_ALL && power->at > power->named)
		end = power->named + power_roll(power, (uint32_t)(power->at - power->named + 1));
	for (size_t i = power->named; i < end; i++) {
		if (power->ops[i].kind == POWER_NAME)
			strcpy(left[power->ops[i].file].name, power->ops[i].name);
	}
}

static void put_file(const char *dir, const struct left *left)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, left->name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_pwrite64, fd, left->data, left->size, 0), left->size);
	assert_int_equal(ftruncate(fd, (off_t)left->size), 0);
	close(fd);
}

static bool is_left(const struct left *left, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(left[i].name, name) == 0)
			return true;
	}
	return false;
}

static void remove_others(const char *dir, const struct left *left, unsigned n)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	assert_non_null(stream);
	while ((entry = readdir(stream))) {
		if (entry->d_name[0] != '.' && !is_left(left, n, entry->d_name))
			assert_int_equal(unlinkat(dirfd(stream), entry->d_name, 0), 0);
	}
	closedir(stream);
}

void power_leave(struct power *power, enum power_choice choice, const char *dir)
{
	struct left left[POWER_FILES_MAX] = {0};

	assert_null(recording);
	leave_names(power, choice, left);
	remove_others(dir, left, power->n_files);
	for (unsigned i = 0; i < power->n_files; i++) {
		if (!left[i].name[0])
			continue;
		left[i].data = power->files[i].left;
		leave_file(power, i, choice, &left[i]);
		put_file(dir, &left[i]);
	}
}
