/* standby_drive - calls the standby's code for test_standby_promote, one step per run.
 *
 *	standby_drive ship QMP STATE_DIR TERM full|delta
 *		stop the guest behind QMP and store its state in STATE_DIR as the next epoch, as
 *		if the primary had sent it. `delta` encodes against the copy in STATE_DIR. The
 *		guest stays stopped.
 *	standby_drive compare QMP STATE_DIR
 *              compare the copy in STATE_DIR with the memory of the guest behind QMP, and with the
 *              device state of the last `ship`. The guest must have been stopped since that `ship`.
 *	standby_drive start STATE_DIR RUN_DIR COMMAND_FILE TERM
 *	standby_drive promote STATE_DIR RUN_DIR COMMAND_FILE TERM MIN_EPOCH
 *	standby_drive boot STATE_DIR RUN_DIR COMMAND_FILE TERM
 *	standby_drive fence STATE_DIR RUN_DIR COMMAND_FILE TERM
 *	standby_drive stop STATE_DIR RUN_DIR COMMAND_FILE purge|keep
 *	standby_drive status STATE_DIR RUN_DIR COMMAND_FILE
 *		give the order of that name (status: none). Print the status as key=value lines.
 *		Each order runs in a new process, which must take over what the previous process
 *		left.
 * Exit: 0 on success; 1 on failure, with a text on stderr; 2 on wrong usage.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "standby/epochlog.h"
#include "standby/standby.h"
#include "standby_feed.h"
#include "vmm/devstate.h"
#include "vmm/guestmem.h"
#include "vmm/inspect.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define VM_NAME	   "drive"

static void die(const char *what, const char *why) __attribute__((noreturn));

static void die(const char *what, const char *why)
{
	fprintf(stderr, "standby_drive: %s: %s\n", what, why);
	exit(1);
}

static void must(int r, const char *what)
{
	if (r < 0)
		die(what, strerror(-r));
}

/* ---- ship */

struct shipment {
	struct qmp *qmp;
	struct vmm_info info;
	struct guestmem *mem;
	struct devstate *devstate;
	struct ramfile rf;
	struct epochlog log;
	struct feed feed;
};

static void describe(const struct vmm_info *info, struct wire_geometry *g)
{
	memset(g, 0, sizeof(*g));
	strcpy(g->machine, info->machine);
	strcpy(g->qemu_version, info->qemu_version);
	g->n_vcpus = (uint16_t)info->n_vcpus;
	g->ram_bytes = info->ram_bytes;
	g->n_nics = (uint8_t)info->n_nics;
	for (uint32_t i = 0; i < info->n_nics; i++)
		memcpy(g->nics[i], info->nics[i].mac, 6);
	g->n_blocks = (uint16_t)info->n_blocks;
	for (uint32_t i = 0; i < info->n_blocks; i++) {
		strcpy(g->blocks[i].name, info->blocks[i].name);
		g->blocks[i].kind =
			info->blocks[i].kind == VMM_BLOCK_RAM ? WIRE_BLOCK_RAM : WIRE_BLOCK_OTHER;
		g->blocks[i].size_bytes = info->blocks[i].size_bytes;
	}
}

static void attach(struct shipment *s, const char *qmp_path)
{
	struct error error;
	int r = qmp_open(qmp_path, TIMEOUT_NS, &s->qmp);

	if (r < 0)
		die(qmp_path, qmp_open_error(r));
	if (vmm_inspect(s->qmp, &s->info, &error) < 0 ||
	    guestmem_open(s->info.pid, s->info.blocks, s->info.n_blocks, &s->mem, &error) < 0 ||
	    devstate_open(s->qmp, DEVSTATE_BYTES_MAX_DEFAULT, &s->devstate, &error) < 0)
		die(qmp_path, error.text);
	must(qmp_execute(s->qmp, "stop", NULL, TIMEOUT_NS, NULL), "stop");
}

static void feed_pages(struct shipment *s, bool full)
{
	static const uint8_t zero[WIRE_PAGE_SIZE];
	uint8_t page[WIRE_PAGE_SIZE], reference[WIRE_PAGE_SIZE];

	for (uint32_t i = 0; i < s->info.n_pages; i++) {
		struct page_range range = {i, 1};

		must(guestmem_read(s->mem, &range, 1, page), "read the guest");
		memcpy(reference, full ? zero : ramfile_page(&s->rf, i), sizeof(reference));
		feed_page(&s->feed, i, page, reference, !full);
	}
}

