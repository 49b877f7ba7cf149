/* test_standby_drill_guest.c - tests when the guest of a drill counts as running. One thread of
 * this process plays QEMU's monitor, another thread plays the guest's only vCPU. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "monitor_peer.h"
#include "standby/drill_guest.h"

#define TIMEOUT_NS (10 * CLOCK_NS_PER_S)

static struct {
	int listener;
	pthread_t monitor, vcpu;
	pthread_mutex_t lock; /* guards the members below */
	pthread_cond_t change;
	const char *status;   /* what QEMU answers */
	unsigned n_asked;     /* how often QEMU was asked for its status */
	/* from this query on (n_asked), QEMU answers "guest-panicked"; 0: never */
	unsigned fails_at;
	bool is_busy, has_ended;
	unsigned n_rounds;    /* how often the vCPU has used some CPU time */
	pid_t tid;	      /* the vCPU's thread; 0: not known yet */
} lab;

static struct qemu q;
static struct vcpus *vcpus;
static _Atomic bool cancel;
static struct error error;

static void answer(const char *command, char *text, size_t size)
{
	bool is_running;

	pthread_mutex_lock(&lab.lock);
	if (strstr(command, "query-status")) {
		if (++lab.n_asked == lab.fails_at)
			lab.status = "guest-panicked";
		is_running = strcmp(lab.status, "running") == 0;
		snprintf(text, size, "{\"return\": {\"running\": %s, \"status\": \"%s\"}}\r\n",
			 is_running ? "true" : "false", lab.status);
	} else if (strstr(command, "query-cpus-fast")) {
		snprintf(text, size, "{\"return\": [{\"thread-id\": %d}]}\r\n", lab.tid);
	} else {
		snprintf(text, size, "%s", MONITOR_OK);
	}
	pthread_mutex_unlock(&lab.lock);
}

static void *play_monitor(void *arg)
{
	char heard[512], text[256];
	int fd;

	(void)arg;
	while ((fd = accept(lab.listener, NULL, NULL)) >= 0) {
		bool goes_on = monitor_say(fd, MONITOR_GREETING);

		while (goes_on && monitor_hear(fd, heard, sizeof(heard))) {
			answer(heard, text, sizeof(text));
			goes_on = monitor_say(fd, text);
		}
		close(fd);
	}
	return NULL;
}

/* Use CPU time while lab.is_busy. */
static void *play_vcpu(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lab.lock);
	lab.tid = (pid_t)syscall(SYS_gettid);
	pthread_cond_broadcast(&lab.change);
	while (!lab.has_ended) {
		if (!lab.is_busy) {
			pthread_cond_wait(&lab.change, &lab.lock);
			continue;
		}
		pthread_mutex_unlock(&lab.lock);
		for (volatile int i = 0; i < 1000000; i++)
			;
		pthread_mutex_lock(&lab.lock);
		lab.n_rounds++;
		pthread_cond_broadcast(&lab.change);
	}
	pthread_mutex_unlock(&lab.lock);
	return NULL;
}

static void set_busy(bool is_busy)
{
	pthread_mutex_lock(&lab.lock);
	lab.is_busy = is_busy;
	pthread_cond_broadcast(&lab.change);
	pthread_mutex_unlock(&lab.lock);
}

