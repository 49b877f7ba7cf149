/* codec_report.c - prints the tables and the JSON of codec_bench. */
#include "codec_bench.h"

#include "codec/simd.h"

void report_text(const struct options *options, const struct data *data,
		 const struct results *results)
{
	printf("pairs %zu, working set %zu MiB in %s order, form %s, %s of %u runs, one thread\n",
	       data->n_pairs, data->n_pages * PAIR_BYTES >> 20,
	       options->is_random ? "random" : "file", simd_ops->name,
	       options->takes_best ? "best" : "median", options->runs);
	printf("%-14s %8s %10s %10s\n", "", "ratio", "encode", "decode   GB/s of page data");
	printf("%-14s %8s %10.2f\n%-14s %8s %10.2f\n%-14s %8s %10.2f   both pages read, "
	       "prefetched\n",
	       "memcpy", "", results->memcpy_gbps, "memcmp", "", results->memcmp_gbps, "compare",
	       "", results->compare_gbps);
	for (size_t i = 0; coders_ours[i].name; i++)
		printf("%-14s %8.4f %10.2f %10.2f   %s%s\n", coders_ours[i].name,
		       results->ours[i].ratio, results->ours[i].encode_gbps,
		       results->ours[i].decode_gbps, coders_ours[i].what,
		       results->ours[i].is_exact ? "" : "   ROUND TRIP FAILED");
	printf("%-14s %8s %10.2f              records written and reference updated\n",
	       "page_encode", "", results->update_gbps);
	for (size_t i = 0; second_stages[i].name; i++)
		printf("+%-13s %8.4f %10.2f              second stage over 64 KiB of deltas\n",
		       second_stages[i].name, results->stages[i].ratio,
		       results->stages[i].encode_gbps);
	for (size_t i = 0; coders_baselines[i].name; i++)
		printf("%-14s %8.4f %10.2f %10.2f   %s%s\n", coders_baselines[i].name,
		       results->baselines[i].ratio, results->baselines[i].encode_gbps,
		       results->baselines[i].decode_gbps, coders_baselines[i].what,
		       results->baselines[i].is_exact ? "" : "   ROUND TRIP FAILED");
}

static void print_coders(FILE *out, const char *key, const struct coder *coders,
			 const struct figures *figures)
{
	fprintf(out, "\"%s\":{", key);
	for (size_t i = 0; coders[i].name; i++)
		fprintf(out, "%s\"%s\":{\"ratio\":%.5f,\"encode_gbps\":%.3f,\"decode_gbps\":%.3f,"
			"\"roundtrip_ok\":%s}", i ? "," : "", coders[i].name, figures[i].ratio,
			figures[i].encode_gbps, figures[i].decode_gbps,
			figures[i].is_exact ? "true" : "false");
	fprintf(out, "}");
}

void report_json(FILE *out, const struct options *options, const struct data *data,
		 const struct results *results)
{
	const struct figures *ours = &results->ours[results->best - coders_ours];

	fprintf(out,
		"{\"coder\":\"%s\",\"ratio\":%.5f,\"encode_gbps\":%.3f,\"decode_gbps\":%.3f,"
		"\"encode_update_gbps\":%.3f,\"roundtrip_ok\":%s,",
		results->best->name, ours->ratio, ours->encode_gbps, ours->decode_gbps,
		results->update_gbps, results->is_exact ? "true" : "false");
	fprintf(out, "\"memcpy_gbps\":%.3f,\"memcmp_gbps\":%.3f,\"compare_gbps\":%.3f,",
		results->memcpy_gbps, results->memcmp_gbps, results->compare_gbps);
	print_coders(out, "coders", coders_ours, results->ours);
	fprintf(out, ",");
	print_coders(out, "baselines", coders_baselines, results->baselines);
	fprintf(out, ",\"second_stage\":{");
	for (size_t i = 0; second_stages[i].name; i++)
		fprintf(out, "%s\"%s\":{\"ratio\":%.5f,\"encode_gbps\":%.3f}", i ? "," : "",
			second_stages[i].name, results->stages[i].ratio,
			results->stages[i].encode_gbps);
	fprintf(out,
		"},\"pairs\":%zu,\"working_set_bytes\":%zu,\"pages_random\":%s,\"thp\":%s,"
		"\"form\":\"%s\",\"runs\":%u,\"estimate\":\"%s\"}\n",
		data->n_pairs, data->n_pages * PAIR_BYTES, options->is_random ? "true" : "false",
		options->is_thp ? "true" : "false", simd_ops->name, options->runs,
		options->takes_best ? "best" : "median");
}
