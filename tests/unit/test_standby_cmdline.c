/* Tests cmdline, which makes a standby's command line from the user's command file. cmdline splits
 * the text into arguments as a shell does, but runs no shell. It refuses options that clash with
 * our own, finds the RAM size, and adds our arguments. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby/cmdline.h"

static void test_words(void **state)
{
	static const char text[] = "qemu  -m\t256M \\\n -append 'a \"b\" $c' \"x\\\"y z\"w \\$ ''\n"
				   "# a comment ; | &\n -name a#b";
	static const char *const want[] = {"qemu",   "-m", "256M", "-append", "a \"b\" $c",
					   "x\"y zw", "$",  "",	   "-name",   "a#b"};
	struct cmdline c;
	struct error error;

	(void)state;
	assert_int_equal(cmdline_parse(text, &c, &error), 0);
	assert_int_equal(c.n_words, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(c.words[i], want[i]);
	assert_null(c.words[c.n_words]);
	assert_int_equal(c.ram_bytes, 256 << 20);
	cmdline_done(&c);
	cmdline_done(&c);
}

static void test_ram(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
		{"q -m 64", 64ULL << 20},	     {"q --m 1G", 1ULL << 30},
		{"q -m size=2g,maxmem=4g", 2ULL << 30}, {"q -m 8192k", 8ULL << 20},
		{"q -m 64 -m 128", 128ULL << 20}, /* as in QEMU, the last -m counts */
	};
	struct cmdline c;
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(cmdline_parse(rows[i].text, &c, &error), 0);
		assert_int_equal(c.ram_bytes, rows[i].bytes);
		cmdline_done(&c);
	}
}

/* A memory device may use memory that QEMU allocates itself. */
static void test_memory_device(void **state)
{
	static const char text[] =
		"q -m 64 -object memory-backend-ram,id=d,size=64M -device pc-dimm,memdev=d,id=x";
	struct cmdline c;
	struct error error;

	(void)state;
	assert_int_equal(cmdline_parse(text, &c, &error), 0);
	assert_int_equal(c.ram_bytes, 64 << 20);
	cmdline_done(&c);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} rows[] = {
		{"", "empty"},
		{" \n # only a comment", "empty"},
		{"q -m 64 'x", "never closed"},
		{"q -m 64 \"x", "never closed"},
		{"q -m 64 \"$HOME\"", "no shell"},
		{"q -m 64 $(reboot)", "character 9"},
		{"q -m 64; reboot", "no shell"},
		{"q -m 64 | x", "no shell"},
		{"q -m 64 \\", "nothing follows"},
		{"q", "no -m"},
		{"q -m", "no -m"},
		{"q -m 64X", "-m 64X"},
		{"q -m 0", "-m 0"},
		{"q -m 5k", "-m 5k"},
		{"q -m 99999999999999999999", "not a size"},
		{"q -m 18446744073709551615", "not a size"},
		{"q -m 64 -S", "-S"},
		{"q -m 64 -incoming tcp:0:1", "-incoming"},
		{"q -m 64 --qmp unix:x", "-qmp"},
		{"q -m 64 -daemonize", "-daemonize"},
		{"q -m 64 -pidfile x", "-pidfile"},
		{"q -m 64 -mem-path /x", "-mem-path"},
		{"q -m 64 -numa node", "-numa"},
		{"q -m 64 -object memory-backend-ram,id=m,size=64M", "memory backend"},
		{"q -m 64 -object memory-backend-ram,id=m -device pc-dimm,memdev=mm", "-object"},
		{"q -m 64 -object memory-backend-ram,id=m -object x,memdev=m", "-object"},
		{"q -m 64 -object memory-backend-file,id=m -device pc-dimm,memdev=m", "-object"},
		{"q -m 64 -machine pc,memory-backend=m", "memory backend"},
		{"q -m 64 -M q35,memory-backend=m", "memory backend"},
	};
	struct cmdline c;
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		error.text[0] = '\0';
		assert_int_equal(cmdline_parse(rows[i].text, &c, &error), -EINVAL);
		if (!strstr(error.text, rows[i].says))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", rows[i].text, error.text,
				 rows[i].says);
	}
}

