/* codec_bench.c - measures the size and speed of page deltas, on recorded or generated pairs of
 * pages.
 *
 * What makes a result worthless:
 * - other load on the machine, which takes memory bandwidth (the spread between runs then grows);
 * - pairs that fit in a cache (--working-set);
 * - changes of the processor's frequency between two coders;
 * - generated pairs, if the question is about recorded pairs.
 * The program has one thread. The comment at measure_together() says how speeds are measured.
 *
 * A pair file has no header. For each pair it has the 4096 bytes of the old page, then the 4096
 * bytes of the new page.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "codec/encode.h"
#include "codec/simd.h"
#include "codec_bench.h"
#include "page_patterns.h"

#define FILE_BYTES_MAX (UINT64_C(4) << 30)
/* ring into which encoded pages are written one after another, as into frames; fits into the L2
 * cache */
#define RING_BYTES     (1u << 20)
#define RUNS_MAX       99
#define CHUNK_PAGES    1024
#define BASELINE_PAGES 32768 /* limit for slow coders, in pages per pass */

static void die(const char *what, const char *why)
{
	fprintf(stderr, "codec_bench: %s: %s\n", what, why);
	exit(1);
}

static uint8_t *allocate(size_t size, bool is_thp)
{
	uint8_t *p =
		mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("memory", strerror(errno));
	/* The kernel can refuse this advice. That only makes a pass slower. The JSON output says
	 * which advice was given. */
	(void)madvise(p, size, is_thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

static uint8_t *old_page(const struct data *data, size_t i)
{
	return data->items[i].reference;
}

static const uint8_t *new_page(const struct data *data, size_t i)
{
	return data->items[i].page;
}

static void restore_old(struct data *data)
{
	for (size_t i = 0; i < data->n_pages; i++)
		memcpy(data->old + i * PAGE_BYTES, data->pairs + i % data->n_pairs * PAIR_BYTES,
		       PAGE_BYTES);
}

static void load(const struct options *options, struct data *data)
{
	FILE *file = fopen(options->pairs, "rb");
	uint64_t random = options->seed;
	long size = 0;

	if (!file || fseek(file, 0, SEEK_END) < 0 || (size = ftell(file)) < 0)
		die(options->pairs, strerror(errno));
	rewind(file);
	if (size == 0 || size % PAIR_BYTES || (uint64_t)size > FILE_BYTES_MAX)
		die(options->pairs,
		    "not a pair file: its size must be a multiple of 8192, up to 4 GiB");
	data->n_pairs = (size_t)size / PAIR_BYTES;
	data->pairs = allocate((size_t)size, false);
	if (fread(data->pairs, PAIR_BYTES, data->n_pairs, file) != data->n_pairs)
		die(options->pairs, "cannot be read");
	fclose(file);

	data->n_pages = options->working_set_bytes / PAIR_BYTES;
	if (data->n_pages < data->n_pairs)
		data->n_pages = data->n_pairs;
	data->old = allocate(data->n_pages * PAGE_BYTES, options->is_thp);
	data->new = allocate(data->n_pages * PAGE_BYTES, options->is_thp);
	data->encoded_room = data->n_pages * PAGE_BYTES + CODER_ROOM;
	data->encoded = allocate(data->encoded_room, true);
	data->ring = allocate(RING_BYTES + CODER_ROOM, true);
	data->items = malloc(data->n_pages * sizeof(*data->items));
	data->classes = malloc(data->n_pages);
	data->offsets = malloc((data->n_pages + 1) * sizeof(*data->offsets));
	if (!data->items || !data->offsets || !data->classes)
		die("memory", "none left");
	restore_old(data);
	for (size_t i = 0; i < data->n_pages; i++) {
		memcpy(data->new + i * PAGE_BYTES,
		       data->pairs + i % data->n_pairs * PAIR_BYTES + PAGE_BYTES, PAGE_BYTES);
		data->items[i] = (struct page_item){(uint32_t)i, data->new + i * PAGE_BYTES,
						    data->old + i * PAGE_BYTES};
	}
	for (size_t i = data->n_pages - 1; options->is_random && i > 0; i--) {
		size_t j = pattern_random(&random) % (i + 1);
		struct page_item other = data->items[j];

		data->items[j] = data->items[i];
		data->items[i] = other;
	}
}

static int by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

/* A function that works on the pages [from, to), in the order of data->items. @what contains its
 * options, for example which coder to use. If the function checks pages, it returns the number of
 * pages that failed. If not, it returns a number that depends on all of its work, so that the
 * compiler cannot leave out a part of the work. */
typedef uint64_t pass_function(struct data *data, size_t from, size_t to, const void *what);

static bool takes_best; /* copy of options.takes_best, for measure_together() */
static volatile uint64_t sink; /* keeps the compiler from optimizing away
				* results that are not used */

/* Returns this thread's processor time. The measured loops never wait, so on an idle machine this
 * equals the wall time. On a busy machine it excludes the time slices of other processes. It still
 * includes the effect of their cache and memory traffic. */
static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* A pass whose speed is to be measured. */
struct job {
	pass_function *pass;
	const void *what;
	bool restores; /* restore the old pages before each run */
	double gbps;   /* the measured speed */
};

/* Measure the speed of each job, in 10^9 bytes of page data per second of processor time. Jobs are
 * timed in chunks of a fraction of a millisecond. The result of a chunk is its median over @n_runs
 * passes (with --best, the fastest pass). The jobs take turns, for equal conditions. */
static void measure_together(struct data *data, size_t n_pages, unsigned int n_runs,
			     struct job *jobs, size_t n_jobs)
{
	size_t n_chunks = (n_pages + CHUNK_PAGES - 1) / CHUNK_PAGES;
	double *ns = calloc(n_jobs * n_chunks * n_runs, sizeof(*ns));

	if (!ns)
		die("memory", "none left");
	for (size_t i = 0; i < n_runs * n_jobs; i++) {
		const struct job *job = &jobs[i % n_jobs];
		double *of_run = ns + i % n_jobs * n_chunks * n_runs + i / n_jobs;

		if (job->restores)
			restore_old(data);
		for (size_t chunk = 0; chunk < n_chunks; chunk++) {
			size_t from = chunk * CHUNK_PAGES, to = from + CHUNK_PAGES;
			uint64_t start_ns = thread_ns();

			sink = sink + job->pass(data, from, to < n_pages ? to : n_pages, job->what);
			of_run[chunk * n_runs] = (double)(thread_ns() - start_ns);
		}
	}
	for (size_t j = 0; j < n_jobs; j++) {
		double total_ns = 0;

		for (size_t chunk = 0; chunk < n_chunks; chunk++) {
			double *of_chunk = ns + (j * n_chunks + chunk) * n_runs;

			qsort(of_chunk, n_runs, sizeof(*ns), by_value);
			total_ns += of_chunk[takes_best ? 0 : n_runs / 2];
		}
		jobs[j].gbps = (double)(n_pages * PAGE_BYTES) / total_ns;
	}
	free(ns);
}

static double measure(struct data *data, size_t n_pages, unsigned int n_runs, bool restores,
		      pass_function *pass, const void *what)
{
	struct job job = {pass, what, restores, 0};

	measure_together(data, n_pages, n_runs, &job, 1);
	return job.gbps;
}

static uint64_t pass_memcpy(struct data *data, size_t from, size_t to, const void *what)
{
	(void)what; /* not used: this pass has no options */
	for (size_t i = from; i < to; i++)
		memcpy(data->ring + i % (RING_BYTES / PAGE_BYTES) * PAGE_BYTES, new_page(data, i),
		       PAGE_BYTES);
	return data->ring[0];
}

/* Compare each page with an equal one, so that memcmp() does not stop early. Both pages are as cold
 * in the caches as the pairs that the coders get. */
static uint64_t pass_memcmp(struct data *data, size_t from, size_t to, const void *what)
{
	uint64_t n_different = 0;

	(void)what; /* not used: this pass has no options */
	for (size_t i = from; i < to; i++)
		n_different += memcmp(old_page(data, i), new_page(data, i), PAGE_BYTES) != 0;
	return n_different;
}

static uint64_t pass_compare(struct data *data, size_t from, size_t to, const void *what)
{
	uint64_t any = 0;

	(void)what; /* not used: this pass has no options */
	for (size_t i = from; i < to; i++)
		any += anchor_compare(&data->items[i], data->n_pages - i) != 0;
	return any;
}

static uint64_t pass_encode(struct data *data, size_t from, size_t to, const void *what)
{
	const struct coder *coder = what;
	enum page_class class;
	size_t at = 0, bytes = 0;

	for (size_t i = from; i < to; i++) {
		size_t size = coder_encode(coder, &data->items[i], data->n_pages - i,
					   data->ring + at, &class);

		bytes += size;
		at = at + size < RING_BYTES ? at + size : 0;
	}
	return bytes;
}

/* Decode with a baseline coder. Returns the number of pages that failed. */
static uint64_t pass_decode(struct data *data, size_t from, size_t to, const void *what)
{
	const struct coder *coder = what;
	uint64_t n_bad = 0;

	for (size_t i = from; i < to; i++) {
		size_t size = data->offsets[i + 1] - data->offsets[i];

		if (size > 0)
			n_bad += coder->decode(data->encoded + data->offsets[i], size,
					       old_page(data, i)) < 0;
	}
	return n_bad;
}

/* Decode with our coder, as the standby does. Returns the number of pages that failed. */
static uint64_t pass_apply(struct data *data, size_t from, size_t to, const void *what)
{
	enum { BATCH = 32 };
	struct page_record records[BATCH];
	uint64_t n_bad = 0;
	size_t n = 0;

	(void)what; /* not needed: each record says how to decode it */
	for (size_t i = from; i < to; i++) {
		size_t size = data->offsets[i + 1] - data->offsets[i];
		uint8_t class = data->classes[i];

		if (size > 0)
			records[n++] = (struct page_record){
				class, (uint16_t)(class == PAGE_ZERO ? 0 : size),
				data->encoded + data->offsets[i], old_page(data, i)};
		if (n == BATCH || (i + 1 == to && n > 0)) {
			n_bad += page_apply_batch(records, n) != n;
			n = 0;
		}
	}
	return n_bad;
}

/* Encode as the agent does, with page_encode_batch(), which also updates the reference. */
static uint64_t pass_update(struct data *data, size_t from, size_t to, const void *what)
{
	enum { BATCH = 32 };
	struct page_encoder encoder = {.features = *(const uint64_t *)what};
	size_t done = from, size, bytes = 0, at = 0;

	while (done < to) {
		size_t n = to - done < BATCH ? to - done : BATCH;

		done += page_encode_batch(&encoder, &data->items[done], n, data->ring + at,
					  BATCH * PAGE_RECORD_ROOM, &size);
		bytes += size;
		at = at + size + BATCH * PAGE_RECORD_ROOM < RING_BYTES ? at + size : 0;
	}
	return bytes;
}

struct stage_pass {
	const struct coder *coder;
	const struct second_stage *stage;
	uint64_t *bytes_in, *bytes_out; /* sums over all passes */
};

static uint64_t pass_stage(struct data *data, size_t from, size_t to, const void *what)
{
	enum { BATCH_BYTES = 65536 };
	static uint8_t batch[BATCH_BYTES + CODER_ROOM], out[2 * BATCH_BYTES];
	const struct stage_pass *stage = what;
	enum page_class class;
	size_t used = 0;
	uint64_t bytes = 0;

	for (size_t i = from; i < to; i++) {
		used += coder_encode(stage->coder, &data->items[i], data->n_pages - i, batch + used,
				     &class);
		if (used >= BATCH_BYTES || i + 1 == to) {
			bytes += stage->stage->compress(batch, used, out, sizeof(out));
			*stage->bytes_in += used;
			used = 0;
		}
	}
	*stage->bytes_out += bytes;
	return bytes;
}

/* Encode all pages, decode them over the old ones, and compare the results with the new pages. */
static bool check_round_trip(struct data *data, size_t n_pages, const struct coder *coder)
{
	pass_function *decode = coder->features ? pass_apply : pass_decode;
	enum page_class class = PAGE_RAW;
	size_t at = 0;

	restore_old(data);
	for (size_t i = 0; i < n_pages; i++) {
		data->offsets[i] = at;
		at += coder_encode(coder, &data->items[i], data->n_pages - i, data->encoded + at,
				   &class);
		data->classes[i] = (uint8_t)class;
	}
	data->offsets[n_pages] = at;
	if (decode(data, 0, n_pages, coder) > 0)
		return false;
	for (size_t i = 0; i < n_pages; i++) {
		if (memcmp(old_page(data, i), new_page(data, i), PAGE_BYTES) != 0)
			return false;
	}
	return true;
}

/* Returns a coder's compression ratio over all pairs of the file, each counted once. So the ratios
 * of two coders can be compared, even if one of them is timed on fewer pages. */
static double ratio_of(const struct data *data, const struct coder *coder)
{
	static uint8_t out[CODER_ROOM];
	enum page_class class;
	size_t bytes = 0;

	for (size_t i = 0; i < data->n_pairs; i++) {
		uint8_t *pair = data->pairs + i * PAIR_BYTES;
		struct page_item item = {0, pair + PAGE_BYTES, pair};

		bytes += coder_encode(coder, &item, 1, out, &class);
	}
	return (double)bytes / (double)(data->n_pairs * PAGE_BYTES);
}

static struct figures measure_coder(struct data *data, size_t n_pages, unsigned int n_runs,
				    const struct coder *coder)
{
	struct figures figures;

	restore_old(data);
	figures.encode_gbps = measure(data, n_pages, n_runs, false, pass_encode, coder);
	figures.is_exact = check_round_trip(data, n_pages, coder);
	figures.ratio = ratio_of(data, coder);
	figures.decode_gbps = measure(data, n_pages, n_runs, true,
				      coder->features ? pass_apply : pass_decode, coder);
	restore_old(data);
	return figures;
}

static void measure_all(const struct options *options, struct data *data, struct results *results)
{
	size_t n_slow = data->n_pages < BASELINE_PAGES ? data->n_pages : BASELINE_PAGES;
	unsigned int n_runs = options->runs, n_slow_runs = n_runs < 3 ? n_runs : 3;
	uint64_t features = PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP;
	struct job together[] = {
		{pass_compare, NULL, true, 0}, /* restores the old pages, because
						* pass_update changes them */
		{pass_encode, &coders_ours[0], false, 0},
		{pass_update, &features, false, 0},
	};

	results->memcpy_gbps = measure(data, data->n_pages, n_runs, false, pass_memcpy, NULL);
	results->is_exact = true;
	for (size_t i = 0; coders_ours[i].name; i++) {
		results->ours[i] = measure_coder(data, data->n_pages, n_runs, &coders_ours[i]);
		results->is_exact = results->is_exact && results->ours[i].is_exact;
	}
	results->best = &coders_ours[0];
	measure_together(data, data->n_pages, n_runs, together, 3);
	results->compare_gbps = together[0].gbps;
	results->ours[0].encode_gbps = together[1].gbps;
	results->update_gbps = together[2].gbps;
	/* Check that pass_update has made every old page equal to its new one. */
	for (size_t i = 0; i < data->n_pages; i++) {
		if (memcmp(data->old + i * PAGE_BYTES, data->new + i * PAGE_BYTES, PAGE_BYTES) != 0)
			results->is_exact = false;
	}
	results->memcmp_gbps = measure(data, data->n_pages, n_runs, false, pass_memcmp, NULL);
	restore_old(data);
	for (size_t i = 0; second_stages[i].name; i++) {
		uint64_t in = 0, out = 0;
		struct stage_pass stage = {results->best, &second_stages[i], &in, &out};

		results->stages[i].encode_gbps =
			measure(data, n_slow, n_slow_runs, false, pass_stage, &stage);
		results->stages[i].ratio = results->ours[results->best - coders_ours].ratio *
					   (double)out / (double)(in ? in : 1);
	}
	for (size_t i = 0; coders_baselines[i].name; i++)
		results->baselines[i] =
			measure_coder(data, n_slow, n_slow_runs, &coders_baselines[i]);
}

static int write_json(const struct options *options, const struct data *data,
		      const struct results *results)
{
	FILE *out = strcmp(options->json, "-") == 0 ? stdout : fopen(options->json, "w");

	if (!out)
		die(options->json, strerror(errno));
	report_json(out, options, data, results);
	if (ferror(out) || (out != stdout && fclose(out) != 0))
		die(options->json, "cannot be written");
	return results->is_exact ? 0 : 1;
}

static int generate(const struct options *options)
{
	uint8_t pair[PAIR_BYTES];
	uint64_t random = options->seed;
	FILE *out = fopen(options->generate, "wb");

	if (!out)
		die(options->generate, strerror(errno));
	for (size_t i = 0; i < options->count; i++) {
		pattern_pair((unsigned int)(i % PATTERN_N_KINDS), &random, pair, pair + PAGE_BYTES);
		if (fwrite(pair, sizeof(pair), 1, out) != 1)
			die(options->generate, "cannot be written");
	}
	if (fclose(out) != 0)
		die(options->generate, "cannot be written");
	return 0;
}

static void pick_form(const char *name)
{
	for (int i = 0; i < SIMD_N_FORMS; i++) {
		if (strcmp(name, simd_form_name((enum simd_form)i)) == 0 &&
		    simd_set_form((enum simd_form)i) == 0)
			return;
	}
	die(name, "no such form on this machine, expected scalar, avx2 or avx512");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: codec --pairs FILE [--pages-random] [--json [FILE]] [--runs N]\n"
		"             [--working-set MIB] [--form scalar|avx2|avx512] [--no-thp] [--seed "
		"N] [--best]\n"
		"       codec --generate FILE [--count PAIRS] [--seed N]\n"
		"FILE: 4096 bytes old page, 4096 bytes new page, repeated. --json without FILE: "
		"JSON\n"
		"alone on stdout. --pages-random: pages in random order, as in a guest.\n"
		"--best: each millisecond's best run instead of its median, on a busy machine.\n");
	return 2;
}

static size_t number(const char *text, size_t min, size_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max)
		die(text, "not a number in range");
	return value;
}

