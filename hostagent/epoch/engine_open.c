/* Opens an engine, and ends it in three ways; see engine.h and engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/hurry.h"
#include "base/log.h"
#include "supervision/progress.h"
#include "vmm/rx_filter.h"
#include "vmm/taps.h"

#define QMP_OPEN_NS  (10 * CLOCK_NS_PER_S)
#define QMP_ORDER_NS (10 * CLOCK_NS_PER_S)

void engine_free(struct engine *e)
{
	if (!e)
		return;
	engine_aside_end(e);
	progress_end(e->config.progress);
	link_free(e->stream.link);
	engine_machine_done(&e->machine);
	engine_verify_close(&e->verify);
	engine_ram_close(&e->ram);
	engine_disks_free(&e->disks);
	seal_free(e->capture.seal);
	devstate_close(e->capture.device);
	track_close(e->capture.track);
	guestmem_close(e->capture.mem);
	vcpus_close(e->guest.vcpus);
	guestclock_close(e->guest.clock);
	qmp_close(e->guest.qmp);
	engine_watch_close(&e->watch);
	encoder_free(e->epochs.encoder);
	retain_free(e->epochs.retain);
	fd_close(e->wake_fd);
	pthread_mutex_destroy(&e->status_lock);
	free(e->facts);
	free(e);
}

static int need_running(struct engine *e, struct error *error)
{
	int r;

	if (e->guest.info.running || e->config.handed)
		return 0;
	if (strcmp(e->guest.info.runstate, "shutdown") == 0) {
		snprintf(
			error->text, sizeof(error->text),
			"the guest has shut itself down and its QEMU stays (-no-shutdown); start "
			"it again (QMP `system_reset`, `cont`), then protect it");
		return -ESHUTDOWN;
	}
	if (strcmp(e->guest.info.runstate, "postmigrate") == 0) {
		snprintf(error->text, sizeof(error->text),
			 "the guest was migrated away, or saved (runstate postmigrate): what is "
			 "left here may "
			 "not run beside it; let it run (QMP `cont`) if it is the only one, then "
			 "protect it");
		return -ESHUTDOWN;
	}
	if (!e->config.is_restart) {
		snprintf(error->text, sizeof(error->text),
			 "the guest is paused; let it run (QMP `cont`) and try again");
		return -EAGAIN;
	}
	log_warn("vm=%s term=%" PRIu64
		 " found stopped: an agent died inside a pause; letting it run",
		 e->config.vm, e->term);
	r = qmp_execute(e->guest.qmp, "cont", NULL, QMP_ORDER_NS, NULL);
	if (r < 0)
		snprintf(error->text, sizeof(error->text), "the guest does not go on: %s",
			 *qmp_error(e->guest.qmp) ? qmp_error(e->guest.qmp) : strerror(-r));
	return r;
}

/* Each network card needs a tap of its own. engine_watch_open() has already compared the taps with
 * QEMU's descriptors. */
static int need_tap_per_card(const struct engine *e, struct error *error)
{
	char taps[TAP_NAMES_TEXT_MAX];

	if (e->guest.info.n_nics == e->config.taps->n)
		return 0;
	return error_set(error, -ENOTSUP,
			 "the guest has %u network cards, but [vm] tap names %u: %s; each card "
			 "must have a tap of its own",
			 e->guest.info.n_nics, e->config.taps->n,
			 tap_names_print(e->config.taps, " ", taps, sizeof(taps)));
}

/* Open the object that saves the guest's devices. */
static int open_saving(struct engine *e, struct error *error)
{
	int r = devstate_open(e->guest.qmp, WIRE_BLOB_MAX, &e->capture.device, error);

	if (r == 0)
		engine_open_pipe(e);
	return r;
}

/* If QEMU runs in another pid namespace, it can report thread ids that do not exist here. The vCPU
 * threads are then not found, and the guest counts as always busy. */
static void open_vcpus(struct engine *e, struct error *error)
{
	if (vcpus_open(e->guest.qmp, e->guest.info.pid, &e->guest.vcpus, error) < 0)
		log_warn("vm=%s %s; every pause counts in full, and it cannot be throttled",
			 e->config.vm, error->text);
}

