/* Tests config.h: files with right and wrong lines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/config.h"

enum colour { RED = 3, BLUE = 7 };

struct sample {
	char name[CONFIG_NAME_SIZE];
	char note[16];
	char path[108];
	uint32_t small;
	uint64_t large;
	bool flag;
	uint64_t beat_ns;
	uint64_t limit_bytes;
	enum colour colour;
	struct config_address listen;
	struct config_address optional;
	struct config_prefix net;
	uint8_t mac[6];
	uint32_t ip_be32;
	struct config_ports ports;
};

static const struct config_enum_name colours[] = {{"red", RED}, {"blue", BLUE}, {NULL, 0}};

static const struct config_key keys[] = {
	CONFIG_KEY("host", "name", NAME, struct sample, name, NULL, 0, 0, "name of the host"),
	CONFIG_KEY("host", "note", STRING, struct sample, note, "", 0, 0, "free text"),
	CONFIG_KEY("host", "path", PATH, struct sample, path, "/run/x", 0, 0, "a socket"),
	CONFIG_KEY("host", "small", U32, struct sample, small, "5", 1, 10, "a small number"),
	CONFIG_KEY("host", "large", U64, struct sample, large, "0x10", 0, 0, "a large number"),
	CONFIG_KEY("host", "flag", BOOL, struct sample, flag, "no", 0, 0, "a switch"),
	CONFIG_KEY("time", "beat_ms", MS, struct sample, beat_ns, "25", 1, 10000, "beats"),
	CONFIG_KEY("time", "limit", SIZE, struct sample, limit_bytes, "4M", 4096, UINT64_C(1) << 32,
		   "most memory"),
	CONFIG_KEY_ENUM("time", "colour", colours, struct sample, colour, "red", "its colour"),
	CONFIG_KEY("net", "listen", ADDRESS, struct sample, listen, "127.0.0.1:80", 0, 0, "listen"),
	CONFIG_KEY("net", "optional", ADDRESS, struct sample, optional, "", 0, 0, "may be unset"),
	CONFIG_KEY("net", "net", PREFIX, struct sample, net, "198.18.0.1/24", 0, 0, "own address"),
	CONFIG_KEY("net", "mac", MAC, struct sample, mac, "52:54:00:12:34:5F", 0, 0, "MAC"),
	CONFIG_KEY("net", "ip", IPV4, struct sample, ip_be32, "", 0, 0, "may be unset"),
	CONFIG_KEY("net", "ports", PORTS, struct sample, ports, "", 0, 0, "may be unset"),
};

static int parse(const char *text, size_t size, struct sample *sample, struct error *error)
{
	return config_parse_buffer("t.ini", text, size, keys, ARRAY_SIZE(keys), sample, error);
}

static void test_all_types(void **state)
{
	static const char text[] = "# a comment\n"
				   "[host]\n"
				   "  name = web-1\n"
				   "\tnote=hello world\n"
				   "path = /tmp/a b\r\n"
				   "small = 10 ; comment\nlarge=18446744073709551615\nflag = on\n"
				   "[time]\nbeat_ms = 10000\nlimit = 2G\ncolour = blue\n"
				   "[net]\nlisten = 198.18.0.2:65535\nnet = 10.0.0.0/0\n"
				   "mac=00:11:22:aa:Bb:ff\n"
				   "ip = 198.18.0.2\nports = 80,443 , 65535  1\n"
				   "[host]\n";
	struct sample s = {0};
	struct error error;
	static const uint8_t ip[4] = {198, 18, 0, 2}, mac[6] = {0, 0x11, 0x22, 0xaa, 0xbb, 0xff};

	(void)state;
	assert_int_equal(parse(text, sizeof(text) - 1, &s, &error), 0);
	assert_string_equal(s.name, "web-1");
	assert_string_equal(s.note, "hello world");
	assert_string_equal(s.path, "/tmp/a b");
	assert_int_equal(s.small, 10);
	assert_true(s.large == UINT64_MAX);
	assert_true(s.flag);
	assert_true(s.beat_ns == UINT64_C(10000000000));
	assert_true(s.limit_bytes == UINT64_C(2) << 30);
	assert_int_equal(s.colour, BLUE);
	assert_memory_equal(&s.listen.ip_be32, ip, 4);
	assert_int_equal(s.listen.port, 65535);
	assert_int_equal(s.optional.port, 0);
	assert_int_equal(s.net.bits, 0);
	assert_memory_equal(s.mac, mac, 6);
	assert_memory_equal(&s.ip_be32, ip, 4);
	assert_int_equal(s.ports.n, 4);
	assert_int_equal(s.ports.port[1], 443);
	assert_int_equal(s.ports.port[3], 1);
}

static void test_defaults(void **state)
{
	static const char text[] = "[host]\nname=a\n";
	struct sample s;
	struct error error;

	(void)state;
	memset(&s, 0xee, sizeof(s));
	assert_int_equal(parse(text, sizeof(text) - 1, &s, &error), 0);
	assert_string_equal(s.note, "");
	assert_string_equal(s.path, "/run/x");
	assert_int_equal(s.small, 5);
	assert_int_equal(s.large, 16);
	assert_false(s.flag);
	assert_true(s.beat_ns == 25000000);
	assert_true(s.limit_bytes == 4 << 20);
	assert_int_equal(s.colour, RED);
	assert_int_equal(s.optional.ip_be32, 0);
	assert_int_equal(s.mac[5], 0x5f);
	assert_int_equal(s.ip_be32, 0);
	assert_int_equal(s.ports.n, 0);
}

/* Each refusal says what is wrong and where, and leaves the result struct unchanged. */
static void test_refusals(void **state)
{
	static const struct {
		const char *text;
		const char *error;
	} rows[] = {
		{"[host]\nname=a\nnmae=b\n",
		 "t.ini:3: unknown key 'nmae' in [host], expected one of name"},
		{"[hots]\nname=a\n",
		 "t.ini:1: unknown section [hots], expected a section of [host] [time]"},
		{"[hots]\n", "t.ini:1: unknown section [hots]"},
		{"name=a\n", "t.ini:1: key 'name' outside of a section"},
		{"[host\nname=a\n", "t.ini:1: section has no ']'"},
		{"[host] x\nname=a\n", "t.ini:1: text after ']'"},
		{"[host]\nname=a\nname=b\n", "t.ini:3: duplicate key 'name' in [host]"},
		{"[host]\nname=a\njunk\n",
		 "t.ini:3: not a setting, expected [section] or key = value"},
		{"[host]\njunk\nwrong=1\n", "t.ini:2: not a setting"},
		{"[host]\nnote=x\n", "t.ini: 'name' is missing in [host], expected a name"},
		{"[host]\nname=\n", "t.ini:2: name = '', expected a name"},
		{"[host]\nname=-a\n", "t.ini:2: name = '-a'"},
		{"[host]\nname=A\n", "t.ini:2: name = 'A'"},
		{"[host]\nname=a\nnote=0123456789abcdef\n",
		 "t.ini:3: note = '0123456789abcdef', expected text of up to 15"},
		{"[host]\nname=a\npath=x/y\n", "t.ini:3: path = 'x/y', expected an absolute path"},
		{"[host]\nname=a\nsmall=0\n", "t.ini:3: small = '0', expected a number, 1..10"},
		{"[host]\nname=a\n[net]\nip=0.0.0.0\n",
		 "ip = '0.0.0.0', expected a numeric IPv4 address"},
		{"[host]\nname=a\n[net]\nip=1.2.3\n", "ip = '1.2.3'"},
		{"[host]\nname=a\n[net]\nports=80,\n", "ports = '80,', expected up to 8 ports"},
		{"[host]\nname=a\n[net]\nports=,80\n", "ports = ',80'"},
		{"[host]\nname=a\n[net]\nports=80,,81\n", "ports = '80,,81'"},
		{"[host]\nname=a\n[net]\nports=80 80\n", "ports = '80 80'"},
		{"[host]\nname=a\n[net]\nports=0\n", "ports = '0'"},
		{"[host]\nname=a\n[net]\nports=65536\n", "ports = '65536'"},
		{"[host]\nname=a\n[net]\nports=1 2 3 4 5 6 7 8 9\n", "ports = '1 2 3 4 5 6 7 8 9'"},
		{"[host]\nname=a\nsmall=11\n", "expected a number, 1..10"},
		{"[host]\nname=a\nsmall=4294967297\n", "expected a number, 1..10"},
		{"[host]\nname=a\nsmall=-1\n", "expected a number"},
		{"[host]\nname=a\nsmall=1x\n", "expected a number"},
		{"[host]\nname=a\nlarge=18446744073709551616\n", "expected a number"},
		{"[host]\nname=a\nlarge=0x\n", "expected a number"},
		{"[host]\nname=a\nflag=maybe\n", "expected yes or no"},
		{"[host]\nname=a\n[time]\nbeat_ms=10001\n",
		 "t.ini:4: beat_ms = '10001', expected whole milliseconds, 1..10000"},
		{"[host]\nname=a\n[time]\nbeat_ms=2.5\n", "whole milliseconds"},
		{"[host]\nname=a\n[time]\nlimit=17179869184G\n", "expected bytes"},
		{"[host]\nname=a\n[time]\nlimit=G\n", "expected bytes"},
		{"[host]\nname=a\n[time]\nlimit=1k\n", "expected bytes"},
		{"[host]\nname=a\n[time]\ncolour=green\n", "expected one of red, blue"},
		{"[host]\nname=a\n[net]\nlisten=host:80\n", "expected a numeric IPv4 address:port"},
		{"[host]\nname=a\n[net]\nlisten=1.2.3.4\n", "address:port"},
		{"[host]\nname=a\n[net]\nlisten=1.2.3.4:0\n", "address:port"},
		{"[host]\nname=a\n[net]\nlisten=1.2.3.4:65536\n", "address:port"},
		{"[host]\nname=a\n[net]\nnet=1.2.3.4/33\n", "expected a numeric IPv4 address/bits"},
		{"[host]\nname=a\n[net]\nnet=1.2.3/8\n", "address/bits"},
		{"[host]\nname=a\n[net]\nmac=00:11:22:33:44\n", "expected a MAC address"},
		{"[host]\nname=a\n[net]\nmac=00:11:22:33:44:5g\n", "expected a MAC address"},
		{"[host]\nname=a\n[net]\nmac=00-11:22:33:44:55\n", "expected a MAC address"},
		{"[host]\nname=a\x01z\n", "t.ini:2: byte 0x01, expected text"},
		{"[host]\rname=a\n", "t.ini:1: byte 0x0d, expected text"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sample s, before;
		struct error error = {0};

		memset(&s, 0x5a, sizeof(s));
		before = s;
		assert_int_equal(parse(rows[i].text, strlen(rows[i].text), &s, &error), -EINVAL);
		if (!strstr(error.text, rows[i].error))
			fail_msg("row %zu: got '%s', expected '%s'", i, error.text, rows[i].error);
		assert_memory_equal(&s, &before, sizeof(s));
	}
}

static void test_nul_long_line_and_long_file(void **state)
{
	char text[600] = "[host]\nname=a\n# ";
	size_t used = strlen(text);
	struct sample s = {0};
	struct error error;
	char *large;

	(void)state;
	assert_int_equal(parse("[host]\nname=a\0b\n", 16, &s, &error), -EINVAL);
	assert_non_null(strstr(error.text, "t.ini:2: byte 0x00"));

	/* A comment can be of any length; a line with a setting cannot. */
	memset(text + used, 'x', sizeof(text) - used);
	assert_int_equal(parse(text, sizeof(text), &s, &error), 0);
	text[used - 2] = '\t';
	assert_int_equal(parse(text, sizeof(text), &s, &error), -EINVAL);
	assert_non_null(strstr(error.text, "t.ini:3: line of 584 bytes, expected at most 196"));

	large = calloc(1, CONFIG_FILE_BYTES_MAX + 1);
	assert_non_null(large);
	assert_int_equal(parse(large, CONFIG_FILE_BYTES_MAX + 1, &s, &error), -EFBIG);
	free(large);
}

static void test_wrong_table(void **state)
{
	static const struct config_key narrow[] = {
		CONFIG_KEY("a", "b", U64, struct sample, small, "1", 0, 0, "too small a member")};
	static const struct config_key bad_default[] = {CONFIG_KEY(
		"a", "b", U32, struct sample, small, "11", 1, 10, "default out of range")};
	struct sample s = {0};
	struct error error;

	(void)state;
	assert_int_equal(config_parse_buffer("t", "", 0, narrow, 1, &s, &error), -EFAULT);
	assert_int_equal(config_parse_buffer("t", "", 0, bad_default, 1, &s, &error), -EFAULT);
}

/* If the output of check-config is read as a configuration file, it gives the same values. */
static void test_values_round_trip(void **state)
{
	static const char text[] = "[host]\nname=a\nnote=x y\nlarge=123\n[net]\nnet=10.1.2.3/9\n";
	struct sample s = {0}, again = {0};
	struct error error;
	char *printed = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&printed, &size);

	(void)state;
	assert_non_null(out);
	assert_int_equal(parse(text, sizeof(text) - 1, &s, &error), 0);
	config_print_values(out, keys, ARRAY_SIZE(keys), &s);
	fclose(out);
	if (parse(printed, size, &again, &error) < 0)
		fail_msg("%s", error.text);
	assert_memory_equal(&s, &again, sizeof(s));
	free(printed);
}

