/* test_qmp_parse.c - tests the parser with the monitor's lines: whole, in pieces, and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/qmp_parse.h"

/* Feed @text in pieces of @step bytes. */
static void feed(struct qmp_parser *p, const char *text, size_t size, size_t step)
{
	while (size > 0) {
		char *at;
		size_t room, n;

		assert_int_equal(qmp_parser_space(p, &at, &room), 0);
		n = step < size ? step : size;
		n = n < room ? n : room;
		memcpy(at, text, n);
		qmp_parser_filled(p, n);
		text += n;
		size -= n;
	}
}

static const char stream[] =
	"{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
	"{\"return\": {}}\r\n\r\n"
	"{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, \"event\": \"STOP\"}\r\n"
	"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\r\n"
	"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 7}\r\n";

static void test_messages_in_pieces(void **state)
{
	(void)state;
	for (size_t step = 1; step <= sizeof(stream); step++) {
		static const enum qmp_message_kind kinds[] = {
			QMP_MESSAGE_GREETING, QMP_MESSAGE_RETURN, QMP_MESSAGE_EVENT,
			QMP_MESSAGE_EVENT, QMP_MESSAGE_ERROR,
		};
		struct qmp_parser p;
		struct qmp_message m;

		qmp_parser_init(&p);
		feed(&p, stream, sizeof(stream) - 1, step);
		for (size_t i = 0; i < 5; i++) {
			assert_int_equal(qmp_parser_next(&p, &m), 0);
			assert_int_equal(m.kind, kinds[i]);
			if (i == 2) {
				assert_string_equal(m.event, "STOP");
				assert_null(m.body);
			}
			if (i == 3)
				assert_true(json_is_true(json_object_get(m.body, "guest")));
			if (i == 4)
				assert_string_equal(
					json_string_value(json_object_get(m.body, "desc")), "no");
			qmp_message_done(&m);
		}
		assert_int_equal(qmp_parser_next(&p, &m), -EAGAIN);
		qmp_parser_done(&p);
	}
}

static void test_bad_lines(void **state)
{
	static const char *const lines[] = {
		"QEMU 7.2 monitor - type 'help' for more information\n",
		"{\"nothing\": 1}\n",
		"[1]\n",
		"{\"event\": 5}\n",
		"{\"error\": \"text\"}\n",
		"{\"return\": {\n",
		"{\"return\": \"\xff\"}\n",
		"}\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct qmp_parser p;
		struct qmp_message m;

		qmp_parser_init(&p);
		feed(&p, lines[i], strlen(lines[i]), 1000);
		feed(&p, "{\"return\": 1}\n", 14, 1000);
		assert_int_equal(qmp_parser_next(&p, &m), -EPROTO);
		/* The bad line is consumed, and the next line is read. */
		assert_int_equal(qmp_parser_next(&p, &m), 0);
		qmp_message_done(&m);
		qmp_parser_done(&p);
	}
}

static void test_deep_nesting_is_refused(void **state)
{
	enum { DEPTH = 100000 };
	char *deep = malloc(DEPTH + 1);
	struct qmp_parser p;
	struct qmp_message m;

	(void)state;
	memset(deep, '[', DEPTH);
	deep[DEPTH] = '\n';
	qmp_parser_init(&p);
	feed(&p, deep, DEPTH + 1, 4096);
	assert_int_equal(qmp_parser_next(&p, &m), -EPROTO);
	qmp_parser_done(&p);
	free(deep);
}

static void test_line_limit(void **state)
{
	struct qmp_parser p;
	struct qmp_message m;
	size_t total = 0, room;
	char *at;
	int r;

	(void)state;
	qmp_parser_init(&p);
	while ((r = qmp_parser_space(&p, &at, &room)) == 0) {
		memset(at, ' ', room);
		qmp_parser_filled(&p, room);
		total += room;
		assert_int_equal(qmp_parser_next(&p, &m), -EAGAIN);
		assert_true(total <= QMP_LINE_MAX);
	}
	assert_int_equal(r, -EMSGSIZE);
	assert_int_equal(total, QMP_LINE_MAX);
	qmp_parser_done(&p);
}

static void test_many_lines_do_not_grow(void **state)
{
	struct qmp_parser p;

	(void)state;
	qmp_parser_init(&p);
	for (int i = 0; i < 20000; i++) {
		struct qmp_message m;

		feed(&p, "{\"return\": {}}\r\n{\"ret", 21, 7);
		feed(&p, "urn\": {}}\r\n", 11, 7);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(qmp_parser_next(&p, &m), 0);
			qmp_message_done(&m);
		}
	}
	assert_true(p.capacity <= 16384);
	qmp_parser_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_in_pieces),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_deep_nesting_is_refused),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_many_lines_do_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