static void test_long(void **state)
{
	AUTO_FREE char *text = malloc(CMDLINE_BYTES_MAX + 2);
	struct cmdline c;
	struct error error;

	(void)state;
	memset(text, 'a', CMDLINE_BYTES_MAX + 1);
	text[CMDLINE_BYTES_MAX + 1] = '\0';
	assert_int_equal(cmdline_parse(text, &c, &error), -EINVAL);
	text[CMDLINE_BYTES_MAX] = '\0';
	for (size_t i = 1; i < CMDLINE_BYTES_MAX; i += 2)
		text[i] = ' ';
	assert_int_equal(cmdline_parse(text, &c, &error), -EINVAL);
	assert_non_null(strstr(error.text, "too many"));
}

static void test_added(void **state)
{
	static const char *const want[] = {
		"q", "-m", "64", "-S", "-incoming", "defer", "-global",
		"migration.send-configuration=off", "-machine",
		"suppress-vmdesc=on,memory-backend=holdfast-ram", "-object",
		("memory-backend-file,id=holdfast-ram,size=67108864,mem-path=/s,,1/ram,share=on,"
		 "prealloc=off"),
		"-qmp", "unix:/r/v.qmp,server=on,wait=off", "-pidfile", "/r/v.pid"};
	struct cmdline c;
	struct error error;

	(void)state;
	assert_int_equal(cmdline_parse("q -m 64", &c, &error), 0);
	assert_int_equal(cmdline_add_standby(&c, "/s,1/ram", "/r/v.qmp", "/r/v.pid"), 0);
	assert_int_equal(c.n_words, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(c.words[i], want[i]);
	cmdline_done(&c);
}

static void test_tap(void **state)
{
	static const struct {
		const char *taps, *text, *error; /* NULL: accepted */
	} rows[] = {
		{"tap0", "q -m 64 -netdev tap,id=n0,ifname=tap0,script=no", NULL},
		{"tap0", "q -m 64 -nic tap,ifname=tap0", NULL},
		{"tap0", "q -m 64 -netdev user,id=n0", NULL},
		{"tap0", "q -m 64 -netdev tap,id=n0,ifname=tap01",
		 "its tap is tap01, and tap in the VM's file is tap0"},
		{"tap0", "q -m 64 --netdev tap,id=n0,script=no", "its tap is any"},
		{"tap0", "q -m 64 -nic tap", "write ifname=tap0"},
		{"tap0 tap1", "q -m 64 -nic tap,ifname=tap1 -nic tap,ifname=tap0", NULL},
		{"tap0 tap1", "q -m 64 -nic tap,ifname=tap0", "no card has the tap tap1"},
		{"tap0 tap1", "q -m 64 -nic tap,ifname=tap0 -netdev {\"type\":\"tap\"}", NULL},
		{"tap0 tap1", "q -m 64 -nic tap,ifname=tap0 -nic tap,ifname=tap0",
		 "its tap tap0 is that of another card"},
		{"tap0 tap1", "q -m 64 -nic tap,ifname=tap0 -nic tap,ifname=tap2",
		 "its tap is tap2, and tap in the VM's file is tap0 tap1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cmdline c;
		struct error error = {""};
		struct tap_names taps;

		assert_int_equal(tap_names_parse(rows[i].taps, &taps), 0);
		assert_int_equal(cmdline_parse(rows[i].text, &c, &error), 0);
		assert_int_equal(cmdline_check_taps(&c, &taps, &error),
				 rows[i].error ? -EINVAL : 0);
		assert_non_null(strstr(error.text, rows[i].error ? rows[i].error : ""));
		cmdline_done(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words), cmocka_unit_test(test_ram),
		cmocka_unit_test(test_memory_device),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_long),
		cmocka_unit_test(test_added), cmocka_unit_test(test_tap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