/* Returns the path of the file in which `ship` leaves the device state for `compare`. `compare`
 * cannot save the state itself: a second save differs, even of a stopped guest. */
static const char *blob_path(const char *state_dir, char path[256])
{
	snprintf(path, 256, "%s.blob", state_dir);
	return path;
}

static void feed_device(struct shipment *s, bool full)
{
	uint8_t *reference = calloc(1, WIRE_BLOB_MAX);
	const uint8_t *blob;
	char path[256];
	size_t size;

	must(devstate_start(s->devstate, NULL), "save the device state");
	must(devstate_finish(s->devstate, TIMEOUT_NS, &blob, &size), "save the device state");
	if (!reference || size > WIRE_BLOB_MAX)
		die("device state", "too large");
	must(fd_write_file_atomic(blob_path(s->rf.dir, path), blob, size), path);
	if (!full)
		memcpy(reference, s->rf.blob, s->rf.blob_bytes);
	feed_blob(&s->feed, blob, (uint32_t)size, reference, !full);
	free(reference);
}

static void take(struct shipment *s)
{
	const uint8_t *at = s->feed.bytes, *end = at + s->feed.size;
	struct epochcheck_error error;
	struct wire_frame frame;
	int r = 0;

	while (at < end && r == 0) {
		must(wire_frame_decode(&at, end, &frame, NULL), "decode");
		r = epochlog_frame(&s->log, &frame, NULL, &error);
		if (r < 0)
			die("refused", error.why.text);
	}
	if (r != 1)
		die("ship", "the epoch is not complete");
	FAULT_POINT(FAULT_STANDBY_BEFORE_ACK);
	must(epochlog_apply(&s->log), "apply");
}

static int ship(const char *qmp_path, const char *state_dir, uint64_t term, bool full)
{
	static struct shipment s;
	struct wire_geometry g;

	attach(&s, qmp_path);
	must(ramfile_open(state_dir, &s.rf), state_dir);
	must(ramfile_reserve(&s.rf, s.info.ram_bytes), "reserve RAM");
	must(epochlog_open(&s.rf, NULL, 2 * s.info.ram_bytes, &s.log), "open the epoch log");
	if (s.rf.meta.term != term)
		must(epochlog_set_term(&s.log, term), "enter the term");
	describe(&s.info, &g);
	feed_init(&s.feed, term, &g);
	s.feed.epoch = epochlog_complete(&s.log);
	feed_geometry(&s.feed);
	feed_begin(&s.feed, full);
	feed_pages(&s, full);
	feed_device(&s, full);
	feed_end(&s.feed);
	take(&s);
	printf("epoch=%" PRIu64 "\nbytes=%zu\n", epochlog_complete(&s.log), s.feed.size);
	feed_done(&s.feed);
	epochlog_close(&s.log);
	ramfile_close(&s.rf);
	s.devstate = devstate_close(s.devstate);
	s.mem = guestmem_close(s.mem);
	s.qmp = qmp_close(s.qmp);
	return 0;
}

/* ---- compare */

static int compare(const char *qmp_path, const char *state_dir)
{
	static struct shipment s;
	uint8_t page[WIRE_PAGE_SIZE];
	char path[256], *blob;
	size_t size;

	attach(&s, qmp_path);
	must(ramfile_open(state_dir, &s.rf), state_dir);
	for (uint32_t i = 0; i < s.info.n_pages; i++) {
		struct page_range range = {i, 1};
		const uint8_t *copy = ramfile_page(&s.rf, i);

		must(guestmem_read(s.mem, &range, 1, page), "read the guest");
		if (!copy || memcmp(page, copy, sizeof(page)) != 0) {
			fprintf(stderr, "page %" PRIu32 ": ", i);
			die("compare", "the copy differs");
		}
	}
	must(fd_read_file(blob_path(state_dir, path), WIRE_BLOB_MAX, &blob, &size), path);
	if (size != s.rf.blob_bytes || memcmp(blob, s.rf.blob, size) != 0)
		die("compare", "the device state differs");
	free(blob);
	ramfile_close(&s.rf);
	s.devstate = devstate_close(s.devstate);
	s.mem = guestmem_close(s.mem);
	s.qmp = qmp_close(s.qmp);
	return 0;
}

