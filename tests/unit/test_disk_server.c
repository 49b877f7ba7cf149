/* Tests the NBD server of a disk, with the real nbdkit and QEMU's own NBD client. What qemu-img and
 * qemu-io write must come out of the ring. When the server's process ends, the agent must
 * notice. */
#include "disk/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "disk_image.h"

#define DISK_BYTES (3u * 1024 * 1024 + 512)
#define RING_BYTES (8u << 20) /* room for all that one test writes */
#define WAIT_MS	   20000

extern char **environ;

struct fixture {
	char dir[64], socket[96], file[96], uri[128];
	struct disk_ring *ring;
	struct disk_server *server;
	uint8_t *image; /* the disk's content according to the ring's records */
	uint8_t *disk;	/* content of `file`, which qemu-img reads */
};

static struct disk_server_config config_of(const struct fixture *f)
{
	return (struct disk_server_config){
		.label = "vm=test disk=root",
		.socket = f->socket,
		.ring_fd = disk_ring_fd(f->ring),
		.plugin = DISK_PLUGIN,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct disk_server_config config;
	struct error error = {""};

	snprintf(f->dir, sizeof(f->dir), "/tmp/holdfast-disk.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->socket, sizeof(f->socket), "%s/nbd", f->dir);
	snprintf(f->file, sizeof(f->file), "%s/disk", f->dir);
	snprintf(f->uri, sizeof(f->uri), "nbd+unix:///?socket=%s", f->socket);
	assert_int_equal(disk_ring_new(RING_BYTES, DISK_BYTES, &f->ring, &error), 0);
	config = config_of(f);
	if (disk_server_start(&config, &f->server, &error) < 0)
		fail_msg("%s", error.text);
	f->image = calloc(1, DISK_BYTES);
	f->disk = calloc(1, DISK_BYTES);
	for (size_t i = 0; i < DISK_BYTES; i++)
		f->disk[i] = i / 65536 % 3 ? (uint8_t)(i * 31 + i / 4096) : 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_null(disk_server_stop(f->server));
	assert_int_equal(access(f->socket, F_OK), -1);
	(void)unlink(f->file);
	assert_int_equal(rmdir(f->dir), 0);
	assert_null(disk_ring_free(f->ring));
	free(f->image);
	free(f->disk);
	free(f);
	return 0;
}

/* Run a program and return its exit status. */
static int run(const char *const *argv)
{
	int status;
	pid_t pid;

	assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int qemu_io(const struct fixture *f, const char *command)
{
	const char *const argv[] = {QEMU_IO, "-f", "raw", "-c", command, f->uri, NULL};

	return run(argv);
}

static int convert(const struct fixture *f)
{
	const char *const argv[] = {QEMU_IMG, "convert", "-n",   "-f",   "raw",
				    "-O",     "raw",	 f->file, f->uri, NULL};
	int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, f->disk, DISK_BYTES), 0);
	assert_int_equal(close(fd), 0);
	return run(argv);
}

static struct disk_ring_counts counts_of(const struct fixture *f)
{
	struct disk_ring_counts counts;

