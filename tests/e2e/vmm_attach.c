/* vmm_attach.c - runs hostagent/vmm against a running QEMU, for tests/e2e/test_vmm_attach.
 *
 * usage: vmm_attach inspect SOCKET          print vmm_inspect()'s result; exit with 3 if it
 *                                           refuses the guest, with the reason on stderr
 *        vmm_attach describe SOCKET         print the description of the machine that two hosts
 *                                           compare, as lines "KEY<tab>VALUE"
 *        vmm_attach open SOCKET             exit 0, or the errno of qmp_open()
 *        vmm_attach hold SOCKET             track, print "tracking", wait to be killed
 *        vmm_attach seal SOCKET N CHECK     seal N times with three commands each; at every
 *                                           CHECK-th seal compare guest memory with the image
 *        vmm_attach gate SOCKET N CHECK     like seal, but through a gate (one command and a pipe)
 *        vmm_attach held SOCKET             hold the guest, print "held", wait to be killed
 * Each seal copies the pages that the scan reports into the image, as a standby would store them.
 * If guest memory and image differ, a write was lost: the program prints the page and exits with 1.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/describe.h"
#include "vmm/devstate.h"
#include "vmm/gate.h"
#include "vmm/guestmem.h"
#include "vmm/inspect.h"
#include "vmm/qmp.h"
#include "vmm/track.h"
#include "vmm/vcpus.h"

#define TIMEOUT_NS  (5 * CLOCK_NS_PER_S)
#define RANGES_MAX  8192u
#define CHUNK_PAGES 4096u
#define EXIT_REFUSED 3

enum part { STOP, SCAN, COPY, DEVICE, SCAN2, CONT, PAUSE, N_PARTS };
static const char *const part_names[N_PARTS] = {"stop",  "scan", "copy", "device (wait after copy)",
						"scan2", "cont", "pause"};

static struct error error;
static struct vmm_info info;
static struct qmp *qmp;
static struct guestmem *mem;
static struct track *tracker;
static struct devstate *device;
static struct gate *gate; /* NULL if each seal uses three commands */
static uint8_t *image;	/* the copy that a standby would have */
static uint8_t *buffer; /* pages of one seal or of one comparison */
static struct page_range ranges[RANGES_MAX];
static uint64_t *times[N_PARTS];
static uint64_t n_dirty_pages, n_late_pages;
static uint32_t n_stop_events;

static int fail(const char *what, int r)
{
	fprintf(stderr, "vmm_attach: %s: %s: %s %s\n", what, strerror(-r), error.text,
		qmp ? qmp_error(qmp) : "");
	return 1;
}

static int open_qmp(const char *path)
{
	int r = qmp_open(path, TIMEOUT_NS / 5, &qmp);

	if (r < 0)
		fprintf(stderr, "%s: %s\n", path, qmp_open_error(r));
	return -r;
}

static int run_inspect(void)
{
	int r = vmm_inspect(qmp, &info, &error);

	if (r == -ENOTSUP) {
		fprintf(stderr, "%s\n", error.text);
		return EXIT_REFUSED;
	}
	if (r < 0)
		return fail("inspect", r);
	printf("qemu=%s machine=%s pid=%d vcpus=%u ram=%" PRIu64 "\n", info.qemu_version,
	       info.machine, info.pid, info.n_vcpus, info.ram_bytes);
	for (uint32_t i = 0; i < info.n_blocks; i++)
		printf("block=%s kind=%d hva=%#" PRIx64 " first=%u pages=%u\n",
		       info.blocks[i].name, info.blocks[i].kind, info.blocks[i].hva,
		       info.blocks[i].first_page, info.blocks[i].n_pages);
	for (uint32_t i = 0; i < info.n_nics; i++)
		printf("nic=%s type=%s netdev=%s mac=%02x:%02x:%02x:%02x:%02x:%02x\n",
		       info.nics[i].name, info.nics[i].type, info.nics[i].netdev,
		       info.nics[i].mac[0], info.nics[i].mac[1], info.nics[i].mac[2],
		       info.nics[i].mac[3], info.nics[i].mac[4], info.nics[i].mac[5]);
	return 0;
}

