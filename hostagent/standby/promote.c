#include "standby/promote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervision/progress.h"
#include "vmm/guestclock.h"
#include "vmm/guestmem.h"

AUTO_DEFINE(json_t *, json_decref)

/* The state of one promotion, passed from step to step. */
struct promotion {
	struct epochlog *log;
	struct ramfile *rf;
	struct qemu *q;
	uint64_t term;
	uint64_t timeout_ns;  /* longest time that a step may go without progress */
	/* when the present step times out: timeout_ns after the last progress */
	uint64_t deadline_ns;
	const struct clockview *view;
	struct promote_clock *clock;
	const struct promote_mark *mark;
	struct promote_times times;
	struct error *error;
};

static int fail(struct promotion *p, int error, const char *what, const char *why)
{
	return error_set(p->error, error, "%s: %.800s", what, why);
}

/* Report why a QMP command has failed. If QEMU has ended, its log knows more than its monitor. */
static int fail_qmp(struct promotion *p, int error, const char *what)
{
	if (qemu_died(p->q))
		return fail(p, error, what, p->q->end.how.text);
	return fail(p, error, what, qmp_error(p->q->qmp));
}

/* Call this after each progress: it starts the timeout anew. */
static void moved(struct promotion *p)
{
	p->deadline_ns = clock_mono_ns() + p->timeout_ns;
}

static uint64_t left_ns(const struct promotion *p)
{
	uint64_t now_ns = clock_mono_ns();

	return now_ns < p->deadline_ns ? p->deadline_ns - now_ns : 0;
}

int promote_check(const struct epochlog *log, uint64_t term, uint64_t min_epoch,
		  struct error *ret_error)
{
	const struct ramfile_meta *meta = &log->rf->meta;
	uint64_t held = epochlog_complete(log);

	if (meta->phase != RAMFILE_COPY && meta->term == term)
		return -EALREADY;
	if (term <= meta->term)
		return error_set(ret_error, -ESTALE,
				 "term %" PRIu64 " is not newer than term %" PRIu64
				 ", which is held here",
				 term, meta->term);
	if (meta->phase != RAMFILE_COPY)
		return error_set(ret_error, -ESTALE,
				 "the guest was promoted here already, in term %" PRIu64,
				 meta->term);
	if (held == 0)
		return error_set(ret_error, -ENODATA,
				 "no complete epoch is held: there is nothing to go on from");
	if (held < min_epoch)
		return error_set(ret_error, -ENODATA,
				 "the last complete epoch is %" PRIu64 ", at least %" PRIu64
				 " is asked for: clients have seen replies that this copy forgets",
				 held, min_epoch);
	return 0;
}

/* ---- steps */

static int step_apply(struct promotion *p)
{
	int r = epochlog_apply(p->log);

	if (r < 0)
		return fail(p, r, "cannot apply the last complete epoch", p->log->why.text);
	return 0;
}

/* Hand the images over to QEMU: write all applied changes to the disk, then close the images. After
 * that this process has no descriptor of the images, so it cannot write to them (epochlog.h,
 * L8). */
static int step_disks(struct promotion *p)
{
	struct images *images = p->log->images;
	struct error error;
	int r;

	if (!images || images->n == 0)
		return 0;
	r = images_open_to_sync(images, &error);
	if (r == 0)
		r = images_sync(images, &error);
	if (r == 0)
		r = images_hand_over(images, &error);
	else
		images_close(images);
	return r < 0 ? fail(p, r, "the guest's disks", error.text) : 0;
}

/* Write all blocks except main memory into QEMU's memory. A QEMU with -incoming leaves these blocks
 * empty, because a migration usually fills them. With an empty firmware block the guest could never
 * boot again. With empty video RAM its screen would be black. */
static int step_blocks(struct promotion *p)
{
	struct guestmem *mem = NULL;
	struct error error;
	int r;

	if (!ramfile_has_layout(p->rf, &p->q->geometry))
		return fail(p, -EINVAL, "cannot write the memory blocks",
			    "the QEMU command makes other blocks of memory than the copy has");
	r = guestmem_open(p->q->info.pid, p->q->info.blocks, p->q->info.n_blocks, &mem, &error);
	if (r < 0)
		return fail(p, r, "cannot write the memory blocks", error.text);
	for (uint32_t i = 0; r == 0 && i < p->q->info.n_blocks; i++) {
		const struct vmm_block *b = &p->q->info.blocks[i];
		struct page_range range = {b->first_page, b->n_pages};
		const uint8_t *page = ramfile_page(p->rf, b->first_page);

		if (b->kind != VMM_BLOCK_RAM)
			r = page ? guestmem_write(mem, &range, 1, page) : -EINVAL;
	}
	mem = guestmem_close(mem);
	if (r < 0)
		return fail(p, r, "cannot write the memory blocks", strerror(-r));
	return 0;
}

