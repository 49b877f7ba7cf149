/* trace_meter.c - records or counts what a guest writes, epoch by epoch.
 *
 * usage: trace_meter [--seconds N] [--interval-ms M] [--out FILE [--max-mib M]] [--pages FILE]
 *                    [--count] QMP_SOCKET
 *
 * It attaches as the agent does (inspect, inject, track), keeps a copy of the whole guest as the
 * standby would, and seals every --interval-ms.
 *
 * --out FILE: each dirty page of each epoch becomes a pair in FILE, without a header. A pair has
 * the page's 4096 bytes at the end of the previous epoch, then its 4096 bytes now. A page is
 * recorded even if the guest wrote the same bytes again, because an encoder must check such a page
 * too. A page that the guest first touched after tracking began is paired with zeros. The first
 * copy and the seal after it are not recorded. Recording ends after --seconds, at --max-mib, or on
 * SIGINT or SIGTERM. The guest keeps running.
 *
 * --pages FILE: records which pages were dirty, as 32-bit numbers in this machine's byte order. The
 * first number is the guest's size in pages. After that, each epoch has the number of its dirty
 * pages and their indices. The first epoch lists the pages that were not zero in the first copy.
 *
 * --count: each page also goes through the coders of the codec benchmark. The JSON object at the
 * end has the sums of the coders' sizes.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/hist.h"
#include "codec_coders.h"
#include "epoch/seal.h"
#include "vmm/inspect.h"

#define BLOB_MAX    ((size_t)16 << 20)
#define N_BASELINES 8
#define RECORD_BYTES 8 /* a record's class, size and page index (docs/wire-format.md) */

struct options {
	const char *qmp;
	const char *out; /* file for pairs; NULL: record none */
	const char *pages; /* file for page indices; NULL: record none */
	unsigned seconds;
	unsigned interval_ms;
	uint64_t pairs_max;
	bool is_counting;
};

struct trace {
	const struct options *options;
	FILE *out;	      /* gets the pairs; NULL: none are recorded */
	FILE *indices;	      /* gets the page indices; NULL: none are recorded */
	uint8_t *shadow;      /* copy of guest memory at the end of the previous epoch */
	uint64_t n_epochs, n_pages, n_unchanged, n_zero, n_pairs;
	uint64_t baseline_bytes[N_BASELINES]; /* sizes of the records of coders_baselines[] */
	uint64_t ours_bytes; /* size of our records before any second stage */
	uint64_t device_bytes, started_ns, ended_ns;
	struct hist pause_ns, pages_per_epoch;
};

static volatile sig_atomic_t is_stopped;

static void stop(int signal)
{
	(void)signal;
	is_stopped = 1;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "trace_meter: %s: %s\n", what, why);
	exit(1);
}

static void nothing(void *arg, const struct seal_times *times)
{
	(void)arg;
	(void)times;
}

/* Copy the pages of one round of the first copy into the shadow. They are not recorded. */
static int fill(void *arg, const struct page_range *ranges, uint32_t n_ranges, uint32_t n_pages,
		const uint8_t *pages)
{
	struct trace *trace = arg;

	(void)n_pages;
	for (uint32_t i = 0; i < n_ranges; i++) {
		size_t size = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;

		memcpy(trace->shadow + (size_t)ranges[i].first_page * VMM_PAGE_BYTES, pages, size);
		pages += size;
	}
	return 0;
}

/* Add the size of the page's record to the sum of each coder. Each record is charged RECORD_BYTES
 * for its header. Only coders that use the old page can skip an unchanged page. */
static void count(struct trace *trace, uint8_t *old, const uint8_t *new)
{
	static uint8_t out[CODER_ROOM];
	static const uint8_t zero[VMM_PAGE_BYTES];
	bool is_unchanged = memcmp(old, new, VMM_PAGE_BYTES) == 0;
	struct page_item item = {0, new, old};
	enum page_class class;
	size_t size;

	trace->n_unchanged += is_unchanged;
	if (memcmp(new, zero, VMM_PAGE_BYTES) == 0) {
		/* A zero page has no data: every coder sends it as a flag, as QEMU does. */
		trace->n_zero++;
		for (unsigned i = 0; coders_baselines[i].name; i++)
			trace->baseline_bytes[i] += RECORD_BYTES;
		trace->ours_bytes += is_unchanged ? 0 : RECORD_BYTES;
		return;
	}
	for (unsigned i = 0; coders_baselines[i].name; i++) {
		size = coders_baselines[i].encode(old, new, out);
		trace->baseline_bytes[i] += size ? size + RECORD_BYTES : 0;
	}
	size = coder_encode(&coders_ours[0], &item, 1, out, &class);
	trace->ours_bytes += is_unchanged ? 0 : size + RECORD_BYTES;
}