static int run_describe(void)
{
	struct vmm_description is = {0};
	const struct vmm_machine *machine = &is.machine;
	int r = vmm_describe(qmp, &is, &error);

	if (r < 0)
		return fail("describe", r);
	for (uint32_t i = 0; i < machine->n_items; i++)
		printf("%s\t%s\n", machine->items[i].key, machine->items[i].value);
	vmm_description_done(&is);
	return 0;
}

/* Describe the machine, plug the device that @args names, and describe the machine again with
 * vmm_describe_again(), which knows the first description. Returns 0 if the second description
 * equals a new vmm_describe(), and differs from the first. */
static int sees_plugged(const char *driver, json_t *args)
{
	struct vmm_description first = {0}, again = {0}, whole = {0};
	int r = vmm_describe(qmp, &first, &error);

	if (r == 0)
		r = qmp_execute(qmp, "device_add", args, CLOCK_NS_PER_S, NULL);
	if (r == 0)
		r = vmm_describe_again(qmp, &first, &again, &error);
	if (r == 0)
		r = vmm_describe(qmp, &whole, &error);
	if (r < 0)
		return fail(driver, r);
	printf("%s: %u properties, then %u\n", driver, first.machine.n_items,
	       again.machine.n_items);
	r = vmm_machine_is_same(&again.machine, &whole.machine) &&
		    vmm_machine_is_same(&again.devices, &whole.devices) &&
		    vmm_machine_is_same(&again.cpus, &whole.cpus) &&
		    !vmm_machine_is_same(&again.machine, &first.machine) ? 0 : 1;
	vmm_description_done(&first);
	vmm_description_done(&again);
	vmm_description_done(&whole);
	return r;
}

/* vmm_describe_again() reuses a known description if nothing was plugged and QEMU's process is the
 * same. To see whether it did so, the test adds to the known description an item that no QEMU
 * has. */
static int run_again(void)
{
	struct vmm_description known = {0}, again = {0}, other = {0};
	bool is_used, is_used_for_another;
	int r = vmm_describe(qmp, &known, &error);

	if (r == 0)
		r = vmm_machine_add(&known.machine, "zebra", "striped");
	if (r == 0)
		r = vmm_describe_again(qmp, &known, &again, &error);
	known.pid++;
	if (r == 0)
		r = vmm_describe_again(qmp, &known, &other, &error);
	if (r < 0)
		return fail("again", r);
	is_used = vmm_machine_is_same(&known.machine, &again.machine);
	is_used_for_another = vmm_machine_is_same(&known.machine, &other.machine);
	printf("a known description is %sused again, that of another process is %sused\n",
	       is_used ? "" : "not ", is_used_for_another ? "" : "not ");
	vmm_description_done(&known);
	vmm_description_done(&again);
	vmm_description_done(&other);
	if (!is_used || is_used_for_another)
		return 1;
	r = sees_plugged("virtio-rng-pci",
			 json_pack("{s:s}", "driver", "virtio-rng-pci"));
	return r ? r : sees_plugged("qemu64-x86_64-cpu",
				    json_pack("{s:s, s:i, s:i, s:i}", "driver", "qemu64-x86_64-cpu",
					      "socket-id", 1, "core-id", 0, "thread-id", 0));
}

