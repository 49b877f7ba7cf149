/* test_qmp.c - tests the QMP client against a thread that plays QEMU's monitor from a script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/qmp.h"

#define TIMEOUT_NS  (5 * CLOCK_NS_PER_S)
#define GREETING    "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"
#define OK	    "{\"return\": {}}\r\n"
#define CAPS	    "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}"
#define SCRIPT_MAX  16

/* One step of the monitor: wait until exactly `expect` was read, then send `say`. */
struct step {
	const char *expect;
	const char *say;
};

struct monitor {
	char directory[64];
	char path[96];
	int listener;
	const struct step *script;
	size_t n_steps;
	bool is_wrong; /* the client has sent something other than `expect` */
	char heard[8192];
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct monitor *m = arg;
	int fd = accept(m->listener, NULL, NULL);

	for (size_t i = 0; i < m->n_steps && fd >= 0 && !m->is_wrong; i++) {
		size_t want = strlen(m->script[i].expect), have = 0;

		while (have < want) {
			ssize_t n = read(fd, m->heard + have, want - have);

			if (n <= 0)
				break;
			have += (size_t)n;
		}
		m->heard[have] = '\0';
		m->is_wrong = strcmp(m->heard, m->script[i].expect) != 0;
		if (write(fd, m->script[i].say, strlen(m->script[i].say)) < 0)
			m->is_wrong = true;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void start(struct monitor *m, const struct step *script, size_t n_steps)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memset(m, 0, sizeof(*m));
	strcpy(m->directory, "/tmp/test_qmp.XXXXXX");
	assert_non_null(mkdtemp(m->directory));
	snprintf(m->path, sizeof(m->path), "%s/qmp", m->directory);
	strcpy(address.sun_path, m->path);
	m->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(m->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(m->listener, 1), 0);
	m->script = script;
	m->n_steps = n_steps;
	if (script)
		assert_int_equal(pthread_create(&m->thread, NULL, serve, m), 0);
}

static void stop(struct monitor *m)
{
	if (m->script) {
		pthread_join(m->thread, NULL);
		if (m->is_wrong)
			print_error("the monitor heard: %s\n", m->heard);
		assert_false(m->is_wrong);
	}
	close(m->listener);
	unlink(m->path);
	rmdir(m->directory);
}

#define START(m, script) start(m, script, sizeof(script) / sizeof((script)[0]))

static void test_execute(void **state)
{
	static const struct step script[] = {
		{"", GREETING},
		{CAPS, OK},
		{"{\"execute\":\"query-x\"}", "{\"return\": {\"a\": 5}}\r\n"},
		{"{\"execute\":\"bad\",\"arguments\":{\"k\":\"v\"}}",
		 "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no such\"}}\r\n"},
		{"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info "
		 "x\"}}",
		 "{\"return\": \"line\\r\\n\"}\r\n"},
	};
	struct monitor m;
	struct qmp *q;
	json_t *answer;
	char *text;
	int r;

	(void)state;
	START(&m, script);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), 0);
	assert_int_equal(qmp_pid(q), getpid());
	assert_int_equal(qmp_execute(q, "query-x", NULL, TIMEOUT_NS, &answer), 0);
	assert_int_equal(json_integer_value(json_object_get(answer, "a")), 5);
	json_decref(answer);
	assert_int_equal(qmp_execute(q, "bad", json_pack("{s:s}", "k", "v"), TIMEOUT_NS, NULL),
			 -EREMOTEIO);
	assert_string_equal(qmp_error(q), "CommandNotFound: no such");
	assert_int_equal(qmp_hmp(q, "info x", TIMEOUT_NS, &text), 0);
	assert_string_equal(text, "line\r\n");
	free(text);
	/* The monitor has closed the connection: this and every later call fails. */
	r = qmp_execute(q, "query-x", NULL, TIMEOUT_NS, NULL);
	/* which error it is depends on whether a read or a write notices the loss */
	assert_true(r == -ECONNRESET || r == -EPIPE);
	assert_int_equal(qmp_execute(q, "query-x", NULL, TIMEOUT_NS, NULL), r);
	assert_int_equal(qmp_pump(q), r);
	qmp_close(q);
	stop(&m);
}

static void note_event(void *arg, const char *event, const json_t *data)
{
	char *events = arg;

	strcat(events, event);
	strcat(events, json_is_true(json_object_get(data, "guest")) ? "!" : " ");
}

static void test_armed_seal(void **state)
{
	static const struct step script[] = {
		{"", GREETING},
		{CAPS, OK},
		{"{\"execute\":\"stop\"", ""},
		{"}", "{\"event\": \"STOP\"}\r\n" OK},
		{"{\"execute\":\"save\"}{\"execute\":\"cont\"", OK},
		{"}{\"execute\":\"stop\"", "{\"event\": \"RESUME\"}\r\n" OK},
		/* The client sends another command before it completes the armed command. So the
		 * armed command must not run. */
		{",\"disarmed\":0}{\"execute\":\"query-x\"}",
		 "{\"error\": {\"class\": \"GenericError\", \"desc\": \"unexpected\"}}\r\n"
		 "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}}\r\n"
		 "{\"return\": 3}\r\n"},
	};
	char events[64] = "";
	struct monitor m;
	struct qmp *q;
	json_t *answer;

	(void)state;
	START(&m, script);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), 0);
	qmp_set_event_handler(q, note_event, events);
	assert_int_equal(qmp_arm(q, QMP_STOP), 0);
	assert_int_equal(qmp_arm(q, "{\"execute\":\"stop\"}"), 0);
	assert_int_equal(qmp_arm(q, QMP_CONT), -EBUSY);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, NULL), -EINVAL);
	assert_int_equal(qmp_send_rendered(q, QMP_STOP, NULL), 0);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, NULL), 0);
	assert_int_equal(qmp_send_rendered(q, "{\"execute\":\"save\"}", QMP_CONT), 0);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, NULL), 0);
	assert_int_equal(qmp_send_rendered(q, QMP_CONT, QMP_STOP), 0);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, NULL), 0);
	assert_string_equal(events, "STOP RESUME ");
	assert_int_equal(qmp_execute(q, "query-x", NULL, TIMEOUT_NS, &answer), 0);
	assert_int_equal(json_integer_value(answer), 3);
	json_decref(answer);
	assert_string_equal(events, "STOP RESUME SHUTDOWN!");
	qmp_close(q);
	stop(&m);
}

