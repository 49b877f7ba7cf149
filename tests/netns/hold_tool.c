/* hold_tool - runs the holds of one guest, by commands from standard input, for tests and
 * measurements.
 *
 *	hold_tool VM TAPS PIN_DIR [FRAMES_MAX [BYTES_MAX [OFFLOADS]]]
 *	hold_tool VM TAPS PIN_DIR remove|shut
 *
 * TAPS is one word, with blanks in it if the guest has several taps. OFFLOADS is a number: bit i
 * says that the card on tap i has offloads. The first form opens the holds, or takes over those
 * that an earlier process left, and prints one line. Then it answers each of these commands with
 * one line. MS is a number of milliseconds.
 *	epoch N            set the number of the epoch to which new frames belong
 *	mode drop|hold|pass
 *	arrive MS          wait up to MS until a frame has arrived; leave the frame in the ring
 *	receive            read arrived frames into the hold
 *	wait N MS          read arrived frames until N frames are held, for at most MS
 *	release N          release all frames of epochs up to N
 *	serve MS           for MS, release every frame at once, as if its epoch were committed
 *	discard | stats
 *	trouble            print why released frames cannot leave, or "none"
 *	mend_now           wait until the hold can make a new release device again
 *	detach             release all held frames, remove the hold, and end
 *	close              leave the hold in mode drop, and end; end of input has the same effect
 * The second form: `remove` removes the holds that another process left; `shut` closes the hold on
 * each tap. Exit 0; 1 if the hold cannot be opened or a command failed.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/holds.h"

static const char *const mode_names[] = {"drop", "hold", "pass"};

static int index_of(const char *text, const char *const *names, int n)
{
	for (int i = 0; i < n; i++) {
		if (strcmp(text, names[i]) == 0)
			return i;
	}
	return -1;
}

/* A command. Its function gets up to two numbers (0 if left out) and the rest of the line. */
struct command {
	const char *name;
	int (*run)(struct holds *h, uint64_t a, uint64_t b, const char *text);
};

static int answer(struct holds *h, int r)
{
	if (r < 0)
		printf("error %s\n", strerror(-r));
	else
		printf("ok %d count=%u bytes=%" PRIu64 " oldest=%" PRId64 " needs_seal=%d\n", r,
		       holds_count(h), holds_bytes(h), (int64_t)holds_oldest_epoch(h),
		       holds_needs_seal(h));
	return r;
}

static int run_epoch(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	(void)b;
	(void)text;
	holds_set_epoch(h, a);
	return answer(h, 0);
}

static int run_mode(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	int mode = index_of(text, mode_names, ARRAY_SIZE(mode_names));

	(void)a;
	(void)b;
	return answer(h, mode < 0 ? -EINVAL : holds_set_mode(h, (enum hold_mode)mode));
}

/* Read frames until @n are held, or @ms have passed. hold_tool_early holds no frames, so there this
 * always takes @ms. */
static int run_wait(struct holds *h, uint64_t n, uint64_t ms, const char *text)
{
	uint64_t deadline_ns = clock_mono_ns() + ms * CLOCK_NS_PER_MS, now_ns;
	struct pollfd p = {.fd = holds_fd(h), .events = POLLIN};
	int r;

	(void)text;
	for (;;) {
		r = holds_receive(h);
		now_ns = clock_mono_ns();
		if (r < 0 || holds_count(h) >= n || now_ns >= deadline_ns)
			return answer(h, r);
		(void)poll(&p, 1, holds_is_sending(h) ? 1 : clock_poll_ms(now_ns, deadline_ns));
	}
}

/* Wait until a frame has arrived in the ring. Leave the frame in the ring. */
static int run_arrive(struct holds *h, uint64_t ms, uint64_t b, const char *text)
{
	struct pollfd p = {.fd = holds_fd(h), .events = POLLIN};

	(void)b;
	(void)text;
	return answer(h, poll(&p, 1, (int)ms) == 1 ? 0 : -ETIMEDOUT);
}

static int run_receive(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	(void)a;
	(void)b;
	(void)text;
	return answer(h, holds_receive(h));
}

static int run_release(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	uint64_t t0_ns = clock_mono_ns();
	int r = holds_release(h, a);

	(void)b;
	(void)text;
	while (r >= 0 && holds_is_sending(h)) {
		int n = holds_receive(h);

		if (n < 0)
			r = n;
	}
	fprintf(stderr, "release frames=%d ns=%" PRIu64 "\n", r, clock_mono_ns() - t0_ns);
	return answer(h, r);
}

static int run_discard(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	(void)a;
	(void)b;
	(void)text;
	holds_discard(h);
	return answer(h, 0);
}

static int run_serve(struct holds *h, uint64_t ms, uint64_t b, const char *text)
{
	uint64_t deadline_ns = clock_mono_ns() + ms * CLOCK_NS_PER_MS, now_ns;
	struct pollfd p = {.fd = holds_fd(h), .events = POLLIN};
	int total = 0, r = 0;

	(void)b;
	(void)text;
	while ((now_ns = clock_mono_ns()) < deadline_ns && r >= 0) {
		(void)poll(&p, 1, holds_is_sending(h) ? 1 : clock_poll_ms(now_ns, deadline_ns));
		holds_set_epoch(h, holds_epoch(h) + 1);
		r = holds_release(h, holds_epoch(h) - 1);
		total += r > 0 ? r : 0;
	}
	return answer(h, r < 0 ? r : total);
}