/* Open what only seals need. If the agent's previous program handed over facts (facts.h), this is
 * done after the guest was resumed, because each command to QEMU takes time in which the guest
 * would stand still. */
static int open_late(struct engine *e, struct error *error)
{
	bool is_paused = e->guest.condition == GUEST_RUNS;
	enum guest_condition before = e->guest.condition;
	int r;

	if (is_paused)
		before = engine_pause_begins(e); /* a test of the pipe pauses the guest */
	r = open_saving(e, error);
	if (is_paused && engine_pause_ended(e, before))
		engine_paused_by_other(e);
	if (r == 0)
		r = engine_new_seal(e, error);
	if (r == 0)
		open_vcpus(e, error);
	return r;
}

/* Undo open_holds(). If the guest was protected, leave the holds closed. If not, remove the holds,
 * so that frames pass as before. */
static void abandon_holds(struct engine *e)
{
	if (engine_is_holding(e))
		holds_close(e->output.holds);
	else if (holds_detach(e->output.holds) < 0)
		log_warn("vm=%s the holds could not be removed whole, ignoring", e->config.vm);
}

/* Let a guest that was handed on run again. On error, output stays held, and the caller must begin
 * the protection anew. */
static int go_on(struct engine *e, struct error *error)
{
	int r = 0;

	engine_let_go_on(e);
	if (e->facts)
		r = open_late(e, error);
	if (r == 0)
		return 0;
	/* Stop the guest again, because without an engine nobody checks the lease. The next attempt
	 * to protect the guest lets it run. */
	if (qmp_execute(e->guest.qmp, "stop", NULL, QMP_ORDER_NS, NULL) < 0)
		log_warn("vm=%s the guest cannot be stopped until it is protected anew, ignoring: "
			 "its output is held", e->config.vm);
	abandon_holds(e);
	return r;
}

static int open_guest(struct engine *e, struct error *error)
{
	int r;

	r = qmp_open(e->config.qmp, QMP_OPEN_NS, &e->guest.qmp);
	if (r < 0) {
		snprintf(error->text, sizeof(error->text), "%s: %s", e->config.qmp,
			 qmp_open_error(r));
		return r;
	}
	r = engine_inspect(e, error);
	if (r == 0)
		r = engine_watch_open(e, error); /* also compares the disks with the VM's file */
	/* If the agent's previous program handed over facts (facts.h), that program has checked
	 * this already, and the guest has been stopped since the handover began. */
	if (r == 0 && !e->facts)
		r = vmm_check_rx_filter(e->guest.qmp, error);
	if (r < 0)
		return r;
	r = need_tap_per_card(e, error);
	if (r == 0)
		r = need_running(e, error);
	if (r == 0 && !e->facts)
		r = engine_machine_open(&e->machine, e->guest.qmp, e->config.known, error);
	if (r < 0)
		return r;
	e->guest.clock = guestclock_open(
		e->guest.qmp, e->guest.info.pid, e->facts && e->facts->clock.state != CLOCK_OFF,
		e->config.clock == ENGINE_CLOCK_CORRECT, e->config.clock_step_max_ns);
	r = e->guest.clock ? 0 : -ENOMEM;
	if (r == 0 && !e->facts)
		r = open_saving(e, error);
	if (r == 0)
		r = guestmem_open(e->guest.info.pid, e->guest.info.blocks, e->guest.info.n_blocks,
				  &e->capture.mem, error);
	if (r == 0)
		r = engine_disks_open(e, error);
	progress_begin(e->config.progress, "began to track", "guest RAM", 0);
	if (r == 0)
		r = e->config.handed ? engine_resume_tracking(e, error)
				     : engine_restart_tracking(e, error);
	if (r == 0 && !e->facts)
		open_vcpus(e, error);
	qmp_set_event_handler(e->guest.qmp, engine_on_qmp_event, e);
	return r;
}

/* Find out which cards have offloads, and so need the second kind of hold (net/hold.h). Bit i of
 * *ret: the card on tap i. */