static int setup(void **state)
{
	struct qmp *qmp;

	(void)state;
	memset(&lab, 0, sizeof(lab));
	pthread_mutex_init(&lab.lock, NULL);
	pthread_cond_init(&lab.change, NULL);
	lab.status = "running";
	cancel = false;
	q = (struct qemu){.pid = getpid(), .pidfd = pidfd_open(getpid(), 0), .cancel = &cancel};
	assert_true(q.pidfd >= 0);
	snprintf(q.qmp_path, sizeof(q.qmp_path), "/tmp/test_drill_guest.%d", getpid());
	lab.listener = monitor_listen(q.qmp_path);
	assert_true(lab.listener >= 0);
	assert_int_equal(pthread_create(&lab.monitor, NULL, play_monitor, NULL), 0);
	assert_int_equal(pthread_create(&lab.vcpu, NULL, play_vcpu, NULL), 0);
	pthread_mutex_lock(&lab.lock);
	while (lab.tid == 0)
		pthread_cond_wait(&lab.change, &lab.lock);
	pthread_mutex_unlock(&lab.lock);
	assert_int_equal(qmp_open(q.qmp_path, TIMEOUT_NS, &qmp), 0);
	assert_int_equal(vcpus_open(qmp, q.pid, &vcpus, &error), 0);
	qmp_close(qmp);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pthread_mutex_lock(&lab.lock);
	lab.has_ended = true;
	pthread_cond_broadcast(&lab.change);
	pthread_mutex_unlock(&lab.lock);
	pthread_join(lab.vcpu, NULL);
	shutdown(lab.listener, SHUT_RDWR);
	pthread_join(lab.monitor, NULL);
	close(lab.listener);
	unlink(q.qmp_path);
	close(q.pidfd);
	vcpus_close(vcpus);
	return 0;
}

static void test_runs(void **state)
{
	(void)state;
	set_busy(true);
	assert_int_equal(drill_guest_runs(&q, vcpus, TIMEOUT_NS, &error), 0);
	assert_int_equal(lab.n_asked, 2);
}

/* QEMU has answered `cont`, but reports a state in which the guest does not run. So the guest does
 * not count as running, although its vCPU uses CPU time. */
static void test_other_states(void **state)
{
	static const char *const states[] = {"internal-error", "guest-panicked", "io-error",
					     "paused"};

	(void)state;
	set_busy(true);
	for (size_t i = 0; i < 4; i++) {
		lab.status = states[i];
		assert_int_equal(drill_guest_runs(&q, vcpus, TIMEOUT_NS, &error), -EIO);
		assert_non_null(strstr(error.text, "the guest does not run: QEMU's state is "));
		assert_non_null(strstr(error.text, states[i]));
	}
}

/* The guest panics while its vCPU is being watched. So it does not count as running. */
static void test_panics_meanwhile(void **state)
{
	(void)state;
	set_busy(true);
	lab.fails_at = 2;
	assert_int_equal(drill_guest_runs(&q, vcpus, TIMEOUT_NS, &error), -EIO);
	assert_non_null(strstr(error.text, "guest-panicked"));
}

/* Does the vCPU's thread sleep? */
static bool is_asleep(void)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", lab.tid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state == 'S';
}

/* The guest ran before and stands still now. The CPU time that it used before must not count. */
static void test_ran_before(void **state)
{
	(void)state;
	pthread_mutex_lock(&lab.lock);
	lab.is_busy = true;
	pthread_cond_broadcast(&lab.change);
	while (lab.n_rounds == 0)
		pthread_cond_wait(&lab.change, &lab.lock);
	lab.is_busy = false;
	pthread_mutex_unlock(&lab.lock);
	while (!is_asleep())
		sched_yield();
	assert_int_equal(drill_guest_runs(&q, vcpus, 0, &error), -ETIMEDOUT);
	assert_string_equal(error.text, "its vCPUs do not run");
}

static void test_monitor_is_gone(void **state)
{
	(void)state;
	unlink(q.qmp_path);
	assert_int_equal(drill_guest_runs(&q, vcpus, TIMEOUT_NS, &error), -ENOENT);
	assert_non_null(strstr(error.text, "QEMU does not say whether the guest runs"));
}

static void test_cancel(void **state)
{
	(void)state;
	cancel = true;
	assert_int_equal(drill_guest_runs(&q, vcpus, TIMEOUT_NS, &error), -ECANCELED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_panics_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ran_before, setup, teardown),
		cmocka_unit_test_setup_teardown(test_monitor_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
