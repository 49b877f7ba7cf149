/* encode_meter.c - measures how fast the whole encoder is with different numbers of threads, and
 * how much it slows a guest.
 *
 * It calls the encoder as the engine does, and measures the wall time from encoder_begin() to
 * encoder_end(). The pages of an epoch are the new pages of a pair file. The reference store has
 * the old pages. Frames go into a backlog that always has room, and are dropped after the epoch.
 *
 * What makes a result worthless:
 * - other load on the machine (only the spread in --json shows it): use chrt -f 10 if possible;
 * - pairs that fit in a cache (--working-set);
 * - more threads than free cores;
 * - generated pairs in place of recorded pairs.
 *
 * --busy adds load on purpose: processes that compute without a pause, in place of a guest's vCPUs.
 * Do not use chrt with --busy: only the encoder would have real-time priority.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/page.h"
#include "epoch/encoder.h"
#include "epoch/workers.h"
#include "page_patterns.h"
#include "wire/frame.h"
#include "wire/limits.h"

#define PAIR_BYTES	(2 * PAGE_BYTES)
#define BACKLOG_BYTES	((size_t)1 << 30)
#define RUNS_MAX	99u
#define CASES_MAX	8u
#define BUSY_MAX	16u
#define BUSY_SAMPLE_NS	UINT64_C(200000000)

struct options {
	const char *pairs;
	const char *json; /* file for JSON; NULL: none; "-": stdout */
	size_t working_set_bytes;
	uint32_t epoch_pages;
	uint32_t threads[CASES_MAX / 2];
	uint32_t n_threads;
	uint32_t runs;
	uint32_t n_busy;
};

/* The guest's pages: the old and the new version of page i are a copy of pair i % n_pairs of the
 * file. @order has all pages in random order. An epoch contains the next pages of this list. */
struct data {
	uint32_t n_pages;
	uint8_t *old; /* old pages, by page number */
	uint8_t *new; /* new pages in the order of @order, as a seal would copy them */
	struct page_range *all;	  /* one range with every page */
	struct page_range *order; /* n_pages ranges of one page each */
};

/* One measured case: a number of threads, with or without the second stage. */
struct run_case {
	uint32_t n_threads;
	bool is_packed;
	struct retain *retain;
	struct encoder *encoder;
	uint64_t epoch;
	double gbps[RUNS_MAX], cpu_ns[RUNS_MAX], guest[RUNS_MAX]; /* figures of each run */
	uint64_t n_records, plain_bytes, sent_bytes;		  /* counts of the last run */
};

/* The processes that run in place of vCPUs (--busy). Each counts its work in shared memory. */
static _Atomic uint64_t *busy_work;
static pid_t busy_pids[BUSY_MAX];

static void die(const char *what, const char *why)
{
	fprintf(stderr, "encode_meter: %s: %s\n", what, why);
	exit(1);
}

static void *allocate(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("memory", strerror(errno));
	return p;
}

static void load(const struct options *options, struct data *data)
{
	FILE *file = fopen(options->pairs, "rb");
	uint8_t pair[PAIR_BYTES];
	uint64_t random = 1;
	uint32_t n = 0;

	if (!file)
		die(options->pairs, strerror(errno));
	data->n_pages = (uint32_t)(options->working_set_bytes / PAIR_BYTES);
	data->old = allocate((size_t)data->n_pages * PAGE_BYTES);
	data->new = allocate((size_t)data->n_pages * PAGE_BYTES);
	data->all = allocate(sizeof(*data->all));
	data->order = allocate(data->n_pages * sizeof(*data->order));
	*data->all = (struct page_range){0, data->n_pages};
	for (uint32_t i = 0; i < data->n_pages; i++)
		data->order[i] = (struct page_range){i, 1};
	for (uint32_t i = data->n_pages - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(pattern_random(&random) % (i + 1));
		struct page_range other = data->order[j];

		data->order[j] = data->order[i];
		data->order[i] = other;
	}
	/* The new pages are stored in the order of the list. Find each page's place in the list. */
	uint32_t *place = allocate(data->n_pages * sizeof(*place));

	for (uint32_t i = 0; i < data->n_pages; i++)
		place[data->order[i].first_page] = i;
	while (n < data->n_pages) {
		if (fread(pair, sizeof(pair), 1, file) != 1) {
			if (n == 0)
				die(options->pairs, "not a pair file");
			rewind(file);
			continue;
		}
		memcpy(data->old + (size_t)n * PAGE_BYTES, pair, PAGE_BYTES);
		memcpy(data->new + (size_t)place[n] * PAGE_BYTES, pair + PAGE_BYTES, PAGE_BYTES);
		n++;
	}
	fclose(file);
}