static int parse(int argc, char **argv, struct options *ret_options)
{
	static const struct option names[] = {{"pairs", required_argument, NULL, 'p'},
					      {"pages-random", no_argument, NULL, 'r'},
					      {"json", no_argument, NULL, 'j'},
					      {"runs", required_argument, NULL, 'n'},
					      {"working-set", required_argument, NULL, 'w'},
					      {"form", required_argument, NULL, 'f'},
					      {"no-thp", no_argument, NULL, 't'},
					      {"seed", required_argument, NULL, 's'},
					      {"best", no_argument, NULL, 'b'},
					      {"generate", required_argument, NULL, 'g'},
					      {"count", required_argument, NULL, 'c'},
					      {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'p': ret_options->pairs = optarg; break;
		case 'g': ret_options->generate = optarg; break;
		case 'r': ret_options->is_random = true; break;
		case 'b': ret_options->takes_best = true; break;
		case 't': ret_options->is_thp = false; break;
		case 'f': ret_options->form = optarg; break;
		case 'n': ret_options->runs = (unsigned int)number(optarg, 1, RUNS_MAX); break;
		case 's': ret_options->seed = number(optarg, 1, SIZE_MAX); break;
		case 'c': ret_options->count = number(optarg, 1, 1u << 20); break;
		case 'w': ret_options->working_set_bytes = number(optarg, 1, 16384) << 20; break;
		case 'j':
			/* The option's value is optional and may be a
			 * separate word: --json FILE. */
			ret_options->json = "-";
			if (optind < argc && argv[optind][0] != '-')
				ret_options->json = argv[optind++];
			break;
		default: return -EINVAL;
		}
	}
	return optind == argc && !ret_options->pairs != !ret_options->generate ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct options options = {.working_set_bytes = UINT64_C(1) << 30, .runs = 5, .is_thp = true,
				  .seed = 1, .count = 4096};
	struct data data = {0};
	struct results results = {0};

	if (parse(argc, argv, &options) < 0)
		return usage();
	if (options.form)
		pick_form(options.form);
	if (options.generate)
		return generate(&options);
	takes_best = options.takes_best;
	load(&options, &data);
	measure_all(&options, &data, &results);
	if (!options.json || strcmp(options.json, "-") != 0)
		report_text(&options, &data, &results);
	if (options.json)
		return write_json(&options, &data, &results);
	return results.is_exact ? 0 : 1;
}
