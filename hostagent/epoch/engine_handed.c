/* Hands a guest on to the agent's next program, and takes it over there. See handed.h, and
 * decisions/0055-handover.md.
 *
 * Handing on begins like a move (engine_move.c): the guest is stopped, its last epoch is committed,
 * and its output has left. In MOVE_YIELDED nothing changes any more, so engine_hand_on() can end
 * the engine and keep the state that must not be lost. The next program opens an engine with this
 * state: the guest goes on at once, and the next epoch builds on the last one.
 *
 * If the next program cannot take something over, its engine begins as after any restart: with a
 * FULL epoch. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hurry.h"
#include "base/log.h"

#define QMP_NS	      (2 * CLOCK_NS_PER_S)
/* A guest is handed on only if the reference has at most this many bytes. The guest stands still
 * while the program ends, and the kernel then frees about 5 GiB per second. */
#define FREED_BYTES_MAX (UINT64_C(64) << 20)
#define ASIDE_LINK_NS (200 * CLOCK_NS_PER_MS) /* if there is no connection after this time, the
					       * engine connects as usual */

/* ---- the old program */

/* Has a verification found a difference, and has no whole pass ended since? The next program would
 * not know of the difference, and would not send the differing page or block again. */
static bool knows_difference(const struct engine *e)
{
	const struct engine_ram *ram = &e->ram;
	const struct engine_verify *v = &e->verify;
	bool is_bad = false;

	for (uint32_t i = 0; i < e->disks.n; i++)
		is_bad |= e->disks.disk[i].n_bad > 0;
	return is_bad || ram->answer.n_differ > 0 || ram->bad.n_differ > 0 ||
	       ram->finding != FINDING_NONE || v->answer.n_differ > 0 ||
	       v->finding != FINDING_NONE;
}

/* Would the guest stand still for long while the reference is freed? */
static bool has_much_to_free(const struct engine *e)
{
	struct encoder_counts counts;

	if (!e->epochs.encoder)
		return false;
	encoder_get_counts(e->epochs.encoder, &counts);
	return (uint64_t)counts.reference.n_used * VMM_PAGE_BYTES > FREED_BYTES_MAX;
}

const char *engine_hand_obstacle(const struct engine *e)
{
	if (knows_difference(e))
		return "the standby's copy differed, and was not compared whole since";
	if (e->asked.condition != ASKED_NONE || atomic_load(&e->asked.n_wanted) != e->asked.n_begun)
		return "a comparison that an operator asked for is under way";
	if (engine_flushes_are_any_off(e))
		return "flushes of its disks are off (disk_flushes = outside); restart the agent";
	if (has_much_to_free(e))
		return "its reference (reference_bytes) was not given back yet";
	return NULL;
}

/* ---- memory is given back while the guest runs */

void engine_shed(struct engine *engine, bool is_wanted)
{
	uint64_t one = 1;

	atomic_store(&engine->move.must_shed, is_wanted);
	if (write(engine->wake_fd, &one, sizeof(one)) < 0)
		log_debug("vm=%s wake: %s, ignoring: it was awake", engine->config.vm,
			  strerror(errno));
}

bool engine_has_shed(struct engine *engine)
{
	return atomic_load(&engine->move.has_shed);
}

bool engine_sheds(struct engine *e)
{
	return atomic_load(&e->move.must_shed) && !atomic_load(&e->move.has_shed) &&
	       e->epochs.sync == SYNC_KEPT;
}

void engine_shed_tick(struct engine *e)
{
	if (engine_sheds(e)) {
		atomic_store(&e->move.has_shed, encoder_shed(e->epochs.encoder));
		if (atomic_load(&e->move.has_shed))
			e->config.changed(e->config.changed_arg);
	} else if (!atomic_load(&e->move.must_shed) && atomic_load(&e->move.has_shed)) {
		encoder_shed_end(e->epochs.encoder);
		atomic_store(&e->move.has_shed, false);
	}
}

/* ---- what keeps a guest from being handed on */

/* Have all writes to the disks arrived, and are they committed? */
static bool are_disks_whole(const struct engine *e)
{
	struct disk_ring_counts counts;

	for (uint32_t i = 0; i < e->disks.n; i++) {
		const struct engine_disk *disk = &e->disks.disk[i];

		disk_ring_get_counts(disk->ring, &counts);
		if (disk_ring_waiting(disk->ring) > 0 ||
		    counts.overflows != disk->counts.overflows ||
		    counts.disconnections != disk->counts.disconnections)
			return false;
	}
	return true;
}

/* Return why the guest cannot be handed on now, as a text, or NULL if it can. */
static const char *obstacle(const struct engine *e)
{
	if (e->move.condition != MOVE_YIELDED || e->guest.condition != GUEST_STOPPED)
		return "its guest is not stopped";
	if (e->epochs.sync != SYNC_KEPT || !e->capture.track ||
	    retain_n_epochs(e->epochs.retain) > 0 || e->epochs.committed + 1 != e->epochs.next)
		return "not all its epochs are committed";
	if (holds_is_sending(e->output.holds) || holds_count(e->output.holds) > 0)
		return "not all its output has left";
	if (e->disks.n > 0 && e->disks.condition != DISKS_IN_STEP)
		return "its disks are not in step";
	if (!are_disks_whole(e))
		return "not all writes to its disks are committed";
	return engine_hand_obstacle(e);
}