/* Encode one epoch as the engine does, but without a link. */
static void encode(struct run_case *c, bool is_full, struct encoder_cursor cursor)
{
	struct pollfd fd = {.fd = encoder_fd(c->encoder), .events = POLLIN};
	uint8_t blob[PAGE_BYTES] = {0};
	int r;

	c->epoch++;
	r = encoder_begin(c->encoder, c->epoch, c->epoch - 1, is_full ? WIRE_FLAG_FULL : 0);
	while (r == 0 && (r = encoder_pages(c->encoder, &cursor)) != 0) {
		if (r == -EAGAIN)
			(void)poll(&fd, 1, 1000); /* a failure does not matter:
						   * the loop tries again */
		if (r == 1 || r == -EAGAIN)
			r = 0;
	}
	if (r == 0)
		r = encoder_device(c->encoder, blob, sizeof(blob));
	if (r == 0)
		r = encoder_end(c->encoder);
	if (r < 0)
		die("encoder", strerror(-r));
}

static void open_case(struct run_case *c, const struct data *data, uint32_t n_threads,
		      bool is_packed)
{
	int r;

	c->n_threads = n_threads;
	c->is_packed = is_packed;
	r = retain_new(WIRE_PAYLOAD_MAX, BACKLOG_BYTES, &c->retain);
	if (r == 0)
		r = encoder_new(data->n_pages, data->n_pages, n_threads, c->retain, &c->encoder);
	if (r < 0)
		die("encoder", strerror(-r));
	encoder_set_features(c->encoder, PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP);
	encoder_set_second_stage(c->encoder, is_packed);
}

/* Fill the reference with the old pages, as a FULL epoch does. */
static void restore(struct run_case *c, const struct data *data)
{
	encode(c, true, (struct encoder_cursor){.ranges = data->all, .n_ranges = 1,
						.pages = data->old});
	retain_drop_all(c->retain);
}

static uint64_t process_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t busy_sum(const struct options *options)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < options->n_busy; i++)
		sum += atomic_load(&busy_work[i * 8]);
	return sum;
}

static void measure(struct run_case *c, const struct options *options, const struct data *data,
		    uint32_t run)
{
	uint64_t wall_ns = 0, cpu_ns, work, began_ns;
	struct encoder_counts before, after;
	uint64_t n_records = 0, sent_bytes = 0;

	restore(c, data);
	encoder_get_counts(c->encoder, &before);
	began_ns = clock_mono_ns();
	cpu_ns = process_cpu_ns();
	work = busy_sum(options);
	for (uint32_t i = 0; i < data->n_pages; i += options->epoch_pages) {
		uint32_t left = data->n_pages - i;
		uint64_t start_ns = clock_mono_ns();

		encode(c, false,
		       (struct encoder_cursor){.ranges = data->order + i,
					       .n_ranges = left < options->epoch_pages
								   ? left
								   : options->epoch_pages,
					       .pages = data->new + (size_t)i *PAGE_BYTES});
		wall_ns += clock_mono_ns() - start_ns;
		encoder_get_counts(c->encoder, &after);
		n_records += after.n_epoch_pages;
		sent_bytes += after.epoch_bytes;
		retain_drop(c->retain, c->epoch);
	}
	c->guest[run] = (double)(busy_sum(options) - work) / (double)(clock_mono_ns() - began_ns);
	c->cpu_ns[run] = (double)(process_cpu_ns() - cpu_ns) / data->n_pages;
	c->gbps[run] = (double)data->n_pages * PAGE_BYTES / (double)wall_ns;
	c->n_records = n_records;
	c->sent_bytes = sent_bytes;
	c->plain_bytes = after.packing.plain_bytes - before.packing.plain_bytes;
}