static void record_page(struct trace *trace, uint32_t index, const uint8_t *new)
{
	uint8_t *old = trace->shadow + (size_t)index * VMM_PAGE_BYTES;

	if (trace->options->is_counting)
		count(trace, old, new);
	if (trace->out && trace->n_pairs < trace->options->pairs_max) {
		if (fwrite(old, VMM_PAGE_BYTES, 1, trace->out) != 1 ||
		    fwrite(new, VMM_PAGE_BYTES, 1, trace->out) != 1)
			die(trace->options->out, strerror(errno));
		trace->n_pairs++;
	}
	memcpy(old, new, VMM_PAGE_BYTES);
}

static void write_word(const struct trace *trace, uint32_t word)
{
	if (trace->indices && fwrite(&word, sizeof(word), 1, trace->indices) != 1)
		die(trace->options->pages, strerror(errno));
}

/* Record the pages of the first copy that are not zero: these are what a FULL epoch holds. */
static void record_first(const struct trace *trace, uint32_t n_pages)
{
	static const uint8_t zero[VMM_PAGE_BYTES];
	uint32_t n = 0;
	uint32_t *indices = calloc(n_pages, sizeof(*indices));

	if (!indices)
		die("memory", "none left");
	for (uint32_t i = 0; i < n_pages; i++) {
		if (memcmp(trace->shadow + (size_t)i * VMM_PAGE_BYTES, zero, VMM_PAGE_BYTES) != 0)
			indices[n++] = i;
	}
	write_word(trace, n_pages);
	write_word(trace, n);
	for (uint32_t i = 0; i < n; i++)
		write_word(trace, indices[i]);
	free(indices);
}

static void record(struct trace *trace, const struct seal_result *result)
{
	const struct seal_pages *copied = &result->stopped; /* all dirty pages */
	const uint8_t *new = copied->pages;

	write_word(trace, copied->n_pages);
	for (uint32_t i = 0; i < copied->n_ranges; i++) {
		const struct page_range *range = &copied->ranges[i];

		for (uint32_t j = 0; j < range->n_pages; j++, new += VMM_PAGE_BYTES) {
			write_word(trace, range->first_page + j);
			record_page(trace, range->first_page + j, new);
		}
	}
	trace->n_epochs++;
	trace->n_pages += copied->n_pages;
	trace->device_bytes += result->device_size;
	hist_record(&trace->pause_ns, result->times.resumed_ns - result->times.paused_ns);
	hist_record(&trace->pages_per_epoch, copied->n_pages);
}

static bool is_over(const struct trace *trace)
{
	const struct options *options = trace->options;

	return is_stopped || (trace->out && trace->n_pairs >= options->pairs_max) ||
	       clock_mono_ns() - trace->started_ns >= options->seconds * CLOCK_NS_PER_S;
}

static void run(struct trace *trace, struct seal *seal, uint32_t n_guest_pages)
{
	struct timespec interval = {.tv_sec = trace->options->interval_ms / 1000,
				    .tv_nsec =
					    (long)(trace->options->interval_ms % 1000) * 1000000};
	struct seal_result result;
	uint32_t n_pages;
	int r = 0;

	/* Make the shadow equal to the guest: copy twice while the guest runs, then seal once. */
	for (int i = 0; i < 2 && r == 0; i++) {
		r = seal_scan_running(seal);
		if (r == 0)
			r = seal_copy_running(seal, fill, trace, &n_pages);
	}
	if (r == 0)
		r = seal_run(seal, SEAL_PROTECT, nothing, NULL, &result);
	if (r < 0)
		die("first copy", strerror(-r));
	(void)fill(trace, result.stopped.ranges, result.stopped.n_ranges, result.stopped.n_pages,
		   result.stopped.pages); /* always returns 0 */
	record_first(trace, n_guest_pages);
	trace->started_ns = clock_mono_ns();
	while (!is_over(trace)) {
		nanosleep(&interval, NULL); /* the guest runs; a signal ends the sleep early */
		r = seal_run(seal, SEAL_PROTECT, nothing, NULL, &result);
		if (r < 0)
			die("seal", strerror(-r));
		record(trace, &result);
	}
	trace->ended_ns = clock_mono_ns();
}