static void test_example_names_every_key(void **state)
{
	char *example = NULL, *help = NULL, *man = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&example, &size);
	struct sample s = {0};
	struct error error;

	(void)state;
	config_print_example(out, keys, ARRAY_SIZE(keys));
	fclose(out);
	out = open_memstream(&help, &size);
	config_print_help(out, keys, ARRAY_SIZE(keys));
	fclose(out);
	out = open_memstream(&man, &size);
	config_print_man(out, keys, ARRAY_SIZE(keys));
	fclose(out);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_non_null(strstr(example, keys[i].name));
		assert_non_null(strstr(help, keys[i].name));
		assert_non_null(strstr(help, keys[i].help));
		assert_non_null(strstr(man, keys[i].name));
	}
	/* A required key still has its placeholder, so the file is refused: nobody can start with
	 * an unedited example. */
	assert_int_equal(parse(example, strlen(example), &s, &error), -EINVAL);
	assert_non_null(strstr(error.text, "name = 'CHANGE-ME'"));
	free(example);
	free(help);
	free(man);
}

static void test_load(void **state)
{
	char path[] = "/tmp/holdfast-test-config-XXXXXX";
	int fd = mkstemp(path);
	struct sample s = {0};
	struct error error;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, "[host]\nname=b\n", 14), 0);
	fd_close(fd);
	assert_int_equal(config_load(path, keys, ARRAY_SIZE(keys), &s, &error), 0);
	assert_string_equal(s.name, "b");
	unlink(path);
	assert_int_equal(config_load(path, keys, ARRAY_SIZE(keys), &s, &error), -ENOENT);
	assert_non_null(strstr(error.text, path));
}

/* A comment mark after a blank is refused inside a text value. The text can be a shell command, so
 * it must not be cut at the mark. */
static void test_a_comment_does_not_cut_a_text(void **state)
{
	static const char *const refused[] = {
		"[host]\nname = a\nnote = ipmi off ; log\n",
		"[host]\nname = a\nnote = x\t;y\n",
		"[host]\nname = a\npath = /a ;b\n",
	};
	static const char taken[] = "[host]\n; a comment\nname = a ; another\nnote = x; y;z\n";
	struct sample sample;
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_int_equal(parse(refused[i], strlen(refused[i]), &sample, &error), -EINVAL);
		assert_non_null(strstr(error.text, ":3: "));
		assert_non_null(strstr(error.text, "would cut the value"));
	}
	assert_int_equal(parse(taken, strlen(taken), &sample, &error), 0);
	assert_string_equal(sample.note, "x; y;z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_types),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_comment_does_not_cut_a_text),
		cmocka_unit_test(test_nul_long_line_and_long_file),
		cmocka_unit_test(test_wrong_table),
		cmocka_unit_test(test_values_round_trip),
		cmocka_unit_test(test_example_names_every_key),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