static void test_wait_event(void **state)
{
	static const struct step script[] = {
		{"", GREETING},
		{CAPS, OK},
		{"{\"execute\":\"save\"}", "{\"event\": \"OTHER\"}\r\n{\"event\": \"STOP\"}\r\n"},
		{"{\"execute\":\"query-x\"}", OK "{\"event\": \"STOP\"}\r\n{\"return\": 2}\r\n"},
	};
	char events[64] = "";
	struct monitor m;
	struct qmp *q;
	json_t *answer;

	(void)state;
	START(&m, script);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), 0);
	qmp_set_event_handler(q, note_event, events);
	assert_int_equal(qmp_wait_event(q, "STOP", TIMEOUT_NS), -EINVAL);
	assert_int_equal(qmp_send_rendered(q, "{\"execute\":\"save\"}", NULL), 0);
	assert_int_equal(qmp_wait_event(q, "STOP", TIMEOUT_NS), 0);
	assert_string_equal(events, "OTHER STOP ");
	/* STOP was consumed by the previous wait, and no command was sent. */
	assert_int_equal(qmp_wait_event(q, "STOP", CLOCK_NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(qmp_wait_event(q, NULL, 0), -ETIMEDOUT);
	assert_int_equal(qmp_send(q, "query-x", NULL), 0);
	assert_int_equal(qmp_wait_event(q, NULL, TIMEOUT_NS), 1);
	assert_int_equal(qmp_wait_event(q, NULL, 0), 1);
	assert_int_equal(qmp_wait(q, 0, NULL), 0);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, &answer), 0);
	assert_int_equal(json_integer_value(answer), 2);
	json_decref(answer);
	qmp_close(q);
	stop(&m);
}

static void test_late_answer_is_counted_off(void **state)
{
	static const struct step script[] = {
		{"", GREETING},
		{CAPS, OK},
		{"{\"execute\":\"slow\"}", ""},
		{"{\"execute\":\"query-x\"}", "{\"return\": 1}\r\n{\"return\": 2}\r\n"},
	};
	struct monitor m;
	struct qmp *q;
	json_t *answer;

	(void)state;
	START(&m, script);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), 0);
	assert_int_equal(qmp_execute(q, "slow", NULL, CLOCK_NS_PER_MS, NULL), -ETIMEDOUT);
	assert_int_equal(qmp_execute(q, "query-x", NULL, TIMEOUT_NS, &answer), 0);
	assert_int_equal(json_integer_value(answer), 2);
	json_decref(answer);
	qmp_close(q);
	stop(&m);
}

static void test_in_flight_limit(void **state)
{
#define X "{\"execute\":\"x\"}"
	static const struct step script[] = {{"", GREETING}, {CAPS, OK}, {X X X X X X X, OK}};
	struct monitor m;
	struct qmp *q;

	(void)state;
	START(&m, script);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), 0);
	for (unsigned int i = 0; i < QMP_IN_FLIGHT_MAX - 1; i++)
		assert_int_equal(qmp_send(q, "x", NULL), 0);
	assert_int_equal(qmp_execute(q, "x", NULL, TIMEOUT_NS, NULL), -EBUSY);
	assert_int_equal(qmp_send(q, "x", NULL), 0);
	assert_int_equal(qmp_send(q, "x", NULL), -EBUSY);
	assert_int_equal(qmp_wait(q, TIMEOUT_NS, NULL), 0);
	qmp_close(q);
	stop(&m);
#undef X
}

static void test_open_errors(void **state)
{
	static const struct step no_greeting[] = {{"", "QEMU 7.2 monitor\r\n"}};
	char long_path[200];
	struct monitor m;
	struct qmp *q;

	(void)state;
	assert_int_equal(qmp_open("/nonexistent/qmp", TIMEOUT_NS, &q), -ENOENT);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(qmp_open(long_path, TIMEOUT_NS, &q), -ENAMETOOLONG);
	START(&m, no_greeting);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), -EPROTO);
	stop(&m);
	/* The monitor accepts the connection, but sends no greeting. */
	start(&m, NULL, 0);
	assert_int_equal(qmp_open(m.path, 20 * CLOCK_NS_PER_MS, &q), -EBUSY);
	close(m.listener);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &q), -ECONNREFUSED);
	m.listener = -1;
	stop(&m);
	assert_non_null(strstr(qmp_open_error(-EBUSY), "another client"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_execute),
		cmocka_unit_test(test_armed_seal),
		cmocka_unit_test(test_wait_event),
		cmocka_unit_test(test_late_answer_is_counted_off),
		cmocka_unit_test(test_in_flight_limit),
		cmocka_unit_test(test_open_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
