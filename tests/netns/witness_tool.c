/* witness_tool - runs one witness, by commands from standard input, for tests.
 *
 *	witness_tool VM TAPS PIN_DIR HOLD_PIN_DIR GATEWAY INTERVAL_US [remove]
 *
 * TAPS is one word, with blanks in it if the guest has several taps. With `remove` the tool only
 * removes a witness that another process left. Without `remove` it opens the witness, or takes over
 * the witness that an earlier process left, and prints one line. Then it answers each command with
 * one line:
 *	key ID PORT HEX32 [CLIENT_ADDRESS]
 *	refresh
 *	stats
 *	close      remove the witness, and end
 *	leave      end, but the kernel still sends datagrams; end of input has the same effect
 * `key` and `refresh` print one result for the path through the backup network. If CLIENT_ADDRESS
 * was given, they print a second result, for the path through the client network. Exit 0; 1 if the
 * witness cannot be opened or a command failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/witness_mirror.h"

static int answer(int r)
{
	if (r < 0)
		printf("error %s\n", strerrorname_np(-r));
	else
		printf("ok\n");
	return r;
}

/* Refresh the witness and print one result per path. There is a second path, through the client
 * network, only if CLIENT_ADDRESS was given. */
static void run_refresh(struct witness_mirror *w)
{
	struct witness_mirror_stats s;
	int ways[WITNESS_N_PATHS];

	witness_mirror_refresh(w, ways);
	witness_mirror_stats(w, &s);
	for (int i = 0; i < WITNESS_N_PATHS; i++) {
		if (i == WITNESS_BACKUP || s.is_wanted[i])
			printf("%s%s%s", i ? " " : "", ways[i] < 0 ? "error " : "ok",
			       ways[i] < 0 ? strerrorname_np(-ways[i]) : "");
	}
	printf("\n");
}

static void run_key(struct witness_mirror *w, const char *id, const char *port, const char *hex,
		    const char *client)
{
	uint8_t key[WITNESS_KEY_SIZE];
	struct in_addr address = {0};
	int r = client && inet_pton(AF_INET, client, &address) != 1 ? -EINVAL : 0;

	for (size_t i = 0; i < sizeof(key); i++) {
		if (sscanf(hex + 2 * i, "%2hhx", &key[i]) != 1)
			r = -EINVAL;
	}
	if (r == 0)
		r = witness_mirror_set_key(w, (uint32_t)strtoul(id, NULL, 10),
					   (uint16_t)strtoul(port, NULL, 10), key, address.s_addr);
	if (r < 0)
		(void)answer(r);
	else
		run_refresh(w);
}

static void run_stats(const struct witness_mirror *w)
{
	struct witness_mirror_stats s;

	witness_mirror_stats(w, &s);
	printf("key_id=%u is_enabled=%d to_guest=%" PRIu64 " sampled=%" PRIu64 " sent=%" PRIu64
	       " failed=%" PRIu64 " sequence=%" PRIu64 " client_sent=%" PRIu64
	       " client_failed=%" PRIu64 " client_sequence=%" PRIu64 "\n",
	       s.key_id, s.is_enabled, s.to_guest, s.sampled, s.sent[WITNESS_BACKUP],
	       s.failed_clone + s.failed[WITNESS_BACKUP], s.sequence[WITNESS_BACKUP],
	       s.sent[WITNESS_CLIENT], s.failed[WITNESS_CLIENT], s.sequence[WITNESS_CLIENT]);
}

/* Run one command. Returns 1 to continue, 0 when done. */
static int run_line(struct witness_mirror *w, char *line)
{
	char *at = NULL, *name = strtok_r(line, " \n", &at), *id = strtok_r(NULL, " \n", &at);
	char *port = strtok_r(NULL, " \n", &at), *hex = strtok_r(NULL, " \n", &at);

	if (!name)
		return 1;
	if (strcmp(name, "close") == 0) {
		(void)answer(witness_mirror_close(w));
		return 0;
	}
	if (strcmp(name, "leave") == 0) {
		witness_mirror_leave(w);
		return answer(0);
	}
	if (strcmp(name, "key") == 0 && hex)
		run_key(w, id, port, hex, strtok_r(NULL, " \n", &at));
	else if (strcmp(name, "refresh") == 0)
		run_refresh(w);
	else if (strcmp(name, "stats") == 0)
		run_stats(w);
	else
		printf("error unknown command %s\n", name);
	return 1;
}

int main(int argc, char **argv)
{
	struct witness_mirror_config config;
	struct tap_names taps;
	struct error error;
	struct witness_mirror *w;
	struct in_addr gateway;
	char line[256];
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (log_init() < 0 || argc < 7 || inet_pton(AF_INET, argv[5], &gateway) != 1 ||
	    tap_names_parse(argv[2], &taps) < 0) {
		fprintf(stderr,
			"usage: witness_tool VM TAP PIN_DIR HOLD_PIN_DIR GATEWAY INTERVAL_US "
			"[remove]\n");
		return 2;
	}
	config = (struct witness_mirror_config){
		.vm = argv[1],
		.taps = &taps,
		.pin_dir = argv[3],
		.hold_pin_dir = argv[4],
		.gateway_be32 = gateway.s_addr,
		.interval_ns = strtoull(argv[6], NULL, 10) * 1000,
	};
	if (argc > 7)
		return answer(witness_mirror_remove_left(config.vm, config.taps, config.pin_dir)) <
		       0;
	r = witness_mirror_open(&config, &w, &error);
	if (r < 0) {
		printf("error %s: %s\n", strerrorname_np(-r), error.text);
		return 1;
	}
	printf("ok open taken_over=%d\n", witness_mirror_is_taken_over(w));
	do {
		if (!fgets(line, sizeof(line), stdin)) {
			witness_mirror_leave(w);
			return 0;
		}
	} while (run_line(w, line));
	return 0;
}