/* How often to check how much of the state QEMU has read. Events of QEMU wake us earlier. */
#define LOAD_LOOK_NS (100 * CLOCK_NS_PER_MS)

/* How far the incoming migration has got. */
struct load_state {
	/* The file with the device state. QEMU reads it through a duplicate of this descriptor.
	 * Both share one file offset, which shows how much QEMU has read */
	int fd;
	uint64_t read_bytes; /* how much of the file QEMU had read at the last check */
	bool completed;
	bool failed;
};

static void on_event(void *arg, const char *event, const json_t *data)
{
	struct load_state *load = arg;
	const char *status = json_string_value(json_object_get(data, "status"));

	if (strcmp(event, "MIGRATION") != 0 || !status)
		return;
	load->completed |= strcmp(status, "completed") == 0;
	load->failed |= strcmp(status, "failed") == 0;
}

/* If QEMU has read more of the state since the last check, count this as progress. */
static void look_at_load(struct promotion *p, struct load_state *load)
{
	off_t at = lseek(load->fd, 0, SEEK_CUR);

	if (at < 0 || (uint64_t)at <= load->read_bytes)
		return;
	load->read_bytes = (uint64_t)at;
	progress_to(p->rf->progress, load->read_bytes);
	moved(p);
}

static int load_timed_out(struct promotion *p, const struct load_state *load)
{
	char how[96];

	(void)snprintf(how, sizeof(how),
		       "it has read %" PRIu64 " of %" PRIu32
		       " bytes, and nothing moved for %" PRIu64 " ms",
		       load->read_bytes, p->rf->blob_bytes, p->timeout_ns / CLOCK_NS_PER_MS);
	return fail(p, -ETIMEDOUT, "QEMU did not load the device state", how);
}

static int wait_loaded(struct promotion *p, struct load_state *load)
{
	struct pollfd fds[2] = {{.fd = qmp_fd(p->q->qmp), .events = POLLIN},
				{.fd = p->q->pidfd, .events = POLLIN}};

	while (!load->completed && !load->failed) {
		uint64_t now_ns = clock_mono_ns(), look_ns = now_ns + LOAD_LOOK_NS;
		int n = poll(
			fds, 2,
			clock_poll_ms(now_ns, look_ns < p->deadline_ns ? look_ns : p->deadline_ns));

		look_at_load(p, load);
		if (n == 0 && left_ns(p) == 0)
			return load_timed_out(p, load);
		if (n > 0 && qmp_pump(p->q->qmp) < 0)
			load->failed = true;
	}
	if (load->completed)
		return 0;
	/* A QEMU that could not load the state exits, and its log says why. */
	if (qemu_await_exit(p->q))
		return fail(p, -EIO, "QEMU did not take the device state", p->q->end.how.text);
	return fail(p, -EIO, "QEMU did not take the device state", "the migration failed");
}

static int step_load(struct promotion *p)
{
	AUTO_CLOSE int fd = openat(p->rf->dir_fd, "device", O_RDONLY | O_CLOEXEC);
	struct load_state load = {.fd = fd};
	struct qmp *qmp = p->q->qmp;
	int r;

	if (fd < 0)
		return fail(p, -errno, "cannot open the device state", strerror(errno));
	progress_begin(p->rf->progress, "loaded", "of device state into QEMU", p->rf->blob_bytes);
	qmp_set_event_handler(qmp, on_event, &load);
	r = qmp_send_with_fd(qmp, "getfd", json_pack("{s:s}", "fdname", "holdfast-device"), fd);
	if (r == 0)
		r = qmp_send(qmp, "migrate-incoming",
			     json_pack("{s:s}", "uri", "fd:holdfast-device"));
	if (r == 0)
		/* wait for the answers to both commands */
		r = qmp_wait(qmp, left_ns(p), NULL);
	if (r == 0)
		r = qmp_wait(qmp, left_ns(p), NULL);
	if (r < 0) {
		r = fail_qmp(p, r == -ETIMEDOUT ? r : -EIO, "QEMU: migrate-incoming");
	} else {
		r = wait_loaded(p, &load);
	}
	if (p->q->qmp)
		qmp_set_event_handler(p->q->qmp, NULL, NULL);
	return r;
}