static void start_busy(const struct options *options)
{
	const struct sched_param param = {0};

	busy_work = allocate(BUSY_MAX * 64);
	for (uint32_t i = 0; i < options->n_busy; i++) {
		pid_t parent = getpid();

		busy_pids[i] = fork();
		if (busy_pids[i] < 0)
			die("fork", strerror(errno));
		if (busy_pids[i] > 0)
			continue;
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
		    sched_setscheduler(0, SCHED_OTHER, &param) < 0)
			_exit(1);
		for (;;) {
			for (volatile uint32_t k = 0; k < 10000; k = k + 1)
				;
			atomic_fetch_add(&busy_work[i * 8], 1);
		}
	}
}

static void stop_busy(const struct options *options)
{
	for (uint32_t i = 0; i < options->n_busy; i++) {
		(void)kill(busy_pids[i], SIGKILL); /* safe: our own child, not reaped yet */
		(void)waitpid(busy_pids[i], NULL, 0);
	}
}

/* Returns the speed of the busy processes while nothing is encoded. */
static double busy_alone(const struct options *options)
{
	const struct timespec ts = {.tv_nsec = BUSY_SAMPLE_NS};
	uint64_t work = busy_sum(options), start_ns = clock_mono_ns();

	if (options->n_busy == 0)
		return 0;
	/* may end early: the speed is computed from the measured time */
	(void)nanosleep(&ts, NULL);
	return (double)(busy_sum(options) - work) / (double)(clock_mono_ns() - start_ns);
}

static int by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double quantile(const double *values, uint32_t n, double q)
{
	double sorted[RUNS_MAX];

	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return sorted[(size_t)(q * (n - 1) + 0.5)];
}

static void report_text(const struct options *o, const struct data *data,
			const struct run_case *cases, uint32_t n_cases, double alone)
{
	printf("%u pages in epochs of %u, median of %u runs (lowest - highest), busy processes: "
	       "%u\n",
	       data->n_pages, o->epoch_pages, o->runs, o->n_busy);
	printf("threads stage     GB/s of pages           CPU us/page   ratio%s\n",
	       o->n_busy ? "   guest's speed" : "");
	for (uint32_t i = 0; i < n_cases; i++) {
		const struct run_case *c = &cases[i];

		printf("%7u %-5s %8.2f (%.2f - %.2f) %10.2f %11.4f", c->n_threads,
		       c->is_packed ? "lz4" : "off", quantile(c->gbps, o->runs, 0.5),
		       quantile(c->gbps, o->runs, 0), quantile(c->gbps, o->runs, 1),
		       quantile(c->cpu_ns, o->runs, 0.5) / 1e3,
		       (double)c->sent_bytes / ((double)data->n_pages * PAGE_BYTES));
		if (o->n_busy)
			printf("   %.2f of its own", quantile(c->guest, o->runs, 0.5) / alone);
		printf("\n");
	}
}

static void report_json(FILE *out, const struct options *o, const struct data *data,
			const struct run_case *cases, uint32_t n_cases, double alone, bool is_same)
{
	fprintf(out,
		"{\"pages\":%u,\"epoch_pages\":%u,\"runs\":%u,\"busy\":%u,\"cpus\":%ld,"
		"\"same_records\":%s,\"cases\":[",
		data->n_pages, o->epoch_pages, o->runs, o->n_busy, sysconf(_SC_NPROCESSORS_ONLN),
		is_same ? "true" : "false");
	for (uint32_t i = 0; i < n_cases; i++) {
		const struct run_case *c = &cases[i];

		fprintf(out,
			"%s{\"threads\":%u,\"stage\":\"%s\",\"encode_gbps\":%.3f,"
			"\"lowest_gbps\":%.3f,"
			"\"highest_gbps\":%.3f,\"cpu_ns_per_page\":%.0f,\"ratio\":%.5f",
			i ? "," : "", c->n_threads, c->is_packed ? "lz4" : "off",
			quantile(c->gbps, o->runs, 0.5), quantile(c->gbps, o->runs, 0),
			quantile(c->gbps, o->runs, 1), quantile(c->cpu_ns, o->runs, 0.5),
			(double)c->sent_bytes / ((double)data->n_pages * PAGE_BYTES));
		if (o->n_busy)
			fprintf(out, ",\"guest_share\":%.3f",
				quantile(c->guest, o->runs, 0.5) / alone);
		fprintf(out, "}");
	}
	fprintf(out, "]}\n");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: encode --pairs FILE [--threads N,N...] [--epoch-pages N] [--runs N] "
		"[--busy N]\n"
		"              [--working-set MIB] [--json [FILE]]\n"
		"FILE: 4096 bytes old page, 4096 bytes new page, repeated (codec --generate, trace "
		"record).\n"
		"--threads: at most %u numbers; default 1,2. --busy: this many processes compute "
		"meanwhile.\n"
		"--json without FILE: JSON alone on stdout.\n",
		CASES_MAX / 2);
	return 2;
}