	disk_ring_get_counts(f->ring, &counts);
	return counts;
}

static bool has_ended(const struct fixture *f, int timeout_ms)
{
	struct pollfd fds = {.fd = disk_server_fd(f->server), .events = POLLIN};

	return poll(&fds, 1, timeout_ms) == 1;
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes;

	assert_int_equal(convert(f), 0);
	assert_true(disk_image_apply(f->ring, f->image) > 0);
	assert_memory_equal(f->image, f->disk, DISK_BYTES);
	assert_true(counts_of(f).writes > 0);
	assert_int_equal(counts_of(f).reads, 0);
	/* Copy the same content again. The ring drops whole blocks: they have not changed. It keeps
	 * only what qemu-img writes in pieces smaller than a block. */
	bytes = counts_of(f).bytes;
	assert_int_equal(convert(f), 0);
	assert_true(disk_image_apply(f->ring, f->image) >= 0);
	assert_memory_equal(f->image, f->disk, DISK_BYTES);
	assert_true(counts_of(f).bytes - bytes < DISK_BYTES / 4);
	assert_true(counts_of(f).same_bytes > DISK_BYTES / 2);
	assert_int_equal(counts_of(f).overflows, 0);
	assert_false(has_ended(f, 0));
}

static void test_requests(void **state)
{
	struct fixture *f = *state;
	uint64_t pos;
	struct disk_record record;

	assert_int_equal(qemu_io(f, "write -P 7 1 5"), 0);
	pos = disk_ring_tail(f->ring);
	assert_int_equal(disk_ring_read(f->ring, &pos, disk_ring_head(f->ring), &record), 1);
	assert_int_equal(record.op, DISK_WRITE);
	assert_int_equal(record.offset, 1);
	assert_int_equal(record.bytes, 5);
	assert_memory_equal(record.data, "\7\7\7\7\7", 5);
	disk_ring_release(f->ring, pos);
	assert_int_equal(qemu_io(f, "write -z 64k 1M"), 0);
	assert_int_equal(disk_ring_read(f->ring, &pos, disk_ring_head(f->ring), &record), 1);
	assert_int_equal(record.op, DISK_ZERO);
	assert_int_equal(record.bytes, 1 << 20);
	assert_int_equal(counts_of(f).discards, 0);
	assert_int_equal(qemu_io(f, "flush"), 0);
	assert_true(counts_of(f).flushes > 0);
	/* A client must not read. An attempt to read fails, but ends neither the connection nor the
	 * server. */
	assert_int_not_equal(qemu_io(f, "read 0 512"), 0);
	assert_true(counts_of(f).reads > 0);
	assert_false(has_ended(f, 0));
	assert_int_equal(qemu_io(f, "write -f -z 0 64k"), 0);
	assert_int_equal(counts_of(f).connections, 5);
}

/* Make a socket and try to connect it to the server. Returns the socket, and sets *ret_connected to
 * whether the connection was accepted. */
static int try_to_connect(const struct fixture *f, bool *ret_connected)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, f->socket, strlen(f->socket));
	*ret_connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	return fd;
}

/* Connect to the server, and wait for the first bytes that NBD requires it to send. Returns the
 * socket. */
static int connect_to(const struct fixture *f)
{
	bool connected;
	int fd = try_to_connect(f, &connected);
	char hello[18];

	assert_true(connected);
	assert_int_equal(recv(fd, hello, sizeof(hello), MSG_WAITALL), sizeof(hello));
	assert_memory_equal(hello, "NBDMAGICIHAVEOPT", 16);
	return fd;
}

/* Ask for the default export (NBD_OPT_EXPORT_NAME) without trailing zeroes, and wait for the
 * answer. Returns the answer's size: 10, or 0 if the server closes the connection. */
static ssize_t enter(int fd)
{
	static const uint8_t words[] = {0,   0,	  0,   3,   'I', 'H', 'A', 'V', 'E', 'O',
					'P', 'T', 0,   0,   0,	 1,   0,   0,	0,   0};
	uint8_t answer[10];

	assert_int_equal(send(fd, words, sizeof(words), 0), sizeof(words));
	return recv(fd, answer, sizeof(answer), MSG_WAITALL);
}

static void test_one_client(void **state)
{
	struct fixture *f = *state;
	int first = connect_to(f), second = connect_to(f), third;

	assert_int_equal(enter(first), 10);
	assert_int_equal(enter(second), 0); /* 0: refused; the server waits 1 s before it refuses */
	assert_int_equal(counts_of(f).connections, 1);
	/* A third client waits until the server has noticed that the first client is gone. */
	third = connect_to(f);
	assert_int_equal(close(first), 0);
	assert_int_equal(enter(third), 10);
	assert_int_equal(counts_of(f).connections, 2);
	assert_int_equal(counts_of(f).disconnections, 1);
	close(second);
	close(third);
}

