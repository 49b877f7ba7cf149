/* disk_sink.c - runs a disk's ring and NBD server without an engine, for test_disk_mirror.
 *
 *	disk_sink PLUGIN SOCKET QEMU_PID DISK_BYTES RING_BYTES IMAGE
 *
 * Each line of stdin is a command. The answer to each command is one line of JSON: the ring's
 * counts.
 *	apply     apply the ring's records to IMAGE and release them
 *	counts    only print the counts
 *	forget    disk_ring_forget_hashes()
 *	zero      disk_ring_assume_zero()
 *	seal      disk_ring_set_sealing(true)
 *	run       disk_ring_set_sealing(false)
 *	kill      kill the server
 *	wait      wait until the server has ended, and start it again
 * Exit: 0 at the end of stdin, 1 if anything fails; 2 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/log.h"
#include "disk/ring.h"
#include "disk/server.h"

static struct disk_ring *ring;
static struct disk_server *server;
static int image = -1;

static void must(bool holds, const char *what, const char *why)
{
	if (holds)
		return;
	fprintf(stderr, "disk_sink: %s: %s\n", what, why);
	exit(1);
}

static void apply_record(const struct disk_record *record)
{
	static const uint8_t zeroes[65536];
	uint64_t done = 0;

	while (done < record->bytes) {
		size_t n = record->bytes - done;
		const uint8_t *from = record->data ? record->data + done : zeroes;

		if (!record->data && n > sizeof(zeroes))
			n = sizeof(zeroes);
		must(pwrite(image, from, n, (off_t)(record->offset + done)) == (ssize_t)n, "image",
		     strerror(errno));
		done += n;
	}
}

static void apply(void)
{
	uint64_t pos = disk_ring_tail(ring), end = disk_ring_head(ring);
	struct disk_record record;
	int r;

	while ((r = disk_ring_read(ring, &pos, end, &record)) == 1)
		apply_record(&record);
	must(r == 0, "ring", strerror(-r));
	disk_ring_release(ring, pos);
}

static void print_counts(void)
{
	struct disk_ring_counts c;

	disk_ring_get_counts(ring, &c);
	printf("{\"connections\": %" PRIu64 ", \"disconnections\": %" PRIu64
	       ", \"writes\": %" PRIu64 ", \"zeroes\": %" PRIu64
	       ", \"discards\": %" PRIu64 ", \"flushes\": %" PRIu64
	       ", \"reads\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"same_bytes\": %" PRIu64
	       ", \"overflows\": %" PRIu64 ", \"waits\": %" PRIu64 ", \"waiting\": %" PRIu64 "}\n",
	       c.connections, c.disconnections, c.writes, c.zeroes, c.discards, c.flushes, c.reads,
	       c.bytes, c.same_bytes, c.overflows, c.waits, disk_ring_waiting(ring));
	(void)fflush(stdout);
}

static void start_server(const struct disk_server_config *config)
{
	struct error error = {""};

	must(disk_server_start(config, &server, &error) == 0, "server", error.text);
}

static void wait_end(const struct disk_server_config *config)
{
	struct pollfd fds = {.fd = disk_server_fd(server), .events = POLLIN};

	must(poll(&fds, 1, 10000) == 1, "server", "does not end");
	server = disk_server_stop(server);
	start_server(config);
}

static void command(const char *word, const struct disk_server_config *config)
{
	if (strcmp(word, "apply") == 0)
		apply();
	else if (strcmp(word, "forget") == 0)
		disk_ring_forget_hashes(ring);
	else if (strcmp(word, "zero") == 0)
		disk_ring_assume_zero(ring);
	else if (strcmp(word, "seal") == 0 || strcmp(word, "run") == 0)
		disk_ring_set_sealing(ring, word[0] == 's');
	else if (strcmp(word, "kill") == 0)
		(void)pidfd_send_signal(disk_server_fd(server), SIGKILL, NULL, 0);
	else if (strcmp(word, "wait") == 0)
		wait_end(config);
	else
		must(strcmp(word, "counts") == 0, word, "unknown command");
	print_counts();
}

int main(int argc, char **argv)
{
	struct error error = {""};
	struct disk_server_config config;
	char line[64];

	if (argc != 7) {
		fprintf(stderr,
			"usage: disk_sink PLUGIN SOCKET QEMU_PID DISK_BYTES RING_BYTES IMAGE\n");
		return 2;
	}
	(void)log_init();
	image = open(argv[6], O_RDWR | O_CLOEXEC);
	must(image >= 0, argv[6], strerror(errno));
	must(disk_ring_new(strtoull(argv[5], NULL, 10), strtoull(argv[4], NULL, 10), &ring,
			   &error) == 0,
	     "ring", error.text);
	config = (struct disk_server_config){.label = "disk=test",
					     .plugin = argv[1],
					     .socket = argv[2],
					     .qemu_pid = (pid_t)strtol(argv[3], NULL, 10),
					     .ring_fd = disk_ring_fd(ring)};
	start_server(&config);
	print_counts();
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		command(line, &config);
	}
	server = disk_server_stop(server);
	ring = disk_ring_free(ring);
	return 0;
}