static int find_offloads(struct engine *e, uint32_t *ret, struct error *ret_error)
{
	struct vmm_taps taps;
	char *text = NULL;
	int r = vmm_taps_read(e->guest.info.pid, &taps, ret_error);

	if (r < 0)
		return r;
	r = qmp_hmp(e->guest.qmp, "info network", QMP_ORDER_NS, &text);
	if (r < 0)
		return error_set(ret_error, r, "QEMU: `info network`: %s", qmp_error(e->guest.qmp));
	*ret = vmm_taps_offloads(&taps, text, &e->guest.info, e->config.taps);
	free(text);
	return 0;
}

static int open_holds(struct engine *e, struct error *ret_error)
{
	struct holds_config config = {
		.vm = e->config.vm,
		.taps = e->config.taps,
		.pin_dir = e->config.pin_dir,
		.frames_max = e->config.held_frames_max,
		.bytes_max = e->config.held_bytes_max,
	};
	int r = e->aside.has_holds ? 0 : find_offloads(e, &config.offloads, ret_error);

	if (e->aside.has_holds) {
		r = engine_aside_holds(e, ret_error);
	} else if (r == 0) {
		e->output.offloads = config.offloads;
		r = holds_open(&config, &e->output.holds, ret_error);
	}
	if (r < 0)
		return r;
	e->epochs.next = 1;
	if (holds_is_taken_over(e->output.holds) && holds_mode(e->output.holds) != HOLD_PASS) {
		/* While no agent ran, the hold dropped the guest's frames. So hold all frames until
		 * a FULL epoch with the guest's current state is committed. */
		engine_set_output(e, OUTPUT_HELD, "an earlier agent left its hold");
		e->epochs.next = e->config.handed ? e->config.handed->epoch + 1
						  : holds_epoch(e->output.holds) + 1;
		holds_set_epoch(e->output.holds, e->epochs.next);
		r = holds_set_mode(e->output.holds, HOLD_HOLD);
	}
	return r;
}

static int start_thread(struct engine *e)
{
	int r = -pthread_create(&e->thread, NULL, engine_main, e);

	if (r == 0 && e->config.handed)
		hurry_thread(e->thread);
	return r;
}

static uint32_t reference_pages(const struct engine *e)
{
	uint64_t n_pages = e->config.reference_bytes / VMM_PAGE_BYTES;

	if (n_pages == 0)
		n_pages = e->guest.info.n_pages / 4;
	return n_pages > e->guest.info.n_pages ? e->guest.info.n_pages : (uint32_t)n_pages;
}

