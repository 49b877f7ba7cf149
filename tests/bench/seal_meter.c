/* seal_meter.c - measures the guest's pause in each seal of a running QEMU.
 *
 * usage: seal_meter QMP_SOCKET N_SEALS INTERVAL_MS [precopy] [commands]
 *
 * It attaches as the agent does (inspect, inject, track) and seals N_SEALS times. Between two seals
 * the guest runs for INTERVAL_MS. It prints one JSON object with medians of the pause and its
 * parts. The first tenth of the seals is not counted, so that caches and QEMU's own memory can
 * settle.
 *   precopy    copy pages before the pause, too
 *   commands   seal with three commands (stop, save, cont) instead of one (seal.h)
 * The program copies pages as the agent does, but does not encode or send them. The agent does this
 * after the pause.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/hist.h"
#include "epoch/seal.h"
#include "vmm/inspect.h"

#define BLOB_MAX ((size_t)16 << 20)

static struct hist pause_ns, stop_ns, scan_ns, copy_ns, device_ns, cont_ns, precopy_ns;
static struct hist dirty_pages, stopped_pages, blob;

static void nothing(void *arg, const struct seal_times *times)
{
	(void)arg;
	(void)times;
}

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "seal_meter: %s: %s\n", what, why);
	exit(1);
}

static void record(const struct seal_result *result)
{
	const struct seal_times *t = &result->times;

	hist_record(&pause_ns, t->resumed_ns - t->paused_ns);
	hist_record(&stop_ns, t->stop_ns);
	hist_record(&scan_ns, t->scan_ns);
	hist_record(&copy_ns, t->copy_ns);
	hist_record(&device_ns, t->device_ns);
	hist_record(&cont_ns, t->cont_ns);
	hist_record(&dirty_pages, result->n_dirty_pages);
	hist_record(&stopped_pages, result->stopped.n_pages);
	hist_record(&precopy_ns, t->precopy_ns);
	hist_record(&blob, result->device_size);
}

static double ms(const struct hist *hist, double quantile)
{
	return (double)hist_quantile(hist, quantile) / 1e6;
}

static void print_result(bool is_mapped, bool has_gate)
{
	printf("{\"dirty_pages\": %" PRIu64 ", \"pause_ms_p50\": %.3f, \"pause_ms_p99\": %.3f, "
	       "\"stop_ms\": %.3f, \"scan_ms\": %.3f, \"copy_ms\": %.3f, \"device_ms\": %.3f, "
	       "\"cont_ms\": %.3f, \"precopy_ms\": %.3f, \"stopped_pages\": %" PRIu64 ", "
	       "\"device_bytes\": %" PRIu64 ", \"seals\": %" PRIu64 ", \"mapped\": %s, "
	       "\"gate\": %s}\n",
	       hist_quantile(&dirty_pages, 0.5), ms(&pause_ns, 0.5),
	       ms(&pause_ns, 0.99), ms(&stop_ns, 0.5), ms(&scan_ns, 0.5), ms(&copy_ns, 0.5),
	       ms(&device_ns, 0.5), ms(&cont_ns, 0.5),
	       ms(&precopy_ns, 0.5), hist_quantile(&stopped_pages, 0.5),
	       hist_quantile(&blob, 0.5), hist_count(&pause_ns), is_mapped ? "true" : "false",
	       has_gate ? "true" : "false");
}

static void run(struct seal *seal, unsigned n_seals, unsigned interval_ms, enum seal_kind kind)
{
	struct timespec interval = {.tv_sec = interval_ms / 1000,
				    .tv_nsec = (long)(interval_ms % 1000) * 1000000};

	for (unsigned i = 0; i < n_seals; i++) {
		struct seal_result result;
		int r;

		nanosleep(&interval, NULL); /* the guest runs */
		r = seal_run(seal, kind, nothing, NULL, &result);
		if (r < 0)
			die("seal", strerror(-r));
		if (i >= n_seals / 10)
			record(&result);
	}
}

/* Parse the arguments after INTERVAL_MS. Returns false if one of them is unknown. */
static bool parse(int argc, char **argv, enum seal_kind *kind, bool *by_commands)
{
	for (int i = 4; i < argc; i++) {
		if (strcmp(argv[i], "precopy") == 0)
			*kind = SEAL_AHEAD;
		else if (strcmp(argv[i], "commands") == 0)
			*by_commands = true;
		else
			return false;
	}
	return argc >= 4;
}

int main(int argc, char **argv)
{
	static struct vmm_info info;
	struct error error;
	struct qmp *qmp;
	struct track *track;
	struct guestmem *mem;
	struct devstate *device;
	struct seal *seal;
	enum seal_kind kind = SEAL_PROTECT;
	bool is_mapped, by_commands = false;
	int r;

	if (!parse(argc, argv, &kind, &by_commands)) {
		fprintf(stderr,
			"usage: seal_meter QMP_SOCKET N_SEALS INTERVAL_MS [precopy] [commands]\n");
		return 2;
	}
	r = qmp_open(argv[1], 2 * CLOCK_NS_PER_S, &qmp);
	if (r < 0)
		die(argv[1], qmp_open_error(r));
	if (vmm_inspect(qmp, &info, &error) < 0 ||
	    devstate_open(qmp, BLOB_MAX, &device, &error) < 0 ||
	    guestmem_open(info.pid, info.blocks, info.n_blocks, &mem, &error) < 0 ||
	    track_open(info.pid, info.blocks, info.n_blocks, &track, &error) < 0)
		die("attach", error.text);
	if (!by_commands)
		devstate_open_gate(device, info.pid);
	is_mapped = guestmem_is_mapped(mem, 0);
	r = seal_new(qmp, track, mem, device, info.n_pages, &seal);
	if (r < 0)
		die("seal", strerror(-r));
	run(seal, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), kind);
	print_result(is_mapped, devstate_gate(device) != NULL);
	seal_free(seal);
	track_close(track);
	guestmem_close(mem);
	devstate_close(device);
	qmp_close(qmp);
	return 0;
}
