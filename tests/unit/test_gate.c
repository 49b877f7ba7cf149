/* test_gate.c - tests the gate, which pauses the guest with a full pipe.
 *
 * A child process plays both QEMU's monitor and its main thread. It answers QMP commands. For a
 * save command, it emits STOP and writes its "devices" to the pipe in pieces. Then it emits RESUME
 * and answers. The test saves blobs of many sizes. The child records its steps in memory that it
 * shares with the test. So the test sees whether the guest "ran" while the gate had to keep it
 * stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/gate.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define BLOB_MAX   ((size_t)1 << 20)

/* Memory shared by the test and the child. */
struct shared {
	_Atomic size_t blob_size;     /* size of the next save's blob */
	_Atomic size_t piece_size;    /* bytes of each write */
	/* the byte of the blob at which one write ends early; 0: none does */
	_Atomic size_t flush_at;
	_Atomic bool refuses;	      /* the next save fails with an error */
	/* before its first write of the blob, the child sleeps in a write to another pipe */
	_Atomic bool sleeps_elsewhere;
	_Atomic bool is_saved;	      /* the child has handed the whole blob to write() */
	_Atomic bool runs;	      /* the guest runs again, after the save */
	_Atomic int write_errno;      /* error of the save's write */
};

struct fake {
	char directory[64], path[96];
	pid_t pid;
	struct qmp *qmp;
};

static struct shared *shared;
static struct error error;
static uint8_t blob[BLOB_MAX];

/* ---- the child */

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(1);
}

/* Read one complete command, and the descriptor sent with it if there is one. */
static void hear(int fd, char *text, size_t size, int *passed_fd)
{
	size_t n = 0;
	int depth = 0;

	do {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(sizeof(int))];
		} control;
		struct iovec iov = {text + n, 1};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				     .msg_controllen = sizeof(control)};

		if (n + 1 >= size || recvmsg(fd, &msg, 0) != 1)
			_exit(0); /* the test has ended */
		if (msg.msg_controllen > 0)
			memcpy(passed_fd, CMSG_DATA(&control.header), sizeof(int));
		depth += text[n] == '{' ? 1 : text[n] == '}' ? -1 : 0;
		n++;
	} while (depth > 0 || n == 1);
	text[n] = '\0';
}

static int write_piece(int fd, size_t from, size_t size)
{
	struct iovec iov[2] = {{blob + from, size / 2}, {blob + from + size / 2, size - size / 2}};
	int sides[2];

	if (atomic_load(&shared->sleeps_elsewhere) && from == 0) {
		char filler[4096] = "";

		/* Block on another pipe, which is full as the gate's pipe would be. A child process
		 * reads that pipe later. */
		if (pipe(sides) < 0 || fcntl(sides[1], F_SETPIPE_SZ, 4096) < 0)
			_exit(1);
		if (fork() == 0) {
			const struct timespec ts = {.tv_nsec = 50000000};

			nanosleep(&ts, NULL);
			(void)!read(sides[0], filler, sizeof(filler));
			_exit(0);
		}
		(void)!write(sides[1], filler, sizeof(filler));
		(void)!writev(sides[1], iov, 1);
	}
	if (from + size == atomic_load(&shared->blob_size))
		atomic_store(&shared->is_saved, true);
	while (size > 0) {
		ssize_t n = writev(fd, iov, 2);

		if (n < 0)
			return errno;
		if ((size_t)n != size)
			_exit(1);
		size = 0;
	}
	return 0;
}

static int save(const char *command)
{
	size_t size = atomic_load(&shared->blob_size), at = 0,
	       flush_at = atomic_load(&shared->flush_at);
	char path[64];
	int fd, r = 0;

	if (sscanf(strstr(command, "/proc"), "%63[^\"]", path) != 1)
		_exit(1);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0660);
	if (fd < 0)
		return errno;
	while (at < size && r == 0) {
		size_t n = atomic_load(&shared->piece_size);

		n = n < size - at ? n : size - at;
		if (at < flush_at && flush_at < at + n)
			n = flush_at - at;
		r = write_piece(fd, at, n);
		at += n;
	}
	close(fd);
	return r;
}

static void handle(int fd, const char *text, int passed_fd)
{
	char answer[128];
	int r;

	if (strstr(text, "add-fd")) {
		snprintf(answer, sizeof(answer), "{\"return\": {\"fdset-id\": 3, \"fd\": %d}}\r\n",
			 passed_fd);
		say(fd, answer);
		return;
	}
	if (!strstr(text, "save")) {
		say(fd, "{\"return\": {}}\r\n");
		return;
	}
	atomic_store(&shared->runs, false);
	atomic_store(&shared->is_saved, false);
	say(fd, "{\"event\": \"STOP\"}\r\n");
	r = atomic_load(&shared->refuses) ? EACCES : save(text);
	atomic_store(&shared->write_errno, r);
	atomic_store(&shared->runs, true);
	say(fd, "{\"event\": \"RESUME\"}\r\n");
	say(fd, r == 0 ? "{\"return\": {}}\r\n"
		       : "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no save\"}}\r\n");
}