/* longest time that clients wait for this host's disk */
#define RECORD_MAX_NS (100 * CLOCK_NS_PER_MS)

static int step_record(struct promotion *p)
{
	struct ramfile_meta meta = p->rf->meta;
	struct error why;
	int r;

	/* `meta` is on tmpfs, so a power failure deletes it. Then the record on the disk shows
	 * which host ran the guest last. */
	if (p->mark->record &&
	    p->mark->record(p->mark->arg, p->term, RECORD_MAX_NS, &why) < 0)
		log_error("term=%" PRIu64 " %s, ignoring: clients wait; but if both hosts now lose "
			  "their power, this one does not know that it ran the guest",
			  p->term, why.text);
	/* End the disk log, so that no later agent replays it over what the guest itself writes.
	 * Until here the images were the copy that the log describes. */
	r = p->log->durable ? durable_end(p->log->durable, &why) : 0;
	if (r < 0)
		return fail(p, r, "the guest's disks", why.text);
	meta.term = p->term;
	meta.phase = RAMFILE_PROMOTED;
	meta.vote = RAMFILE_VOTE_NONE;
	r = ramfile_store_meta(p->rf, &meta);
	if (r < 0)
		return fail(p, r, "cannot record the new term", strerror(-r));
	return 0;
}

/* Measured time from setting the clock until QEMU has started the guest after `cont`. */
#define CONT_NS (1 * CLOCK_NS_PER_MS)

static const char *clock_obstacle(int error)
{
	switch (error) {
	case -ENOENT:
	case -EMSGSIZE:
		return "this QEMU's clock is not found";
	case -ESTALE:
		return "the loaded state has another clock than the primary told";
	default:
		return "QEMU's memory cannot be read or written";
	}
}

/* Set the guest's clock forward: the loaded state has the time of the seal, but the clock should
 * show the present time. If this fails, the promotion goes on, and the guest's clock stays late. */
static int step_clock(struct promotion *p)
{
	const struct wire_clock *told = &p->view->complete;
	const struct clock_words saved = {.ticks = told->saved_ticks, .clock = told->saved_ns};
	struct clock_words wanted;
	int r;

	p->clock->step_ns = 0;
	p->clock->why = "";
	if (p->clock->step_max_ns == 0) {
		p->clock->why = "clock = off in the VM's file";
	} else if (!clockview_wanted(p->view, clock_mono_ns() + CONT_NS, &wanted)) {
		p->clock->why = "no epoch told what it is to be";
	} else {
		r = guestclock_promote(p->q->info.pid, p->rf->blob, p->rf->blob_bytes, &saved,
				       &wanted, p->clock->step_max_ns, told->ticks_per_s,
				       &p->clock->step_ns);
		if (r < 0)
			p->clock->why = clock_obstacle(r);
	}
	if (*p->clock->why)
		log_warn("term=%" PRIu64 " the guest goes on with the clock of its last epoch: %s",
			 p->term, p->clock->why);
	else
		log_info("term=%" PRIu64 " the guest's clock was set forward by %" PRIu64 " us",
			 p->term, p->clock->step_ns / CLOCK_NS_PER_US);
	return 0;
}

static int step_cont(struct promotion *p)
{
	int r = qmp_execute(p->q->qmp, "cont", NULL, left_ns(p), NULL);

	if (r < 0)
		return fail_qmp(p, -ESRCH, "QEMU: cont");
	return 0;
}

typedef int (*step_function)(struct promotion *p);

static int timed(struct promotion *p, step_function step, uint64_t *ret_ns)
{
	uint64_t begin_ns = clock_mono_ns();
	int r;

	moved(p);
	r = step(p);
	*ret_ns = clock_mono_ns() - begin_ns;
	return r;
}

/* In phase PROMOTED, an earlier agent has died shortly before or after `cont`. Check that QEMU
 * either waits for `cont` ("paused") or runs the guest ("running"). In any other state the guest
 * must not be continued. */
static int check_waits(struct promotion *p)
{
	AUTO(json_decref) json_t *answer = NULL;
	const char *status;
	int r;

	if (!p->q->qmp)
		return fail(p, -ESRCH, "the promoted QEMU cannot be asked",
			    p->q->end.is_set ? p->q->end.how.text
					     : "another client holds its monitor");
	r = qmp_execute(p->q->qmp, "query-status", NULL, left_ns(p), &answer);
	if (r < 0)
		return fail_qmp(p, -ESRCH, "QEMU: query-status");
	status = json_string_value(json_object_get(answer, "status"));
	if (!status || (strcmp(status, "paused") != 0 && strcmp(status, "running") != 0))
		return fail(p, -ESRCH, "the promoted QEMU neither runs nor waits",
			    status ? status : "?");
	return 0;
}

