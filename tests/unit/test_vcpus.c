/* test_vcpus.c - tests stopping and resuming vCPU threads. A child process plays QEMU's threads,
 * and a thread of the test plays its monitor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/vcpus.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define GREETING   "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define N_THREADS  3

/* Memory shared with the child. */
struct stage {
	_Atomic pid_t tid[N_THREADS];
	_Atomic uint64_t count[N_THREADS];
	_Atomic uint64_t n_signals;
};

struct scene {
	struct stage *stage;
	pid_t pid;
	struct qmp *qmp;
	struct vcpus *vcpus;
};

static struct stage *child_stage;

static void on_signal(int signal)
{
	(void)signal;
	child_stage->n_signals++;
}

static void *count(void *arg)
{
	size_t i = (size_t)(uintptr_t)arg;
	const struct timespec nap = {.tv_nsec = 100000};

	child_stage->tid[i] = (pid_t)syscall(SYS_gettid);
	for (;;) {
		child_stage->count[i]++;
		nanosleep(&nap, NULL);
	}
	return NULL;
}

static void play_guest(struct stage *stage)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	child_stage = stage;
	signal(SIGUSR1, on_signal);
	for (size_t i = 1; i < N_THREADS; i++)
		pthread_create(&thread, NULL, count, (void *)(uintptr_t)i);
	count(NULL);
}

/* A thread that plays the monitor. It replies to the second command with `answer`. */
struct monitor {
	int listener;
	char answer[512];
};

static void *play_monitor(void *arg)
{
	const char *say[] = {GREETING, "{\"return\": {}}\r\n", ((struct monitor *)arg)->answer};
	int fd = accept(((struct monitor *)arg)->listener, NULL, NULL);
	char heard[512];

	for (size_t i = 0; i < 3; i++) {
		if (i > 0 && read(fd, heard, sizeof(heard)) <= 0)
			break;
		if (write(fd, say[i], strlen(say[i])) < 0)
			break;
	}
	(void)read(fd, heard, sizeof(heard)); /* returns when the client closes the connection */
	close(fd);
	return NULL;
}

static int open_vcpus(struct scene *scene, const char *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct monitor monitor;
	struct error error;
	pthread_t thread;
	int r;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test_vcpus.%d", getpid());
	monitor.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(monitor.answer, sizeof(monitor.answer), "{\"return\": %s}\r\n", answer);
	assert_int_equal(bind(monitor.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(monitor.listener, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, play_monitor, &monitor), 0);
	r = qmp_open(address.sun_path, TIMEOUT_NS, &scene->qmp);
	unlink(address.sun_path);
	assert_int_equal(r, 0);
	r = vcpus_open(scene->qmp, scene->pid, &scene->vcpus, &error);
	scene->qmp = qmp_close(scene->qmp);
	pthread_join(thread, NULL);
	close(monitor.listener);
	return r;
}

/* Wait until @is_true, for at most five seconds. */
#define UNTIL(is_true)                                                                             \
	do {                                                                                       \
		uint64_t end_ns_ = clock_mono_ns() + TIMEOUT_NS;                                   \
		while (!(is_true)) {                                                               \
			assert_true(clock_mono_ns() < end_ns_);                                    \
			sched_yield();                                                             \
		}                                                                                  \
	} while (0)

static struct scene begin(void)
{
	struct scene scene = {0};
	char answer[256];

	scene.stage = mmap(NULL, sizeof(*scene.stage), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(scene.stage != MAP_FAILED);
	scene.pid = fork();
	assert_true(scene.pid >= 0);
	if (scene.pid == 0)
		play_guest(scene.stage);
	for (size_t i = 0; i < N_THREADS; i++)
		UNTIL(scene.stage->tid[i] > 0);
	/* Thread 2 is listed twice, because QEMU lists a thread once for each vCPU that it runs.
	 * Thread 0 is not a vCPU. */
	snprintf(answer, sizeof(answer),
		 "[{\"thread-id\": %d}, {\"thread-id\": %d}, {\"thread-id\": %d}]",
		 scene.stage->tid[1], scene.stage->tid[2], scene.stage->tid[2]);
	assert_int_equal(open_vcpus(&scene, answer), 0);
	return scene;
}

static void end(struct scene *scene)
{
	kill(scene->pid, SIGKILL);
	waitpid(scene->pid, NULL, 0);
	vcpus_close(scene->vcpus);
	munmap(scene->stage, sizeof(*scene->stage));
}

static bool is_stopped(const struct scene *scene, size_t i)
{
	char path[64], text[1024];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", scene->pid, scene->stage->tid[i]);
	file = fopen(path, "re");
	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = '\0';
	return strstr(text, "\nState:\tt") != NULL;
}

static void expect_running(const struct scene *scene)
{
	for (size_t i = 0; i < N_THREADS; i++) {
		uint64_t before = scene->stage->count[i];

		UNTIL(scene->stage->count[i] > before);
		assert_false(is_stopped(scene, i));
	}
}

static void they_stand_still_and_go_on(void **state)
{
	struct scene scene = begin();
	uint64_t before;

	(void)state;
	for (int n = 0; n < 20; n++) {
		assert_int_equal(vcpus_stop(scene.vcpus), 0);
		UNTIL(is_stopped(&scene, 1) && is_stopped(&scene, 2));
		assert_int_equal(vcpus_stop(scene.vcpus), 0); /* stopping twice is harmless */
		before = scene.stage->count[1];
		UNTIL(scene.stage->count[0] > 0); /* the other threads keep running */
		assert_false(is_stopped(&scene, 0));
		assert_int_equal(scene.stage->count[1], before);
		assert_int_equal(vcpus_resume(scene.vcpus), 0);
		assert_int_equal(vcpus_resume(scene.vcpus), 0); /* twice is harmless */
		expect_running(&scene);
	}
	end(&scene);
}

/* A resume that comes before all threads have stopped must leave no thread stopped. */
static void they_go_on_at_once(void **state)
{
	struct scene scene = begin();

	(void)state;
	for (int n = 0; n < 200; n++) {
		assert_int_equal(vcpus_stop(scene.vcpus), 0);
		UNTIL(vcpus_resume(scene.vcpus) == 0);
	}
	expect_running(&scene);
	end(&scene);
}

static void signals_are_not_lost(void **state)
{
	struct scene scene = begin();

	(void)state;
	for (uint64_t n = 1; n <= 50; n++) {
		/* Send signals both before the stop and during it. */
		if (n % 2)
			syscall(SYS_tgkill, scene.pid, scene.stage->tid[1], SIGUSR1);
		assert_int_equal(vcpus_stop(scene.vcpus), 0);
		if (n % 2 == 0)
			syscall(SYS_tgkill, scene.pid, scene.stage->tid[1], SIGUSR1);
		UNTIL(vcpus_resume(scene.vcpus) == 0);
		UNTIL(scene.stage->n_signals == n);
	}
	end(&scene);
}

static void *stop_and_die(void *arg)
{
	struct scene *scene = arg;

	if (vcpus_stop(scene->vcpus) == 0)
		while (!is_stopped(scene, 1) || !is_stopped(scene, 2))
			sched_yield();
	return NULL;
}

/* The kernel resumes traced threads when their tracer ends. So if an agent dies, its guest does not
 * stay stopped. */
static void they_outlive_who_stopped_them(void **state)
{
	struct scene scene = begin();
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_and_die, &scene), 0);
	pthread_join(thread, NULL);
	UNTIL(!is_stopped(&scene, 1) && !is_stopped(&scene, 2));
	expect_running(&scene);
	end(&scene);
}