static _Noreturn void child(int listener, bool ignores_sigpipe)
{
	int fd = accept(listener, NULL, NULL), passed_fd = -1;
	char text[512];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, ignores_sigpipe ? SIG_IGN : SIG_DFL);
	signal(SIGCHLD, SIG_IGN); /* children need no wait() */
	say(fd, "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n");
	for (;;) {
		hear(fd, text, sizeof(text), &passed_fd);
		handle(fd, text, passed_fd);
	}
}

/* ---- the tests */

static void set_up(struct fake *f, bool ignores_sigpipe)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(shared, 0, sizeof(*shared));
	shared->piece_size = GATE_PIECE_BYTES;
	shared->blob_size = 60000;
	strcpy(f->directory, "/tmp/test_gate.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/qmp", f->directory);
	strcpy(address.sun_path, f->path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	f->pid = fork();
	if (f->pid == 0)
		child(listener, ignores_sigpipe);
	close(listener);
	assert_int_equal(qmp_open(f->path, TIMEOUT_NS, &f->qmp), 0);
}

static void tear_down(struct fake *f)
{
	qmp_close(f->qmp);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	unlink(f->path);
	rmdir(f->directory);
}

static struct gate *open_gate(struct fake *f)
{
	struct gate *g = NULL;
	int r = gate_open(f->qmp, f->pid, BLOB_MAX, &g, &error);

	if (r < 0)
		print_error("gate_open: %d: %s\n", r, error.text);
	assert_int_equal(r, 0);
	return g;
}

/* Check that the guest is stopped and stays stopped for a while. */
static void assert_held(void)
{
	const struct timespec ts = {.tv_nsec = 2000000};

	assert_false(shared->runs);
	nanosleep(&ts, NULL); /* the guest must not run during this time */
	assert_false(shared->runs);
}

/* Make one save of @size bytes that must succeed. */
static void save_well(struct gate *g, size_t size)
{
	const uint8_t *got;
	size_t got_size;

	shared->blob_size = size;
	assert_int_equal(gate_arm(g), 0);
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	assert_true(shared->is_saved);
	assert_held();
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), 0);
	assert_true(shared->runs);
	assert_int_equal(got_size, size);
	assert_memory_equal(got, blob, size);
}

static void blobs_of_every_size(void **state)
{
	static const size_t sizes[] = {1,     4095,  4096,   4097,   28672,  28673,
				       32767, 32769, 40960,  60000,  65535,  65537,
				       69632, 70000, 131071, 131073, 262145, 300001};
	struct gate *g;
	struct fake f;

	(void)state;
	set_up(&f, true);
	g = open_gate(&f);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		save_well(g, sizes[i]);
	gate_close(g);
	tear_down(&f);
}

/* If a blob consists of whole pieces, its last piece looks like a piece in the middle. So the gate
 * can hold QEMU at the blob's end only if it knows the blob's size beforehand. */
static void whole_pieces(void **state)
{
	const uint8_t *got;
	size_t got_size;
	struct gate *g;
	struct fake f;

	(void)state;
	set_up(&f, true);
	/* the size of the blob in the trial save of gate_open() and in the next save */
	shared->blob_size = 2 * GATE_PIECE_BYTES;
	g = open_gate(&f);
	save_well(g, 2 * GATE_PIECE_BYTES);
	save_well(g, 100);
	/* The blob is larger than the previous one, so the gate does not hold QEMU at the blob's
	 * end. */
	shared->blob_size = 3 * GATE_PIECE_BYTES;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), -ECANCELED);
	assert_true(shared->runs);
	save_well(g, 3 * GATE_PIECE_BYTES);
	/* In this blob, one piece in the middle looks like the last piece. */
	shared->blob_size = 4 * GATE_PIECE_BYTES + 5;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	assert_false(shared->is_saved);
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), 1);
	assert_held();
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), 1);
	assert_true(shared->is_saved);
	assert_held();
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), 0);
	assert_int_equal(got_size, 4 * GATE_PIECE_BYTES + 5);
	assert_memory_equal(got, blob, got_size);
	gate_close(g);
	tear_down(&f);
}

/* A device flushes in the middle of the blob. The gate could take the short write for the end of
 * the blob. Or the rest of the blob can fit into the room that the short write leaves in the pipe.
 * In both cases the guest was not stopped at the blob's end, so gate_finish() must fail. */