/* Ask QEMU whether the guest runs. Called after QEMU has answered `cont`. */
static bool is_running(struct promotion *p)
{
	AUTO(json_decref) json_t *answer = NULL;

	return qmp_execute(p->q->qmp, "query-status", NULL, left_ns(p), &answer) == 0 &&
	       json_is_true(json_object_get(answer, "running"));
}

/* Make QEMU send frames from the guest's MAC addresses, so that the switches learn where the guest
 * is now. QEMU sends them in several rounds, because some may be lost. Then leave QEMU's monitor to
 * others. */
static void announce(struct promotion *p)
{
	int r = qmp_execute(p->q->qmp, "announce-self",
			    json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds",
				      5, "step", 100),
			    left_ns(p), NULL);

	if (r < 0)
		log_warn("term=%" PRIu64 " announce-self: %s, ignoring", p->term,
			 qmp_error(p->q->qmp));
	qemu_release_monitor(p->q);
}

/* Complete the promotion. The guest runs already, so an error here must not make the promotion
 * fail. */
static void finish(struct promotion *p)
{
	struct ramfile_meta meta = p->rf->meta;
	int r;

	meta.phase = RAMFILE_RUNNING;
	r = ramfile_store_meta(p->rf, &meta);
	if (r < 0)
		log_error("term=%" PRIu64 " cannot record that the guest runs: %s, ignoring",
			  p->term, strerror(-r));
	p->times.is_running = is_running(p);
	announce(p);
}

int promote_guest(struct epochlog *log, struct qemu *q, uint64_t term, uint64_t timeout_ns,
		  const struct clockview *view, struct promote_clock *clock,
		  const struct promote_mark *mark,
		  struct promote_times *ret_times, struct error *ret_error)
{
	struct promotion p = {.log = log, .rf = log->rf, .q = q, .term = term,
			      .timeout_ns = timeout_ns, .view = view, .clock = clock, .mark = mark,
			      .error = ret_error};
	uint64_t begin_ns = clock_mono_ns();
	int r = 0;

	moved(&p);
	/* load the copy into QEMU; but if an earlier agent died after it had done so, use the QEMU
	 * that it left */
	if (p.rf->meta.phase == RAMFILE_COPY) {
		r = timed(&p, step_apply, &p.times.apply_ns);
		if (r == 0)
			r = timed(&p, step_disks, &p.times.disks_ns);
		if (r == 0)
			r = timed(&p, step_blocks, &p.times.blocks_ns);
		if (r == 0)
			r = timed(&p, step_load, &p.times.load_ns);
		FAULT_POINT(FAULT_STANDBY_PROMOTING);
		if (r == 0)
			r = timed(&p, step_record, &p.times.record_ns);
		if (r == 0)
			r = timed(&p, step_clock, &p.times.clock_ns);
	} else {
		r = check_waits(&p);
	}
	FAULT_POINT(FAULT_STANDBY_PROMOTING);
	if (r == 0)
		r = timed(&p, step_cont, &p.times.cont_ns);
	if (r < 0)
		return r;
	p.times.total_ns = clock_mono_ns() - begin_ns;
	moved(&p);
	finish(&p);
	*ret_times = p.times;
	return 0;
}

int promote_drill(struct ramfile *rf, struct qemu *q, uint64_t timeout_ns, struct error *ret_error)
{
	static const step_function steps[] = {step_blocks, step_load, step_cont};
	struct promotion p = {.rf = rf, .q = q, .timeout_ns = timeout_ns, .error = ret_error};
	uint64_t took_ns;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(steps); i++)
		r = timed(&p, steps[i], &took_ns);
	if (r == 0)
		announce(&p);
	return r;
}

int promote_rehearse(struct epochlog *log, struct qemu *q, uint64_t timeout_ns,
		     struct error *ret_error)
{
	struct promotion p = {
		.log = log, .rf = log->rf, .q = q, .timeout_ns = timeout_ns, .error = ret_error};
	uint64_t took_ns;
	int r = timed(&p, step_apply, &took_ns);

	if (r == 0)
		r = timed(&p, step_blocks, &took_ns);
	return r < 0 ? r : timed(&p, step_load, &took_ns);
}