static void a_guest_that_ends_is_no_error(void **state)
{
	struct scene scene = begin();

	(void)state;
	assert_int_equal(vcpus_stop(scene.vcpus), 0);
	kill(scene.pid, SIGKILL);
	UNTIL(vcpus_resume(scene.vcpus) == 0);
	waitpid(scene.pid, NULL, 0);
	assert_int_equal(vcpus_stop(scene.vcpus), 0);
	assert_int_equal(vcpus_resume(scene.vcpus), 0);
	end(&scene);
}

static void *hold_the_second(void *arg)
{
	struct stage *stage = ((struct scene *)arg)->stage;
	long r = ptrace(PTRACE_SEIZE, stage->tid[2], NULL, NULL);

	stage->n_signals = r == 0 ? 1 : 3;
	while (stage->n_signals == 1)
		sched_yield();
	return NULL;
}

static void a_debugger_is_told(void **state)
{
	struct scene scene = begin();
	pthread_t debugger;

	(void)state;
	assert_int_equal(pthread_create(&debugger, NULL, hold_the_second, &scene), 0);
	UNTIL(scene.stage->n_signals > 0);
	assert_int_equal(scene.stage->n_signals, 1);
	assert_int_equal(vcpus_stop(scene.vcpus), -EPERM);
	UNTIL(vcpus_resume(scene.vcpus) == 0);
	expect_running(&scene);
	scene.stage->n_signals = 2; /* this makes the debugger end */
	pthread_join(debugger, NULL);
	/* the joined debugger thread can still exist in the kernel */
	UNTIL(vcpus_stop(scene.vcpus) == 0);
	UNTIL(vcpus_resume(scene.vcpus) == 0);
	end(&scene);
}

static void nonsense_is_refused(void **state)
{
	struct scene scene = {0};

	(void)state;
	assert_int_equal(open_vcpus(&scene, "[]"), -EPROTO);
	assert_int_equal(open_vcpus(&scene, "[{\"thread-id\": \"x\"}]"), -EPROTO);
	assert_int_equal(open_vcpus(&scene, "{\"thread-id\": 5}"), -EPROTO);
	/* thread 1 does not belong to this process, so it must never be stopped */
	scene.pid = getpid();
	assert_int_equal(open_vcpus(&scene, "[{\"thread-id\": 1}]"), -ENOENT);
	assert_null(scene.vcpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_stand_still_and_go_on),
		cmocka_unit_test(they_go_on_at_once),
		cmocka_unit_test(signals_are_not_lost),
		cmocka_unit_test(they_outlive_who_stopped_them),
		cmocka_unit_test(a_guest_that_ends_is_no_error),
		cmocka_unit_test(a_debugger_is_told),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