/* ---- orders */

/* Write to RUN_DIR/may_run the term in which a guest is about to run, and the content of `meta` at
 * that moment. */
static int note_may_run(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error)
{
	char *const *args = arg;
	char path[PATH_MAX], text[64];
	AUTO_FREE char *meta = NULL;
	size_t size;

	(void)limit_ns;
	(void)ret_error;
	snprintf(path, sizeof(path), "%s/meta", args[0]);
	if (fd_read_file(path, 4096, &meta, &size) < 0)
		die("may_run", "no meta");
	snprintf(text, sizeof(text), "%" PRIu64 " %s", term,
		 strstr(meta, "phase=copy") ? "copy" : "no copy");
	snprintf(path, sizeof(path), "%s/may_run", args[1]);
	return fd_write_file_atomic(path, text, strlen(text));
}

static struct standby *open_standby(char **args)
{
	struct standby_config config = {.vm = VM_NAME, .state_dir = args[0], .run_dir = args[1],
					.command_file = args[2], .may_run = note_may_run,
					.changed_arg = args};
	struct error error;
	struct standby *sb;

	if (standby_open(&config, &sb, &error) < 0)
		die("open", error.text);
	return sb;
}

static void print_status(struct standby *sb)
{
	struct standby_status s;

	standby_status(sb, &s);
	printf("state=%d\nterm=%" PRIu64 "\ncomplete=%" PRIu64 "\napplied=%" PRIu64
	       "\nqemu_pid=%d\nguest_ended=%d\nqmp=%s\ntext=%s\n%s",
	       (int)s.state, s.term, s.complete_epoch, s.applied_epoch, s.qemu_pid,
	       (int)s.guest_ended, s.qmp, s.text, s.stats);
}

/* Wait until the standby's thread has examined what an earlier process left behind. The thread does
 * this before it carries out its first order, so give it an order that changes nothing. */
static void settle(struct standby *sb)
{
	struct error error;

	if (standby_fence(sb, 0, &error) != -ESTALE)
		die("status", "term 0 is not stale?");
}

static int order(const char *verb, char **args, int n_args)
{
	struct error error = {""};
	struct standby *sb = open_standby(args);
	uint64_t number = n_args > 3 ? strtoull(args[3], NULL, 10) : 0, epoch = 0;
	int r = 0;

	if (strcmp(verb, "start") == 0)
		r = standby_start_qemu(sb, number, &error);
	else if (strcmp(verb, "promote") == 0)
		r = standby_promote(sb, number, n_args > 4 ? strtoull(args[4], NULL, 10) : 0,
				    &epoch, &error);
	else if (strcmp(verb, "boot") == 0)
		r = standby_boot(sb, number, &error);
	else if (strcmp(verb, "fence") == 0)
		r = standby_fence(sb, number, &error);
	else if (strcmp(verb, "stop") == 0)
		r = standby_stop(sb, UINT64_MAX, n_args > 3 && strcmp(args[3], "purge") == 0,
				 &error);
	else
		settle(sb);
	printf("result=%d\n", r);
	print_status(sb);
	standby_close(sb);
	if (r < 0)
		die(verb, error.text);
	return 0;
}

int main(int argc, char **argv)
{
	struct error error;

	if (fault_init(&error) < 0)
		die("HOLDFAST_FAULT", error.text);
	if (argc == 6 && strcmp(argv[1], "ship") == 0)
		return ship(argv[2], argv[3], strtoull(argv[4], NULL, 10),
			    strcmp(argv[5], "full") == 0);
	if (argc == 4 && strcmp(argv[1], "compare") == 0)
		return compare(argv[2], argv[3]);
	if (argc >= 5 && strcmp(argv[1], "ship") != 0)
		return order(argv[1], argv + 2, argc - 2);
	fprintf(stderr, "usage: see the head of standby_drive.c\n");
	return 2;
}
