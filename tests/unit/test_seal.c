/* test_seal.c - tests a seal that uses three QMP commands, with a QEMU that answers late. The guest
 * must not stay stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "epoch/seal.h"
#include "monitor_peer.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define ADDED_FD   "{\"return\": {\"fdset-id\": 1, \"fd\": 9}}\r\n"

/* A monitor that waits for goes_on before it carries out `stop`. */
struct monitor {
	char directory[64], path[96];
	int listener;
	pthread_t thread;
	sem_t goes_on;
	/* the `stop` and `cont` commands that it has carried out, in order: "stop cont " */
	char stopped_by[64];
	bool runs;
};

static void carry_out(struct monitor *m, const char *command)
{
	bool is_stop = strstr(command, "\"stop\"") != NULL,
	     is_cont = strstr(command, "\"cont\"") != NULL;

	if (!is_stop && !is_cont)
		return;
	m->runs = is_cont;
	strncat(m->stopped_by, is_stop ? "stop " : "cont ",
		sizeof(m->stopped_by) - strlen(m->stopped_by) - 1);
}

static void *serve(void *arg)
{
	struct monitor *m = arg;
	int fd = accept(m->listener, NULL, NULL);
	bool is_alive = fd >= 0 && monitor_say(fd, MONITOR_GREETING);
	char text[512];

	while (is_alive && monitor_hear(fd, text, sizeof(text))) {
		if (strstr(text, "\"stop\""))
			sem_wait(&m->goes_on);
		carry_out(m, text);
		is_alive = monitor_say(fd, strstr(text, "add-fd") ? ADDED_FD : MONITOR_OK);
	}
	close(fd);
	return NULL;
}

static void start(struct monitor *m)
{
	memset(m, 0, sizeof(*m));
	m->runs = true;
	sem_init(&m->goes_on, 0, 0);
	strcpy(m->directory, "/tmp/test_seal.XXXXXX");
	assert_non_null(mkdtemp(m->directory));
	snprintf(m->path, sizeof(m->path), "%s/qmp", m->directory);
	m->listener = monitor_listen(m->path);
	assert_true(m->listener >= 0);
	assert_int_equal(pthread_create(&m->thread, NULL, serve, m), 0);
}

static void end(struct monitor *m)
{
	pthread_join(m->thread, NULL);
	close(m->listener);
	unlink(m->path);
	rmdir(m->directory);
	sem_destroy(&m->goes_on);
}

static void hook(void *arg, const struct seal_times *times)
{
	(void)times;
	*(bool *)arg = true;
}

static void test_a_late_stop_is_undone(void **state)
{
	struct devstate *device;
	struct seal_result result;
	struct error error;
	struct monitor m;
	struct seal *seal;
	struct qmp *qmp;
	bool is_hooked = false;

	(void)state;
	start(&m);
	assert_int_equal(qmp_open(m.path, TIMEOUT_NS, &qmp), 0);
	assert_int_equal(devstate_open(qmp, (size_t)1 << 20, &device, &error), 0);
	assert_int_equal(seal_new(qmp, NULL, NULL, device, 16, &seal), 0);
	seal_set_timeout(seal, 50 * CLOCK_NS_PER_MS);
	assert_int_equal(seal_run(seal, SEAL_KEEP, hook, &is_hooked, &result), -ETIMEDOUT);
	assert_false(is_hooked);
	sem_post(&m.goes_on); /* the monitor now carries out `stop` */
	seal_free(seal);
	devstate_close(device); /* closing waits for the answers to all earlier commands */
	qmp_close(qmp);
	end(&m);
	assert_string_equal(m.stopped_by, "stop cont ");
	assert_true(m.runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_late_stop_is_undone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