static int attach(void)
{
	uint64_t start_ns;
	int r;

	r = run_inspect();
	if (r != 0)
		return r;
	r = guestmem_open(info.pid, info.blocks, info.n_blocks, &mem, &error);
	if (r < 0)
		return fail("guestmem_open", r);
	start_ns = clock_mono_ns();
	r = track_open(info.pid, info.blocks, info.n_blocks, &tracker, &error);
	if (r < 0)
		return fail("track_open", r);
	printf("attach_us=%" PRIu64 " mapped=%d\n", (clock_mono_ns() - start_ns) / 1000,
	       guestmem_is_mapped(mem, 0));
	r = devstate_open(qmp, DEVSTATE_BYTES_MAX_DEFAULT, &device, &error);
	if (r < 0)
		return fail("devstate_open", r);
	image = mmap(NULL, (size_t)info.n_pages * VMM_PAGE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	buffer = mmap(NULL, (size_t)info.n_pages * VMM_PAGE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return image == MAP_FAILED || buffer == MAP_FAILED ? fail("mmap", -ENOMEM) : 0;
}

static uint32_t count_pages(uint32_t n_ranges)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_ranges; i++)
		n += ranges[i].n_pages;
	return n;
}

/* Copy the pages of `ranges` from the buffer into the image, as a standby would. */
static void apply(uint32_t n_ranges)
{
	const uint8_t *from = buffer;

	for (uint32_t i = 0; i < n_ranges; i++) {
		size_t size = (size_t)ranges[i].n_pages * VMM_PAGE_BYTES;

		memcpy(image + (size_t)ranges[i].first_page * VMM_PAGE_BYTES, from, size);
		from += size;
	}
}

static int compare_all(void)
{
	for (uint32_t i = 0; i < info.n_blocks; i++) {
		struct page_range all = {info.blocks[i].first_page, info.blocks[i].n_pages};
		int r = guestmem_read(mem, &all, 1, buffer);

		if (r < 0)
			return fail("guestmem_read", r);
		for (uint32_t p = 0; p < all.n_pages; p++)
			if (memcmp(buffer + (size_t)p * VMM_PAGE_BYTES,
				   image + (size_t)(all.first_page + p) * VMM_PAGE_BYTES,
				   VMM_PAGE_BYTES) != 0) {
				fprintf(stderr, "LOST WRITE: page %u of %s\n", p,
					info.blocks[i].name);
				return 1;
			}
	}
	return 0;
}

/* Scan until no dirty page is left, and copy all pages found. Adds the times of the scans and of
 * the copies to @scan_ns and @copy_ns, and the number of pages to @n_pages. */
static int scan_copy(uint64_t *scan_ns, uint64_t *copy_ns, uint64_t *n_pages)
{
	int r;

	do {
		uint64_t t0 = clock_mono_ns(), t1;
		uint32_t n;

		r = track_scan(tracker, TRACK_PROTECT, ranges, RANGES_MAX, &n);
		if (r < 0)
			return r;
		t1 = clock_mono_ns();
		*scan_ns += t1 - t0;
		*n_pages += count_pages(n);
		if (n > 0 && guestmem_read(mem, ranges, n, buffer) < 0)
			return -EIO;
		*copy_ns += clock_mono_ns() - t1;
		apply(n); /* the standby's work: not counted in the times */
	} while (r == 1);
	return 0;
}

/* Seal the guest once through the gate. */
static int one_gated_seal(uint32_t index, bool do_check)
{
	uint64_t part[N_PARTS] = {0}, t0 = clock_mono_ns(), t1, ignored_ns = 0;
	const uint8_t *blob;
	size_t blob_size;
	int r = gate_stop(gate, TIMEOUT_NS);

	part[STOP] = clock_mono_ns() - t0;
	if (r == 0)
		r = scan_copy(&part[SCAN], &part[COPY], &n_dirty_pages);
	t1 = clock_mono_ns();
	if (r == 0)
		r = gate_wait_end(gate, TIMEOUT_NS);
	part[DEVICE] = clock_mono_ns() - t1;
	if (r == 0)
		r = scan_copy(&part[SCAN2], &ignored_ns, &n_late_pages);
	if (r < 0)
		return fail("seal", r);
	if (do_check && compare_all() != 0)
		return 1;
	t1 = clock_mono_ns();
	r = gate_finish(gate, TIMEOUT_NS, &blob, &blob_size);
	part[CONT] = clock_mono_ns() - t1;
	if (r == 0)
		r = gate_arm(gate);
	for (int i = 0; i < PAUSE; i++)
		part[PAUSE] += part[i];
	for (int i = 0; i < N_PARTS; i++)
		times[i][index] = part[i];
	return r != 0 ? fail("the end of a seal", r) : 0;
}