static void test_killed(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = connect_to(f);
	char byte;

	assert_int_equal(stat(f->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(has_ended(f, 0));
	assert_int_equal(pidfd_send_signal(disk_server_fd(f->server), SIGKILL, NULL, 0), 0);
	assert_true(has_ended(f, WAIT_MS));
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

/* When the process that started the server ends or is killed, the server ends too. */
static void test_lifeline(void **state)
{
	struct fixture *f = *state;
	struct disk_server_config config = config_of(f);
	struct disk_server *server;
	struct pollfd fds = {.events = POLLRDHUP};
	struct error error;
	bool connected;
	int status;
	pid_t pid;

	f->server = disk_server_stop(f->server);
	pid = fork();
	if (pid == 0) {
		if (disk_server_start(&config, &server, &error) < 0)
			_exit(1);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* The dying server's socket can still accept a connection, which is then closed soon. */
	fds.fd = try_to_connect(f, &connected);
	assert_true(!connected || poll(&fds, 1, WAIT_MS) == 1);
	close(fds.fd);
	/* The killed process could not remove the server's socket file. A new server replaces that
	 * file. */
	assert_int_equal(disk_server_start(&config, &f->server, &error), 0);
	assert_int_equal(qemu_io(f, "write 0 512"), 0);
}

/* The agent can have many GiB of memory, and a server is started while the guest is stopped. So the
 * start must not copy the agent's page tables. After such a copy, the first write to each page
 * would fault. */
static void test_start_leaves_memory_alone(void **state)
{
	const size_t bytes = 32u << 20, page_bytes = 4096;
	struct fixture *f = *state;
	struct disk_server_config config = config_of(f);
	struct rusage before, after;
	struct error error = {""};
	volatile uint8_t *memory;

	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	assert_true(memory != MAP_FAILED);
	f->server = disk_server_stop(f->server);
	assert_int_equal(disk_server_start(&config, &f->server, &error), 0);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	for (size_t i = 0; i < bytes; i += page_bytes)
		memory[i] = 1;
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	/* a sanitizer may cause some faults of its own */
	assert_true((size_t)(after.ru_minflt - before.ru_minflt) < bytes / page_bytes / 2);
	assert_int_equal(munmap((void *)memory, bytes), 0);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	struct disk_server_config config = config_of(f);
	struct disk_server *server;
	struct error error = {""};
	char line[DISK_SERVER_LINE_BYTES], long_path[200];

	f->server = disk_server_stop(f->server);
	memset(long_path, 'x', sizeof(long_path));
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = '\0';
	config.socket = long_path;
	assert_int_equal(disk_server_start(&config, &server, &error), -ENAMETOOLONG);
	assert_non_null(strstr(error.text, "run_dir"));
	config = config_of(f);
	config.plugin = "holdfast-disk.so";
	assert_int_equal(disk_server_start(&config, &server, &error), -ENOENT);
	assert_non_null(strstr(error.text, "absolute"));
	config.plugin = "/nowhere/holdfast-disk.so";
	assert_int_equal(disk_server_start(&config, &server, &error), -ENOENT);
	config = config_of(f);
	config.nbdkit = "/nowhere/nbdkit";
	assert_int_equal(disk_server_start(&config, &server, &error), -ENOENT);
	assert_non_null(strstr(error.text, "install nbdkit"));
	config.nbdkit = f->dir; /* a directory: it can be opened, but not run */
	assert_int_equal(disk_server_start(&config, &server, &error), -EACCES);
	assert_non_null(strstr(error.text, "cannot run nbdkit"));
	assert_int_equal(access(f->socket, F_OK), -1);
	/* If nbdkit itself finds an error, the last line that it prints says what is wrong. */
	config = config_of(f);
	config.ring_fd = 0;
	assert_int_equal(disk_server_start(&config, &f->server, &error), 0);
	assert_true(has_ended(f, WAIT_MS));
	do
		disk_server_last_line(f->server, line, sizeof(line));
	while (!line[0]);
	assert_non_null(strstr(line, "no ring"));
}

/* The agent's next program takes over the running server. The server keeps running, and
 * disk_server_stop() ends it. A process that is not our child is not accepted as the server. */
static void test_handed_on(void **state)
{
	static struct disk_server *given_up; /* exec frees it in the agent; nothing frees it here */
	struct fixture *f = *state;
	struct disk_server_config config = config_of(f);
	struct pollfd ended = {.events = POLLIN};
	struct error error = {""};
	int lifeline, log;
	pid_t pid;

	assert_int_equal(qemu_io(f, "write -P 0x33 0 64k"), 0);
	given_up = f->server;
	disk_server_hand_on(given_up, &pid, &lifeline, &log);
	assert_int_equal(disk_server_resume(&config, 1, lifeline, log, &f->server, &error),
			 -ESRCH);
	assert_int_equal(disk_server_resume(&config, pid, lifeline, log, &f->server, &error), 0);
	assert_int_equal(qemu_io(f, "write -P 0x44 64k 64k"), 0);
	ended.fd = disk_server_fd(f->server);
	assert_int_equal(poll(&ended, 1, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lifeline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_leaves_memory_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handed_on, setup, teardown),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
