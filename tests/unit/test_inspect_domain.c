/* Tests what `inspect --domain` reads from /proc: QEMU's name and monitors, and the paths of its
 * sockets and files. */
#include "inspect/domain.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "inspect/descriptors.h"

#define WORDS_MAX 32

/* Read @text, whose words are separated by '|'. */
static bool read_words(const char *text, struct domain *ret_domain)
{
	AUTO_FREE char *copy = strdup(text);
	char *words[WORDS_MAX], *save;
	size_t n = 0;

	for (char *word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
		words[n++] = word;
	return domain_read(words, n, "web1", ret_domain);
}

static void test_names(void **state)
{
	static const struct {
		const char *words;
		bool is_it;
	} rows[] = {
		{"qemu|-name|web1", true},
		{"qemu|-name|guest=web1,debug-threads=on|-S", true},
		{"qemu|-name|{\"guest\":\"web1\"}", true},
		{"qemu|-name|web11", false},
		{"qemu|-name|debug-threads=on", false},
		{"qemu|-device|x,id=web1", false},
		{"qemu|-name", false},
		{"qemu", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct domain domain = {0};

		if (read_words(rows[i].words, &domain) != rows[i].is_it)
			fail_msg("%s", rows[i].words);
	}
}

static void test_monitors(void **state)
{
	static const struct {
		const char *words, *first, *second;
	} rows[] = {
		{"qemu|-qmp|unix:/q,server=on,wait=off", "/q", NULL},
		{"qemu|-qmp|unix:/q|-qmp|unix:/r,server", "/q", "/r"},
		{"qemu|-qmp|tcp:localhost:4444,server=on", NULL, NULL},
		{"qemu|-chardev|socket,id=m,path=/m,server=on|-mon|chardev=m,mode=control", "/m",
		 NULL},
		{"qemu|-mon|{\"chardev\":\"m\",\"mode\":\"control\"}|-chardev|"
		 "{\"backend\":\"socket\",\"id\":\"m\",\"path\":\"/m\"}",
		 "/m", NULL},
		/* no usable monitor: one is in text mode, the other is held open by a manager */
		{"qemu|-chardev|socket,id=m,path=/m|-mon|chardev=m,mode=readline", NULL, NULL},
		{"qemu|-chardev|socket,id=m,fd=23,server=on|-mon|chardev=m,mode=control", NULL,
		 NULL},
		{"qemu|-mon|chardev=none,mode=control", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *wanted[] = {rows[i].first, rows[i].second};
		size_t n = !!rows[i].first + !!rows[i].second;
		struct domain domain = {0};

		(void)read_words(rows[i].words, &domain);
		if (domain.n_monitors != n)
			fail_msg("%s: %zu monitors", rows[i].words, domain.n_monitors);
		for (size_t m = 0; m < n; m++)
			assert_string_equal(domain.monitors[m], wanted[m]);
	}
}

/* More monitors than there is room for, and a path that no socket can have, are left out. */
static void test_limits(void **state)
{
	char text[256] = "qemu|-qmp|unix:/";
	struct domain domain = {0};

	(void)state;
	memset(text + strlen(text), 'x', DOMAIN_PATH_BYTES);
	(void)read_words(text, &domain);
	assert_int_equal(domain.n_monitors, 0);
	(void)read_words("q|-qmp|unix:/1|-qmp|unix:/2|-qmp|unix:/3|-qmp|unix:/4|-qmp|unix:/5",
			 &domain);
	assert_int_equal(domain.n_monitors, DOMAIN_MONITORS_MAX);
	assert_string_equal(domain.monitors[3], "/4");
}

static void test_sockets(void **state)
{
	static const char table[] =
		"Num       RefCount Protocol Flags    Type St Inode Path\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 1234 /run/m/a b.sock\n"
		"0000000000000000: 00000003 00000000 00000000 0001 03 1235\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 1236 @abstract\n"
		"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/m/c.sock\n";
	char path[64] = "";

	(void)state;
	assert_int_equal(descriptors_find_unix(table, 1234, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/m/a b.sock");
	assert_int_equal(descriptors_find_unix(table, 12345, path, sizeof(path)), 0);
	assert_string_equal(path, "/run/m/c.sock");
	assert_int_equal(descriptors_find_unix(table, 12345, path, 8), -ENOENT);
	for (unsigned long inode = 1235; inode < 1240; inode++)
		assert_int_equal(descriptors_find_unix(table, inode, path, sizeof(path)), -ENOENT);
}

/* An open file of this process is found by its descriptor; a device is not. */
static void test_own_descriptors(void **state)
{
	char path[] = "/tmp/holdfast-descriptor.XXXXXX", number[16];
	struct descriptors all;
	struct error error;
	int fd = mkstemp(path), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0 && null >= 0);
	assert_int_equal(descriptors_read(getpid(), &all, &error), 0);
	(void)snprintf(number, sizeof(number), "%d", fd);
	assert_string_equal(descriptors_path(&all, number), path);
	(void)snprintf(number, sizeof(number), "%d", null);
	assert_null(descriptors_path(&all, number));
	assert_null(descriptors_path(&all, "x"));
	assert_null(descriptors_path(NULL, "1"));
	close(fd);
	close(null);
	unlink(path);
}

static void test_fdsets(void **state)
{
	static const char text[] =
		"[{\"fdset-id\": 0, \"fds\": [{\"fd\": 6, \"opaque\": \"log\"}, {\"fd\": 9}]},"
		" {\"fdset-id\": 3, \"fds\": []}, {\"fds\": 5}, 7]";
	struct descriptors all = {.n = 2, .list = {{5, -1, "/five"}, {6, -1, "/six"}}};
	json_t *fdsets = json_loads(text, 0, NULL);

	(void)state;
	assert_non_null(fdsets);
	assert_null(descriptors_fdset_path(&all, "/dev/fdset/0"));
	descriptors_note_fdsets(&all, fdsets);
	assert_string_equal(descriptors_fdset_path(&all, "/dev/fdset/0"), "/six");
	assert_null(descriptors_fdset_path(&all, "/dev/fdset/3"));
	assert_null(descriptors_fdset_path(&all, "/dev/fdset/-1"));
	assert_null(descriptors_fdset_path(&all, "/dev/fdset/"));
	assert_null(descriptors_fdset_path(&all, "/five"));
	assert_null(descriptors_fdset_path(NULL, "/dev/fdset/0"));
	json_decref(fdsets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_monitors),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_own_descriptors),
		cmocka_unit_test(test_fdsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