static void print_result(const struct trace *trace)
{
	printf("{\"seconds\": %.3f, \"interval_ms\": %u, \"epochs\": %" PRIu64
	       ", \"dirty_pages\": %" PRIu64 ", \"pages_per_epoch_p50\": %" PRIu64
	       ", \"pause_ms_p50\": %.3f, \"device_bytes\": %" PRIu64 ", \"pairs\": %" PRIu64,
	       (double)(trace->ended_ns - trace->started_ns) / 1e9, trace->options->interval_ms,
	       trace->n_epochs, trace->n_pages, hist_quantile(&trace->pages_per_epoch, 0.5),
	       (double)hist_quantile(&trace->pause_ns, 0.5) / 1e6, trace->device_bytes,
	       trace->n_pairs);
	if (trace->options->is_counting) {
		printf(", \"unchanged\": %" PRIu64 ", \"zero\": %" PRIu64
		       ", \"bytes\": {\"raw\": %" PRIu64,
		       trace->n_unchanged, trace->n_zero, trace->n_pages * VMM_PAGE_BYTES);
		for (unsigned i = 0; coders_baselines[i].name; i++)
			printf(", \"%s\": %" PRIu64, coders_baselines[i].name,
			       trace->baseline_bytes[i]);
		printf(", \"ours\": %" PRIu64 "}", trace->ours_bytes);
	}
	printf("}\n");
}

/* Attach to the guest. No function detaches. When the process ends, the kernel closes the tracker's
 * userfaultfd and the monitor's socket. The guest is then as it was before. */
static struct seal *attach(const char *path, uint32_t *ret_n_pages)
{
	static struct vmm_info info;
	struct error error;
	struct qmp *qmp;
	struct track *track;
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	int r = qmp_open(path, 2 * CLOCK_NS_PER_S, &qmp);

	if (r < 0)
		die(path, qmp_open_error(r));
	if (vmm_inspect(qmp, &info, &error) < 0 ||
	    devstate_open(qmp, BLOB_MAX, &device, &error) < 0 ||
	    guestmem_open(info.pid, info.blocks, info.n_blocks, &mem, &error) < 0 ||
	    track_open(info.pid, info.blocks, info.n_blocks, &track, &error) < 0)
		die("attach", error.text);
	r = seal_new(qmp, track, mem, device, info.n_pages, &seal);
	if (r < 0)
		die("seal", strerror(-r));
	*ret_n_pages = info.n_pages;
	return seal;
}

static uint64_t number(const char *name, uint64_t max)
{
	char *end;
	unsigned long value = strtoul(optarg, &end, 10);

	if (*end || end == optarg || value < 1 || value > max) {
		fprintf(stderr, "trace_meter: --%s %s: want a number from 1 to %" PRIu64 "\n", name,
			optarg, max);
		exit(2);
	}
	return value;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {{"seconds", required_argument, NULL, 's'},
					      {"interval-ms", required_argument, NULL, 'i'},
					      {"out", required_argument, NULL, 'o'},
					      {"max-mib", required_argument, NULL, 'm'},
					      {"count", no_argument, NULL, 'c'},
					      {"pages", required_argument, NULL, 'p'},
					      {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's': options->seconds = (unsigned)number("seconds", 86400); break;
		case 'i': options->interval_ms = (unsigned)number("interval-ms", 10000); break;
		case 'o': options->out = optarg; break;
		case 'p': options->pages = optarg; break;
		case 'm':
			options->pairs_max =
				number("max-mib", 4096) * (1 << 20) / (2 * VMM_PAGE_BYTES);
			break;
		case 'c': options->is_counting = true; break;
		default: exit(2);
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr,
			"usage: trace_meter [--seconds N] [--interval-ms M] [--out FILE [--max-mib "
			"M]] [--pages FILE] [--count] QMP_SOCKET\n");
		exit(2);
	}
	options->qmp = argv[optind];
}

int main(int argc, char **argv)
{
	struct options options = {.seconds = 10, .interval_ms = 20,
				  .pairs_max = (UINT64_C(256) << 20) / (2 * VMM_PAGE_BYTES)};
	static struct trace trace;
	struct sigaction action = {.sa_handler = stop};
	struct seal *seal;
	uint32_t n_pages;

	parse(argc, argv, &options);
	trace.options = &options;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	trace.out = options.out ? fopen(options.out, "wb") : NULL;
	if (options.out && !trace.out)
		die(options.out, strerror(errno));
	trace.indices = options.pages ? fopen(options.pages, "wb") : NULL;
	if (options.pages && !trace.indices)
		die(options.pages, strerror(errno));
	seal = attach(options.qmp, &n_pages);
	trace.shadow = mmap(NULL, (size_t)n_pages * VMM_PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (trace.shadow == MAP_FAILED)
		die("memory for a copy of the guest", strerror(errno));
	run(&trace, seal, n_pages);
	if (trace.out && fclose(trace.out) != 0)
		die(options.out, strerror(errno));
	if (trace.indices && fclose(trace.indices) != 0)
		die(options.pages, strerror(errno));
	print_result(&trace);
	return 0;
}