static void a_flush_in_the_middle(void **state)
{
	const uint8_t *got;
	size_t got_size;
	struct gate *g;
	struct fake f;
	int r;

	(void)state;
	set_up(&f, true);
	g = open_gate(&f);
	shared->blob_size = 80000;
	shared->flush_at = 40000;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	assert_false(shared->is_saved);
	r = gate_finish(g, TIMEOUT_NS, &got, &got_size);
	assert_true(r == -EPROTO || r == -ECANCELED);
	gate_abandon(g, TIMEOUT_NS);
	assert_true(shared->runs);
	gate_close(g);
	tear_down(&f);

	set_up(&f, true);
	g = open_gate(&f);
	shared->blob_size = 41000;
	shared->flush_at = 40000;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	/* The rest of the blob fits into the room that the short write left. So the save ends
	 * before the gate can hold QEMU. */
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), -ECANCELED);
	gate_close(g);
	tear_down(&f);
}

static void another_buffer_size_is_found_out(void **state)
{
	struct gate *g = NULL;
	struct fake f;

	(void)state;
	set_up(&f, true);
	shared->piece_size = 2 * GATE_PIECE_BYTES;
	assert_int_equal(gate_open(f.qmp, f.pid, BLOB_MAX, &g, &error), -EPROTO);
	assert_null(g);
	assert_true(shared->runs);
	tear_down(&f);
}

static void refusals(void **state)
{
	const uint8_t *got;
	size_t got_size;
	struct gate *g = NULL;
	struct fake f;

	(void)state;
	set_up(&f, true);
	shared->refuses = true;
	assert_int_equal(gate_open(f.qmp, f.pid, BLOB_MAX, &g, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "no save"));
	shared->refuses = false;
	g = open_gate(&f);
	shared->refuses = true;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), -EREMOTEIO);
	gate_abandon(g, TIMEOUT_NS);
	g = gate_close(g);
	/* The blob exceeds the limit: gate_open() fails, and the guest keeps running. */
	shared->refuses = false;
	assert_int_equal(gate_open(f.qmp, f.pid, 40000, &g, &error), -EFBIG);
	assert_true(shared->runs);
	shared->blob_size = 30000;
	assert_int_equal(gate_open(f.qmp, f.pid, 40000, &g, &error), 0);
	save_well(g, 40000);
	shared->blob_size = 40001;
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_finish(g, TIMEOUT_NS, &got, &got_size), -EFBIG);
	gate_close(g);
	tear_down(&f);
	set_up(&f, false);
	assert_int_equal(gate_open(f.qmp, f.pid, BLOB_MAX, &g, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "SIGPIPE"));
	tear_down(&f);
}

/* The gate is closed in the middle of a save. The save fails, but QEMU stays alive and lets the
 * guest run. */
static void nobody_reads(void **state)
{
	struct gate *g;
	struct fake f;

	(void)state;
	set_up(&f, true);
	g = open_gate(&f);
	assert_int_equal(gate_stop(g, TIMEOUT_NS), 0);
	assert_int_equal(gate_wait_end(g, TIMEOUT_NS), 0);
	assert_held();
	gate_close(g);
	assert_true(shared->runs);
	assert_int_equal(shared->write_errno, EPIPE);
	tear_down(&f);
}

/* A main thread that sleeps in a write to another pipe does not count as held. */
static void another_sleep_is_not_taken_for_it(void **state)
{
	struct gate *g;
	struct fake f;

	(void)state;
	set_up(&f, true);
	g = open_gate(&f);
	shared->sleeps_elsewhere = true;
	save_well(g, 100);
	gate_close(g);
	tear_down(&f);
}

static void an_answer_that_does_not_come(void **state)
{
	struct gate *g;
	struct fake f;

	(void)state;
	set_up(&f, true);
	g = open_gate(&f);
	assert_int_equal(gate_arm(g), 0);
	kill(f.pid, SIGSTOP);
	assert_int_equal(gate_stop(g, 5 * CLOCK_NS_PER_MS), -ETIMEDOUT);
	gate_abandon(g, 5 * CLOCK_NS_PER_MS);
	kill(f.pid, SIGCONT);
	gate_close(g); /* waits for the save's late answer */
	assert_true(shared->runs);
	assert_int_equal(shared->write_errno, EPIPE);
	tear_down(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(blobs_of_every_size),
		cmocka_unit_test(whole_pieces),
		cmocka_unit_test(a_flush_in_the_middle),
		cmocka_unit_test(another_buffer_size_is_found_out),
		cmocka_unit_test(refusals),
		cmocka_unit_test(nobody_reads),
		cmocka_unit_test(another_sleep_is_not_taken_for_it),
		cmocka_unit_test(an_answer_that_does_not_come),
	};

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 2654435761u >> 13);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