int engine_open(const struct engine_config *config, uint64_t term, struct engine **ret_engine,
		struct error *ret_error)
{
	struct error error = {""};
	struct engine *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->config = *config;
	e->term = term;
	lease_init(&e->lease.lease, term, config->needs_lease);
	if (config->lease_until_ns > 0)
		lease_resume(&e->lease.lease, term, config->lease_until_ns,
			     config->lease_release_ns);
	e->watch.link_fd = e->watch.statm_fd = -1;
	e->status.term = term;
	e->status.state = WIRE_STATE_ATTACHING;
	pthread_mutex_init(&e->status_lock, NULL);
	e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = e->wake_fd < 0 ? -errno : 0;
	progress_begin(config->progress, "began to look at", "QEMU", 0);
	if (r == 0 && config->handed)
		engine_aside_begin(e);
	if (r == 0)
		r = open_guest(e, &error);
	if (r == 0)
		r = retain_new(WIRE_PAYLOAD_MAX, config->backlog_bytes_max, &e->epochs.retain);
	if (r == 0)
		r = encoder_new(e->guest.info.n_pages, reference_pages(e), config->encode_threads,
				e->epochs.retain, &e->epochs.encoder);
	if (r == 0 && config->handed)
		engine_take_up(e);
	if (r == 0)
		r = engine_ram_open(e);
	/* At the second check of QEMU's lists, also close what the previous program left in QEMU.
	 * The first check belongs to the first epoch, for which clients wait. */
	e->capture.sweep_look = 2;
	stage_init(&e->stream.stage, config->second_stage);
	pacer_init(&e->epochs.pacer, &config->pacer, clock_mono_ns());
	throttle_init(&e->throttle.plan, &config->throttle);
	if (r < 0) {
		(void)error_set(ret_error, r, "%s", *error.text ? error.text : strerror(-r));
		engine_free(e);
		return r;
	}
	progress_begin(config->progress, "began to put the hold on", "its taps", 0);
	/* The holds are opened last, since they are in the path of the guest's frames from then
	 * on. */
	r = open_holds(e, ret_error);
	/* Check the taps again: the holds have found their taps by name, and since the first check
	 * another tap may have taken one of these names. */
	if (r == 0 && engine_watch_check_taps(e, ret_error) < 0) {
		abandon_holds(e);
		r = -ENOTSUP;
	}
	if (r == 0 && config->handed && !engine_is_holding(e)) {
		/* the hold stays closed until the first commit of the next engine */
		holds_close(e->output.holds);
		r = error_set(ret_error, -ESTALE, "its hold is not the one that was left");
	}
	if (r == 0 && config->handed)
		r = go_on(e, ret_error);
	if (!e->guest.vcpus)
		e->throttle.plan.config.percent_max = 0;
	progress_end(config->progress); /* from here on, the engine's thread reports progress */
	if (r == 0) {
		r = start_thread(e);
		if (r < 0) {
			(void)error_set(ret_error, r, "no thread: %s", strerror(-r));
			abandon_holds(e);
		}
	}
	if (r < 0) {
		engine_free(e);
		return r;
	}
	*ret_engine = e;
	return 0;
}

void engine_stop_thread(struct engine *e)
{
	uint64_t one = 1;

	atomic_store(&e->must_stop, true);
	if (write(e->wake_fd, &one, sizeof(one)) < 0)
		log_debug("vm=%s wake: %s, ignoring: it was awake", e->config.vm, strerror(errno));
	pthread_join(e->thread, NULL);
}

static int remove_hold(struct engine *e, struct error *ret_error)
{
	int r;

	FAULT_POINT(FAULT_BEFORE_OPENING);
	r = holds_detach(e->output.holds);
	return r < 0 ? error_set(ret_error, r, "the hold could not be removed whole: %s",
				 strerror(-r))
		     : 0;
}

int engine_detach(struct engine *engine, struct error *ret_error)
{
	int r;

	engine_stop_thread(engine);
	engine_disks_detach(engine);
	r = engine_flushes_on(engine, ret_error);
	if (r < 0)
		/* without protection, a reply may leave only if the data that it confirms is on the
		 * disk */
		holds_close(engine->output.holds);
	else
		r = remove_hold(engine, ret_error);
	if (engine_lease_let_run(engine) < 0) {
		r = error_set(ret_error, r < 0 ? r : -EIO,
			      "the guest, stopped without a lease, does not go on; QMP `cont` at "
			      "%s lets it",
			      engine->config.qmp);
	}
	engine_free(engine);
	return r;
}

int engine_fence(struct engine *engine, struct error *ret_error)
{
	struct error error;
	int r = 0;

	engine_stop_thread(engine);
	holds_close(engine->output.holds);
	/* from now on, writes do not wait for room in the rings, because nobody reads the rings any
	 * more */
	engine_disks_sealing(engine, true);
	if (engine->guest.condition != GUEST_LOST)
		r = qmp_execute(engine->guest.qmp, "stop", NULL, QMP_ORDER_NS, NULL);
	if (r < 0)
		(void)error_set(ret_error, r, "the guest could not be stopped: %s", strerror(-r));
	engine_disks_detach(engine);
	if (engine_flushes_on(engine, &error) < 0)
		log_warn("vm=%s %s", engine->config.vm, error.text);
	engine_free(engine);
	return r;
}

void engine_close(struct engine *engine)
{
	if (!engine)
		return;
	engine_stop_thread(engine);
	abandon_holds(engine);
	engine_free(engine);
}