static uint32_t number(const char *text, char **end, uint32_t min, uint32_t max)
{
	unsigned long value = strtoul(text, end, 10);

	if (*end == text || value < min || value > max)
		exit(usage());
	return (uint32_t)value;
}

static void parse_threads(const char *text, struct options *o)
{
	char *end;

	o->n_threads = 0;
	do {
		if (o->n_threads == CASES_MAX / 2)
			exit(usage());
		o->threads[o->n_threads++] = number(text, &end, 1, WORKERS_THREADS_MAX);
		text = end + 1;
	} while (*end == ',');
	if (*end)
		exit(usage());
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{"pairs", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"epoch-pages", required_argument, NULL, 'e'},
		{"runs", required_argument, NULL, 'n'},
		{"busy", required_argument, NULL, 'b'},
		{"working-set", required_argument, NULL, 'w'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	char *end = "";
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'p': o->pairs = optarg; break;
		case 't': parse_threads(optarg, o); break;
		case 'e': o->epoch_pages = number(optarg, &end, 1, 1u << 24); break;
		case 'n': o->runs = number(optarg, &end, 1, RUNS_MAX); break;
		case 'b': o->n_busy = number(optarg, &end, 0, BUSY_MAX); break;
		case 'w':
			o->working_set_bytes = (size_t)number(optarg, &end, 16, 4096) << 20;
			break;
		case 'j':
			/* The option's value is optional and may be a
			 * separate word: --json FILE. */
			o->json = "-";
			if (optind < argc && argv[optind][0] != '-')
				o->json = argv[optind++];
			break;
		default: return -EINVAL;
		}
		if (*end)
			return -EINVAL;
	}
	return optind == argc && o->pairs ? 0 : -EINVAL;
}

/* Returns true if the encoder made the same records in all cases. Otherwise the cases did different
 * work and must not be compared. */
static bool is_same_work(const struct run_case *cases, uint32_t n_cases)
{
	for (uint32_t i = 1; i < n_cases; i++) {
		if (cases[i].n_records != cases[0].n_records ||
		    cases[i].plain_bytes != cases[0].plain_bytes)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct run_case cases[CASES_MAX];
	struct options o = {.working_set_bytes = (size_t)128 << 20, .epoch_pages = 4096, .runs = 9,
			    .threads = {1, 2}, .n_threads = 2};
	double alone[RUNS_MAX];
	struct data data;
	uint32_t n_cases = 0;
	bool is_same;

	if (parse(argc, argv, &o) < 0)
		return usage();
	load(&o, &data);
	start_busy(&o);
	for (uint32_t i = 0; i < 2 * o.n_threads; i++)
		open_case(&cases[n_cases++], &data, o.threads[i / 2], i % 2);
	/* Let the cases take turns: other load on the machine then affects all of them alike. */
	for (uint32_t run = 0; run < o.runs; run++) {
		alone[run] = busy_alone(&o);
		for (uint32_t i = 0; i < n_cases; i++)
			measure(&cases[i], &o, &data, run);
	}
	stop_busy(&o);
	is_same = is_same_work(cases, n_cases);
	if (!o.json || strcmp(o.json, "-") != 0)
		report_text(&o, &data, cases, n_cases, quantile(alone, o.runs, 0.5));
	if (o.json) {
		FILE *out = strcmp(o.json, "-") == 0 ? stdout : fopen(o.json, "w");

		if (!out)
			die(o.json, strerror(errno));
		report_json(out, &o, &data, cases, n_cases, quantile(alone, o.runs, 0.5), is_same);
		if (ferror(out) || (out != stdout && fclose(out) != 0))
			die(o.json, "cannot be written");
	}
	for (uint32_t i = 0; i < n_cases; i++) {
		encoder_free(cases[i].encoder);
		retain_free(cases[i].retain);
	}
	if (!is_same)
		fprintf(stderr, "encode_meter: the records differ between the cases\n");
	return is_same ? 0 : 1;
}