static int take_device(const struct engine *e, struct handed *h)
{
	size_t size;
	const uint8_t *device = encoder_get_device(e->epochs.encoder, &size);

	if (size == 0)
		return -ENODATA;
	h->device = malloc(size);
	if (!h->device)
		return -ENOMEM;
	memcpy(h->device, device, size);
	h->device_size = (uint32_t)size;
	return 0;
}

/* Keep what QEMU has reported about the guest (facts.h). Without these facts, the next program asks
 * QEMU again. */
static void take_facts(const struct engine *e, struct handed *h)
{
	struct facts *facts = calloc(1, sizeof(*facts));
	int r = -ENOMEM;

	if (facts) {
		facts->info = e->guest.info;
		facts->inventory = e->watch.inventory;
		facts->clock = *guestclock_rules(e->guest.clock);
		facts->offloads = e->output.offloads;
		r = facts_encode(facts, &e->machine.is.machine, &e->machine.is.devices,
				 HANDED_FACTS_MAX, &h->facts, &h->facts_size);
	}
	if (r < 0)
		log_warn("vm=%s what is known of QEMU is not handed on: %s", e->config.vm,
			 strerror(-r));
	free(facts);
}

int engine_hand_on(struct engine *engine, struct handed *ret_handed, struct error *ret_error)
{
	struct handed h = {.term = engine->term, .uffd = -1};
	const char *why;
	int r;

	engine_stop_thread(engine);
	why = obstacle(engine);
	r = why ? error_set(ret_error, -ESTALE, "%s", why) : take_device(engine, &h);
	if (r == -ENOMEM || r == -ENODATA)
		(void)error_set(ret_error, r, "its device state cannot be kept: %s", strerror(-r));
	if (r == 0) {
		h.epoch = engine->epochs.committed;
		h.pid = engine->guest.info.pid;
		h.n_pages = engine->guest.info.n_pages;
		h.stopped_ns = engine->lease.stop_sent_ns;
		h.stop_seen_ns = engine->lease.stop_seen_ns;
		h.fault_ns = track_fault_ns(engine->capture.track);
		lease_get(&engine->lease.lease, &h.until_ns, &h.release_ns);
		take_facts(engine, &h);
		engine_disks_hand_on(engine, &h);
		engine->capture.seal = seal_free(engine->capture.seal);
		engine->capture.device = devstate_leave(engine->capture.device);
		h.uffd = track_hand_on(TAKE(engine->capture.track));
		*ret_handed = h;
	}
	holds_close(engine->output.holds);
	engine_free(engine);
	return r;
}

/* ---- the new program */

static void learn(struct engine *e)
{
	const struct handed *h = e->config.handed;
	struct facts *facts = h->facts_size > 0 ? calloc(1, sizeof(*facts)) : NULL;

	if (!facts)
		return;
	if (facts_decode(h->facts, h->facts_size, facts, &e->machine.is.machine,
			 &e->machine.is.devices) == 0) {
		e->facts = facts;
		e->output.offloads = facts->offloads;
		return;
	}
	log_info("vm=%s what the agent's last program knew of QEMU has another form: asking QEMU",
		 e->config.vm);
	free(facts);
}

static void *open_holds(void *arg)
{
	struct engine *e = arg;
	struct holds_config config = {
		.vm = e->config.vm,
		.taps = e->config.taps,
		.pin_dir = e->config.pin_dir,
		.frames_max = e->config.held_frames_max,
		.bytes_max = e->config.held_bytes_max,
		.offloads = e->output.offloads,
	};

	e->aside.holds_result = holds_open(&config, &e->output.holds, &e->aside.holds_error);
	return NULL;
}

static void *open_link(void *arg)
{
	struct engine *e = arg;
	struct link_config config = {
		.address = e->config.gateway_address,
		.port = e->config.gateway_port,
		.tls = e->config.tls,
	};
	struct wire_hello hello;
	int r = link_open(&config, &e->aside.link);

	if (r == 0) {
		wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, e->config.vm);
		r = link_handshake(e->aside.link, &hello, e->term, 0,
				   clock_mono_ns() + ASIDE_LINK_NS, &e->aside.welcome);
		if (r < 0)
			e->aside.link = link_free(e->aside.link);
	}
	e->aside.link_result = r;
	return NULL;
}

void engine_aside_begin(struct engine *e)
{
	struct engine_aside *aside = &e->aside;

	learn(e);
	if (!e->facts)
		return;
	aside->has_holds = pthread_create(&aside->holds_thread, NULL, open_holds, e) == 0;
	aside->has_link = pthread_create(&aside->link_thread, NULL, open_link, e) == 0;
	if (aside->has_holds)
		hurry_thread(aside->holds_thread);
	if (aside->has_link)
		hurry_thread(aside->link_thread);
}