/* Wait for a second. The hold makes a new release device at most once a second, so after this wait
 * it may make the next one. */
static int run_mend_now(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	(void)a;
	(void)b;
	(void)text;
	(void)poll(NULL, 0, 1001);
	return answer(h, 0);
}

static int run_trouble(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	(void)a;
	(void)b;
	(void)text;
	printf("%s\n", *holds_trouble(h) ? holds_trouble(h) : "none");
	return 0;
}

static int run_stats(struct holds *h, uint64_t a, uint64_t b, const char *text)
{
	struct hold_stats s;
	int r = holds_stats(h, &s);

	(void)a;
	(void)b;
	(void)text;
	if (r < 0)
		return answer(h, r);
#define SHOW(name) printf(#name "=%" PRIu64 " ", (uint64_t)s.name)
	SHOW(epoch);
	SHOW(mode);
	SHOW(frames);
	SHOW(bytes);
	SHOW(frames_sent_pending);
	SHOW(received);
	SHOW(released);
	SHOW(dropped_limit_frames);
	SHOW(dropped_limit_bytes);
	SHOW(dropped_bad_stamp);
	SHOW(hold_ns_sum);
	SHOW(hold_ns_max);
	SHOW(frames_peak);
	SHOW(n_mended);
	SHOW(prog_held);
	SHOW(prog_passed);
	SHOW(prog_dropped_mode);
	SHOW(prog_dropped_no_socket);
	SHOW(prog_dropped_long);
	SHOW(prog_dropped_stamp);
	SHOW(prog_dropped_stray);
	SHOW(kernel_rx_dropped);
	SHOW(kernel_rx_ring_full);
	SHOW(kernel_rx_no_buffer);
	printf("dropped=%" PRIu64 " ", hold_dropped(&s));
	SHOW(kernel_tx_invalid);
#undef SHOW
	printf("\n");
	return 0;
}

static const struct command commands[] = {
	{"epoch", run_epoch},     {"mode", run_mode},   {"wait", run_wait},   {"stats", run_stats},
	{"release", run_release}, {"serve", run_serve}, {"discard", run_discard},
	{"mend_now", run_mend_now}, {"trouble", run_trouble},
	{"arrive", run_arrive},	  {"receive", run_receive},
};

/* Run one command. Returns 1 to continue, 0 if the hold is closed, -1 if the command failed. */
static int run_line(struct holds *h, char *line)
{
	char *at = NULL, *name = strtok_r(line, " \n", &at), *a = strtok_r(NULL, " \n", &at);
	char *b = strtok_r(NULL, " \n", &at);

	if (!name)
		return 1;
	if (strcmp(name, "detach") == 0) {
		int r = holds_detach(h);

		printf("%s\n", r < 0 ? strerror(-r) : "ok detached");
		return r < 0 ? -1 : 0;
	}
	if (strcmp(name, "close") == 0) {
		holds_close(h);
		printf("ok closed\n");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(name, commands[i].name) == 0) {
			(void)commands[i].run(h, a ? strtoull(a, NULL, 10) : 0,
					      b ? strtoull(b, NULL, 10) : 0, a ? a : "");
			return 1;
		}
	}
	printf("error unknown command %s\n", name);
	return 1;
}

static int parse(int argc, char **argv, struct tap_names *taps, struct holds_config *ret)
{
	if (argc < 4)
		return -EINVAL;
	*ret = (struct holds_config){
		.vm = argv[1],
		.taps = taps,
		.pin_dir = argv[3],
		.frames_max = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 4096,
		.bytes_max = argc > 5 ? strtoull(argv[5], NULL, 10) : UINT64_C(64) << 20,
		.offloads = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0,
	};
	return 0;
}

int main(int argc, char **argv)
{
	struct holds_config config;
	struct tap_names taps;
	struct error error;
	struct holds *h;
	char line[256];
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (log_init() < 0 || parse(argc, argv, &taps, &config) < 0) {
		fprintf(stderr, "usage: hold_tool VM TAPS PIN_DIR "
				"[FRAMES_MAX [BYTES_MAX [OFFLOADS]]]\n");
		return 2;
	}
	if (tap_names_parse(argv[2], &taps) < 0) {
		printf("error EINVAL: tap name\n");
		return 1;
	}
	if (argc == 5 && strcmp(argv[4], "remove") == 0) {
		r = holds_remove_left(config.vm, config.pin_dir);
		printf("%s\n", r < 0 ? strerrorname_np(-r) : "ok removed");
		return r < 0;
	}
	if (argc == 5 && strcmp(argv[4], "shut") == 0) {
		config.frames_max = 4096;
		r = holds_shut(&config, &error);
		printf("%s %s\n", r < 0 ? strerrorname_np(-r) : "ok shut", r < 0 ? error.text : "");
		return r < 0;
	}
	r = holds_open(&config, &h, &error);
	if (r < 0) {
		printf("error %s: %s\n", strerrorname_np(-r), error.text);
		return 1;
	}
	printf("ok open taken_over=%d mode=%s epoch=%" PRIu64 "\n", holds_is_taken_over(h),
	       mode_names[holds_mode(h)], holds_epoch(h));
	for (;;) {
		if (!fgets(line, sizeof(line), stdin)) {
			holds_close(h);
			return 0;
		}
		r = run_line(h, line);
		if (r <= 0)
			return r < 0;
	}
}