static int one_seal(uint32_t index, bool do_check)
{
	uint64_t part[N_PARTS] = {0}, t0, t1, ignored_ns = 0;
	const uint8_t *blob;
	size_t blob_size;
	int r;

	t0 = clock_mono_ns();
	r = qmp_send_rendered(qmp, QMP_STOP, NULL);
	if (r == 0)
		r = qmp_wait(qmp, TIMEOUT_NS, NULL);
	part[STOP] = clock_mono_ns() - t0;
	/* Start to save the device state now: QEMU saves it while we scan and copy. */
	if (r == 0)
		r = devstate_start(device, QMP_CONT);
	if (r == 0)
		r = scan_copy(&part[SCAN], &part[COPY], &n_dirty_pages);
	t1 = clock_mono_ns();
	if (r == 0)
		r = devstate_finish(device, TIMEOUT_NS, &blob, &blob_size);
	part[DEVICE] = clock_mono_ns() - t1;
	if (r == 0)
		r = scan_copy(&part[SCAN2], &ignored_ns, &n_late_pages);
	if (r < 0)
		return fail("seal", r);
	if (do_check && compare_all() != 0)
		return 1;
	t1 = clock_mono_ns();
	r = qmp_send_rendered(qmp, QMP_CONT, QMP_STOP);
	if (r == 0)
		r = qmp_wait(qmp, TIMEOUT_NS, NULL);
	part[CONT] = clock_mono_ns() - t1;
	for (int i = 0; i < PAUSE; i++)
		part[PAUSE] += part[i];
	for (int i = 0; i < N_PARTS; i++)
		times[i][index] = part[i];
	return r < 0 ? fail("cont", r) : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(uint32_t n)
{
	for (int i = 0; i < N_PARTS; i++) {
		qsort(times[i], n, sizeof(uint64_t), by_value);
		printf("%-26s p50=%8.1f us  p99=%8.1f us\n", part_names[i],
		       (double)times[i][n / 2] / 1e3, (double)times[i][n * 99 / 100] / 1e3);
	}
	printf("seals=%u dirty_pages_mean=%" PRIu64 " late_pages=%" PRIu64 " stop_events=%u\n", n,
	       n_dirty_pages / n, n_late_pages, n_stop_events);
}

static void count_event(void *arg, const char *event, const json_t *data)
{
	(void)arg;
	(void)data;
	if (strcmp(event, "STOP") == 0)
		n_stop_events++;
}

/* Check the processor time that the vCPU uses. The guest computes without a pause. Its vCPU must be
 * busy while the guest runs, and idle while the guest is stopped. */
static int check_vcpus(void)
{
	struct timespec while_ns = {.tv_nsec = 100000000};
	struct vcpus *vcpus;
	uint64_t running_ns, stopped_ns;
	int r = vcpus_open(qmp, info.pid, &vcpus, &error);

	if (r < 0)
		return fail("vcpus_open", r);
	(void)nanosleep(&while_ns, NULL);
	r = qmp_execute(qmp, "stop", NULL, CLOCK_NS_PER_S, NULL);
	running_ns = vcpus_busy_ns(vcpus);
	(void)nanosleep(&while_ns, NULL);
	stopped_ns = vcpus_busy_ns(vcpus);
	if (r == 0)
		r = qmp_execute(qmp, "cont", NULL, CLOCK_NS_PER_S, NULL);
	vcpus_close(vcpus);
	if (r < 0)
		return fail("stop and cont", r);
	printf("vcpus running_us=%" PRIu64 " stopped_us=%" PRIu64 "\n", running_ns / 1000,
	       stopped_ns / 1000);
	return running_ns > 1000000 && running_ns > 20 * stopped_ns
		       ? 0 : fail("CPU time of the vCPUs", -ERANGE);
}

static int open_gate(void)
{
	int r = gate_open(qmp, info.pid, DEVSTATE_BYTES_MAX_DEFAULT, &gate, &error);

	return r < 0 ? fail("gate_open", r) : 0;
}

static int hold_at_gate(void)
{
	int r = run_inspect();

	if (r == 0)
		r = open_gate();
	if (r != 0)
		return r;
	r = gate_stop(gate, TIMEOUT_NS);
	if (r == 0)
		r = gate_wait_end(gate, TIMEOUT_NS);
	if (r < 0)
		return fail("hold", r);
	puts("held");
	pause();
	return 1;
}

static int run_seals(uint32_t n, uint32_t check_every, bool is_gated)
{
	const struct timespec epoch = {.tv_nsec = 5000000};
	uint64_t scan_ns = 0, copy_ns = 0, n_first = 0;
	int r = attach();

	if (r == 0 && is_gated)
		r = open_gate();
	if (r != 0)
		return r;
	for (int i = 0; i < N_PARTS; i++)
		times[i] = calloc(n, sizeof(uint64_t));
	qmp_set_event_handler(qmp, count_event, NULL);
	/* Copy the whole memory for the first time, while the guest runs. */
	r = scan_copy(&scan_ns, &copy_ns, &n_first);
	if (r < 0)
		return fail("first copy", r);
	printf("first_copy pages=%" PRIu64 " scan_us=%" PRIu64 " copy_us=%" PRIu64 "\n", n_first,
	       scan_ns / 1000, copy_ns / 1000);
	if (n_first < info.n_pages) {
		fprintf(stderr, "the first scan reported %" PRIu64 " of %u pages\n", n_first,
			info.n_pages);
		return 1;
	}
	r = gate ? gate_arm(gate) : qmp_arm(qmp, QMP_STOP);
	if (r < 0)
		return fail("arm", r);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		(void)nanosleep(&epoch, NULL); /* lets the guest run for the
						* length of an epoch */
		r = (gate ? one_gated_seal : one_seal)(i, i % check_every == check_every - 1);
	}
	if (r == 0)
		r = check_vcpus();
	if (r != 0)
		return r;
	report(n);
	n_stop_events--; /* leave out the stop that check_vcpus() made */
	if (n_stop_events != n) {
		fprintf(stderr, "%u STOP events in %u seals\n", n_stop_events, n);
		return 1;
	}
	gate = gate_close(gate);
	device = devstate_close(device);
	tracker = track_close(tracker);
	mem = guestmem_close(mem);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc >= 3 ? argv[1] : "";
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3) {
		fprintf(stderr, "usage: vmm_attach inspect|describe|again|open|hold|held|seal|gate "
				"SOCKET [N CHECK]\n");
		return 2;
	}
	r = open_qmp(argv[2]);
	if (r != 0 || strcmp(verb, "open") == 0)
		return r;
	if (strcmp(verb, "inspect") == 0) {
		r = run_inspect();
	} else if (strcmp(verb, "describe") == 0) {
		r = run_describe();
	} else if (strcmp(verb, "again") == 0) {
		r = run_again();
	} else if (strcmp(verb, "hold") == 0) {
		r = attach();
		if (r == 0) {
			puts("tracking");
			pause();
		}
	} else if (strcmp(verb, "held") == 0) {
		r = hold_at_gate();
	} else if ((strcmp(verb, "seal") == 0 || strcmp(verb, "gate") == 0) && argc == 5) {
		r = run_seals((uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]), *verb == 'g');
	} else {
		r = 2;
	}
	qmp = qmp_close(qmp);
	return r;
}