int engine_aside_holds(struct engine *e, struct error *ret_error)
{
	(void)pthread_join(e->aside.holds_thread, NULL);
	e->aside.has_holds = false;
	*ret_error = e->aside.holds_error;
	return e->aside.holds_result;
}

int engine_aside_link(struct engine *e, struct link **ret_link, struct wire_welcome *ret_welcome)
{
	if (!e->aside.has_link)
		return -ENOTCONN;
	(void)pthread_join(e->aside.link_thread, NULL);
	e->aside.has_link = false;
	if (e->aside.link_result < 0)
		return -ENOTCONN;
	*ret_link = TAKE(e->aside.link);
	*ret_welcome = e->aside.welcome;
	return 0;
}

void engine_aside_end(struct engine *e)
{
	struct wire_welcome welcome;
	struct link *link = NULL;
	struct error error;

	if (e->aside.has_holds && engine_aside_holds(e, &error) == 0)
		holds_close(e->output.holds); /* the guest stays silent */
	if (engine_aside_link(e, &link, &welcome) == 0)
		link_free(link);
}

int engine_inspect(struct engine *e, struct error *ret_error)
{
	json_t *answer = NULL;
	const char *status;
	int r;

	if (!e->facts)
		return vmm_inspect(e->guest.qmp, &e->guest.info, ret_error);
	r = qmp_execute(e->guest.qmp, "query-status", NULL, QMP_NS, &answer);
	if (r < 0)
		return error_set(ret_error, r, "query-status: %s", qmp_error(e->guest.qmp));
	e->guest.info = e->facts->info;
	status = json_string_value(json_object_get(answer, "status"));
	(void)snprintf(e->guest.info.runstate, sizeof(e->guest.info.runstate), "%s",
		       status ? status : "");
	e->guest.info.running = strcmp(e->guest.info.runstate, "running") == 0;
	json_decref(answer);
	return 0;
}

/* Check that the guest is still as it was when it was handed on. */
static int check(const struct engine *e, const struct handed *h, struct error *ret_error)
{
	if (h->term != e->term)
		return error_set(ret_error, -ESTALE, "it is of term %" PRIu64, h->term);
	if (h->pid != e->guest.info.pid || h->n_pages != e->guest.info.n_pages)
		return error_set(ret_error, -ESTALE, "it is of another QEMU (pid %d)", (int)h->pid);
	if (e->guest.info.running)
		return error_set(ret_error, -ESTALE, "somebody let it run meanwhile");
	return 0;
}

int engine_resume_tracking(struct engine *e, struct error *ret_error)
{
	struct handed *h = e->config.handed;
	struct engine_capture *c = &e->capture;
	const struct vmm_info *info = &e->guest.info;
	int r = check(e, h, ret_error);

	if (r == 0)
		r = track_resume(info->pid, info->blocks, info->n_blocks, h->uffd, h->fault_ns,
				 &c->track, ret_error);
	if (r < 0)
		return r;
	h->uffd = -1; /* the tracker owns it now */
	engine_set_tracking(e, TRACKING_USED, "the agent's last program handed it on");
	if (!e->facts) /* with facts, engine_open() makes the seal object later, when the guest runs
			* again */
		r = engine_new_seal(e, ret_error);
	if (r < 0) {
		c->track = track_close(c->track);
		engine_set_tracking(e, TRACKING_LOST, "");
	}
	return r;
}

void engine_take_up(struct engine *e)
{
	const struct handed *h = e->config.handed;

	lease_resume(&e->lease.lease, e->term, h->until_ns, h->release_ns);
	encoder_continue(e->epochs.encoder, h->device, h->device_size);
	retain_continue(e->epochs.retain, h->epoch);
	e->epochs.committed = h->epoch;
	/* As after a seal of the kind KEEP, the next scan reports the pages that were left
	 * writable. */
	e->figures.last_kind = SEAL_KEEP;
	protect_init(&e->epochs.protect, h->fault_ns);
	if (e->disks.n == 0 || e->disks.condition == DISKS_IN_STEP)
		engine_set_sync(e, SYNC_KEPT, "the agent's last program handed it on");
	engine_set_guest(e, GUEST_STOPPED, "the agent's last program stopped it");
	if (!e->facts)
		return;
	/* The guest's clock is corrected for the time in which the guest stood still, as after any
	 * pause of ours. */
	guestclock_resume(e->guest.clock, &e->facts->clock);
	e->lease.stop_sent_ns = h->stopped_ns;
	e->lease.stop_seen_ns = h->stop_seen_ns;
}

void engine_let_go_on(struct engine *e)
{
	const struct handed *h = e->config.handed;

	if (engine_is_holding(e) && engine_may_speak(e) && engine_lease_let_run(e) == 0) {
		log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " taken over from the agent's "
			 "last program: the guest stood still for %" PRIu64 " us", e->config.vm,
			 e->term, e->epochs.next, (clock_mono_ns() - h->stopped_ns) / 1000);
		return;
	}
	/* engine_lease_tick() lets the guest run when there is a lease. */
	engine_set_voice(e, VOICE_SILENCED, "the lease was over when the guest was taken over");
}
